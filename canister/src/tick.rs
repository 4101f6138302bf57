//! One heartbeat: drain the queue, then work within the budgets, then ask for more.
//!
//! The queue is drained completely before any budget is read: how much that can cost is bounded by
//! what is admitted, not by a budget. Work that follows is one step at a time of, in this order:
//! merging stable changes where no more of them would keep reads cheap, retiring the next stable block,
//! and before it taking its coins into the commitment if one is kept, merging unstable changes where too
//! many of them wait for it, connecting the next block, merging what can wait, taking older coins into
//! the commitment. Retiring goes before connecting, so that the unstable tree stays small however many
//! blocks wait; merging mostly goes last, so that a surge of blocks is connected first. One step is done in
//! any case, so that the smallest budget makes progress.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::stability::stable_child;
use millrace_store::StoreError;
use millrace_store::cells::Counter;
use millrace_store::coins::Progress;
use millrace_store::queue::MAX_PENDING_BLOCKS;

use crate::app::Spent;
use crate::connect::STEP_ENTRIES;
use crate::pull::Ask;
use crate::watchdog::{Mode, Touched};
use crate::{App, Env};

/// Blocks of other branches that leave the tree in one step, at most: some 0.1 G instructions.
pub const STEP_RETIRED: usize = 256;

/// Heartbeats that connect and admit nothing after stable memory was found not to grow: what was done of a
/// block before is lost with it, and need not be done again in every heartbeat.
pub const MEMORY_PAUSE_BEATS: u32 = 16;

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Take a block into the commitment to the stable set.
    Commit(BlockHash),
    /// Make a block part of the stable set.
    Retire(BlockHash),
    /// Connect a block.
    Connect(BlockHash),
    /// Merge changes.
    Compact,
    /// Take stable coins into the commitment.
    Sweep,
    /// Merge what was imported of a snapshot.
    Import,
}

/// The item of a heartbeat that touches one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Single {
    /// The first of the queue.
    First(BlockHash),
    /// A step of work.
    Step(Work),
}

