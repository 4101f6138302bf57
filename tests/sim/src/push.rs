//! The adapters: push blocks, well or badly, and judge every outcome of the receipt.

use bitcoin::BlockHash;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use millrace_candid::{BlockPart, FeedError, PartError, PartOutcome};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_bytes::ByteBuf;

use crate::model::Claim;
use crate::native::whole;
use crate::run::{Checked, Run, adapter, require};
use crate::schedule::{Delivery, Load, Parts};
use crate::seen::bytes_of;
use crate::subject::Subject;

/// Blocks that may be queued or held, as `millrace_store::queue` states.
const MOST_PENDING: u32 = 2_000;

/// Blocks of a flood beyond these.
const SPARE: u32 = 10;

/// Parts of one message of a flood.
const FLOOD_PARTS: usize = 500;

/// A part, and what it is part of.
struct Sending {
    place: usize,
    part: BlockPart,
    /// Whether the block is good, whole and well cut in this message.
    is_plain: bool,
    /// Whether the bytes are not the block's, with or without its witness data.
    is_bad: bool,
}

impl<S: Subject> Run<S> {
    pub(crate) fn push(
        &mut self,
        who: u8,
        load: Load,
        delivery: Delivery,
        parts: Parts,
    ) -> Checked {
        self.coverage.note("delivery", delivery);
        self.coverage.note("parts", parts);
        let mut places = self.load(load);
        match delivery {
            Delivery::Reversed => places.reverse(),
            Delivery::Twice => places = places.iter().flat_map(|place| [*place; 2]).collect(),
            _ => {}
        }
        let sendings: Vec<Sending> = places
            .iter()
            .flat_map(|place| self.cut(*place, delivery, parts))
            .collect();
        self.send_parts(who, &sendings)
    }

    /// Pushes blocks as they should be: what was begun goes on where it stopped.
    pub(crate) fn push_well(&mut self, places: &[usize]) -> Checked {
        let halves = self.feed_state()?.half_received;
        let mut sendings: Vec<Sending> = places
            .iter()
            .flat_map(|place| self.cut(*place, Delivery::Plain, Parts::Whole))
            .collect();
        for sending in &mut sendings {
            let part = &mut sending.part;
            let half = halves
                .iter()
                .find(|half| (&half.hash, half.size) == (&part.hash, part.size));
            if let Some(half) = half {
                part.offset = half.received;
                part.bytes.drain(..half.received as usize);
            }
        }
        self.send_parts(0, &sendings)
    }

    fn send_parts(&mut self, who: u8, sendings: &[Sending]) -> Checked {
        let parts: Vec<BlockPart> = sendings.iter().map(|it| it.part.clone()).collect();
        let pushed = match self.subject.push(adapter(who), &parts) {
            Err(trap) => return self.excuse(&trap),
            Ok(pushed) => pushed,
        };
        let receipt = match pushed {
            Ok(receipt) => receipt,
            Err(error) => {
                self.coverage.note("push", &error);
                let is_right = match error {
                    FeedError::NotAnAdapter { .. } => !self.may_push(who),
                    FeedError::SyncingDisabled => !self.is_syncing,
                    _ => false,
                };
                return require(is_right, "push", || format!("{error:?} for {who}"));
            }
        };
        let is_welcome = self.may_push(who) && self.is_syncing;
        require(is_welcome, "push", || format!("{who} was let in"))?;
        require(receipt.outcomes.len() == parts.len(), "receipt", || {
            format!("{} outcomes of {}", receipt.outcomes.len(), parts.len())
        })?;
        for (sending, outcome) in sendings.iter().zip(&receipt.outcomes) {
            match outcome {
                PartOutcome::Rejected(error) => self.coverage.note("refused part", error),
                other => self.coverage.note("outcome", other),
            }
            self.check_outcome(who, sending, outcome, receipt.free_bytes)?;
        }
        Ok(())
    }

