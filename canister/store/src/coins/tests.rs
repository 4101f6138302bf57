//! The coin store against a naive model: random forks of small blocks, connected, retired, dropped,
//! merged in steps of random size, with the heap thrown away in between.

mod ahead;
mod cost;
mod crash;
mod paging;
mod space;

use std::collections::BTreeMap;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{ScriptBuf, Txid};
use ic_stable_structures::VectorMemory;
use millrace_core::delta::{Coin, PriorCoin, PriorCoins};
use millrace_core::script::ScriptHash;
use millrace_core::testing::{BlockDelta, KeyedCoin};
use proptest::prelude::*;

use super::*;

type Memory = VectorMemory;
type Set = BTreeMap<OutPoint, Coin>;

/// Opens the coins in two memories.
fn open_in<M: ic_stable_structures::Memory + Clone>(memories: &[M; 2]) -> Coins<M> {
    let [runs, manifest] = memories.clone();
    Coins::open(CoinRegions { runs, manifest }).unwrap()
}

/// Opens coins whose merges are saved every few keys.
fn reopened<M: ic_stable_structures::Memory + Clone>(memories: &[M; 2]) -> Coins<M> {
    let mut coins = open_in(memories);
    coins.checkpoint_keys = 20;
    coins
}

fn hash(number: u32) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    BlockHash::from_byte_array(bytes)
}

fn txid(number: u32) -> Txid {
    Txid::from_byte_array(sha256::Hash::hash(&number.to_le_bytes()).to_byte_array())
}

fn script(number: u8) -> ScriptBuf {
    // One script is as long as any spendable one.
    ScriptBuf::from_bytes(vec![number; if number == 0 { 10_000 } else { 2 }])
}

/// One block of the model: its parent, whether it is connected, the set after it.
#[derive(Clone)]
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
    /// Some entries of some block's change.
    Connect(usize, usize),
    /// Makes the child of the root on some branch stable.
    Retire(usize),
    /// Makes a chain of blocks on the best tip, and retires all but some.
    Grow(usize, usize),
    Drop(usize),
    /// Some keys of the next merge.
    Compact(usize),
    /// All merges there are to do.
    Settle,
    /// Another connected block is the best one.
    Follow(usize),
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let puts = prop::collection::vec((0..4u8, 0..1_000u64), 0..8);
    let spends = prop::collection::vec(any::<usize>(), 0..6);
    prop_oneof![
        4 => (any::<usize>(), puts, spends).prop_map(|(at, puts, spends)| Operation::Begin(at, puts, spends)),
        6 => (any::<usize>(), 1..9usize).prop_map(|(at, step)| Operation::Connect(at, step)),
        2 => any::<usize>().prop_map(Operation::Retire),
        1 => (1..12usize, 0..12usize).prop_map(|(blocks, kept)| Operation::Grow(blocks, kept)),
        1 => any::<usize>().prop_map(Operation::Drop),
        4 => (1..40usize).prop_map(Operation::Compact),
        1 => Just(Operation::Settle),
        1 => any::<usize>().prop_map(Operation::Follow),
        2 => Just(Operation::Reopen),
    ]
}

/// A canister's coins and what they should be.
struct World<M: ic_stable_structures::Memory + Clone> {
    memories: [M; 2],
    coins: Coins<M>,
    blocks: BTreeMap<u32, Block>,
    /// The block whose change is being written, as far as the heap remembers.
    writing: Option<u32>,
    root: u32,
    next: u32,
}

impl World<Memory> {
    fn new() -> Self {
        Self::on([Memory::default(), Memory::default()])
    }
}

impl<M: ic_stable_structures::Memory + Clone> World<M> {
    fn on(memories: [M; 2]) -> Self {
        Self::with_base(memories, &[(1, 50), (2, 7)])
    }

