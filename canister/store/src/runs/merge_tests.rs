//! What merges refuse, and that pausing one changes nothing.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid};
use ic_stable_structures::{Memory, VectorMemory};
use millrace_core::Height;
use millrace_core::delta::Coin;
use millrace_core::testing::{BlockDelta, KeyedCoin};

use super::allocator::Allocator;
use super::change::{ChangePlan, ChangeRuns, ChangeWriter};
use super::merge::{ChangeMerge, Depth, MAX_MERGE_INPUTS};
use super::run::Run;
use crate::StoreError;
use crate::coins::Progress;

struct Bench {
    memory: VectorMemory,
    allocator: Allocator,
}

impl Bench {
    fn new() -> Self {
        Self {
            memory: VectorMemory::default(),
            allocator: Allocator::of([]).unwrap(),
        }
    }

    /// Writes a change that puts and spends coins by number.
    fn change(&mut self, puts: &[u32], spends: &[u32]) -> ChangeRuns {
        let delta = BlockDelta {
            block: BlockHash::from_byte_array([0; 32]),
            height: Height::new(1),
            spends: spends.iter().map(|number| coin(*number)).collect(),
            puts: puts.iter().map(|number| coin(*number)).collect(),
        };
        let (change, bytes) = delta.change();
        let plan = ChangePlan::of_block(&change);
        let (coins, scripts) = plan.lengths();
        let coins = self.allocator.allocate(&self.memory, coins).unwrap();
        let scripts = self.allocator.allocate(&self.memory, scripts).unwrap();
        let mut writer = ChangeWriter::new(change, &plan, coins, scripts).unwrap();
        while writer.step(&self.memory, bytes.as_slice(), 7).unwrap() == Progress::More {}
        writer.runs().unwrap()
    }

    fn merge(
        &mut self,
        inputs: &[ChangeRuns],
        depth: Depth,
        step: usize,
    ) -> Result<ChangeRuns, StoreError> {
        let (coins, scripts) = ChangePlan::of(inputs).lengths();
        let coins = self.allocator.allocate(&self.memory, coins)?;
        let scripts = self.allocator.allocate(&self.memory, scripts)?;
        let mut merge = ChangeMerge::new(inputs, coins, scripts, depth)?;
        while merge.step(&self.memory, step)? == Progress::More {}
        Ok(merge.runs().unwrap())
    }

    fn bytes(&self, runs: &ChangeRuns) -> Vec<u8> {
        let mut all = Vec::new();
        for run in [runs.coins, runs.scripts] {
            let mut bytes = vec![0; run.extent().length as usize];
            run.extent().read(&self.memory, 0, &mut bytes).unwrap();
            all.extend(bytes);
        }
        all
    }
}

fn coin(number: u32) -> (OutPoint, KeyedCoin) {
    let outpoint = OutPoint {
        txid: Txid::from_byte_array(sha256::Hash::hash(&number.to_le_bytes()).to_byte_array()),
        vout: number,
    };
    let coin = Coin {
        value: Amount::from_sat(u64::from(number)),
        script: ScriptBuf::from_bytes(vec![number as u8 % 11]),
        height: Height::new(1),
        coinbase: false,
    };
    (outpoint, KeyedCoin::from(coin))
}

fn is_damage(result: &Result<ChangeRuns, StoreError>) -> bool {
    matches!(result, Err(StoreError::Damaged { .. }))
}

#[test]
fn pausing_at_any_entry_makes_the_same_runs() {
    let mut bench = Bench::new();
    let numbers: Vec<u32> = (0..600).collect();
    let inputs = [
        bench.change(&numbers[..400], &[]),
        bench.change(&numbers[400..], &numbers[..150]),
        bench.change(&[], &numbers[300..500]),
    ];
    let whole = bench.merge(&inputs, Depth::Bottom, usize::MAX).unwrap();
    let paused = bench.merge(&inputs, Depth::Bottom, 1).unwrap();
    assert_eq!(whole.coins.header().entries, 250);
    // A budget of nothing still goes on.
    let zero = bench.merge(&inputs, Depth::Bottom, 0).unwrap();
    for other in [paused, zero] {
        assert!(bench.bytes(&whole) == bench.bytes(&other));
    }
}

#[test]
fn everything_may_annihilate() {
    let mut bench = Bench::new();
    let inputs = [bench.change(&[1, 2, 3], &[]), bench.change(&[], &[1, 2, 3])];
    for depth in [Depth::Above, Depth::Bottom] {
        let merged = bench.merge(&inputs, depth, 1).unwrap();
        assert_eq!(merged.coins.header().entries, 0);
        assert_eq!(merged.scripts.header().entries, 0);
    }
}

#[test]
fn a_spend_without_its_put_goes_on_unless_the_oldest_change_takes_part() {
    let mut bench = Bench::new();
    let inputs = [bench.change(&[1], &[]), bench.change(&[], &[2])];
    let merged = bench.merge(&inputs, Depth::Above, 1).unwrap();
    assert_eq!(merged.coins.header().spends, 1);
    assert_eq!(merged.scripts.header().spends, 1);
    let refused = bench.merge(&inputs, Depth::Bottom, 1);
    assert!(is_damage(&refused), "{refused:?}");
}

#[test]
fn changes_that_cannot_follow_each_other_are_damage() {
    let mut bench = Bench::new();
    let (put, spend) = (bench.change(&[1], &[]), bench.change(&[], &[1]));
    for inputs in [[put, put].as_slice(), &[spend, spend], &[put, spend, spend]] {
        let refused = bench.merge(inputs, Depth::Above, 1);
        assert!(is_damage(&refused), "{refused:?}");
    }
    // Runs of different changes under one name: the scripts disagree where the coins do not.
    let mixed = ChangeRuns {
        coins: bench.change(&[2], &[]).coins,
        scripts: spend.scripts,
    };
    let refused = bench.merge(&[spend, mixed], Depth::Above, 1);
    assert!(is_damage(&refused), "{refused:?}");
}

#[test]
fn more_inputs_than_the_heap_is_planned_for_are_refused() {
    let mut bench = Bench::new();
    let change = bench.change(&[1], &[]);
    let refused = bench.merge(&vec![change; MAX_MERGE_INPUTS + 1], Depth::Above, 1);
    assert!(matches!(
        refused,
        Err(StoreError::BeyondEnd { end: 129, .. })
    ));
}

#[test]
fn a_balance_that_differs_from_its_coins_does_not_reach_the_oldest_change() {
    let mut bench = Bench::new();
    let two = bench.change(&[1, 12], &[]);
    let other = bench.change(&[2, 13], &[]);
    let swapped = ChangeRuns {
        coins: two.coins,
        scripts: damaged_sum(&bench, two.scripts),
    };
    let refused = bench.merge(&[swapped, other], Depth::Bottom, 1);
    assert!(is_damage(&refused), "{refused:?}");
}

/// Adds one coin to the sum of the first group.
fn damaged_sum(bench: &Bench, run: Run) -> Run {
    // Leaf head 4, key 20, flags 1, satoshi 1: 13 satoshi are 26 as zigzag.
    let satoshi = run.extent().start + run.header().leaves_at + 25;
    let mut byte = [0];
    bench.memory.read(satoshi, &mut byte);
    assert_eq!(byte, [26]);
    bench.memory.write(satoshi, &[28]);
    run
}
