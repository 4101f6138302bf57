//! Mines regtest blocks of every kind: good ones of any size, and ones that break one rule each.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Txid, Witness, transaction,
};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::model::{Claim, Coins, MATURITY, MAX_FUTURE, Model};

/// Scripts that coins are paid to.
pub const SCRIPTS: u64 = 10;

/// What a block is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A few transactions.
    Plain,
    /// Only a coinbase.
    Empty,
    /// Some hundred outputs and inputs.
    Surge,
    /// As large as mainnet's.
    Large,
    /// One that breaks a rule, or would in stricter validation.
    Broken(Flaw),
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flaw {
    /// The target is not the network's.
    Bits,
    /// The time is that of the median of the blocks before.
    OldTime,
    /// The time is ahead of the clock: the block is good later.
    FutureTime,
    /// There is no proof of work.
    NoWork,
    /// The transactions do not hash to the merkle root.
    WrongRoot,
    /// The first transaction spends something.
    NoCoinbase,
    /// One transaction is there twice.
    Duplicate,
    /// A coin that never was is spent.
    MissingCoin,
    /// One coin is spent twice in the block.
    DoubleSpend,
    /// A coin is spent that an ancestor spent.
    SpentCoin,
    /// A transaction spends what a later one makes.
    Forward,
    /// The coinbase of an ancestor again, with its coins unspent (BIP30).
    RepeatedCoinbase,
    /// More is paid than was there.
    CreatesValue,
    /// The coinbase takes too much.
    GreedyCoinbase,
    /// A coinbase is spent too early.
    Immature,
    /// The coinbase names another height.
    WrongHeight,
    /// A transaction's lock-time is not over.
    NotFinal,
    /// An input's relative lock is not over.
    RelativeLock,
    /// The version is too old.
    OldVersion,
    /// Too many signature operations.
    Sigops,
    /// Witness data without a commitment.
    UncommittedWitness,
    /// The genesis block's coin is spent.
    SpendsGenesis,
}

impl Flaw {
    /// All flaws.
    pub const ALL: [Self; 22] = [
        Self::Bits,
        Self::OldTime,
        Self::FutureTime,
        Self::NoWork,
        Self::WrongRoot,
        Self::NoCoinbase,
        Self::Duplicate,
        Self::MissingCoin,
        Self::DoubleSpend,
        Self::SpentCoin,
        Self::Forward,
        Self::RepeatedCoinbase,
        Self::CreatesValue,
        Self::GreedyCoinbase,
        Self::Immature,
        Self::WrongHeight,
        Self::NotFinal,
        Self::RelativeLock,
        Self::OldVersion,
        Self::Sigops,
        Self::UncommittedWitness,
        Self::SpendsGenesis,
    ];

    /// Returns whether only consensus validation refuses it.
    const fn is_for_consensus(self) -> bool {
        matches!(
            self,
            Self::CreatesValue
                | Self::GreedyCoinbase
                | Self::Immature
                | Self::WrongHeight
                | Self::NotFinal
                | Self::RelativeLock
                | Self::OldVersion
                | Self::Sigops
                | Self::UncommittedWitness
                | Self::SpendsGenesis
        )
    }
}

/// Makes blocks.
#[derive(Clone)]
pub struct Miner {
    /// Whether blocks must keep all consensus rules to be valid.
    pub is_consensus: bool,
    extra_nonce: u64,
}

/// A block about to be put together.
struct Draft {
    header: Header,
    txdata: Vec<Transaction>,
    commits: bool,
    claim: Claim,
    flaw: Option<Flaw>,
}

impl Miner {
    /// Starts.
    pub const fn new(is_consensus: bool) -> Self {
        Self {
            is_consensus,
            extra_nonce: 0,
        }
    }

