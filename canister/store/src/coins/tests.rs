//! The coin store against a naive model: random forks of small blocks, connected, retired and
//! dropped in steps of random size, with the heap thrown away in between.

mod paging;

use std::collections::BTreeMap;

use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid};
use ic_stable_structures::VectorMemory;
use millrace_core::delta::KeyedCoin;
use proptest::prelude::*;

use super::*;
use crate::blobs::Blobs;

type Memory = VectorMemory;
type Set = BTreeMap<OutPoint, Coin>;

/// The regions, which survive while the structures on top are reopened.
struct Regions(Vec<Memory>);

impl Regions {
    fn new() -> Self {
        Self((0..9).map(|_| Memory::default()).collect())
    }

    fn open(&self) -> (Coins<Memory>, Blobs<Memory>) {
        open_in(&self.0)
    }
}

/// Opens the coins in the first seven of nine memories, and the blobs in the others.
fn open_in<M: ic_stable_structures::Memory + Clone>(memories: &[M]) -> (Coins<M>, Blobs<M>) {
    let region = |index: usize| memories[index].clone();
    let coins = Coins::open(CoinRegions {
        stable: region(0),
        by_script: region(1),
        balances: region(2),
        totals: region(3),
        runs: region(4),
        run_coins: region(5),
        run_scripts: region(6),
    });
    (coins.unwrap(), Blobs::open(region(7), region(8)).unwrap())
}

fn hash(number: u32) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    BlockHash::from_byte_array(bytes)
}

fn script(number: u8) -> ScriptBuf {
    // One script is as long as any spendable one.
    ScriptBuf::from_bytes(vec![number; if number == 0 { 10_000 } else { 2 }])
}

/// One block of the model: its parent, whether it is connected, the set after it.
struct Block {
    parent: Option<u32>,
    height: u32,
    delta: BlockDelta,
    after: Set,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Building,
    Connected,
    Gone,
}

#[derive(Clone, Debug)]
enum Operation {
    /// A child of some connected block, which spends and makes some coins.
    Begin(usize, Vec<(u8, u64)>, Vec<usize>),
    /// Some steps of storing it.
    Connect(usize, usize),
    /// Retire the child of the root on some branch, in steps.
    Retire(usize, usize),
    Drop(usize, usize),
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let puts = prop::collection::vec((0..4u8, 0..1_000u64), 0..8);
    let spends = prop::collection::vec(any::<usize>(), 0..6);
    prop_oneof![
        4 => (any::<usize>(), puts, spends).prop_map(|(at, puts, spends)| Operation::Begin(at, puts, spends)),
        6 => (any::<usize>(), 1..9usize).prop_map(|(at, step)| Operation::Connect(at, step)),
        2 => (any::<usize>(), 1..5usize).prop_map(|(at, step)| Operation::Retire(at, step)),
        1 => (any::<usize>(), 1..5usize).prop_map(|(at, step)| Operation::Drop(at, step)),
        2 => Just(Operation::Reopen),
    ]
}

struct World {
    regions: Regions,
    coins: Coins<Memory>,
    blobs: Blobs<Memory>,
    blocks: BTreeMap<u32, Block>,
    root: u32,
    next: u32,
}

impl World {
    fn new() -> Self {
        let regions = Regions::new();
        let (coins, blobs) = regions.open();
        let mut world = Self {
            regions,
            coins,
            blobs,
            blocks: BTreeMap::new(),
            root: 0,
            next: 1,
        };
        let (delta, after) = change(0, 0, &Set::new(), &[(1, 50), (2, 7)], &[]);
        world.coins.seed(&delta);
        world.blocks.insert(
            0,
            Block {
                parent: None,
                height: 0,
                delta,
                after,
                state: State::Connected,
            },
        );
        world
    }

    /// Returns a block in some state, chosen by `at`.
    fn pick(&self, at: usize, state: State) -> Option<u32> {
        let matching: Vec<u32> = self
            .blocks
            .iter()
            .filter(|(_, block)| block.state == state)
            .map(|(number, _)| *number)
            .collect();
        matching.get(at % matching.len().max(1)).copied()
    }

