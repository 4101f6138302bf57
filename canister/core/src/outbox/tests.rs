use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash;
use proptest::prelude::*;

use super::*;
use crate::UnixSeconds;

const START: u64 = 1_700_000_000;

#[derive(Default)]
struct Blocks(BTreeMap<BlockHash, Standing>);

impl Chain for Blocks {
    fn standing(&self, block: &BlockHash) -> Standing {
        self.0.get(block).copied().unwrap_or(Standing::Aside)
    }
}

fn txid(number: u32) -> Txid {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Txid::from_byte_array(bytes)
}

fn block(number: u8) -> BlockHash {
    BlockHash::from_byte_array([number; 32])
}

struct World {
    outbox: Outbox,
    /// Transactions whose bytes are kept, as commanded.
    bytes: BTreeSet<Txid>,
    /// Records, as commanded.
    records: BTreeMap<Txid, Vec<u8>>,
    chain: Blocks,
    now: u64,
}

impl World {
    fn new() -> Self {
        Self {
            outbox: Outbox::default(),
            bytes: BTreeSet::new(),
            records: BTreeMap::new(),
            chain: Blocks::default(),
            now: START,
        }
    }

    /// Handles an event, does what it commands, and checks that nothing else was needed.
    fn try_on(&mut self, event: Event) -> Result<Vec<Command>, OutboxError> {
        let now = UnixSeconds::new(self.now);
        let commands = self.outbox.on(now, event, &self.chain);
        for command in commands.iter().flatten() {
            match *command {
                Command::KeepBytes(txid) => assert!(self.bytes.insert(txid)),
                Command::DropBytes(txid) => assert!(self.bytes.remove(&txid)),
                Command::Save(txid) => {
                    let record = self.outbox.record(&txid).unwrap();
                    self.records.insert(txid, record);
                }
                Command::Forget(txid) => assert!(self.records.remove(&txid).is_some()),
            }
        }
        let records = self.records.clone().into_iter();
        let restored = Outbox::restore(records).unwrap();
        assert_eq!(restored.entries, self.outbox.entries);
        let keeping = self.outbox.iter().filter(|(_, keeps_bytes)| *keeps_bytes);
        assert!(keeping.map(|(txid, _)| txid).eq(&self.bytes));
        commands
    }

    fn on(&mut self, event: Event) -> Vec<Command> {
        self.try_on(event).unwrap()
    }

    fn submit(&mut self, number: u32) -> Vec<Command> {
        self.on(Event::Submitted {
            txid: txid(number),
            size: 100,
        })
    }

    fn report(&mut self, number: u32, report: Report) -> Vec<Command> {
        self.on(Event::Reported {
            txid: txid(number),
            report,
        })
    }

    fn include(&mut self, number: u32, in_block: u8, height: u32) {
        self.on(Event::Included {
            txid: txid(number),
            block: block(in_block),
            height: Height::new(height),
        });
    }

    fn status(&self, number: u32) -> Option<Status> {
        self.outbox.status(&txid(number), &self.chain)
    }

    fn relayed(&self) -> Vec<Txid> {
        let relayed = self.outbox.to_relay(None, &self.chain);
        relayed.map(|(txid, _, _)| txid).collect()
    }
}

fn rejected(reason: &str) -> Report {
    Report::Rejected {
        reason: reason.to_owned(),
    }
}

fn confirmed(in_block: u8, height: u32) -> Option<Status> {
    Some(Status::Confirmed {
        block: block(in_block),
        height: Height::new(height),
    })
}

#[test]
fn a_transaction_goes_from_queued_to_settled() {
    let mut world = World::new();
    assert_eq!(world.status(1), None);
    let commands = world.submit(1);
    assert_eq!(
        commands,
        [Command::KeepBytes(txid(1)), Command::Save(txid(1))]
    );
    assert_eq!(world.status(1), Some(Status::Queued));
    assert_eq!(world.relayed(), [txid(1)]);

    world.report(1, Report::Announced { peers: 3 });
    world.report(1, Report::Announced { peers: 2 });
    assert_eq!(world.status(1), Some(Status::Announced { peers: 3 }));
    world.report(1, Report::Seen);
    assert_eq!(world.status(1), Some(Status::Seen));
    assert_eq!(world.relayed(), [txid(1)], "until it is confirmed");

    world.include(1, 7, 70);
    assert_eq!(world.status(1), Some(Status::Seen), "the block is not best");
    world.chain.0.insert(block(7), Standing::Best);
    assert_eq!(world.status(1), confirmed(7, 70));
    assert_eq!(world.relayed(), []);

    world.chain.0.insert(block(7), Standing::Stable);
    let commands = world.on(Event::Tick);
    assert_eq!(
        commands,
        [Command::DropBytes(txid(1)), Command::Save(txid(1))]
    );
    assert_eq!(world.status(1), confirmed(7, 70));
    assert_eq!(world.outbox.kept(), (0, Bytes::ZERO));
}

