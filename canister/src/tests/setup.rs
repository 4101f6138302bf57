//! A canister on a vector, a clock that tests set, real blocks, and a naive UTXO set to compare
//! with.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bitcoin::consensus::{deserialize, serialize};
use bitcoin::{Block, BlockHash, OutPoint, ScriptBuf};
use candid::Principal;
use ic_stable_structures::{Memory, VectorMemory};
use millrace_candid::{
    BlockPart, ChainTips, FeedState, FeedStateArgs, Flag, GetBalanceArgs, GetChainTipsArgs,
    GetStatusArgs, GetUtxosArgs, InitConfig, InitNetwork, Owner, PartOutcome, PushReceipt, Status,
    Utxo, UtxosFilter,
};
use millrace_core::{Bytes, Instructions, Network, UnixSeconds};
use millrace_store::Store;
use serde_bytes::ByteBuf;

use crate::app::AppError;
use crate::config::Config;
use crate::pull::Ask;
use crate::watchdog::{BLAME_STRIKES, CAUTIOUS_STRIKES, WATCH_SECONDS};
use crate::{App, Env, convert};

/// Later than every recorded block.
pub const NOW: u64 = 1_700_000_000;

/// Instructions that each look at the counter pretends were executed since the last one.
pub const TICK: u64 = 1_000_000;

/// Strikes of the watchdog until it gives up what never ends.
pub const PATIENCE: u32 = CAUTIOUS_STRIKES + BLAME_STRIKES;

/// What the canister pretends to own.
pub const CYCLES: u128 = 1 << 100;

/// The only adapter.
pub fn adapter() -> Principal {
    Principal::self_authenticating([1; 32])
}

pub struct World {
    pub now: Cell<u64>,
    pub instructions: Cell<u64>,
    pub log: RefCell<Vec<String>>,
    /// As on a system subnet, where nothing costs cycles, when absent.
    pub cycles_to_spend: Cell<Option<u128>>,
}

impl Env for World {
    fn now(&self) -> UnixSeconds {
        UnixSeconds::new(self.now.get())
    }

    fn instructions(&self) -> Instructions {
        self.instructions.set(self.instructions.get() + TICK);
        Instructions::new(self.instructions.get())
    }

    fn heap_bytes(&self) -> Bytes {
        Bytes::new(65_536)
    }

    fn cycles_balance(&self) -> u128 {
        CYCLES
    }

    fn cycles_to_spend(&self) -> Option<u128> {
        self.cycles_to_spend.get()
    }

    fn log(&self, line: &str) {
        self.log.borrow_mut().push(line.to_owned());
    }
}

/// Stable memory that grows no more when it is told so.
#[derive(Clone, Default)]
pub struct TestMemory {
    inner: VectorMemory,
    is_full: Rc<Cell<bool>>,
}

impl Memory for TestMemory {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn grow(&self, pages: u64) -> i64 {
        if pages > 0 && self.is_full.get() {
            return -1;
        }
        self.inner.grow(pages)
    }

    fn read(&self, offset: u64, dst: &mut [u8]) {
        self.inner.read(offset, dst);
    }

    fn write(&self, offset: u64, src: &[u8]) {
        self.inner.write(offset, src);
    }
}

/// A canister and its world.
pub struct Canister {
    memory: TestMemory,
    pub app: App<TestMemory>,
    pub world: World,
}

/// A mainnet canister that `adapter` feeds.
pub fn pushed() -> InitConfig {
    InitConfig {
        network: Some(InitNetwork::Mainnet),
        adapters: Some(vec![adapter()]),
        ..InitConfig::default()
    }
}

/// A mainnet canister that asks the management canister.
pub fn pulling() -> InitConfig {
    InitConfig {
        network: Some(InitNetwork::Mainnet),
        pull: Some(Flag::Enabled),
        ..InitConfig::default()
    }
}

impl Canister {
    pub fn new(config: InitConfig) -> Self {
        Self::try_new(config).unwrap()
    }

    pub fn try_new(config: InitConfig) -> Result<Self, AppError> {
        let memory = TestMemory::default();
        Ok(Self {
            app: App::install(memory.clone(), config)?,
            memory,
            world: World {
                now: Cell::new(NOW),
                instructions: Cell::new(0),
                log: RefCell::default(),
                cycles_to_spend: Cell::default(),
            },
        })
    }

    /// Begins with the genesis block of a network that no configuration names.
    pub fn on(network: Network, config: InitConfig) -> Self {
        let mut canister = Self::new(config.clone());
        let (config, _) = Config::initial(config).unwrap();
        canister.memory = TestMemory::default();
        let store = Store::create(canister.memory.clone(), network).unwrap();
        canister.app = App::with_store(store, config).unwrap();
        canister
    }

