//! Looks at the canister after each heartbeat and judges what became of every block: against the model,
//! and against what was seen before.

use std::collections::BTreeSet;

use bitcoin::BlockHash;
use millrace_candid::RejectionKind;
use serde_bytes::ByteBuf;

use crate::model::{Claim, MAX_FUTURE};
use crate::run::{Checked, Failure, Run, require};
use crate::seen::{Seen, bytes_of, hash_of};
use crate::subject::{Beat, Subject};

/// Looks at the instruction counter that a heartbeat may take besides one after each step.
const LOOKS: u64 = 4;

/// Pages that draining one block writes at most; as `millrace_store::queue` states.
const PAGES_PER_BLOCK: u64 = 12;

/// Pages that the step that uses a budget up and the end of a heartbeat write at most, but for blocks
/// that a step lets go.
const PAGES_OF_LAST_STEP: u64 = 32;

/// Pages that letting one block go writes at most, of another branch or above one that is refused: what is
/// known of it, its bytes, what it changed.
const PAGES_PER_LET_GO: u64 = 8;

/// Seconds within which every write counts, however coarsely the canister keeps its account.
const WINDOW_SECONDS: u64 = 540;

/// Bytes that stable memory may grow by in a run, whatever comes: parts of regions, the reserve, what is
/// stable, halves.
const GROWTH: u64 = 2 << 20;

/// The same for each byte of a block that waits or is not stable, in whole pages: its own bytes, its changes
/// with filters, and what regions grow ahead.
const GROWTH_PER_BYTE: u64 = 2;

/// Bytes of a page, of which a block's bytes take whole ones.
const PAGE: u64 = 4_096;

/// Bytes that the heap may have.
const HEAP: u64 = 64 << 20;

/// Strikes from which heartbeats may touch one item each, and so leave a part of the queue.
const CAUTIOUS_STRIKES: u32 = 2;

/// Heartbeats that may do so from then on.
const CAUTIOUS_BEATS: u32 = 64;

/// Blocks that a deep reorg takes back, at least.
const DEEP: u32 = 4;

/// Strikes after which an item of work must have been given up: the canister's five, and some for traps
/// that have nothing to do with it.
const MOST_STRIKES: u32 = 8;

/// Rejections that the canister lists.
const LISTED: usize = 16;

impl<S: Subject> Run<S> {
    /// Runs the timer if it is due, then a heartbeat, and checks both.
    pub(crate) fn beat(&mut self) -> Checked {
        match self.subject.run_timer() {
            Err(trap) => return self.excuse_beat(&trap),
            Ok(true) => self.strike()?,
            Ok(false) => {}
        }
        let waiting = self.queue_length()?;
        let beat = match self.subject.heartbeat() {
            Err(trap) => return self.excuse_beat(&trap),
            Ok(beat) => beat,
        };
        if beat.is_rescue {
            self.coverage.note("heartbeat", "Rescue");
            return self.strike();
        }
        self.note_full();
        self.strikes = 0;
        let is_cautious = self.cautious > 0;
        self.cautious = self.cautious.saturating_sub(1);
        self.check_budgets(&beat, waiting)?;
        // A call of the heartbeat before may have come to the source only now.
        let was_poor = std::mem::replace(&mut self.was_poor, self.is_poor);
        require(
            !(self.is_poor && was_poor) || beat.asked.is_none(),
            "no work without cycles",
            || format!("{:?}", beat.asked),
        )?;
        if let Some(asked) = beat.asked {
            self.coverage.note("asked", &asked.request);
            self.source.asked = Some(asked);
        }
        let before = self.look()?;
        self.note_reorg(&before);
        let is_empty = self.seen.queued == 0;
        self.has_strays &= !is_empty;
        require(
            is_empty || is_cautious,
            "queue empty after a heartbeat",
            || format!("{} blocks are queued", self.seen.queued),
        )?;
        let drained = self.drained(&before)?;
        self.known.extend(&drained);
        let let_go = self.let_go(&before);
        if let Some(pages) = beat.pages {
            self.check_pages(pages, waiting, let_go)?;
        }
        let is_idle = !self.is_poor || self.seen.connected.is_subset(&before.connected);
        require(is_idle, "no work without cycles", || {
            "a block was connected".to_owned()
        })?;
        self.check_rejections(&before)?;
        self.check_kept(&before)?;
        self.check_drained(&before, &drained, waiting)?;
        self.check_chain()?;
        self.check_retired(&before)
    }

