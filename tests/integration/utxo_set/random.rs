//! A chain that branches at random, of blocks that Bitcoin Core accepts.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{Block, BlockHash, ScriptBuf, Transaction, TxOut};
use millrace_tests::mining::{BlockPlan, Miner, pay};

use super::locks::{Coin, Lock, Owner};

/// Blocks that a coinbase's outputs must wait.
const MATURITY: u32 = 100;

/// Blocks after which regtest's subsidy halves.
const HALVING: u32 = 150;

/// Blocks below the newest one whose coins are remembered.
const KEPT: u32 = 150;

/// Longest branch that is overtaken.
const MAX_REORG: usize = 3;

/// See the module's documentation.
pub struct RandomChain {
    miner: Miner,
    owner: Owner,
    tip: BlockHash,
    /// Coins that can be spent after each block.
    coins: BTreeMap<BlockHash, Vec<Coin>>,
    made: BTreeSet<Lock>,
    spent: BTreeSet<Lock>,
    /// Coins spent in the block that makes them; coinbases that take less than they may; branches.
    passed: usize,
    unclaimed: usize,
    reorgs: usize,
    /// Transactions for a block to come.
    included: Vec<Transaction>,
    state: u64,
}

impl RandomChain {
    pub fn new(seed: u64) -> Self {
        let miner = Miner::new();
        let tip = miner.tree.genesis();
        Self {
            miner,
            owner: Owner::new(),
            tip,
            coins: BTreeMap::from([(tip, Vec::new())]),
            made: BTreeSet::new(),
            spent: BTreeSet::new(),
            passed: 0,
            unclaimed: 0,
            reorgs: 0,
            included: Vec::new(),
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 24) as usize % end
    }

    /// Makes blocks, those of branches that are overtaken included, until the chain is so much higher.
    pub fn grow(&mut self, blocks: usize) -> Vec<Block> {
        let mut made = Vec::new();
        let goal = self.miner.tree.height(self.tip) + u32::try_from(blocks).expect("a few");
        while self.miner.tree.height(self.tip) < goal {
            let is_fork = self.miner.tree.height(self.tip) > 10 && self.below(6) == 0;
            let depth = if is_fork {
                1 + self.below(MAX_REORG)
            } else {
                0
            };
            let mut parent = self.tip;
            for _ in 0..depth {
                parent = self.miner.tree.block(parent).header.prev_blockhash;
            }
            for _ in 0..=depth {
                parent = self.mine(parent);
                made.push(self.miner.tree.block(parent).clone());
            }
            self.reorgs += usize::from(is_fork);
            self.tip = parent;
        }
        made
    }

    /// Makes a branch that forks off `depth` blocks below the tip and is longer by one.
    pub fn branch_off(&mut self, depth: usize) -> Vec<Block> {
        let mut parent = self.tip;
        for _ in 0..depth {
            parent = self.miner.tree.block(parent).header.prev_blockhash;
        }
        let mut made = Vec::new();
        for _ in 0..=depth {
            parent = self.mine(parent);
            made.push(self.miner.tree.block(parent).clone());
        }
        self.tip = parent;
        made
    }

    /// The blocks of the best chain, lowest first, without genesis.
    pub fn best_chain(&self) -> Vec<Block> {
        self.miner.chain(self.tip).into_iter().cloned().collect()
    }

    /// A payment that a memory pool takes: a coin that a key locks, to a key, for a fee that is enough. The coin
    /// stays in this chain's books until the payment is [included](Self::include).
    pub fn standard_payment(&self) -> Transaction {
        let height = self.miner.tree.height(self.tip) + 1;
        let coins = self.coins[&self.tip].iter();
        let coin = coins
            .filter(|coin| coin.mature <= height && coin.lock == Lock::WitnessKeyHash)
            .max_by_key(|coin| coin.satoshi)
            .expect("a coin that a key locks");
        let outputs = vec![pay(
            &self.owner.script(Lock::WitnessKeyHash),
            coin.satoshi - 10_000,
        )];
        self.owner.spend(&[*coin], outputs)
    }

    /// Keeps a transaction for the next [`Self::mine_included`].
    pub fn include(&mut self, transaction: Transaction) {
        self.included.push(transaction);
    }

    /// Mines a block of the transactions that were included.
    pub fn mine_included(&mut self) -> Block {
        let transactions = std::mem::take(&mut self.included);
        let spent: Vec<bitcoin::OutPoint> = transactions
            .iter()
            .flat_map(|transaction| &transaction.input)
            .map(|input| input.previous_output)
            .collect();
        let mut coins = self.coins[&self.tip].clone();
        coins.retain(|coin| !spent.contains(&coin.outpoint));
        let plan = BlockPlan {
            coinbase: vec![pay(&self.owner.script(Lock::True), 0)],
            transactions,
            time: None,
        };
        self.tip = self.miner.mine(self.tip, plan);
        self.coins.insert(self.tip, coins);
        self.miner.tree.block(self.tip).clone()
    }

    /// The hash of the best block.
    pub const fn tip(&self) -> BlockHash {
        self.tip
    }

