//! Random events against a model that keeps plain sets.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const NUMBERS: u32 = 6;
const PEERS: u64 = 4;

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<u32>),
    AddBroken(u32),
    Forget(u32),
    Ready(u64, bool),
    Gone(u64),
    Announced(u64, Vec<(u32, bool)>),
    Wanted(u64, Vec<(u32, bool)>),
    Tick(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let names = || prop::collection::vec((0..NUMBERS, any::<bool>()), 0..4);
    prop_oneof![
        prop::collection::vec(0..NUMBERS, 0..4).prop_map(Step::Add),
        (0..NUMBERS).prop_map(Step::AddBroken),
        (0..NUMBERS).prop_map(Step::Forget),
        (0..PEERS, any::<bool>()).prop_map(|(peer, wtxid)| Step::Ready(peer, wtxid)),
        (0..PEERS).prop_map(Step::Gone),
        (0..PEERS, names()).prop_map(|(peer, names)| Step::Announced(peer, names)),
        (0..PEERS, names()).prop_map(|(peer, names)| Step::Wanted(peer, names)),
        any::<u16>().prop_map(Step::Tick),
    ]
}

#[derive(Default)]
struct Model {
    pending: BTreeSet<Txid>,
    rejected: BTreeSet<Txid>,
    /// Who is ready under which id, and in which way it is told.
    ready: BTreeMap<u64, (PeerId, bool)>,
    next_peer: u64,
    sent: BTreeSet<(Txid, PeerId)>,
    outcomes: BTreeMap<Txid, Vec<RelayOutcome>>,
    elapsed: u64,
}

fn inventory(names: &[(u32, bool)]) -> Vec<Inventory> {
    names
        .iter()
        .map(|(number, by_wtxid)| {
            if *by_wtxid {
                Inventory::WTx(wtxid(*number))
            } else {
                Inventory::Transaction(txid(*number))
            }
        })
        .collect()
}

impl Model {
    fn event(&mut self, step: &Step) -> Option<RelayEvent> {
        Some(match step {
            Step::Add(numbers) => {
                let new = numbers.iter().map(|number| txid(*number));
                let rejected = &self.rejected;
                self.pending
                    .extend(new.filter(|txid| !rejected.contains(txid)));
                RelayEvent::Add(numbers.iter().map(|number| transaction(*number)).collect())
            }
            Step::AddBroken(number) => {
                let mut broken = transaction(*number);
                broken.bytes.pop();
                if !self.pending.contains(&broken.txid) {
                    self.rejected.insert(broken.txid);
                }
                RelayEvent::Add(vec![broken])
            }
            Step::Forget(number) => {
                let txid = txid(*number);
                self.pending.remove(&txid);
                self.rejected.remove(&txid);
                self.outcomes.remove(&txid);
                self.sent.retain(|(sent, _)| *sent != txid);
                RelayEvent::Forget(vec![txid])
            }
            Step::Ready(slot, wtxid_relay) => {
                if self.ready.contains_key(slot) {
                    return None;
                }
                self.next_peer += 1;
                let peer = PeerId(self.next_peer);
                self.ready.insert(*slot, (peer, *wtxid_relay));
                RelayEvent::PeerReady {
                    peer,
                    wtxid_relay: *wtxid_relay,
                }
            }
            Step::Gone(slot) => RelayEvent::PeerGone(self.ready.remove(slot)?.0),
            Step::Announced(slot, names) => RelayEvent::Announced {
                peer: self.ready.get(slot)?.0,
                inventory: inventory(names),
            },
            Step::Wanted(slot, names) => RelayEvent::Wanted {
                peer: self.ready.get(slot)?.0,
                inventory: inventory(names),
            },
            Step::Tick(seconds) => {
                self.elapsed += u64::from(*seconds);
                RelayEvent::Tick
            }
        })
    }

    fn check(&mut self, event: &RelayEvent, commands: &[RelayCommand]) {
        for command in commands {
            match command {
                RelayCommand::Send(peer, message) => self.check_message(*peer, message),
                RelayCommand::Report(txid, outcome) => self.check_outcome(*txid, outcome, event),
            }
        }
        if let RelayEvent::Wanted { inventory, .. } = event {
            let answers: usize = commands
                .iter()
                .map(|command| match command {
                    RelayCommand::Send(_, Message::Tx(_)) => 1,
                    RelayCommand::Send(_, Message::NotFound(missing)) => missing.len(),
                    _ => 0,
                })
                .sum();
            assert!(answers <= inventory.len());
            assert_eq!(answers == 0, inventory.is_empty());
        }
    }

    fn check_message(&mut self, peer: PeerId, message: &Message) {
        let ready = self.ready.values().find(|(ready, _)| *ready == peer);
        let (_, wtxid_relay) = *ready.expect("only ready peers are spoken to");
        match message {
            Message::Inv(inventory) => {
                for entry in inventory {
                    assert_eq!(matches!(entry, Inventory::WTx(_)), wtxid_relay);
                }
            }
            Message::Tx(transaction) => {
                assert!(self.pending.contains(&transaction.txid));
                self.sent.insert((transaction.txid, peer));
            }
            Message::NotFound(missing) => assert!(!missing.is_empty()),
            other => panic!("the relay does not say {other:?}"),
        }
    }

    fn check_outcome(&mut self, txid: Txid, outcome: &RelayOutcome, event: &RelayEvent) {
        let told = self.outcomes.entry(txid).or_default();
        assert!(!told.contains(outcome), "{outcome:?} is told twice");
        told.push(outcome.clone());
        match outcome {
            RelayOutcome::Announced { peers } => {
                let sent = self.sent.iter().filter(|(sent, _)| *sent == txid).count();
                assert_eq!(*peers as usize, sent);
            }
            RelayOutcome::Seen => {
                let RelayEvent::Announced { peer, .. } = event else {
                    panic!("seen without an announcement");
                };
                assert!(!self.sent.contains(&(txid, *peer)));
            }
            RelayOutcome::Rejected { .. } => assert!(self.rejected.contains(&txid)),
        }
    }
}

proptest! {
    #[test]
    fn random_events_keep_to_the_model(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut relay = Relay::new(seed);
        let mut model = Model::default();
        for step in &steps {
            let Some(event) = model.event(step) else {
                continue;
            };
            let now = at(model.elapsed);
            let commands = relay.on(now, event.clone());
            model.check(&event, &commands);
            prop_assert!(relay.pending().eq(model.pending.iter().copied()));
            prop_assert_eq!(relay.schedule.len(), relay.len());
            prop_assert_eq!(relay.by_wtxid.len(), relay.len());
            if matches!(event, RelayEvent::Tick) {
                prop_assert!(relay.wake_at() > now.elapsed);
            }
        }
    }
}