    fn path(&self, tip: u32) -> Vec<u32> {
        let mut path = vec![tip];
        let mut walk = tip;
        while walk != self.root {
            walk = self.blocks[&walk].parent.unwrap();
            path.push(walk);
        }
        path
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Begin(at, puts, spends) => {
                let Some(parent) = self.pick(at, State::Connected) else {
                    return;
                };
                let number = self.next;
                self.next += 1;
                let height = self.blocks[&parent].height + 1;
                let (delta, after) =
                    change(number, height, &self.blocks[&parent].after, &puts, &spends);
                let block = Block {
                    parent: Some(parent),
                    height,
                    delta,
                    after,
                    state: State::Building,
                };
                self.blocks.insert(number, block);
            }
            Operation::Connect(at, step) => {
                let Some(number) = self.pick(at, State::Building) else {
                    return;
                };
                let prepared = PreparedDelta::from(self.blocks[&number].delta.clone());
                let progress = self
                    .coins
                    .connect_step(&mut self.blobs, &prepared, step)
                    .unwrap();
                if progress == Progress::Done {
                    self.blocks.get_mut(&number).unwrap().state = State::Connected;
                }
            }
            Operation::Retire(at, step) => self.retire(at, step),
            Operation::Drop(at, step) => {
                let is_leaf = |number: &u32| {
                    !self
                        .blocks
                        .values()
                        .any(|b| b.parent == Some(*number) && b.state != State::Gone)
                };
                let number = self
                    .pick(at, State::Building)
                    .or(self.pick(at, State::Connected));
                if let Some(number) =
                    number.filter(|number| *number != self.root && is_leaf(number))
                {
                    self.drop_block(number, step);
                }
            }
            Operation::Reopen => (self.coins, self.blobs) = self.regions.open(),
        }
    }

    fn drop_block(&mut self, number: u32, step: usize) {
        self.blocks.get_mut(&number).unwrap().state = State::Gone;
        self.coins.begin_drop(&hash(number));
        while self
            .coins
            .drop_step(&mut self.blobs, &hash(number), step)
            .unwrap()
            == Progress::More
        {
            self.check();
        }
    }

    /// Makes a connected child of the root the root, checking every view between the steps.
    fn retire(&mut self, at: usize, step: usize) {
        let children: Vec<u32> = self
            .blocks
            .iter()
            .filter(|(_, block)| block.parent == Some(self.root) && block.state == State::Connected)
            .map(|(number, _)| *number)
            .collect();
        let Some(child) = children.get(at % children.len().max(1)).copied() else {
            return;
        };
        self.coins.begin_retire(&hash(child)).unwrap();
        let numbers: Vec<u32> = self.blocks.keys().copied().collect();
        let old_root = std::mem::replace(&mut self.root, child);
        for number in numbers {
            let mut walk = number;
            while let Some(parent) = self.blocks[&walk].parent.filter(|_| walk != child) {
                walk = parent;
            }
            if walk != child && self.blocks[&number].state != State::Gone {
                self.blocks.get_mut(&number).unwrap().state = State::Gone;
                if number != old_root {
                    self.coins.begin_drop(&hash(number));
                }
            }
        }
        while self
            .coins
            .retire_step(&mut self.blobs, &hash(child), step)
            .unwrap()
            == Progress::More
        {
            self.check();
            if step == 1 {
                (self.coins, self.blobs) = self.regions.open();
            }
        }
        let gone: Vec<u32> = self
            .blocks
            .iter()
            .filter(|(_, b)| b.state == State::Gone)
            .map(|(n, _)| *n)
            .collect();
        for number in gone {
            while self
                .coins
                .drop_step(&mut self.blobs, &hash(number), step)
                .unwrap()
                == Progress::More
            {}
        }
    }

    /// Compares every readable tip with the model: each coin, each script's list and balance.
    fn check(&self) {
        for (number, block) in self
            .blocks
            .iter()
            .filter(|(_, block)| block.state == State::Connected)
        {
            let view = self.coins.view(self.path(*number).into_iter().map(hash));
            let count = block.after.len() as u64;
            assert_eq!(view.utxo_count(), count, "coins at {number}");
            for known in self.blocks.values() {
                for outpoint in known.delta.puts.keys() {
                    let found = view.coin(outpoint).unwrap();
                    assert_eq!(
                        found.as_ref(),
                        block.after.get(outpoint),
                        "{outpoint} at {number}"
                    );
                }
            }
            for owner in 0..4 {
                self.check_owner(&view, &script(owner), &block.after);
            }
        }
    }

    fn check_owner(&self, view: &View<'_, Memory>, owner: &ScriptBuf, after: &Set) {
        let key = ScriptHash::of(owner);
        let mut expected: Vec<(&OutPoint, &Coin)> = after
            .iter()
            .filter(|(_, coin)| coin.script == *owner)
            .collect();
        expected
            .sort_by_key(|(outpoint, coin)| millrace_core::page::position(coin.height, outpoint));
        let found: Vec<_> = paging::all_pages(view, &key, 3, MAX_SPENT_PASSED)
            .iter()
            .map(|c| (c.outpoint, c.value, c.height, c.coinbase))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(o, c)| (**o, c.value, c.height, c.coinbase))
            .collect();
        assert_eq!(found, expected);
        let sum: i128 = expected
            .iter()
            .map(|(_, value, _, _)| i128::from(value.to_sat()))
            .sum();
        let balance = view.balance(&key).unwrap();
        assert_eq!(
            (balance.satoshi, balance.coins),
            (sum, expected.len() as i64)
        );
    }
}