impl<M: Memory> App<M> {
    /// Runs one heartbeat. Returns the call to make, if there is one.
    pub fn heartbeat(&mut self, env: &impl Env) -> Option<Ask> {
        self.memory_pause = self.memory_pause.saturating_sub(1);
        self.is_low_on_cycles = self.lacks_cycles(env);
        let touched = match self.mode() {
            Mode::Normal => {
                self.drain(env, MAX_PENDING_BLOCKS as usize);
                if self.is_low_on_cycles {
                    self.store.counters.add(Counter::LowOnCycles, 1);
                } else {
                    self.follow_commitment(env);
                    self.work(env);
                    self.anticipate_fees(env);
                    self.sweep_outbox(env);
                }
                Touched::All
            }
            Mode::Cautious => self.one_item(env),
        };
        if !self.store.queue.is_empty() {
            self.store.counters.add(Counter::QueueLeftOver, 1);
        }
        let ask = if self.is_low_on_cycles {
            None
        } else {
            self.next_ask(env)
        };
        self.note_success(env.now(), touched);
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
            if !self.try_step(env, work) {
                return;
            }
            if let Some(limit) = self.spent(env) {
                if self.plan().is_some() {
                    self.store.counters.add(limit, 1);
                }
                return;
            }
        }
    }

    /// Does one step. Returns whether the next one may follow: after a fault, or without room for what a
    /// step writes, it waits for the next heartbeat, since a loop would only repeat the fault.
    fn try_step(&mut self, env: &impl Env, work: Work) -> bool {
        if let Err(error) = self.store.require_room() {
            self.note_block_fault(env, "working", &error);
            return false;
        }
        let stepped = self.step(env, work);
        match &stepped {
            // A merge that finds no room waits for itself.
            Err(error) if work == Work::Compact => self.note_fault(env, "working", error),
            Err(error) => self.note_block_fault(env, "working", error),
            Ok(()) => {}
        }
        stepped.is_ok()
    }

    /// Touches exactly one item, the same one until it succeeds: that is how the watchdog knows
    /// whom to blame.
    fn one_item(&mut self, env: &impl Env) -> Touched {
        match self.single() {
            Some(Single::First(_)) => {
                self.drain(env, 1);
                Touched::Queue
            }
            Some(Single::Step(work)) => {
                self.try_step(env, work);
                Touched::Work
            }
            None => Touched::All,
        }
    }

    /// Returns the item that a heartbeat touches which touches one. Queue and work take turns, or whoever
    /// pushes blocks all the time would keep the work from being done, or blamed.
    pub(crate) fn single(&mut self) -> Option<Single> {
        let work = if self.is_low_on_cycles {
            None
        } else {
            self.plan()
        };
        let is_works_turn = self.has_drained && work.is_some();
        match self.store.queue.first() {
            Some(hash) if !is_works_turn => Some(Single::First(hash)),
            _ => work.map(Single::Step),
        }
    }

    /// Returns the limit that is reached, by the counter of those who reach it.
    fn spent(&self, env: &impl Env) -> Option<Counter> {
        let written = self.store.pages().pages_written();
        if env.instructions() >= self.config.instructions {
            Some(Counter::InstructionsHit)
        } else if written >= self.config.pages {
            Some(Counter::PagesHit)
        } else {
            let lately = self.window.total(env.now()).saturating_add(written);
            (lately >= self.config.window_pages).then_some(Counter::WindowHit)
        }
    }

    /// Returns whether what is left of the cycles is kept for draining and answering. Who burns them has
    /// none left, and wants it so.
    pub(crate) fn lacks_cycles(&self, env: &impl Env) -> bool {
        !self.config.is_burning_cycles
            && env
                .cycles_to_spend()
                .is_some_and(|cycles| cycles < self.config.cycles_reserve)
    }

    /// Returns the next step, if anything is to be done.
    pub(crate) fn plan(&mut self) -> Option<Work> {
        let watch = self.store.cells.watch();
        if self.store.imports.is_under_way() {
            let may_work = self.memory_pause == 0 && !watch.is_importing_halted;
            let is_wanted = may_work && self.store.wants_import_step();
            return is_wanted.then_some(Work::Import);
        }
        self.store.coins.follow(self.store.tree.best_tip());
        let may_compact = !watch.is_compacting_halted;
        if may_compact && self.store.coins.must_compact() {
            return Some(Work::Compact);
        }
        if !watch.is_retiring_halted
            && let Some(hash) = self.stable_child()
        {
            return Some(if self.must_commit(&hash) {
                Work::Commit(hash)
            } else {
                Work::Retire(hash)
            });
        }
        if may_compact && self.store.coins.must_merge_ahead() {
            return Some(Work::Compact);
        }
        if self.memory_pause == 0
            && let Some(hash) = self.next_to_connect()
        {
            return Some(Work::Connect(hash));
        }
        if may_compact && self.store.coins.wants_compaction() {
            return Some(Work::Compact);
        }
        self.must_sweep().then_some(Work::Sweep)
    }

    pub(crate) fn step(&mut self, env: &impl Env, work: Work) -> Result<(), StoreError> {
        match work {
            Work::Retire(hash) => {
                let before = self.store.tree.len();
                let progress = self.store.retire_step(&hash, STEP_RETIRED)?;
                let retired = usize::from(progress == Progress::Done);
                let dropped = before.saturating_sub(self.store.tree.len() + retired) as u64;
                self.store.counters.add(Counter::BlocksDropped, dropped);
                self.store
                    .counters
                    .add(Counter::BlocksRetired, retired as u64);
                self.stable_child = None;
            }
            Work::Commit(hash) => self.commit_step(&hash)?,
            Work::Sweep => self.sweep_step()?,
            Work::Import => self.import_step()?,
            Work::Connect(hash) => self.connect_step(env, hash)?,
            Work::Compact => {
                self.store.coins.compact_step(STEP_ENTRIES)?;
            }
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
