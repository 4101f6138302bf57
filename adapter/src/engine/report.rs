//! What the engine tells people: notices, progress, and how a run ended.

use std::fmt;
use std::time::Duration;

use millrace_core::header::HeaderError;
use millrace_core::{Height, Network, UnixSeconds};

use super::Engine;
use super::feed::BlockRef;
use crate::sink::SinkError;
use crate::source::SourceError;

/// Refused headers of one discovery that are named in notices; the rest only adds noise.
pub(super) const REFUSED_HEADERS_NAMED: usize = 4;

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The source remarked on its data.
    SourceRemark(String),
    /// The source's headers are known.
    Indexed {
        /// The best chain's last block.
        tip: BlockRef,
        /// Headers of all branches.
        headers: usize,
        /// Headers whose parent is missing.
        orphans: usize,
    },
    /// A header of the source breaks a rule.
    HeaderRefused(HeaderError),
    /// Headers were forgotten because too many wait for their parents.
    OrphansDropped(u32),
    /// The best chain of the source is another one from this height on.
    Reorganised {
        /// The lowest height that changed.
        from: Height,
    },
    /// It is known where to go on.
    Located {
        /// The last block the canister has.
        common: Height,
        /// The source's last block.
        tip: Height,
    },
    /// Blocks must be pushed again.
    SetBack {
        /// After this pause.
        pause: Duration,
    },
    /// The canister will not take a block, nor what follows it.
    BlockGivenUp {
        /// The block.
        block: BlockRef,
        /// Why.
        reason: String,
    },
    /// A call failed and will be repeated.
    CallFailed {
        /// Why.
        error: SinkError,
        /// The pause before the next.
        pause: Duration,
    },
    /// A call succeeded after failures.
    Recovered,
    /// What is waited for has changed.
    Waiting(Option<Waiting>),
}

/// Why nothing moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The source is being read for the first time.
    Indexing,
    /// The canister does not answer.
    Unreachable,
    /// The source brings nothing for now.
    SourceUnavailable,
    /// The canister's queue is full.
    QueueFull,
    /// Another adapter pushes the same blocks.
    OtherAdapter,
    /// Everything is pushed; the canister connects it.
    Connecting,
    /// A controller has switched syncing off.
    SyncingDisabled,
    /// The source has nothing new.
    NewBlocks,
}