    /// Drops the heap and opens the stable memory again.
    pub fn upgrade(&mut self) {
        self.app = App::open(self.memory.clone()).unwrap();
    }

    /// Returns the stable memory as it is.
    pub fn copied_memory(&self) -> TestMemory {
        let bytes = self.memory.inner.borrow().clone();
        TestMemory {
            inner: VectorMemory::new(RefCell::new(bytes)),
            is_full: Rc::default(),
        }
    }

    /// Sets whether stable memory grows no more.
    pub fn set_full(&self, is_full: bool) {
        self.memory.is_full.set(is_full);
    }

    /// Returns what an upgrade now would leave; this canister stays as it is.
    pub fn upgraded_copy(&self) -> Self {
        let memory = self.copied_memory();
        Self {
            app: App::open(memory.clone()).unwrap(),
            memory,
            world: World {
                now: self.world.now.clone(),
                instructions: Cell::new(0),
                log: RefCell::default(),
                cycles_to_spend: Cell::default(),
            },
        }
    }

    pub fn heartbeat(&mut self) -> Option<Ask> {
        self.world.instructions.set(0);
        self.app.begin_message(&self.world);
        self.app.heartbeat(&self.world)
    }

    /// Lets the watchdog wake, as if no heartbeat had ended for as long as it waits.
    pub fn watchdog(&mut self) {
        let now = &self.world.now;
        now.set(now.get() + WATCH_SECONDS);
        self.app.watchdog(&self.world);
    }

    /// Beats until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            self.heartbeat();
            let nothing_queued = self.app.store().queue.is_empty();
            if nothing_queued && self.app.plan().is_none() {
                return;
            }
        }
        panic!("work does not end");
    }

    pub fn push_parts(&mut self, parts: Vec<BlockPart>) -> PushReceipt {
        self.app
            .push_blocks(&self.world, adapter(), &parts)
            .unwrap()
    }

    pub fn push_bytes(&mut self, bytes: &[u8]) -> PartOutcome {
        let receipt = self.push_parts(vec![whole(bytes)]);
        receipt.outcomes.into_iter().next().unwrap()
    }

    /// Pushes blocks, beating whenever there is no room.
    pub fn feed(&mut self, blocks: &[Vec<u8>]) {
        for chunk in blocks.chunks(200) {
            let mut parts: Vec<BlockPart> = chunk.iter().map(|bytes| whole(bytes)).collect();
            while !parts.is_empty() {
                let receipt = self.push_parts(parts.clone());
                let mut outcomes = receipt.outcomes.iter();
                parts.retain(|_| *outcomes.next().unwrap() == PartOutcome::NoRoom);
                self.heartbeat();
            }
        }
        self.settle();
    }

    pub fn feed_state(&self, locator: Vec<BlockHash>) -> FeedState {
        let locator = locator.into_iter().map(convert::hash).collect();
        self.app
            .feed_state(adapter(), &FeedStateArgs { locator })
            .unwrap()
    }

    pub fn tip(&self) -> (BlockHash, u32) {
        let (hash, height) = self.app.tip();
        (hash, height.get())
    }

    pub fn status(&self) -> Status {
        self.app.get_status(&GetStatusArgs::default()).unwrap()
    }

    pub fn chain_tips(&self, at_tip: Option<BlockHash>) -> ChainTips {
        let at_tip = at_tip.map(convert::hash);
        self.app
            .get_chain_tips(&GetChainTipsArgs { at_tip })
            .unwrap()
    }

    pub fn audit(&self) {
        self.app.store().audit().unwrap();
    }

    /// Compares every script of the model at a tip (the best one by default): all pages, balance.
    pub fn assert_equals(&self, model: &Model, at_tip: Option<BlockHash>) {
        let at_tip = at_tip.map(convert::hash);
        for (script, coins) in model.by_script() {
            let owner = Owner::Script(ByteBuf::from(script.to_bytes()));
            let found = self.all_utxos(&owner, at_tip.clone());
            assert_eq!(found, coins, "{script}");
            let balance = self.app.get_balance(&GetBalanceArgs {
                owner,
                min_confirmations: None,
                at_tip: at_tip.clone(),
            });
            let balance = balance.unwrap();
            assert_eq!(balance.utxo_count, coins.len() as u64, "{script}");
            let sum: u64 = coins.iter().map(|coin| coin.value).sum();
            assert_eq!(balance.balance, sum, "{script}");
        }
        if at_tip.is_none() {
            let info = self.app.get_blockchain_info();
            assert_eq!(info.utxos_length, model.coins.len() as u64);
        }
    }

    /// Returns all coins of an owner over all pages.
    pub fn all_utxos(&self, owner: &Owner, at_tip: Option<ByteBuf>) -> Vec<Utxo> {
        let mut args = GetUtxosArgs {
            owner: owner.clone(),
            filter: None,
            at_tip,
            limit: None,
        };
        let mut all = Vec::new();
        loop {
            let page = self.app.get_utxos(&args).unwrap();
            all.extend(page.utxos);
            match page.next_page {
                Some(next) => args.filter = Some(UtxosFilter::Page(next)),
                None => return all,
            }
        }
    }
}

