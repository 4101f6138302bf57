//! The outbox's states and what leads from one to another.

use std::collections::BTreeMap;
use std::ops::Bound;

use bitcoin::{BlockHash, Txid};

use super::{
    Chain, Command, Event, MAX_ENDED, MAX_INCLUSIONS, MAX_KEPT, MAX_KEPT_BYTES, MAX_REASON_BYTES,
    OutboxError, RELAY_SECONDS, Report, SWEEP_SECONDS, Standing, Status,
};
use crate::units::{Bytes, Height, UnixSeconds};

/// How relaying goes, whatever blocks say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Relay {
    Queued,
    Announced { peers: u32 },
    Seen,
    HandedOver,
    Rejected { reason: String },
    Expired,
    Settled { block: BlockHash, height: Height },
}

impl Relay {
    /// Whether the transaction's bytes are kept.
    const fn keeps_bytes(&self) -> bool {
        matches!(self, Self::Queued | Self::Announced { .. } | Self::Seen)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) size: u32,
    pub(super) submitted: UnixSeconds,
    /// When `relay` took its value.
    pub(super) since: UnixSeconds,
    pub(super) relay: Relay,
    pub(super) inclusions: Vec<(BlockHash, Height)>,
}

/// All transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    pub(super) entries: BTreeMap<Txid, Entry>,
    next_sweep: UnixSeconds,
}

