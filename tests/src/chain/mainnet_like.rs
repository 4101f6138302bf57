//! A chain like mainnet's, on regtest: funded by coinbases of many outputs, then blocks of ordinary
//! transactions.

use bitcoin::absolute::LockTime;
use bitcoin::block::Header;
use bitcoin::{
    Amount, Block, Network, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn, TxOut,
    constants, transaction,
};

use super::body::{Body, Growth, Shape};
use super::coins::{Coin, Spendable};
use super::owners::{Named, Owner, Owners, ScriptKind};
use super::random::Random;
use super::spending::{revealing, unlocking};
use crate::mining::{self, BlockPlan};

/// Blocks between halvings of regtest's subsidy.
const HALVING_BLOCKS: u32 = 150;

/// The first subsidy.
const SUBSIDY_SATOSHI: u64 = 5_000_000_000;

/// Inputs in a thousand that spend an output of the same block.
const SAME_BLOCK_PERMILLE: u64 = 120;

/// Outputs in a thousand that carry data and no value.
const DATA_PERMILLE: u64 = 40;

/// Coins of named owners in a thousand that may be spent again.
const NAMED_SPENDABLE_PERMILLE: u64 = 125;

/// What an output should be worth at least; poor transactions get fewer outputs.
const OUTPUT_SATOSHI_MIN: u64 = 1_500;

/// What a named owner gets from a coinbase when the transactions had no room for it.
const PAYOUT_SATOSHI: u64 = 10_000;

/// Highest fee rate, in satoshi per virtual byte.
const FEE_RATE_MAX: u64 = 120;

/// Weight of a block's transactions, at most: room for header, count and coinbase below 4,000,000.
const WEIGHT_MAX: usize = 3_990_000;

/// Bytes of one revealed script, at most.
const REVEALED_BYTES_MAX: usize = 60_000;

/// What a chain is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// First blocks, with nothing but a coinbase.
    pub funding_blocks: u32,
    /// Outputs of each of those coinbases. They mature as on mainnet, so more than 100 such blocks are
    /// needed before a transaction can spend anything.
    pub funding_outputs: u32,
    /// Blocks after those by which the set grows, if any.
    pub growth: Option<Growth>,
    /// Blocks after those.
    pub blocks: u32,
    /// What these hold.
    pub body: Body,
    /// Owners whose number of coins is given.
    pub named: Vec<Named>,
    /// Coins the generator keeps because they may still be spent: about 64 bytes each.
    pub spendable_max: usize,
}

impl Plan {
    /// Blocks of the chain, genesis apart.
    pub const fn length(&self) -> u32 {
        self.before() + self.blocks
    }

    /// Blocks that fund the chain and by which its set grows.
    pub const fn before(&self) -> u32 {
        match self.growth {
            Some(growth) => self.funding_blocks + growth.blocks,
            None => self.funding_blocks,
        }
    }

    /// What the block at a height holds besides its coinbase.
    fn body(&self, height: u32) -> Body {
        let growth = self.growth.filter(|_| height <= self.before());
        growth.map_or(self.body, |growth| growth.body)
    }
}

/// A block and what is in it.
#[derive(Clone, Debug)]
pub struct Made {
    /// The block.
    pub block: Block,
    /// Figures of it.
    pub facts: BlockFacts,
}

/// Figures of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    /// Its height.
    pub height: u32,
    /// Inputs, the coinbase's left out.
    pub inputs: u64,
    /// Outputs, those that nobody can spend included.
    pub outputs: u64,
    /// Bytes with witness data.
    pub bytes: u64,
    /// Unspent outputs after it, genesis' included, without those that start with `OP_RETURN`.
    pub utxos: u64,
}

/// Makes the blocks of a plan, one after the other.
#[derive(Debug)]
pub struct MainnetLike {
    plan: Plan,
    random: Random,
    tip: Header,
    height: u32,
    spendable: Spendable,
    owners: Owners,
    /// Unspent coins of each named owner.
    named_coins: Vec<u32>,
    utxos: u64,
}

/// A block in the making.
#[derive(Default)]
struct Draft {
    transactions: Vec<Transaction>,
    /// Outputs of its transactions that were not spent in it.
    fresh: Vec<Coin>,
    /// Named owners still to be paid.
    due: Vec<Owner>,
    /// Outputs still to come.
    outputs_left: usize,
    fees: u64,
    /// Taproot inputs, by transaction and input: each may reveal a script.
    taproot: Vec<(usize, usize)>,
    bytes: usize,
    weight: usize,
}

