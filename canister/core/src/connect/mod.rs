//! Connects a scanned block: looks up what it spends, judges it, and orders its change of the
//! UTXO set. All in steps of bounded work.
//!
//! Coins are looked up in the order of their outpoints, which is the order in which a store of
//! sorted runs holds them: neighbours come from the same page, and no page is read twice. Coins
//! that the block itself made are found by merging both orders; they cost no look-up.

mod change;

use std::cmp::Ordering;

use bitcoin::{Amount, OutPoint};

use crate::consensus::rules::{Rules, Spent, check_weight, commits_to};
use crate::consensus::{
    BlockPlace, BlockValidation, ConnectError, ConsensusError, MedianTimes, WitnessData,
};
use crate::delta::{DeltaError, PriorCoin, PriorCoins, may_overwrite_unspent};
use crate::deployments::Deployments;
use crate::fees::{BlockFees, TransactionFee};
use crate::network::Network;
use crate::scan::{ScannedBlock, ScannedCoin, ScannedInput};

use change::inputs_by_outpoint;

pub use change::{BlockChange, CoinEvent, CoinPosition, ScriptEvent, SpentCoin};

/// A block on its way into the chain, part-way.
///
/// It holds nothing that cannot be recomputed: drop it at any time and start again.
#[derive(Clone, Debug)]
pub struct BlockConnector {
    block: ScannedBlock,
    place: BlockPlace,
    /// `None` under [`BlockValidation::ProofOfWork`].
    rules: Option<Rules>,
    witness: WitnessData,
    /// Indices of inputs in the order of what they spend.
    order: Vec<(u64, u32)>,
    stage: Stage,
    /// Position in the order of transaction ids, of the first that is not below the last input's.
    maker: usize,
    spends: Vec<SpentCoin>,
    /// For each coin of the block whether the block spends it again.
    passed: Vec<bool>,
    /// Value of the coins each transaction spends, in satoshi.
    paid: Vec<u128>,
}

/// What is looked up next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The coin that this input of the order spends.
    Input(usize),
    /// Whether this coin of the block replaces another one (BIP30).
    Coin(usize),
}

/// What a step of a [`BlockConnector`] led to.
#[derive(Debug)]
pub enum ConnectStep {
    /// The budget ran out; call again.
    More(Box<BlockConnector>),
    /// The block keeps all rules it was to be judged by.
    Done(Box<ConnectedBlock>),
}

fn done(block: ConnectedBlock) -> ConnectStep {
    ConnectStep::Done(Box::new(block))
}

/// A block that may be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedBlock {
    /// Its change of the UTXO set.
    pub change: BlockChange,
    /// What its transactions pay.
    pub fees: BlockFees,
    /// Whether its virtual sizes are exact.
    pub witness: WitnessData,
}

impl BlockConnector {
    /// Starts with a block at its place; under [`BlockValidation::Consensus`] one whose scan
    /// judged transactions. Costs a look at each transaction, a sort of the inputs, and a double
    /// SHA-256 for each transaction where the block commits to witnesses.
    ///
    /// # Errors
    /// [`ConsensusError`] when the block alone breaks a rule; under
    /// [`BlockValidation::ProofOfWork`], which compares no witness commitment, only
    /// [`ConsensusError::TooHeavy`].
    pub fn start(
        mut block: ScannedBlock,
        place: BlockPlace,
        validation: BlockValidation,
    ) -> Result<Self, ConsensusError> {
        let rules = match validation {
            BlockValidation::ProofOfWork => {
                check_weight(block.weight(), false)?;
                None
            }
            BlockValidation::Consensus => Some(Rules::start(&mut block, place)?),
        };
        let has_segwit = place.height >= Deployments::of(place.network).segwit;
        let scanned = block.witness();
        let witness = match (scanned.commitment.filter(|_| has_segwit), scanned.first) {
            (Some(_), None) => WitnessData::Stripped,
            _ => WitnessData::Complete,
        };
        Ok(Self {
            place,
            rules,
            witness,
            order: inputs_by_outpoint(&block),
            stage: Stage::Input(0),
            maker: 0,
            spends: Vec::new(),
            passed: vec![false; block.coins().len()],
            paid: vec![0; block.transactions().len()],
            block,
        })
    }

    /// Returns the block.
    pub const fn block(&self) -> &ScannedBlock {
        &self.block
    }