    /// Mines a block on the one at `parent`. `wanted` are transactions to be included if their coins are
    /// there; `now` is the time. Returns the block, what is wrong with it, and the flaw it got: not every
    /// one fits everywhere.
    pub fn mine(
        &mut self,
        model: &Model,
        parent: usize,
        kind: Kind,
        wanted: &[Transaction],
        now: u64,
        rng: &mut ChaCha8Rng,
    ) -> (Block, Claim, Option<Flaw>) {
        self.extra_nonce += 1;
        let above = model.at(parent);
        let height = above.height + 1;
        let mut coins = self.spendable(model, parent);
        let mut txdata = vec![self.coinbase(height, rng)];
        let count = match kind {
            Kind::Empty => 0,
            Kind::Surge => rng.random_range(15..40),
            Kind::Large => 40,
            Kind::Plain | Kind::Broken(_) => rng.random_range(0..4),
        };
        for transaction in wanted {
            let inputs = transaction.input.iter().map(|input| input.previous_output);
            let is_there = inputs.clone().all(|outpoint| coins.contains_key(&outpoint));
            let is_value_there = {
                let value: u64 = inputs
                    .clone()
                    .filter_map(|at| coins.get(&at))
                    .map(|coin| coin.value)
                    .sum();
                transaction
                    .output
                    .iter()
                    .map(|output| output.value.to_sat())
                    .sum::<u64>()
                    <= value
            };
            if is_there && is_value_there {
                for outpoint in inputs {
                    coins.remove(&outpoint);
                }
                txdata.push(transaction.clone());
            }
        }
        for _ in 0..count {
            let Some(transaction) = spend_some(&mut coins, height, kind, rng) else {
                break;
            };
            txdata.push(transaction);
        }
        let mut draft = Draft {
            header: Header {
                version: Version::from_consensus(0x2000_0000),
                prev_blockhash: above.hash,
                merkle_root: TxMerkleNode::all_zeros(),
                time: above.block.header.time + rng.random_range(1..40),
                bits: CompactTarget::from_consensus(0x207f_ffff),
                nonce: 0,
            },
            txdata,
            commits: true,
            claim: Claim::Valid,
            flaw: None,
        };
        if let Kind::Broken(flaw) = kind {
            let is_refused = self.is_consensus || !flaw.is_for_consensus();
            if self.spoil(&mut draft, flaw, model, parent, &coins, now, rng) {
                draft.flaw = Some(flaw);
                if !is_refused {
                    draft.claim = Claim::Valid;
                }
            }
        }
        let flaw = draft.flaw;
        let (block, claim) = draft.finish();
        (block, claim, flaw)
    }

