//! Blocks that arrive whole and are wrong: each is refused with its reason, its siblings connect, and
//! answers stay what they were.

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Block, BlockHash, OutPoint, TxMerkleNode, Txid};
use millrace_candid::{BlockPart, PartError, PartOutcome};
use millrace_tests::mining::{BlockPlan, Miner, output_of, pay, script, solve, spend};
use millrace_tests::setup::{Setup, part};
use serde_bytes::ByteBuf;

/// A canister on a chain of two blocks, whose miner goes on from `tip`.
struct Scene {
    setup: Setup,
    miner: Miner,
    tip: BlockHash,
    coin: OutPoint,
}

impl Scene {
    fn new() -> Self {
        let mut miner = Miner::new();
        let first = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(1)));
        let coin = output_of(miner.tree.block(first), 0, 0);
        let tip = miner.mine(first, BlockPlan::paying(&script(2)));
        let setup = Setup::regtest();
        setup.push(miner.chain(tip));
        setup.tick_until_tip(tip);
        Self {
            setup,
            miner,
            tip,
            coin,
        }
    }

    fn on_tip(&mut self, plan: BlockPlan) -> Block {
        self.miner.build(self.tip, plan)
    }

    fn scripts() -> [bitcoin::ScriptBuf; 3] {
        [script(1), script(2), script(3)]
    }

    /// Pushes whole blocks and returns the reason of the rejection of each.
    fn reason(&self, name: &str, bytes: Vec<u8>, hash: BlockHash) -> String {
        let before = self.setup.snapshot(&Self::scripts());
        let part = BlockPart {
            hash: ByteBuf::from(hash.to_byte_array()),
            size: u32::try_from(bytes.len()).expect("a small block"),
            offset: 0,
            bytes: ByteBuf::from(bytes),
        };
        let outcome = self.setup.push_part(part);
        self.setup.settle();
        let rejections = self
            .setup
            .feed_state()
            .expect("the adapter asks")
            .recent_rejections;
        let after = self.setup.snapshot(&Self::scripts());
        assert_eq!(after, before, "{name}: state changed");
        match outcome {
            PartOutcome::Rejected(PartError::InsufficientWork { reason }) => return reason,
            PartOutcome::Queued => {}
            other => panic!("{name}: {other:?}"),
        }
        let rejection = rejections
            .into_iter()
            .find(|rejection| rejection.hash.as_slice() == hash.to_byte_array())
            .unwrap_or_else(|| panic!("{name}: not among the recent rejections"));
        rejection.reason
    }
}

/// Changes a header and does the work again.
fn with_header(mut block: Block, change: impl FnOnce(&mut Block)) -> Block {
    change(&mut block);
    solve(&mut block.header);
    block
}

/// Redoes merkle root and work after a change of transactions.
fn remined(mut block: Block) -> Block {
    block.header.merkle_root = block
        .compute_merkle_root()
        .unwrap_or(TxMerkleNode::all_zeros());
    with_header(block, |_| {})
}

fn broken_blocks(scene: &mut Scene) -> Vec<(&'static str, Block, &'static str)> {
    let plain = |scene: &mut Scene| scene.on_tip(BlockPlan::paying(&script(3)));
    let coin = scene.coin;
    let unknown = OutPoint {
        txid: Txid::from_byte_array([7; 32]),
        vout: 0,
    };
    let payment = spend(&[coin], vec![pay(&script(3), 1_000)]);
    let mut no_coinbase = plain(scene);
    no_coinbase.txdata[0] = payment.clone();
    let mut empty = plain(scene);
    empty.txdata.clear();
    let mut repeated = scene.on_tip(BlockPlan::paying(&script(3)).with(payment.clone()));
    repeated.txdata.push(payment.clone());
    let twice = scene.on_tip(
        BlockPlan::paying(&script(3))
            .with(payment)
            .with(spend(&[coin], vec![pay(&script(3), 999)])),
    );
    let missing = scene.on_tip(
        BlockPlan::paying(&script(3)).with(spend(&[unknown], vec![pay(&script(3), 1_000)])),
    );
    let future = plain(scene).header.time + 40 * 365 * 24 * 3_600;
    vec![
        (
            "a wrong merkle root",
            with_header(plain(scene), |block| {
                block.header.merkle_root = TxMerkleNode::from_byte_array([7; 32]);
            }),
            "merkle",
        ),
        ("no transaction", remined(empty), "transaction"),
        ("no coinbase", remined(no_coinbase), "coinbase"),
        ("a repeated transaction", remined(repeated), "duplicate"),
        ("a coin spent twice", twice, "spent"),
        ("a coin that is not there", missing, "0707070707070707"),
        (
            "a time before the median of its ancestors",
            with_header(plain(scene), |block| block.header.time = 1),
            "time",
        ),
        (
            "a time in the far future",
            with_header(plain(scene), |block| block.header.time = future),
            "time",
        ),
        (
            "other bits than required",
            with_header(plain(scene), |block| {
                block.header.bits = bitcoin::CompactTarget::from_consensus(0x207f_fffe);
            }),
            "bits",
        ),
        (
            "a parent nobody knows",
            with_header(plain(scene), |block| {
                block.header.prev_blockhash = BlockHash::from_byte_array([7; 32]);
            }),
            "parent",
        ),
    ]
}

