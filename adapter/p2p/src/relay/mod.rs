//! Transactions on their way to the network.
//!
//! The canister hands transactions over; the relay announces each to every peer, serves those who
//! ask, and announces again, more and more rarely, until it is told to forget: mempools are lost and
//! peers come and go. A state machine: `(now, event) -> commands`.
//!
//! The fee of a transaction is not known here, since its inputs are not. So it is announced to peers
//! with a fee filter (BIP133), too: they fetch it and drop it if it pays too little, which no message
//! tells. [`Relay::lowest_fee_filter`] is there for the user to compare with.

mod check;
mod peers;

#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bitcoin::p2p::message_blockdata::Inventory;
use bitcoin::{Txid, Wtxid};

use crate::chance::Chance;
use crate::message::{MAX_INVENTORY, Message, RawTransaction};
use crate::node::{Now, PeerId, RelayOutcome, RelayTransaction};

use check::Checked;
pub use check::{MAX_TRANSACTION_WEIGHT, Refusal};
pub use peers::MAX_PEERS;
use peers::Peers;

/// Transactions relayed at a time, at most.
pub const MAX_TRANSACTIONS: usize = 10_000;
/// Bytes of transactions relayed at a time, at most.
pub const MAX_BYTES: usize = 64_000_000;
/// Bytes of transactions sent for one request, at most; the rest is answered with `notfound`.
pub const MAX_SERVED_BYTES: usize = 4_000_000;
/// How often a peer is sent the same transaction, at most.
pub const MAX_SERVED_TIMES: u8 = 8;
/// Rejected transactions that are remembered, so as to be reported once, at most.
pub const MAX_REJECTED: usize = 10_000;

/// When a transaction is announced for the second time, counted from the first.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause between two announcements.
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 60);

/// What happened.
#[derive(Clone, Debug)]
pub enum RelayEvent {
    /// Transactions to relay from now on; those known change nothing.
    Add(Vec<RelayTransaction>),
    /// Transactions that need no relaying any more.
    Forget(Vec<Txid>),
    /// A peer finished its handshake.
    PeerReady {
        /// The peer.
        peer: PeerId,
        /// Whether it negotiated announcements by wtxid (BIP339).
        wtxid_relay: bool,
    },
    /// A peer is gone.
    PeerGone(PeerId),
    /// A peer wants no transactions below a fee rate (BIP133).
    FeeFilter {
        /// The peer.
        peer: PeerId,
        /// The rate, in satoshi per 1,000 virtual bytes.
        rate: u64,
    },
    /// A peer has transactions (`inv`); other inventory is passed over.
    Announced {
        /// The peer.
        peer: PeerId,
        /// What it has.
        inventory: Vec<Inventory>,
    },
    /// A peer wants transactions (`getdata`).
    Wanted {
        /// The peer.
        peer: PeerId,
        /// What it wants.
        inventory: Vec<Inventory>,
    },
    /// Time passed: [`Relay::wake_at`] is reached.
    Tick,
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayCommand {
    /// Send a message.
    Send(PeerId, Message),
    /// Tell what became of a transaction. No outcome is told twice.
    Report(Txid, RelayOutcome),
}

/// A transaction being relayed.
#[derive(Clone, Debug)]
struct Transaction {
    checked: Checked,
    bytes: Vec<u8>,
    /// How often peers that are still there were sent it.
    served: BTreeMap<PeerId, u8>,
    /// Peers that were sent it, those that are gone included.
    fetched: u32,
    is_seen: bool,
    /// When it is announced again.
    due: Duration,
    /// The pause before that, without jitter.
    pause: Duration,
}

/// The relay; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Relay {
    chance: Chance,
    transactions: BTreeMap<Txid, Transaction>,
    by_wtxid: BTreeMap<Wtxid, Txid>,
    /// What is announced again at which time.
    schedule: BTreeSet<(Duration, Txid)>,
    bytes: usize,
    peers: Peers,
    rejected: BTreeSet<Txid>,
    /// The same, oldest first.
    rejected_order: VecDeque<Txid>,
    /// Transactions turned away for want of room.
    turned_away: u64,
}

