//! Real blocks keep all rules; published transactions are judged as published.

use bitcoin::consensus::deserialize;
use bitcoin::{Amount, Block, ScriptBuf, Transaction, Witness};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::block::MIN_BLOCK_BYTES;
use crate::fixtures::{NOW, file, framed_blocks, hex_blocks};
use crate::header::HeaderContext;

/// Connects a chain from the block after genesis on, and returns the UTXO set.
fn run(network: Network, blocks: &[Vec<u8>]) -> Coins {
    let mut coins = Coins::default();
    let mut times = Times::default();
    let mut tip = HeaderContext::genesis(network);
    for bytes in blocks {
        let block = CheckedBlock::decode(bytes).unwrap();
        times.0.insert(tip.height().get(), tip.median_time_past());
        let place = BlockPlace {
            network,
            height: tip.height().next(),
            median_time_past: tip.median_time_past(),
        };
        tip = tip.accept(block.header(), network, NOW).unwrap();
        // Budgets of 1 to 7, so that pauses fall everywhere.
        let budget = 1 + bytes.len() % 7;
        let connected = connect(
            &block,
            place,
            BlockValidation::Consensus,
            &coins,
            &times,
            budget,
        )
        .unwrap_or_else(|error| panic!("{network} {}: {error}", place.height));
        assert_eq!(connected.witness, WitnessData::Complete);
        coins.apply(&connected.delta);
    }
    coins
}

fn total(coins: &Coins) -> u64 {
    coins.0.values().map(|coin| coin.value.to_sat()).sum()
}

#[test]
fn mainnet_blocks_1_to_4521_keep_all_rules_and_leave_the_published_set() {
    let coins = run(Network::Mainnet, &framed_blocks("blocktools/1M.dat")[1..]);
    assert_eq!(coins.0.len(), 4348);
    assert_eq!(total(&coins), 226_050 * 100_000_000);
}

#[test]
fn the_alternate_mainnet_branch_keeps_all_rules() {
    let coins = run(
        Network::Mainnet,
        &framed_blocks("bitcoin-core/mainnet_alt_blocks_1_2016.dat"),
    );
    assert_eq!(total(&coins), 2016 * 50 * 100_000_000);
}

/// Bitcoin Core made and accepted these under all of its rules: BIP34 heights, witness
/// commitments, maturity.
#[test]
fn regtest_blocks_of_bitcoin_core_keep_all_rules() {
    let coins = run(
        Network::Regtest,
        &hex_blocks("bitcoin-core/regtest_blocks.hex.txt"),
    );
    // 436 outputs are unspent, and each block's commitment is one that nobody can spend.
    assert_eq!(coins.0.len(), 436 - 206);
}

/// Reads a block with the coins it spends that earlier blocks made.
pub(super) fn with_coins(height: u32) -> (CheckedBlock, Coins) {
    let name = format!("raito/mainnet_block_{height}");
    let block = CheckedBlock::decode(&file(&format!("{name}.bin"))).unwrap();
    let rows = String::from_utf8(file(&format!("{name}_prevouts.csv"))).unwrap();
    let coins = rows.lines().skip(1).map(|row| {
        let fields: Vec<&str> = row.split(',').collect();
        let coin = Coin {
            value: Amount::from_sat(fields[1].parse().unwrap()),
            script: ScriptBuf::from_hex(fields[2]).unwrap(),
            height: Height::new(fields[3].parse().unwrap()),
            coinbase: fields[4] == "1",
        };
        (fields[0].parse().unwrap(), coin)
    });
    let earlier = coins.filter(|(_, coin)| coin.height < Height::new(height));
    (block, Coins(earlier.collect()))
}

/// The parent's median time past is not recorded; one second before the block is late enough for
/// every lock that is really over.
pub(super) fn mainnet_place(block: &CheckedBlock, height: u32) -> BlockPlace {
    BlockPlace {
        network: Network::Mainnet,
        height: Height::new(height),
        median_time_past: block.header().time - 1,
    }
}

