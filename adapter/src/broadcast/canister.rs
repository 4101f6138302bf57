//! Sends a transaction through the canister.

use millrace_candid::{SendError, SendTransactionArgs, SendTransactionResult};
use millrace_p2p::node::RelayTransaction;
use serde_bytes::ByteBuf;

use crate::exit::Exit;
use crate::sink::SinkError;
use crate::sink::agent::AgentSink;

/// Why the canister did not take it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanisterError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] SinkError),
    /// The canister refused it.
    #[error("the canister refused the transaction: {reason}")]
    Refused {
        /// Why, and what to do.
        reason: String,
    },
}

impl CanisterError {
    /// Returns how the process ends.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Call(error) => Exit::of_sink(error),
            Self::Refused { .. } => Exit::Refused,
        }
    }
}

/// Hands a transaction to the canister, whose adapters relay it until it is confirmed.
///
/// # Errors
/// [`CanisterError`].
pub async fn through_canister(
    sink: &AgentSink,
    transaction: &RelayTransaction,
) -> Result<(), CanisterError> {
    let args = SendTransactionArgs {
        transaction: ByteBuf::from(transaction.bytes.clone()),
    };
    let result: SendTransactionResult = sink.update("send_transaction", &args).await?;
    result.map(|_| ()).map_err(|error| CanisterError::Refused {
        reason: words(&error),
    })
}

fn words(error: &SendError) -> String {
    match error {
        SendError::ApiDisabled => {
            "its API is closed; a controller can open it with set_config".to_owned()
        }
        SendError::TooFewCycles { required, .. } => format!(
            "it wants {required} cycles, which only a canister can attach; leave --through-canister out, or \
             send it from a canister"
        ),
        SendError::MalformedTransaction { reason } => reason.clone(),
        SendError::TransactionTooLarge {
            given_bytes,
            max_bytes,
        } => format!("it has {given_bytes} bytes, at most {max_bytes} fit"),
        SendError::OutboxFull {
            transactions,
            bytes,
        } => format!(
            "{transactions} transactions of {bytes} bytes wait to be relayed; send it again later"
        ),
        SendError::NotHandedOver { reason } => {
            format!("its source of blocks did not take it: {reason}; send it again later")
        }
        SendError::Internal(reason) => reason.clone(),
    }
}