    /// Returns a transaction that a block on the one at `parent` could hold.
    pub fn payment(
        &self,
        model: &Model,
        parent: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<Transaction> {
        let mut coins = self.spendable(model, parent);
        spend_some(&mut coins, model.at(parent).height + 1, Kind::Plain, rng)
    }

    /// Returns the coins that a block on `parent` may spend.
    fn spendable(&self, model: &Model, parent: usize) -> Coins {
        let mut coins = model
            .at(parent)
            .coins
            .as_deref()
            .cloned()
            .unwrap_or_default();
        let height = model.at(parent).height + 1;
        let genesis = model.at(0).block.txdata[0].compute_txid();
        coins.retain(|outpoint, coin| {
            let is_mature =
                !self.is_consensus || !coin.coinbase || height - coin.height >= MATURITY;
            is_mature && outpoint.txid != genesis
        });
        coins
    }

    fn coinbase(&self, height: u32, rng: &mut ChaCha8Rng) -> Transaction {
        let outputs = rng.random_range(1..4);
        let share = subsidy(height) / 4;
        Transaction {
            version: transaction::Version::ONE,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::null(),
                script_sig: Builder::new()
                    .push_int(i64::from(height))
                    .push_slice(mark(self.extra_nonce))
                    .into_script(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: (0..outputs).map(|_| pay(rng, share)).collect(),
        }
    }

    /// Breaks a rule. Returns whether the flaw fits here.
    #[expect(clippy::too_many_arguments, reason = "all that a flaw may depend on")]
    fn spoil(
        &self,
        draft: &mut Draft,
        flaw: Flaw,
        model: &Model,
        parent: usize,
        coins: &Coins,
        now: u64,
        rng: &mut ChaCha8Rng,
    ) -> bool {
        let height = model.at(parent).height + 1;
        let any: Vec<OutPoint> = coins.keys().copied().collect();
        let coin = any.choose(rng).copied();
        let spend = |outpoint: OutPoint, satoshi: u64, rng: &mut ChaCha8Rng| {
            transaction(&[outpoint], vec![pay(rng, satoshi)])
        };
        let value = coin.map_or(0, |coin| coins[&coin].value);
        draft.claim = Claim::Rule;
        match (flaw, coin) {
            (Flaw::Bits, _) => {
                draft.header.bits = CompactTarget::from_consensus(0x207f_fffe);
                draft.claim = Claim::Header;
            }
            (Flaw::OldTime, _) => {
                draft.header.time = model.median_time(parent);
                draft.claim = Claim::Header;
            }
            (Flaw::FutureTime, _) => {
                let ahead = MAX_FUTURE + rng.random_range(1..600);
                let time = u32::try_from(now + ahead).unwrap_or(u32::MAX);
                draft.header.time = time.max(model.median_time(parent) + 1);
                draft.claim = Claim::Valid;
            }
            (Flaw::NoWork, _) => draft.claim = Claim::Header,
            (Flaw::WrongRoot, _) => draft.claim = Claim::Bodiless,
            (Flaw::NoCoinbase, Some(coin)) => {
                draft.txdata[0] = spend(coin, value, rng);
            }
            (Flaw::Duplicate, Some(coin)) => {
                let twice = spend(coin, value, rng);
                let odd = draft.txdata.len() % 2 == 0;
                if odd {
                    return restore(draft);
                }
                draft.txdata.extend([twice.clone(), twice]);
            }
            (Flaw::MissingCoin, _) => {
                let txid = Txid::from_byte_array(rng.random());
                draft.txdata.push(spend(OutPoint { txid, vout: 0 }, 1, rng));
            }
            (Flaw::DoubleSpend, Some(coin)) => {
                let (one, other) = (spend(coin, value, rng), spend(coin, value / 2 + 1, rng));
                if one == other {
                    return restore(draft);
                }
                draft.txdata.extend([one, other]);
            }
            (Flaw::SpentCoin, _) => {
                let spent = model.ancestry(parent).take(8).flat_map(|place| {
                    let block = &model.at(place).block;
                    block
                        .txdata
                        .iter()
                        .skip(1)
                        .flat_map(|spending| &spending.input)
                });
                let spent: Vec<OutPoint> = spent.map(|input| input.previous_output).collect();
                let Some(outpoint) = spent.choose(rng).copied() else {
                    return restore(draft);
                };
                draft.txdata.push(spend(outpoint, 1, rng));
            }
            (Flaw::Forward, Some(coin)) => {
                let maker = spend(coin, value, rng);
                let outpoint = OutPoint {
                    txid: maker.compute_txid(),
                    vout: 0,
                };
                draft.txdata.extend([spend(outpoint, 1, rng), maker]);
            }
            (Flaw::RepeatedCoinbase, _) => {
                let place = model.ancestry(parent).nth(rng.random_range(0..4));
                let Some(place) = place.filter(|place| model.at(*place).height > 0) else {
                    return restore(draft);
                };
                let repeated = model.at(place).block.txdata[0].clone();
                let txid = repeated.compute_txid();
                let before = model.at(parent).coins.as_deref();
                let is_unspent = before.is_some_and(|coins| {
                    (0..4).any(|vout| coins.contains_key(&OutPoint { txid, vout }))
                });
                if !is_unspent {
                    return restore(draft);
                }
                // A commitment would be one more output, and the coinbase another one.
                draft.txdata[0] = repeated;
                draft.commits = false;
                for input in draft.txdata.iter_mut().flat_map(|it| &mut it.input) {
                    input.witness.clear();
                }
            }
            (Flaw::CreatesValue, Some(coin)) => {
                draft.txdata.push(spend(coin, value + 1, rng));
            }
            (Flaw::GreedyCoinbase, _) => {
                draft.txdata.truncate(1);
                draft.txdata[0].output.push(pay(rng, subsidy(height)));
            }
            (Flaw::Immature, _) => {
                let all = model.at(parent).coins.as_deref();
                let young: Vec<OutPoint> = all
                    .into_iter()
                    .flatten()
                    .filter(|(_, coin)| coin.coinbase && coin.height > 0)
                    .filter(|(_, coin)| height - coin.height < MATURITY)
                    .filter(|(at, _)| is_unspent_in(draft, at))
                    .map(|(outpoint, _)| *outpoint)
                    .collect();
                let Some(outpoint) = young.choose(rng).copied() else {
                    return restore(draft);
                };
                draft.txdata.push(spend(outpoint, 1, rng));
            }
            (Flaw::WrongHeight, _) => {
                draft.txdata[0].input[0].script_sig = Builder::new()
                    .push_int(i64::from(height) + 1)
                    .push_slice(mark(self.extra_nonce))
                    .into_script();
            }
            (Flaw::NotFinal, Some(coin)) => {
                let mut late = spend(coin, value, rng);
                late.lock_time = LockTime::from_consensus(height);
                late.input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
                draft.txdata.push(late);
            }
            (Flaw::RelativeLock, Some(coin)) => {
                let mut locked = spend(coin, value, rng);
                let age = height - coins[&coin].height;
                let Ok(age) = u16::try_from(age + 1) else {
                    return restore(draft);
                };
                locked.input[0].sequence = Sequence::from_height(age);
                draft.txdata.push(locked);
            }
            (Flaw::OldVersion, _) => draft.header.version = Version::from_consensus(3),
            (Flaw::Sigops, Some(coin)) => {
                let costly = ScriptBuf::from_bytes(vec![0xae; 1_001]);
                let mut heavy = spend(coin, value, rng);
                heavy.output[0].script_pubkey = costly;
                draft.txdata.push(heavy);
            }
            (Flaw::UncommittedWitness, Some(coin)) => {
                let mut bare = spend(coin, value, rng);
                bare.input[0].witness.push([7; 9]);
                draft.txdata.push(bare);
                draft.commits = false;
                draft.claim = Claim::Bodiless;
            }
            (Flaw::SpendsGenesis, _) => {
                let txid = model.at(0).block.txdata[0].compute_txid();
                let outpoint = OutPoint { txid, vout: 0 };
                let before = model.at(parent).coins.as_deref();
                if before.is_none_or(|coins| !coins.contains_key(&outpoint)) {
                    return restore(draft);
                }
                draft.txdata.push(spend(outpoint, 1, rng));
            }
            (_, None) => return restore(draft),
        }
        draft.flaw = Some(flaw);
        true
    }
}

fn restore(draft: &mut Draft) -> bool {
    draft.claim = Claim::Valid;
    false
}

fn is_unspent_in(draft: &Draft, outpoint: &OutPoint) -> bool {
    let mut inputs = draft.txdata.iter().flat_map(|spending| &spending.input);
    inputs.all(|input| input.previous_output != *outpoint)
}

impl Draft {
    fn finish(self) -> (Block, Claim) {
        let Self {
            header,
            txdata,
            commits,
            claim,
            flaw,
        } = self;
        let mut block = Block { header, txdata };
        if commits {
            commit_to_witnesses(&mut block);
        }
        block.header.merkle_root = match block.compute_merkle_root() {
            Some(_) if flaw == Some(Flaw::WrongRoot) => TxMerkleNode::from_byte_array([9; 32]),
            Some(root) => root,
            None => TxMerkleNode::all_zeros(),
        };
        let target = block.header.target();
        let wants_work = flaw != Some(Flaw::NoWork);
        while target.is_met_by(block.block_hash()) != wants_work {
            block.header.nonce += 1;
        }
        (block, claim)
    }
}

/// Adds BIP141's commitment where a transaction carries witness data.
fn commit_to_witnesses(block: &mut Block) {
    let mut inputs = block.txdata.iter().flat_map(|spending| &spending.input);
    let is_coinbase = block.txdata.first().is_some_and(Transaction::is_coinbase);
    if !is_coinbase || inputs.all(|input| input.witness.is_empty()) {
        return;
    }
    block.txdata[0].input[0].witness = Witness::from_slice(&[[0; 32]]);
    let Some(root) = block.witness_root() else {
        return;
    };
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let mut data = [0; 36];
    data[..4].copy_from_slice(&[0xaa, 0x21, 0xa9, 0xed]);
    data[4..].copy_from_slice(commitment.as_byte_array());
    block.txdata[0].output.push(TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::new_op_return(data),
    });
}

/// Spends one to three coins, takes them out of `coins` and puts what it makes in.
fn spend_some(
    coins: &mut Coins,
    height: u32,
    kind: Kind,
    rng: &mut ChaCha8Rng,
) -> Option<Transaction> {
    let mut inputs = Vec::new();
    let mut value = 0u64;
    for _ in 0..rng.random_range(1..4) {
        if coins.is_empty() {
            break;
        }
        let at = rng.random_range(0..coins.len());
        let outpoint = coins.keys().nth(at).copied()?;
        value = value.checked_add(coins.remove(&outpoint)?.value)?;
        inputs.push(outpoint);
    }
    if inputs.is_empty() {
        return None;
    }
    let fee = rng.random_range(0..=value.min(10_000));
    let count = match kind {
        Kind::Surge => rng.random_range(1..16),
        Kind::Large => 120,
        _ => rng.random_range(1..5),
    };
    let share = (value - fee) / count;
    let mut output: Vec<TxOut> = (0..count).map(|_| pay(rng, share)).collect();
    if rng.random_ratio(1, 10) {
        output.push(TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::new_op_return([rng.random(); 20]),
        });
    }
    let mut spending = transaction(&inputs, output);
    let witness = match kind {
        Kind::Large => 40_000,
        _ if rng.random_ratio(1, 4) => rng.random_range(1..200),
        _ => 0,
    };
    if witness > 0 {
        spending.input[0].witness.push(vec![rng.random(); witness]);
    }
    // Later transactions of the block may spend what this one makes.
    let txid = spending.compute_txid();
    for (vout, output) in (0..).zip(&spending.output) {
        if !output.script_pubkey.is_op_return() {
            let coin = crate::model::Coin {
                value: output.value.to_sat(),
                height,
                coinbase: false,
                script: output.script_pubkey.clone(),
            };
            coins.insert(OutPoint { txid, vout }, coin);
        }
    }
    Some(spending)
}

