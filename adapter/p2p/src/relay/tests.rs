//! The relay: named cases, then random events against a model.

mod random;

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction as BitcoinTransaction, TxIn, TxOut, Witness,
};
use millrace_core::UnixSeconds;

use super::*;

const PEER: PeerId = PeerId(1);
const OTHER: PeerId = PeerId(2);

fn at(seconds: u64) -> Now {
    Now {
        elapsed: Duration::from_secs(seconds),
        unix: UnixSeconds::new(1_780_000_000 + seconds),
    }
}

/// A transaction of its own, with witness data if the number is odd.
fn bitcoin_transaction(number: u32) -> BitcoinTransaction {
    let mut witness = Witness::new();
    if number % 2 == 1 {
        witness.push([7; 64]);
    }
    BitcoinTransaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([9; 32]), number),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness,
        }],
        output: vec![TxOut {
            value: Amount::from_sat(1_000),
            script_pubkey: ScriptBuf::from(vec![0x51]),
        }],
    }
}

fn wrap(transaction: &BitcoinTransaction) -> RelayTransaction {
    RelayTransaction {
        txid: transaction.compute_txid(),
        bytes: serialize(transaction),
    }
}

fn transaction(number: u32) -> RelayTransaction {
    wrap(&bitcoin_transaction(number))
}

fn txid(number: u32) -> Txid {
    transaction(number).txid
}

fn wtxid(number: u32) -> Wtxid {
    bitcoin_transaction(number).compute_wtxid()
}

fn inv(peer: PeerId, inventory: Vec<Inventory>) -> RelayCommand {
    RelayCommand::Send(peer, Message::Inv(inventory))
}

fn fetched(number: u32, peers: u32) -> RelayCommand {
    RelayCommand::Report(txid(number), RelayOutcome::Announced { peers })
}

/// A relay with two peers, of which the second wants wtxids.
fn with_peers() -> Relay {
    let mut relay = Relay::new(3);
    for (peer, wtxid_relay) in [(PEER, false), (OTHER, true)] {
        let ready = RelayEvent::PeerReady { peer, wtxid_relay };
        assert_eq!(relay.on(at(0), ready), []);
    }
    relay
}

fn with_transaction(number: u32) -> Relay {
    let mut relay = with_peers();
    relay.on(at(0), RelayEvent::Add(vec![transaction(number)]));
    relay
}

fn wanted(peer: PeerId, inventory: Vec<Inventory>) -> RelayEvent {
    RelayEvent::Wanted { peer, inventory }
}

#[test]
fn a_transaction_is_announced_to_every_peer_in_its_own_way() {
    let mut relay = with_peers();
    let commands = relay.on(at(0), RelayEvent::Add(vec![transaction(1), transaction(2)]));
    let expected = [
        inv(
            PEER,
            vec![
                Inventory::Transaction(txid(1)),
                Inventory::Transaction(txid(2)),
            ],
        ),
        inv(
            OTHER,
            vec![Inventory::WTx(wtxid(1)), Inventory::WTx(wtxid(2))],
        ),
    ];
    assert_eq!(commands, expected);
    let again = relay.on(at(1), RelayEvent::Add(vec![transaction(1)]));
    assert_eq!(again, [], "one that is known changes nothing");
    assert_eq!(relay.len(), 2);
}

#[test]
fn a_new_peer_hears_of_everything_once() {
    let mut relay = with_transaction(1);
    let ready = RelayEvent::PeerReady {
        peer: PeerId(3),
        wtxid_relay: false,
    };
    let expected = [inv(PeerId(3), vec![Inventory::Transaction(txid(1))])];
    assert_eq!(relay.on(at(1), ready.clone()), expected);
    assert_eq!(relay.on(at(2), ready), []);
}

#[test]
fn transactions_are_served_in_the_form_asked_for_and_counted_once_for_each_peer() {
    let full = transaction(1);
    let mut stripped = bitcoin_transaction(1);
    stripped.input[0].witness.clear();
    let cases = [
        (Inventory::WTx(wtxid(1)), full.bytes.clone()),
        (Inventory::WitnessTransaction(txid(1)), full.bytes),
        (Inventory::Transaction(txid(1)), serialize(&stripped)),
    ];
    for (entry, bytes) in cases {
        let mut relay = with_transaction(1);
        let mut commands = relay.on(at(1), wanted(PEER, vec![entry]));
        assert_eq!(commands.pop(), Some(fetched(1, 1)), "{entry:?}");
        let Some(RelayCommand::Send(PEER, Message::Tx(sent))) = commands.pop() else {
            panic!("{entry:?}: {commands:?}");
        };
        assert_eq!((sent.txid, &sent.bytes), (txid(1), &bytes), "{entry:?}");
        let decoded: BitcoinTransaction =
            bitcoin::consensus::deserialize(&sent.bytes).expect("a transaction");
        assert_eq!(decoded.compute_wtxid(), sent.wtxid, "{entry:?}");
        let again = relay.on(at(2), wanted(PEER, vec![entry]));
        assert_eq!(again.len(), 1, "sent again, not reported again");
        let other = relay.on(at(3), wanted(OTHER, vec![entry]));
        assert_eq!(other.last(), Some(&fetched(1, 2)));
    }
}