#[test]
fn a_reorganisation_makes_it_relayed_again_or_confirmed_elsewhere() {
    let mut world = World::new();
    world.submit(1);
    world.include(1, 7, 70);
    world.include(1, 8, 71);
    world.chain.0.insert(block(7), Standing::Best);
    assert_eq!(world.status(1), confirmed(7, 70));
    world.chain.0.insert(block(7), Standing::Aside);
    assert_eq!(world.status(1), Some(Status::Queued));
    assert_eq!(world.relayed(), [txid(1)]);
    world.chain.0.insert(block(8), Standing::Best);
    assert_eq!(world.status(1), confirmed(8, 71));
}

#[test]
fn submitting_again_changes_nothing_while_it_is_relayed() {
    let mut world = World::new();
    world.submit(1);
    world.report(1, Report::Announced { peers: 1 });
    assert_eq!(world.submit(1), []);
    assert_eq!(world.status(1), Some(Status::Announced { peers: 1 }));
}

#[test]
fn a_rejection_ends_relaying_until_it_is_submitted_again() {
    let mut world = World::new();
    world.submit(1);
    let commands = world.report(1, rejected("min relay fee not met"));
    assert_eq!(
        commands,
        [Command::DropBytes(txid(1)), Command::Save(txid(1))]
    );
    let reason = "min relay fee not met".to_owned();
    assert_eq!(world.status(1), Some(Status::Rejected { reason }));
    assert_eq!(world.relayed(), []);
    assert_eq!(world.report(1, Report::Seen), []);
    assert_eq!(world.submit(1).len(), 2);
    assert_eq!(world.status(1), Some(Status::Queued));
}

#[test]
fn one_peers_rejection_of_what_others_have_is_ignored() {
    let mut world = World::new();
    world.submit(1);
    world.report(1, Report::Seen);
    assert_eq!(world.report(1, rejected("spam")), []);
    assert_eq!(world.status(1), Some(Status::Seen));
}

#[test]
fn long_reasons_are_cut_at_a_character() {
    let mut world = World::new();
    world.submit(1);
    world.report(1, rejected(&"é".repeat(1_000)));
    let reason = "é".repeat(MAX_REASON_BYTES / 2);
    assert_eq!(world.status(1), Some(Status::Rejected { reason }));
}

#[test]
fn reports_about_unknown_transactions_are_refused() {
    let error = World::new().try_on(Event::Reported {
        txid: txid(9),
        report: Report::Seen,
    });
    assert_eq!(error, Err(OutboxError::Unknown { txid: txid(9) }));
}

#[test]
fn unconfirmed_transactions_expire_and_sweeps_are_rare() {
    let mut world = World::new();
    world.submit(1);
    world.on(Event::HandedOver {
        txid: txid(2),
        size: 100,
    });
    world.submit(3);
    world.include(3, 7, 70);
    world.chain.0.insert(block(7), Standing::Best);
    world.now += RELAY_SECONDS - 1;
    assert_eq!(world.on(Event::Tick), []);
    world.now += 1;
    assert_eq!(world.on(Event::Tick), [], "swept a second ago");
    world.now += SWEEP_SECONDS;
    let commands = world.on(Event::Tick);
    assert!(commands.contains(&Command::DropBytes(txid(1))));
    assert_eq!(world.status(1), Some(Status::Expired));
    assert_eq!(world.status(2), Some(Status::Expired));
    assert_eq!(world.status(3), confirmed(7, 70));
}

#[test]
fn handed_over_transactions_are_not_relayed_but_followed() {
    let mut world = World::new();
    world.submit(1);
    let commands = world.on(Event::HandedOver {
        txid: txid(1),
        size: 100,
    });
    assert_eq!(
        commands,
        [Command::DropBytes(txid(1)), Command::Save(txid(1))]
    );
    assert_eq!(world.status(1), Some(Status::Announced { peers: 0 }));
    assert_eq!(world.relayed(), []);
    world.include(1, 7, 70);
    world.chain.0.insert(block(7), Standing::Best);
    assert_eq!(world.status(1), confirmed(7, 70));
}

#[test]
fn count_and_bytes_are_bounded() {
    let mut world = World::new();
    for number in 0..MAX_KEPT as u32 {
        // Not `submit`: checking all records each time would take minutes.
        let event = Event::Submitted {
            txid: txid(number),
            size: 100,
        };
        let now = UnixSeconds::new(START);
        world.outbox.on(now, event, &world.chain).unwrap();
        let record = world.outbox.record(&txid(number)).unwrap();
        world.records.insert(txid(number), record);
        world.bytes.insert(txid(number));
    }
    let event = |number, size| Event::Submitted {
        txid: txid(number),
        size,
    };
    let full = |kept, kept_bytes, size| {
        Err(OutboxError::Full {
            kept,
            kept_bytes: Bytes::new(kept_bytes),
            size,
        })
    };
    assert_eq!(world.try_on(event(5_000, 1)), full(1_000, 100_000, 1));
    assert_eq!(world.submit(7), [], "what is there already is no addition");

    let mut world = World::new();
    let most = MAX_KEPT_BYTES.get();
    world.try_on(event(1, most as u32)).unwrap();
    assert_eq!(world.try_on(event(2, 1)), full(1, most, 1));
}

