//! Random chains of changes, merged at random in steps of random size, against a plain map; every
//! tip that can be read is compared, and every invariant checked.

use std::collections::BTreeMap;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid};
use ic_stable_structures::VectorMemory;
use millrace_core::Height;
use millrace_core::delta::Coin;
use millrace_core::script::ScriptHash;
use millrace_core::testing::{BlockDelta, KeyedCoin};
use proptest::prelude::*;

use super::allocator::Allocator;
use super::audit::{ChainAudit, audit_manifest, audit_merge};
use super::change::{ChangePlan, ChangeRuns, ChangeWriter};
use super::change_list::ChangeList;
use super::checkpoint::SLOT_BYTES;
use super::extent::Extent;
use super::manifest::{ChangeId, ChangeRecord, Manifest, State};
use super::merge::{ChangeMerge, Depth};
use super::superblock;
use crate::coins::{ListedCoin, Progress};

type Set = BTreeMap<OutPoint, Coin>;

/// Scripts in use; the first is long, the second one hot.
const OWNERS: u8 = 6;

#[derive(Clone, Debug)]
enum Operation {
    /// A block that makes coins for some owners and spends some.
    Block(Vec<(u8, u64)>, Vec<prop::sample::Index>),
    /// A block that makes many coins for the hot script, and spends as many of those before.
    Hot(u32, u32),
    /// A block that makes a coin under the name of one that is there (BIP30), and one under the
    /// name of a coin that was spent.
    Replace(prop::sample::Index),
    /// Forgets some of the newest blocks.
    Rewind(usize),
    /// Merges neighbours.
    Merge(prop::sample::Index, usize, usize),
    /// Merges neighbours, and loses the heap again and again: what was merged since the last time
    /// it was saved is merged again.
    Lose(prop::sample::Index, usize, usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let index = any::<prop::sample::Index>;
    let puts = prop::collection::vec((0..OWNERS, 0..1_000u64), 0..12);
    prop_oneof![
        6 => (puts, prop::collection::vec(index(), 0..8)).prop_map(|(puts, spends)| Operation::Block(puts, spends)),
        1 => (0..1_200u32, 0..1_500u32).prop_map(|(puts, spends)| Operation::Hot(puts, spends)),
        2 => index().prop_map(Operation::Replace),
        1 => (1..3usize).prop_map(Operation::Rewind),
        3 => (index(), 2..9usize, 1..200usize).prop_map(|(at, count, step)| Operation::Merge(at, count, step)),
        1 => (index(), 2..9usize, 1..200usize).prop_map(|(at, count, step)| Operation::Lose(at, count, step)),
    ]
}

fn script(owner: u8) -> ScriptBuf {
    match owner {
        0 => ScriptBuf::from_bytes(vec![7; 10_000]),
        1..4 => ScriptBuf::from_bytes([&[0x00, 0x14], [owner; 20].as_slice()].concat()),
        _ => ScriptBuf::from_bytes(vec![owner; usize::from(owner)]),
    }
}

fn txid(number: u32) -> Txid {
    Txid::from_byte_array(sha256::Hash::hash(&number.to_le_bytes()).to_byte_array())
}

struct World {
    region: VectorMemory,
    names: VectorMemory,
    manifest: Manifest<VectorMemory>,
    allocator: Allocator,
    /// The set after each height.
    sets: Vec<Set>,
    /// Every outpoint there ever was.
    known: BTreeMap<OutPoint, ()>,
    next_txid: u32,
}

impl World {
    fn new() -> Self {
        let (region, names) = (VectorMemory::default(), VectorMemory::default());
        superblock::open(&region).unwrap();
        let manifest = Manifest::open(names.clone()).unwrap();
        let mut world = Self {
            region,
            names,
            manifest,
            allocator: Allocator::of([]).unwrap(),
            sets: vec![Set::new()],
            known: BTreeMap::new(),
            next_txid: 0,
        };
        world.sets.clear();
        world.block(&[(1, 50), (2, 7)], &[], &[], 1_000);
        world
    }

    fn set(&self) -> Set {
        self.sets.last().cloned().unwrap_or_default()
    }

    /// Adds a block: coins for owners under a new name, coins under given names, spends.
    fn block(&mut self, puts: &[(u8, u64)], names: &[OutPoint], spends: &[OutPoint], step: usize) {
        let height = Height::new(self.sets.len() as u32);
        let mut after = self.set();
        let mut delta = BlockDelta {
            block: BlockHash::from_byte_array([height.get() as u8; 32]),
            height,
            spends: BTreeMap::new(),
            puts: BTreeMap::new(),
        };
        for spend in spends {
            if let Some(coin) = after.remove(spend) {
                delta.spends.insert(*spend, KeyedCoin::from(coin));
            }
        }
        let txid = txid(self.next_txid);
        self.next_txid += 1;
        let new = puts.iter().enumerate().map(|(vout, (owner, value))| {
            let vout = vout as u32;
            (OutPoint { txid, vout }, *owner, *value)
        });
        let named = names.iter().map(|name| (*name, 3, 9));
        for (outpoint, owner, value) in new.chain(named).collect::<Vec<_>>() {
            let coin = Coin {
                value: Amount::from_sat(value),
                script: script(owner),
                height,
                coinbase: outpoint.vout == 0,
            };
            if let Some(replaced) = after.insert(outpoint, coin.clone()) {
                delta.spends.insert(outpoint, KeyedCoin::from(replaced));
            }
            delta.puts.insert(outpoint, KeyedCoin::from(coin));
            self.known.insert(outpoint, ());
        }
        self.connect(delta, step);
        self.sets.push(after);
    }

