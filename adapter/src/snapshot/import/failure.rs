//! Why an import cannot go on, and what to do then.

use std::time::Duration;

use bitcoin::BlockHash;
use millrace_candid::SnapshotError;

use super::{Plan, printed};
use crate::exit::Exit;
use crate::sink::SinkError;
use crate::snapshot::groups::FileError;
use crate::snapshot::headers::HeadersError;

/// Why an import ended before the canister had the set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The canister cannot be called.
    #[error(transparent)]
    Sink(SinkError),
    /// It could not be called for too long.
    #[error("gave up after {} s without an answer: {error}", failing.as_secs())]
    GaveUp {
        /// For how long.
        failing: Duration,
        /// How the last call ended.
        error: SinkError,
    },
    /// The file cannot be used.
    #[error("the snapshot cannot be used: {0}")]
    File(FileError),
    /// The file is whole, but not the set that somebody vouches for.
    #[error(
        "the file's coins have the hash {found}, and {expected} is what Bitcoin Core or --hash says of its \
         base block: it is of another set, or was changed; get another file"
    )]
    OtherHash {
        /// The file's.
        found: String,
        /// The one vouched for.
        expected: String,
    },
    /// Headers cannot be had.
    #[error(transparent)]
    Headers(HeadersError),
    /// The canister wants coins that the file does not have.
    #[error(
        "the file ends where the canister wants its coins from byte {offset} on: is it the file that the \
         import was begun with? Else let a controller call discard_snapshot_import"
    )]
    FileEnded {
        /// Where.
        offset: u64,
    },
    /// Another snapshot is in the canister.
    #[error(
        "the canister has the snapshot of block {found}, the file is of {expected}: give that file, or let \
         a controller call discard_snapshot_import"
    )]
    OtherBase {
        /// The canister's base block.
        found: String,
        /// The file's.
        expected: BlockHash,
    },
    /// A snapshot of the same block with another number of coins is in the canister.
    #[error(
        "the canister expects {found} coins, the file has {expected}: give the file that the import was \
         begun with, or let a controller call discard_snapshot_import"
    )]
    OtherCount {
        /// The canister's number.
        found: u64,
        /// The file's.
        expected: u64,
    },
    /// The canister found the set wrong.
    #[error(
        "the canister refused the whole set: {reason}; let a controller call discard_snapshot_import, and \
         try another file"
    )]
    Refused {
        /// Its words.
        reason: String,
    },
    /// What was pushed is gone.
    #[error("somebody discarded the import; start it again if that was not meant")]
    Discarded,
    /// The canister does not get farther.
    #[error(
        "the canister got no farther in {answers} answers: {reason}; does somebody else import, too?"
    )]
    NoProgress {
        /// The last answer.
        reason: String,
        /// How many.
        answers: u32,
    },
    /// The caller may not.
    #[error(
        "principal {caller} may not import: let a controller add it to `adapters` with set_config, or use \
         another identity (--identity-pem)"
    )]
    NotAnAdapter {
        /// The principal.
        caller: String,
    },
    /// The caller may not name a hash.
    #[error(
        "principal {caller} is not a controller of the canister, and only those may name --hash: use a \
         controller's identity (--identity-pem)"
    )]
    NotAController {
        /// The principal.
        caller: String,
    },
    /// The canister has blocks.
    #[error(
        "the canister has blocks up to height {height}: a snapshot goes into an empty canister, so install \
         one anew"
    )]
    NotEmpty {
        /// Its height.
        height: u32,
    },
    /// Nobody vouches for the base block's set.
    #[error(
        "the canister knows nothing of the set after block {base}: let a controller run this with --hash, \
         the txoutset_hash that `dumptxoutset` printed, from a node you trust"
    )]
    UnknownBase {
        /// The base block.
        base: String,
    },
    /// A header of the chain breaks a rule.
    #[error("the header at height {height} is refused: {reason}; take headers from another source")]
    InvalidHeader {
        /// Its height.
        height: u32,
        /// Why.
        reason: String,
    },
    /// The canister finds fault with the file.
    #[error("the canister refuses the file: {reason}; copy or write it again")]
    BadFile {
        /// Why.
        reason: String,
    },
    /// The canister finds fault with a message.
    #[error(
        "the canister refuses a message: {reason}; adapter and canister must be of matching versions"
    )]
    BadMessage {
        /// Why.
        reason: String,
    },
}

impl ImportError {
    /// Returns what a refusal means for which no other attempt helps.
    pub(super) fn of(error: SnapshotError, plan: &Plan) -> Self {
        match error {
            SnapshotError::NotAnAdapter { caller } => Self::NotAnAdapter {
                caller: caller.to_text(),
            },
            SnapshotError::NotAController { caller } => Self::NotAController {
                caller: caller.to_text(),
            },
            SnapshotError::NotEmpty { height } => Self::NotEmpty { height },
            SnapshotError::UnderWay { base } => Self::OtherBase {
                found: printed(&base),
                expected: plan.metadata.base,
            },
            SnapshotError::UnknownBase { base } => Self::UnknownBase {
                base: printed(&base),
            },
            SnapshotError::InvalidHeader { height, reason } => {
                Self::InvalidHeader { height, reason }
            }
            SnapshotError::MalformedMetadata { reason } => Self::BadFile { reason },
            SnapshotError::WrongNetwork { magic, expected } => Self::BadFile {
                reason: format!(
                    "it is of the network with magic {magic:02x?}, the canister is on {expected:?}"
                ),
            },
            SnapshotError::MalformedCoins { offset, reason } => Self::BadFile {
                reason: format!("at byte {offset}: {reason}"),
            },
            other => Self::BadMessage {
                reason: format!("{other:?}"),
            },
        }
    }

    /// Returns how the process ends.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Sink(error) => Exit::of_sink(error),
            Self::GaveUp { .. } => Exit::Unreachable,
            Self::File(_)
            | Self::OtherHash { .. }
            | Self::Headers(_)
            | Self::FileEnded { .. }
            | Self::InvalidHeader { .. }
            | Self::BadFile { .. } => Exit::Source,
            Self::Refused { .. } => Exit::Refused,
            Self::OtherBase { .. }
            | Self::OtherCount { .. }
            | Self::Discarded
            | Self::NoProgress { .. }
            | Self::NotAnAdapter { .. }
            | Self::NotAController { .. }
            | Self::NotEmpty { .. }
            | Self::UnknownBase { .. }
            | Self::BadMessage { .. } => Exit::Canister,
        }
    }
}