    /// Returns what will be looked up: the coins that it spends and does not make itself, and where
    /// it matters also the names of those it makes. A coin that is spent twice is there twice.
    pub fn look_ups(&self) -> impl Iterator<Item = OutPoint> {
        let mut makers = self.block.by_txid().iter().peekable();
        let inputs = self.order.iter();
        let inputs = inputs.filter_map(|(_, index)| self.block.inputs().get(*index as usize));
        let spent = inputs.map(ScannedInput::outpoint).filter(move |outpoint| {
            let txid = |maker: u32| self.block.txids().get(maker as usize);
            while makers
                .next_if(|maker| txid(**maker) < Some(&outpoint.txid))
                .is_some()
            {}
            makers.peek().and_then(|maker| txid(**maker)) != Some(&outpoint.txid)
        });
        let is_checked = self.needs_overwrite_check();
        let by_txid = self.block.by_txid().iter();
        let made = by_txid.flat_map(|index| self.block.coins_of(*index));
        let made = made.filter(move |_| is_checked);
        spent.chain(made.map(|coin| self.outpoint(coin)))
    }

    /// Looks at up to `budget` inputs and coins (at least one, so that every call progresses).
    ///
    /// Each costs at most one look-up of a coin and one of a time. The
    /// last step costs a look at each transaction and a sort of the change.
    ///
    /// # Errors
    /// [`ConnectError`]; see [`ConnectError::condemns_block`].
    pub fn step<C: PriorCoins, T: MedianTimes<Error = C::Error>>(
        mut self,
        coins: &C,
        times: &T,
        budget: usize,
    ) -> Result<ConnectStep, ConnectError<C::Error>> {
        for _ in 0..budget.max(1) {
            self.stage = match self.stage {
                Stage::Input(at) => match self.order.get(at) {
                    Some((_, index)) => {
                        self.input(*index, at, coins, times)?;
                        Stage::Input(at + 1)
                    }
                    None if self.needs_overwrite_check() => Stage::Coin(0),
                    None => return self.finish().map(done),
                },
                Stage::Coin(at) if at < self.block.coins().len() => {
                    self.check_overwrite(at, coins)?;
                    Stage::Coin(at + 1)
                }
                Stage::Coin(_) => return self.finish().map(done),
            };
        }
        Ok(ConnectStep::More(Box::new(self)))
    }

    fn input<C: PriorCoins, T: MedianTimes<Error = C::Error>>(
        &mut self,
        index: u32,
        at: usize,
        coins: &C,
        times: &T,
    ) -> Result<(), ConnectError<C::Error>> {
        let Some(input) = self.block.inputs().get(index as usize).copied() else {
            return Ok(());
        };
        let txid = self.block.txid(input.transaction);
        let outpoint = input.outpoint();
        let before = at.checked_sub(1).and_then(|at| self.order.get(at));
        let before = before.and_then(|(_, index)| self.block.inputs().get(*index as usize));
        if let Some(before) = before.filter(|before| before.outpoint() == outpoint) {
            return Err(self.spent_twice(before, &input));
        }
        let (spent, satoshi) = match self.spend_own(&input) {
            Some(own) => own,
            None => {
                let coin = coins.prior(&outpoint).map_err(DeltaError::View)?;
                let coin = coin.ok_or(DeltaError::MissingCoin { txid, outpoint })?;
                self.spends.push(spend_of(&outpoint, &coin));
                (Spent::from(&coin), coin.satoshi)
            }
        };
        if let Some(paid) = self.paid.get_mut(input.transaction as usize) {
            // Fewer than 2^32 inputs of less than 2^64 each.
            *paid += u128::from(satoshi);
        }
        match &mut self.rules {
            Some(rules) => rules.spend(txid, &input, spent, times),
            None => Ok(()),
        }
    }

    /// Finds the coin among those that earlier transactions of the block made, and marks it spent.
    /// Inputs come in the order of ids, so the search goes on where it ended.
    fn spend_own(&mut self, input: &ScannedInput) -> Option<(Spent, u64)> {
        let maker = loop {
            let maker = *self.block.by_txid().get(self.maker)?;
            match self.block.txids().get(maker as usize)?.cmp(&input.txid) {
                Ordering::Less => self.maker += 1,
                Ordering::Equal => break maker,
                Ordering::Greater => return None,
            }
        };
        if maker >= input.transaction {
            return None;
        }
        let own = self.block.coins_of(maker);
        let at = own
            .binary_search_by_key(&input.vout, |coin| coin.vout)
            .ok()?;
        let coin = own.get(at)?;
        let transaction = self.block.transactions().get(maker as usize)?;
        let spent = Spent {
            height: self.place.height,
            coinbase: coin.coinbase,
            lock: coin.lock,
        };
        *self.passed.get_mut(transaction.first_coin as usize + at)? = true;
        Some((spent, coin.satoshi))
    }

