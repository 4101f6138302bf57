//! The consensus rules of a block whose structure holds, but for those of its coins' order.

use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{Txid, WitnessCommitment};

use super::sequence::{RelativeLock, time_base};
use super::{BlockPlace, ConnectError, ConsensusError, MedianTimes};
use crate::block::MAX_BLOCK_WEIGHT;
use crate::block::merkle::{merkle_root, parent};
use crate::deployments::Deployments;
use crate::scan::{CoinbaseStart, Lock, ScannedBlock, ScannedInput, ScannedTransaction};
use crate::units::Height;

/// Blocks that must pass before a coinbase can be spent.
pub const COINBASE_MATURITY: u32 = 100;

/// Highest cost of signature operations in a block (BIP141).
pub const MAX_BLOCK_SIGOP_COST: u64 = 80_000;

/// Shortest input script of a coinbase, in bytes.
pub const MIN_COINBASE_SCRIPT_BYTES: usize = 2;

/// Longest input script of a coinbase, in bytes.
pub const MAX_COINBASE_SCRIPT_BYTES: usize = 100;

/// Lock-times below this are heights, others seconds since 1970.
const LOCK_TIME_THRESHOLD: u32 = 500_000_000;

/// What is known of a block's rules part-way.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    place: BlockPlace,
    deployments: Deployments,
    sigop_cost: u64,
    taken_satoshi: u128,
    fees_satoshi: u128,
}

impl Rules {
    /// Judges all that needs no coins. Costs a look at each transaction, and a double SHA-256 for
    /// each where the block commits to witnesses.
    ///
    /// The commitment comes first: before it holds, the witness data with its weight and what was
    /// counted in it may be the carrier's and not the block's.
    pub(crate) fn start(
        block: &mut ScannedBlock,
        place: BlockPlace,
    ) -> Result<Self, ConsensusError> {
        let deployments = Deployments::of(place.network);
        let height = place.height;
        check_commitment(block, height >= deployments.segwit)?;
        check_weight(block.weight(), true)?;
        let version = block.header().version.to_consensus();
        let required = deployments.min_version(height);
        if version < required {
            return Err(ConsensusError::OldVersion {
                version,
                height,
                required,
            });
        }
        if let Some(fault) = block.fault() {
            return Err(fault);
        }
        check_coinbases(block, height, height >= deployments.bip34)?;
        let is_csv = height >= deployments.csv;
        // The time lock-times are compared with: the median since BIP113.
        let cutoff = match is_csv {
            true => place.median_time_past,
            false => block.header().time,
        };
        for (transaction, txid) in block.transactions().iter().zip(block.txids()) {
            if !is_final(transaction, height, cutoff) {
                return Err(ConsensusError::NotFinal {
                    txid: *txid,
                    lock_time: transaction.lock_time,
                    height,
                    cutoff,
                });
            }
        }
        Ok(Self {
            place,
            deployments,
            sigop_cost: block.own_sigop_cost(),
            taken_satoshi: 0,
            fees_satoshi: 0,
        })
    }

    /// Judges an input of transaction `txid` with the coin it spends.
    pub(crate) fn spend<T: MedianTimes>(
        &mut self,
        txid: Txid,
        input: &ScannedInput,
        spent: Spent,
        times: &T,
    ) -> Result<(), ConnectError<T::Error>> {
        let outpoint = input.outpoint();
        let (height, made) = (self.place.height, spent.height);
        if made == Height::ZERO {
            return Err(ConsensusError::SpendsGenesis { txid, outpoint }.into());
        }
        if spent.coinbase && height.saturating_sub(made).get() < COINBASE_MATURITY {
            return Err(ConsensusError::Immature {
                txid,
                outpoint,
                made,
                height,
            }
            .into());
        }
        self.check_relative_lock(txid, input, made, times)?;
        self.sigop_cost += u64::from(input.sigop_cost(spent.lock));
        Ok(())
    }

