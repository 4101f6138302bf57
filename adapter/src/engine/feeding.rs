//! Reads ahead, pushes, and obeys receipts.

use std::time::Duration;

use super::feed::{PartOutcome, Receipt};
use super::pack::{Limits, Packed, Position, Sent, Stop, pack};
use super::report::{Notice, Outcome};
use super::{Command, Engine, IDLE_POLL, Now, PushId, WAITING_POLL};
use crate::sink::SinkError;

impl Engine {
    /// Requests blocks and pushes what is ready, as far as the bounds allow.
    pub(super) fn feed(&mut self, now: Now) {
        if !self.may_feed() || self.rivals.is_yielding() || now.elapsed < self.resume_at {
            return;
        }
        self.read_ahead(now);
        while self.may_push() {
            let Some(limits) = self.limits() else {
                break;
            };
            // A message goes out full, or when there is nothing to wait for.
            let is_full = self.is_message_ready(limits);
            if self.reading.is_reading() && !is_full {
                break;
            }
            let packed = self.pack_next(limits);
            if packed.stop == Stop::NoRoom && self.in_flight.is_empty() {
                self.ask_by(now.elapsed.saturating_add(WAITING_POLL));
            }
            if packed.parts.is_empty() {
                if let Stop::TooLarge { hash, size } = packed.stop {
                    let max = limits.block_bytes;
                    let reason = format!("block has {size} bytes, the canister takes {max}");
                    self.give_up_block(now, hash, reason);
                }
                break;
            }
            self.push(packed);
        }
    }

    fn is_message_ready(&self, limits: Limits) -> bool {
        let from = self.cursor.height;
        self.reading.fills(from, limits.message_bytes, limits.parts)
    }

    /// Returns whether the place to go on is known.
    pub(super) fn may_feed(&self) -> bool {
        self.is_indexed
            && self.search.is_none()
            && !self.is_finished
            && !self.is_stopping
            && self.is_syncing
            && self.view.is_some()
    }

    fn may_push(&self) -> bool {
        self.may_feed()
            && self.rewind.is_none()
            && !self.is_held
            && !self.is_suspicious
            && self.window.admits(self.in_flight.len())
    }

    fn limits(&self) -> Option<Limits> {
        let view = self.view.as_ref()?;
        Some(Limits {
            message_bytes: view.message_bytes_max.min(self.config.message_bytes_max),
            parts: view.parts_max,
            block_bytes: view.block_bytes_max,
            free_bytes: self.room_bytes(),
            free_blocks: self.room_blocks(),
            pushed_to: self.pushed_to,
        })
    }

    fn pack_next(&self, limits: Limits) -> Packed {
        let view = self.view.as_ref();
        let half_received = view.map_or([].as_slice(), |view| &view.half_received);
        pack(
            &self.headers,
            &self.reading,
            half_received,
            self.cursor,
            limits,
        )
    }

    /// Bytes of queue room that nothing on its way will take.
    fn room_bytes(&self) -> u64 {
        let in_flight = self.in_flight.values().flatten();
        let on_the_way: u64 = in_flight.map(|sent| u64::from(sent.length)).sum();
        self.free_bytes.saturating_sub(on_the_way)
    }

    fn room_blocks(&self) -> u32 {
        let in_flight = self.in_flight.values().flatten();
        let on_the_way = in_flight.filter(|sent| sent.ends_block()).count();
        self.free_blocks
            .saturating_sub(u32::try_from(on_the_way).unwrap_or(u32::MAX))
    }

    fn push(&mut self, packed: Packed) {
        let id = self.next_push;
        self.next_push = PushId(id.0.wrapping_add(1));
        self.cursor = packed.next;
        for sent in &packed.sent {
            self.pushed_bytes = self.pushed_bytes.saturating_add(u64::from(sent.length));
            self.pushed_to = self.pushed_to.max(sent.position.height);
            if sent.ends_block() {
                self.reading.forget(sent.position.height);
                self.pushed_blocks = self.pushed_blocks.saturating_add(1);
            }
        }
        self.in_flight.insert(id, packed.sent);
        self.settled_answers = 0;
        self.commands.push(Command::Push(id, packed.parts));
    }

    pub(super) fn on_pushed(&mut self, now: Now, id: PushId, result: Result<Receipt, SinkError>) {
        let Some(sent) = self.in_flight.remove(&id) else {
            return;
        };
        match result {
            Ok(receipt) if receipt.outcomes.len() == sent.len() => {
                self.call_succeeded();
                self.on_receipt(now, &sent, receipt);
            }
            Ok(receipt) => self.finish(Outcome::ReceiptLength {
                parts: sent.len(),
                outcomes: receipt.outcomes.len(),
            }),
            // Whether it was carried out is unknown: the canister is asked before going on.
            Err(error) => {
                self.call_failed(now, error);
                self.locate(now);
            }
        }
        if self.in_flight.is_empty() {
            self.ask_by(now.elapsed.saturating_add(WAITING_POLL));
        }
    }

