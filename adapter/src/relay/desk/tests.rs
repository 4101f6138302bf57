//! The desk by named cases, and against a model of the canister under random faults.

use bitcoin::hashes::Hash;
use proptest::prelude::*;

use super::*;

fn txid(number: u8) -> Txid {
    Txid::from_byte_array([number; 32])
}

fn listed(number: u8) -> RelayTransaction {
    RelayTransaction {
        txid: txid(number),
        bytes: vec![number],
    }
}

fn unreachable() -> SinkError {
    SinkError::Unreachable {
        url: "http://127.0.0.1:1/".to_owned(),
        reason: "nobody".to_owned(),
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn it_lists_page_by_page_and_relays_what_is_new() {
    let mut desk = Desk::new(1);
    assert_eq!(desk.on(SECOND, Event::Tick), [Command::List(None)]);
    let page = Event::Listed(Ok(vec![listed(1), listed(2)]));
    assert_eq!(
        desk.on(SECOND, page),
        [
            Command::Relay(vec![listed(1), listed(2)]),
            Command::List(Some(txid(2)))
        ]
    );
    let page = Event::Listed(Ok(vec![listed(3)]));
    assert_eq!(
        desk.on(SECOND, page),
        [
            Command::Relay(vec![listed(3)]),
            Command::List(Some(txid(3)))
        ]
    );
    assert_eq!(desk.on(SECOND, Event::Listed(Ok(Vec::new()))), []);
    assert_eq!(desk.wake_at(), SECOND + LIST_INTERVAL);
    // The next listing lacks one, which was confirmed.
    let later = desk.wake_at();
    assert_eq!(desk.on(later, Event::Tick), [Command::List(None)]);
    let page = Event::Listed(Ok(vec![listed(1), listed(3)]));
    assert_eq!(desk.on(later, page), [Command::List(Some(txid(3)))]);
    assert_eq!(
        desk.on(later, Event::Listed(Ok(Vec::new()))),
        [Command::Forget(vec![txid(2)])]
    );
    assert_eq!(desk.len(), 2);
}

#[test]
fn a_listing_that_does_not_ascend_ends() {
    let mut desk = Desk::new(1);
    desk.on(SECOND, Event::Tick);
    desk.on(SECOND, Event::Listed(Ok(vec![listed(5)])));
    assert_eq!(desk.on(SECOND, Event::Listed(Ok(vec![listed(5)]))), []);
    assert_eq!(desk.wake_at(), SECOND + LIST_INTERVAL);
}

#[test]
fn a_failed_listing_forgets_nothing_and_is_tried_again() {
    let mut desk = Desk::new(1);
    desk.on(SECOND, Event::Tick);
    desk.on(SECOND, Event::Listed(Ok(vec![listed(1)])));
    desk.on(SECOND, Event::Listed(Ok(Vec::new())));
    let later = desk.wake_at();
    desk.on(later, Event::Tick);
    let commands = desk.on(later, Event::Listed(Err(unreachable())));
    let [Command::CallFailed(error, pause)] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!(error, &unreachable());
    assert_eq!(desk.wake_at(), later + *pause);
    assert_eq!(desk.len(), 1);
}

#[test]
fn outcomes_are_reported_at_most_a_hundred_at_a_time_and_the_newest_wins() {
    let mut desk = Desk::new(1);
    desk.on(SECOND, Event::Tick);
    let many: Vec<RelayTransaction> = (0..=120).map(listed).collect();
    desk.on(SECOND, Event::Listed(Ok(many)));
    let announced = |peers| RelayOutcome::Announced { peers };
    let first = desk.on(SECOND, Event::Outcome(txid(0), announced(1)));
    assert_eq!(first, [Command::Report(vec![(txid(0), announced(1))])]);
    for number in 0..=120 {
        assert_eq!(
            desk.on(SECOND, Event::Outcome(txid(number), announced(2))),
            []
        );
    }
    desk.on(SECOND, Event::Outcome(txid(7), RelayOutcome::Seen));
    let commands = desk.on(SECOND, Event::Reported(Ok(())));
    let [Command::Report(reports)] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!(reports.len(), MAX_REPORTS);
    assert_eq!(reports[7], (txid(7), RelayOutcome::Seen));
}

#[test]
fn a_report_that_failed_goes_out_again_unless_there_is_a_newer_one() {
    let mut desk = Desk::new(1);
    desk.on(SECOND, Event::Tick);
    desk.on(SECOND, Event::Listed(Ok(vec![listed(1), listed(2)])));
    let announced = RelayOutcome::Announced { peers: 1 };
    desk.on(SECOND, Event::Outcome(txid(1), announced.clone()));
    desk.on(SECOND, Event::Outcome(txid(2), announced.clone()));
    desk.on(SECOND, Event::Outcome(txid(1), RelayOutcome::Seen));
    let failed = desk.on(SECOND, Event::Reported(Err(unreachable())));
    assert!(matches!(failed[..], [Command::CallFailed(..)]));
    let again = desk.on(desk.wake_at(), Event::Tick);
    assert!(again.contains(&Command::Report(vec![
        (txid(1), RelayOutcome::Seen),
        (txid(2), announced)
    ])));
}

#[test]
fn outcomes_of_transactions_that_are_not_relayed_are_passed_over() {
    let mut desk = Desk::new(1);
    desk.on(SECOND, Event::Tick);
    assert_eq!(
        desk.on(SECOND, Event::Outcome(txid(1), RelayOutcome::Seen)),
        []
    );
}

proptest! {
    /// Whatever fails in between: once calls succeed, what is relayed is what the outbox holds, and the
    /// canister knows the last outcome of each.
    #[test]
    fn in_the_end_the_canister_knows_everything(
        seed in any::<u64>(),
        steps in prop::collection::vec((0_u8..6, any::<u8>(), any::<bool>()), 1..200),
    ) {
        let mut desk = Desk::new(seed);
        let mut now = Duration::ZERO;
        let mut outbox: BTreeSet<u8> = BTreeSet::new();
        let mut relayed: BTreeSet<Txid> = BTreeSet::new();
        let mut outcomes: BTreeMap<Txid, RelayOutcome> = BTreeMap::new();
        let mut known: BTreeMap<Txid, RelayOutcome> = BTreeMap::new();
        let quiet = std::iter::repeat_n((9, 0, true), 40);
        for (index, (action, number, succeeds)) in steps.into_iter().chain(quiet).enumerate() {
            let event = match action {
                0 => { outbox.insert(number % 16); Event::Tick }
                1 => { outbox.remove(&(number % 16)); Event::Tick }
                2 if relayed.contains(&txid(number % 16)) => {
                    let outcome = RelayOutcome::Announced { peers: index as u32 };
                    outcomes.insert(txid(number % 16), outcome.clone());
                    Event::Outcome(txid(number % 16), outcome)
                }
                _ => { now = now.max(desk.wake_at()); Event::Tick }
            };
            let mut events = vec![event];
            while let Some(event) = events.pop() {
                for command in desk.on(now, event) {
                    match command {
                        Command::List(after) => events.push(Event::Listed(if succeeds {
                            let later = outbox.iter().filter(|id| after < Some(txid(**id)));
                            Ok(later.take(3).map(|id| listed(*id)).collect())
                        } else {
                            Err(unreachable())
                        })),
                        Command::Report(reports) => events.push(Event::Reported(if succeeds {
                            known.extend(reports);
                            Ok(())
                        } else {
                            Err(unreachable())
                        })),
                        Command::Relay(added) => for listed in added {
                            prop_assert!(relayed.insert(listed.txid), "relayed twice");
                        },
                        Command::Forget(txids) => for txid in txids {
                            prop_assert!(relayed.remove(&txid), "forgotten twice");
                            outcomes.remove(&txid);
                            known.remove(&txid);
                        },
                        Command::CallFailed(..) => {}
                    }
                }
            }
        }
        let expected: BTreeSet<Txid> = outbox.iter().map(|id| txid(*id)).collect();
        prop_assert_eq!(&relayed, &expected);
        prop_assert_eq!(known, outcomes);
    }
}
