//! Decides what to read from the source and what to push to the canister.
//!
//! The engine is a state machine without I/O, clock or randomness: the shell reports events with
//! the time, and carries out the commands that come back. It keeps nothing that must survive a
//! restart: where to go on is the canister's answer to a locator.
//!
//! ```text
//!  source headers --> HeaderTree --> best chain
//!                                        |            +-- answers, receipts --+
//!                                        v            v                       |
//!                    locate the last block the canister has (Search)          |
//!                                        |                                    |
//!                                        v                                    |
//!                    read ahead --> pack messages --> pushes in flight --> canister
//!                         ^                                    |
//!                         +--- rewind: no room, lost, refused <+
//! ```
//!
//! Bounds: blocks read ahead ([`EngineConfig::read_ahead_bytes`], [`READ_AHEAD_BLOCKS_MAX`]), blocks
//! under way from the source (a number that the source names), pushes in flight
//! ([`EngineConfig::pushes_max`]), one question and one discovery in flight, 64 locator entries.

mod asking;
pub(crate) mod backoff;
mod feed;
mod feeding;
mod locator;
mod pack;
mod reading;
mod report;
mod rivals;
mod sourcing;
mod window;
mod witness;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bitcoin::BlockHash;
use millrace_core::{Height, Network, UnixSeconds};

use crate::headers::HeaderTree;
use crate::sink::SinkError;
use crate::source::{Discovery, SourceError};

use asking::Question;
use backoff::Backoff;
use locator::Search;
use pack::{Position, Sent};
use reading::ReadAhead;
use rivals::Rivals;
use window::Window;

pub use feed::{
    BlockRef, FeedView, HalfReceived, Part, PartOutcome, Receipt, Rejection, RejectionKind,
};
pub use locator::{MAX_LOCATOR, thinning};
pub use pack::{MESSAGE_OVERHEAD_BYTES, PART_OVERHEAD_BYTES};
pub use reading::READ_AHEAD_BLOCKS_MAX;
pub use report::{Notice, Outcome, Progress, Waiting};
pub use rivals::{RIVAL_PATIENCE, RIVAL_POLL};
pub use witness::{WITNESS_DEPTH, WitnessStripping};

/// How long between questions while the engine waits for the canister.
pub const WAITING_POLL: Duration = Duration::from_millis(500);
/// How long between questions while blocks flow; receipts carry the rest.
pub const FLOWING_POLL: Duration = Duration::from_secs(5);
/// How long between questions when there is nothing to do, or syncing is disabled.
pub const IDLE_POLL: Duration = Duration::from_secs(10);
/// How long between looks at a source that had nothing new.
pub const DISCOVER_POLL: Duration = Duration::from_secs(2);
/// How long until a block that could not be read is tried again.
pub const READ_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long until a source whose files cannot be read is tried again.
pub const SOURCE_RETRY_PAUSE: Duration = Duration::from_secs(10);
/// Times a block may be unreadable, or refused other than for its missing parent, before it is
/// given up.
pub const FAILURES_MAX: u32 = 3;
/// Blocks whose failures are counted at a time; more are a sign of something else.
const FAILURES_TRACKED: usize = 1_000;

/// When the engine's work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When the canister has connected everything the source had at the start.
    Synced,
    /// Never: the source is watched for more.
    Stopped,
}

/// What the engine must know beforehand.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The Bitcoin network.
    pub network: Network,
    /// When to finish.
    pub until: Until,
    /// Pushes in flight, at most; at least 1.
    pub pushes_max: u32,
    /// Candid bytes of one push, at most; the canister's own limit also holds.
    pub message_bytes_max: u32,
    /// Bytes of blocks read before they can be pushed, at most; but one block always. Those on their
    /// way from the source are estimated by the sizes of the last ones.
    pub read_ahead_bytes: u64,
    /// How long the canister may be unreachable before the engine gives up; for ever if absent.
    pub give_up_after: Option<Duration>,
    /// Which blocks are pushed without witness data; none if absent.
    pub witness: Option<WitnessStripping>,
    /// Seed of the jitter. Adapters of one canister need different ones.
    pub seed: u64,
}

/// The time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment; never runs backwards.
    pub elapsed: Duration,
    /// The calendar time, against which header times are judged.
    pub unix: UnixSeconds,
}