impl Relay {
    /// Starts with nothing to relay. The seed decides the jitter.
    pub fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            transactions: BTreeMap::new(),
            by_wtxid: BTreeMap::new(),
            schedule: BTreeSet::new(),
            bytes: 0,
            peers: Peers::default(),
            rejected: BTreeSet::new(),
            rejected_order: VecDeque::new(),
            turned_away: 0,
        }
    }

    /// Returns how many transactions are being relayed, at most [`MAX_TRANSACTIONS`].
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Returns whether there is nothing to relay.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// Returns the ids of the transactions being relayed, in a fixed order.
    pub fn pending(&self) -> impl Iterator<Item = Txid> {
        self.transactions.keys().copied()
    }

    /// Returns how often a transaction was turned away because [`MAX_TRANSACTIONS`] or [`MAX_BYTES`]
    /// were reached. Nothing is reported of those; they may be added again later.
    pub const fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// Returns the lowest fee rate that some ready peer accepts, in satoshi per 1,000 virtual bytes;
    /// `None` without peers. What pays less goes nowhere.
    pub fn lowest_fee_filter(&self) -> Option<u64> {
        self.peers.lowest_fee_filter()
    }

    /// Returns when [`RelayEvent::Tick`] is due, on the clock of [`Now::elapsed`];
    /// [`Duration::MAX`] while there is nothing to announce.
    pub fn wake_at(&self) -> Duration {
        self.schedule.first().map_or(Duration::MAX, |(due, _)| *due)
    }

    /// Takes in what happened and returns what must be done. Costs O(log n) for each transaction
    /// concerned and each peer.
    pub fn on(&mut self, now: Now, event: RelayEvent) -> Vec<RelayCommand> {
        match event {
            RelayEvent::Add(transactions) => self.add(now, transactions),
            RelayEvent::Forget(txids) => {
                for txid in txids {
                    self.forget(txid);
                }
                Vec::new()
            }
            RelayEvent::PeerReady { peer, wtxid_relay } => self.greet(peer, wtxid_relay),
            RelayEvent::PeerGone(peer) => {
                self.peers.remove(peer);
                for transaction in self.transactions.values_mut() {
                    transaction.served.remove(&peer);
                }
                Vec::new()
            }
            RelayEvent::FeeFilter { peer, rate } => {
                self.peers.set_fee_filter(peer, rate);
                Vec::new()
            }
            RelayEvent::Announced { peer, inventory } => self.notice(peer, &inventory),
            RelayEvent::Wanted { peer, inventory } => self.serve(peer, &inventory),
            RelayEvent::Tick => self.announce_due(now),
        }
    }

    fn add(&mut self, now: Now, transactions: Vec<RelayTransaction>) -> Vec<RelayCommand> {
        let mut commands = Vec::new();
        let mut new = Vec::new();
        for RelayTransaction { txid, bytes } in transactions {
            if self.transactions.contains_key(&txid) || self.rejected.contains(&txid) {
                continue;
            }
            match check::check(txid, &bytes) {
                Ok(checked) => {
                    if self.has_room(bytes.len()) {
                        new.push((txid, checked.wtxid));
                        self.keep(now, txid, checked, bytes);
                    } else {
                        self.turned_away = self.turned_away.saturating_add(1);
                    }
                }
                Err(refusal) => {
                    self.remember_rejected(txid);
                    let reason = refusal.to_string();
                    commands.push(RelayCommand::Report(
                        txid,
                        RelayOutcome::Rejected { reason },
                    ));
                }
            }
        }
        commands.extend(self.announce_to_all(&new));
        commands
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.transactions.len() < MAX_TRANSACTIONS && self.bytes.saturating_add(bytes) <= MAX_BYTES
    }

    fn keep(&mut self, now: Now, txid: Txid, checked: Checked, bytes: Vec<u8>) {
        let due = now.elapsed.saturating_add(self.jittered(FIRST_PAUSE));
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.by_wtxid.insert(checked.wtxid, txid);
        self.schedule.insert((due, txid));
        self.transactions.insert(
            txid,
            Transaction {
                checked,
                bytes,
                served: BTreeMap::new(),
                fetched: 0,
                is_seen: false,
                due,
                pause: FIRST_PAUSE,
            },
        );
    }

    fn forget(&mut self, txid: Txid) {
        if self.rejected.remove(&txid) {
            self.rejected_order.retain(|other| *other != txid);
        }
        let Some(transaction) = self.transactions.remove(&txid) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(transaction.bytes.len());
        self.by_wtxid.remove(&transaction.checked.wtxid);
        self.schedule.remove(&(transaction.due, txid));
    }

    fn remember_rejected(&mut self, txid: Txid) {
        if self.rejected_order.len() >= MAX_REJECTED
            && let Some(oldest) = self.rejected_order.pop_front()
        {
            self.rejected.remove(&oldest);
        }
        self.rejected.insert(txid);
        self.rejected_order.push_back(txid);
    }

    /// Announces everything to a new peer.
    fn greet(&mut self, peer: PeerId, wtxid_relay: bool) -> Vec<RelayCommand> {
        if !self.peers.insert(peer, wtxid_relay) {
            return Vec::new();
        }
        let all: Vec<(Txid, Wtxid)> = self
            .transactions
            .iter()
            .map(|(txid, transaction)| (*txid, transaction.checked.wtxid))
            .collect();
        announce(peer, wtxid_relay, &all)
    }

    /// Notes who else has a transaction. Whoever was sent it proves nothing by having it.
    fn notice(&mut self, peer: PeerId, inventory: &[Inventory]) -> Vec<RelayCommand> {
        let mut commands = Vec::new();
        for entry in inventory.iter().take(MAX_INVENTORY) {
            let Some(txid) = self.find(entry) else {
                continue;
            };
            let Some(transaction) = self.transactions.get_mut(&txid) else {
                continue;
            };
            if !transaction.is_seen && !transaction.served.contains_key(&peer) {
                transaction.is_seen = true;
                commands.push(RelayCommand::Report(txid, RelayOutcome::Seen));
            }
        }
        commands
    }

    /// Sends what a peer asks for, and names what is not there.
    fn serve(&mut self, peer: PeerId, inventory: &[Inventory]) -> Vec<RelayCommand> {
        let mut commands = Vec::new();
        let mut missing = Vec::new();
        let mut served = BTreeSet::new();
        let mut bytes_left = MAX_SERVED_BYTES;
        for entry in inventory.iter().take(MAX_INVENTORY) {
            let txid = self.find(entry);
            if txid.is_some_and(|txid| served.contains(&txid)) {
                continue;
            }
            let is_known = self.peers.contains(peer);
            let transaction = txid
                .filter(|_| is_known)
                .and_then(|txid| Some((txid, self.transactions.get_mut(&txid)?)))
                .filter(|(_, transaction)| transaction.may_be_sent(peer, bytes_left));
            let Some((txid, transaction)) = transaction else {
                missing.push(*entry);
                continue;
            };
            served.insert(txid);
            bytes_left = bytes_left.saturating_sub(transaction.bytes.len());
            commands.extend(transaction.send(txid, peer, entry));
        }
        if !missing.is_empty() {
            commands.push(RelayCommand::Send(peer, Message::NotFound(missing)));
        }
        commands
    }

    fn find(&self, entry: &Inventory) -> Option<Txid> {
        match entry {
            Inventory::Transaction(txid) | Inventory::WitnessTransaction(txid) => {
                self.transactions.contains_key(txid).then_some(*txid)
            }
            Inventory::WTx(wtxid) => self.by_wtxid.get(wtxid).copied(),
            _ => None,
        }
    }

    fn announce_due(&mut self, now: Now) -> Vec<RelayCommand> {
        let mut due = Vec::new();
        while let Some((_, txid)) = self
            .schedule
            .first()
            .copied()
            .filter(|(due, _)| *due <= now.elapsed)
        {
            self.schedule.pop_first();
            let Some(pause) = self
                .transactions
                .get(&txid)
                .map(|transaction| (transaction.pause * 2).min(LONGEST_PAUSE))
            else {
                continue;
            };
            let next = now.elapsed.saturating_add(self.jittered(pause));
            if let Some(transaction) = self.transactions.get_mut(&txid) {
                transaction.pause = pause;
                transaction.due = next;
                due.push((txid, transaction.checked.wtxid));
                self.schedule.insert((next, txid));
            }
        }
        self.announce_to_all(&due)
    }

    fn announce_to_all(&self, transactions: &[(Txid, Wtxid)]) -> Vec<RelayCommand> {
        self.peers
            .iter()
            .flat_map(|(peer, wtxid_relay)| announce(peer, wtxid_relay, transactions))
            .collect()
    }

    /// Returns three to five quarters of a pause: what is announced together must not stay
    /// together, or it could be recognised.
    fn jittered(&mut self, pause: Duration) -> Duration {
        let half = usize::try_from(pause.as_millis() / 2).unwrap_or(0);
        let extra = Duration::from_millis(self.chance.below(half.saturating_add(1)) as u64);
        pause * 3 / 4 + extra
    }
}

