//! Finds work that never ends, and gives it up.
//!
//! A trap undoes everything its message did, so a heartbeat that traps on some block would trap on
//! it again for ever, and leave no trace. The global timer is another entry point: each heartbeat
//! that ends pushes the timer [`WATCH_SECONDS`] ahead, so it only fires when none ended for that
//! long. Each time it fires counts one strike. Then:
//!
//! 1. from [`CAUTIOUS_STRIKES`] on, heartbeats touch exactly one item each, a queued block or one
//!    step of work, chosen from durable state alone;
//! 2. an item that was the one of each heartbeat at [`BLAME_STRIKES`] further strikes is given up: a queued
//!    block is refused, a block being connected is quarantined with its descendants, retiring, merging
//!    committing or merging an import stops until the next upgrade. What was given up is not taken in again before that.
//!
//! Blocks may be pushed at any time. So queue and work take turns in such heartbeats, and the first of the queue
//! and the next step of work are counted apart, by name: a block that was pushed a moment ago is not blamed for
//! the step that did not end before, and draining it does not acquit that step.
//!
//! A heartbeat that ends clears the strikes. A healthy canister pays one system call for this, and
//! a clock that jumps ahead, or heartbeats that are far apart on a busy subnet, cost it one strike,
//! which takes nothing away: what is in hand stays there. It never costs two: a timer that was due when its
//! round began runs even if a heartbeat of that round has set it anew, so the time of the last heartbeat decides.
//!
//! A trap in the watchdog itself undoes its setting of the timer, too. The next heartbeat finds the
//! timer off, sets it and does nothing else, so that this much cannot be undone:
//! [`App::note_dead_watchdog`].

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::UnixSeconds;
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::blobs::BlobKey;
use millrace_store::cells::{Counter, Item, Suspect, Watch};
use millrace_store::rejections::RejectionKind;

use crate::tick::{Single, Work};
use crate::{App, Env};

/// How long after the last good heartbeat the watchdog wakes, in seconds.
pub const WATCH_SECONDS: u64 = 10;

/// Strikes from which heartbeats touch one item each.
pub const CAUTIOUS_STRIKES: u32 = 2;

/// Strikes against one item, once heartbeats are cautious, at which it is given up.
pub const BLAME_STRIKES: u32 = 3;

/// Strikes in a row at which a watchdog that traps itself is taken to trap on the stable block it looks for.
pub const DEAD_STRIKES: u32 = 5;

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

/// What a heartbeat touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// Everything that was to be done, or as much as the budgets allow; or there was nothing.
    All,
    /// One queued block.
    Queue,
    /// One step of work.
    Work,
}

impl<M: Memory> App<M> {
    /// Runs when no heartbeat ended for [`WATCH_SECONDS`].
    pub fn watchdog(&mut self, env: &impl Env) {
        let watched = |ended: UnixSeconds| ended.get().saturating_add(WATCH_SECONDS);
        if self
            .beat_ended
            .is_some_and(|ended| env.now().get() < watched(ended))
        {
            return;
        }
        // Counted down by heartbeats that end: what it keeps from being done must be seen here.
        self.memory_pause = 0;
        let was_cautious = self.mode() == Mode::Cautious;
        // One strike may only mean that heartbeats are far apart.
        if self.strike() >= CAUTIOUS_STRIKES
            && let Some(item) = self.accuse(was_cautious)
        {
            self.give_up(env, item);
        }
        self.store.flush();
    }

    /// Runs instead of a heartbeat's work when the timer is off: the watchdog ran and trapped. Its
    /// one duty that depends on more than an item of work is to look for a stable block, so that is
    /// what is given up.
    pub fn note_dead_watchdog(&mut self, env: &impl Env) {
        if self.strike() >= DEAD_STRIKES {
            let watch = self.store.cells.watch();
            self.store.cells.set_watch(Watch {
                strikes: 0,
                ..watch
            });
            self.halt_retiring(env);
        }
        self.store.flush();
    }