/// Names a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PushId(u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed: [`Engine::wake_at`] is reached.
    Tick,
    /// The source answered [`Command::Discover`].
    Discovered(Result<Discovery, SourceError>),
    /// The source answered one hash of [`Command::Read`].
    Read(BlockHash, Result<Vec<u8>, SourceError>),
    /// The canister answered [`Command::Ask`].
    Answered(Result<FeedView, SinkError>),
    /// The canister answered [`Command::Push`].
    Pushed(PushId, Result<Receipt, SinkError>),
    /// The user wants an end: nothing new is pushed, what is in flight is waited for.
    Stop,
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Look for new headers.
    Discover {
        /// Blocks known, newest first.
        locator: Vec<BlockHash>,
    },
    /// Read blocks, in this order.
    Read(Vec<BlockHash>),
    /// Ask for the canister's state.
    Ask {
        /// Blocks at hand, newest first.
        locator: Vec<BlockHash>,
    },
    /// Push a message.
    Push(PushId, Vec<Part>),
    /// Tell the user.
    Notify(Notice),
    /// Everything is done: stop.
    Finish(Outcome),
}

/// The state machine; see the module's documentation.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    headers: HeaderTree,
    /// Whether the source's first discovery is complete.
    is_indexed: bool,
    is_discovering: bool,
    discover_at: Duration,
    question: Option<Question>,
    ask_at: Duration,
    view: Option<FeedView>,
    is_syncing: bool,
    search: Option<Search>,
    /// An answer that missed acknowledged blocks; a second one in a row counts.
    is_suspicious: bool,
    /// The highest common block seen: beyond it everything counts as progress.
    best_common: Height,
    reading: ReadAhead,
    cursor: Position,
    in_flight: BTreeMap<PushId, Vec<Sent>>,
    /// The height up to which blocks have ever been pushed.
    pushed_to: Height,
    rivals: Rivals,
    /// The first block that is pushed with its witness data, as of the last search.
    full_from: Height,
    next_push: PushId,
    window: Window,
    /// Where to go on once nothing is in flight any more.
    rewind: Option<Position>,
    /// Nothing is pushed before the next answer: the canister said it had no room.
    is_held: bool,
    /// Nothing is pushed or asked before this time.
    resume_at: Duration,
    /// Nothing is asked of the source before this time.
    read_at: Duration,
    free_bytes: u64,
    free_blocks: u32,
    retries: Backoff,
    setbacks: Backoff,
    source_retries: Backoff,
    /// Whether the source's last answer was that it has none.
    is_source_failing: bool,
    failing_since: Option<Duration>,
    /// Refusals and read failures by block, of blocks not given up yet.
    failures: HashMap<BlockHash, u32>,
    /// Blocks given up.
    refused_blocks: u32,
    /// Answers in a row that showed the work done.
    settled_answers: u32,
    acknowledged_blocks: u64,
    acknowledged_bytes: u64,
    pushed_blocks: u64,
    pushed_bytes: u64,
    waiting: Option<Waiting>,
    is_stopping: bool,
    is_finished: bool,
    commands: Vec<Command>,
}

impl Engine {
    /// Starts; the first event gets the first commands. At most `reads_max` blocks are on their way
    /// from the source at a time, but one always.
    pub fn new(config: EngineConfig, reads_max: usize) -> Self {
        Self {
            headers: HeaderTree::new(config.network),
            is_indexed: false,
            is_discovering: false,
            discover_at: Duration::ZERO,
            question: None,
            ask_at: Duration::ZERO,
            view: None,
            is_syncing: true,
            search: None,
            is_suspicious: false,
            best_common: Height::ZERO,
            reading: ReadAhead::new(config.read_ahead_bytes, reads_max),
            cursor: Position::start_of(Height::new(1)),
            in_flight: BTreeMap::new(),
            pushed_to: Height::ZERO,
            rivals: Rivals::new(config.seed.rotate_left(48) ^ 0x217a),
            full_from: Height::ZERO,
            next_push: PushId(0),
            window: Window::new(config.pushes_max),
            rewind: None,
            is_held: false,
            resume_at: Duration::ZERO,
            read_at: Duration::ZERO,
            free_bytes: 0,
            free_blocks: 0,
            retries: Backoff::new(config.seed),
            setbacks: Backoff::new(config.seed.rotate_left(32) ^ 0x5eed),
            source_retries: Backoff::new(config.seed.rotate_left(16) ^ 0x50e5),
            is_source_failing: false,
            failing_since: None,
            failures: HashMap::new(),
            refused_blocks: 0,
            settled_answers: 0,
            acknowledged_blocks: 0,
            acknowledged_bytes: 0,
            pushed_blocks: 0,
            pushed_bytes: 0,
            waiting: None,
            is_stopping: false,
            is_finished: false,
            commands: Vec::new(),
            config,
        }
    }