    fn spent_twice<E>(&self, first: &ScannedInput, second: &ScannedInput) -> ConnectError<E> {
        let txid = self.block.txid(second.transaction);
        let outpoint = second.outpoint();
        if self.rules.is_some() && first.transaction == second.transaction {
            ConsensusError::DuplicateInput { txid, outpoint }.into()
        } else {
            DeltaError::DoubleSpend { txid, outpoint }.into()
        }
    }

    /// Returns whether each new coin must be looked up to be sure it replaces no unspent one
    /// (BIP30).
    ///
    /// Not where every coinbase of the block starts with its height (BIP34) and those before did:
    /// ids cannot repeat then, which saves one look-up per output. Where only proof of work is
    /// checked, and on regtest, anyone can have made a coinbase with a later height.
    fn needs_overwrite_check(&self) -> bool {
        let BlockPlace {
            network, height, ..
        } = self.place;
        let mut coinbases = self.block.coinbases().iter();
        self.rules.is_none()
            || matches!(network, Network::Regtest)
            || !network.unique_coinbase_heights().contains(&height.get())
            || coinbases.any(|start| !commits_to(start, height))
    }

    /// Looks up whether the coin at `at` of those in the order of ids replaces one.
    fn check_overwrite<C: PriorCoins>(
        &mut self,
        at: usize,
        coins: &C,
    ) -> Result<(), ConnectError<C::Error>> {
        let Some(coin) = self.block.coins().get(at) else {
            return Ok(());
        };
        let outpoint = self.outpoint(coin);
        let Some(replaced) = coins.prior(&outpoint).map_err(DeltaError::View)? else {
            return Ok(());
        };
        if !(coin.coinbase && may_overwrite_unspent(self.place.network, self.place.height)) {
            return Err(DeltaError::OverwritesUnspent { outpoint }.into());
        }
        self.spends.push(spend_of(&outpoint, &replaced));
        Ok(())
    }

    /// Judges the sums, and orders the change.
    fn finish<E>(mut self) -> Result<ConnectedBlock, ConnectError<E>> {
        let mut fees = BlockFees::default();
        let transactions = self.block.transactions().iter();
        for ((transaction, txid), paid) in transactions.zip(self.block.txids()).zip(&self.paid) {
            if let Some(rules) = &mut self.rules {
                rules.sums(*txid, transaction, *paid)?;
            }
            if !transaction.is_coinbase {
                // Created value, which only proof-of-work validation lets pass, pays nothing.
                let fee = paid.saturating_sub(transaction.output_satoshi);
                fees.push(TransactionFee {
                    fee: Amount::from_sat(u64::try_from(fee).unwrap_or(u64::MAX)),
                    virtual_bytes: transaction.virtual_bytes(),
                });
            }
        }
        if let Some(rules) = self.rules {
            rules.finish()?;
        }
        // In order already, but for coins replaced, which are nearly never.
        self.spends
            .sort_by(|a, b| a.txid.cmp(&b.txid).then(a.vout.cmp(&b.vout)));
        Ok(ConnectedBlock {
            change: BlockChange::new(self.block, self.place.height, self.spends, self.passed),
            fees,
            witness: self.witness,
        })
    }

    fn outpoint(&self, coin: &ScannedCoin) -> OutPoint {
        OutPoint {
            txid: self.block.txid(coin.transaction),
            vout: coin.vout,
        }
    }
}

impl From<&PriorCoin> for Spent {
    fn from(coin: &PriorCoin) -> Self {
        Self {
            height: coin.height,
            coinbase: coin.coinbase,
            lock: coin.lock,
        }
    }
}

const fn spend_of(outpoint: &OutPoint, coin: &PriorCoin) -> SpentCoin {
    SpentCoin {
        txid: outpoint.txid,
        vout: outpoint.vout,
        script: coin.script,
        satoshi: coin.satoshi,
        height: coin.height,
        coinbase: coin.coinbase,
    }
}