impl Waiting {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Indexing,
        Self::Unreachable,
        Self::SourceUnavailable,
        Self::QueueFull,
        Self::OtherAdapter,
        Self::Connecting,
        Self::SyncingDisabled,
        Self::NewBlocks,
    ];

    /// Returns the name for machines. Names are stable.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Indexing => "indexing",
            Self::Unreachable => "unreachable",
            Self::SourceUnavailable => "source_unavailable",
            Self::QueueFull => "queue_full",
            Self::OtherAdapter => "other_adapter",
            Self::Connecting => "connecting",
            Self::SyncingDisabled => "syncing_disabled",
            Self::NewBlocks => "new_blocks",
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Indexing => "reading the source's headers",
            Self::Unreachable => "the canister does not answer; retrying",
            Self::SourceUnavailable => "the source brings nothing for now; retrying",
            Self::QueueFull => "the canister's queue is full; waiting for it to drain",
            Self::OtherAdapter => "another adapter feeds the canister; waiting in case it stops",
            Self::Connecting => "everything is pushed; waiting for the canister to connect it",
            Self::SyncingDisabled => {
                "the canister has syncing disabled; waiting for a controller to enable it"
            }
            Self::NewBlocks => "in sync; waiting for new blocks in the source",
        })
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The canister has everything the source's best chain had.
    Synced {
        /// Its last block.
        tip: BlockRef,
        /// Blocks that were given up; the best chain is the best without them.
        refused_blocks: u32,
    },
    /// The user ended it.
    Stopped,
    /// The source cannot be used.
    SourceFailed(SourceError),
    /// No header of the source leads back to genesis.
    Unlinked {
        /// The network asked for.
        network: Network,
        /// Headers read.
        headers: usize,
    },
    /// The canister cannot be used.
    SinkFailed(SinkError),
    /// The canister could not be reached for too long.
    GaveUp {
        /// The last failure.
        error: SinkError,
        /// How long it had been failing.
        after: Duration,
    },
    /// The canister follows another network.
    WrongNetwork {
        /// The adapter's.
        expected: Network,
        /// The canister's.
        canister: Network,
    },
    /// The canister does not even know the genesis block.
    NothingCommon {
        /// The network asked for.
        network: Network,
    },
    /// The source's chain leaves the canister's below its final block.
    ForkBelowAnchor {
        /// The last common block.
        common: Height,
        /// The canister's newest stable block.
        anchor: BlockRef,
    },
    /// A receipt does not match its push.
    ReceiptLength {
        /// Parts pushed.
        parts: usize,
        /// Outcomes received.
        outcomes: usize,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Synced {
                tip,
                refused_blocks: 0,
            } => write!(
                f,
                "canister is in sync at height {} ({})",
                tip.height, tip.hash
            ),
            Self::Synced {
                tip,
                refused_blocks,
            } => write!(
                f,
                "canister is at height {} ({}), the best it can reach: {refused_blocks} blocks \
                 were refused, see above",
                tip.height, tip.hash
            ),
            Self::Stopped => f.write_str("stopped"),
            Self::SourceFailed(error) => error.fmt(f),
            Self::Unlinked { network, headers } => write!(
                f,
                "none of the source's {headers} blocks leads back to the genesis block of \
                 {network}; are the first block files missing (a pruned node), or is --network \
                 wrong?"
            ),
            Self::SinkFailed(error) => error.fmt(f),
            Self::GaveUp { error, after } => {
                write!(
                    f,
                    "gave up after {} s of retrying: {error}",
                    after.as_secs()
                )
            }
            Self::WrongNetwork { expected, canister } => write!(
                f,
                "canister follows {canister}, the adapter {expected}; set --network {canister} and \
                 give blocks of it, or name another canister"
            ),
            Self::NothingCommon { network } => write!(
                f,
                "canister does not know the genesis block of {network}; it is not a Millrace \
                 canister for this network"
            ),
            Self::ForkBelowAnchor { common, anchor } => write!(
                f,
                "source's chain leaves the canister's after height {common}, but the canister's \
                 blocks up to height {} ({}) are final; the source lacks the canister's chain",
                anchor.height, anchor.hash
            ),
            Self::ReceiptLength { parts, outcomes } => write!(
                f,
                "canister answered {outcomes} outcomes to {parts} parts; adapter and canister must \
                 be of matching versions"
            ),
        }
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The source's best block, as far as it is read.
    pub source_height: Height,
    /// The canister's best connected block, if it has answered.
    pub canister_height: Option<Height>,
    /// Blocks of the best chain up to this height have been acknowledged or are on their way.
    pub pushed_height: Height,
    /// The time in the header of the source's best block.
    pub source_time: UnixSeconds,
    /// Blocks whose last byte the canister has acknowledged since the start.
    pub acknowledged_blocks: u64,
    /// Bytes the canister has acknowledged since the start.
    pub acknowledged_bytes: u64,
    /// Blocks whose last byte was pushed since the start, repetitions included.
    pub pushed_blocks: u64,
    /// Bytes pushed since the start, repetitions included.
    pub pushed_bytes: u64,
    /// Bytes of blocks that are read and not pushed yet.
    pub held_bytes: u64,
    /// Bytes the canister's queue still takes, as it said last.
    pub free_bytes: u64,
    /// Blocks the canister's queue still takes, as it said last.
    pub free_blocks: u32,
    /// Blocks in the canister that wait to be connected, as it said last.
    pub pending_blocks: u32,
    /// Pushes in flight.
    pub in_flight: usize,
    /// Why nothing moves, if nothing does.
    pub waiting: Option<Waiting>,
}

impl Engine {
    /// Returns where the run stands.
    pub fn progress(&self) -> Progress {
        Progress {
            source_height: self.headers.tip_height(),
            canister_height: self.view.as_ref().map(|view| view.tip.height),
            pushed_height: self.cursor.height.saturating_sub(Height::new(1)),
            source_time: self.headers.tip_time(),
            acknowledged_blocks: self.acknowledged_blocks,
            acknowledged_bytes: self.acknowledged_bytes,
            pushed_blocks: self.pushed_blocks,
            pushed_bytes: self.pushed_bytes,
            held_bytes: self.reading.bytes_held(),
            free_bytes: self.free_bytes,
            free_blocks: self.free_blocks,
            pending_blocks: self.view.as_ref().map_or(0, |view| view.pending_blocks),
            in_flight: self.in_flight.len(),
            waiting: self.waiting,
        }
    }

    pub(super) fn report_waiting(&mut self) {
        let waiting = self.find_waiting();
        if waiting != self.waiting {
            self.waiting = waiting;
            self.notify(Notice::Waiting(waiting));
        }
    }

    fn find_waiting(&self) -> Option<Waiting> {
        if self.failing_since.is_some() {
            Some(Waiting::Unreachable)
        } else if !self.is_syncing {
            Some(Waiting::SyncingDisabled)
        } else if self.is_source_failing && self.in_flight.is_empty() {
            Some(Waiting::SourceUnavailable)
        } else if !self.is_indexed {
            Some(Waiting::Indexing)
        } else if self.search.is_some() || !self.in_flight.is_empty() {
            None
        } else if self.rivals.is_yielding() {
            Some(Waiting::OtherAdapter)
        } else if self.cursor.height > self.headers.tip_height() {
            let is_connected = self
                .view
                .as_ref()
                .is_some_and(|view| view.tip.height >= self.headers.tip_height());
            Some(if is_connected {
                Waiting::NewBlocks
            } else {
                Waiting::Connecting
            })
        } else if self.is_held {
            Some(Waiting::QueueFull)
        } else if self.reading.is_reading() || !self.resume_at.is_zero() || !self.read_at.is_zero()
        {
            None
        } else {
            Some(Waiting::QueueFull)
        }
    }
}
