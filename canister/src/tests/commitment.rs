//! The commitment to the stable set against plain recomputation: over random chains with reorgs, budgets
//! of one step, upgrades, switching on and off; and what becomes of it when it fails.

use std::collections::BTreeMap;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, OutPoint, ScriptBuf, TxOut};
use millrace_candid::{
    Budgets, Flag, GetUtxoSetInfoArgs, InitConfig, ReadError, SetConfigRequest, UtxoSetCommitment,
};
use millrace_core::Height;
use millrace_core::commitment::{Commitment, Totals};
use millrace_core::muhash::Element;
use millrace_store::cells::Counter;

use super::regtest::*;
use super::setup::*;
use crate::tick::Work;

/// A coin as Bitcoin Core hashes it: output, height, whether a coinbase made it.
type Coin = (TxOut, u32, bool);

/// The coins after a block, the genesis block's left out.
#[derive(Clone, Default)]
struct Plain(BTreeMap<OutPoint, Coin>);

impl Plain {
    fn after(&self, block: &Block, height: u32) -> Self {
        let mut coins = self.0.clone();
        for transaction in &block.txdata {
            for input in &transaction.input {
                coins.remove(&input.previous_output);
            }
            let txid = transaction.compute_txid();
            for (vout, output) in (0..).zip(&transaction.output) {
                let script = output.script_pubkey.as_bytes();
                if script.first() != Some(&0x6a) && script.len() <= 10_000 {
                    let coin = (output.clone(), height, transaction.is_coinbase());
                    coins.insert(OutPoint { txid, vout }, coin);
                }
            }
        }
        Self(coins)
    }

    fn commitment(&self) -> Commitment {
        let mut commitment = Commitment::default();
        for (outpoint, (output, height, coinbase)) in &self.0 {
            let code = height * 2 + u32::from(*coinbase);
            let bytes = [serialize(outpoint), serialize(&code), serialize(output)].concat();
            commitment.muhash.insert(&Element::of(&bytes));
            let Totals {
                outputs,
                satoshi,
                bogosize,
            } = &mut commitment.totals;
            *outputs += 1;
            *satoshi += i128::from(output.value.to_sat());
            *bogosize += 50 + output.script_pubkey.len() as i128;
        }
        commitment
    }
}

/// A small source of choices.
struct Choices(u64);

impl Choices {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % end
    }
}

/// Every block made, and the coins after it.
struct Chain {
    blocks: BTreeMap<BlockHash, (Block, u32, Plain)>,
    expected: BTreeMap<BlockHash, Commitment>,
    made: u8,
}

/// Scripts of all lengths that are written differently, and two that nobody can spend.
fn script(choices: &mut Choices) -> ScriptBuf {
    let length = [0, 22, 23, 25, 34, 128, 129, 252, 253, 10_000, 10_001, 1][choices.below(12)];
    let mut bytes = vec![0x51; length];
    if choices.below(6) == 0 && length > 0 {
        bytes[0] = 0x6a;
    }
    ScriptBuf::from_bytes(bytes)
}

impl Chain {
    fn new() -> Self {
        let genesis = genesis();
        let blocks = [(genesis.block_hash(), (genesis, 0, Plain::default()))];
        Self {
            blocks: blocks.into(),
            expected: BTreeMap::new(),
            made: 0,
        }
    }

    /// Makes a block that spends some coins of its parent's set, and some of its own.
    fn grow(&mut self, parent: &BlockHash, choices: &mut Choices) -> Block {
        let (parent, height, coins) = &self.blocks[parent];
        let mut transactions = Vec::new();
        let mut spendable: Vec<OutPoint> = coins.0.keys().copied().collect();
        for _ in 0..choices.below(6) {
            if spendable.is_empty() {
                break;
            }
            let spent = spendable.swap_remove(choices.below(spendable.len()));
            let values: Vec<u64> = (0..1 + choices.below(4)).map(|at| at as u64 * 77).collect();
            let mut payment = payment(&[spent], &values);
            for output in &mut payment.output {
                output.script_pubkey = script(choices);
            }
            let first = OutPoint::new(payment.compute_txid(), 0);
            let script = payment.output[0].script_pubkey.as_bytes();
            if script.first() != Some(&0x6a) && script.len() <= 10_000 {
                spendable.push(first);
            }
            transactions.push(payment);
        }
        self.made = self.made.wrapping_add(1);
        let values = [50_000, u64::from(self.made)];
        let block = block(parent, height + 1, self.made, &values, &transactions);
        let after = coins.after(&block, height + 1);
        let height = height + 1;
        self.blocks
            .insert(block.block_hash(), (block.clone(), height, after));
        block
    }

