//! What is true: every block that was ever mined, whether it is valid, and the coins after each. Plain
//! maps, no code of the canister.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, OutPoint, ScriptBuf, Txid};
use millrace_candid as wire;
use serde_bytes::ByteBuf;

/// Depth from which a coinbase may be spent.
pub const MATURITY: u32 = 100;

/// How far a header's time may be ahead of the clock, in seconds.
pub const MAX_FUTURE: u64 = 7_200;

/// An unspent output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Its amount in satoshi.
    pub value: u64,
    /// Height of its block.
    pub height: u32,
    /// Whether a coinbase made it.
    pub coinbase: bool,
    /// What locks it.
    pub script: ScriptBuf,
}

/// All unspent outputs at a block.
pub type Coins = BTreeMap<OutPoint, Coin>;

/// What is wrong with a block itself, whatever its ancestors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing.
    Valid,
    /// Its header breaks a rule.
    Header,
    /// No bytes can ever be what its header stands for.
    Bodiless,
    /// The block breaks a rule, its header stands for it.
    Rule,
}

/// A block.
#[derive(Debug)]
pub struct Mined {
    /// Its hash.
    pub hash: BlockHash,
    /// Its parent's place in the list.
    pub parent: Option<usize>,
    /// Its height.
    pub height: u32,
    /// The block.
    pub block: Block,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What is wrong with it.
    pub claim: Claim,
    /// Whether it and all its ancestors are valid.
    pub is_valid: bool,
    /// The coins after it; absent where it is not valid.
    pub coins: Option<Rc<Coins>>,
    /// What its transactions besides the coinbase pay, in thousandths of a satoshi per virtual byte.
    pub rates: Vec<u64>,
}

/// All blocks, in the order in which they were mined; the genesis block first.
#[derive(Clone, Debug)]
pub struct Model {
    blocks: Vec<Rc<Mined>>,
    by_hash: HashMap<BlockHash, usize>,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// Starts with regtest's genesis block.
    pub fn new() -> Self {
        let mut model = Self {
            blocks: Vec::new(),
            by_hash: HashMap::new(),
        };
        let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        model.insert(genesis, None, 0, Claim::Valid);
        model
    }

    /// Adds a block and returns its place. The claim must be right: coins are computed by it.
    ///
    /// # Errors
    /// Where the claim is that the block is valid, but its coins are not there.
    pub fn add(&mut self, block: Block, claim: Claim) -> Result<usize, String> {
        let hash = block.block_hash();
        if let Some(place) = self.by_hash.get(&hash) {
            return Ok(*place);
        }
        let parent = self.by_hash.get(&block.header.prev_blockhash).copied();
        let parent = parent.ok_or_else(|| format!("{hash} has no parent"))?;
        let height = self.blocks[parent].height + 1;
        let place = self.insert(block, Some(parent), height, claim);
        let added = &self.blocks[place];
        if claim == Claim::Valid && self.blocks[parent].is_valid && added.coins.is_none() {
            return Err(format!("{hash} is said to be valid, but its coins are not"));
        }
        Ok(place)
    }

    fn insert(&mut self, block: Block, parent: Option<usize>, height: u32, claim: Claim) -> usize {
        let hash = block.block_hash();
        let before = match parent {
            None => Some(Rc::default()),
            Some(parent) => self.blocks[parent].coins.clone(),
        };
        let after = before
            .filter(|_| claim == Claim::Valid)
            .and_then(|coins| after(&coins, &block, height));
        let (coins, rates) = match after {
            Some((coins, rates)) => (Some(Rc::new(coins)), rates),
            None => (None, Vec::new()),
        };
        self.blocks.push(Rc::new(Mined {
            hash,
            parent,
            height,
            bytes: serialize(&block),
            block,
            claim,
            is_valid: coins.is_some(),
            coins,
            rates,
        }));
        self.by_hash.insert(hash, self.blocks.len() - 1);
        self.blocks.len() - 1
    }

    /// Returns the number of blocks, at least 1.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Returns whether there are no blocks, which never happens.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Returns a block by its place.
    pub fn at(&self, place: usize) -> &Mined {
        &self.blocks[place]
    }

    /// Returns a block by its hash.
    pub fn get(&self, hash: &BlockHash) -> Option<&Mined> {
        self.place(hash).map(|place| self.at(place))
    }

    /// Returns a block's place.
    pub fn place(&self, hash: &BlockHash) -> Option<usize> {
        self.by_hash.get(hash).copied()
    }

    /// Returns the places of the blocks with these bytes in them.
    pub fn places_with(&self, mark: &[u8]) -> impl Iterator<Item = usize> {
        let marked = self.blocks.iter().enumerate();
        marked.filter_map(move |(place, block)| {
            let mut windows = block.bytes.windows(mark.len());
            windows.any(|window| window == mark).then_some(place)
        })
    }

