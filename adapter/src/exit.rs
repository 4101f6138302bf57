//! Exit codes: what a supervisor or a script can tell from the number.

use std::process::ExitCode;

use crate::engine::Outcome;
use crate::sink::SinkError;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done: in sync (`--once`), imported, exported, status printed, the same coins, or stopped by a signal.
    Done,
    /// A defect, or the operating system refused something basic.
    Failed,
    /// A flag, variable, configuration file or key is wrong. Also what flag errors exit with.
    Usage,
    /// The source of blocks, the snapshot or the node cannot be used.
    Source,
    /// The canister cannot be used: it does not exist, refuses this adapter, or follows another
    /// chain. Retrying does not help.
    Canister,
    /// In sync, but blocks the canister refused had to be left out; or it refused a whole snapshot, or a
    /// transaction.
    Refused,
    /// The replica, the canister or the running adapter did not answer, for longer than the setting allows.
    Unreachable,
    /// The canister's coins are not those it was compared with.
    Differs,
}

impl Exit {
    /// The table shown in `--help`.
    pub const HELP: &str = "\
Exit codes:
  0  done: in sync (--once), imported, exported, verified, printed, sent, settings can work, or stopped
     by a signal
  1  defect in the adapter, or the operating system refused something basic
  2  a flag, variable, configuration file, identity or transaction is wrong
  3  the source of blocks, the snapshot or the node cannot be used
  4  the canister cannot be used: missing, refuses this adapter, or on another chain
  5  in sync, but without blocks that the canister refused; or it refused a snapshot or a transaction
  6  the replica, the canister or the running adapter does not answer (see --give-up-after)
  7  verify: the canister's coins differ from the node's or the snapshot's";

    /// Returns the number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Source => 3,
            Self::Canister => 4,
            Self::Refused => 5,
            Self::Unreachable => 6,
            Self::Differs => 7,
        }
    }

    /// Returns how a command ends whose call to the canister failed.
    pub const fn of_sink(error: &SinkError) -> Self {
        if error.is_transient() {
            Self::Unreachable
        } else {
            Self::Canister
        }
    }

    /// Returns how a run with this outcome ends the process.
    pub const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Synced {
                refused_blocks: 0, ..
            }
            | Outcome::Stopped => Self::Done,
            Outcome::Synced { .. } => Self::Refused,
            Outcome::SourceFailed(_) | Outcome::Unlinked { .. } => Self::Source,
            Outcome::SinkFailed(_)
            | Outcome::WrongNetwork { .. }
            | Outcome::NothingCommon { .. }
            | Outcome::ForkBelowAnchor { .. }
            | Outcome::ReceiptLength { .. } => Self::Canister,
            Outcome::GaveUp { .. } => Self::Unreachable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