    /// Pushes blocks of unknown parents until the queue is full, and a few more.
    pub(crate) fn flood(&mut self, salt: u32) -> Checked {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(salt));
        let strays: Vec<BlockPart> = (0..MOST_PENDING + SPARE)
            .map(|_| self.stray(&mut rng))
            .collect();
        for parts in strays.chunks(FLOOD_PARTS) {
            let receipt = match self.subject.push(adapter(0), parts) {
                Err(trap) => return self.excuse(&trap),
                Ok(Err(_)) => return require(!self.is_syncing, "push", || "refused".to_owned()),
                Ok(Ok(receipt)) => receipt,
            };
            for outcome in &receipt.outcomes {
                self.coverage.note("outcome", outcome);
                let is_right = match outcome {
                    PartOutcome::Queued => true,
                    PartOutcome::NoRoom => receipt.free_blocks == 0,
                    _ => false,
                };
                require(is_right, "receipt", || format!("{outcome:?} for a stray"))?;
                self.has_strays |= *outcome == PartOutcome::Queued;
            }
        }
        let queued = self.queue_length()?;
        let waiting = queued + self.seen.held.len() as u32;
        let is_exact = self.seen.is_complete && self.full_beats == 0;
        self.coverage.peak("queued blocks", queued.into());
        require(queued <= MOST_PENDING, "full queue", || queued.to_string())?;
        require(waiting >= MOST_PENDING || !is_exact, "full queue", || {
            format!("{queued} queued, {waiting} with those held")
        })
    }

    /// Makes a small block that follows nothing.
    fn stray(&self, rng: &mut ChaCha8Rng) -> BlockPart {
        let mut block = self.model.at(1).block.clone();
        block.header.prev_blockhash = BlockHash::from_byte_array(rng.random());
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce = block.header.nonce.wrapping_add(1);
        }
        whole(&serialize(&block))
    }

    fn check_outcome(
        &mut self,
        who: u8,
        sending: &Sending,
        outcome: &PartOutcome,
        free: u64,
    ) -> Checked {
        let place = sending.place;
        self.note_bytes(who, sending, outcome);
        let is_there = self.queued.contains(&place) || self.seen.has(place);
        let is_exact = self.seen.is_complete;
        let claim = self.model.at(place).claim;
        let is_right = match outcome {
            PartOutcome::Queued => {
                let is_news = !is_there || !is_exact;
                self.queued.insert(place);
                is_news && (claim != Claim::Header || self.has_good_work(place))
            }
            // What a reply brought is queued without the model knowing.
            PartOutcome::Known => is_there || !is_exact || self.profile.is_pulling,
            // The blocks of a chain alone never fill the queue.
            PartOutcome::NoRoom => self.has_strays || (self.full_beats > 0 && free == 0),
            PartOutcome::Incomplete { .. } => !is_there || !is_exact,
            PartOutcome::Rejected(error) => self.deserves(who, sending, error),
        };
        require(is_right, "receipt", || {
            format!("{outcome:?} for {}", self.describe(place))
        })
    }

    /// Notes whose bytes are bad: those taken from a bad delivery, or of a half that has some. All bytes are
    /// good where the canister had none of the block and took it whole.
    fn note_bytes(&mut self, who: u8, sending: &Sending, outcome: &PartOutcome) {
        let (place, half) = (sending.place, (who, sending.place));
        let is_whole = sending.part.offset == 0 && sending.part.bytes == self.model.at(place).bytes;
        match outcome {
            PartOutcome::Incomplete { .. } => {
                self.halves.insert(half);
                if sending.is_bad {
                    self.bad_halves.insert(half);
                }
            }
            PartOutcome::Queued if is_whole => {
                self.damaged.remove(&place);
                self.padded.remove(&place);
            }
            PartOutcome::Queued if sending.is_bad || self.bad_halves.contains(&half) => {
                self.damaged.insert(place);
            }
            _ => {}
        }
    }

    /// Headers that break a rule of their place are found by the drain only.
    fn has_good_work(&self, place: usize) -> bool {
        let header = &self.model.at(place).block.header;
        header.validate_pow(header.target()).is_ok()
    }

    fn deserves(&self, who: u8, sending: &Sending, error: &PartError) -> bool {
        let block = self.model.at(sending.place);
        match error {
            PartError::InvalidBlock { .. } => {
                !block.is_valid || self.may_be_given_up(sending.place)
            }
            PartError::InsufficientWork { .. } => block.claim == Claim::Header,
            // A half received before is gone on with at its end only.
            _ => !sending.is_plain || self.halves.contains(&(who, sending.place)),
        }
    }

    /// Returns which blocks are meant, parents first.
    fn load(&self, load: Load) -> Vec<usize> {
        match load {
            Load::Missing(pick, most) => {
                let mut path: Vec<usize> = self
                    .model
                    .ancestry(self.place(pick))
                    .take_while(|place| !self.seen.has(*place) && !self.queued.contains(place))
                    .collect();
                path.reverse();
                path.truncate(usize::from(most));
                path
            }
            Load::From(pick, count) => {
                let first = self.place(pick).max(1);
                let last = self.model.len().min(first + usize::from(count));
                (first..last).collect()
            }
        }
    }

    fn cut(&mut self, place: usize, delivery: Delivery, parts: Parts) -> Vec<Sending> {
        let block = self.model.at(place);
        let (hash, bytes) = (block.hash, self.spoilt(place, delivery));
        let is_whole = bytes == self.model.at(place).bytes || delivery == Delivery::Stripped;
        if bytes != self.model.at(place).bytes {
            self.forms.entry(place).or_default().push(bytes.clone());
        }
        let (place, name) = match delivery {
            Delivery::Misnamed => (place / 2, self.model.at(place / 2).hash),
            _ => (place, hash),
        };
        let count = match parts {
            Parts::Whole => 1,
            Parts::Cut(count) | Parts::Repeated(count) => count,
            Parts::Gap(count) | Parts::Resized(count) | Parts::First(count) => count,
        };
        let length = bytes.len().div_ceil(usize::from(count.max(1))).max(1);
        let mut sendings = Vec::new();
        for (index, piece) in bytes.chunks(length).enumerate() {
            let is_left_out = match parts {
                Parts::Gap(_) => index == 1,
                Parts::First(_) => index > 0,
                _ => false,
            };
            let resized = u32::from(matches!(parts, Parts::Resized(_)) && index > 0);
            let part = BlockPart {
                hash: bytes_of(name),
                size: bytes.len() as u32 + resized,
                offset: (index * length) as u32,
                bytes: ByteBuf::from(piece),
            };
            let times = match parts {
                _ if is_left_out => 0,
                Parts::Repeated(_) => 2,
                _ => 1,
            };
            for _ in 0..times {
                sendings.push(Sending {
                    place,
                    part: part.clone(),
                    is_plain: parts == Parts::Whole && is_whole && delivery != Delivery::Misnamed,
                    is_bad: !is_whole || delivery == Delivery::Misnamed,
                });
            }
        }
        sendings
    }

    fn spoilt(&self, place: usize, delivery: Delivery) -> Vec<u8> {
        let block = self.model.at(place);
        let mut bytes = block.bytes.clone();
        match delivery {
            // Without its witness this one would be good.
            Delivery::Stripped if block.claim == Claim::Bodiless => {}
            Delivery::Stripped => {
                let mut stripped = block.block.clone();
                for input in stripped.txdata.iter_mut().flat_map(|it| &mut it.input) {
                    input.witness.clear();
                }
                bytes = serialize(&stripped);
            }
            Delivery::Flipped(at) => {
                let at = 80 + usize::from(at) % (bytes.len() - 80);
                bytes[at] ^= 1;
            }
            Delivery::Padded => bytes.extend([0; 7]),
            Delivery::Short => bytes.truncate(bytes.len() - 5),
            Delivery::Mutated => {
                let mut mutated = block.block.clone();
                mutated.txdata.extend(block.block.txdata.last().cloned());
                bytes = serialize(&mutated);
            }
            Delivery::Plain | Delivery::Reversed | Delivery::Twice | Delivery::Misnamed => {}
        }
        bytes
    }
}
