//! Two real branches race: the one with more work answers, and at_tip still answers for the other.

use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash};
use millrace_candid::{GetBalanceArgs, ReadError};
use millrace_tests::compare;
use millrace_tests::setup::{Setup, hash_of};
use millrace_tests::tree::BlockTree;
use serde_bytes::ByteBuf;

use crate::chains::{alternate, alternate_script, both, last_hash, mainnet};

/// Blocks a branch grows by at a time. Below the stability threshold of 144, so that neither branch
/// ever leads by enough to become stable.
const STEP: usize = 112;

/// A canister and what it has been given.
struct Race {
    setup: Setup,
    tree: BlockTree,
    /// The tip the canister should be at: most work, then first seen.
    best: BlockHash,
}

impl Race {
    fn feed(&mut self, blocks: &[Block]) {
        self.setup.feed(blocks);
        let tip = last_hash(blocks);
        if self.tree.work(tip) > self.tree.work(self.best) {
            self.best = tip;
        }
        assert_eq!(
            self.setup.tip(),
            self.best,
            "after the block of height {}",
            self.tree.height(tip)
        );
    }

    /// Every script of the branch ending at `tip`, asked for by at_tip and, if it is the best, without.
    fn check_all(&self, tip: BlockHash) {
        let coins = self.tree.coins_at(tip);
        self.setup.assert_equals(&coins, Some(tip));
        if tip == self.best {
            self.setup.assert_equals(&coins, None);
        }
    }

    /// The alternate branch's one script, which has coins exactly when that branch is the best.
    fn check_alternate_script(&self) {
        let coins = self.tree.coins_at(self.best).by_script();
        let expected = coins.get(&alternate_script()).map_or(0, Vec::len);
        let owner = compare::owner(&alternate_script());
        let balance = self.setup.balance(&owner, None);
        assert_eq!(balance.utxo_count, expected as u64);
        assert_eq!(hash_of(&balance.tip.hash), self.best);
    }
}

#[test]
fn the_branch_with_more_work_answers_at_each_moment_and_the_losing_one_at_its_tip() {
    let tree = both();
    let mut race = Race {
        setup: Setup::mainnet(),
        best: tree.genesis(),
        tree,
    };
    // Each takes the lead in turn: 112 real, 224 alternate, 336 real, ... up to 2,016.
    let branches = [&mainnet()[1..=2_016], alternate()];
    let mut given = [0, 0];
    for (turn, leader) in (1..=2_016 / STEP).zip([0, 1].into_iter().cycle()) {
        let end = turn * STEP;
        race.feed(&branches[leader][given[leader]..end]);
        given[leader] = end;
        assert_eq!(race.best, branches[leader][end - 1].block_hash());
        race.check_alternate_script();
        if turn % 6 == 0 {
            race.check_all(branches[1 - leader][given[1 - leader] - 1].block_hash());
            race.check_all(race.best);
        }
    }
    assert_eq!(given, [1_904, 2_016], "the alternate branch is complete");
    the_alternates_last_block_counts_four(&mut race);
    a_lead_of_144_makes_the_real_branch_stable(&mut race);
}

/// The alternate branch's last block is mined at four times the difficulty.
fn the_alternates_last_block_counts_four(race: &mut Race) {
    let alternate_tip = last_hash(alternate());
    let real = mainnet();
    race.feed(&real[1_905..=2_018]);
    assert_eq!(race.best, alternate_tip, "2,018 is less than 2,015 + 4");
    race.feed(&real[2_019..=2_019]);
    assert_eq!(race.best, alternate_tip, "on a tie the first seen stays");
    race.feed(&real[2_020..=2_020]);
    assert_eq!(race.best, real[2_020].block_hash());
    race.check_all(alternate_tip);
    race.check_all(race.best);
}

fn a_lead_of_144_makes_the_real_branch_stable(race: &mut Race) {
    let alternate_tip = last_hash(alternate());
    race.feed(&mainnet()[2_021..=2_300]);
    let anchor = race.setup.feed_state().expect("the adapter asks").anchor;
    assert!(anchor.height > 0, "the losing branch is dropped");
    assert_eq!(
        hash_of(&anchor.hash),
        mainnet()[anchor.height as usize].block_hash()
    );
    race.check_all(race.best);
    let args = GetBalanceArgs {
        owner: compare::owner(&alternate_script()),
        min_confirmations: None,
        at_tip: Some(ByteBuf::from(alternate_tip.to_byte_array())),
    };
    match race.setup.get_balance(&args) {
        Err(ReadError::UnknownTip { hash, min_height }) => {
            assert_eq!(hash_of(&hash), alternate_tip);
            assert!(min_height <= anchor.height);
        }
        other => panic!("the dropped branch still answers: {other:?}"),
    }
    // A block of the dropped branch is refused, and nothing changes.
    let before = race.setup.snapshot(&[]);
    race.setup.push(&alternate()[..1]);
    race.setup.settle();
    assert_eq!(race.setup.snapshot(&[]), before);
}