    fn connect(&mut self, delta: BlockDelta, step: usize) {
        let (height, block) = (delta.height, delta.block);
        let (change, bytes) = delta.change();
        let plan = ChangePlan::of_block(&change);
        let (coins, scripts) = self.take(&plan);
        let mut writer = ChangeWriter::new(change, &plan, coins, scripts).unwrap();
        while writer.step(&self.region, bytes.as_slice(), step).unwrap() == Progress::More {}
        let runs = writer.runs().unwrap();
        let record = self.finished(runs, (coins, scripts), 0, (height, height), block);
        let id = self.manifest.new_id();
        self.manifest.set(id, record);
    }

    fn take(&mut self, plan: &ChangePlan) -> (Extent, Extent) {
        let (coins, scripts) = plan.lengths();
        let mut take = |length| self.allocator.allocate(&self.region, length).unwrap();
        (take(coins), take(scripts))
    }

    fn finished(
        &mut self,
        runs: ChangeRuns,
        taken: (Extent, Extent),
        level: u8,
        (first, last): (Height, Height),
        block: BlockHash,
    ) -> ChangeRecord {
        self.allocator.trim(taken.0, runs.coins.extent());
        self.allocator.trim(taken.1, runs.scripts.extent());
        ChangeRecord {
            state: State::Stable,
            level,
            first,
            last,
            block,
            parent: BlockHash::from_byte_array([first.get().wrapping_sub(1) as u8; 32]),
            coins: runs.coins.extent(),
            scripts: runs.scripts.extent(),
            puts: runs.coins.header().puts,
            spends: runs.coins.header().spends,
        }
    }

    /// The changes up to a height, oldest first; `None` when a merge goes beyond it.
    fn runs(&self, height: usize) -> Option<Vec<ChangeRuns>> {
        let stable = self.manifest.stable();
        let end = stable
            .iter()
            .position(|(_, r)| r.last.get() as usize == height)?;
        let opened = stable[..=end]
            .iter()
            .map(|(_, record)| ChangeRuns::open(&self.region, record).unwrap());
        Some(opened.collect())
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Block(puts, spends) => {
                let set = self.set();
                let spends: Vec<OutPoint> = spends
                    .iter()
                    .filter(|_| !set.is_empty())
                    .map(|index| *set.keys().nth(index.index(set.len())).unwrap())
                    .collect();
                self.block(&puts, &[], &spends, 1 + puts.len());
            }
            Operation::Hot(puts, spends) => {
                let set = self.set();
                let hot = set.iter().filter(|(_, coin)| coin.script == script(1));
                let spends: Vec<OutPoint> = hot.map(|(o, _)| *o).take(spends as usize).collect();
                let puts: Vec<(u8, u64)> = (0..puts).map(|n| (1, u64::from(n))).collect();
                self.block(&puts, &[], &spends, 100);
            }
            Operation::Replace(index) => {
                let set = self.set();
                let there = set.keys().nth(index.index(set.len().max(1))).copied();
                let gone = self.known.keys().find(|name| !set.contains_key(name));
                let names: Vec<OutPoint> = there.into_iter().chain(gone.copied()).collect();
                self.block(&[], &names, &[], 1);
            }
            Operation::Rewind(count) => {
                for _ in 0..count {
                    self.rewind();
                }
            }
            Operation::Merge(at, count, step) => self.merge(at, count, step, false),
            Operation::Lose(at, count, step) => {
                self.merge(at, count, step, true);
                self.manifest = Manifest::open(self.names.clone()).unwrap();
                self.allocator = Allocator::of(self.manifest.extents()).unwrap();
            }
        }
    }

    fn rewind(&mut self) {
        let stable = self.manifest.stable();
        let (id, newest) = stable[stable.len() - 1];
        if newest.level > 0 || stable.len() == 1 {
            return;
        }
        self.manifest.remove(id);
        self.allocator.free(newest.coins);
        self.allocator.free(newest.scripts);
        self.sets.pop();
    }