impl MainnetLike {
    /// Starts on regtest's genesis block.
    pub fn new(plan: Plan) -> Self {
        let genesis = constants::genesis_block(Network::Regtest);
        Self {
            random: Random::new(plan.seed),
            tip: genesis.header,
            height: 0,
            spendable: Spendable::default(),
            owners: Owners::default(),
            named_coins: vec![0; plan.named.len()],
            utxos: 1,
            plan,
        }
    }

    /// The plan.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Makes the chain longer by blocks like the last ones. Named owners get no more coins until the
    /// longer chain has caught up with what they have.
    pub const fn extend_by(&mut self, blocks: u32) {
        self.plan.blocks += blocks;
    }

    /// The script of an owner.
    pub fn script(&self, owner: Owner) -> ScriptBuf {
        owner.script(self.plan.seed)
    }

    /// Coins that may be spent in the next block: what the generator's memory is used for.
    pub const fn spendable(&self) -> usize {
        self.spendable.len()
    }

    fn funding_outputs(&mut self, draft: &mut Draft) -> Vec<(Owner, TxOut)> {
        let count = self.plan.funding_outputs.max(1) as usize;
        draft.outputs_left = count;
        let values = self.shares(subsidy(self.height), count);
        let outputs = values.into_iter().map(|value| self.output(draft, value));
        outputs.collect()
    }

    fn body(&mut self, draft: &mut Draft) {
        let body = self.plan.body(self.height);
        let target = body.bytes(&mut self.random);
        let shapes = body.shapes(&mut self.random);
        draft.outputs_left = shapes.iter().map(|shape| shape.outputs).sum();
        let mut owed = 0;
        for shape in shapes {
            let wanted = shape.outputs + std::mem::take(&mut owed);
            let made = self.transaction(
                draft,
                Shape {
                    outputs: wanted,
                    ..shape
                },
            );
            owed = wanted - made.min(wanted);
        }
        self.reveal(draft, target);
    }

    /// Adds a transaction and returns how many outputs it has; none when nothing can be spent.
    fn transaction(&mut self, draft: &mut Draft, shape: Shape) -> usize {
        let coins = self.inputs(draft, shape.inputs);
        let total: u64 = coins.iter().map(|coin| coin.satoshi).sum();
        if coins.is_empty() {
            return 0;
        }
        let affordable = usize::try_from(total / OUTPUT_SATOSHI_MIN).unwrap_or(usize::MAX);
        let count = shape.outputs.min(affordable.max(1));
        let seed = self.plan.seed;
        let kinds: Vec<ScriptKind> = coins.iter().map(|coin| coin.owner.kind(seed)).collect();
        let (lock_time, sequence) = self.lock();
        let input = coins.iter().zip(&kinds).map(|(coin, kind)| {
            let (script_sig, witness) = unlocking(*kind, &mut self.random);
            TxIn {
                previous_output: coin.outpoint,
                script_sig,
                sequence,
                witness,
            }
        });
        let mut made = Transaction {
            version: transaction::Version::TWO,
            lock_time,
            input: input.collect(),
            output: Vec::new(),
        };
        let outputs = self.outputs(draft, count);
        made.output = outputs.iter().map(|(_, output)| output.clone()).collect();
        let rate = self.random.spread(FEE_RATE_MAX);
        let fee = (made.vsize() as u64 * rate).min(total / 3);
        self.pay(&mut made, total - fee);
        draft.fees += fee;
        draft.bytes += made.total_size();
        draft.weight += usize::try_from(made.weight().to_wu()).expect("a block's weight fits");
        let index = draft.transactions.len();
        let taproot = kinds.iter().enumerate();
        draft.taproot.extend(
            taproot
                .filter(|(_, kind)| **kind == ScriptKind::P2tr)
                .map(|(input, _)| (index, input)),
        );
        let owners: Vec<Owner> = outputs.into_iter().map(|(owner, _)| owner).collect();
        self.keep(&made, &owners, &mut draft.fresh);
        draft.transactions.push(made);
        count
    }

