//! Blocks larger than one ingress message, pushed in chunks, and blocks with thousands of coins.

use bitcoin::consensus::serialize;
use millrace_candid::PartOutcome;
use millrace_tests::mining::{BlockPlan, Miner, output_of, pay, script, spend, spend_with_witness};
use millrace_tests::setup::{Setup, parts_of};

/// What one ingress message may hold.
const INGRESS_BYTES: usize = 2 * 1_024 * 1_024;

#[test]
fn a_block_of_more_than_two_megabytes_arrives_in_chunks() {
    let mut miner = Miner::new();
    let funded = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(1)));
    let coin = output_of(miner.tree.block(funded), 0, 0);
    // Few owners, as each is asked for in the end.
    let outputs: Vec<_> = (0..3_000)
        .map(|coin| pay(&script(coin % 100), 1_000))
        .collect();
    let large = spend_with_witness(&[coin], outputs, &vec![0xab; 3_000_000]);
    let tip = miner.mine(funded, BlockPlan::paying(&script(2)).with(large));
    assert!(serialize(miner.tree.block(tip)).len() > INGRESS_BYTES);

    let setup = Setup::regtest();
    setup.push(miner.chain(funded));
    let parts = parts_of(miner.tree.block(tip), 1_500_000);
    let mut received = 0;
    for part in &parts[..parts.len() - 1] {
        received += u32::try_from(part.bytes.len()).expect("a chunk is small");
        assert_eq!(
            setup.push_part(part.clone()),
            PartOutcome::Incomplete { received }
        );
    }
    assert_eq!(
        setup.push_part(parts[parts.len() - 1].clone()),
        PartOutcome::Queued
    );
    setup.tick_until_tip(tip);
    setup.assert_equals(&miner.tree.coins_at(tip), None);
}

#[test]
fn thousands_of_coins_of_one_script_are_made_spent_and_paged() {
    let mut miner = Miner::new();
    let mut plan = BlockPlan::paying(&script(1));
    plan.coinbase = (0..3_000)
        .map(|value| pay(&script(7), 1_000 + value))
        .collect();
    let made = miner.mine(miner.tree.genesis(), plan);
    let inputs: Vec<_> = (0..2_500)
        .map(|vout| output_of(miner.tree.block(made), 0, vout))
        .collect();
    let gather = spend(&inputs, vec![pay(&script(7), 5), pay(&script(8), 6)]);
    let gathered = miner.mine(made, BlockPlan::paying(&script(2)).with(gather));

    let setup = Setup::regtest();
    setup.push(miner.chain(made));
    setup.tick_until_tip(made);
    setup.assert_equals(&miner.tree.coins_at(made), None);
    setup.feed([miner.tree.block(gathered)]);
    assert_eq!(setup.tip(), gathered);
    setup.assert_equals(&miner.tree.coins_at(gathered), None);
    setup.assert_equals(&miner.tree.coins_at(made), Some(made));
}