impl Transaction {
    fn may_be_sent(&self, peer: PeerId, bytes_left: usize) -> bool {
        let times = self.served.get(&peer).copied().unwrap_or(0);
        times < MAX_SERVED_TIMES && self.bytes.len() <= bytes_left
    }

    /// Sends the transaction in the form asked for: `MSG_TX` means without witness data (BIP144).
    fn send(
        &mut self,
        txid: Txid,
        peer: PeerId,
        entry: &Inventory,
    ) -> impl Iterator<Item = RelayCommand> + use<> {
        let times = self.served.entry(peer).or_insert(0);
        let is_first = *times == 0;
        *times = times.saturating_add(1);
        if is_first {
            self.fetched = self.fetched.saturating_add(1);
        }
        let transaction = match entry {
            Inventory::Transaction(_) => check::without_witness(txid, &self.bytes),
            _ => None,
        };
        let transaction = transaction.unwrap_or_else(|| RawTransaction {
            txid,
            wtxid: self.checked.wtxid,
            bytes: self.bytes.clone(),
        });
        let outcome = RelayOutcome::Announced {
            peers: self.fetched,
        };
        let report = is_first.then_some(RelayCommand::Report(txid, outcome));
        [RelayCommand::Send(peer, Message::Tx(transaction))]
            .into_iter()
            .chain(report)
    }
}

/// Announces transactions to a peer, in the way it negotiated.
fn announce(peer: PeerId, wtxid_relay: bool, transactions: &[(Txid, Wtxid)]) -> Vec<RelayCommand> {
    let inventory: Vec<Inventory> = transactions
        .iter()
        .map(|(txid, wtxid)| {
            if wtxid_relay {
                Inventory::WTx(*wtxid)
            } else {
                Inventory::Transaction(*txid)
            }
        })
        .collect();
    inventory
        .chunks(MAX_INVENTORY)
        .map(|part| RelayCommand::Send(peer, Message::Inv(part.to_vec())))
        .collect()
}
