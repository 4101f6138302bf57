//! Owns all state.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use candid::Principal;
use ic_stable_structures::Memory;
use millrace_candid::{Config as WireConfig, InitConfig, SetConfigRequest};
use millrace_core::Height;
use millrace_core::fees::BlockFees;
use millrace_core::header::ChainWork;
use millrace_core::sync::{Event, Sync, SyncPolicy};
use millrace_core::tree::BlockStatus;
use millrace_core::{Bytes, Pages, UnixSeconds};
use millrace_store::cells::{Counter, Watch};
use millrace_store::rejections::{Rejection, RejectionKind};
use millrace_store::{OpenError, Store, StoreError};

use crate::Env;
use crate::config::{Config, ConfigError};
use crate::connect::InHand;
use crate::pull::Copies;
use crate::tick::MEMORY_PAUSE_BEATS;
use crate::window::WriteWindow;

/// Lines about refused blocks and faults that are logged between two heartbeats, at most: the IC
/// keeps a few kilobytes of log, and one message may refuse thousands of blocks. Counters have all.
pub const MAX_LOG_LINES: u32 = 16;

/// Why the canister cannot be installed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// Stable memory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// The canister.
///
/// Between messages everything that matters is in the store; the other fields are caches and may
/// be lost at any time.
pub struct App<M: Memory> {
    pub(crate) store: Store<M>,
    pub(crate) config: Config,
    pub(crate) pull: Sync,
    pub(crate) policy: SyncPolicy,
    /// The block whose change is being computed or stored.
    pub(crate) in_hand: Option<InHand>,
    /// What is known of pulled copies of blocks.
    pub(crate) copies: Copies,
    /// Fee rates of the blocks that the last percentiles were computed from: 10,000 of the newest blocks,
    /// and the rest of the last one.
    pub(crate) fee_rates: BTreeMap<BlockHash, BlockFees>,
    /// The stable child of the root, once it was looked for since the tree changed.
    pub(crate) stable_child: Option<Option<BlockHash>>,
    /// Lines about refused blocks and faults since the last heartbeat began, logged or not.
    pub(crate) lines: u32,
    /// What the last heartbeat spent, for the metrics.
    pub(crate) last_beat: Spent,
    /// When the message in hand began.
    pub(crate) message_time: UnixSeconds,
    /// When the last heartbeat ended, unless an upgrade came since.
    pub(crate) beat_ended: Option<UnixSeconds>,
    /// Whether the last heartbeat that touched one item touched a queued block.
    pub(crate) has_drained: bool,
    /// What was written lately.
    pub(crate) window: WriteWindow,
    /// Heartbeats that still connect nothing because stable memory could not grow.
    pub(crate) memory_pause: u32,
    /// Whether the last heartbeat connected nothing for want of cycles.
    pub(crate) is_low_on_cycles: bool,
}

/// What a heartbeat spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Instructions when the heartbeat's work ended.
    pub instructions: u64,
    /// Distinct stable pages written.
    pub pages_written: Pages,
    /// Distinct stable pages read.
    pub pages_read: Pages,
}

impl<M: Memory> App<M> {
    /// Creates the state of a new canister.
    ///
    /// # Errors
    /// [`AppError`].
    pub fn install(memory: M, config: InitConfig) -> Result<Self, AppError> {
        let (config, network) = Config::initial(config)?;
        Self::with_store(Store::create(memory, network)?, config)
    }

    pub(crate) fn with_store(mut store: Store<M>, config: Config) -> Result<Self, AppError> {
        let encoded = config.encode(store.network())?;
        store.cells.set_config(encoded);
        Ok(Self::around(store, config, Sync::new()))
    }

    /// Opens the state after an upgrade. A call that was in flight is given up: its answer no
    /// longer arrives. Quarantine and watchdog start afresh, because this may be the version that
    /// cures what they found.
    ///
    /// # Errors
    /// [`AppError`]; nothing is written then.
    pub fn open(memory: M) -> Result<Self, AppError> {
        let mut app = Self::reopen(memory)?;
        app.pull
            .on(UnixSeconds::ZERO, Event::Upgraded, &SyncPolicy::default());
        app.store.cells.set_watch(Watch::default());
        Ok(app)
    }

