//! Deltas against real chains with known sums, broken spends, and a naive model.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use bitcoin::absolute::LockTime;
use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::transaction;
use bitcoin::{Sequence, Transaction, TxIn, TxOut, Witness};
use proptest::prelude::*;

use super::*;
use crate::connect::{BlockChange, BlockConnector, CoinEvent, CoinPosition, ConnectStep};
use crate::consensus::{BlockPlace, BlockValidation, ConnectError, MedianTimes};
use crate::fixtures::{CheckedBlock, Coins, block_of, framed_blocks};
use crate::network::Network;
use crate::script::{ScriptHash, script_of_address};
use crate::testing::BlockDelta;

struct NoTimes<E>(std::marker::PhantomData<E>);

impl<E> MedianTimes for NoTimes<E> {
    type Error = E;

    fn median_time_past(&self, _: Height) -> Result<Option<u32>, E> {
        Ok(None)
    }
}

fn connector(block: &CheckedBlock, height: u32, network: Network) -> BlockConnector {
    let place = BlockPlace {
        network,
        height: Height::new(height),
        median_time_past: 0,
    };
    BlockConnector::start(block.scanned(), place, BlockValidation::ProofOfWork).unwrap()
}

fn step<V: CoinView>(
    connector: BlockConnector,
    coins: &V,
    budget: usize,
) -> Result<ConnectStep, DeltaError<V::Error>> {
    let step = connector.step(coins, &NoTimes(std::marker::PhantomData), budget);
    step.map_err(|error| match error {
        ConnectError::Coins(error) => error,
        _ => panic!("proof-of-work validation looks at coins alone"),
    })
}

fn delta_in_steps(
    block: &CheckedBlock,
    coins: &Coins,
    height: u32,
    network: Network,
    budget: usize,
) -> Result<BlockDelta, DeltaError<Infallible>> {
    let mut connector = connector(block, height, network);
    loop {
        connector = match step(connector, coins, budget)? {
            ConnectStep::More(more) => *more,
            ConnectStep::Done(done) => {
                assert_sorted(&done.change);
                return Ok(coins.delta_of(&done.change, block));
            }
        };
    }
}

/// Checks that both orders of a change are strict, and that they have the same events.
fn assert_sorted(change: &BlockChange) {
    let mut position = CoinPosition::default();
    let mut events = Vec::new();
    let mut last = None;
    while let Some((outpoint, event)) = change.next_coin(&mut position) {
        let key = (outpoint.txid, outpoint.vout);
        assert!(last < Some(key), "{outpoint} does not ascend");
        last = Some(key);
        let (spend, put) = match event {
            CoinEvent::Spend(spend) => (Some(spend), None),
            CoinEvent::Put(put) => (None, Some(put)),
            CoinEvent::Replace(spend, put) => (Some(spend), Some(put)),
        };
        events.extend(spend.map(|it| (it.script, Reverse(it.height), key, false, it.satoshi)));
        let height = Reverse(change.height());
        events.extend(put.map(|it| (it.script, height, key, true, it.satoshi)));
    }
    events.sort();
    let by_script = (0..change.script_events()).map(|at| {
        let it = change.script_event(at).unwrap();
        let key = (it.outpoint.txid, it.outpoint.vout);
        (it.script, Reverse(it.height), key, !it.is_spend, it.satoshi)
    });
    assert!(by_script.eq(events));
    assert_eq!(change.script_event(change.script_events()), None);
}

fn delta_of(
    block: &CheckedBlock,
    coins: &Coins,
    height: u32,
) -> Result<BlockDelta, DeltaError<Infallible>> {
    delta_in_steps(block, coins, height, Network::Regtest, usize::MAX)
}

fn coinbase(salt: u64, outputs: Vec<TxOut>) -> Transaction {
    transaction(
        vec![(
            OutPoint::null(),
            Builder::new().push_slice(salt.to_le_bytes()).into_script(),
        )],
        outputs,
    )
}