#[test]
fn every_broken_rule_is_named_and_changes_nothing() {
    let mut scene = Scene::new();
    for (name, block, word) in broken_blocks(&mut scene) {
        let reason = scene.reason(name, serialize(&block), block.block_hash());
        assert!(
            reason.to_lowercase().contains(word),
            "{name}: the reason is `{reason}`"
        );
    }
    // After all of them, a good block connects.
    let good = scene.on_tip(BlockPlan::paying(&script(3)));
    scene.setup.feed([&good]);
    assert_eq!(scene.setup.tip(), good.block_hash());
}

#[test]
fn truncated_padded_and_garbage_bytes_are_refused_and_the_true_block_still_connects() {
    let mut scene = Scene::new();
    let block = scene.on_tip(BlockPlan::paying(&script(3)));
    let hash = block.block_hash();
    let bytes = serialize(&block);
    let truncated = bytes[..bytes.len() - 10].to_vec();
    let padded = [&bytes[..], &[0; 10]].concat();
    let garbage = [&bytes[..80], &[0xa5; 150]].concat();
    for (name, bytes) in [
        ("truncated", truncated),
        ("padded", padded),
        ("garbage after the header", garbage),
    ] {
        let reason = scene.reason(name, bytes, hash);
        assert!(!reason.is_empty(), "{name}");
    }
    // The header was never at fault: its true block is still welcome.
    scene.setup.feed([&block]);
    assert_eq!(scene.setup.tip(), hash);
}

/// CVE-2012-2459: repeating the last of three transactions leaves merkle root and hash as they were.
#[test]
fn a_mutated_copy_does_not_condemn_the_true_block() {
    let mut scene = Scene::new();
    let payment = spend(&[scene.coin], vec![pay(&script(3), 2_000)]);
    let first_output = OutPoint {
        txid: payment.compute_txid(),
        vout: 0,
    };
    let onward = spend(&[first_output], vec![pay(&script(3), 1_000)]);
    let plan = BlockPlan::paying(&script(3))
        .with(payment)
        .with(onward.clone());
    let block = scene.on_tip(plan);
    let mut mutated = block.clone();
    mutated.txdata.push(onward);
    assert_eq!(mutated.compute_merkle_root(), block.compute_merkle_root());
    let reason = scene.reason("mutated", serialize(&mutated), block.block_hash());
    assert!(!reason.is_empty());

    let hash = scene.miner.tree.insert(block);
    scene.setup.feed([scene.miner.tree.block(hash)]);
    scene
        .setup
        .assert_equals(&scene.miner.tree.coins_at(hash), None);
}

#[test]
fn a_block_without_work_is_refused_at_the_door() {
    let mut scene = Scene::new();
    let mut block = scene.on_tip(BlockPlan::paying(&script(3)));
    while block.header.validate_pow(block.header.target()).is_ok() {
        block.header.nonce += 1;
    }
    let outcome = scene.setup.push_part(part(&block));
    assert!(
        matches!(
            outcome,
            PartOutcome::Rejected(PartError::InsufficientWork { .. })
        ),
        "{outcome:?}"
    );
}

#[test]
fn an_invalid_block_is_remembered_and_its_siblings_connect() {
    let mut scene = Scene::new();
    let missing = OutPoint {
        txid: Txid::from_byte_array([7; 32]),
        vout: 0,
    };
    let bad_payment = spend(&[missing], vec![pay(&script(3), 1_000)]);
    let bad = scene.on_tip(BlockPlan::paying(&script(3)).with(bad_payment));
    let bad = scene.miner.tree.insert(bad);
    let child = scene.miner.mine(bad, BlockPlan::paying(&script(3)));
    let sibling = scene.miner.mine(scene.tip, BlockPlan::paying(&script(3)));
    let tree = &scene.miner.tree;

    // All in one message: the bad one first.
    let parts = [bad, child, sibling].map(|hash| part(tree.block(hash)));
    let receipt = scene
        .setup
        .push_parts(scene.setup.adapter, &parts)
        .expect("the adapter may push");
    assert_eq!(receipt.outcomes.len(), 3);
    scene.setup.tick_until_tip(sibling);
    scene.setup.settle();
    scene
        .setup
        .assert_equals(&scene.miner.tree.coins_at(sibling), None);
    match scene.setup.push_part(part(scene.miner.tree.block(bad))) {
        PartOutcome::Rejected(PartError::InvalidBlock { reason, .. }) => {
            assert!(!reason.is_empty());
        }
        other => panic!("the invalid block is not remembered: {other:?}"),
    }
}

#[test]
fn value_from_nowhere_is_accepted_under_proof_of_work_rules() {
    // Leniency of the official canister that test sources rely on: created value.
    let mut scene = Scene::new();
    let rich = spend(
        &[scene.coin],
        vec![pay(&script(3), Amount::MAX_MONEY.to_sat())],
    );
    let block = scene.on_tip(BlockPlan::paying(&script(3)).with(rich));
    let hash = scene.miner.tree.insert(block);
    scene.setup.feed([scene.miner.tree.block(hash)]);
    scene
        .setup
        .assert_equals(&scene.miner.tree.coins_at(hash), None);
}