    /// Notes a strike that the watchdog may have counted: not where it had nothing to do.
    fn strike(&mut self) -> Checked {
        self.strikes += 1;
        if self.strikes >= CAUTIOUS_STRIKES {
            self.cautious = CAUTIOUS_BEATS;
            self.coverage.note("heartbeat", "Cautious");
        }
        let may_go_on = self.strikes <= MOST_STRIKES;
        require(may_go_on, "what never ends is given up", || {
            format!(
                "{} strikes since the last heartbeat that ended",
                self.strikes
            )
        })
    }

    /// Returns how many blocks the canister may have let go: on branches that ended with the present anchor,
    /// and what it had or may have had, with what is above it.
    fn let_go(&mut self, before: &Seen) -> u64 {
        let (model, now) = (&self.model, &self.seen);
        let gone: BTreeSet<usize> = {
            let known = self.known.iter().copied();
            known.filter(|place| !now.has(*place)).collect()
        };
        let count = (0..model.len()).filter(|place| {
            let is_above = !now.has(*place) && model.is_ancestor(before.anchor, *place);
            is_above
                && (!model.is_ancestor(now.anchor, *place)
                    || model.ancestry(*place).any(|below| gone.contains(&below)))
        });
        let count = count.count() as u64;
        if now.is_complete {
            self.known.clear();
        }
        count
    }

    /// Counts a change to another branch.
    fn note_reorg(&mut self, before: &Seen) {
        let (old, new) = (before.tip, self.seen.tip);
        let mut below = self.model.ancestry(old);
        let fork = below.find(|place| self.model.is_ancestor(*place, new));
        let depth = fork.map_or(0, |fork| {
            self.model.at(old).height - self.model.at(fork).height
        });
        if depth > 0 {
            let kind = if depth < DEEP { "Shallow" } else { "Deep" };
            self.coverage.note("reorg", kind);
            self.coverage
                .peak("blocks taken back by a reorg", depth.into());
        }
    }

    /// Takes those out of the queued blocks that the heartbeat took, and returns them. While items are
    /// touched one by one, only those with a visible fate are known.
    fn drained(&mut self, before: &Seen) -> Result<BTreeSet<usize>, Failure> {
        let mut drained = std::mem::take(&mut self.queued);
        if self.seen.queued > 0 {
            let new = self.new_rejections(before);
            let listed: Result<BTreeSet<BlockHash>, Failure> = {
                let new = self.seen.rejections.iter().take(new);
                new.map(|rejection| hash_of(&rejection.hash)).collect()
            };
            let listed = listed?;
            let (gone, waiting) = drained.into_iter().partition(|place| {
                self.seen.has(*place) || listed.contains(&self.model.at(*place).hash)
            });
            drained = gone;
            self.queued = waiting;
        }
        Ok(drained)
    }

    fn check_budgets(&mut self, beat: &Beat, waiting: u32) -> Checked {
        let budget = self.budgets.instructions_per_heartbeat;
        if let Some(spent) = beat.instructions {
            let step = match self.subject.step_instructions() {
                0 => self.pace,
                step => step,
            };
            self.coverage.peak(
                "instructions beyond the budget",
                spent.saturating_sub(budget),
            );
            let most = budget + (LOOKS + 1) * step;
            require(spent <= most, "instruction budget", || {
                format!("{spent} instructions spent, {budget} allowed, {step} a step")
            })?;
        }
        if let Some(bytes) = beat.stable_bytes {
            self.check_memory(bytes, beat.heap_bytes, waiting)?;
        }
        let is_counted = beat.own_pages.is_none() || beat.own_pages == beat.pages;
        require(is_counted, "count of pages", || {
            format!(
                "{:?} pages counted, {:?} written",
                beat.own_pages, beat.pages
            )
        })
    }

    /// Checks the pages written of a heartbeat.
    fn check_pages(&mut self, pages: u64, waiting: u32, let_go: u64) -> Checked {
        let budget = u64::from(self.budgets.stable_pages_per_heartbeat);
        let drain = u64::from(waiting) * PAGES_PER_BLOCK;
        self.coverage.peak(
            "pages beyond budget and drain",
            pages.saturating_sub(budget + drain),
        );
        if waiting == 0 && let_go == 0 {
            self.coverage.peak(
                "pages beyond the budget with nothing drained or let go",
                pages.saturating_sub(budget),
            );
        }
        let beyond = drain + let_go * PAGES_PER_LET_GO + PAGES_OF_LAST_STEP;
        require(pages <= budget + beyond, "page budget", || {
            format!(
                "{pages} pages written, {budget} allowed, {waiting} blocks drained, {let_go} let go"
            )
        })?;
        self.check_window(pages, beyond)
    }

