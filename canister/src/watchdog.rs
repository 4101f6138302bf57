//! Finds work that never ends, and gives it up.
//!
//! A trap undoes everything its message did, so a heartbeat that traps on some block would trap on
//! it again for ever, and leave no trace. The global timer is another entry point: each heartbeat
//! that ends pushes the timer [`WATCH_SECONDS`] ahead, so it only fires when none ended for that
//! long. Each time it fires while there is something to do counts one strike. Then:
//!
//! 1. from [`CAUTIOUS_STRIKES`] on, heartbeats touch exactly one item each, a queued block or one
//!    step of work, chosen from durable state alone;
//! 2. at [`BLAME_STRIKES`] that item is given up: a queued block is refused, a block being
//!    connected is quarantined with its descendants, retiring or merging stops until the next
//!    upgrade. What was given up is not taken in again before that.
//!
//! A heartbeat that ends clears the strikes. A healthy canister pays one system call for this, and
//! a clock that jumps ahead, or heartbeats that are far apart on a busy subnet, cost it one strike,
//! which takes nothing away: what is in hand stays there.
//!
//! A trap in the watchdog itself undoes its setting of the timer, too. The next heartbeat finds the
//! timer off, sets it and does nothing else, so that this much cannot be undone:
//! [`App::note_dead_watchdog`].

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::blobs::BlobKey;
use millrace_store::cells::{Counter, Watch};
use millrace_store::rejections::RejectionKind;

use crate::tick::Work;
use crate::{App, Env};

/// How long after the last good heartbeat the watchdog wakes, in seconds.
pub const WATCH_SECONDS: u64 = 10;

/// Strikes from which heartbeats touch one item each.
pub const CAUTIOUS_STRIKES: u32 = 2;

/// Strikes at which the next item is given up.
pub const BLAME_STRIKES: u32 = 5;

/// Heartbeats that stay cautious afterwards: the cause may come in numbers.
pub const CAUTIOUS_BEATS: u32 = 64;

/// Why a block is given up.
const REASON: &str = "processing it never ended; a newer version of the canister may";

/// How a heartbeat goes about its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything the budgets allow.
    Normal,
    /// One item.
    Cautious,
}

impl<M: Memory> App<M> {
    /// Runs when no heartbeat ended for [`WATCH_SECONDS`].
    pub fn watchdog(&mut self, env: &impl Env) {
        let has_work = !self.store.queue.is_empty() || self.plan().is_some();
        if !has_work {
            return;
        }
        if self.strike() {
            self.give_up_next(env);
        }
        self.store.flush();
    }

    /// Runs instead of a heartbeat's work when the timer is off: the watchdog ran and trapped. Its
    /// one duty that depends on more than an item of work is to look for a stable block, so that is
    /// what is given up.
    pub fn note_dead_watchdog(&mut self, env: &impl Env) {
        if self.strike() {
            self.halt_retiring(env);
        }
        self.store.flush();
    }

    /// Counts a strike. Returns whether something is to be given up.
    fn strike(&mut self) -> bool {
        let mut watch = self.store.cells.watch();
        watch.strikes = watch.strikes.saturating_add(1);
        self.store.counters.add(Counter::WatchdogStrikes, 1);
        if watch.strikes >= CAUTIOUS_STRIKES {
            watch.cautious = CAUTIOUS_BEATS;
            // Not to be trusted any more. At the first strike it still is: a block of more than one
            // heartbeat's work would otherwise start over for ever where heartbeats are rare.
            self.in_hand = None;
        }
        let is_last = watch.strikes >= BLAME_STRIKES;
        if is_last {
            watch.strikes = 0;
        }
        self.store.cells.set_watch(watch);
        is_last
    }

    fn give_up_next(&mut self, env: &impl Env) {
        if let Some(hash) = self.store.queue.pop() {
            self.give_up_queued(env, hash);
            return;
        }
        match self.plan() {
            Some(Work::Connect(hash)) => {
                self.condemn(env, hash, InvalidReason::Quarantined, REASON);
            }
            Some(Work::Retire(_)) => self.halt_retiring(env),
            Some(Work::Compact) => {
                env.log("merging changes never ends; it is halted until the next upgrade");
                let watch = self.store.cells.watch();
                self.store.cells.set_watch(Watch {
                    is_compacting_halted: true,
                    ..watch
                });
            }
            None => {}
        }
    }

    fn halt_retiring(&mut self, env: &impl Env) {
        env.log("retiring blocks never ends; it is halted until the next upgrade");
        let watch = self.store.cells.watch();
        self.store.cells.set_watch(Watch {
            is_retiring_halted: true,
            ..watch
        });
    }

    /// Refuses a block taken from the queue until the next upgrade, or it would be delivered again
    /// at once. If its header is in the tree, the block is quarantined there, too.
    fn give_up_queued(&mut self, env: &impl Env, hash: BlockHash) {
        let status = self.store.tree.get(&hash).map(|node| node.status());
        match status {
            Some(BlockStatus::BodyHeld | BlockStatus::Connected) => {
                // The tree has the block, and these are its bytes.
                return self.reject(env, hash, RejectionKind::Quarantined, REASON);
            }
            Some(BlockStatus::HeaderOnly | BlockStatus::Invalid(_)) => {
                self.condemn(env, hash, InvalidReason::Quarantined, REASON);
            }
            None => self.refuse_for_good(env, hash, RejectionKind::Quarantined, REASON),
        }
        self.store.blobs.remove(&BlobKey::Block(hash));
    }

    pub(crate) fn mode(&self) -> Mode {
        if self.store.cells.watch().cautious > 0 {
            Mode::Cautious
        } else {
            Mode::Normal
        }
    }

    /// Notes that a heartbeat got to its end.
    pub(crate) fn note_success(&mut self) {
        let watch = self.store.cells.watch();
        self.store.cells.set_watch(Watch {
            strikes: 0,
            cautious: watch.cautious.saturating_sub(1),
            ..watch
        });
    }
}
