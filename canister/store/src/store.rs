//! Puts the parts together and keeps them consistent with each other.

use std::collections::BTreeMap;
use std::rc::Rc;

use bitcoin::BlockHash;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use ic_stable_structures::{BTreeMap as StableMap, Memory};
use millrace_core::assembly::{ASSEMBLY_RECORD_BYTES, Assembly, AssemblyKey, AssemblyRecord};
use millrace_core::connect::{BlockConnector, ConnectStep};
use millrace_core::consensus::{BlockPlace, BlockValidation, MedianTimes};
use millrace_core::delta::{Coin, CoinView};
use millrace_core::header::HeaderContext;
use millrace_core::outbox::Outbox;
use millrace_core::scan::ScannedBlock;
use millrace_core::tree::{BlockStatus, Tree};
use millrace_core::{Bytes, Height, Network, OutPoint};

use crate::StoreError;
use crate::blobs::{BlobKey, Blobs};
use crate::cells::{Cells, Counters};
use crate::coins::{CoinRegions, Coins, Progress, View};
use crate::commitments::Commitments;
use crate::counting::CountingMemory;
use crate::fee_rates::FeeCache;
use crate::headers::Headers;
use crate::import::Imports;
use crate::layout::{self, OpenError, Raw, Region};
use crate::nodes::{Loaded, Nodes};
use crate::queue::{Delivered, MAX_PENDING_BLOCKS, MAX_PENDING_BYTES, Queue};
use crate::regions::{RegionMemory, Regions};
use crate::rejections::Rejections;
use crate::transactions::TransactionIndexes;

const ASSEMBLY_KEY_BYTES: usize = 62;

/// Everything the canister keeps.
///
/// Changes of the tree, of counters, of recent rejections and of the assembly become durable with [`Store::flush`],
/// which ends each message; all other changes are durable at once.
pub struct Store<M: Memory> {
    raw: Raw<M>,
    regions: Rc<Regions<M>>,
    network: Network,
    /// Delivered blocks.
    pub queue: Queue<RegionMemory<M>>,
    /// Bytes of blocks.
    pub blobs: Blobs<RegionMemory<M>>,
    /// Where transactions of held blocks are.
    pub transaction_indexes: TransactionIndexes<RegionMemory<M>>,
    /// Headers of the stable chain.
    pub headers: Headers<RegionMemory<M>>,
    /// The UTXO set.
    pub coins: Coins<RegionMemory<M>>,
    /// The commitment to the stable set, where one is kept.
    pub commitments: Commitments<RegionMemory<M>>,
    /// The import of a snapshot, where one was begun.
    pub imports: Imports<RegionMemory<M>>,
    /// Counters.
    pub counters: Counters<RegionMemory<M>>,
    /// The last fee percentiles.
    pub fee_cache: FeeCache<RegionMemory<M>>,
    /// Refused blocks.
    pub rejections: Rejections<RegionMemory<M>>,
    /// Configuration, pull and watchdog state.
    pub cells: Cells<RegionMemory<M>>,
    /// The unstable blocks; a heap form of `nodes`.
    pub tree: Tree,
    pub(crate) nodes: Nodes<RegionMemory<M>>,
    /// Half-received blocks; a heap form of `assembly_records`.
    pub assembly: Assembly,
    pub(crate) assembly_records:
        StableMap<[u8; ASSEMBLY_KEY_BYTES], [u8; ASSEMBLY_RECORD_BYTES], RegionMemory<M>>,
    /// Transactions to relay; a heap form of `outbox_records`.
    pub outbox: Outbox,
    pub(crate) outbox_records: StableMap<[u8; 32], Vec<u8>, RegionMemory<M>>,
    /// Sizes of blocks that are held but not connected.
    held: BTreeMap<BlockHash, u32>,
    held_bytes: Bytes,
}

/// The UTXO set and the chain before the first block.
struct NoCoins;

impl MedianTimes for NoCoins {
    type Error = StoreError;

    fn median_time_past(&self, _: Height) -> Result<Option<u32>, StoreError> {
        Ok(None)
    }
}

impl CoinView for NoCoins {
    type Error = StoreError;

    fn coin(&self, _: &OutPoint) -> Result<Option<Coin>, StoreError> {
        Ok(None)
    }
}