#[test]
fn mainnet_blocks_of_all_eras_keep_all_rules_with_their_real_coins() {
    for height in [
        170, 24_835, 57_043, 116_928, 150_013, 210_000, 255_018, 478_558, 757_739, 757_753,
    ] {
        let (block, coins) = with_coins(height);
        let place = mainnet_place(&block, height);
        let judge = |budget| {
            let validation = BlockValidation::Consensus;
            connect(&block, place, validation, &coins, &Times::default(), budget)
        };
        let connected = judge(1).unwrap_or_else(|error| panic!("{height}: {error}"));
        assert_eq!(connected.delta.spends.len(), coins.0.len(), "{height}");
        assert_eq!(connected.witness, WitnessData::Complete, "{height}");
        let count = block.transactions().len() - 1;
        assert_eq!(connected.fees.rates().len(), count, "{height}");
        assert_eq!(judge(usize::MAX), Ok(connected), "{height}");
    }
}

/// The coinbases of these blocks take exactly what is due, so one satoshi more is too much.
#[test]
fn real_blocks_take_all_that_is_due_and_no_more() {
    for height in [57_043, 757_739, 757_753] {
        let (block, coins) = with_coins(height);
        let place = mainnet_place(&block, height);
        let mut greedy = block.into_block();
        greedy.txdata[0].output[0].value += Amount::ONE_SAT;
        let block = seal(greedy);
        let verdict = connect(
            &block,
            place,
            BlockValidation::Consensus,
            &coins,
            &Times::default(),
            100,
        );
        assert!(
            matches!(
                verdict,
                Err(ConnectError::Rule(ConsensusError::CoinbaseValue { taken, subsidy, fees }))
                    if taken == u128::from(subsidy) + fees + 1
            ),
            "{height}: {verdict:?}"
        );
    }
}

fn seal(mut block: Block) -> CheckedBlock {
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    CheckedBlock::check(block).unwrap()
}

fn strip(block: CheckedBlock) -> CheckedBlock {
    let mut block = block.into_block();
    for transaction in &mut block.txdata {
        for input in &mut transaction.input {
            input.witness = Witness::new();
        }
    }
    CheckedBlock::check(block).unwrap()
}

/// Old blocks are sent without witness data: they change the same coins, and say what is missing.
#[test]
fn a_stripped_block_connects_alike_with_sizes_that_say_so() {
    let (block, coins) = with_coins(757_739);
    let place = mainnet_place(&block, 757_739);
    let judge = |block: &CheckedBlock| {
        let validation = BlockValidation::Consensus;
        connect(block, place, validation, &coins, &Times::default(), 100).unwrap()
    };
    let whole = judge(&block);
    let stripped = judge(&strip(block));
    assert_eq!(stripped.witness, WitnessData::Stripped);
    assert_eq!(stripped.delta, whole.delta);
    let pairs = stripped.fees.rates().iter().zip(whole.fees.rates());
    assert!(pairs.clone().all(|(stripped, whole)| stripped >= whole));
    assert_eq!(
        pairs.filter(|(stripped, whole)| stripped > whole).count(),
        52 - 1
    );
}

#[test]
fn real_witness_commitments_hold_and_a_changed_witness_breaks_them() {
    let check = |block: &CheckedBlock| {
        let place = BlockPlace {
            network: Network::Testnet4,
            ..mainnet_place(block, 46_698)
        };
        // Heights and versions of another network come after the commitment.
        match BlockConnector::start(block.scanned(), place, BlockValidation::Consensus) {
            Err(ConsensusError::CoinbaseHeight { .. }) => Ok(()),
            started => started.map(|_| ()),
        }
    };
    for bytes in [
        file("clementine/testnet4_block_46698.bin"),
        file("raito/mainnet_block_757753.bin"),
    ] {
        let block = CheckedBlock::decode(&bytes).unwrap();
        assert_eq!(check(&block), Ok(()));
        let mut changed = block.into_block();
        let input = changed.txdata[1..]
            .iter_mut()
            .flat_map(|transaction| &mut transaction.input)
            .find(|input| !input.witness.is_empty())
            .unwrap();
        input.witness.push([1]);
        // The merkle root does not cover witnesses, so the structure still holds.
        let changed = CheckedBlock::check(changed).unwrap();
        let error = check(&changed).unwrap_err();
        assert!(
            matches!(error, ConsensusError::WitnessCommitment { .. }),
            "{error}"
        );
        assert!(!error.condemns_block());
    }
}

