//! Asks the canister where it stands, and draws the conclusions.

use std::time::Duration;

use bitcoin::BlockHash;
use millrace_core::Height;

use super::feed::{BlockRef, FeedView};
use super::locator::{Search, thinning};
use super::pack::Position;
use super::report::{Notice, Outcome};
use super::{Command, Engine, FLOWING_POLL, IDLE_POLL, Now, RIVAL_POLL, Until, WAITING_POLL};
use crate::sink::SinkError;

/// A question in flight.
#[derive(Debug)]
pub(super) struct Question {
    /// Heights of the locator, newest first.
    heights: Vec<Height>,
    /// Their hashes: the best chain may change before the answer comes.
    hashes: Vec<BlockHash>,
    /// The lowest height that had not been acknowledged when it was asked.
    floor: Height,
    /// Whether it belongs to the search.
    is_search: bool,
}

impl Question {
    fn height_of(&self, hash: BlockHash) -> Option<Height> {
        let position = self.hashes.iter().position(|asked| *asked == hash)?;
        self.heights.get(position).copied()
    }
}

impl Engine {
    /// Asks, if it is time to.
    pub(super) fn ask(&mut self, now: Now) {
        if self.is_finished || now.elapsed < self.ask_due() {
            return;
        }
        let floor = self.floor();
        let heights = match &self.search {
            Some(search) => search.question(),
            None if self.is_indexed => thinning(floor.saturating_sub(Height::new(1))),
            None => vec![Height::ZERO],
        };
        let hashes = self.hashes_of(&heights);
        self.question = Some(Question {
            heights,
            hashes: hashes.clone(),
            floor,
            is_search: self.search.is_some(),
        });
        self.commands.push(Command::Ask { locator: hashes });
    }

    /// Returns when the next question is due, which is never while an event must come first.
    pub(super) fn ask_due(&self) -> Duration {
        // A search starts when the pushes before it have ended, or it would miss their blocks.
        let must_wait = self.search.is_some() && !self.in_flight.is_empty();
        if self.question.is_some() || must_wait {
            return Duration::MAX;
        }
        self.ask_at.max(self.resume_at)
    }

    /// Moves the next question to `time`, if it is later.
    pub(super) fn ask_by(&mut self, time: Duration) {
        self.ask_at = self.ask_at.min(time);
    }

    /// Starts to look for the last block the canister has.
    pub(super) fn locate(&mut self, now: Now) {
        if !self.is_indexed {
            return;
        }
        self.search = Some(Search::new(self.headers.tip_height()));
        self.is_suspicious = false;
        self.ask_by(now.elapsed);
    }

    /// Returns the lowest height on the best chain that is not acknowledged.
    fn floor(&self) -> Height {
        let in_flight = self.in_flight.values().flatten();
        in_flight
            .map(|sent| sent.position.height)
            .chain(self.rewind.map(|position| position.height))
            .chain([self.cursor.height])
            .min()
            .unwrap_or(self.cursor.height)
            .min(self.headers.tip_height().next())
    }

    pub(super) fn on_answered(&mut self, now: Now, result: Result<FeedView, SinkError>) {
        let Some(question) = self.question.take() else {
            return;
        };
        let view = match result {
            Ok(view) => view,
            Err(error) => return self.call_failed(now, error),
        };
        self.call_succeeded();
        let Some(common) = self.check(&view) else {
            return;
        };
        self.free_bytes = view.free_bytes;
        self.free_blocks = view.free_blocks;
        self.is_held = false;
        self.is_syncing = view.is_syncing;
        let anchor = view.anchor;
        self.view = Some(view);
        let changed = self.headers.require(anchor.hash);
        self.best_chain_changed(now, changed);
        // The locator's own height: a queued block may not have one at the canister yet.
        let height = question.height_of(common.hash);
        if let Some(height) = height.filter(|height| *height > self.best_common) {
            self.best_common = height;
            self.setbacks.succeed();
        }
        let is_current = self.hashes_of(&question.heights) == question.hashes
            && question.is_search == self.search.is_some();
        if let Some(height) = height.filter(|_| self.is_indexed && is_current) {
            if question.is_search {
                self.on_search_answer(now, &question, height);
            } else {
                self.compare(now, &question, height);
                self.watch_rivals(now);
            }
        } else if self.search.is_some() {
            self.locate(now);
        }
        self.settle(common.hash);
        self.ask_at = now.elapsed.saturating_add(self.poll_interval());
    }