    fn on_receipt(&mut self, now: Now, sent: &[Sent], receipt: Receipt) {
        self.free_bytes = receipt.free_bytes;
        self.free_blocks = receipt.free_blocks;
        if let Some(view) = &mut self.view {
            if view.tip.height < receipt.tip.height {
                view.tip = receipt.tip;
            }
            // What the canister held when it was asked is used up by now.
            view.half_received
                .retain(|half| sent.iter().all(|sent| sent.hash != half.hash));
        }
        let mut is_good = true;
        for (sent, outcome) in sent.iter().zip(receipt.outcomes) {
            if self.headers.hash_at(sent.position.height) != Some(sent.hash) {
                // The best chain changed meanwhile.
                continue;
            }
            is_good &= self.on_outcome(now, *sent, outcome);
        }
        if is_good {
            self.window.receipt_was_good();
        }
    }

    /// Acts on one part's outcome; returns whether the stream goes on as planned.
    fn on_outcome(&mut self, now: Now, sent: Sent, outcome: PartOutcome) -> bool {
        match outcome {
            PartOutcome::Queued => {
                self.own_block_was_first();
                self.acknowledge(sent);
            }
            PartOutcome::Incomplete { received } if received == sent.end() => {
                self.acknowledge(sent);
            }
            PartOutcome::Known => {
                if sent.is_first {
                    self.rival_was_first(now);
                }
                self.acknowledge(sent);
                self.skip_rest_of(sent);
            }
            PartOutcome::NoRoom => {
                self.rewind_to(sent.position);
                self.room_was_missing(now);
                return false;
            }
            PartOutcome::Incomplete { received: offset } | PartOutcome::ContinueAt { offset } => {
                let height = sent.position.height;
                self.rewind_to(Position {
                    height,
                    offset: if offset < sent.size { offset } else { 0 },
                });
                self.set_back(now);
                return false;
            }
            PartOutcome::Refused { reason } => {
                self.give_up_block(now, sent.hash, reason);
                return false;
            }
        }
        true
    }

    /// Pauses, longer each time: the room was believed to be there, and what takes it, such as
    /// beginnings of other adapters' blocks, may stay for minutes. All parts refused before the next
    /// answer are one setback.
    fn room_was_missing(&mut self, now: Now) {
        if self.is_held {
            return;
        }
        self.is_held = true;
        self.window.narrow();
        let pause = self.setbacks.fail();
        self.pause_until(now.elapsed.saturating_add(pause));
    }

    fn acknowledge(&mut self, sent: Sent) {
        self.acknowledged_bytes = self
            .acknowledged_bytes
            .saturating_add(u64::from(sent.length));
        let ended = u64::from(sent.ends_block());
        self.acknowledged_blocks = self.acknowledged_blocks.saturating_add(ended);
    }

    /// Leaves out the parts of a block that the canister turned out to have.
    fn skip_rest_of(&mut self, sent: Sent) {
        if self.cursor.height == sent.position.height && self.cursor.offset > 0 {
            self.reading.forget(sent.position.height);
            self.cursor = Position::start_of(sent.position.height.next());
        }
    }

    /// Pauses and sends less at a time: something had to be pushed again.
    pub(super) fn set_back(&mut self, now: Now) {
        self.window.set_back();
        let pause = self.setbacks.fail();
        self.pause_until(now.elapsed.saturating_add(pause));
        self.notify(Notice::SetBack { pause });
    }

    pub(super) fn pause_until(&mut self, time: Duration) {
        self.resume_at = self.resume_at.max(time);
    }

    pub(super) fn call_succeeded(&mut self) {
        if self.failing_since.take().is_some() {
            self.notify(Notice::Recovered);
        }
        self.retries.succeed();
    }

    pub(super) fn call_failed(&mut self, now: Now, error: SinkError) {
        if !error.is_transient() {
            return self.finish(Outcome::SinkFailed(error));
        }
        if matches!(error, SinkError::SyncingDisabled { .. }) {
            // An answer, if not the one hoped for.
            self.call_succeeded();
            self.is_syncing = false;
            self.ask_at = now.elapsed.saturating_add(IDLE_POLL);
            return;
        }
        let since = *self.failing_since.get_or_insert(now.elapsed);
        let failing_for = now.elapsed.saturating_sub(since);
        if self
            .config
            .give_up_after
            .is_some_and(|limit| failing_for >= limit)
        {
            return self.finish(Outcome::GaveUp {
                error,
                after: failing_for,
            });
        }
        let pause = self.retries.fail();
        self.pause_until(now.elapsed.saturating_add(pause));
        self.notify(Notice::CallFailed { error, pause });
    }
}
