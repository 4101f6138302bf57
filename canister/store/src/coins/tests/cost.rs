//! Pages that a mainnet-like chain reads and writes from block to stable and merged, and what reads
//! cost under few and many unstable blocks: the numbers of `DESIGN.md`.
//!
//! The tests print what they count: `cargo test -p millrace-store costs -- --nocapture`.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::*;
use crate::counting::CountingMemory;
use crate::mainnet_like::{INPUTS, ITEMS, MainnetLike, OUTPUTS, block_hash, script as owner};

type Counted = Rc<CountingMemory<VectorMemory>>;

/// Blocks are this much smaller than mainnet's, so that a test sees many of them.
const SHRINK: usize = 4;

/// Pages of both regions.
#[derive(Clone, Copy, Debug, Default)]
struct Pages {
    written: u64,
    read: u64,
}

struct Chain {
    memories: [Counted; 2],
    coins: Coins<Counted>,
    made: MainnetLike,
    height: u32,
    /// Hashes of scripts and transaction ids whose coins blocks put or spent.
    touched: BTreeSet<[u8; 32]>,
    /// By what was done.
    pages: BTreeMap<&'static str, Pages>,
}

impl Chain {
    fn new(base: u64) -> Self {
        let region = || Rc::new(CountingMemory::new(VectorMemory::default()));
        let memories = [region(), region()];
        let mut chain = Self {
            coins: open_in(&memories),
            memories,
            made: MainnetLike::new(0),
            height: 0,
            touched: BTreeSet::new(),
            pages: BTreeMap::new(),
        };
        let base = chain.made.block(0, base);
        let (base, bytes) = base.change();
        chain
            .coins
            .seed(BlockHash::all_zeros(), base, &bytes)
            .unwrap();
        chain
    }

    /// Does something and counts its pages.
    fn count<T>(&mut self, name: &'static str, act: impl FnOnce(&mut Coins<Counted>) -> T) -> T {
        for memory in &self.memories {
            memory.reset();
        }
        let result = act(&mut self.coins);
        let pages = self.pages.entry(name).or_default();
        for memory in &self.memories {
            pages.written += memory.pages_written().get();
            pages.read += memory.pages_read().get();
        }
        result
    }

    fn connect(&mut self, inputs: usize, outputs: u64) {
        let delta = self.made.block(inputs, outputs);
        let parent = block_hash(self.height);
        self.height += 1;
        let block = delta.block;
        for (at, coin) in delta.spends.iter().chain(&delta.puts) {
            self.touched.insert(at.txid.to_byte_array());
            self.touched.insert(*coin.script_hash.as_bytes());
        }
        let (change, bytes) = delta.change();
        let spent: Vec<OutPoint> = delta.spends.keys().copied().collect();
        let found = self.count("resolve", |coins| {
            let mut resolver = Resolver::new(parent, spent.iter().copied());
            while resolver.step(coins, 16_384).unwrap() == Progress::More {}
            resolver.found().len()
        });
        assert_eq!(found, spent.len());
        self.count("connect", |coins| {
            coins.begin_connect(parent, change).unwrap();
            while coins.connect_step(&block, bytes.as_slice(), 512).unwrap() == Progress::More {}
        });
        self.count("merge", |coins| {
            coins.follow(block);
            while coins.compact_step(512).unwrap() == Progress::More {}
        });
    }

    fn retire(&mut self, block: u32) {
        self.count("retire", |coins| coins.retire(&block_hash(block)).unwrap());
        self.count("merge", |coins| {
            while coins.compact_step(512).unwrap() == Progress::More {}
        });
    }

    /// Returns pages read by `read` on average of 200.
    fn read(&self, read: impl Fn(usize)) -> f64 {
        let mut pages = 0;
        for index in 0..200 {
            for memory in &self.memories {
                memory.reset();
            }
            read(index);
            pages += self.memories[0].pages_read().get();
        }
        pages as f64 / 200.0
    }
}