#[test]
fn what_is_not_there_is_named() {
    let mut relay = with_transaction(2);
    let missing = Inventory::WTx(wtxid(5));
    let ours = Inventory::Transaction(txid(2));
    let commands = relay.on(at(1), wanted(PEER, vec![missing, ours, ours]));
    assert_eq!(commands.len(), 3, "sent once, reported, the rest named");
    assert_eq!(
        commands.last(),
        Some(&RelayCommand::Send(PEER, Message::NotFound(vec![missing])))
    );
    let stranger = relay.on(at(1), wanted(PeerId(9), vec![ours]));
    assert_eq!(
        stranger,
        [RelayCommand::Send(PeerId(9), Message::NotFound(vec![ours]))]
    );
}

#[test]
fn a_peer_cannot_make_us_send_without_end() {
    let mut relay = with_transaction(2);
    let ours = Inventory::Transaction(txid(2));
    let sent = (0..100)
        .flat_map(|second| relay.on(at(second), wanted(PEER, vec![ours; 1_000])))
        .filter(|command| matches!(command, RelayCommand::Send(_, Message::Tx(_))))
        .count();
    assert_eq!(sent, usize::from(MAX_SERVED_TIMES));

    let mut relay = with_peers();
    let big: Vec<RelayTransaction> = (0..60u32)
        .map(|number| {
            let mut transaction = bitcoin_transaction(number * 2);
            transaction.output[0].script_pubkey = ScriptBuf::from(vec![0x6a; 90_000]);
            wrap(&transaction)
        })
        .collect();
    let all: Vec<Inventory> = big
        .iter()
        .map(|transaction| Inventory::WitnessTransaction(transaction.txid))
        .collect();
    relay.on(at(0), RelayEvent::Add(big));
    let commands = relay.on(at(1), wanted(PEER, all));
    let bytes: usize = commands
        .iter()
        .map(|command| match command {
            RelayCommand::Send(_, Message::Tx(transaction)) => transaction.bytes.len(),
            _ => 0,
        })
        .sum();
    assert!((3_900_000..=MAX_SERVED_BYTES).contains(&bytes), "{bytes}");
    let Some(RelayCommand::Send(_, Message::NotFound(rest))) = commands.last() else {
        panic!("the rest is named");
    };
    assert_eq!(rest.len(), 60 - bytes / 90_000);
}

#[test]
fn a_transaction_is_seen_when_a_peer_has_it_that_was_not_sent_it() {
    let announced = |peer, entry| RelayEvent::Announced {
        peer,
        inventory: vec![entry],
    };
    let seen = RelayCommand::Report(txid(1), RelayOutcome::Seen);
    let mut relay = with_transaction(1);
    relay.on(at(1), wanted(PEER, vec![Inventory::Transaction(txid(1))]));
    let own = relay.on(at(2), announced(PEER, Inventory::Transaction(txid(1))));
    assert_eq!(own, [], "it has it from us");
    let unknown = relay.on(at(2), announced(OTHER, Inventory::WTx(wtxid(3))));
    assert_eq!(unknown, []);
    let other = relay.on(at(3), announced(OTHER, Inventory::WTx(wtxid(1))));
    assert_eq!(other, [seen]);
    let again = relay.on(at(4), announced(PeerId(3), Inventory::Transaction(txid(1))));
    assert_eq!(again, [], "reported once");
}

#[test]
fn announcements_are_repeated_ever_more_rarely_until_told_to_forget() {
    let mut relay = with_transaction(1);
    let mut last = Duration::ZERO;
    // The pause in minutes, before jitter.
    for minutes in [1, 2, 4, 8, 16, 30, 30, 30] {
        let due = relay.wake_at();
        let pause = due - last;
        let base = Duration::from_secs(minutes * 60);
        assert!(
            (base * 3 / 4..=base * 5 / 4).contains(&pause),
            "{minutes} minutes: {pause:?}"
        );
        let now = |elapsed| Now {
            elapsed,
            unix: UnixSeconds::ZERO,
        };
        let early = relay.on(now(due - Duration::from_millis(1)), RelayEvent::Tick);
        assert_eq!(early, []);
        assert_eq!(relay.on(now(due), RelayEvent::Tick).len(), 2, "both peers");
        last = due;
    }
    relay.on(at(10_000), RelayEvent::Forget(vec![txid(1), txid(5)]));
    assert!(relay.is_empty());
    assert_eq!(relay.wake_at(), Duration::MAX);
    let gone = relay.on(
        at(10_001),
        wanted(PEER, vec![Inventory::Transaction(txid(1))]),
    );
    assert!(matches!(
        gone.as_slice(),
        [RelayCommand::Send(PEER, Message::NotFound(_))]
    ));
}