    fn check_relative_lock<T: MedianTimes>(
        &self,
        txid: Txid,
        input: &ScannedInput,
        made: Height,
        times: &T,
    ) -> Result<(), ConnectError<T::Error>> {
        let height = self.place.height;
        if height < self.deployments.csv {
            return Ok(());
        }
        let outpoint = input.outpoint();
        match RelativeLock::from_sequence(input.sequence) {
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

    /// Judges the sums of a transaction; `inputs` is the value of the coins it spends.
    pub(crate) fn sums(
        &mut self,
        txid: Txid,
        transaction: &ScannedTransaction,
        inputs: u128,
    ) -> Result<(), ConsensusError> {
        let outputs = transaction.output_satoshi;
        if transaction.is_coinbase {
            self.taken_satoshi = outputs;
            return Ok(());
        }
        if !is_money(inputs) {
            let satoshi = inputs;
            return Err(ConsensusError::InputTotal { txid, satoshi });
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

    /// Judges the block as a whole, once all inputs and sums were.
    pub(crate) fn finish(self) -> Result<(), ConsensusError> {
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

/// A coin being spent, as far as rules need it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) height: Height,
    pub(crate) coinbase: bool,
    pub(crate) lock: Lock,
}

/// Compares a block's weight with what BIP141 allows.
pub(crate) const fn check_weight(weight: u64, committed: bool) -> Result<(), ConsensusError> {
    if weight > MAX_BLOCK_WEIGHT {
        return Err(ConsensusError::TooHeavy { weight, committed });
    }
    Ok(())
}

/// Returns whether an amount in satoshi is at most all money.
fn is_money(satoshi: u128) -> bool {
    satoshi <= u128::from(bitcoin::Amount::MAX_MONEY.to_sat())
}

/// Returns whether the transaction may be in a block of `height` when time stands at `cutoff`.
fn is_final(transaction: &ScannedTransaction, height: Height, cutoff: u32) -> bool {
    let lock_time = transaction.lock_time;
    let reached = if lock_time < LOCK_TIME_THRESHOLD {
        height.get()
    } else {
        cutoff
    };
    lock_time < reached || lock_time == 0 || transaction.ignores_lock_time
}

fn check_coinbases(
    block: &ScannedBlock,
    height: Height,
    has_height: bool,
) -> Result<(), ConsensusError> {
    for start in block.coinbases() {
        let txid = block.txid(start.transaction);
        if start.transaction != 0 {
            return Err(ConsensusError::ExtraCoinbase { txid });
        }
        if has_height && !commits_to(start, height) {
            return Err(ConsensusError::CoinbaseHeight { txid, height });
        }
    }
    Ok(())
}

/// Returns whether a coinbase starts with its height, in the form BIP34 demands.
pub(crate) fn commits_to(start: &CoinbaseStart, height: Height) -> bool {
    let prefix = Builder::new()
        .push_int(i64::from(height.get()))
        .into_script();
    start.script_bytes as usize >= prefix.len() && start.start.starts_with(prefix.as_bytes())
}

/// Compares the witness commitment (BIP141); `active` is whether it holds at the block's height.
fn check_commitment(block: &mut ScannedBlock, active: bool) -> Result<(), ConsensusError> {
    let witness = *block.witness();
    let Some(first) = witness.first else {
        return Ok(());
    };
    let Some(expected) = witness.commitment.filter(|_| active) else {
        let txid = block.txid(first);
        return Err(ConsensusError::UnexpectedWitness { txid });
    };
    if witness.nonce_items != 1 || witness.nonce_bytes != 32 {
        return Err(ConsensusError::WitnessNonce {
            items: witness.nonce_items as usize,
            length: witness.nonce_bytes as usize,
        });
    }
    let root = merkle_root(block.take_wtxids()).root;
    let got = WitnessCommitment::from_byte_array(parent(&root, &witness.nonce));
    let expected = WitnessCommitment::from_byte_array(expected);
    if got == expected {
        Ok(())
    } else {
        Err(ConsensusError::WitnessCommitment { expected, got })
    }
}