    /// Opens the state with a new heap in the middle of a version's life: a call in flight is still
    /// expected, and the watchdog goes on counting. Simulated traps, which cannot roll a native
    /// heap back, lose it this way.
    ///
    /// # Errors
    /// [`AppError`]; nothing is written then.
    pub fn reopen(memory: M) -> Result<Self, AppError> {
        let store = Store::open(memory)?;
        let config = Config::decode(store.cells.config(), store.network())?;
        let pull = store.cells.pull().map_err(OpenError::from)?;
        Ok(Self::around(store, config, pull))
    }

    fn around(store: Store<M>, config: Config, pull: Sync) -> Self {
        Self {
            store,
            config,
            pull,
            policy: SyncPolicy::default(),
            in_hand: None,
            copies: Copies::default(),
            fee_rates: BTreeMap::new(),
            stable_child: None,
            lines: 0,
            last_beat: Spent::default(),
            message_time: UnixSeconds::ZERO,
            beat_ended: None,
            has_drained: false,
            window: WriteWindow::default(),
            memory_pause: 0,
            is_low_on_cycles: false,
        }
    }

    /// Begins a message: books what the one before it wrote, and counts anew.
    pub fn begin_message(&mut self, env: &impl Env) {
        self.message_time = env.now();
        let written = self.store.pages().pages_written();
        self.store.pages().reset();
        if written > Pages::ZERO {
            self.window.note(env.now(), written);
            self.store
                .counters
                .add(Counter::PagesWritten, written.get());
        }
    }

    /// Returns the configuration.
    pub fn get_config(&self) -> WireConfig {
        self.config.to_wire(self.store.network())
    }

    /// Changes the configuration as far as `caller` may; absent fields stay.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing changes then.
    pub fn set_config_for(
        &mut self,
        caller: &Principal,
        is_controller: bool,
        change: SetConfigRequest,
    ) -> Result<(), ConfigError> {
        let change = self.config.allowed_to(caller, is_controller, change)?;
        self.set_config(change)
    }

    /// Changes the configuration; absent fields stay.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing changes then.
    pub fn set_config(&mut self, change: SetConfigRequest) -> Result<(), ConfigError> {
        let config = self.config.changed(change)?;
        let encoded = config.encode(self.store.network())?;
        self.store.cells.set_config(encoded);
        let pushers: Vec<Vec<u8>> = config
            .adapters
            .iter()
            .map(|adapter| adapter.as_slice().to_vec())
            .collect();
        let gone = self.store.assembly.discard(|key| {
            let name = key.pusher.as_bytes();
            !pushers.iter().any(|pusher| pusher == name)
        });
        self.store.forget_halves(&gone);
        if config.block_validation != self.config.block_validation {
            // What is in hand begins anew under the other rules.
            self.in_hand = None;
        }
        self.config = config;
        self.stable_child = None;
        Ok(())
    }

    /// Returns whether `caller` may push blocks.
    pub fn is_adapter(&self, caller: &Principal) -> bool {
        self.config.is_adapter(caller)
    }

    /// Returns whether the canister's cycles are to be burnt.
    pub const fn burns_cycles(&self) -> bool {
        self.config.is_burning_cycles
    }

    /// Counts burnt cycles; durable with the next heartbeat.
    pub fn note_burnt(&mut self, cycles: u128) {
        let cycles = u64::try_from(cycles).unwrap_or(u64::MAX);
        self.store.counters.add(Counter::CyclesBurnt, cycles);
    }

    /// Returns whether stable memory cannot grow, as far as is known.
    pub(crate) fn is_low_on_memory(&self) -> bool {
        self.memory_pause > 0 || !self.store.has_room()
    }

    /// Returns what may still be admitted: blocks and bytes. Nothing while memory cannot grow, so that
    /// nobody sends what would only have to be sent again.
    pub(crate) fn free(&self) -> (u32, Bytes) {
        if self.is_low_on_memory() {
            return (0, Bytes::ZERO);
        }
        self.store.free()
    }

    /// Returns the store, for tests and audits.
    pub const fn store(&self) -> &Store<M> {
        &self.store
    }