    /// Merges neighbours of one level.
    fn merge(&mut self, at: prop::sample::Index, count: usize, step: usize, is_lossy: bool) {
        let stable = self.manifest.stable();
        let first = at.index(stable.len());
        let level = stable[first].1.level;
        // Levels must not rise with height: merge from the oldest change of the level on.
        let first = stable.iter().position(|(_, r)| r.level == level).unwrap();
        let inputs: Vec<(ChangeId, ChangeRecord)> = stable[first..]
            .iter()
            .take(count)
            .take_while(|(_, record)| record.level == level)
            .copied()
            .collect();
        let (Some((_, oldest)), Some((_, newest))) = (inputs.first(), inputs.last()) else {
            return;
        };
        let open = |(_, record): &(ChangeId, ChangeRecord)| ChangeRuns::open(&self.region, record);
        let runs: Vec<ChangeRuns> = inputs.iter().map(|input| open(input).unwrap()).collect();
        let taken = self.take(&ChangePlan::of(&runs));
        let depth = if first == 0 {
            Depth::Bottom
        } else {
            Depth::Above
        };
        let mut merge = ChangeMerge::new(&runs, taken.0, taken.1, depth).unwrap();
        let mut saved = Vec::new();
        let mut steps = 0;
        while merge.step(&self.region, step).unwrap() == Progress::More {
            steps += 1;
            if is_lossy && steps % 5 == 2 {
                saved = merge.save(&self.region).unwrap();
                assert!(saved.len() as u64 + 8 <= SLOT_BYTES);
            } else if is_lossy && steps % 5 == 0 {
                let (coins, scripts) = taken;
                merge = ChangeMerge::restore(&self.region, &runs, coins, scripts, depth, &saved)
                    .unwrap();
            } else if step > 180 {
                self.check_tip();
            }
        }
        let merged = merge.runs().unwrap();
        audit_merge(&self.region, &merged, &runs).unwrap();
        let heights = (oldest.first, newest.last);
        let record = self.finished(merged, taken, level + 1, heights, newest.block);
        let ids: Vec<ChangeId> = inputs.iter().map(|(id, _)| *id).collect();
        let output = self.manifest.new_id();
        for freed in self.manifest.swap(&ids, output, record).unwrap() {
            self.allocator.free(freed);
        }
    }

    fn check_tip(&self) {
        let runs = self.runs(self.sets.len() - 1).unwrap();
        let list = ChangeList::new(runs.into_iter().rev().collect());
        self.compare(&list, &self.sets[self.sets.len() - 1]);
    }

    fn check(&self) {
        audit_manifest(&self.region, &self.manifest).unwrap();
        assert_eq!(
            self.allocator,
            Allocator::of(self.manifest.extents()).unwrap()
        );
        for (height, set) in self.sets.iter().enumerate() {
            let Some(runs) = self.runs(height) else {
                continue;
            };
            // Older tips are checked by the steps before.
            if height + 2 < self.sets.len() {
                continue;
            }
            if height + 1 == self.sets.len() {
                let mut chain = ChainAudit::default();
                for change in &runs {
                    chain.apply(&self.region, change).unwrap();
                }
                assert_eq!(chain.coins(), set.len() as u64);
            }
            let newest_first: Vec<ChangeRuns> = runs.into_iter().rev().collect();
            self.compare(&ChangeList::new(newest_first), set);
        }
    }

    /// Compares up to 300 of all coins there ever were, every list in pages, and every balance.
    fn compare(&self, list: &ChangeList, set: &Set) {
        let stride = 1 + self.known.len() / 300;
        for outpoint in self.known.keys().step_by(stride) {
            let found = list.coin(&self.region, outpoint);
            assert_eq!(found.as_ref(), set.get(outpoint), "{outpoint}");
        }
        for owner in 0..OWNERS {
            let key = ScriptHash::of(&script(owner));
            let owned = set.iter().filter(|(_, coin)| coin.script == script(owner));
            let mut expected: Vec<ListedCoin> = owned
                .map(|(outpoint, coin)| ListedCoin {
                    outpoint: *outpoint,
                    value: coin.value,
                    height: coin.height,
                    coinbase: coin.coinbase,
                })
                .collect();
            expected.sort_by_key(|c| millrace_core::page::position(c.height, &c.outpoint));
            let mut found = Vec::new();
            let mut from = None;
            loop {
                let page = list.coins_of(&self.region, &key, from, 400);
                let is_last = page.len() < 400;
                found.extend(page);
                if is_last {
                    break;
                }
                from = found.pop().map(|coin| (coin.height, coin.outpoint));
            }
            assert!(found == expected, "the list of {owner}");
            let balance = list.balance(&self.region, &key);
            let sum: i128 = expected.iter().map(|c| i128::from(c.value.to_sat())).sum();
            assert_eq!(
                (balance.satoshi, balance.coins),
                (sum, expected.len() as i64)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn changes_merged_at_random_are_what_a_plain_map_says(
        operations in prop::collection::vec(operation(), 1..18),
    ) {
        let mut world = World::new();
        for operation in operations {
            world.run(operation);
            world.check();
        }
    }
}