    fn ancestor(&self, hash: &BlockHash, depth: usize) -> BlockHash {
        let mut hash = *hash;
        for _ in 0..depth {
            let (block, height, _) = &self.blocks[&hash];
            if *height > 0 {
                hash = block.header.prev_blockhash;
            }
        }
        hash
    }

    /// Compares everything that the canister keeps with recomputation. Returns how many heights.
    fn check(&mut self, canister: &Canister) -> usize {
        canister.audit();
        let UtxoSetCommitment::Complete {
            min_height,
            max_height,
        } = canister.app.commitment_standing()
        else {
            return 0;
        };
        let store = canister.app.store();
        assert_eq!(max_height, store.anchor_height().get());
        for height in min_height..=max_height {
            let kept = store.commitments.of_height(Height::new(height)).unwrap();
            assert_eq!(Some(kept.block), stable_hash(store, height));
            let (_, _, plain) = &self.blocks[&kept.block];
            let expected = self.expected.entry(kept.block);
            let expected = expected.or_insert_with(|| plain.commitment());
            assert_eq!(&kept.commitment, expected, "height {height}");
        }
        (max_height - min_height) as usize + 1
    }
}

fn stable_hash(store: &millrace_store::Store<TestMemory>, height: u32) -> Option<BlockHash> {
    let header = store.headers.header(Height::new(height));
    header.map(|header| header.block_hash())
}

fn kept(is_kept: bool) -> SetConfigRequest {
    SetConfigRequest {
        utxo_set_commitment: Some(if is_kept {
            Flag::Enabled
        } else {
            Flag::Disabled
        }),
        ..SetConfigRequest::default()
    }
}

fn committing() -> InitConfig {
    InitConfig {
        stability_threshold: Some(4u8.into()),
        utxo_set_commitment: Some(Flag::Enabled),
        ..regtest()
    }
}

fn info(
    canister: &Canister,
    height: Option<u32>,
) -> Result<millrace_candid::UtxoSetInfo, ReadError> {
    canister
        .app
        .get_utxo_set_info(&GetUtxoSetInfoArgs { height })
}

fn metric(canister: &Canister, name: &str) -> String {
    let request = millrace_candid::HttpRequest {
        url: "/metrics".to_owned(),
        method: "GET".to_owned(),
        body: serde_bytes::ByteBuf::new(),
        headers: vec![],
    };
    let response = canister.app.http_request(&canister.world, &request);
    let text = String::from_utf8(response.body.into_vec()).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split(' ').next_back().unwrap().to_owned()
}

