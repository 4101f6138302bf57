//! Decides when to list the canister's outbox, what is to be relayed, and what to report: a state machine
//! without I/O or clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::Txid;
use millrace_p2p::node::{RelayOutcome, RelayTransaction};

use crate::engine::backoff::Backoff;
use crate::sink::SinkError;

#[cfg(test)]
mod tests;

/// How long between listings: what a transaction waits at most before its first announcement.
pub const LIST_INTERVAL: Duration = Duration::from_secs(5);

/// Transactions relayed at a time: what the canister's outbox holds at most
/// ([`millrace_core::outbox::MAX_KEPT`]). Further ones of a listing wait.
pub const MAX_RELAYED: usize = millrace_core::outbox::MAX_KEPT;

/// Reports of one message, at most; the contract's limit.
pub const MAX_REPORTS: usize = 100;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed: [`Desk::wake_at`] is reached.
    Tick,
    /// The canister answered [`Command::List`].
    Listed(Result<Vec<RelayTransaction>, SinkError>),
    /// A relayer says what became of a transaction.
    Outcome(Txid, RelayOutcome),
    /// The canister answered [`Command::Report`].
    Reported(Result<(), SinkError>),
}

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask for transactions that come after one in the order of ids, or for the first ones.
    List(Option<Txid>),
    /// Relay these from now on.
    Relay(Vec<RelayTransaction>),
    /// These need no relaying any more.
    Forget(Vec<Txid>),
    /// Tell the canister.
    Report(Vec<(Txid, RelayOutcome)>),
    /// A call failed, and is tried again after a pause.
    CallFailed(SinkError, Duration),
}

/// The state machine; see the module's documentation.
#[derive(Debug)]
pub struct Desk {
    /// Transactions being relayed.
    relayed: BTreeSet<Txid>,
    /// Ids of the listing so far.
    listing: BTreeSet<Txid>,
    is_listing: bool,
    list_at: Duration,
    /// The newest outcome of each transaction that the canister does not know yet.
    reports: BTreeMap<Txid, RelayOutcome>,
    /// Reports on their way.
    reporting: Option<Vec<(Txid, RelayOutcome)>>,
    report_at: Duration,
    retries: Backoff,
}

impl Desk {
    /// Starts with a listing. Equal seeds give equal pauses.
    pub const fn new(seed: u64) -> Self {
        Self {
            relayed: BTreeSet::new(),
            listing: BTreeSet::new(),
            is_listing: false,
            list_at: Duration::ZERO,
            reports: BTreeMap::new(),
            reporting: None,
            report_at: Duration::ZERO,
            retries: Backoff::new(seed),
        }
    }

    /// Returns when the next [`Event::Tick`] is due, if nothing else happens before.
    pub fn wake_at(&self) -> Duration {
        let list_at = match self.is_listing {
            true => Duration::MAX,
            false => self.list_at,
        };
        let report_at = match self.reporting.is_some() || self.reports.is_empty() {
            true => Duration::MAX,
            false => self.report_at,
        };
        list_at.min(report_at)
    }

    /// Returns how many transactions are being relayed.
    pub fn len(&self) -> usize {
        self.relayed.len()
    }

    /// Returns whether nothing is being relayed.
    pub fn is_empty(&self) -> bool {
        self.relayed.is_empty()
    }

    /// Takes in an event and returns what to do, in order. `now` never runs backwards.
    pub fn on(&mut self, now: Duration, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        match event {
            Event::Tick => {}
            Event::Listed(Ok(page)) => self.on_page(now, page, &mut commands),
            Event::Listed(Err(error)) => {
                self.is_listing = false;
                // What this listing did not reach may be there still: nothing is forgotten.
                self.listing.clear();
                self.list_at = self.failed(now, error, &mut commands);
            }
            Event::Outcome(txid, outcome) => {
                if self.relayed.contains(&txid) {
                    self.reports.insert(txid, outcome);
                }
            }
            Event::Reported(result) => self.on_reported(now, result, &mut commands),
        }
        if !self.is_listing && self.list_at <= now {
            self.is_listing = true;
            commands.push(Command::List(None));
        }
        self.report(now, &mut commands);
        commands
    }

    fn on_page(&mut self, now: Duration, page: Vec<RelayTransaction>, commands: &mut Vec<Command>) {
        self.retries.succeed();
        let last = self.listing.last().copied();
        // Pages ascend; one that does not would never end.
        let next = page.iter().map(|listed| listed.txid).max();
        let goes_on = next > last && self.listing.len() < MAX_RELAYED;
        let mut added = Vec::new();
        for listed in page {
            let txid = listed.txid;
            let has_room = self.relayed.len() < MAX_RELAYED;
            self.listing.insert(txid);
            if !self.relayed.contains(&txid) && has_room {
                self.relayed.insert(txid);
                added.push(listed);
            }
        }
        if !added.is_empty() {
            commands.push(Command::Relay(added));
        }
        if let Some(next) = next.filter(|_| goes_on) {
            return commands.push(Command::List(Some(next)));
        }
        self.is_listing = false;
        self.list_at = now.saturating_add(LIST_INTERVAL);
        let listing = std::mem::take(&mut self.listing);
        let ended: Vec<Txid> = self.relayed.difference(&listing).copied().collect();
        for txid in &ended {
            self.relayed.remove(txid);
            self.reports.remove(txid);
        }
        if !ended.is_empty() {
            commands.push(Command::Forget(ended));
        }
    }

    fn on_reported(
        &mut self,
        now: Duration,
        result: Result<(), SinkError>,
        commands: &mut Vec<Command>,
    ) {
        let Some(sent) = self.reporting.take() else {
            return;
        };
        let Err(error) = result else {
            return self.retries.succeed();
        };
        self.report_at = self.failed(now, error, commands);
        for (txid, outcome) in sent {
            if self.relayed.contains(&txid) {
                // A newer outcome takes its place.
                self.reports.entry(txid).or_insert(outcome);
            }
        }
    }

    fn report(&mut self, now: Duration, commands: &mut Vec<Command>) {
        if self.reporting.is_some() || self.reports.is_empty() || now < self.report_at {
            return;
        }
        let mut batch = Vec::new();
        while batch.len() < MAX_REPORTS {
            let Some(report) = self.reports.pop_first() else {
                break;
            };
            batch.push(report);
        }
        self.reporting = Some(batch.clone());
        commands.push(Command::Report(batch));
    }

    fn failed(&mut self, now: Duration, error: SinkError, commands: &mut Vec<Command>) -> Duration {
        let pause = self.retries.fail();
        commands.push(Command::CallFailed(error, pause));
        now.saturating_add(pause)
    }
}
