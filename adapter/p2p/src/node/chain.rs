//! What a peer has shown of its chain.

use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use millrace_core::header::{ChainWork, HeaderContext, MAX_FUTURE_SECONDS};
use millrace_core::{Height, UnixSeconds};

use super::presync::Presync;

/// How long a peer may stay behind our chain before it is asked (Bitcoin Core's
/// `CHAIN_SYNC_TIMEOUT`).
pub(super) const BEHIND_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// How long it may then take to show a better one.
pub(super) const BEHIND_ANSWER: Duration = Duration::from_secs(2 * 60);

/// An open question for headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub at: Duration,
    /// When the peer has failed to answer.
    pub deadline: Duration,
}

/// A peer that is behind our chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Behind {
    /// The work to catch up with.
    work: ChainWork,
    until: Duration,
    is_asked: bool,
}

/// What to do about a peer that may be behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lag {
    /// Nothing.
    Tolerable,
    /// Ask for its headers once more.
    Ask,
    /// End the connection.
    Hopeless,
}

/// What a peer has shown of its chain.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerChain {
    /// The block with most work that the peer showed or announced.
    pub best: Option<BlockHash>,
    pub best_work: ChainWork,
    pub best_height: Height,
    /// The last announced block whose header has not come yet.
    pub announced: Option<BlockHash>,
    /// Whether the peer was asked for headers since it connected.
    pub is_started: bool,
    pub asked: Option<Asked>,
    /// When it was last asked.
    pub asked_at: Duration,
    /// Messages in a row whose headers follow nothing known.
    pub unconnected: u32,
    /// Full messages in a row whose headers were all known.
    pub repeats: u32,
    /// Headers of branches it sent since it last made the best chain longer.
    pub side_headers: u32,
    /// Chains it began to show since one of them had enough work.
    pub presyncs: u32,
    /// A chain that has to show its work first.
    pub presync: Option<Box<Presync>>,
    /// Whether its chain ended with too little work.
    pub is_low_work: bool,
    /// When it last told of a header that was new.
    pub news_at: Option<Duration>,
    behind: Option<Behind>,
}

impl PeerChain {
    /// Takes in that the peer has a block; returns whether that is its best by now.
    pub fn shows(&mut self, context: &HeaderContext) -> bool {
        if self.best.is_some() && context.chain_work() <= self.best_work {
            return false;
        }
        self.best = Some(context.hash());
        self.best_work = context.chain_work();
        self.best_height = context.height();
        true
    }

    /// Judges whether the peer's chain keeps up with `ours`, as Bitcoin Core's `ConsiderEviction`
    /// does.
    pub fn lag(&mut self, now: Duration, ours: ChainWork) -> Lag {
        if self.best_work >= ours {
            self.behind = None;
            return Lag::Tolerable;
        }
        let first = Behind {
            work: ours,
            until: now.saturating_add(BEHIND_TIMEOUT),
            is_asked: false,
        };
        let behind = self.behind.get_or_insert(first);
        if self.best_work >= behind.work {
            *behind = first;
        }
        if now < behind.until {
            return Lag::Tolerable;
        }
        if behind.is_asked {
            return Lag::Hopeless;
        }
        behind.is_asked = true;
        behind.until = now.saturating_add(BEHIND_ANSWER);
        Lag::Ask
    }

    /// Returns when [`PeerChain::lag`] is next worth a call.
    pub fn lag_due(&self) -> Option<Duration> {
        self.behind.map(|behind| behind.until)
    }
}

/// Returns whether a header's time has not come: nodes keep such ones for later.
pub(super) fn is_ahead(header: &Header, now: UnixSeconds) -> bool {
    u64::from(header.time) > now.get().saturating_add(MAX_FUTURE_SECONDS)
}

/// Returns the work of a chain that goes on with `headers`, by their own bits.
pub(super) fn claimed_work(start: ChainWork, headers: &[Header]) -> ChainWork {
    let mut of_bits = None;
    let mut work = start;
    for header in headers {
        let block = match of_bits {
            Some((bits, work)) if bits == header.bits => work,
            _ => ChainWork::of(header.target()),
        };
        of_bits = Some((header.bits, block));
        work = work.saturating_add(block);
    }
    work
}