/// A block with a transaction, behind a real coinbase if it is none itself.
pub(super) fn spending_block(transaction: Transaction) -> CheckedBlock {
    let mut block = with_coins(170).0.into_block();
    block
        .txdata
        .truncate(usize::from(!transaction.is_coinbase()));
    block.txdata.push(transaction);
    seal(block)
}

/// Judges a transaction as far as the coins it spends do not matter.
pub(super) fn judge_alone(transaction: Transaction) -> Result<(), ConsensusError> {
    let block = spending_block(transaction).scanned();
    let mut outpoints: Vec<_> = block.inputs().iter().map(|i| (i.txid, i.vout)).collect();
    outpoints.sort();
    let inputs = outpoints.len();
    outpoints.dedup();
    match block.fault() {
        Some(fault) => Err(fault),
        None if outpoints.len() < inputs => Err(ConsensusError::DuplicateInput {
            txid: block.txids()[1],
            outpoint: block.inputs()[0].outpoint(),
        }),
        None => Ok(()),
    }
}

/// Bitcoin Core's `tx_valid.json` and `tx_invalid.json`: cases marked `BADTX` break a rule of the
/// transaction itself, all others only fail in scripts or lock-times.
#[test]
fn published_transactions_are_judged_as_published() {
    let (mut good, mut bad) = (0, 0);
    for name in ["bitcoin-core/tx_valid.json", "bitcoin-core/tx_invalid.json"] {
        let vectors: Vec<Vec<Value>> = serde_json::from_slice(&file(name)).unwrap();
        for vector in vectors.iter().filter(|vector| vector.len() == 3) {
            let text = vector[1].as_str().unwrap();
            let is_bad = name.ends_with("tx_invalid.json") && vector[2] == "BADTX";
            let Ok(transaction) = deserialize::<Transaction>(&hex::decode(text).unwrap()) else {
                assert!(is_bad, "{text}");
                continue;
            };
            let verdict = judge_alone(transaction);
            assert_eq!(verdict.is_err(), is_bad, "{text}: {verdict:?}");
            if is_bad { bad += 1 } else { good += 1 }
        }
    }
    assert!(good >= 200 && bad >= 8, "{good} {bad}");
}

proptest! {
    /// Damage anywhere in a real block, its merkle root made right again, ends in a verdict.
    #[test]
    fn damaged_blocks_are_judged_without_a_panic(at in 80usize..22_767, flip in 1u8..) {
        let (whole, coins) = with_coins(757_739);
        let (_, coinbase) = whole.transaction(0).unwrap();
        let coinbase_end = MIN_BLOCK_BYTES + coinbase.total_size();
        let mut bytes = file("raito/mainnet_block_757739.bin");
        bytes[at] ^= flip;
        let Ok(mut block) = deserialize::<Block>(&bytes) else {
            return Ok(());
        };
        if let Some(root) = block.compute_merkle_root() {
            block.header.merkle_root = root;
        }
        let Ok(block) = CheckedBlock::check(block) else {
            return Ok(());
        };
        let place = mainnet_place(&block, 757_739);
        let validation = BlockValidation::Consensus;
        let verdict = connect(&block, place, validation, &coins, &Times::default(), 50);
        // Whatever changed, the commitment covers it but for the coinbase.
        prop_assert!(verdict.is_err() || at < coinbase_end);
    }
}
