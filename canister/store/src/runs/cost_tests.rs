//! Pages that a mainnet-like chain of changes reads and writes: the numbers of `DESIGN.md`.
//!
//! The test prints what it counts: `cargo test -p millrace-store mainnet_like -- --nocapture`.

use ic_stable_structures::VectorMemory;
use millrace_core::script::ScriptHash;
use millrace_core::testing::BlockDelta;

use super::allocator::Allocator;
use super::change::{ChangePlan, ChangeRuns, ChangeWriter};
use super::change_list::ChangeList;
use super::extent::Extent;
use super::merge::{ChangeMerge, Depth};
use super::run::Run;
use crate::coins::Progress;
use crate::counting::CountingMemory;
use crate::mainnet_like::{INPUTS, ITEMS, MainnetLike, OUTPUTS, script};

const BASE_COINS: u64 = 120_000;

type Counted = CountingMemory<VectorMemory>;

struct Chain {
    memory: Counted,
    allocator: Allocator,
    made: MainnetLike,
}

impl Chain {
    fn new() -> Self {
        Self {
            memory: CountingMemory::new(VectorMemory::default()),
            allocator: Allocator::of([]).unwrap(),
            made: MainnetLike::new(800_000),
        }
    }

    fn connect(&mut self, delta: BlockDelta) -> ChangeRuns {
        let (change, bytes) = delta.change();
        let plan = ChangePlan::of_block(&change);
        let (coins, scripts) = self.take(&plan);
        self.memory.reset();
        let mut writer = ChangeWriter::new(change, &plan, coins, scripts).unwrap();
        while writer.step(&self.memory, bytes.as_slice(), 1_000).unwrap() == Progress::More {}
        let runs = writer.runs().unwrap();
        self.allocator.trim(coins, runs.coins.extent());
        self.allocator.trim(scripts, runs.scripts.extent());
        runs
    }

    fn take(&mut self, plan: &ChangePlan) -> (Extent, Extent) {
        let (coins, scripts) = plan.lengths();
        let mut take = |length| self.allocator.allocate(&self.memory, length).unwrap();
        (take(coins), take(scripts))
    }

    fn merge(&mut self, inputs: &[ChangeRuns], depth: Depth) -> ChangeRuns {
        let (coins, scripts) = self.take(&ChangePlan::of(inputs));
        self.memory.reset();
        let mut merge = ChangeMerge::new(inputs, coins, scripts, depth).unwrap();
        while merge.step(&self.memory, 1_000).unwrap() == Progress::More {}
        merge.runs().unwrap()
    }
}

/// Says what a pair of runs takes, per entry of the coin run.
fn describe(name: &str, runs: &ChangeRuns) {
    let of = |run: &Run| {
        let header = run.header();
        let filter = f64::from(header.filter_blocks) * 64.0;
        let each = header.puts as f64 + header.spends as f64;
        let (bytes, length) = (header.entry_bytes as f64, header.length() as f64);
        format!(
            "{} entries, {} leaves, {:.1} entry bytes, {:.1} filter bytes, {:.1} bytes in all",
            each,
            header.leaves,
            bytes / each,
            filter / each,
            length / each
        )
    };
    println!("{name}: coins {}", of(&runs.coins));
    println!("{name}: scripts {}", of(&runs.scripts));
}

#[test]
fn a_mainnet_like_chain_writes_and_reads_few_pages() {
    let mut chain = Chain::new();
    let base = chain.made.block(0, BASE_COINS);
    let base = chain.connect(base);
    describe("base", &base);
    let mut levels = vec![base];
    for level in 0..2 {
        let mut blocks = Vec::new();
        let mut written = 0;
        for _ in 0..8 {
            let delta = chain.made.block(INPUTS, OUTPUTS);
            blocks.push(chain.connect(delta));
            written += chain.memory.pages_written().get();
            assert_eq!(chain.memory.pages_read().get(), 2, "the two headers");
        }
        describe("block", &blocks[7]);
        let connect = written as f64 / 8.0 / ITEMS;
        println!("connect {level}: {connect:.4} pages written per item");
        assert!(connect < 0.032, "{connect}");
        let merged = chain.merge(&blocks, Depth::Above);
        describe("merged", &merged);
        let (written, read) = (chain.memory.pages_written(), chain.memory.pages_read());
        let [written, read] = [written, read].map(|pages| pages.get() as f64 / 8.0 / ITEMS);
        println!("merge {level}: {written:.4} pages written, {read:.4} read per item");
        assert!(written < 0.028 && read < 0.032, "{written} {read}");
        levels.push(merged);
    }
    read(&mut chain, &levels);
    let all = chain.merge(&levels, Depth::Bottom);
    describe("all", &all);
    let unspent = chain.made.unspent();
    assert_eq!(all.coins.header().entries, unspent as u64);
    let bytes = (all.coins.header().length() + all.scripts.header().length()) as f64;
    println!("all: {:.1} bytes per coin", bytes / unspent as f64);
    assert!(bytes / (unspent as f64) < 150.0);
}

/// Counts what look-ups read over a base and two merges, the newer one made ahead.
fn read(chain: &mut Chain, levels: &[ChangeRuns]) {
    let list = ChangeList::new(levels.iter().copied().rev().collect());
    let memory = &chain.memory;
    let count = |name: &str, limit: f64, mut read: Box<dyn FnMut(usize) + '_>| {
        let mut pages = 0;
        for index in 0..500 {
            memory.reset();
            read(index);
            pages += memory.pages_read().get();
        }
        let pages = pages as f64 / 500.0;
        println!("{name}: {pages:.2} pages read");
        assert!(pages < limit, "{name}: {pages}");
    };
    let old = |index: usize| &chain.made.old[index * 97 % chain.made.old.len()];
    let find = |index: usize| {
        let (outpoint, coin) = old(index);
        assert_eq!(list.coin(memory, outpoint).as_ref(), Some(coin));
    };
    count("coin of the base or a merge", 5.5, Box::new(find));
    let newest = &chain.made.recent[7];
    let find = |index: usize| {
        let (outpoint, coin) = &newest[index * 7];
        assert_eq!(list.coin(memory, outpoint).as_ref(), Some(coin));
    };
    count("coin of the newest block", 3.5, Box::new(find));
    let absent = |index: usize| {
        let script = ScriptHash::of(&script(u64::MAX - index as u64));
        assert_eq!(list.balance(memory, &script).coins, 0);
    };
    count("balance of no script", 3.5, Box::new(absent));
    let hold = |index: usize| {
        let script = ScriptHash::of(&old(index).1.script);
        assert!(list.balance(memory, &script).coins > 0);
    };
    count("balance of a script of an old coin", 8.0, Box::new(hold));
    let hot = |_: usize| {
        let hot = ScriptHash::of(&script(0));
        let page = list.coins_of(memory, &hot, None, 200);
        assert_eq!(page.len(), 200);
    };
    count("200 coins of the hottest script", 14.0, Box::new(hot));
}