fn spending(outpoints: &[OutPoint], outputs: Vec<TxOut>) -> Transaction {
    let inputs = outpoints.iter().map(|o| (*o, ScriptBuf::new())).collect();
    transaction(inputs, outputs)
}

fn transaction(inputs: Vec<(OutPoint, ScriptBuf)>, output: Vec<TxOut>) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: inputs
            .into_iter()
            .map(|(previous_output, script_sig)| TxIn {
                previous_output,
                script_sig,
                sequence: Sequence::MAX,
                witness: Witness::new(),
            })
            .collect(),
        output,
    }
}

fn pay(script: &[u8], satoshi: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(satoshi),
        script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
    }
}

fn outpoint(transaction: &Transaction, vout: u32) -> OutPoint {
    OutPoint {
        txid: transaction.compute_txid(),
        vout,
    }
}

fn block(txdata: Vec<Transaction>) -> CheckedBlock {
    CheckedBlock::check(block_of(txdata)).unwrap()
}

#[test]
fn mainnet_blocks_0_to_4521_leave_the_published_sums() {
    let mut coins = Coins::default();
    let mut balances: BTreeMap<ScriptHash, i128> = BTreeMap::new();
    let mut entries: BTreeMap<ScriptHash, i64> = BTreeMap::new();
    for (height, bytes) in (0u32..).zip(framed_blocks("blocktools/1M.dat")) {
        let block = CheckedBlock::decode(&bytes).unwrap();
        let delta = delta_in_steps(&block, &coins, height, Network::Mainnet, 7).unwrap();
        assert_eq!(
            delta,
            delta_in_steps(&block, &coins, height, Network::Mainnet, usize::MAX).unwrap()
        );
        coins.apply(&delta);
        for (script, change) in delta.scripts() {
            *balances.entry(script).or_default() += change.balance_satoshi;
            *entries.entry(script).or_default() += change.coins;
        }
    }
    // 4,348 coins and 226,050 BTC are published without the genesis coinbase.
    assert_eq!(coins.0.len(), 4348 + 1);
    let total: u64 = coins.0.values().map(|coin| coin.value.to_sat()).sum();
    assert_eq!(total, (226_050 + 50) * 100_000_000);
    assert_eq!(balances.values().sum::<i128>(), i128::from(total));

    let script = script_of_address("12higDjoCCNXSA95xZMWUdPvXNmkAduhWv", Network::Mainnet).unwrap();
    let key = ScriptHash::of(&script);
    assert_eq!(balances[&key], 4_975 * 100_000_000);
    assert_eq!(entries[&key], 7);

    // Every script's balance and count equal a plain sum over the set.
    let mut expected: BTreeMap<ScriptHash, (i128, i64)> = BTreeMap::new();
    for coin in coins.0.values() {
        let sum = expected.entry(ScriptHash::of(&coin.script)).or_default();
        sum.0 += i128::from(coin.value.to_sat());
        sum.1 += 1;
    }
    balances.retain(|_, balance| *balance != 0);
    entries.retain(|_, count| *count != 0);
    assert!(balances.iter().eq(expected.iter().map(|(k, v)| (k, &v.0))));
    assert!(entries.iter().eq(expected.iter().map(|(k, v)| (k, &v.1))));
}

#[test]
fn coins_made_and_spent_inside_a_block_appear_nowhere() {
    let base = coinbase(1, vec![pay(b"a", 50)]);
    let step = spending(&[outpoint(&base, 0)], vec![pay(b"b", 50)]);
    let last = spending(&[outpoint(&step, 0)], vec![pay(b"c", 50)]);
    let delta = delta_of(&block(vec![base, step, last.clone()]), &Coins::default(), 1).unwrap();
    assert!(delta.spends.is_empty());
    assert_eq!(
        delta.puts.keys().copied().collect::<Vec<_>>(),
        [outpoint(&last, 0)]
    );
    assert!(!delta.puts[&outpoint(&last, 0)].coin.coinbase);
}

