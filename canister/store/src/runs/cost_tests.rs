//! Pages that a mainnet-like chain of changes reads and writes: the numbers of `DESIGN.md`.
//!
//! A block has 6,714 inputs and 7,297 outputs in 2,919 transactions; nearly half of the inputs
//! spend coins of the eight blocks before, a third of the outputs go to scripts used before. The
//! test prints what it counts: `cargo test -p millrace-store mainnet_like -- --nocapture`.

use std::collections::BTreeMap;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid};
use ic_stable_structures::VectorMemory;
use millrace_core::Height;
use millrace_core::delta::Coin;
use millrace_core::script::ScriptHash;
use millrace_core::testing::{BlockDelta, KeyedCoin};

use super::allocator::Allocator;
use super::change::{ChangePlan, ChangeRuns, ChangeWriter};
use super::change_list::{ChangeList, Span};
use super::extent::Extent;
use super::merge::{ChangeMerge, Depth};
use super::run::Run;
use super::span::{SpanWriter, span_bytes};
use crate::coins::Progress;
use crate::counting::CountingMemory;

const TRANSACTIONS: u64 = 2_919;
const INPUTS: usize = 6_714;
const OUTPUTS: u64 = 7_297;
const ITEMS: f64 = 14_011.0;
const BASE_COINS: u64 = 120_000;

type Counted = CountingMemory<VectorMemory>;

/// Deterministic numbers: SHA-256 of a counter.
#[derive(Default)]
struct Numbers(u64);

impl Numbers {
    fn bytes(&mut self) -> [u8; 32] {
        self.0 += 1;
        sha256::Hash::hash(&self.0.to_le_bytes()).to_byte_array()
    }

    fn below(&mut self, limit: u64) -> u64 {
        u64::from_le_bytes(*self.bytes().first_chunk().unwrap()) % limit
    }
}

/// A script by its owner's number, in about mainnet's mix of kinds.
fn script(owner: u64) -> ScriptBuf {
    let hash = sha256::Hash::hash(&owner.to_be_bytes()).to_byte_array();
    let (head, length, tail): (&[u8], usize, &[u8]) = match owner % 100 {
        0..45 => (&[0x00, 0x14], 20, &[]),
        45..70 => (&[0x51, 0x20], 32, &[]),
        70..87 => (&[0x76, 0xa9, 0x14], 20, &[0x88, 0xac]),
        87..97 => (&[0xa9, 0x14], 20, &[0x87]),
        _ => (&[0x00, 0x20], 32, &[]),
    };
    ScriptBuf::from_bytes([head, &hash[..length], tail].concat())
}

struct Chain {
    memory: Counted,
    allocator: Allocator,
    numbers: Numbers,
    height: u32,
    /// Unspent coins of the last blocks, and of all blocks before.
    recent: Vec<Vec<(OutPoint, Coin)>>,
    old: Vec<(OutPoint, Coin)>,
    owners: u64,
}

impl Chain {
    fn new() -> Self {
        Self {
            memory: CountingMemory::new(VectorMemory::default()),
            allocator: Allocator::of([]).unwrap(),
            numbers: Numbers::default(),
            height: 0,
            recent: Vec::new(),
            old: Vec::new(),
            owners: 5_000,
        }
    }

    fn owner(&mut self) -> u64 {
        match self.numbers.below(100) {
            // The square makes low numbers hot.
            0..33 => {
                let far = self.numbers.below(5_000);
                far * far / 5_000
            }
            _ => {
                self.owners += 1;
                self.owners
            }
        }
    }

    fn make(&mut self, coins: u64) -> Vec<(OutPoint, Coin)> {
        let mut made = Vec::new();
        let mut outpoint = OutPoint::default();
        for index in 0..coins {
            let transaction = |index: u64| index * TRANSACTIONS / OUTPUTS;
            if index == 0 || transaction(index) != transaction(index - 1) {
                outpoint.txid = Txid::from_byte_array(self.numbers.bytes());
                outpoint.vout = 0;
            } else {
                outpoint.vout += 1;
            }
            let owner = self.owner();
            let coin = Coin {
                value: Amount::from_sat(self.numbers.below(100_000_000)),
                script: script(owner),
                height: Height::new(800_000 + self.height),
                coinbase: index == 0,
            };
            made.push((outpoint, coin));
        }
        made
    }