#[test]
fn what_cannot_be_relayed_is_rejected_once_with_the_reason() {
    let mut coinbase = bitcoin_transaction(2);
    coinbase.input[0].previous_output = OutPoint::null();
    let mut heavy = bitcoin_transaction(2);
    heavy.output[0].script_pubkey = ScriptBuf::from(vec![0x6a; 100_000]);
    let mut empty = bitcoin_transaction(2);
    empty.output.clear();
    let mut cut = transaction(2);
    cut.bytes.pop();
    let mut trailing = transaction(2);
    trailing.bytes.push(0);
    let mut other = transaction(2);
    other.txid = txid(4);
    let mut huge = transaction(2);
    huge.bytes = vec![0; 400_001];
    let cases = [
        (wrap(&coinbase), "coinbase"),
        (wrap(&heavy), "weight units, nodes relay at most 400000"),
        (huge, "has 400001 weight units"),
        (wrap(&empty), "1 inputs and 0 outputs"),
        (cut, "are no transaction"),
        (trailing, "are no transaction"),
        (other, "are transaction"),
    ];
    for (transaction, reason) in cases {
        let mut relay = with_peers();
        let commands = relay.on(at(0), RelayEvent::Add(vec![transaction.clone()]));
        let [RelayCommand::Report(txid, RelayOutcome::Rejected { reason: given })] =
            commands.as_slice()
        else {
            panic!("{reason}: {commands:?}");
        };
        assert_eq!(*txid, transaction.txid);
        assert!(given.contains(reason), "{given}");
        assert!(relay.is_empty());
        let again = relay.on(at(1), RelayEvent::Add(vec![transaction.clone()]));
        assert_eq!(again, [], "{reason}");
        relay.on(at(2), RelayEvent::Forget(vec![transaction.txid]));
        let anew = relay.on(at(3), RelayEvent::Add(vec![transaction]));
        assert_eq!(anew.len(), 1, "{reason}");
    }
}

#[test]
fn beyond_the_bounds_the_newest_are_turned_away_for_now() {
    let mut relay = Relay::new(1);
    let count = u32::try_from(MAX_TRANSACTIONS).expect("small");
    let all = (0..count + 5).map(transaction).collect();
    let commands = relay.on(at(0), RelayEvent::Add(all));
    assert_eq!(commands, [], "nothing is reported of those");
    assert_eq!((relay.len(), relay.turned_away()), (MAX_TRANSACTIONS, 5));
    relay.on(at(1), RelayEvent::Forget(vec![txid(0)]));
    relay.on(at(2), RelayEvent::Add(vec![transaction(count)]));
    assert!(relay.pending().any(|pending| pending == txid(count)));

    let mut relay = Relay::new(1);
    for number in 0..MAX_BYTES / 90_000 + 10 {
        let number = u32::try_from(number).expect("small");
        let mut transaction = bitcoin_transaction(number * 2);
        transaction.output[0].script_pubkey = ScriptBuf::from(vec![0x6a; 90_000]);
        relay.on(at(0), RelayEvent::Add(vec![wrap(&transaction)]));
    }
    assert!(relay.bytes <= MAX_BYTES && relay.bytes > MAX_BYTES - 100_000);
    assert!(relay.turned_away() >= 9);
}

#[test]
fn fee_filters_are_noted_and_peers_are_bounded() {
    let mut relay = with_transaction(1);
    assert_eq!(relay.lowest_fee_filter(), Some(0));
    for (peer, rate) in [(PEER, 5_000), (OTHER, 1_000), (PeerId(9), 1)] {
        assert_eq!(relay.on(at(0), RelayEvent::FeeFilter { peer, rate }), []);
    }
    assert_eq!(relay.lowest_fee_filter(), Some(1_000));
    relay.on(at(0), RelayEvent::PeerGone(OTHER));
    assert_eq!(relay.lowest_fee_filter(), Some(5_000));
    let announced = (10..1_000)
        .map(|peer| RelayEvent::PeerReady {
            peer: PeerId(peer),
            wtxid_relay: false,
        })
        .filter(|ready| !relay.on(at(1), ready.clone()).is_empty())
        .count();
    assert_eq!(announced, MAX_PEERS - 1);
}