#[test]
fn of_what_ended_the_oldest_is_forgotten() {
    let mut outbox = Outbox::default();
    let chain = Blocks::default();
    for number in 0..=MAX_ENDED as u32 {
        let event = Event::HandedOver {
            txid: txid(number),
            size: 1,
        };
        let now = UnixSeconds::new(START + u64::from(number));
        let commands = outbox.on(now, event, &chain).unwrap();
        let is_over = number == MAX_ENDED as u32;
        assert_eq!(commands.contains(&Command::Forget(txid(0))), is_over);
    }
    assert!(!outbox.contains(&txid(0)) && outbox.contains(&txid(1)));
}

#[test]
fn only_the_newest_inclusions_are_remembered() {
    let mut world = World::new();
    world.submit(1);
    for number in 0..=MAX_INCLUSIONS as u8 {
        world.include(1, number, 70);
    }
    world.chain.0.insert(block(0), Standing::Best);
    assert_eq!(world.status(1), Some(Status::Queued));
    world.chain.0.insert(block(1), Standing::Best);
    assert_eq!(world.status(1), confirmed(1, 70));
}

#[test]
fn damaged_records_are_named() {
    let mut world = World::new();
    world.submit(1);
    let whole = world.outbox.record(&txid(1)).unwrap();
    for damaged in [&whole[..whole.len() - 1], &[&whole[..], &[0]].concat(), &[]] {
        let restored = Outbox::restore([(txid(1), damaged.to_vec())].into_iter());
        assert_eq!(restored, Err(RecordError { txid: txid(1) }));
    }
}

#[test]
fn lists_go_on_after_a_transaction() {
    let mut world = World::new();
    for number in [3, 1, 2] {
        world.submit(number);
    }
    let after = world.outbox.to_relay(Some(txid(1)), &world.chain);
    let after: Vec<Txid> = after.map(|(txid, _, _)| txid).collect();
    assert_eq!(after, [txid(2), txid(3)]);
}

fn any_event() -> impl Strategy<Value = Event> {
    let any_txid = || (0..4u32).prop_map(txid);
    let report = prop_oneof![
        (0..9u32).prop_map(|peers| Report::Announced { peers }),
        Just(Report::Seen),
        Just(rejected("no")),
    ];
    prop_oneof![
        any_txid().prop_map(|txid| Event::Submitted { txid, size: 1 }),
        any_txid().prop_map(|txid| Event::HandedOver { txid, size: 1 }),
        (any_txid(), report).prop_map(|(txid, report)| Event::Reported { txid, report }),
        (any_txid(), 0..6u8).prop_map(|(txid, number)| Event::Included {
            txid,
            block: block(number),
            height: Height::new(u32::from(number)),
        }),
        Just(Event::Tick),
    ]
}

proptest! {
    /// Whatever comes in whatever order: bytes and records are as commanded, what is relayed has its
    /// bytes and is not confirmed, and what is settled stays confirmed.
    #[test]
    fn no_order_of_events_breaks_the_outbox(
        steps in prop::collection::vec((any_event(), 0..6u8, 0..4u8, 0..RELAY_SECONDS / 4), 1..60)
    ) {
        let mut world = World::new();
        let mut settled: BTreeSet<u32> = BTreeSet::new();
        for (event, number, standing, seconds) in steps {
            // A stable block stays stable.
            if world.chain.standing(&block(number)) != Standing::Stable {
                let standing = match standing {
                    0 => Standing::Stable,
                    1 => Standing::Best,
                    _ => Standing::Aside,
                };
                world.chain.0.insert(block(number), standing);
            }
            world.now += seconds;
            let is_unknown_report = matches!(
                &event,
                Event::Reported { txid, .. } if !world.outbox.contains(txid)
            );
            prop_assert_eq!(world.try_on(event).is_err(), is_unknown_report);
            for txid in world.relayed() {
                prop_assert!(world.bytes.contains(&txid));
                let status = world.outbox.status(&txid, &world.chain);
                let is_open = !matches!(status, None | Some(Status::Confirmed { .. }));
                prop_assert!(is_open, "{:?}", status);
            }
            for number in 0..4 {
                let is_settled = world.outbox.entries.get(&txid(number))
                    .is_some_and(|entry| matches!(entry.relay, machine::Relay::Settled { .. }));
                if is_settled {
                    settled.insert(number);
                }
                if settled.contains(&number) {
                    let status = world.status(number);
                    prop_assert!(matches!(status, Some(Status::Confirmed { .. })), "{:?}", status);
                }
            }
        }
    }
}