#[test]
fn unspendable_outputs_make_no_coins() {
    let long = vec![0x51; MAX_SCRIPT_BYTES + 1];
    let cases: [(&[u8], bool); 5] = [
        (&[0x6a], false),
        (&[0x6a, 1, 2], false),
        (&long, false),
        (&long[..MAX_SCRIPT_BYTES], true),
        (&[], true),
    ];
    let base = coinbase(1, cases.iter().map(|(script, _)| pay(script, 1)).collect());
    let delta = delta_of(&block(vec![base.clone()]), &Coins::default(), 1).unwrap();
    for (vout, (script, is_coin)) in (0u32..).zip(cases) {
        assert_eq!(
            delta.puts.contains_key(&outpoint(&base, vout)),
            is_coin,
            "{} bytes",
            script.len()
        );
    }
}

#[test]
fn a_missing_coin_is_named() {
    let unknown = OutPoint {
        txid: Txid::hash(b"unknown"),
        vout: 3,
    };
    let thief = spending(&[unknown], vec![pay(b"x", 1)]);
    let error = delta_of(
        &block(vec![coinbase(1, vec![]), thief.clone()]),
        &Coins::default(),
        1,
    )
    .unwrap_err();
    assert_eq!(
        error,
        DeltaError::MissingCoin {
            txid: thief.compute_txid(),
            outpoint: unknown
        }
    );
    assert!(error.condemns_block());
}

#[test]
fn spending_an_output_before_it_is_made_is_a_missing_coin() {
    let base = coinbase(1, vec![pay(b"a", 50)]);
    let parent = spending(&[outpoint(&base, 0)], vec![pay(b"b", 50)]);
    let child = spending(&[outpoint(&parent, 0)], vec![pay(b"c", 50)]);
    let error = delta_of(&block(vec![base, child, parent]), &Coins::default(), 1).unwrap_err();
    assert!(matches!(error, DeltaError::MissingCoin { .. }), "{error}");
}

#[test]
fn a_coin_spent_twice_in_a_block_is_named() {
    let old = coinbase(1, vec![pay(b"a", 50)]);
    let mut coins = Coins::default();
    coins.apply(&delta_of(&block(vec![old.clone()]), &coins, 1).unwrap());
    let fresh = coinbase(2, vec![pay(b"b", 50)]);
    for (name, coin) in [("of an earlier block", &old), ("of this block", &fresh)] {
        let first = spending(&[outpoint(coin, 0)], vec![pay(b"x", 1)]);
        let second = spending(&[outpoint(coin, 0)], vec![pay(b"y", 1)]);
        let bad = block(vec![fresh.clone(), first, second.clone()]);
        assert_eq!(
            delta_of(&bad, &coins, 2),
            Err(DeltaError::DoubleSpend {
                txid: second.compute_txid(),
                outpoint: outpoint(coin, 0)
            }),
            "{name}"
        );
    }
}

#[test]
fn a_repeated_coinbase_is_refused_but_in_the_two_exempt_blocks() {
    let repeated = block(vec![coinbase(1, vec![pay(b"a", 50)])]);
    let mut coins = Coins::default();
    coins.apply(&delta_of(&repeated, &coins, 91_812).unwrap());
    let name = *coins.0.keys().next().unwrap();
    for height in [91_841, 91_843, 91_879, 200_000] {
        assert_eq!(
            delta_in_steps(&repeated, &coins, height, Network::Mainnet, 1),
            Err(DeltaError::OverwritesUnspent { outpoint: name }),
            "{height}"
        );
    }
    for height in [91_842, 91_880] {
        let mut after = coins.clone();
        let delta = delta_in_steps(&repeated, &coins, height, Network::Mainnet, 1).unwrap();
        assert_eq!(delta.scripts().len(), 1);
        assert_eq!(
            delta.scripts().values().next().unwrap().balance_satoshi,
            0,
            "one coin replaces the other"
        );
        after.apply(&delta);
        assert_eq!(after.0[&name].height, Height::new(height));
        assert!(matches!(
            delta_in_steps(&repeated, &coins, height, Network::Testnet4, 1),
            Err(DeltaError::OverwritesUnspent { .. })
        ));
    }
}