#[test]
fn what_a_block_costs_until_it_is_stable_and_merged() {
    let mut chain = Chain::new(60_000);
    let blocks = 72;
    for block in 1..=blocks + 10 {
        if block == 11 {
            chain.pages.clear();
        }
        chain.connect(INPUTS / SHRINK, OUTPUTS / SHRINK as u64);
        if block > 10 {
            chain.retire(block - 10);
        }
    }
    let items = f64::from(blocks) * ITEMS / SHRINK as f64;
    let mut sum = 0.0;
    for (name, pages) in &chain.pages {
        let [written, read] = [pages.written, pages.read].map(|pages| pages as f64 / items);
        println!("{name}: {written:.4} pages written, {read:.4} read per item");
        sum += written;
    }
    println!("sum: {sum:.4} pages written per item");
    // Two of the levels that a chain of mainnet's length has.
    assert!(sum < 0.085, "{sum}");
    let (used, free) = chain.coins.run_bytes();
    let unspent = chain.made.unspent() as u64;
    let [used, free] = [used / unspent, free / unspent];
    println!("{used} bytes a coin, unstable blocks included, and {free} free for merges");
    // Blocks merged ahead are there twice until they are stable.
    assert!(used < 260, "{used}");
    let changes = (chain.coins.stable_len() + chain.coins.unstable_len()) as u64;
    chain.pages.clear();
    let memories = chain.memories.clone();
    chain.count("open", |coins| *coins = open_in(&memories));
    let read = chain.pages["open"].read;
    println!("{read} pages read to open {changes} changes");
    assert_eq!(chain.pages["open"].written, 0);
    assert!(
        read <= 3 * changes + 3,
        "{read} pages for {changes} changes"
    );
}

#[test]
fn what_reads_cost_under_twenty_and_five_hundred_unstable_blocks() {
    let mut chain = Chain::new(40_000);
    // Levels below, as every chain has; its newest 500 blocks stay unstable.
    for block in 1..=121 {
        chain.connect(30, 33);
        if block > 20 {
            chain.retire(block - 20);
        }
        if block == 101 {
            chain.touched.clear();
        }
    }
    for _ in 0..483 {
        chain.connect(30, 33);
    }
    // What newer blocks touched costs a leaf for each of them, in whatever store.
    let is_untouched = |(at, coin): &&(OutPoint, Coin)| {
        let script = ScriptHash::of(&coin.script);
        coin.height.get() <= 101
            && !chain.touched.contains(script.as_bytes())
            && !chain.touched.contains(&at.txid.to_byte_array())
    };
    let old: Vec<(OutPoint, Coin)> = chain
        .made
        .old
        .iter()
        .filter(is_untouched)
        .cloned()
        .collect();
    let pick = |index: usize| &old[index * 199 % old.len()];
    let at = |height: u32| {
        let view = || chain.coins.view(&block_hash(height)).unwrap();
        let absent = chain.read(|index| {
            let script = ScriptHash::of(&owner(u64::MAX - index as u64));
            assert_eq!(view().balance(&script).unwrap().coins, 0);
        });
        let held = chain.read(|index| {
            let script = ScriptHash::of(&pick(index).1.script);
            assert!(view().balance(&script).unwrap().coins > 0);
        });
        let page = chain.read(|index| {
            let script = ScriptHash::of(&pick(index).1.script);
            assert!(!view().coins_of(&script, None, 10).unwrap().coins.is_empty());
        });
        let coin = chain.read(|index| {
            let (at, coin) = pick(index);
            assert_eq!(view().coin(at).unwrap().as_ref(), Some(coin));
        });
        [absent, held, page, coin]
    };
    let (few, many) = (at(101 + 20), at(101 + 500));
    println!("pages of no balance, a balance, a page, a coin: {few:.1?} and {many:.1?}");
    for (few, many) in few.iter().zip(many) {
        assert!(many <= 2.0 * few, "{many} pages after {few}");
    }
}