    /// Ends the run if this is not a canister that can ever be fed; returns the common block.
    fn check(&mut self, view: &FeedView) -> Option<BlockRef> {
        if view.network != self.config.network {
            self.finish(Outcome::WrongNetwork {
                expected: self.config.network,
                canister: view.network,
            });
            return None;
        }
        if view.common.is_none() {
            self.finish(Outcome::NothingCommon {
                network: self.config.network,
            });
        }
        view.common
    }

    fn on_search_answer(&mut self, now: Now, question: &Question, common: Height) {
        let Some(search) = &mut self.search else {
            return;
        };
        let Some(found) = search.answer(&question.heights, common) else {
            return;
        };
        self.search = None;
        self.rewind = None;
        let next = found.next();
        let is_setback = next < self.cursor.height;
        self.cursor = Position::start_of(next);
        self.reading.restart_at(next);
        self.choose_witness_height();
        self.notify(Notice::Located {
            common: found,
            tip: self.headers.tip_height(),
        });
        if is_setback {
            self.count_refusal(now, next);
        }
        self.check_anchor(found);
    }

    /// Ends the run if the source's chain forks off where the canister's is final.
    fn check_anchor(&mut self, common: Height) {
        let Some(anchor) = self.view.as_ref().map(|view| view.anchor) else {
            return;
        };
        if common < anchor.height
            && common < self.headers.tip_height()
            && !self.headers.is_on_best_chain(anchor.hash)
        {
            self.finish(Outcome::ForkBelowAnchor { common, anchor });
        }
    }

    /// Compares an answer with what was acknowledged before it was asked.
    fn compare(&mut self, now: Now, question: &Question, common: Height) {
        if common.next() >= question.floor {
            self.is_suspicious = false;
        } else if self.is_suspicious && self.in_flight.is_empty() {
            // Twice in a row: it is no stale answer, blocks were dropped after their receipt.
            self.locate(now);
            self.set_back(now);
        } else {
            self.is_suspicious = true;
        }
    }

    /// Counts that a block had to be pushed again because the canister refused it, and gives it
    /// up in the end.
    fn count_refusal(&mut self, now: Now, height: Height) {
        let Some(hash) = self.headers.hash_at(height) else {
            return;
        };
        let reason = self.view.as_ref().and_then(|view| {
            let mut own = view.rejections.iter().filter(|other| other.hash == hash);
            own.find(|rejection| !rejection.kind.is_transient())
                .map(|rejection| rejection.reason.clone())
        });
        let Some(reason) = reason else { return };
        if self.count_failure(hash) {
            self.give_up_block(now, hash, reason);
            self.apply_rewind();
        }
    }

    /// Finishes, if this is to end and everything is connected.
    fn settle(&mut self, common: BlockHash) {
        let Some(view) = &self.view else { return };
        let tip = self.best_tip();
        let is_pushed = self.is_indexed
            && self.search.is_none()
            && self.in_flight.is_empty()
            && self.rewind.is_none()
            && common == tip.hash;
        if !is_pushed {
            self.settled_answers = 0;
            return;
        }
        if view.tip != tip && view.pending_blocks > 0 {
            self.settled_answers = 0;
            return;
        }
        self.settled_answers = self.settled_answers.saturating_add(1);
        // A block of a weaker branch never becomes the tip. It is settled when nothing waits any
        // more, and still did not at the next look: the first may have come before the drain.
        let is_settled = view.tip == tip || self.settled_answers >= 2;
        if is_settled && self.config.until == Until::Synced {
            self.finish(Outcome::Synced {
                tip,
                refused_blocks: self.refused_blocks,
            });
        }
    }

    fn poll_interval(&self) -> Duration {
        let Some(view) = &self.view else {
            return WAITING_POLL;
        };
        let is_at_end = self.cursor.height > self.headers.tip_height();
        if !self.is_indexed || !self.is_syncing {
            IDLE_POLL
        } else if self.search.is_some() {
            Duration::ZERO
        } else if self.rivals.is_yielding() {
            RIVAL_POLL
        } else if self.is_suspicious {
            WAITING_POLL
        } else if !self.in_flight.is_empty() || (!is_at_end && self.reading.is_reading()) {
            FLOWING_POLL
        } else if is_at_end && view.tip.hash == self.headers.tip_hash() {
            IDLE_POLL
        } else {
            WAITING_POLL
        }
    }
}
