//! Why a payload is no message.

use crate::node::WireError;

/// Why a payload is no message of its command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The payload ends within a field.
    #[error("it ends after {length} bytes, within {field}")]
    Ends {
        /// The field being read.
        field: &'static str,
        /// Bytes of the payload.
        length: usize,
    },
    /// A number takes more bytes than it needs.
    #[error("{field} is {number}, written longer than it need be")]
    NotMinimal {
        /// The field being read.
        field: &'static str,
        /// The number.
        number: u64,
    },
    /// More entries or bytes than the protocol allows.
    #[error("{field} is {number}, at most {most} are allowed")]
    TooMany {
        /// The field that counts.
        field: &'static str,
        /// The number.
        number: u64,
        /// The bound.
        most: usize,
    },
    /// A header of a `headers` message says that transactions follow.
    #[error("header {index} says that {count} transactions follow, none may")]
    HeaderWithTransactions {
        /// Its place in the message.
        index: usize,
        /// Transactions announced.
        count: u64,
    },
    /// An address has another length than its network's have.
    #[error("address of network {network} has {length} bytes, it must have {expected}")]
    AddressLength {
        /// BIP155's number of the network.
        network: u8,
        /// Bytes of the address.
        length: u64,
        /// What BIP155 prescribes.
        expected: u64,
    },
    /// The bytes of a transaction do not read as one.
    #[error("{reason}")]
    Transaction {
        /// What is wrong.
        reason: String,
    },
}

impl PayloadError {
    /// Returns the error of a connection that brought this payload.
    pub fn of_command(&self, command: &str) -> WireError {
        WireError::Broken {
            reason: format!("{command} message does not decode: {self}"),
        }
    }
}