    /// Stable memory grows with the blocks that are alive, not with all that ever came.
    fn check_memory(&mut self, bytes: u64, heap: Option<u64>, waiting: u32) -> Checked {
        self.coverage.peak("stable bytes", bytes);
        let first = *self.first_bytes.get_or_insert(bytes);
        let seen = &self.seen;
        let live = seen.connected.union(&seen.held).chain(&self.queued);
        let live = live.map(|place| self.model.at(*place).bytes.len() as u64);
        let live: u64 = live.map(|bytes| bytes.next_multiple_of(PAGE)).sum();
        let strays = if self.has_strays { waiting } else { 0 };
        self.live_bytes = self.live_bytes.max(live + u64::from(strays) * PAGE);
        let (grown, live) = (bytes.saturating_sub(first), self.live_bytes);
        self.coverage.peak("bytes of living blocks", live);
        self.coverage.peak(
            "stable bytes besides the first and the living blocks'",
            grown.saturating_sub(GROWTH_PER_BYTE * live),
        );
        require(
            grown <= GROWTH + GROWTH_PER_BYTE * live,
            "stable memory",
            || format!("{bytes} bytes, {first} at first, {live} of living blocks"),
        )?;
        let heap = heap.unwrap_or(0);
        self.coverage.peak("heap bytes", heap);
        require(heap <= HEAP, "heap", || format!("{heap} bytes"))
    }

    /// Once as much was written lately as may be, a heartbeat does one step.
    fn check_window(&mut self, pages: u64, beyond: u64) -> Checked {
        let now = self.subject.now();
        let lately = self
            .written
            .iter()
            .filter(|(time, _)| time + WINDOW_SECONDS > now);
        let lately: u64 = lately.map(|(_, pages)| pages).sum();
        self.written.push((now, pages));
        let is_within = lately < self.window || pages <= beyond;
        require(is_within, "pages of ten minutes", || {
            format!(
                "{pages} pages written after {lately}, {} allowed",
                self.window
            )
        })
    }

    /// Each new rejection has a kind that the block deserves.
    fn check_rejections(&mut self, before: &Seen) -> Checked {
        let new = self.new_rejections(before);
        for rejection in self.seen.rejections.clone().into_iter().take(new) {
            if let Some(kind) = rejection.kind {
                self.coverage.note("rejected", kind);
            }
            let Some(place) = self.model.place(&hash_of(&rejection.hash)?) else {
                continue;
            };
            let block = self.model.at(place);
            let parent = block.parent.unwrap_or(0);
            let is_justified = match rejection.kind {
                Some(RejectionKind::UnknownParent) => {
                    let was_there = before.has(parent) && self.seen.has(parent);
                    let is_exact = before.is_complete && self.seen.is_complete;
                    let is_above = self.model.is_ancestor(self.seen.anchor, place);
                    !(was_there && is_exact && is_above)
                }
                Some(RejectionKind::TooNew) => {
                    let time = u64::from(block.block.header.time);
                    time > self.subject.now() + MAX_FUTURE
                }
                Some(RejectionKind::DamagedBytes) => {
                    block.claim == Claim::Bodiless || self.damaged.contains(&place)
                }
                Some(RejectionKind::InvalidHeader) => block.claim == Claim::Header,
                Some(RejectionKind::InvalidBlock) => block.claim == Claim::Rule,
                Some(RejectionKind::InvalidAncestor) => {
                    !block.is_valid || self.may_be_given_up(place)
                }
                Some(RejectionKind::Quarantined) => self.given_up.contains(&place),
                Some(RejectionKind::TreeFull) | None => false,
            };
            require(is_justified, "rejection", || {
                format!(
                    "{:?} ({}) of {}",
                    rejection.kind,
                    rejection.reason,
                    self.describe(place)
                )
            })?;
        }
        Ok(())
    }

    fn new_rejections(&self, before: &Seen) -> usize {
        let (old, new) = (&before.rejections, &self.seen.rejections);
        (0..=new.len())
            .find(|added| old.starts_with(&new[*added..]))
            .unwrap_or(new.len())
    }