impl<M: Memory> Store<M> {
    /// Creates a store in empty memory. It holds the network's genesis block, stable, its coinbase
    /// counted as the official canister counts it.
    ///
    /// # Errors
    /// [`OpenError::NotEmpty`], [`OpenError::CannotGrow`] or [`OpenError::Store`].
    pub fn create(memory: M, network: Network) -> Result<Self, OpenError> {
        let raw = Rc::new(CountingMemory::new(memory));
        layout::create(&raw, network)?;
        let genesis = network.genesis_block();
        let context = HeaderContext::genesis(network);
        let mut tree = Tree::new(context, network);
        let regions = Regions::open(&raw)?;
        let mut nodes = Nodes::open(regions.get(Region::Nodes), regions.get(Region::Root));
        nodes.apply(&tree.take_changes());
        let mut headers = Headers::open(regions.get(Region::Headers), regions.get(Region::Heights));
        headers.push(&context, Some(1))?;
        let mut coins = Coins::open(coin_regions(&regions))?;
        seed_genesis(&mut coins, &genesis, network)?;
        drop((nodes, headers, coins));
        Ok(Self::load(raw, network, regions)?)
    }

    /// Opens an existing store and rebuilds the heap's caches. Costs O(unstable blocks + queue).
    /// Quarantined blocks, and records that fit nowhere, are deleted; their blocks are wanted
    /// again.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is written then.
    pub fn open(memory: M) -> Result<Self, OpenError> {
        let raw = Rc::new(CountingMemory::new(memory));
        let network = layout::check(&raw)?;
        let regions = Regions::open(&raw)?;
        Ok(Self::load(raw, network, regions)?)
    }

    fn load(raw: Raw<M>, network: Network, regions: Rc<Regions<M>>) -> Result<Self, StoreError> {
        let nodes = Nodes::open(regions.get(Region::Nodes), regions.get(Region::Root));
        let Loaded { tree, dropped } = nodes.load(network)?;
        let assembly_records: StableMap<_, [u8; ASSEMBLY_RECORD_BYTES], _> =
            StableMap::init(regions.get(Region::Assembly));
        let assembly = assembly_records
            .iter()
            .map(|entry| AssemblyRecord::decode(&entry.value()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| StoreError::damaged("half-received block", error))?;
        let outbox_records = StableMap::init(regions.get(Region::Outbox));
        let mut store = Self {
            network,
            queue: Queue::open(regions.get(Region::Queue)),
            blobs: Blobs::open(
                regions.get(Region::BlobIndex),
                regions.get(Region::BlobPages),
            )?,
            transaction_indexes: TransactionIndexes::open(
                regions.get(Region::TransactionIndexes),
                regions.get(Region::TransactionIndexDirectory),
            )?,
            headers: Headers::open(regions.get(Region::Headers), regions.get(Region::Heights)),
            coins: Coins::open(coin_regions(&regions))?,
            commitments: Commitments::open(regions.get(Region::Commitments))?,
            imports: Imports::open(regions.get(Region::Import))?,
            counters: Counters::open(regions.get(Region::Counters)),
            fee_cache: FeeCache::open(regions.get(Region::FeePercentiles)),
            rejections: Rejections::open(
                regions.get(Region::Rejections),
                regions.get(Region::Refused),
            ),
            cells: Cells::open(
                regions.get(Region::Config),
                regions.get(Region::Pull),
                regions.get(Region::Watch),
            ),
            tree,
            nodes,
            assembly: Assembly::restore(assembly),
            assembly_records,
            outbox: crate::outbox::load(&outbox_records)?,
            outbox_records,
            held: BTreeMap::new(),
            held_bytes: Bytes::ZERO,
            regions,
            raw,
        };
        let hashes: Vec<BlockHash> = store.tree.hashes().copied().collect();
        for hash in hashes {
            store.note_held(hash);
        }
        for hash in dropped {
            store.nodes.remove(&hash);
            store.discard(hash);
        }
        store.rejections.forget_quarantined();
        Ok(store)
    }

    /// Returns the network the store was created for.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Returns the raw memory's counter of touched pages.
    pub fn pages(&self) -> &CountingMemory<M> {
        &self.raw
    }

    /// Returns the size of stable memory in bytes.
    pub fn stable_bytes(&self) -> Bytes {
        Bytes::new(self.raw.size().saturating_mul(layout::WASM_PAGE_BYTES))
    }

    /// Makes changes of the tree, counters and recent rejections durable.
    pub fn flush(&mut self) {
        self.flush_tree();
        self.counters.flush();
        self.rejections.flush();
    }

    /// Makes changes of the tree durable and deletes the data of blocks that left it.
    pub fn flush_tree(&mut self) {
        let changes = self.tree.take_changes();
        if changes.puts.is_empty() && changes.removes.is_empty() {
            return;
        }
        self.nodes.apply(&changes);
        for hash in changes.removes {
            self.note_held(hash);
            // An old root is part of the stable chain: its change stays, and its bytes go here.
            self.discard(hash);
        }
        for record in &changes.puts {
            self.note_held(record.hash());
        }
    }

    /// Returns the number and bytes of blocks that are held but not connected.
    pub fn held(&self) -> (u32, Bytes) {
        (
            u32::try_from(self.held.len()).unwrap_or(u32::MAX),
            self.held_bytes,
        )
    }

    /// Returns whether stable memory has room for what a message writes beside blocks and runs; see
    /// [`crate::regions`]. Without it nothing may be admitted and no work done, but what was admitted can be
    /// drained.
    pub fn has_room(&self) -> bool {
        self.regions.has_reserve()
    }

    /// Requires what [`Store::has_room`] tells.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`].
    pub fn require_room(&self) -> Result<(), StoreError> {
        if self.has_room() {
            return Ok(());
        }
        let pages = self.raw.size();
        Err(StoreError::OutOfMemory { pages })
    }

    /// Returns what may still be admitted: blocks and bytes; nothing while a snapshot is imported.
    pub fn free(&self) -> (u32, Bytes) {
        if self.imports.is_under_way() {
            return (0, Bytes::ZERO);
        }
        let queued = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        let (held, held_bytes) = self.held();
        let blocks = MAX_PENDING_BLOCKS.saturating_sub(queued.saturating_add(held));
        let bytes = MAX_PENDING_BYTES.saturating_sub(self.queue.bytes().saturating_add(held_bytes));
        (blocks, bytes)
    }

    /// Puts a block whose bytes are stored under `from` into the queue. The caller has checked
    /// that there is room and that the block is wanted.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn enqueue(&mut self, from: &BlobKey, block: Delivered) -> Result<(), StoreError> {
        let key = BlobKey::Block(block.hash);
        if *from != key {
            self.blobs.rename(from, &key)?;
        }
        self.queue.push(block);
        Ok(())
    }