    /// Takes out coins to spend.
    fn inputs(&mut self, draft: &mut Draft, count: usize) -> Vec<Coin> {
        let is_last = self.height == self.plan.length();
        let mut coins: Vec<Coin> = Vec::with_capacity(count);
        let mut kept: Vec<Coin> = Vec::new();
        while coins.len() < count {
            let same_block = !draft.fresh.is_empty() && self.random.happens(SAME_BLOCK_PERMILLE);
            let coin = if same_block {
                let index = self.random.index(draft.fresh.len());
                Some(draft.fresh.swap_remove(index))
            } else {
                self.spendable.take(self.height, &mut self.random)
            };
            let Some(coin) = coin else { break };
            match coin.owner.position() {
                // Nothing is left to make up for it.
                Some(_) if is_last => kept.push(coin),
                Some(position) => {
                    self.named_coins[position] -= 1;
                    coins.push(coin);
                }
                None => coins.push(coin),
            }
        }
        for coin in kept {
            self.spendable.put_back(coin);
        }
        coins
    }

    /// Outputs without their values.
    fn outputs(&mut self, draft: &mut Draft, count: usize) -> Vec<(Owner, TxOut)> {
        (0..count)
            .map(|position| {
                if position > 0 && self.random.happens(DATA_PERMILLE) {
                    draft.outputs_left = draft.outputs_left.saturating_sub(1);
                    let length = 20 + self.random.index(60);
                    let data = self.random.vector(length);
                    return (Owner::nobody(), data_output(data));
                }
                self.output(draft, 0)
            })
            .collect()
    }

    /// One output: a named owner's as often as is due, else anybody's.
    fn output(&mut self, draft: &mut Draft, satoshi: u64) -> (Owner, TxOut) {
        let left = draft.outputs_left.max(1) as u64;
        draft.outputs_left = draft.outputs_left.saturating_sub(1);
        let owner = if self.random.below(left) < draft.due.len() as u64 {
            let index = self.random.index(draft.due.len());
            draft.due.swap_remove(index)
        } else {
            self.owners.next(&mut self.random)
        };
        (owner, mining::pay(&self.script(owner), satoshi))
    }

    /// Gives the outputs their values.
    fn pay(&mut self, made: &mut Transaction, total: u64) {
        let paid = |output: &&mut TxOut| !output.script_pubkey.is_op_return();
        let count = made.output.iter_mut().filter(paid).count();
        let values = self.shares(total, count);
        for (output, value) in made.output.iter_mut().filter(paid).zip(values) {
            output.value = Amount::from_sat(value);
        }
    }

    /// Splits a sum into `count` parts of very different size.
    fn shares(&mut self, total: u64, count: usize) -> Vec<u64> {
        let weights: Vec<u64> = (0..count).map(|_| 1 << self.random.below(7)).collect();
        let sum: u64 = weights.iter().sum();
        let share = |weight: &u64| {
            let part = u128::from(total) * u128::from(*weight) / u128::from(sum);
            u64::try_from(part).expect("a part of a 64-bit sum")
        };
        let mut values: Vec<u64> = weights.iter().map(share).collect();
        let given: u64 = values.iter().sum();
        if let Some(first) = values.first_mut() {
            *first += total - given;
        }
        values
    }

    /// Notes the spendable outputs of a transaction.
    fn keep(&mut self, made: &Transaction, owners: &[Owner], coins: &mut Vec<Coin>) {
        let txid = made.compute_txid();
        for (vout, (output, owner)) in (0..).zip(made.output.iter().zip(owners)) {
            if output.script_pubkey.is_op_return() {
                continue;
            }
            if let Some(position) = owner.position() {
                self.named_coins[position] += 1;
                if !self.random.happens(NAMED_SPENDABLE_PERMILLE) {
                    continue;
                }
            }
            coins.push(Coin {
                outpoint: OutPoint { txid, vout },
                satoshi: output.value.to_sat(),
                owner: *owner,
            });
        }
    }

    /// Three transactions in ten are locked to the tip's height, as wallets do against fee sniping.
    fn lock(&mut self) -> (LockTime, Sequence) {
        if self.random.happens(300) {
            let height = LockTime::from_height(self.height - 1).expect("a height, not a time");
            return (height, Sequence::ENABLE_RBF_NO_LOCKTIME);
        }
        let is_replaceable = self.random.happens(500);
        let sequence = if is_replaceable {
            Sequence::ENABLE_RBF_NO_LOCKTIME
        } else {
            Sequence::MAX
        };
        (LockTime::ZERO, sequence)
    }

