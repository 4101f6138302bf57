//! The messages of the protocol that an adapter sends or understands.
//!
//! | module | does |
//! |---|---|
//! | [`command`] | the names of messages |
//! | `decode`, `encode` | payloads to messages and back |
//! | `address` | addresses in them |
//! | `block` | checks a block by itself |
//! | `strip` | leaves witness data out |

mod address;
mod block;
pub mod command;
mod decode;
mod encode;
mod error;
mod reader;
mod strip;
mod walk;

#[cfg(test)]
mod tests;

use bitcoin::block::Header;
use bitcoin::p2p::message_blockdata::Inventory;
use bitcoin::{BlockHash, Txid, Wtxid};
use millrace_core::block::BlockError;

use crate::address::PeerAddress;

pub use block::check as check_block;
pub use decode::decode;
pub use error::PayloadError;
pub use strip::strip_witness;
pub use walk::Malformed;

/// Bytes of a message's payload, at most (Bitcoin Core's `MAX_PROTOCOL_MESSAGE_LENGTH`).
pub const MAX_PAYLOAD_BYTES: usize = 4_000_000;
/// Headers of one `headers` message, at most.
pub const MAX_HEADERS: usize = 2_000;
/// Entries of one `inv`, `getdata` or `notfound` message, at most.
pub const MAX_INVENTORY: usize = 50_000;
/// Addresses of one `addr` or `addrv2` message, at most.
pub const MAX_ADDRESSES: usize = 1_000;
/// Hashes of one locator, at most.
pub const MAX_LOCATOR: usize = 101;
/// Bytes of a peer's user agent, at most.
pub const MAX_USER_AGENT_BYTES: usize = 256;

/// `version`: how a connection starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The protocol version.
    pub version: u32,
    /// What the sender offers; see [`bitcoin::p2p::ServiceFlags`].
    pub services: u64,
    /// The sender's clock, in seconds since 1970.
    pub time: i64,
    /// A number by which a node notices a connection to itself.
    pub nonce: u64,
    /// The sender's software (BIP14), at most [`MAX_USER_AGENT_BYTES`].
    pub user_agent: String,
    /// The height of the sender's best chain.
    pub start_height: i32,
    /// Whether the sender wants transactions announced (BIP37).
    pub relay: bool,
}

/// An address that a peer tells of (`addr`; `addrv2` of BIP155).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownAddress {
    /// When it was last heard of, in seconds since 1970.
    pub time: u32,
    /// What it offers.
    pub services: u64,
    /// The address.
    pub address: PeerAddress,
}

/// A block as a peer sent it, checked by itself.
///
/// The check (structure, merkle root with CVE-2012-2459, bounds; see [`millrace_core::scan`]) is made
/// where bytes become messages, so that connections do it in parallel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedBlock {
    /// Hash of the first 80 bytes.
    pub hash: BlockHash,
    /// The header.
    pub header: Header,
    /// The whole payload.
    pub bytes: Vec<u8>,
    /// What is wrong with it, if anything is.
    pub verdict: Result<(), BlockError>,
}

/// A transaction's bytes with its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTransaction {
    /// Its id.
    pub txid: Txid,
    /// The hash of all its bytes (BIP141, BIP339).
    pub wtxid: Wtxid,
    /// Its consensus serialisation with witness data.
    pub bytes: Vec<u8>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// How a connection starts.
    Version(Version),
    /// The version is accepted.
    Verack,
    /// Transactions are announced by wtxid (BIP339).
    WtxidRelay,
    /// Addresses may come as `addrv2` (BIP155).
    SendAddrV2,
    /// Blocks may be announced by header (BIP130).
    SendHeaders,
    /// Transactions below this fee rate, in satoshi per 1,000 virtual bytes, need no announcement (BIP133).
    FeeFilter(u64),
    /// Asks for a [`Message::Pong`] with the same number (BIP31).
    Ping(u64),
    /// Answers a ping.
    Pong(u64),
    /// Asks for headers that follow the first known hash of the locator.
    GetHeaders {
        /// Known blocks, newest first, at most [`MAX_LOCATOR`].
        locator: Vec<BlockHash>,
        /// The last one wanted; all zeros for as many as there are.
        stop: BlockHash,
    },
    /// Headers, at most [`MAX_HEADERS`].
    Headers(Vec<Header>),
    /// What the sender has, at most [`MAX_INVENTORY`].
    Inv(Vec<Inventory>),
    /// What the sender wants, at most [`MAX_INVENTORY`].
    GetData(Vec<Inventory>),
    /// What was wanted and is not there.
    NotFound(Vec<Inventory>),
    /// A block.
    Block(Box<ReceivedBlock>),
    /// A transaction.
    Tx(RawTransaction),
    /// Asks for addresses.
    GetAddr,
    /// Addresses, at most [`MAX_ADDRESSES`]: those of a kind that nobody can connect to are left out.
    Addr(Vec<KnownAddress>),
    /// A message of another kind, which is passed over.
    Other {
        /// Its name, printable ASCII.
        command: String,
        /// Bytes of its payload.
        bytes: usize,
    },
}