/// Makes a block's change: coins it puts, and some of the coins before it that it spends.
fn change(
    number: u32,
    height: u32,
    before: &Set,
    puts: &[(u8, u64)],
    spends: &[usize],
) -> (BlockDelta, Set) {
    let mut after = before.clone();
    let mut delta = BlockDelta {
        block: hash(number),
        height: Height::new(height),
        spends: BTreeMap::new(),
        puts: BTreeMap::new(),
    };
    for spend in spends {
        let Some((outpoint, coin)) = before.iter().nth(spend % before.len().max(1)) else {
            continue;
        };
        delta
            .spends
            .insert(*outpoint, KeyedCoin::from(coin.clone()));
        after.remove(outpoint);
    }
    for (index, (owner, value)) in puts.iter().enumerate() {
        // Every seventh block repeats its parent's transaction id: siblings share outpoints too.
        let name = if number % 7 == 6 { number - 1 } else { number };
        let outpoint = OutPoint {
            txid: Txid::from_byte_array(*hash(name).as_byte_array()),
            vout: index as u32,
        };
        if before.contains_key(&outpoint) {
            // A coin that replaces an unspent one: spent and put at once (BIP30).
            let replaced = before[&outpoint].clone();
            delta.spends.insert(outpoint, KeyedCoin::from(replaced));
        }
        let coin = Coin {
            value: Amount::from_sat(*value),
            script: script(*owner),
            height: Height::new(height),
            coinbase: index == 0,
        };
        delta.puts.insert(outpoint, KeyedCoin::from(coin.clone()));
        after.insert(outpoint, coin);
    }
    (delta, after)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_view_equals_the_model_after_every_operation(
        operations in prop::collection::vec(operation(), 1..50)
    ) {
        let mut world = World::new();
        for operation in operations {
            world.run(operation);
            world.check();
            world.coins.audit().unwrap();
        }
    }
}

#[test]
fn a_retiring_run_cannot_be_joined_by_another() {
    let mut world = World::new();
    for _ in 0..2 {
        world.run(Operation::Begin(0, vec![(1, 1), (2, 2)], vec![]));
    }
    for _ in 0..2 {
        world.run(Operation::Connect(0, 100));
    }
    world.coins.begin_retire(&hash(1)).unwrap();
    let error = world.coins.begin_retire(&hash(2)).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let error = world.coins.begin_retire(&hash(9)).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
}