#[test]
fn every_height_equals_recomputation_over_random_chains_with_reorgs_and_upgrades() {
    let mut checked = 0;
    for seed in 1..=6 {
        let mut choices = Choices(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let mut chain = Chain::new();
        let mut canister = Canister::new(InitConfig {
            // In half of the runs every heartbeat does one step.
            budgets: (seed % 2 == 0).then_some(Budgets {
                instructions_per_heartbeat: 1,
                stable_pages_per_heartbeat: 1,
            }),
            utxo_set_commitment: (seed % 3 > 0).then_some(Flag::Enabled),
            ..committing()
        });
        for _ in 0..70 {
            let tip = canister.tip().0;
            match choices.below(12) {
                0 => canister.upgrade(),
                1 if seed % 3 == 0 => {
                    let change = kept(choices.below(3) > 0);
                    canister.app.set_config(change).unwrap();
                }
                2 | 3 => {
                    let depth = choices.below(4);
                    let mut parent = chain.ancestor(&tip, depth);
                    for _ in 0..=depth {
                        let block = chain.grow(&parent, &mut choices);
                        parent = block.block_hash();
                        canister.push_bytes(&serialize(&block));
                    }
                }
                4 => canister.settle(),
                _ => {
                    let block = chain.grow(&tip, &mut choices);
                    canister.push_bytes(&serialize(&block));
                    for _ in 0..choices.below(12) {
                        canister.heartbeat();
                    }
                }
            }
            checked += chain.check(&canister);
        }
        canister.app.set_config(kept(true)).unwrap();
        canister.heartbeat();
        canister.settle();
        assert!(chain.check(&canister) > 0, "it is complete in the end");
    }
    assert!(checked > 1_000, "{checked}");
}

#[test]
fn the_first_heights_of_mainnet_have_the_sums_that_recomputation_gives() {
    let mut canister = Canister::new(InitConfig {
        utxo_set_commitment: Some(Flag::Enabled),
        ..pushed()
    });
    let blocks = real_blocks();
    canister.feed(&blocks[..400]);
    let mut plain = Plain::default();
    let store = canister.app.store();
    let last = store.anchor_height().get();
    assert_eq!(last, 400 - 143);
    for (height, block) in (1..=last).zip(&blocks) {
        plain = plain.after(&deserialize(block).unwrap(), height);
        let kept = store.commitments.of_height(Height::new(height)).unwrap();
        if height % 50 == 0 || height < 5 || (168..175).contains(&height) {
            assert_eq!(kept.commitment, plain.commitment(), "{height}");
        }
        assert_eq!(kept.block, hash_of(block));
    }
    let newest = info(&canister, None).unwrap();
    let expected = plain.commitment();
    assert_eq!(newest, info(&canister, Some(last)).unwrap());
    assert_eq!(newest.muhash, expected.muhash.digest().to_string());
    assert_eq!(newest.outputs, plain.0.len() as u64);
    assert_eq!(newest.total_amount, u64::from(last) * 5_000_000_000);
    assert_eq!(i128::from(newest.bogosize), expected.totals.bogosize);
    let none = info(&canister, Some(0)).unwrap();
    let amount = candid::Nat::from(0_u8);
    assert_eq!((none.outputs, none.total_amount), (0, amount));
}

/// What Bitcoin Core says of mainnet: height, and the rest of what `get_utxo_set_info` answers.
fn said_by_core(chain: &str) -> Vec<(u32, [String; 4])> {
    let path = format!(
        "{}/../tests/fixtures/bitcoin-core/{chain}_utxo_set_info.csv",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines = text.lines().skip(1).map(|line| {
        let fields: Vec<String> = line.split(',').map(str::to_owned).collect();
        let [height, _, said @ ..] = &fields[..] else {
            panic!("{line}");
        };
        (height.parse().unwrap(), said.to_vec().try_into().unwrap())
    });
    lines.collect()
}

#[test]
fn mainnet_heights_are_what_bitcoin_core_says() {
    let canister = Canister::new(ten_deep());
    compare_with_core(canister, &real_blocks(), "mainnet");
}

/// Nobody can install a canister for it, but its first blocks are the only real ones of a test network that
/// are at hand in a row.
#[test]
fn testnet3_heights_are_what_bitcoin_core_says() {
    let canister = Canister::on(millrace_core::Network::Testnet3, ten_deep());
    compare_with_core(canister, &testnet3_blocks(), "testnet3");
}

fn ten_deep() -> InitConfig {
    InitConfig {
        utxo_set_commitment: Some(Flag::Enabled),
        stability_threshold: Some(10u8.into()),
        ..pushed()
    }
}

/// Compares every height: some one by one, all of them by the hash of the list of what Bitcoin Core says.
fn compare_with_core(mut canister: Canister, blocks: &[Vec<u8>], chain: &str) {
    let (mut listing, mut next) = (String::new(), 0);
    for (from, to) in [(0, 600), (600, blocks.len())] {
        canister.feed(&blocks[from..to]);
        canister.upgrade();
        let last = canister.app.store().anchor_height().get();
        let said: BTreeMap<u32, [String; 4]> = said_by_core(chain).into_iter().collect();
        for height in next..=last {
            let info = info(&canister, Some(height)).unwrap();
            let found = [
                info.outputs.to_string(),
                info.total_amount.0.to_string(),
                info.bogosize.to_string(),
                info.muhash,
            ];
            if let Some(said) = said.get(&height) {
                assert_eq!(&found, said, "height {height}");
            }
            let block = BlockHash::from_slice(&info.block.hash).unwrap();
            listing += &format!("{height},{block},{}\n", found.join(","));
        }
        next = last + 1;
    }
    let hash = bitcoin::hashes::sha256::Hash::hash(listing.as_bytes());
    let expected = listings_of_core();
    assert!(
        expected.contains(&format!("{chain},{},{hash}", next - 1)),
        "{chain} to {} is {hash}",
        next - 1
    );
}

fn listings_of_core() -> String {
    let path = format!(
        "{}/../tests/fixtures/bitcoin-core/utxo_set_listings.csv",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn switched_on_late_it_walks_the_stable_set_while_blocks_become_stable() {
    let mut canister = Canister::new(InitConfig {
        utxo_set_commitment: None,
        stability_threshold: Some(10u8.into()),
        ..pushed()
    });
    let blocks = real_blocks();
    canister.feed(&blocks[..1_500]);
    assert_eq!(info(&canister, None), Err(ReadError::CommitmentOff));
    assert_eq!(
        canister.status().utxo_set_commitment,
        UtxoSetCommitment::Off
    );
    canister.app.set_config(kept(true)).unwrap();
    let of = canister.app.store().coins.stable_count();
    let nothing = ReadError::CommitmentCatchingUp { coins: 0, of };
    assert_eq!(info(&canister, None), Err(nothing));
    canister.app.set_config(one_step()).unwrap();
    let mut seen = Vec::new();
    for block in &blocks[1_500..1_600] {
        canister.push_bytes(block);
        canister.upgrade();
        for _ in 0..8 {
            canister.heartbeat();
        }
        canister.audit();
        if let UtxoSetCommitment::CatchingUp { coins, .. } = canister.app.commitment_standing() {
            assert!(coins <= canister.app.store().coins.stable_count());
            seen.push(coins);
        }
    }
    canister.settle();
    assert!(seen.len() > 2 && seen.is_sorted(), "{seen:?}");
    let UtxoSetCommitment::Complete { min_height, .. } = canister.app.commitment_standing() else {
        panic!("it is complete");
    };
    assert!((1_491..1_591).contains(&min_height), "{min_height}");
    assert_eq!(metric(&canister, "millrace_commitment_complete"), "1");
    let mut plain = Plain::default();
    for (height, block) in (1..=1_591).zip(&blocks) {
        plain = plain.after(&deserialize(block).unwrap(), height);
    }
    let kept = canister
        .app
        .store()
        .commitments
        .of_height(Height::new(1_591));
    assert_eq!(kept.unwrap().commitment, plain.commitment());
    let low = info(&canister, Some(min_height - 1));
    let expected = ReadError::HeightNotKept {
        requested: min_height - 1,
        min_height,
        max_height: 1_591,
    };
    assert_eq!(low, Err(expected));
    assert!(matches!(
        info(&canister, Some(1_592)),
        Err(ReadError::HeightNotKept { .. })
    ));
}

fn one_step() -> SetConfigRequest {
    SetConfigRequest {
        budgets: Some(Budgets {
            instructions_per_heartbeat: 1,
            stable_pages_per_heartbeat: 1,
        }),
        ..SetConfigRequest::default()
    }
}

#[test]
fn switched_off_and_on_again_it_goes_on_only_if_no_block_became_stable() {
    let mut canister = Canister::new(committing());
    let chain = chain(30);
    canister.feed_blocks(&chain[..10]);
    let first = info(&canister, None).unwrap();
    canister.app.set_config(kept(false)).unwrap();
    assert_eq!(info(&canister, None), Err(ReadError::CommitmentOff));
    canister.app.set_config(kept(true)).unwrap();
    assert_eq!(info(&canister, None).unwrap(), first);
    assert_eq!(info(&canister, Some(1)).unwrap().outputs, 1);
    canister.app.set_config(kept(false)).unwrap();
    canister.feed_blocks(&chain[10..20]);
    canister.app.set_config(kept(true)).unwrap();
    assert!(matches!(
        info(&canister, Some(1)),
        Err(ReadError::CommitmentCatchingUp { .. })
    ));
    canister.settle();
    canister.heartbeat();
    canister.settle();
    let newest = info(&canister, None).unwrap();
    assert_eq!((newest.block.height, newest.outputs), (17, 17));
    assert!(matches!(
        info(&canister, Some(16)),
        Err(ReadError::HeightNotKept { min_height: 17, .. })
    ));
}

#[test]
fn a_commitment_that_never_ends_is_given_up_and_blocks_become_stable_without_it() {
    let mut canister = Canister::new(committing());
    let chain = chain(30);
    canister.feed_blocks(&chain[..10]);
    let stable = canister.app.store().anchor_height();
    canister.app.set_config(one_step()).unwrap();
    let bytes = serialize(&chain[10]);
    canister.push_bytes(&bytes);
    while !matches!(canister.app.plan(), Some(Work::Commit(_))) {
        canister.heartbeat();
    }
    for _ in 0..PATIENCE {
        canister.watchdog();
    }
    canister.settle();
    assert_eq!(canister.app.store().anchor_height(), stable.next());
    assert_eq!(info(&canister, None), Err(ReadError::CommitmentOff));
    assert_eq!(metric(&canister, "millrace_commitment_kept"), "0");
    canister.upgrade();
    canister.heartbeat();
    canister.settle();
    assert_eq!(
        info(&canister, None).unwrap().block.height,
        stable.get() + 1
    );
    canister.audit();
}

#[test]
fn a_closed_api_gives_no_commitment_and_missing_blocks_do_not_matter() {
    let mut canister = Canister::new(committing());
    let chain = chain(30);
    canister.feed_blocks(&chain[..10]);
    canister.announce(&chain[10..20]);
    assert_eq!(info(&canister, None).unwrap().block.height, 7);
    canister
        .app
        .set_config(SetConfigRequest {
            api_access: Some(Flag::Disabled),
            ..SetConfigRequest::default()
        })
        .unwrap();
    assert_eq!(info(&canister, None), Err(ReadError::ApiDisabled));
}

#[test]
fn a_block_in_hand_that_another_one_overtakes_leaves_no_trace() {
    let mut canister = Canister::new(committing());
    let main = chain(12);
    canister.feed_blocks(&main[..7]);
    let store = canister.app.store();
    let next = main[store.anchor_height().get() as usize].block_hash();
    // Taken in early, as if it were about to be stable.
    let commits = canister.app.store.commit_step(&next, 100).unwrap();
    assert_eq!(commits, millrace_store::coins::Progress::Done);
    assert!(canister.app.store().commitments.is_ready(&next));
    let mut height = canister.app.store().anchor_height().get();
    let mut parent = main[height as usize - 1].clone();
    let mut fork = Vec::new();
    for salt in 100..112 {
        height += 1;
        parent = block(&parent, height, salt, &[7], &[]);
        canister.feed_blocks(std::slice::from_ref(&parent));
        fork.push(parent.clone());
    }
    assert_eq!(canister.tip().0, parent.block_hash());
    let store = canister.app.store();
    assert!(store.counters.get(Counter::Reorgs) > 0);
    let mut plain = Plain::default();
    let last = store.anchor_height();
    for at in 1..=last.get() {
        let hash = stable_hash(store, at).unwrap();
        let mut blocks = main.iter().chain(&fork);
        let block = blocks.find(|block| block.block_hash() == hash).unwrap();
        plain = plain.after(block, at);
    }
    assert_ne!(store.headers.height(&fork[0].block_hash()), None);
    let kept = store.commitments.of_height(last).unwrap();
    assert_eq!(kept.commitment, plain.commitment());
}