    /// Counts a strike. Returns how many there were in a row.
    fn strike(&mut self) -> u32 {
        let mut watch = self.store.cells.watch();
        watch.strikes = watch.strikes.saturating_add(1);
        self.store.counters.add(Counter::WatchdogStrikes, 1);
        if watch.strikes >= CAUTIOUS_STRIKES {
            watch.cautious = CAUTIOUS_BEATS;
            // Not to be trusted any more. At the first strike it still is: a block of more than one
            // heartbeat's work would otherwise start over for ever where heartbeats are rare.
            self.in_hand = None;
        }
        self.store.cells.set_watch(watch);
        watch.strikes
    }

    /// Notes the item that the next heartbeat touches. If heartbeats touched it already, the strike counts
    /// against it. Returns it when there were enough.
    fn accuse(&mut self, was_cautious: bool) -> Option<Item> {
        let mut watch = self.store.cells.watch();
        let (item, known) = match self.single()? {
            Single::First(hash) => (Item::Queued(hash), &mut watch.queued),
            Single::Step(work) => (item_of(work), &mut watch.work),
        };
        let strikes = match known {
            Some(suspect) if was_cautious && suspect.item == item => suspect.strikes + 1,
            _ => 0,
        };
        let is_last = strikes >= BLAME_STRIKES;
        *known = (!is_last).then_some(Suspect { item, strikes });
        if is_last {
            watch.strikes = 0;
        }
        self.store.cells.set_watch(watch);
        is_last.then_some(item)
    }

    fn give_up(&mut self, env: &impl Env, item: Item) {
        match item {
            Item::Queued(hash) => {
                self.store.queue.pop();
                self.give_up_queued(env, hash);
            }
            Item::Connect(hash) => {
                self.condemn(env, hash, InvalidReason::Quarantined, REASON);
            }
            Item::Retire => self.halt_retiring(env),
            Item::Merge => {
                env.log("merging changes never ends; it is halted until the next upgrade");
                let watch = self.store.cells.watch();
                self.store.cells.set_watch(Watch {
                    is_compacting_halted: true,
                    ..watch
                });
            }
            Item::Import => {
                env.log(
                    "merging what was imported never ends; it is halted until the next upgrade",
                );
                let watch = self.store.cells.watch();
                self.store.cells.set_watch(Watch {
                    is_importing_halted: true,
                    ..watch
                });
            }
            Item::Commit => {
                env.log("the commitment never ends; it is halted until the next upgrade");
                let watch = self.store.cells.watch();
                self.store.cells.set_watch(Watch {
                    is_committing_halted: true,
                    ..watch
                });
            }
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

    /// Notes that a heartbeat got to its end, and acquits what it touched: a queued block, or work when
    /// another item is next. One of many steps that never comes to its last is begun again after each
    /// strike, and its first steps end.
    pub(crate) fn note_success(&mut self, now: UnixSeconds, touched: Touched) {
        self.beat_ended = Some(now);
        self.has_drained = touched == Touched::Queue;
        let mut watch = self.store.cells.watch();
        watch.strikes = 0;
        watch.cautious = watch.cautious.saturating_sub(1);
        if touched != Touched::Work {
            watch.queued = None;
        }
        let next = match (touched, watch.work) {
            (Touched::Work, Some(_)) => self.plan().map(item_of),
            _ => None,
        };
        watch.work = watch.work.filter(|suspect| match touched {
            Touched::All => false,
            Touched::Queue => true,
            Touched::Work => next == Some(suspect.item),
        });
        self.store.cells.set_watch(watch);
    }
}

const fn item_of(work: Work) -> Item {
    match work {
        Work::Connect(hash) => Item::Connect(hash),
        Work::Retire(_) => Item::Retire,
        Work::Compact => Item::Merge,
        Work::Commit(_) | Work::Sweep => Item::Commit,
        Work::Import => Item::Import,
    }
}
