//! Many forks of one chain at once: the best wins, each held tip answers for itself.

use millrace_tests::mining::{BlockPlan, Miner, output_of, pay, script, spend};
use millrace_tests::setup::Setup;

/// Forks of the chain.
const FORKS: u64 = 20;

#[test]
fn each_of_many_forks_answers_at_its_tip_and_the_longest_is_the_best() {
    let mut miner = Miner::new();
    let trunk = miner.mine_many(miner.tree.genesis(), 5, &script(1));
    let coin = output_of(miner.chain(trunk)[2], 0, 0);
    // Every fork spends the same coin to its own script, at its own height and length.
    let tips: Vec<_> = (0..FORKS)
        .map(|fork| {
            let payment = spend(&[coin], vec![pay(&script(100 + fork), 1_000 + fork)]);
            let split = miner.tree.ancestor(trunk, 5 - u32::from(fork % 2 == 0));
            let paid = miner.mine(split, BlockPlan::paying(&script(2)).with(payment));
            let more = u32::try_from((fork * 7) % FORKS).expect("fewer than the forks");
            miner.mine_many(paid, more, &script(3))
        })
        .collect();
    let setup = Setup::regtest();
    let mut best = miner.tree.genesis();
    for tip in &tips {
        setup.feed(miner.chain(*tip));
        if miner.tree.work(*tip) > miner.tree.work(best) {
            best = *tip;
        }
        assert_eq!(setup.tip(), best, "the first seen of the longest");
    }
    for tip in &tips {
        setup.assert_equals(&miner.tree.coins_at(*tip), Some(*tip));
    }
    setup.assert_equals(&miner.tree.coins_at(best), None);
}

#[test]
fn forks_deeper_than_the_stable_block_are_refused_and_cost_nothing() {
    let mut miner = Miner::new();
    let trunk = miner.mine_many(miner.tree.genesis(), 700, &script(1));
    let late = miner.mine(
        miner.tree.ancestor(trunk, 10),
        BlockPlan::paying(&script(2)),
    );
    let setup = Setup::regtest();
    setup.feed(miner.chain(trunk));
    let anchor = setup.feed_state().expect("the adapter asks").anchor;
    assert!(
        anchor.height > 10,
        "700 blocks make some stable: {anchor:?}"
    );
    let before = setup.snapshot(&[script(1), script(2)]);
    setup.push([miner.tree.block(late)]);
    setup.settle();
    assert_eq!(setup.snapshot(&[script(1), script(2)]), before);
    setup.assert_equals(&miner.tree.coins_at(trunk), None);
}
