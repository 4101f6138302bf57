//! Mines regtest blocks of every kind: good ones of any size, and ones that break one rule each.

use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode,
    TxOut, Witness, transaction,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::flaw::{Flaw, Spot, spoil};
use crate::model::{Claim, Coins, MATURITY, Model};
use crate::payment::{mark, pay, spend_some, subsidy};

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

/// Makes blocks.
#[derive(Clone)]
pub struct Miner {
    /// Whether blocks must keep all consensus rules to be valid.
    pub is_consensus: bool,
    extra_nonce: u64,
}

/// A block about to be put together.
pub(crate) struct Draft {
    pub(crate) header: Header,
    pub(crate) txdata: Vec<Transaction>,
    pub(crate) commits: bool,
    pub(crate) claim: Claim,
    pub(crate) flaw: Option<Flaw>,
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
        include(&mut txdata, &mut coins, wanted);
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
            let spot = Spot {
                model,
                parent,
                coins: &coins,
                now,
                extra_nonce: self.extra_nonce,
            };
            if spoil(&mut draft, flaw, &spot, rng) && !is_refused {
                draft.claim = Claim::Valid;
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
}

/// Adds those transactions whose coins are there, and takes these away.
fn include(txdata: &mut Vec<Transaction>, coins: &mut Coins, wanted: &[Transaction]) {
    for transaction in wanted {
        let inputs: Vec<OutPoint> = {
            let inputs = transaction.input.iter();
            inputs.map(|input| input.previous_output).collect()
        };
        let values: Option<Vec<u64>> = {
            let spent = inputs.iter().map(|outpoint| coins.get(outpoint));
            spent.map(|coin| coin.map(|coin| coin.value)).collect()
        };
        let made: u64 = transaction
            .output
            .iter()
            .map(|output| output.value.to_sat())
            .sum();
        if values.is_some_and(|values| values.iter().sum::<u64>() >= made) {
            coins.retain(|outpoint, _| !inputs.contains(outpoint));
            txdata.push(transaction.clone());
        }
    }
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
