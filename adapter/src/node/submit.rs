//! Handing a transaction to a node.

use std::time::Duration;

use serde_json::json;

use super::{Node, NodeError};

/// How long the call may take: checking scripts of a large transaction is a matter of seconds.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Bitcoin Core's code for a transaction that is not taken for what it spends, or for its fee.
const VERIFY_ERROR: i64 = -25;
/// Its code for a transaction that breaks a rule of consensus or of the node's memory pool.
const VERIFY_REJECTED: i64 = -26;
/// Its code for a transaction of which coins are in the set of unspent ones.
const ALREADY_IN_UTXO_SET: i64 = -27;
/// Its code for bytes that are no transaction.
const DESERIALIZATION_ERROR: i64 = -22;

/// Its words where inputs are unknown or spent.
const MISSING_INPUTS: &str = "bad-txns-inputs-missingorspent";

/// What a node says of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is in the node's memory pool, and announced to its peers once more.
    Accepted,
    /// A block of the node's chain has it.
    AlreadyConfirmed,
    /// The node does not know its inputs, or knows them as spent. It may be behind.
    MissingInputs {
        /// The node's words.
        reason: String,
    },
    /// It is refused.
    Refused {
        /// The node's words.
        reason: String,
    },
}

impl Node {
    /// Hands a transaction over, in hexadecimal digits. The node's own limits on high fees and burnt
    /// amounts are switched off: the sender has decided.
    ///
    /// # Errors
    /// [`NodeError`] if the node says nothing about the transaction.
    pub async fn submit(&self, transaction: &str) -> Result<Submitted, NodeError> {
        /// No limit on the fee rate.
        const MAX_FEE_RATE: u32 = 0;
        /// More than there is, in bitcoins.
        const MAX_BURNT: u32 = 21_000_000;
        let arguments = json!([transaction, MAX_FEE_RATE, MAX_BURNT]);
        let answer = self.call("sendrawtransaction", arguments, SUBMIT_TIMEOUT);
        match answer.await {
            Ok(_) => Ok(Submitted::Accepted),
            Err(NodeError::Method { code, message, .. }) if code == ALREADY_IN_UTXO_SET => {
                tracing::debug!("the node has it in a block: {message}");
                Ok(Submitted::AlreadyConfirmed)
            }
            Err(NodeError::Method { code, message, .. })
                if code == VERIFY_ERROR && message.contains(MISSING_INPUTS) =>
            {
                Ok(Submitted::MissingInputs { reason: message })
            }
            Err(NodeError::Method { code, message, .. })
                if [VERIFY_ERROR, VERIFY_REJECTED, DESERIALIZATION_ERROR].contains(&code) =>
            {
                Ok(Submitted::Refused { reason: message })
            }
            Err(error) => Err(error),
        }
    }
}
