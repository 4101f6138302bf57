//! Where blocks go: the boundary to a canister, and what can go wrong there.

pub mod agent;
mod classify;
mod convert;
pub mod identity;
mod outbox;

#[cfg(test)]
mod tests;

use std::future::Future;

use bitcoin::BlockHash;

use crate::engine::{FeedView, Part, Receipt};

/// A canister that takes blocks.
///
/// Calls may run at the same time and end in any order. A call that fails may have been carried
/// out nevertheless; both calls can be repeated without harm.
pub trait Sink: Clone + Send + Sync + 'static {
    /// Asks what is wanted. `locator` names blocks at hand, newest first, at most 64.
    ///
    /// # Errors
    /// [`SinkError`] says whether another attempt can help.
    fn feed_state(
        &self,
        locator: Vec<BlockHash>,
    ) -> impl Future<Output = Result<FeedView, SinkError>> + Send;

    /// Pushes parts of blocks in one message, at most [`Sink::argument_bytes_max`] with
    /// [`crate::engine::MESSAGE_OVERHEAD_BYTES`] and [`crate::engine::PART_OVERHEAD_BYTES`].
    ///
    /// # Errors
    /// [`SinkError`] says whether another attempt can help.
    fn push(&self, parts: Vec<Part>) -> impl Future<Output = Result<Receipt, SinkError>> + Send;

    /// Returns how many bytes the argument of one push may have on this transport.
    fn argument_bytes_max(&self) -> u32;
}

/// Why a call to the canister brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Nobody answers there. Transient.
    #[error("cannot reach {url}: {reason}; is the replica running and the URL right?")]
    Unreachable {
        /// The replica's URL.
        url: String,
        /// What the network says.
        reason: String,
    },
    /// Somebody answers, but not with a usable answer for now. Transient.
    #[error("{url} did not answer the call: {reason}")]
    Unavailable {
        /// The replica's URL.
        url: String,
        /// What it says.
        reason: String,
    },
    /// The call's task ended before the call did: a defect of this process. Transient, since another
    /// call may end well.
    #[error("the call broke off inside the adapter: {reason}; please report it with the log")]
    Interrupted {
        /// How the task ended.
        reason: String,
    },
    /// A controller has switched syncing off. Transient.
    #[error("canister {canister} has syncing disabled; a controller can enable it with set_config")]
    SyncingDisabled {
        /// The canister.
        canister: String,
    },
    /// The canister trapped or reported a defect of its own. Transient.
    #[error("canister {canister} failed: {reason}")]
    CanisterFailed {
        /// The canister.
        canister: String,
        /// Its words.
        reason: String,
    },
    /// The caller may not push.
    #[error(
        "principal {caller} is not an adapter of canister {canister}; let a controller add it to \
         `adapters` with set_config, or use that adapter's identity (--identity-pem)"
    )]
    NotAnAdapter {
        /// The principal the adapter calls as.
        caller: String,
        /// The canister.
        canister: String,
    },
    /// There is no such canister, or nothing is installed in it.
    #[error("canister {canister} cannot be called: {reason}; check --canister and --replica-url")]
    NoCanister {
        /// The canister.
        canister: String,
        /// The replica's words.
        reason: String,
    },
    /// The canister does not have the feeding methods.
    #[error(
        "canister {canister} has no method {method}; is it a Millrace canister of this version?"
    )]
    NoMethod {
        /// The canister.
        canister: String,
        /// The method.
        method: String,
    },
    /// The canister's answer is not the contract's.
    #[error(
        "canister {canister} answered {method} with something else than the contract says: \
         {reason}; adapter and canister must be of matching versions"
    )]
    BadAnswer {
        /// The canister.
        canister: String,
        /// The method.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer's signature or certificate does not verify.
    #[error(
        "answer from {url} is not signed by the expected Internet Computer: {reason}; for a local \
         replica use --fetch-root-key=true"
    )]
    Untrusted {
        /// The replica's URL.
        url: String,
        /// What did not verify.
        reason: String,
    },
    /// The request itself was refused; a defect or a wrong setting.
    #[error("{url} refused the request: {reason}")]
    BadRequest {
        /// The replica's URL.
        url: String,
        /// Its words.
        reason: String,
    },
}

impl SinkError {
    /// Returns whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Unavailable { .. }
                | Self::Interrupted { .. }
                | Self::SyncingDisabled { .. }
                | Self::CanisterFailed { .. }
        )
    }
}