impl Outbox {
    /// Handles an event. Nothing changes when it is refused.
    ///
    /// Costs O(transactions) for [`Event::Tick`], at most once in [`SWEEP_SECONDS`], and for
    /// submissions; O(log n) otherwise.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub fn on(
        &mut self,
        now: UnixSeconds,
        event: Event,
        chain: &impl Chain,
    ) -> Result<Vec<Command>, OutboxError> {
        match event {
            Event::Submitted { txid, size } => self.submit(now, txid, size),
            Event::HandedOver { txid, size } => Ok(self.hand_over(now, txid, size)),
            Event::Reported { txid, report } => self.report(now, txid, report),
            Event::Included {
                txid,
                block,
                height,
            } => Ok(self.include(txid, block, height)),
            Event::Tick => Ok(self.sweep(now, chain)),
        }
    }

    /// Returns where a transaction is, or `None` when it is unknown or forgotten.
    pub fn status(&self, txid: &Txid, chain: &impl Chain) -> Option<Status> {
        let entry = self.entries.get(txid)?;
        if let Some((block, height)) = entry.confirmed(chain) {
            return Some(Status::Confirmed { block, height });
        }
        Some(match &entry.relay {
            Relay::Queued => Status::Queued,
            Relay::Announced { peers } => Status::Announced { peers: *peers },
            Relay::HandedOver => Status::Announced { peers: 0 },
            Relay::Seen => Status::Seen,
            Relay::Rejected { reason } => Status::Rejected {
                reason: reason.clone(),
            },
            Relay::Expired => Status::Expired,
            Relay::Settled { block, height } => Status::Confirmed {
                block: *block,
                height: *height,
            },
        })
    }

    /// Returns the transactions adapters should relay, after a given one in order of their ids, with
    /// their sizes and the times they were submitted at.
    pub fn to_relay<'a>(
        &'a self,
        after: Option<Txid>,
        chain: &'a impl Chain,
    ) -> impl Iterator<Item = (Txid, u32, UnixSeconds)> + 'a {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries
            .range((start, Bound::Unbounded))
            .filter(|(_, entry)| entry.relay.keeps_bytes() && entry.confirmed(chain).is_none())
            .map(|(txid, entry)| (*txid, entry.size, entry.submitted))
    }

    /// Returns whether a transaction is remembered.
    pub fn contains(&self, txid: &Txid) -> bool {
        self.entries.contains_key(txid)
    }

    /// Returns whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the ids of all transactions, each with whether its bytes are kept.
    pub fn iter(&self) -> impl Iterator<Item = (&Txid, bool)> {
        self.entries
            .iter()
            .map(|(txid, entry)| (txid, entry.relay.keeps_bytes()))
    }

    /// Returns the number of transactions whose bytes are kept, and the bytes.
    pub fn kept(&self) -> (usize, Bytes) {
        let kept = self.entries.values().filter(|e| e.relay.keeps_bytes());
        kept.fold((0, Bytes::ZERO), |(count, bytes), entry| {
            let size = Bytes::new(u64::from(entry.size));
            (count + 1, bytes.saturating_add(size))
        })
    }

    fn submit(
        &mut self,
        now: UnixSeconds,
        txid: Txid,
        size: u32,
    ) -> Result<Vec<Command>, OutboxError> {
        let before = self.entries.get(&txid);
        let is_taken_care_of = before.is_some_and(|entry| {
            entry.relay.keeps_bytes() || matches!(entry.relay, Relay::Settled { .. })
        });
        if is_taken_care_of {
            return Ok(Vec::new());
        }
        let (kept, kept_bytes) = self.kept();
        let after = kept_bytes.saturating_add(Bytes::new(u64::from(size)));
        if kept >= MAX_KEPT || after > MAX_KEPT_BYTES {
            return Err(OutboxError::Full {
                kept,
                kept_bytes,
                size,
            });
        }
        self.begin(now, txid, size, Relay::Queued);
        Ok(vec![Command::KeepBytes(txid), Command::Save(txid)])
    }

    fn hand_over(&mut self, now: UnixSeconds, txid: Txid, size: u32) -> Vec<Command> {
        let mut commands = Vec::new();
        match self.entries.get(&txid).map(|entry| &entry.relay) {
            Some(Relay::Settled { .. }) => return commands,
            Some(relay) if relay.keeps_bytes() => commands.push(Command::DropBytes(txid)),
            Some(_) | None => {}
        }
        self.begin(now, txid, size, Relay::HandedOver);
        commands.push(Command::Save(txid));
        commands.extend(self.shed_ended());
        commands
    }

    fn begin(&mut self, now: UnixSeconds, txid: Txid, size: u32, relay: Relay) {
        let inclusions = self.entries.remove(&txid);
        let inclusions = inclusions.map_or_else(Vec::new, |entry| entry.inclusions);
        let entry = Entry {
            size,
            submitted: now,
            since: now,
            relay,
            inclusions,
        };
        self.entries.insert(txid, entry);
    }

    fn report(
        &mut self,
        now: UnixSeconds,
        txid: Txid,
        report: Report,
    ) -> Result<Vec<Command>, OutboxError> {
        let unknown = OutboxError::Unknown { txid };
        let entry = self.entries.get_mut(&txid).ok_or(unknown)?;
        // Of several adapters' reports the better one stands; one peer's refusal of what others
        // have means nothing.
        let relay = match (&entry.relay, report) {
            (Relay::Queued, Report::Announced { peers }) => Relay::Announced { peers },
            (Relay::Announced { peers: before }, Report::Announced { peers }) => Relay::Announced {
                peers: peers.max(*before),
            },
            (Relay::Queued | Relay::Announced { .. }, Report::Seen) => Relay::Seen,
            (Relay::Queued | Relay::Announced { .. }, Report::Rejected { reason }) => {
                Relay::Rejected {
                    reason: cut(reason),
                }
            }
            _ => return Ok(Vec::new()),
        };
        if relay == entry.relay {
            return Ok(Vec::new());
        }
        Ok(self.turn(now, txid, relay))
    }

    fn include(&mut self, txid: Txid, block: BlockHash, height: Height) -> Vec<Command> {
        let Some(entry) = self.entries.get_mut(&txid) else {
            return Vec::new();
        };
        if matches!(entry.relay, Relay::Settled { .. })
            || entry.inclusions.contains(&(block, height))
        {
            return Vec::new();
        }
        if entry.inclusions.len() >= MAX_INCLUSIONS {
            entry.inclusions.remove(0);
        }
        entry.inclusions.push((block, height));
        vec![Command::Save(txid)]
    }

    fn sweep(&mut self, now: UnixSeconds, chain: &impl Chain) -> Vec<Command> {
        if now < self.next_sweep {
            return Vec::new();
        }
        self.next_sweep = UnixSeconds::new(now.get().saturating_add(SWEEP_SECONDS));
        let ended: Vec<(Txid, Relay)> = self
            .entries
            .iter()
            .filter_map(|(txid, entry)| Some((*txid, entry.end(now, chain)?)))
            .collect();
        let mut commands = Vec::new();
        for (txid, relay) in ended {
            commands.extend(self.turn(now, txid, relay));
        }
        commands
    }

    /// Changes a transaction's state and says what follows.
    fn turn(&mut self, now: UnixSeconds, txid: Txid, relay: Relay) -> Vec<Command> {
        let Some(entry) = self.entries.get_mut(&txid) else {
            return Vec::new();
        };
        let mut commands = Vec::new();
        if entry.relay.keeps_bytes() && !relay.keeps_bytes() {
            commands.push(Command::DropBytes(txid));
        }
        entry.relay = relay;
        entry.since = now;
        commands.push(Command::Save(txid));
        commands.extend(self.shed_ended());
        commands
    }

    /// Forgets what ended first while more than [`MAX_ENDED`] are remembered.
    fn shed_ended(&mut self) -> Vec<Command> {
        let mut ended: Vec<(UnixSeconds, Txid)> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.relay.keeps_bytes())
            .map(|(txid, entry)| (entry.since, *txid))
            .collect();
        let excess = ended.len().saturating_sub(MAX_ENDED);
        ended.sort_unstable();
        ended.truncate(excess);
        for (_, txid) in &ended {
            self.entries.remove(txid);
        }
        ended
            .into_iter()
            .map(|(_, txid)| Command::Forget(txid))
            .collect()
    }
}

impl Entry {
    /// Returns the block of the best chain that holds the transaction.
    fn confirmed(&self, chain: &impl Chain) -> Option<(BlockHash, Height)> {
        let mut inclusions = self.inclusions.iter();
        let found = inclusions.find(|(block, _)| chain.standing(block) != Standing::Aside);
        found.copied()
    }

    /// Returns the state in which the transaction ends now, if it does.
    fn end(&self, now: UnixSeconds, chain: &impl Chain) -> Option<Relay> {
        if matches!(self.relay, Relay::Settled { .. }) {
            return None;
        }
        if let Some((block, height)) = self.confirmed(chain) {
            let is_stable = chain.standing(&block) == Standing::Stable;
            return is_stable.then_some(Relay::Settled { block, height });
        }
        let is_open = self.relay.keeps_bytes() || self.relay == Relay::HandedOver;
        let is_late = now.get() >= self.submitted.get().saturating_add(RELAY_SECONDS);
        (is_open && is_late).then_some(Relay::Expired)
    }
}

fn cut(mut reason: String) -> String {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}