    /// Returns whether the block needs no delivery: queued, held, connected or stable.
    pub fn is_known(&self, hash: &BlockHash) -> bool {
        let in_tree = self.tree.get(hash).is_some_and(|node| {
            matches!(
                node.status(),
                BlockStatus::BodyHeld | BlockStatus::Connected
            )
        });
        in_tree || self.queue.contains(hash) || self.stable_height(hash).is_some()
    }

    /// Makes a half-received block's bookkeeping durable, or deletes it when it is no longer
    /// tracked.
    pub fn save_half(&mut self, key: &AssemblyKey) {
        let id = assembly_id(key);
        match self.assembly.record(key) {
            Some(record) => {
                self.assembly_records.insert(id, record.encode());
            }
            None => {
                self.assembly_records.remove(&id);
            }
        }
    }

    /// Gives up half-received blocks and their bytes; the assembly no longer tracks them.
    pub fn forget_halves(&mut self, keys: &[AssemblyKey]) {
        for key in keys {
            self.blobs.remove(&BlobKey::Half(*key));
            self.assembly_records.remove(&assembly_id(key));
        }
    }

    /// Cuts the bytes of a held block to the first `length`: what follows is not the block's.
    ///
    /// # Errors
    /// [`StoreError::Missing`] or [`StoreError::Damaged`]; nothing changes then.
    pub fn cut_block(&mut self, hash: BlockHash, length: u32) -> Result<(), StoreError> {
        self.blobs.truncate(&BlobKey::Block(hash), length)?;
        self.note_held(hash);
        Ok(())
    }

    /// Deletes a block's change, and its bytes unless it was delivered again since. Costs the same
    /// for every size.
    pub fn discard(&mut self, hash: BlockHash) {
        let is_held = self.tree.get(&hash).is_some_and(|node| {
            matches!(
                node.status(),
                BlockStatus::BodyHeld | BlockStatus::Connected
            )
        });
        let has_new_bytes = is_held || self.queue.contains(&hash);
        self.blobs.remove(&BlobKey::FeeRates(hash));
        self.transaction_indexes.remove(&hash);
        if !has_new_bytes {
            self.blobs.remove(&BlobKey::Block(hash));
        }
        self.coins.drop_block(&hash);
    }