#[test]
fn only_the_coinbase_of_an_exempt_block_may_repeat() {
    let base = coinbase(1, vec![pay(b"a", 50)]);
    let paid = spending(&[outpoint(&base, 0)], vec![pay(b"b", 50)]);
    let mut coins = Coins::default();
    for (height, txdata) in [
        (1, vec![base.clone()]),
        (2, vec![coinbase(2, vec![]), paid.clone()]),
    ] {
        coins.apply(&delta_of(&block(txdata), &coins, height).unwrap());
    }
    // The spent coinbase may come again, and then its spend would repeat too.
    let again = block(vec![base, paid.clone()]);
    assert_eq!(
        delta_in_steps(&again, &coins, 91_842, Network::Mainnet, 1),
        Err(DeltaError::OverwritesUnspent {
            outpoint: outpoint(&paid, 0)
        })
    );
}

/// A set that counts look-ups.
#[derive(Default)]
struct Counting(std::cell::Cell<usize>);

impl CoinView for Counting {
    type Error = Infallible;

    fn coin(&self, _: &OutPoint) -> Result<Option<Coin>, Infallible> {
        self.0.set(self.0.get() + 1);
        Ok(None)
    }
}

#[test]
fn overwrites_are_looked_for_unless_the_coinbase_holds_its_height() {
    let with = |script_sig: &[u8]| {
        let mut block = block(vec![transaction(
            vec![(OutPoint::null(), ScriptBuf::from_bytes(script_sig.to_vec()))],
            vec![pay(b"a", 1)],
        )])
        .into_block();
        block.header.version = Version::from_consensus(4);
        CheckedBlock::check(block).unwrap()
    };
    let is_looked_up = |network, height, block: &CheckedBlock, validation| {
        let coins = Counting::default();
        let place = BlockPlace {
            network,
            height: Height::new(height),
            median_time_past: 0,
        };
        let connector = BlockConnector::start(block.scanned(), place, validation).unwrap();
        step(connector, &coins, usize::MAX).unwrap();
        coins.0.get() == 1
    };
    // Heights as Bitcoin Core serialises them (BIP34).
    let cases: [(Network, u32, &[u8], bool); 6] = [
        (Network::Mainnet, 227_931, &[3, 0x5b, 0x7a, 3, 9], false),
        (Network::Mainnet, 227_930, &[3, 0x5a, 0x7a, 3, 9], true),
        (Network::Mainnet, 1_983_702, &[3, 0xd6, 0x44, 0x1e], true),
        (Network::Mainnet, 1_983_701, &[3, 0xd5, 0x44, 0x1e], false),
        (Network::Testnet4, 5, &[0x55, 0x00], false),
        (Network::Regtest, 5, &[0x55, 0x00], true),
    ];
    for (network, height, script_sig, expected) in cases {
        let block = with(script_sig);
        let judged = is_looked_up(network, height, &block, BlockValidation::Consensus);
        assert_eq!(judged, expected, "{network} {height}");
        let lenient = BlockValidation::ProofOfWork;
        assert!(
            is_looked_up(network, height, &block, lenient),
            "{network} {height}"
        );
    }
}

/// Under proof of work an extra coinbase can name the height of the next block, which repeats it.
#[test]
fn an_extra_coinbase_of_a_later_height_cannot_come_again() {
    let naming = |height: u8| {
        let script = ScriptBuf::from_bytes(vec![0x50 + height, 0]);
        transaction(vec![(OutPoint::null(), script)], vec![pay(b"a", 1)])
    };
    let mut coins = Coins::default();
    let first = block(vec![naming(5), naming(6)]);
    let delta = delta_in_steps(&first, &coins, 5, Network::Testnet4, 1).unwrap();
    coins.apply(&delta);
    let again = block(vec![naming(6)]);
    let outpoint = outpoint(&naming(6), 0);
    assert_eq!(
        delta_in_steps(&again, &coins, 6, Network::Testnet4, 1),
        Err(DeltaError::OverwritesUnspent { outpoint })
    );
}