    /// Returns all blocks.
    pub fn blocks(&self) -> &[Rc<Mined>] {
        &self.blocks
    }

    /// Returns the places from `place` down to the genesis block, both included.
    pub fn ancestry(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(place), |place| self.blocks[*place].parent)
    }

    /// Returns whether `ancestor` is `place` or below it.
    pub fn is_ancestor(&self, ancestor: usize, place: usize) -> bool {
        self.ancestor_at(place, self.blocks[ancestor].height) == Some(ancestor)
    }

    /// Returns the ancestor at a height.
    pub fn ancestor_at(&self, place: usize, height: u32) -> Option<usize> {
        self.ancestry(place)
            .find(|place| self.blocks[*place].height <= height)
            .filter(|place| self.blocks[*place].height == height)
    }

    /// Returns the valid blocks of most work among `root` and what is above it. All blocks have the same
    /// work.
    pub fn best_above(&self, root: usize) -> BTreeSet<usize> {
        let valid = |place: &usize| self.blocks[*place].is_valid && self.is_ancestor(root, *place);
        let all: Vec<usize> = (0..self.blocks.len()).filter(valid).collect();
        let top = all.iter().map(|place| self.blocks[*place].height).max();
        all.into_iter()
            .filter(|place| Some(self.blocks[*place].height) == top)
            .collect()
    }

    /// Returns the median of the times of a block and the ten before it.
    pub fn median_time(&self, place: usize) -> u32 {
        let times = self.ancestry(place).take(11);
        let mut times: Vec<u32> = times
            .map(|place| self.blocks[place].block.header.time)
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// Returns the coins that a script locks at a block, as lists show them: newest first.
    pub fn utxos(&self, place: usize, script: &ScriptBuf) -> Vec<wire::Utxo> {
        let coins = self.blocks[place].coins.as_deref();
        let mut found: Vec<wire::Utxo> = coins
            .into_iter()
            .flatten()
            .filter(|(_, coin)| coin.script == *script)
            .map(|(outpoint, coin)| wire::Utxo {
                outpoint: wire::OutPoint {
                    txid: ByteBuf::from(outpoint.txid.to_byte_array()),
                    vout: outpoint.vout,
                },
                value: coin.value,
                height: coin.height,
                coinbase: coin.coinbase,
            })
            .collect();
        found.sort_by(|one, other| {
            let key = |utxo: &wire::Utxo| (utxo.outpoint.txid.clone(), utxo.outpoint.vout);
            other
                .height
                .cmp(&one.height)
                .then_with(|| key(one).cmp(&key(other)))
        });
        found
    }

    /// Returns the sum and the number of each script's coins at a block.
    pub fn balances(&self, place: usize) -> HashMap<&ScriptBuf, (u64, u64)> {
        let mut balances: HashMap<&ScriptBuf, (u64, u64)> = HashMap::new();
        for coin in self.blocks[place]
            .coins
            .iter()
            .flat_map(|coins| coins.values())
        {
            let (sum, count) = balances.entry(&coin.script).or_default();
            *sum += coin.value;
            *count += 1;
        }
        balances
    }

    /// Returns where a transaction is on the chain that ends at a block: the block and the index.
    pub fn find(&self, place: usize, txid: &Txid) -> Option<(usize, usize)> {
        self.ancestry(place).find_map(|place| {
            let mut ids = self.blocks[place].block.txdata.iter();
            let index = ids.position(|transaction| transaction.compute_txid() == *txid)?;
            Some((place, index))
        })
    }
}

/// Returns the coins after a block and what its transactions pay, or `None` when it spends what is not there or makes again what is.
fn after(before: &Coins, block: &Block, height: u32) -> Option<(Coins, Vec<u64>)> {
    let mut coins = before.clone();
    let mut rates = Vec::new();
    for transaction in &block.txdata {
        if !transaction.is_coinbase() {
            let mut paid = 0u64;
            for input in &transaction.input {
                paid += coins.remove(&input.previous_output)?.value;
            }
            let made = transaction
                .output
                .iter()
                .map(|output| output.value.to_sat());
            let fee = paid.saturating_sub(made.sum());
            rates.push(fee * 1_000 / transaction.weight().to_wu().div_ceil(4));
        }
        let txid = transaction.compute_txid();
        for (vout, output) in (0..).zip(&transaction.output) {
            let script = &output.script_pubkey;
            if script.as_bytes().first() == Some(&0x6a) || script.len() > 10_000 {
                continue;
            }
            let coin = Coin {
                value: output.value.to_sat(),
                height,
                coinbase: transaction.is_coinbase(),
                script: script.clone(),
            };
            if coins.insert(OutPoint { txid, vout }, coin).is_some() {
                return None;
            }
        }
    }
    Some((coins, rates))
}