    /// Lets taproot inputs reveal scripts until the block has the bytes it is to have.
    fn reveal(&mut self, draft: &mut Draft, target: usize) {
        let room = WEIGHT_MAX.saturating_sub(draft.weight);
        let mut left = target.saturating_sub(draft.bytes).min(room);
        while left > 200
            && let Some((transaction, input)) = take_random(&mut draft.taproot, &mut self.random)
        {
            let bytes = (300 * self.random.tail(8))
                .min(left - 100)
                .min(REVEALED_BYTES_MAX);
            let is_last = draft.taproot.is_empty();
            let bytes = if is_last { left - 100 } else { bytes };
            let witness = &mut draft.transactions[transaction].input[input].witness;
            let before = witness.size();
            *witness = revealing(bytes, &mut self.random);
            left = left.saturating_sub(witness.size() - before);
        }
    }

    /// Owners whose coins lag behind the plan, once for each coin.
    fn due(&self) -> Vec<Owner> {
        let (height, length) = (u64::from(self.height), u64::from(self.plan.length()));
        let mut due = Vec::new();
        for (position, (named, coins)) in (0..).zip(self.plan.named.iter().zip(&self.named_coins)) {
            let target = (u64::from(named.utxos) * height).div_ceil(length);
            let missing = target.saturating_sub(u64::from(*coins));
            due.extend((0..missing).map(|_| Owner::named(position)));
        }
        due
    }

    /// The coinbase's outputs: what the block earned, and what named owners are still due.
    fn earnings(&mut self, draft: &mut Draft) -> Vec<(Owner, TxOut)> {
        let mut total = subsidy(self.height) + draft.fees;
        let mut outputs = Vec::new();
        for owner in std::mem::take(&mut draft.due) {
            total -= PAYOUT_SATOSHI;
            outputs.push((owner, mining::pay(&self.script(owner), PAYOUT_SATOSHI)));
        }
        let owner = self.owners.next(&mut self.random);
        outputs.insert(0, (owner, mining::pay(&self.script(owner), total)));
        outputs
    }

    fn facts(&mut self, block: &Block) -> BlockFacts {
        let spends = block.txdata.iter().skip(1);
        let inputs: usize = spends.map(|transaction| transaction.input.len()).sum();
        let outputs: usize = block.txdata.iter().map(|made| made.output.len()).sum();
        let all = block.txdata.iter().flat_map(|made| &made.output);
        let puts = all
            .filter(|output| !output.script_pubkey.is_op_return())
            .count();
        self.utxos = self.utxos + puts as u64 - inputs as u64;
        BlockFacts {
            height: self.height,
            inputs: inputs as u64,
            outputs: outputs as u64,
            bytes: block.total_size() as u64,
            utxos: self.utxos,
        }
    }
}

impl Iterator for MainnetLike {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        if self.height == self.plan.length() {
            return None;
        }
        self.height += 1;
        let mut draft = Draft {
            due: self.due(),
            ..Draft::default()
        };
        let coinbase = if self.height <= self.plan.funding_blocks {
            self.funding_outputs(&mut draft)
        } else {
            self.body(&mut draft);
            self.earnings(&mut draft)
        };
        let (owners, coinbase): (Vec<Owner>, Vec<TxOut>) = coinbase.into_iter().unzip();
        let plan = BlockPlan {
            coinbase,
            transactions: draft.transactions,
            time: None,
        };
        let block = mining::assemble(&self.tip, self.height, self.height.into(), plan);
        let mut mined = Vec::new();
        self.keep(&block.txdata[0], &owners, &mut mined);
        let max = self.plan.spendable_max;
        self.spendable
            .add_block(self.height, mined, draft.fresh, max);
        self.tip = block.header;
        let facts = self.facts(&block);
        Some(Made { block, facts })
    }
}

fn take_random<T>(items: &mut Vec<T>, random: &mut Random) -> Option<T> {
    let count = items.len();
    (count > 0).then(|| items.swap_remove(random.index(count)))
}

/// What a block may create besides its fees.
fn subsidy(height: u32) -> u64 {
    SUBSIDY_SATOSHI >> (height / HALVING_BLOCKS).min(63)
}

fn data_output(data: Vec<u8>) -> TxOut {
    let data = bitcoin::script::PushBytesBuf::try_from(data).expect("far below what a push holds");
    mining::pay(
        Script::from_bytes(ScriptBuf::new_op_return(data).as_bytes()),
        0,
    )
}
