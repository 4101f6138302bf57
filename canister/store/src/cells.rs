//! Small durable values: configuration, counters, pull state, watchdog.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ic_stable_structures::{Cell, Memory};
use millrace_core::sync::Sync;

use crate::StoreError;
use crate::record::{join, take};

/// Declares counters with their metric names, in stored order; new ones go to the end.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $metric:literal,)*) => {
        /// Numbers that only grow over the life of the canister.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// Every counter, in stored order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the name under which the counter is published.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $metric,)* }
            }
        }
    };
}

counters! {
    /// Heartbeats that ended.
    Heartbeats = "heartbeats",
    /// Blocks that came whole into the queue by pull.
    BlocksPulled = "blocks_pulled",
    /// Blocks that came whole into the queue by push.
    BlocksPushed = "blocks_pushed",
    /// Bytes of both.
    BytesDelivered = "bytes_delivered",
    /// Deliveries of blocks that were there already.
    BlocksKnown = "blocks_known",
    /// Blocks connected.
    BlocksConnected = "blocks_connected",
    /// Blocks that became stable.
    BlocksRetired = "blocks_retired",
    /// Blocks deleted because another branch became stable or had more work.
    BlocksDropped = "blocks_dropped",
    /// Changes of the best tip to another branch.
    Reorgs = "reorgs",
    /// Blocks and headers refused because their parent is unknown.
    RejectedUnknownParent = "rejected_unknown_parent",
    /// Blocks and headers refused because of their header.
    RejectedHeader = "rejected_header",
    /// Blocks and headers refused because the tree is full of better ones.
    RejectedTreeFull = "rejected_tree_full",
    /// Blocks refused because of their structure.
    RejectedStructure = "rejected_structure",
    /// Blocks refused because of the coins they spend or replace.
    RejectedCoins = "rejected_coins",
    /// Blocks and headers refused because they or an ancestor are known to be invalid.
    RejectedInvalid = "rejected_invalid",
    /// Blocks refused because processing them never ended.
    RejectedQuarantined = "rejected_quarantined",
    /// Pushed parts refused.
    PartsRejected = "parts_rejected",
    /// Pushed parts for which there was no room.
    PartsNoRoom = "parts_no_room",
    /// Pushes by callers that are no adapters.
    PushesUnauthorised = "pushes_unauthorised",
    /// Calls to the blocks source.
    PullCalls = "pull_calls",
    /// Calls to the blocks source that brought an error.
    PullErrors = "pull_errors",
    /// Pulled blocks beyond what the queue takes, too small or large to be blocks, or refused for
    /// good before.
    PullBlocksIgnored = "pull_blocks_ignored",
    /// Pulled headers that were refused, whatever the reason, or not looked at.
    PullHeadersRefused = "pull_headers_refused",
    /// Times the watchdog found that work had not ended.
    WatchdogStrikes = "watchdog_strikes",
    /// Errors of the store; none are expected.
    StoreErrors = "store_errors",
    /// Blocks refused because they break a consensus rule.
    RejectedConsensus = "rejected_consensus",
    /// Blocks and headers refused because their time is ahead of the canister's clock.
    RejectedTooNew = "rejected_too_new",
    /// Copies of blocks refused because their bytes are not those their header stands for.
    RejectedDamagedBytes = "rejected_damaged_bytes",
    /// Cycles burnt.
    CyclesBurnt = "cycles_burnt",
    /// Well-formed transactions that callers sent.
    TransactionsSent = "transactions_sent",
    /// Heartbeats that left work for the next one because of their instructions.
    InstructionsHit = "budget_instructions_hit",
    /// Heartbeats that left work for the next one because of the stable pages they wrote.
    PagesHit = "budget_stable_pages_hit",
    /// Heartbeats that left work for the next one because of the stable pages of ten minutes.
    WindowHit = "budget_ten_minutes_hit",
    /// Heartbeats that connected nothing for want of cycles.
    LowOnCycles = "low_on_cycles_heartbeats",
    /// Times that stable memory could not grow.
    MemoryRefusals = "memory_refusals",
    /// Heartbeats that ended with delivered blocks nobody looked at: none does unless the watchdog
    /// made them cautious.
    QueueLeftOver = "queue_left_over",
    /// Pulled blocks that found no room.
    PulledNoRoom = "pulled_no_room",
    /// Distinct stable pages written, added up over all messages.
    PagesWritten = "stable_pages_written",
}

/// Values of all counters, kept on the heap and flushed at the end of each message.
pub struct Counters<M: Memory> {
    cell: Cell<Vec<u8>, M>,
    values: Vec<u64>,
    is_dirty: bool,
}

impl<M: Memory> Counters<M> {
    pub(crate) fn open(memory: M) -> Self {
        let cell = Cell::init(memory, Vec::new());
        let mut values = vec![0; Counter::ALL.len()];
        for (value, bytes) in values.iter_mut().zip(cell.get().as_chunks::<8>().0) {
            *value = u64::from_le_bytes(*bytes);
        }
        Self {
            cell,
            values,
            is_dirty: false,
        }
    }

    /// Returns a counter's value.
    pub fn get(&self, counter: Counter) -> u64 {
        self.values.get(counter as usize).copied().unwrap_or(0)
    }

    /// Adds to a counter; durable once flushed.
    pub fn add(&mut self, counter: Counter, amount: u64) {
        if let Some(value) = self.values.get_mut(counter as usize) {
            *value = value.saturating_add(amount);
            self.is_dirty = true;
        }
    }

    /// Makes all values durable; writes nothing when none changed.
    pub fn flush(&mut self) {
        if self.is_dirty {
            let bytes = self.values.iter().flat_map(|value| value.to_le_bytes());
            self.cell.set(bytes.collect());
            self.is_dirty = false;
        }
    }
}

