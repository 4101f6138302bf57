//! The rules of one block in the order its transactions pass.

use bitcoin::{Transaction, TxIn, Txid};

use super::connector::{BlockPlace, MedianTimes};
use super::sequence::{RelativeLock, time_base};
use super::transaction::{check_transaction, is_final, is_money};
use super::witness::Commitment;
use super::{ConnectError, ConsensusError, sigops};
use crate::block::{CheckedBlock, MAX_BLOCK_WEIGHT};
use crate::delta::{Coin, commits_to};
use crate::deployments::Deployments;
use crate::units::Height;

/// Blocks that must pass before a coinbase can be spent.
pub const COINBASE_MATURITY: u32 = 100;

/// Highest cost of signature operations in a block (BIP141).
pub const MAX_BLOCK_SIGOP_COST: u64 = 80_000;

/// What is known of a block's rules part-way.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    place: BlockPlace,
    deployments: Deployments,
    /// The time lock-times are compared with, in seconds since 1970.
    cutoff: u32,
    /// With the witness data given, in weight units.
    weight: u64,
    commitment: Commitment,
    sigop_cost: u64,
    taken_satoshi: u128,
    fees_satoshi: u128,
}

impl Rules {
    /// Checks what the block's header and coinbase tell at once.
    pub(super) fn start(block: &CheckedBlock, place: BlockPlace) -> Result<Self, ConsensusError> {
        let deployments = Deployments::of(place.network);
        let height = place.height;
        let header = block.header();
        let version = header.version.to_consensus();
        let required = deployments.min_version(height);
        if version < required {
            return Err(ConsensusError::OldVersion {
                version,
                height,
                required,
            });
        }
        let cutoff = if height >= deployments.csv {
            place.median_time_past
        } else {
            header.time
        };
        Ok(Self {
            place,
            deployments,
            cutoff,
            weight: block.weight(),
            commitment: Commitment::start(block, height >= deployments.segwit)?,
            sigop_cost: 0,
            taken_satoshi: 0,
            fees_satoshi: 0,
        })
    }

    /// Judges a transaction by itself.
    pub(super) fn begin(
        &mut self,
        index: usize,
        txid: Txid,
        transaction: &Transaction,
    ) -> Result<(), ConsensusError> {
        let height = self.place.height;
        check_transaction(txid, transaction)?;
        if transaction.is_coinbase() {
            if index != 0 {
                return Err(ConsensusError::ExtraCoinbase { txid });
            }
            if height >= self.deployments.bip34 && !commits_to(transaction, height) {
                return Err(ConsensusError::CoinbaseHeight { txid, height });
            }
        }
        if !is_final(transaction, height, self.cutoff) {
            return Err(ConsensusError::NotFinal {
                txid,
                lock_time: transaction.lock_time.to_consensus_u32(),
                height,
                cutoff: self.cutoff,
            });
        }
        self.sigop_cost += sigops::own_cost(transaction);
        self.commitment.push(index, transaction);
        Ok(())
    }

    /// Judges one input with its coin; `inputs_satoshi` is what the transaction spent up to it.
    pub(super) fn spend<T: MedianTimes>(
        &mut self,
        txid: Txid,
        transaction: &Transaction,
        input: &TxIn,
        coin: &Coin,
        inputs_satoshi: u128,
        times: &T,
    ) -> Result<(), ConnectError<T::Error>> {
        let outpoint = input.previous_output;
        let height = self.place.height;
        if coin.height == Height::ZERO {
            return Err(ConsensusError::SpendsGenesis { txid, outpoint }.into());
        }
        let age = height.saturating_sub(coin.height);
        if coin.coinbase && age.get() < COINBASE_MATURITY {
            let made = coin.height;
            return Err(ConsensusError::Immature {
                txid,
                outpoint,
                made,
                height,
            }
            .into());
        }
        if !is_money(inputs_satoshi) {
            let satoshi = inputs_satoshi;
            return Err(ConsensusError::InputTotal { txid, satoshi }.into());
        }
        self.check_relative_lock(txid, transaction, input, coin.height, times)?;
        self.sigop_cost += sigops::spend_cost(input, &coin.script);
        Ok(())
    }

    fn check_relative_lock<T: MedianTimes>(
        &self,
        txid: Txid,
        transaction: &Transaction,
        input: &TxIn,
        made: Height,
        times: &T,
    ) -> Result<(), ConnectError<T::Error>> {
        let outpoint = input.previous_output;
        let height = self.place.height;
        if height < self.deployments.csv {
            return Ok(());
        }
        match RelativeLock::of(transaction, input.sequence) {
            RelativeLock::None => {}
            RelativeLock::Blocks(blocks) => {
                let until = made.saturating_add(Height::new(blocks));
                if height < until {
                    return Err(ConsensusError::LockedByHeight {
                        txid,
                        outpoint,
                        until,
                        height,
                    }
                    .into());
                }
            }
            RelativeLock::Seconds(seconds) => {
                let median = self.place.median_time_past;
                let until = u64::from(self.time_of(time_base(made), times)?) + u64::from(seconds);
                if u64::from(median) < until {
                    return Err(ConsensusError::LockedByTime {
                        txid,
                        outpoint,
                        until,
                        median,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Looks up a median time past; the parent's is known without.
    fn time_of<T: MedianTimes>(
        &self,
        height: Height,
        times: &T,
    ) -> Result<u32, ConnectError<T::Error>> {
        if height.next() >= self.place.height {
            return Ok(self.place.median_time_past);
        }
        times
            .median_time_past(height)
            .map_err(ConnectError::Times)?
            .ok_or(ConnectError::UnknownMedianTime { height })
    }

    /// Judges the sums of a transaction.
    pub(super) fn end(
        &mut self,
        txid: Txid,
        is_coinbase: bool,
        inputs: u128,
        outputs: u128,
    ) -> Result<(), ConsensusError> {
        if is_coinbase {
            self.taken_satoshi = outputs;
            return Ok(());
        }
        let fee = inputs
            .checked_sub(outputs)
            .ok_or(ConsensusError::CreatesValue {
                txid,
                inputs,
                outputs,
            })?;
        self.fees_satoshi += fee;
        if !is_money(self.fees_satoshi) {
            let satoshi = self.fees_satoshi;
            return Err(ConsensusError::FeeTotal { txid, satoshi });
        }
        Ok(())
    }

    /// Judges the block as a whole.
    ///
    /// The commitment comes first: before it holds, the witness data and with it the weight and the
    /// cost of signature operations may be the carrier's and not the block's.
    pub(super) fn finish(self) -> Result<(), ConsensusError> {
        self.commitment.finish()?;
        check_weight(self.weight, true)?;
        if self.sigop_cost > MAX_BLOCK_SIGOP_COST {
            return Err(ConsensusError::SigopCost {
                cost: self.sigop_cost,
            });
        }
        let subsidy = self.deployments.subsidy(self.place.height).to_sat();
        if self.taken_satoshi > u128::from(subsidy) + self.fees_satoshi {
            return Err(ConsensusError::CoinbaseValue {
                taken: self.taken_satoshi,
                subsidy,
                fees: self.fees_satoshi,
            });
        }
        Ok(())
    }
}

/// Compares a block's weight with what BIP141 allows.
pub(super) const fn check_weight(weight: u64, committed: bool) -> Result<(), ConsensusError> {
    if weight > MAX_BLOCK_WEIGHT {
        return Err(ConsensusError::TooHeavy { weight, committed });
    }
    Ok(())
}
