//! `min_confirmations`: answers as of the block that many deep, for coins and for balances.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, ScriptBuf};
use millrace_candid::{GetBalanceArgs, GetUtxosArgs, UtxosFilter};
use millrace_tests::compare;
use millrace_tests::mining::{BlockPlan, Miner, output_of, pay, script, spend};
use millrace_tests::setup::{Setup, hash_of};
use serde_bytes::ByteBuf;

/// Coins move from script to script, one payment a block.
fn moving_coins(miner: &mut Miner, blocks: u64) -> BlockHash {
    let mut tip = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(0)));
    let mut coin = output_of(miner.tree.block(tip), 0, 0);
    for tag in 1..=blocks {
        let payment = spend(
            &[coin],
            vec![pay(&script(tag % 4), 5_000 - tag), pay(&script(9), 1)],
        );
        tip = miner.mine(tip, BlockPlan::paying(&script(8)).with(payment));
        coin = output_of(miner.tree.block(tip), 1, 0);
    }
    tip
}

#[test]
fn every_depth_answers_as_the_chain_was_at_that_block() {
    let mut miner = Miner::new();
    let tip = moving_coins(&mut miner, 20);
    let setup = Setup::regtest();
    setup.push(miner.chain(tip));
    setup.tick_until_tip(tip);
    let height = miner.tree.height(tip);
    let scripts: Vec<ScriptBuf> = (0..10).map(script).collect();
    for confirmations in 0..=height + 1 {
        // None and one are the tip itself; one more than its height is the genesis block.
        let considered = miner
            .tree
            .ancestor(tip, height - confirmations.saturating_sub(1).min(height));
        let coins = miner.tree.coins_at(considered).by_script();
        for script in &scripts {
            let expected = coins.get(script).map_or(&[][..], Vec::as_slice);
            check(&setup, script, confirmations, None, considered, expected);
        }
    }
}

#[test]
fn a_chosen_tip_and_a_depth_combine() {
    let mut miner = Miner::new();
    let tip = moving_coins(&mut miner, 12);
    let setup = Setup::regtest();
    setup.push(miner.chain(tip));
    setup.tick_until_tip(tip);
    let chosen = miner.tree.ancestor(tip, 9);
    let considered = miner.tree.ancestor(tip, 6);
    let coins = miner.tree.coins_at(considered).by_script();
    for tag in 0..4 {
        let expected = coins.get(&script(tag)).map_or(&[][..], Vec::as_slice);
        check(&setup, &script(tag), 4, Some(chosen), considered, expected);
    }
}

fn check(
    setup: &Setup,
    script: &ScriptBuf,
    confirmations: u32,
    at_tip: Option<BlockHash>,
    considered: BlockHash,
    expected: &[millrace_tests::coins::PlacedCoin],
) {
    let at_tip = at_tip.map(|hash| ByteBuf::from(hash.to_byte_array()));
    let utxos = setup
        .get_utxos(&GetUtxosArgs {
            owner: compare::owner(script),
            filter: Some(UtxosFilter::MinConfirmations(confirmations)),
            at_tip: at_tip.clone(),
            limit: None,
        })
        .unwrap_or_else(|error| panic!("{confirmations} confirmations: {error:?}"));
    let balance = setup
        .get_balance(&GetBalanceArgs {
            owner: compare::owner(script),
            min_confirmations: Some(confirmations),
            at_tip,
        })
        .unwrap_or_else(|error| panic!("{confirmations} confirmations: {error:?}"));
    let difference = compare::difference(script, expected, &utxos.utxos, &balance);
    assert_eq!(difference, None, "{confirmations} confirmations");
    assert_eq!(hash_of(&utxos.tip.hash), considered);
    assert_eq!(utxos.tip, balance.tip);
    assert_eq!(utxos.next_page, None);
}