    fn block(&mut self, spends: usize, puts: u64) -> BlockDelta {
        let mut delta = BlockDelta {
            block: BlockHash::from_byte_array([0; 32]),
            height: Height::new(800_000 + self.height),
            spends: BTreeMap::new(),
            puts: BTreeMap::new(),
        };
        for _ in 0..spends {
            let is_recent = self.numbers.below(100) < 45;
            let block = self.numbers.below(8) as usize;
            let from = match self.recent.iter_mut().rev().nth(block) {
                Some(block) if is_recent && !block.is_empty() => block,
                _ => &mut self.old,
            };
            let index = self.numbers.below(from.len() as u64) as usize;
            let (outpoint, coin) = from.swap_remove(index);
            delta.spends.insert(outpoint, KeyedCoin::from(coin));
        }
        let made = self.make(puts);
        for (outpoint, coin) in &made {
            delta.puts.insert(*outpoint, KeyedCoin::from(coin.clone()));
        }
        if spends == 0 {
            self.old = made;
        } else {
            self.recent.push(made);
        }
        if self.recent.len() > 8 {
            self.old.append(&mut self.recent.remove(0));
        }
        self.height += 1;
        delta
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

    /// Writes the filters over the newest changes.
    fn span(&mut self, changes: &[ChangeRuns]) -> Span {
        let mut written = 0;
        let mut write = |runs: Vec<Run>| {
            let extent = self.allocator.allocate(&self.memory, span_bytes(&runs));
            let mut writer = SpanWriter::new(&runs, extent.unwrap()).unwrap();
            self.memory.reset();
            while writer.step(&self.memory, 1_000).unwrap() == Progress::More {}
            written += self.memory.pages_written().get();
            writer.filter()
        };
        let coins = write(changes.iter().map(|change| change.coins).collect());
        let scripts = write(changes.iter().map(|change| change.scripts).collect());
        let written = written as f64 / ITEMS / changes.len() as f64;
        println!("span: {written:.4} pages written per item");
        assert!(written < 0.001, "{written}");
        Span {
            first: 0,
            end: changes.len(),
            coins,
            scripts,
        }
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
    let base = chain.block(0, BASE_COINS);
    let base = chain.connect(base);
    describe("base", &base);
    let mut levels = vec![base];
    for level in 0..2 {
        let mut blocks = Vec::new();
        let mut written = 0;
        for _ in 0..8 {
            let delta = chain.block(INPUTS, OUTPUTS);
            blocks.push(chain.connect(delta));
            written += chain.memory.pages_written().get();
            assert_eq!(chain.memory.pages_read().get(), 2, "the two headers");
        }
        describe("block", &blocks[7]);
        let connect = written as f64 / 8.0 / ITEMS;
        println!("connect {level}: {connect:.4} pages written per item");
        assert!(connect < 0.032, "{connect}");
        if level == 1 {
            read(&mut chain, &levels, &blocks);
        }
        let merged = chain.merge(&blocks, Depth::Above);
        describe("merged", &merged);
        let (written, read) = (chain.memory.pages_written(), chain.memory.pages_read());
        let [written, read] = [written, read].map(|pages| pages.get() as f64 / 8.0 / ITEMS);
        println!("merge {level}: {written:.4} pages written, {read:.4} read per item");
        assert!(written < 0.028 && read < 0.032, "{written} {read}");
        levels.push(merged);
    }
    let all = chain.merge(&levels, Depth::Bottom);
    describe("all", &all);
    let unspent = chain.old.len() + chain.recent.iter().map(Vec::len).sum::<usize>();
    assert_eq!(all.coins.header().entries, unspent as u64);
    let bytes = (all.coins.header().length() + all.scripts.header().length()) as f64;
    println!("all: {:.1} bytes per coin", bytes / unspent as f64);
    assert!(bytes / (unspent as f64) < 150.0);
}

/// Counts what look-ups read over a base, a merged change and eight blocks under a span filter.
fn read(chain: &mut Chain, levels: &[ChangeRuns], blocks: &[ChangeRuns]) {
    let oldest_first = levels.iter().chain(blocks).copied();
    let span = chain.span(blocks);
    let list = ChangeList::new(oldest_first.rev().collect(), vec![span]);
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
    let old = |index: usize| &chain.old[index * 97 % chain.old.len()];
    let find = |index: usize| {
        let (outpoint, coin) = old(index);
        assert_eq!(list.coin(memory, outpoint).as_ref(), Some(coin));
    };
    count("coin of the base or the merge", 9.5, Box::new(find));
    let newest = &chain.recent[7];
    let find = |index: usize| {
        let (outpoint, coin) = &newest[index * 7];
        assert_eq!(list.coin(memory, outpoint).as_ref(), Some(coin));
    };
    count("coin of the newest block", 4.5, Box::new(find));
    let absent = |index: usize| {
        let script = ScriptHash::of(&script(u64::MAX - index as u64));
        assert_eq!(list.balance(memory, &script).coins, 0);
    };
    count("balance of no script", 4.0, Box::new(absent));
    let hold = |index: usize| {
        let script = ScriptHash::of(&old(index).1.script);
        assert!(list.balance(memory, &script).coins > 0);
    };
    count("balance of a script of an old coin", 13.5, Box::new(hold));
    let hot = |_: usize| {
        let hot = ScriptHash::of(&script(0));
        let page = list.coins_of(memory, &hot, None, 200);
        assert_eq!(page.len(), 200);
    };
    count("200 coins of the hottest script", 40.0, Box::new(hot));
}