    /// Does one step of making a connected child of the root the new root, and its change part of the stable
    /// set. Other branches leave the tree first, and their data goes: at most `limit` blocks in one step,
    /// the ends of branches first, so that what a pause leaves is a tree like any other.
    ///
    /// # Errors
    /// [`StoreError`] when the tree or the coins refuse; the root and the stable set did not change then.
    pub fn retire_step(&mut self, child: &BlockHash, limit: usize) -> Result<Progress, StoreError> {
        let node = self.tree.get(child);
        let context = *node
            .ok_or_else(|| StoreError::missing("block", child))?
            .context();
        let is_child = context.header().prev_blockhash == self.tree.root_hash();
        if !is_child || !self.coins.is_complete(child) {
            return Err(StoreError::missing("connected child of the root", child));
        }
        let pruned = self
            .tree
            .prune(child, limit)
            .map_err(|error| StoreError::damaged("tree", error))?;
        self.flush_tree();
        if pruned >= limit {
            return Ok(Progress::More);
        }
        self.coins.retire(child)?;
        self.commitments
            .retire(&context.header().prev_blockhash, child);
        let transactions = self.transaction_indexes.count(child);
        self.headers.push(&context, transactions)?;
        self.tree
            .reroot(child)
            .map_err(|error| StoreError::damaged("tree", error))?;
        self.flush_tree();
        Ok(Progress::Done)
    }

    /// Returns how many transactions a stable or connected block has.
    pub fn transaction_count(&self, hash: &BlockHash) -> Option<u32> {
        let stable = self.headers.height(hash);
        stable
            .and_then(|height| self.headers.transactions(height))
            .or_else(|| self.transaction_indexes.count(hash))
    }

    /// Returns the UTXO set at a connected block of the tree, or `None`.
    pub fn view(&self, tip: &BlockHash) -> Option<View<'_, RegionMemory<M>>> {
        let is_connected = self
            .tree
            .get(tip)
            .is_some_and(|node| node.status() == BlockStatus::Connected);
        is_connected.then(|| self.coins.view(tip)).flatten()
    }

    /// Returns the height of a stable block. Headers of an import that is under way are not stable yet.
    pub fn stable_height(&self, hash: &BlockHash) -> Option<Height> {
        let height = self.headers.height(hash);
        height.filter(|height| *height <= self.anchor_height())
    }

    /// Returns the height of the newest stable block.
    pub fn anchor_height(&self) -> Height {
        self.tree
            .root()
            .map_or(Height::ZERO, |root| root.context().height())
    }

    /// Brings the list of held blocks up to date for one block.
    fn note_held(&mut self, hash: BlockHash) {
        let node = self.tree.get(&hash);
        let is_held = node.is_some_and(|node| node.status() == BlockStatus::BodyHeld);
        let before = if is_held {
            let length = self.blobs.length(&BlobKey::Block(hash)).unwrap_or(0);
            self.held_bytes = self
                .held_bytes
                .saturating_add(Bytes::new(u64::from(length)));
            self.held.insert(hash, length)
        } else {
            self.held.remove(&hash)
        };
        let before = Bytes::new(u64::from(before.unwrap_or(0)));
        self.held_bytes = self.held_bytes.saturating_sub(before);
    }
}

fn coin_regions<M: Memory>(regions: &Rc<Regions<M>>) -> CoinRegions<RegionMemory<M>> {
    CoinRegions {
        runs: regions.get(Region::Runs),
        manifest: regions.get(Region::Manifest),
    }
}

/// Puts the genesis block's coins into the set, as the official canister does: Bitcoin Core leaves
/// them out.
fn seed_genesis<M: Memory>(
    coins: &mut Coins<M>,
    genesis: &bitcoin::Block,
    network: Network,
) -> Result<(), StoreError> {
    let damaged = |detail: String| StoreError::damaged("genesis block", detail);
    let bytes = serialize(genesis);
    let block = ScannedBlock::of(&bytes).map_err(|error| damaged(error.to_string()))?;
    let place = BlockPlace {
        network,
        height: Height::ZERO,
        median_time_past: 0,
    };
    let connector = BlockConnector::start(block, place, BlockValidation::ProofOfWork)
        .map_err(|error| damaged(error.to_string()))?;
    match connector.step(&NoCoins, &NoCoins, usize::MAX) {
        Ok(ConnectStep::Done(connected)) => {
            coins.seed(genesis.header.prev_blockhash, connected.change, &bytes)
        }
        Ok(ConnectStep::More(_)) => Err(damaged("not done".to_owned())),
        Err(error) => Err(damaged(error.to_string())),
    }
}

fn assembly_id(key: &AssemblyKey) -> [u8; ASSEMBLY_KEY_BYTES] {
    let pusher = key.pusher.as_bytes();
    let name: [u8; 29] = crate::record::join(&[pusher]);
    crate::record::join(&[&[pusher.len() as u8], &name, key.hash.as_byte_array()])
}