    /// Returns the best connected block.
    pub(crate) fn tip(&self) -> (BlockHash, Height) {
        let hash = self.store.tree.best_tip();
        (hash, self.height(&hash))
    }

    /// Returns the work of the best connected chain.
    pub(crate) fn chain_work(&self) -> ChainWork {
        let node = self.store.tree.get(&self.store.tree.best_tip());
        node.map_or(ChainWork::ZERO, |node| node.context().chain_work())
    }

    /// Returns the height of a block of the tree; that of the root for any other.
    pub(crate) fn height(&self, hash: &BlockHash) -> Height {
        let node = self.store.tree.get(hash);
        node.map_or_else(
            || self.store.anchor_height(),
            |node| node.context().height(),
        )
    }

    /// Counts a refused block and lists it among the recent ones.
    pub(crate) fn reject(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
        kind: RejectionKind,
        reason: impl ToString,
    ) {
        let rejection = self.rejection(hash, kind, reason);
        self.note_rejection(env, rejection);
    }

    /// As [`App::reject`], and has further deliveries of the block refused at once.
    pub(crate) fn refuse_for_good(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
        kind: RejectionKind,
        reason: impl ToString,
    ) {
        let rejection = self.rejection(hash, kind, reason);
        self.store.rejections.refuse_for_good(rejection.clone());
        self.note_rejection(env, rejection);
    }

    fn rejection(&self, hash: BlockHash, kind: RejectionKind, reason: impl ToString) -> Rejection {
        let node = self.store.tree.get(&hash);
        Rejection {
            hash,
            height: node.map(|node| node.context().height()),
            kind,
            reason: reason.to_string(),
        }
    }

    fn note_rejection(&mut self, env: &impl Env, rejection: Rejection) {
        let Rejection { hash, reason, .. } = &rejection;
        self.log(env, || format!("refused block {hash}: {reason}"));
        self.store.counters.add(rejection.kind.counter(), 1);
        self.store.rejections.push(rejection);
    }

    /// Counts and logs a fault of the store.
    pub(crate) fn note_fault(&mut self, env: &impl Env, during: &str, error: &StoreError) {
        self.log(env, || format!("fault while {during}: {error}"));
        let counter = if matches!(error, StoreError::OutOfMemory { .. }) {
            Counter::MemoryRefusals
        } else {
            Counter::StoreErrors
        };
        self.store.counters.add(counter, 1);
    }

    /// As [`App::note_fault`]. When what failed for want of memory was to take a block in or to connect one,
    /// others would fail, too.
    pub(crate) fn note_block_fault(&mut self, env: &impl Env, during: &str, error: &StoreError) {
        if matches!(error, StoreError::OutOfMemory { .. }) {
            self.memory_pause = MEMORY_PAUSE_BEATS;
        }
        self.note_fault(env, during, error);
    }

    /// Logs a line that input can cause any number of; see [`MAX_LOG_LINES`].
    fn log(&mut self, env: &impl Env, line: impl FnOnce() -> String) {
        self.lines = self.lines.saturating_add(1);
        if self.lines <= MAX_LOG_LINES {
            env.log(&line());
        }
    }

    /// Says how many lines were left out, and begins to count anew.
    pub(crate) fn end_log(&mut self, env: &impl Env) {
        let left_out = self.lines.saturating_sub(MAX_LOG_LINES);
        if left_out > 0 {
            env.log(&format!(
                "{left_out} more refused blocks or faults; see /metrics"
            ));
        }
        self.lines = 0;
    }

    /// Takes the bodies away from held blocks above one that lost its own, so that every held
    /// block has a held or connected parent. They are wanted again. Bounded by held blocks.
    pub(crate) fn drop_bodies_above(&mut self, hash: &BlockHash) {
        let mut pending = vec![*hash];
        while let Some(parent) = pending.pop() {
            let children: Vec<BlockHash> = self
                .store
                .tree
                .children(&parent)
                .filter(|node| node.status() == BlockStatus::BodyHeld)
                .map(|node| node.hash())
                .collect();
            for child in children {
                if self.store.tree.drop_body(&child).is_ok() {
                    self.store.discard(child);
                    self.copies.drop_copy(&child);
                }
                pending.push(child);
            }
        }
    }
}