/// A whole block as one part.
pub fn whole(bytes: &[u8]) -> BlockPart {
    let hash = millrace_core::block::decode_header(bytes).map(|header| header.block_hash());
    BlockPart {
        hash: hash.map_or_else(|| ByteBuf::from([0; 32]), convert::hash),
        size: bytes.len() as u32,
        offset: 0,
        bytes: ByteBuf::from(bytes),
    }
}

/// Blocks of a fixture framed by magic and length, without the genesis block.
fn framed(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut blocks = Vec::new();
    let mut rest = bytes.as_slice();
    while let [_, _, _, _, a, b, c, d, after @ ..] = rest {
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        let Some((block, next)) = after.split_at_checked(length) else {
            break;
        };
        blocks.push(block.to_vec());
        rest = next;
    }
    let genesis = millrace_core::Network::Mainnet.genesis_block().block_hash();
    blocks.retain(|block| hash_of(block) != genesis);
    blocks
}

/// Mainnet blocks 1 to 4521.
pub fn real_blocks() -> Vec<Vec<u8>> {
    framed("blocktools/1M.dat")
}

/// Testnet3 blocks 1 to 4000.
pub fn testnet3_blocks() -> Vec<Vec<u8>> {
    framed("dfinity/testnet3_blocks_1_4000.dat")
}

/// Blocks 1 to 2016 of another valid mainnet branch; each pays the same address.
pub fn other_blocks() -> Vec<Vec<u8>> {
    framed("bitcoin-core/mainnet_alt_blocks_1_2016.dat")
}

pub fn hash_of(block: &[u8]) -> BlockHash {
    millrace_core::block::decode_header(block)
        .unwrap()
        .block_hash()
}

/// Changes a block and finds a nonce that meets regtest's target.
pub fn remined(mut block: Block) -> Vec<u8> {
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    while !block.header.target().is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    serialize(&block)
}

/// A naive UTXO set: what a chain of blocks leaves.
#[derive(Default)]
pub struct Model {
    coins: BTreeMap<OutPoint, Utxo>,
    scripts: BTreeMap<ScriptBuf, Vec<OutPoint>>,
}

impl Model {
    /// Computes the set after the genesis block and the given ones.
    pub fn mainnet(blocks: &[Vec<u8>]) -> Self {
        let mut model = Self::default();
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin);
        model.apply(&genesis, 0);
        for (index, block) in blocks.iter().enumerate() {
            model.apply(&deserialize(block).unwrap(), index as u32 + 1);
        }
        model
    }

    fn apply(&mut self, block: &Block, height: u32) {
        for transaction in &block.txdata {
            for input in &transaction.input {
                let spent = self.coins.remove(&input.previous_output);
                assert!(spent.is_some() || transaction.is_coinbase());
            }
            let txid = transaction.compute_txid();
            for (vout, output) in (0..).zip(&transaction.output) {
                let outpoint = OutPoint { txid, vout };
                let utxo = Utxo {
                    outpoint: millrace_candid::OutPoint {
                        txid: ByteBuf::from(AsRef::<[u8]>::as_ref(&txid)),
                        vout,
                    },
                    value: output.value.to_sat(),
                    height,
                    coinbase: transaction.is_coinbase(),
                };
                self.coins.insert(outpoint, utxo);
                let script = output.script_pubkey.clone();
                self.scripts.entry(script).or_default().push(outpoint);
            }
        }
    }

    /// Every script that ever appeared, with its coins in list order.
    fn by_script(&self) -> impl Iterator<Item = (&ScriptBuf, Vec<Utxo>)> {
        self.scripts.iter().map(|(script, outpoints)| {
            let coins = outpoints
                .iter()
                .filter_map(|outpoint| self.coins.get(outpoint));
            let mut coins: Vec<Utxo> = coins.cloned().collect();
            coins.sort_by_key(|coin| {
                let outpoint = coin.outpoint.clone();
                (std::cmp::Reverse(coin.height), outpoint.txid, outpoint.vout)
            });
            (script, coins)
        })
    }
}
