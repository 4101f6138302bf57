//! One heartbeat: drain the queue, then work within the budgets, then ask for more.
//!
//! The queue is drained completely before any budget is read: how much that can cost is bounded by
//! what is admitted, not by a budget. Work that follows is one step at a time of, in this order:
//! going on with a block on its way into the stable set, deleting what left the tree, beginning
//! with the next stable block, connecting the next block. Retiring goes before connecting, so
//! that the unstable tree stays small however many blocks wait. One step is done in any case, so
//! that the smallest budget makes progress.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::Instructions;
use millrace_core::stability::stable_child;
use millrace_store::StoreError;
use millrace_store::cells::Counter;
use millrace_store::coins::Progress;
use millrace_store::queue::MAX_PENDING_BLOCKS;

use crate::app::Spent;
use crate::connect::STEP_COINS;
use crate::pull::Ask;
use crate::watchdog::Mode;
use crate::{App, Env};

/// One kind of work on one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Go on moving a block's coins into the stable set.
    Retire(BlockHash),
    /// Delete what left the tree.
    Collect,
    /// Begin to retire a block.
    BeginRetire(BlockHash),
    /// Connect a block.
    Connect(BlockHash),
}

impl<M: Memory> App<M> {
    /// Runs one heartbeat. Returns the call to make, if there is one.
    pub fn heartbeat(&mut self, env: &impl Env) -> Option<Ask> {
        self.store.pages().reset();
        match self.mode() {
            Mode::Normal => {
                self.drain(env, MAX_PENDING_BLOCKS as usize);
                self.work(env);
                self.anticipate_fees(env);
                self.sweep_outbox(env);
            }
            Mode::Cautious => self.one_item(env),
        }
        let ask = self.next_ask(env);
        self.note_success();
        self.end_log(env);
        self.store.counters.add(Counter::Heartbeats, 1);
        self.store.flush();
        self.last_beat = Spent {
            instructions: env.instructions().get(),
            pages_written: self.store.pages().pages_written(),
            pages_read: self.store.pages().pages_read(),
        };
        ask
    }

    /// Works until a budget or the work is used up.
    fn work(&mut self, env: &impl Env) {
        while let Some(work) = self.plan() {
            if let Err(error) = self.step(env, work) {
                // The next heartbeat tries again; a loop here would only repeat the fault.
                self.note_fault(env, "working", &error);
                return;
            }
            if self.is_spent(env.instructions()) {
                return;
            }
        }
    }

    /// Touches exactly one item, the same one until it succeeds: that is how the watchdog knows
    /// whom to blame.
    fn one_item(&mut self, env: &impl Env) {
        if !self.store.queue.is_empty() {
            self.drain(env, 1);
        } else if let Some(work) = self.plan()
            && let Err(error) = self.step(env, work)
        {
            self.note_fault(env, "working", &error);
        }
    }

    fn is_spent(&self, instructions: Instructions) -> bool {
        instructions >= self.config.instructions
            || self.store.pages().pages_written() >= self.config.pages
    }

    /// Returns the next step, if anything is to be done.
    pub(crate) fn plan(&mut self) -> Option<Work> {
        let watch = self.store.cells.watch();
        if !watch.is_retiring_halted
            && let Some(hash) = self.store.coins.retiring()
        {
            return Some(Work::Retire(hash));
        }
        if !watch.is_collecting_halted && self.store.has_garbage() {
            return Some(Work::Collect);
        }
        if !watch.is_retiring_halted
            && let Some(hash) = self.stable_child()
        {
            return Some(Work::BeginRetire(hash));
        }
        self.next_to_connect().map(Work::Connect)
    }

    fn step(&mut self, env: &impl Env, work: Work) -> Result<(), StoreError> {
        match work {
            Work::Retire(hash) => {
                if self.store.retire_step(&hash, STEP_COINS)? == Progress::Done {
                    self.store.counters.add(Counter::BlocksRetired, 1);
                }
            }
            Work::Collect => {
                self.store.collect_step(STEP_COINS)?;
            }
            Work::BeginRetire(hash) => {
                let before = self.store.tree.len();
                self.store.begin_retire(&hash)?;
                let dropped = before.saturating_sub(self.store.tree.len() + 1) as u64;
                self.store.counters.add(Counter::BlocksDropped, dropped);
                self.stable_child = None;
            }
            Work::Connect(hash) => self.connect_step(env, hash)?,
        }
        Ok(())
    }

    /// Returns the stable child of the root; looked for once after each change of the tree.
    fn stable_child(&mut self) -> Option<BlockHash> {
        let threshold = self.config.stability_threshold;
        let store = &self.store;
        *self
            .stable_child
            .get_or_insert_with(|| stable_child(&store.tree, threshold, store.network()))
    }
}