    fn mine(&mut self, parent: BlockHash) -> BlockHash {
        let height = self.miner.tree.height(parent) + 1;
        let mut coins = self.coins[&parent].clone();
        let mut transactions = Vec::new();
        let mut fees = 0;
        for _ in 0..self.below(6) {
            let spent = self.choose(&mut coins, height);
            if spent.is_empty() {
                break;
            }
            self.passed += spent.iter().filter(|coin| coin.made == height).count();
            let sum: u64 = spent.iter().map(|coin| coin.satoshi).sum();
            let fee = sum.min(self.below(1_000) as u64);
            let locks: Vec<Lock> = (0..1 + self.below(5)).map(|_| self.lock()).collect();
            let outputs = self.outputs(&locks, sum - fee);
            fees += fee;
            self.spent.extend(spent.iter().map(|coin| coin.lock));
            let transaction = self.owner.spend(&spent, outputs.clone());
            let txid = transaction.compute_txid();
            coins.extend(new_coins(txid, &locks, &outputs, (height, 0)));
            transactions.push(transaction);
        }
        let subsidy = 5_000_000_000_u64 >> (height / HALVING);
        let unclaimed = if self.below(3) == 0 {
            1 + self.below(5_000)
        } else {
            0
        };
        self.unclaimed += usize::from(unclaimed > 0);
        let locks: Vec<Lock> = (0..1 + self.below(3)).map(|_| self.lock()).collect();
        let coinbase = self.outputs(&locks, subsidy + fees - unclaimed as u64);
        let plan = BlockPlan {
            coinbase: coinbase.clone(),
            transactions,
            time: None,
        };
        let hash = self.miner.mine(parent, plan);
        let txid = self.miner.tree.block(hash).txdata[0].compute_txid();
        coins.extend(new_coins(txid, &locks, &coinbase, (height, MATURITY)));
        self.coins.insert(hash, coins);
        // No branch begins so far down.
        let tree = &self.miner.tree;
        let kept = |hash: &BlockHash| tree.height(*hash) + KEPT > height;
        self.coins.retain(|hash, _| kept(hash));
        hash
    }

    /// Mines a block of one transaction with so many outputs of equal amounts. Nobody
    /// spends them.
    pub fn fan_out(&mut self, outputs: usize, mut script: impl FnMut() -> ScriptBuf) -> Block {
        let parent = self.tip;
        let height = self.miner.tree.height(parent) + 1;
        let mut coins = self.coins[&parent].clone();
        let richest = (0..coins.len())
            .filter(|at| coins[*at].mature <= height)
            .max_by_key(|at| coins[*at].satoshi);
        let spent = coins.remove(richest.expect("a coin that can be spent"));
        let part = spent.satoshi / outputs as u64;
        let outputs = (0..outputs).map(|_| pay(&script(), part)).collect();
        let transaction = self.owner.spend(&[spent], outputs);
        let plan = BlockPlan {
            coinbase: vec![pay(&self.owner.script(Lock::True), 0)],
            transactions: vec![transaction],
            time: None,
        };
        self.tip = self.miner.mine(parent, plan);
        self.coins.insert(self.tip, coins);
        self.miner.tree.block(self.tip).clone()
    }

    /// Takes one to three coins, if there are any.
    fn choose(&mut self, coins: &mut Vec<Coin>, height: u32) -> Vec<Coin> {
        let mut spent = Vec::new();
        for _ in 0..1 + self.below(3) {
            let mature = (0..coins.len()).filter(|at| coins[*at].mature <= height);
            let mature: Vec<usize> = mature.collect();
            if mature.is_empty() {
                break;
            }
            let at = mature[self.below(mature.len())];
            spent.push(coins.remove(at));
        }
        spent
    }

    fn lock(&mut self) -> Lock {
        let lock = Lock::ALL[self.below(Lock::ALL.len())];
        self.made.insert(lock);
        lock
    }

    /// Splits a sum into outputs; some are of nothing.
    fn outputs(&mut self, locks: &[Lock], sum: u64) -> Vec<TxOut> {
        let mut left = sum;
        let last = locks.len() - 1;
        let mut outputs = Vec::new();
        for (at, lock) in locks.iter().enumerate() {
            let part = match self.below(4) {
                _ if at == last => left,
                0 => 0,
                part => left / (part as u64 + 1),
            };
            left -= part;
            outputs.push(pay(&self.owner.script(*lock), part));
        }
        outputs
    }

    /// Fails when something that the test is about never happened.
    pub fn assert_covers_everything(&self) {
        assert_eq!(self.made.len(), Lock::ALL.len(), "{:?}", self.made);
        let spendable = Lock::ALL.into_iter().filter(|lock| lock.can_be_spent());
        let missing: Vec<Lock> = spendable
            .filter(|lock| !self.spent.contains(lock))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(self.passed > 5 && self.unclaimed > 20 && self.reorgs > 20);
    }
}

fn new_coins<'a>(
    txid: bitcoin::Txid,
    locks: &'a [Lock],
    outputs: &'a [TxOut],
    (made, wait): (u32, u32),
) -> impl Iterator<Item = Coin> + 'a {
    let outputs = (0..).zip(locks.iter().zip(outputs));
    let spendable = outputs.filter(|(_, (lock, _))| lock.can_be_spent());
    spendable.map(move |(vout, (lock, output))| Coin {
        outpoint: bitcoin::OutPoint { txid, vout },
        lock: *lock,
        satoshi: output.value.to_sat(),
        made,
        mature: made + wait,
    })
}