fn transaction(inputs: &[OutPoint], output: Vec<TxOut>) -> Transaction {
    let input = inputs.iter().map(|outpoint| TxIn {
        previous_output: *outpoint,
        sequence: Sequence::MAX,
        ..TxIn::default()
    });
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: input.collect(),
        output,
    }
}

fn pay(rng: &mut ChaCha8Rng, satoshi: u64) -> TxOut {
    TxOut {
        value: Amount::from_sat(satoshi),
        script_pubkey: script(rng.random_range(0..SCRIPTS)),
    }
}

/// Returns one of the scripts that coins are paid to; the last two have no address.
pub fn script(number: u64) -> ScriptBuf {
    let byte = number as u8;
    match SCRIPTS - number {
        1 => Builder::new()
            .push_slice([3; 33])
            .push_opcode(bitcoin::opcodes::all::OP_CHECKSIG)
            .into_script(),
        2 => ScriptBuf::from_bytes(vec![0x51; 300]),
        _ => ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array([byte; 20])),
    }
}

/// New money at a height of regtest.
const fn subsidy(height: u32) -> u64 {
    5_000_000_000 >> (height / 150)
}

/// The bytes by which a block's body is recognised.
pub fn mark(extra_nonce: u64) -> [u8; 16] {
    let mut bytes = *b"sim mark........";
    bytes[8..].copy_from_slice(&extra_nonce.to_le_bytes());
    bytes
}

/// Returns those bytes of a block.
pub fn mark_of(block: &Block) -> Option<Vec<u8>> {
    let script = &block.txdata.first()?.input.first()?.script_sig;
    let bytes = script.as_bytes();
    bytes
        .get(bytes.len().checked_sub(16)?..)
        .map(<[u8]>::to_vec)
}