/// What a heartbeat that touches one item touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A queued block.
    Queued(BlockHash),
    /// A block to be connected.
    Connect(BlockHash),
    /// The next stable block.
    Retire,
    /// Merges of changes.
    Merge,
    /// The commitment to the stable set.
    Commit,
    /// Merges of an imported set.
    Import,
}

/// An item whose processing may never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The item.
    pub item: Item,
    /// How often the watchdog found no heartbeat to have ended while this was the item of each.
    pub strikes: u32,
}

/// What the watchdog knows: see the canister's `watchdog` module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// How often the watchdog woke since work last ended.
    pub strikes: u32,
    /// Heartbeats that still touch one item only.
    pub cautious: u32,
    /// Whether retiring is given up until the next upgrade.
    pub is_retiring_halted: bool,
    /// Whether merging changes and building filters over them is given up until the next upgrade.
    pub is_compacting_halted: bool,
    /// Whether the commitment to the stable set is given up until the next upgrade.
    pub is_committing_halted: bool,
    /// Whether merging what was imported is given up until the next upgrade.
    pub is_importing_halted: bool,
    /// The first of the queue when the watchdog last woke and there was one.
    pub queued: Option<Suspect>,
    /// The next step of work when the watchdog last woke and nothing was queued.
    pub work: Option<Suspect>,
}

/// Bytes of a stored suspect: kind, strikes u32, hash.
const SUSPECT_BYTES: usize = 1 + 4 + 32;

/// Bytes of what the watchdog knows.
const WATCH_BYTES: usize = 16 + 2 * SUSPECT_BYTES;

fn encode_suspect(suspect: Option<Suspect>) -> [u8; SUSPECT_BYTES] {
    let Some(Suspect { item, strikes }) = suspect else {
        return [0; SUSPECT_BYTES];
    };
    let (kind, hash) = match item {
        Item::Queued(hash) => (1, hash.to_byte_array()),
        Item::Connect(hash) => (2, hash.to_byte_array()),
        Item::Retire => (3, [0; 32]),
        Item::Merge => (4, [0; 32]),
        Item::Commit => (5, [0; 32]),
        Item::Import => (6, [0; 32]),
    };
    join(&[&[kind], &strikes.to_le_bytes(), &hash])
}

fn decode_suspect(bytes: &mut &[u8]) -> Option<Suspect> {
    let [kind] = take(bytes).unwrap_or_default();
    let strikes = u32::from_le_bytes(take(bytes).unwrap_or_default());
    let hash = BlockHash::from_byte_array(take(bytes).unwrap_or_default());
    let item = match kind {
        1 => Item::Queued(hash),
        2 => Item::Connect(hash),
        3 => Item::Retire,
        4 => Item::Merge,
        5 => Item::Commit,
        6 => Item::Import,
        _ => return None,
    };
    Some(Suspect { item, strikes })
}

/// Bits of what is halted besides retiring.
const COMPACTING: u32 = 1;
const COMMITTING: u32 = 2;
const IMPORTING: u32 = 4;

/// Configuration, pull state and watchdog state.
pub struct Cells<M: Memory> {
    config: Cell<Vec<u8>, M>,
    pull: Cell<Vec<u8>, M>,
    watch: Cell<[u8; WATCH_BYTES], M>,
}

impl<M: Memory> Cells<M> {
    pub(crate) fn open(config: M, pull: M, watch: M) -> Self {
        Self {
            config: Cell::init(config, Vec::new()),
            pull: Cell::init(pull, Sync::new().encode().to_vec()),
            watch: Cell::init(watch, [0; WATCH_BYTES]),
        }
    }

    /// Returns the configuration as the canister encoded it; empty before the first `set_config`.
    pub fn config(&self) -> &[u8] {
        self.config.get()
    }

    /// Replaces the configuration.
    pub fn set_config(&mut self, bytes: Vec<u8>) {
        self.config.set(bytes);
    }

    /// Returns the pull machine.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn pull(&self) -> Result<Sync, StoreError> {
        Sync::decode(self.pull.get()).map_err(|error| StoreError::damaged("pull state", error))
    }

    /// Stores the pull machine; writes nothing when it did not change.
    pub fn set_pull(&mut self, pull: &Sync) {
        let bytes = pull.encode();
        if self.pull.get().as_slice() != bytes {
            self.pull.set(bytes.to_vec());
        }
    }

    /// Returns the watchdog's knowledge.
    pub fn watch(&self) -> Watch {
        let mut rest = self.watch.get().as_slice();
        let mut next = || u32::from_le_bytes(take(&mut rest).unwrap_or_default());
        let (strikes, cautious) = (next(), next());
        let (is_retiring_halted, others) = (next() != 0, next());
        Watch {
            strikes,
            cautious,
            is_retiring_halted,
            is_compacting_halted: others & COMPACTING != 0,
            is_committing_halted: others & COMMITTING != 0,
            is_importing_halted: others & IMPORTING != 0,
            queued: decode_suspect(&mut rest),
            work: decode_suspect(&mut rest),
        }
    }

    /// Stores the watchdog's knowledge; writes nothing when it did not change.
    pub fn set_watch(&mut self, watch: Watch) {
        if watch != self.watch() {
            let others = (u32::from(watch.is_compacting_halted) * COMPACTING)
                | (u32::from(watch.is_committing_halted) * COMMITTING)
                | (u32::from(watch.is_importing_halted) * IMPORTING);
            self.watch.set(join(&[
                &watch.strikes.to_le_bytes(),
                &watch.cautious.to_le_bytes(),
                &u32::from(watch.is_retiring_halted).to_le_bytes(),
                &others.to_le_bytes(),
                &encode_suspect(watch.queued),
                &encode_suspect(watch.work),
            ]));
        }
    }
}
