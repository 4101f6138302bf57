//! Judges a block and computes its change in one pass, in steps of bounded work.

use bitcoin::{Amount, Transaction, TxIn, Txid};

use super::rules::{Rules, check_weight};
use super::{BlockValidation, ConnectError, ConsensusError, WitnessData};
use crate::block::CheckedBlock;
use crate::delta::{BlockDelta, Coin, CoinView, DeltaBuilder, DeltaStep, Watch};
use crate::deployments::Deployments;
use crate::fees::{BlockFees, TransactionFee};
use crate::network::Network;
use crate::units::Height;

/// Where a block goes, as far as its rules depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockPlace {
    /// The chain's network.
    pub network: Network,
    /// The block's height.
    pub height: Height,
    /// Median time past of the block's parent, in seconds since 1970 (BIP113).
    pub median_time_past: u32,
}

/// The chain that ends with a block's parent, for locks that count from a coin's time (BIP68).
pub trait MedianTimes {
    /// Why a look-up can fail, such as damaged storage.
    type Error;

    /// Returns the median time past of the block at `height` of this chain, or `None` when it is
    /// not known. Asked only for coins that an input spends under a lock in time.
    ///
    /// # Errors
    /// `Self::Error` when headers cannot be read; an unknown height is no error.
    fn median_time_past(&self, height: Height) -> Result<Option<u32>, Self::Error>;
}

/// A block on its way into the chain: judged, and its change computed, part-way.
///
/// It holds nothing that cannot be recomputed: drop it at any time and start again.
#[derive(Clone, Debug)]
pub struct BlockConnector {
    delta: DeltaBuilder,
    tally: Tally,
}

/// What a step of a [`BlockConnector`] led to.
#[derive(Debug)]
pub enum ConnectStep {
    /// The budget ran out; call again.
    More(Box<BlockConnector>),
    /// The block keeps all rules it was to be judged by.
    Done(ConnectedBlock),
}

/// A block that may be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedBlock {
    /// Its change of the UTXO set.
    pub delta: BlockDelta,
    /// What its transactions pay.
    pub fees: BlockFees,
    /// Whether its virtual sizes are exact.
    pub witness: WitnessData,
}

impl BlockConnector {
    /// Starts with a block at its place. Costs one look at each input and output.
    ///
    /// # Errors
    /// [`ConsensusError`] when header and coinbase alone break a rule; under
    /// [`BlockValidation::ProofOfWork`], which compares no witness commitment, only
    /// [`ConsensusError::TooHeavy`].
    pub fn start(
        block: &CheckedBlock,
        place: BlockPlace,
        validation: BlockValidation,
    ) -> Result<Self, ConsensusError> {
        let rules = match validation {
            BlockValidation::ProofOfWork => {
                check_weight(block.weight(), false)?;
                None
            }
            BlockValidation::Consensus => Some(Rules::start(block, place)?),
        };
        let has_segwit = place.height >= Deployments::of(place.network).segwit;
        Ok(Self {
            delta: DeltaBuilder::new(block, place.height, place.network),
            tally: Tally {
                rules,
                witness: WitnessData::of(block, has_segwit),
                inputs_satoshi: 0,
                fees: BlockFees::default(),
            },
        })
    }

    /// Looks at up to `budget` inputs and outputs (at least one, so that every call progresses). A
    /// transaction counts as one more, and one for each [`crate::delta::BYTES_PER_ITEM`] of it, so that hashing
    /// is paid for too; a step exceeds its budget by one transaction at most.
    ///
    /// Each costs at most one look-up of a coin and one of a time, one SHA-256 and one count of a
    /// script. Under [`BlockValidation::Consensus`] a transaction's first input also pays for a
    /// double SHA-256 of the whole transaction, and the last step for one per transaction.
    ///
    /// # Errors
    /// [`ConnectError`]; see [`ConnectError::condemns_block`].
    pub fn step<C: CoinView, T: MedianTimes<Error = C::Error>>(
        mut self,
        block: &CheckedBlock,
        coins: &C,
        times: &T,
        budget: usize,
    ) -> Result<ConnectStep, ConnectError<C::Error>> {
        let mut watcher = Watcher {
            tally: &mut self.tally,
            times,
        };
        match self
            .delta
            .watched_step(block, coins, budget, &mut watcher)?
        {
            DeltaStep::More(delta) => {
                self.delta = delta;
                Ok(ConnectStep::More(Box::new(self)))
            }
            DeltaStep::Done(delta) => {
                if let Some(rules) = self.tally.rules {
                    rules.finish()?;
                }
                Ok(ConnectStep::Done(ConnectedBlock {
                    delta,
                    fees: self.tally.fees,
                    witness: self.tally.witness,
                }))
            }
        }
    }
}

/// What was seen of the block so far.
#[derive(Clone, Debug)]
struct Tally {
    rules: Option<Rules>,
    witness: WitnessData,
    /// Value of the coins the transaction at hand spends, up to the input at hand.
    inputs_satoshi: u128,
    fees: BlockFees,
}

struct Watcher<'a, T> {
    tally: &'a mut Tally,
    times: &'a T,
}

impl<T: MedianTimes> Watch<T::Error> for Watcher<'_, T> {
    type Error = ConnectError<T::Error>;

    fn begin(
        &mut self,
        index: usize,
        txid: Txid,
        transaction: &Transaction,
    ) -> Result<(), Self::Error> {
        self.tally.inputs_satoshi = 0;
        if let Some(rules) = &mut self.tally.rules {
            rules.begin(index, txid, transaction)?;
        }
        Ok(())
    }

    fn spend(
        &mut self,
        txid: Txid,
        transaction: &Transaction,
        input: &TxIn,
        coin: &Coin,
    ) -> Result<(), Self::Error> {
        // Fewer than 2^32 inputs of less than 2^64 each.
        self.tally.inputs_satoshi += u128::from(coin.value.to_sat());
        let inputs = self.tally.inputs_satoshi;
        if let Some(rules) = &mut self.tally.rules {
            rules.spend(txid, transaction, input, coin, inputs, self.times)?;
        }
        Ok(())
    }

    fn end(&mut self, txid: Txid, transaction: &Transaction) -> Result<(), Self::Error> {
        let is_coinbase = transaction.is_coinbase();
        let inputs = self.tally.inputs_satoshi;
        let outputs = transaction
            .output
            .iter()
            .map(|output| u128::from(output.value.to_sat()))
            .sum();
        if let Some(rules) = &mut self.tally.rules {
            rules.end(txid, is_coinbase, inputs, outputs)?;
        }
        if !is_coinbase {
            // Created value, which only proof-of-work validation lets pass, pays nothing.
            let fee = u64::try_from(inputs.saturating_sub(outputs)).unwrap_or(u64::MAX);
            self.tally.fees.push(TransactionFee {
                fee: Amount::from_sat(fee),
                virtual_bytes: transaction.vsize() as u64,
            });
        }
        Ok(())
    }
}