    /// What was held is held, connected or stable, unless there is a stated reason; what was connected is
    /// connected or stable, unless another branch became stable.
    pub(crate) fn check_kept(&mut self, before: &Seen) -> Checked {
        for place in before.connected.iter().chain(&before.stable) {
            let is_kept =
                self.seen.has(*place) || !self.model.is_ancestor(self.seen.anchor, *place);
            require(is_kept, "connected blocks stay", || self.describe(*place))?;
        }
        let is_known = before.is_complete && self.seen.is_complete;
        for place in before.held.iter().filter(|_| is_known) {
            let is_kept = self.seen.has(*place) || self.may_be_gone(*place);
            require(is_kept, "held blocks stay", || self.describe(*place))?;
        }
        Ok(())
    }

    /// Every queued block is held, connected or stable, or was refused for a reason that is listed.
    fn check_drained(&mut self, before: &Seen, drained: &BTreeSet<usize>, waiting: u32) -> Checked {
        // A full list may be all new, and repeats what it had where the same blocks come again.
        let is_full = self.seen.rejections.len() >= LISTED;
        let may_have_lost_some = is_full && waiting as usize + before.held.len() >= LISTED;
        if may_have_lost_some || !self.seen.is_complete {
            return Ok(());
        }
        let new = if is_full {
            LISTED
        } else {
            self.new_rejections(before)
        };
        let listed: BTreeSet<ByteBuf> = {
            let new = self.seen.rejections.iter().take(new);
            new.map(|rejection| rejection.hash.clone()).collect()
        };
        for place in drained {
            let is_listed = listed.contains(&bytes_of(self.model.at(*place).hash));
            let has_fate = self.seen.has(*place) || is_listed || self.may_be_gone(*place);
            require(has_fate, "nothing accepted is lost", || {
                self.describe(*place)
            })?;
        }
        Ok(())
    }

    /// Returns whether there is a stated reason for a block to be neither held nor connected.
    fn may_be_gone(&self, place: usize) -> bool {
        let is_damaged = |place: usize| self.damaged.contains(&place);
        !self.model.at(place).is_valid
            || !self.model.is_ancestor(self.seen.anchor, place)
            || self.model.ancestry(place).any(is_damaged)
            || self.may_be_given_up(place)
    }

    /// Only valid blocks are connected, and the tip is one of those with most work.
    fn check_chain(&mut self) -> Checked {
        for place in &self.seen.connected {
            let block = self.model.at(*place);
            require(block.is_valid, "only valid blocks are connected", || {
                self.describe(*place)
            })?;
            let time = u64::from(block.block.header.time);
            require(
                time <= self.subject.now() + MAX_FUTURE,
                "not before their time",
                || self.describe(*place),
            )?;
            let has_parent = block.parent.is_none_or(|parent| {
                self.seen.connected.contains(&parent) || *place == self.seen.anchor
            });
            require(has_parent, "parents are connected first", || {
                self.describe(*place)
            })?;
        }
        let heights = self
            .seen
            .connected
            .iter()
            .map(|place| self.model.at(*place).height);
        let (tip, top) = (self.model.at(self.seen.tip).height, heights.max());
        require(Some(tip) == top, "the tip has most work", || {
            format!("tip {tip}, highest {top:?}")
        })
    }

    /// Each block that became stable had the depth and the lead that it needs.
    fn check_retired(&mut self, before: &Seen) -> Checked {
        let mut child = self.seen.anchor;
        while child != before.anchor {
            let Some(root) = self.model.at(child).parent else {
                break;
            };
            let depth = self.depth(child, &self.seen.connected);
            let threshold = self.profile.threshold;
            require(depth >= threshold, "stability", || {
                format!("depth {depth} of {threshold}: {}", self.describe(child))
            })?;
            for rival in before.connected.iter().copied() {
                if self.model.at(rival).parent == Some(root) && rival != child {
                    let lead = depth.saturating_sub(self.depth(rival, &before.connected));
                    require(lead >= threshold, "stability", || {
                        format!("lead {lead} of {threshold}: {}", self.describe(child))
                    })?;
                }
            }
            child = root;
        }
        Ok(())
    }

    /// Returns the number of blocks from `root` to the highest of `blocks` above it.
    pub(crate) fn depth(&self, root: usize, blocks: &BTreeSet<usize>) -> u32 {
        let base = self.model.at(root).height;
        let above = blocks
            .iter()
            .filter(|place| self.model.is_ancestor(root, **place));
        let top = above.map(|place| self.model.at(*place).height).max();
        top.map_or(0, |top| top + 1 - base)
    }
}