#[test]
fn a_failing_look_up_condemns_nothing() {
    struct Broken;
    impl CoinView for Broken {
        type Error = &'static str;
        fn coin(&self, _: &OutPoint) -> Result<Option<Coin>, &'static str> {
            Err("page 7 is unreadable")
        }
    }
    let block = block(vec![coinbase(1, vec![pay(b"a", 1)])]);
    let connector = connector(&block, 1, Network::Regtest);
    let error = step(connector, &Broken, 9).unwrap_err();
    assert_eq!(error, DeltaError::View("page 7 is unreadable"));
    assert!(!error.condemns_block());
}

/// One random transaction: which known outputs it tries to spend, and what it pays to whom.
type Plan = (Vec<prop::sample::Index>, Vec<(u8, u16)>);

/// Applies a block to a plain map, the obvious way; `None` when an input is missing.
fn naive(
    set: &HashMap<OutPoint, Coin>,
    block: &CheckedBlock,
    height: u32,
) -> Option<HashMap<OutPoint, Coin>> {
    let mut set = set.clone();
    for (txid, transaction) in block.transactions() {
        if !transaction.is_coinbase() {
            for input in &transaction.input {
                set.remove(&input.previous_output)?;
            }
        }
        for (vout, output) in (0u32..).zip(&transaction.output) {
            if output.script_pubkey.as_bytes().starts_with(&[0x6a]) {
                continue;
            }
            let coin = Coin {
                value: output.value,
                script: output.script_pubkey.clone(),
                height: Height::new(height),
                coinbase: transaction.is_coinbase(),
            };
            set.insert(OutPoint { txid: *txid, vout }, coin);
        }
    }
    Some(set)
}

proptest! {
    #[test]
    fn deltas_change_a_set_as_naive_application_does(
        blocks in proptest::collection::vec(
            proptest::collection::vec(
                (
                    proptest::collection::vec(any::<prop::sample::Index>(), 1..4),
                    proptest::collection::vec((0u8..4, any::<u16>()), 0..4),
                ),
                0..6,
            ),
            1..12,
        ),
        budget in 1usize..9,
    ) {
        let blocks: Vec<Vec<Plan>> = blocks;
        let mut coins = Coins::default();
        let mut model: HashMap<OutPoint, Coin> = HashMap::new();
        let mut known: Vec<OutPoint> = Vec::new();
        for (height, plans) in (1u32..).zip(&blocks) {
            let first = coinbase(u64::from(height), vec![pay(b"miner", 50), pay(&[0x6a], 0)]);
            known.push(outpoint(&first, 0));
            let mut transactions = vec![first];
            for (inputs, outputs) in plans {
                // Outputs of this block are known too; some picks are spent or repeated.
                let spent: Vec<OutPoint> = inputs.iter().map(|index| *index.get(&known)).collect();
                let outputs = outputs
                    .iter()
                    .map(|(script, value)| match script {
                        0 => pay(&[0x6a, 1], u64::from(*value)),
                        script => pay(&[*script], u64::from(*value)),
                    })
                    .collect();
                let made = spending(&spent, outputs);
                if transactions.iter().all(|other: &Transaction| *other != made) {
                    known.extend((0u32..).zip(&made.output).map(|(vout, _)| outpoint(&made, vout)));
                    transactions.push(made);
                }
            }
            let block = block(transactions);
            let delta = delta_in_steps(&block, &coins, height, Network::Regtest, budget);
            match naive(&model, &block, height) {
                None => prop_assert!(
                    delta.is_err_and(|error| error.condemns_block())
                ),
                Some(after) => {
                    coins.apply(&delta.unwrap());
                    model = after;
                }
            }
            prop_assert!(coins.0.len() == model.len());
            prop_assert!(coins.0.iter().all(|(o, coin)| model.get(o) == Some(coin)));
        }
    }
}