    /// Takes in an event and returns what to do, in order. After [`Command::Finish`] there is
    /// nothing more.
    pub fn on(&mut self, now: Now, event: Event) -> Vec<Command> {
        match event {
            Event::Tick => {}
            Event::Discovered(result) => self.on_discovered(now, result),
            Event::Read(hash, result) => self.on_read(now, hash, result),
            Event::Answered(result) => self.on_answered(now, result),
            Event::Pushed(id, result) => self.on_pushed(now, id, result),
            Event::Stop => self.is_stopping = true,
        }
        self.advance(now);
        std::mem::take(&mut self.commands)
    }

    /// Returns when the next [`Event::Tick`] is due, if nothing else happens before.
    pub fn wake_at(&self) -> Duration {
        if self.is_stopping || self.is_finished {
            return Duration::MAX;
        }
        let discover_at = if self.may_discover() {
            self.discover_at
        } else {
            Duration::MAX
        };
        let pauses = [self.resume_at, self.read_at].into_iter();
        let pause_ends = pauses.filter(|time| !time.is_zero()).min();
        self.ask_due()
            .min(discover_at)
            .min(pause_ends.unwrap_or(Duration::MAX))
    }

    fn advance(&mut self, now: Now) {
        if self.is_finished {
            return;
        }
        if self.resume_at <= now.elapsed {
            self.resume_at = Duration::ZERO;
        }
        if self.read_at <= now.elapsed {
            self.read_at = Duration::ZERO;
        }
        if self.in_flight.is_empty() {
            self.apply_rewind();
        }
        if self.is_stopping {
            if self.in_flight.is_empty() {
                self.finish(Outcome::Stopped);
            }
            return;
        }
        self.discover(now);
        self.feed(now);
        self.ask(now);
        self.report_waiting();
    }

    /// Takes note that the best chain is another one from a height on.
    fn best_chain_changed(&mut self, now: Now, from: Option<Height>) {
        let Some(from) = from else { return };
        self.settled_answers = 0;
        let headers = &self.headers;
        self.reading
            .retain(from, |hash| headers.is_on_best_chain(hash));
        if !self.is_indexed {
            return;
        }
        self.yield_new_blocks(now);
        if Position::start_of(from) < self.cursor {
            self.rewind_to(Position::start_of(from));
            self.notify(Notice::Reorganised { from });
        }
    }

    /// Counts a refusal or read failure of a block; returns whether that was one too many.
    fn count_failure(&mut self, hash: BlockHash) -> bool {
        if self.failures.len() >= FAILURES_TRACKED {
            self.failures.clear();
        }
        let count = self.failures.entry(hash).or_default();
        *count += 1;
        *count >= FAILURES_MAX
    }

    /// Treats a block as one the canister will never take: other branches are tried.
    fn give_up_block(&mut self, now: Now, hash: BlockHash, reason: String) {
        let height = self.headers.height_of(hash).unwrap_or_default();
        self.refused_blocks = self.refused_blocks.saturating_add(1);
        self.failures.remove(&hash);
        self.notify(Notice::BlockGivenUp {
            block: BlockRef { hash, height },
            reason,
        });
        let changed = self.headers.refuse(hash);
        self.best_chain_changed(now, changed);
    }

    fn rewind_to(&mut self, position: Position) {
        self.rewind = Some(self.rewind.map_or(position, |other| other.min(position)));
    }

    fn apply_rewind(&mut self) {
        let Some(position) = self.rewind.take() else {
            return;
        };
        self.cursor = position;
        self.reading.restart_at(position.height);
    }

    fn best_tip(&self) -> BlockRef {
        BlockRef {
            hash: self.headers.tip_hash(),
            height: self.headers.tip_height(),
        }
    }

    fn hashes_of(&self, heights: &[Height]) -> Vec<BlockHash> {
        heights
            .iter()
            .filter_map(|height| self.headers.hash_at(*height))
            .collect()
    }

    fn notify(&mut self, notice: Notice) {
        self.commands.push(Command::Notify(notice));
    }

    fn finish(&mut self, outcome: Outcome) {
        if !self.is_finished {
            self.is_finished = true;
            self.commands.push(Command::Finish(outcome));
        }
    }
}