    /// A world whose first block makes some coins.
    fn with_base(memories: [M; 2], base: &[(u8, u64)]) -> Self {
        let mut world = Self {
            coins: reopened(&memories),
            memories,
            blocks: BTreeMap::new(),
            writing: None,
            root: 0,
            next: 1,
        };
        let (delta, after) = change(0, 0, &Set::new(), base, &[]);
        let (first, bytes) = delta.change();
        world
            .coins
            .seed(BlockHash::all_zeros(), first, &bytes)
            .unwrap();
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

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Begin(at, puts, spends) => {
                if let Some(parent) = self.pick(at, State::Connected) {
                    self.add(parent, &puts, &spends);
                }
            }
            Operation::Connect(at, step) => {
                if let Some(number) = self.pick(at, State::Building) {
                    self.connect(number, step);
                }
            }
            Operation::Retire(at) => self.retire(at),
            Operation::Grow(blocks, kept) => self.grow(blocks, kept),
            Operation::Drop(at) => {
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
                    self.forget(number);
                }
            }
            Operation::Compact(step) => {
                self.coins.compact_step(step).unwrap();
            }
            Operation::Settle => self.settle(),
            Operation::Follow(at) => {
                if let Some(number) = self.pick(at, State::Connected) {
                    self.coins.follow(hash(number));
                }
            }
            Operation::Reopen => self.reopen(),
        }
    }

    /// Does all merges there are to do.
    fn settle(&mut self) {
        while self.coins.compact_step(1_000).unwrap() == Progress::More {}
    }

    fn reopen(&mut self) {
        self.coins = reopened(&self.memories);
        self.writing = None;
    }

    /// Adds a child of a connected block to the model.
    fn add(&mut self, parent: u32, puts: &[(u8, u64)], spends: &[usize]) -> u32 {
        let number = self.next;
        self.next += 1;
        let height = self.blocks[&parent].height + 1;
        let (delta, after) = change(number, height, &self.blocks[&parent].after, puts, spends);
        let block = Block {
            parent: Some(parent),
            height,
            delta,
            after,
            state: State::Building,
        };
        self.blocks.insert(number, block);
        number
    }

    fn connect(&mut self, number: u32, step: usize) -> Progress {
        if self.writing != Some(number) {
            let block = &self.blocks[&number];
            let parent = hash(block.parent.unwrap());
            let (change, _) = block.delta.change();
            self.coins.begin_connect(parent, change).unwrap();
            self.writing = Some(number);
        }
        let (_, bytes) = self.blocks[&number].delta.change();
        let progress = self
            .coins
            .connect_step(&hash(number), bytes.as_slice(), step)
            .unwrap();
        if progress == Progress::Done {
            self.blocks.get_mut(&number).unwrap().state = State::Connected;
            self.writing = None;
        }
        progress
    }

    fn grow(&mut self, blocks: usize, kept: usize) {
        let connected = self
            .blocks
            .iter()
            .filter(|(_, b)| b.state == State::Connected);
        let mut tip = *connected.max_by_key(|(_, b)| b.height).unwrap().0;
        for index in 0..blocks {
            let owner = (index % 4) as u8;
            tip = self.add(tip, &[(owner, 3), (1, 4)], &[index * 7, index * 13]);
            while self.connect(tip, 3) == Progress::More {}
        }
        self.coins.follow(hash(tip));
        while self.blocks[&tip].height > self.blocks[&self.root].height + kept as u32 {
            let mut child = tip;
            while self.blocks[&child].parent != Some(self.root) {
                child = self.blocks[&child].parent.unwrap();
            }
            self.retire_block(child);
        }
    }

    fn forget(&mut self, number: u32) {
        self.blocks.get_mut(&number).unwrap().state = State::Gone;
        self.coins.drop_block(&hash(number));
        self.writing = self.writing.filter(|writing| *writing != number);
    }

    fn retire(&mut self, at: usize) {
        let children: Vec<u32> = self
            .blocks
            .iter()
            .filter(|(_, block)| block.parent == Some(self.root) && block.state == State::Connected)
            .map(|(number, _)| *number)
            .collect();
        if let Some(child) = children.get(at % children.len().max(1)) {
            self.retire_block(*child);
        }
    }

    /// Makes a connected child of the root the root.
    fn retire_block(&mut self, child: u32) {
        while self.coins.must_compact() {
            self.coins.compact_step(5).unwrap();
        }
        self.make_root(child);
    }

    /// As [`World::retire_block`], however many changes there are.
    fn make_root(&mut self, child: u32) {
        self.coins.retire(&hash(child)).unwrap();
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
                    self.forget(number);
                }
            }
        }
    }

    /// Compares every readable tip with the model: each coin, each script's list and balance.
    fn check(&self) {
        for (number, block) in self
            .blocks
            .iter()
            .filter(|(_, block)| block.state == State::Connected)
        {
            let view = self.coins.view(&hash(*number)).unwrap();
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
            self.check_resolver(*number, &block.after);
        }
    }

    /// Looks up every outpoint there ever was at once, in small steps.
    fn check_resolver(&self, number: u32, after: &Set) {
        let known = self
            .blocks
            .values()
            .flat_map(|b| b.delta.puts.keys().copied());
        let mut resolver = Resolver::new(hash(number), known.clone());
        while resolver.step(&self.coins, 7).unwrap() == Progress::More {}
        let coins = resolver.coins(&self.coins).unwrap();
        for outpoint in known {
            let found = coins.prior(&outpoint).unwrap();
            let expected = after.get(&outpoint).map(PriorCoin::from);
            assert_eq!(found, expected, "{outpoint} at {number}");
        }
        assert_eq!(resolver.found(), after.keys().copied().collect::<Vec<_>>());
    }

    fn check_owner(&self, view: &View<'_, M>, owner: &ScriptBuf, after: &Set) {
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
            txid: txid(name),
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
fn only_a_child_of_the_newest_stable_block_becomes_stable() {
    let mut world = World::new();
    let first = world.add(0, &[(1, 1)], &[]);
    world.connect(first, 100);
    let second = world.add(first, &[(2, 2)], &[]);
    world.connect(second, 100);
    for number in [second, 9] {
        let error = world.coins.retire(&hash(number)).unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    }
    world.retire_block(first);
    world.retire_block(second);
    world.check();
    world.coins.audit().unwrap();
}

#[test]
fn a_change_is_written_only_on_top_of_one_that_can_be_read() {
    let mut world = World::new();
    let first = world.add(0, &[(1, 1)], &[]);
    let (change, bytes) = world.blocks[&first].delta.change();
    let error = world.coins.begin_connect(hash(77), change).unwrap_err();
    assert_eq!(error, StoreError::missing("change of parent", hash(77)));
    let error = world
        .coins
        .connect_step(&hash(first), bytes.as_slice(), 1)
        .unwrap_err();
    assert_eq!(error, StoreError::missing("begun change of", hash(first)));
    world.coins.audit().unwrap();
}

#[test]
fn a_base_much_larger_than_what_follows_is_not_rewritten() {
    // Scripts of 10,000 bytes.
    let base = vec![(0, 5); 100];
    let mut world = World::with_base([Memory::default(), Memory::default()], &base);
    let base = world.coins.index.stable()[0].runs;
    world.grow(27, 2);
    while world.coins.compact_step(1_000).unwrap() == Progress::More {}
    let stable = world.coins.index.stable();
    let levels: Vec<u8> = stable.iter().map(|node| node.level).collect();
    // The base, seven blocks, two groups of eight, and two blocks of the next group.
    assert_eq!(levels, [1, 1, 1, 1, 0, 0]);
    assert_eq!(stable[0].runs, base);
    world.check();
    world.coins.audit().unwrap();
    world.reopen();
    world.coins.audit().unwrap();
}

#[test]
fn levels_stay_within_their_bound_however_late_they_are_merged() {
    let mut world = World::new();
    for _ in 0..30 {
        world.grow(10, 3);
        let mut newest = world.coins.index.stable().to_vec();
        newest.reverse();
        for level in newest.chunk_by(|a, b| a.level == b.level) {
            assert!(level.len() <= MAX_LEVEL_CHANGES, "{}", level.len());
        }
    }
    while world.coins.compact_step(1_000).unwrap() == Progress::More {}
    // 298 stable blocks: four of 64, five of 8, two of one.
    let levels: Vec<u8> = world.coins.index.stable().iter().map(|n| n.level).collect();
    assert_eq!(levels, [2, 2, 2, 2, 1, 1, 1, 1, 1, 0, 0]);
    world.check();
    world.coins.audit().unwrap();
}
