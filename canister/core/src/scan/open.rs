//! The transaction being read, and what is kept of it once it ends.

use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Amount, Sequence, Txid};

use super::sigops::{SigopCounter, last_push};
use super::{CoinbaseStart, Collected, Lock, MERKLE_PAIR_BYTES, ScannedInput, ScannedTransaction};
use crate::consensus::{ConsensusError, MAX_COINBASE_SCRIPT_BYTES, MIN_COINBASE_SCRIPT_BYTES};

/// Cost of an operation outside of witness data (BIP141).
const BASE_FACTOR: u32 = 4;

/// Which hash the bytes being taken are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// Both ids.
    Base,
    /// The id with witness data only.
    Witness,
}

/// The transaction being read.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) offset: u32,
    pub(super) version: u32,
    pub(super) is_segwit: bool,
    pub(super) region: Region,
    /// Hash it as it is read: it is long.
    pub(super) engines: Option<Box<Engines>>,
    /// Where its witness data begins.
    pub(super) witness_at: Option<u32>,
    /// Bytes of marker, flag and witnesses.
    pub(super) witness_bytes: u32,
    /// Inputs, or outputs, or witnesses not begun; at last 0.
    pub(super) left: u64,
    pub(super) inputs: u64,
    pub(super) is_coinbase: bool,
    pub(super) ignores_lock_time: bool,
    pub(super) has_witness: bool,
    /// Index of its first input among the block's.
    pub(super) first_input: usize,
    pub(super) first_coin: usize,
    pub(super) outputs: u64,
    pub(super) output_satoshi: u128,
    pub(super) sigops: u32,
    /// Items of the witness at hand not begun.
    pub(super) items: u64,
    /// Counts the operations of the long script, or of the witness item, at hand.
    pub(super) counter: SigopCounter,
    pub(super) fault: Option<Fault>,
}

/// Hashes of a long transaction, without its witness data and with it.
#[derive(Clone)]
pub(super) struct Engines {
    pub(super) base: sha256::HashEngine,
    pub(super) whole: sha256::HashEngine,
}

impl Engines {
    pub(super) fn new() -> Self {
        Self {
            base: Txid::engine(),
            whole: Txid::engine(),
        }
    }
}

/// A broken rule of a transaction whose id is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NoOutputs,
    OutputValue { vout: usize, satoshi: u64 },
    OutputTotal { satoshi: u128 },
    NullInput,
    ScriptTooLong { length: usize },
    CoinbaseScript { length: usize },
}

/// Returns what an input script costs if it unlocks a P2SH coin (BIP16, BIP141); a P2WSH program
/// within costs what its witness does, which is not known yet, and is told by [`NESTED_P2WSH`].
pub(super) fn p2sh_sigop_cost(script: &[u8]) -> u32 {
    let Some(redeem) = last_push(script) else {
        return 0;
    };
    match Lock::of(redeem) {
        Lock::WitnessKeyHash => 1,
        Lock::WitnessScriptHash => NESTED_P2WSH,
        Lock::ScriptHash | Lock::Other => {
            SigopCounter::count(redeem, true).saturating_mul(BASE_FACTOR)
        }
    }
}

/// Stands for a cost that the witness will tell. No redeem script is long enough to cost as much.
const NESTED_P2WSH: u32 = u32::MAX;

impl Open {
    pub(super) fn new(offset: u32, first_input: usize, first_coin: usize) -> Self {
        Self {
            offset,
            version: 0,
            is_segwit: false,
            region: Region::Base,
            engines: None,
            witness_at: None,
            witness_bytes: 0,
            left: 0,
            inputs: 0,
            is_coinbase: false,
            ignores_lock_time: true,
            has_witness: false,
            first_input,
            first_coin,
            outputs: 0,
            output_satoshi: 0,
            sigops: 0,
            items: 0,
            counter: SigopCounter::new(true),
            fault: None,
        }
    }

    pub(super) fn input(&self, transaction: usize, txid: Txid, vout: u32) -> ScannedInput {
        ScannedInput {
            txid,
            vout,
            transaction: transaction as u32,
            sequence: Sequence::MAX.to_consensus_u32(),
            p2sh_sigop_cost: 0,
            witness_sigops: 0,
        }
    }

    pub(super) const fn blame(&mut self, fault: Fault) {
        if self.fault.is_none() {
            self.fault = Some(fault);
        }
    }

    /// A negative amount of the wire format reads as one above all money.
    pub(super) fn add_output(&mut self, satoshi: u64) {
        let max = Amount::MAX_MONEY.to_sat();
        if satoshi > max {
            let vout = self.outputs as usize;
            self.blame(Fault::OutputValue { vout, satoshi });
        }
        self.output_satoshi += u128::from(satoshi);
        if self.output_satoshi > u128::from(max) {
            let satoshi = self.output_satoshi;
            self.blame(Fault::OutputTotal { satoshi });
        }
        self.outputs += 1;
    }

    /// Gives the input whose witness ended the operations of the witness's last item.
    pub(super) fn note_witness_script(&self, inputs: &mut [ScannedInput]) {
        let index = self.first_input as u64 + self.inputs - self.left - 1;
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(input) = inputs.get_mut(index).filter(|_| !self.is_coinbase) {
            input.witness_sigops = self.counter.total();
        }
    }
}

impl Fault {
    pub(super) fn of(self, txid: Txid) -> ConsensusError {
        match self {
            Self::NoOutputs => ConsensusError::NoOutputs { txid },
            Self::OutputValue { vout, satoshi } => ConsensusError::OutputValue {
                txid,
                vout,
                satoshi,
            },
            Self::OutputTotal { satoshi } => ConsensusError::OutputTotal { txid, satoshi },
            Self::NullInput => ConsensusError::NullInput { txid },
            Self::ScriptTooLong { length } => ConsensusError::ScriptTooLong { txid, length },
            Self::CoinbaseScript { length } => ConsensusError::CoinbaseScript { length },
        }
    }
}

impl Collected {
    /// Notes how a coinbase's script starts.
    pub(super) fn note_coinbase(&mut self, script: &[u8], open: &mut Open) {
        let length = script.len();
        if !(MIN_COINBASE_SCRIPT_BYTES..=MAX_COINBASE_SCRIPT_BYTES).contains(&length) {
            open.blame(Fault::CoinbaseScript { length });
        }
        let mut start = [0; 8];
        for (slot, byte) in start.iter_mut().zip(script) {
            *slot = *byte;
        }
        if !self.is_too_large() {
            self.coinbases.push(CoinbaseStart {
                transaction: self.transactions.len() as u32,
                script_bytes: length as u32,
                start,
            });
        }
    }

    /// Takes a transaction that was read to its end. The ids of most are computed later.
    pub(super) fn close(&mut self, open: &mut Open, bytes: u32, lock_time: u32, judges: bool) {
        let index = self.txids.len();
        let mut txid = Txid::all_zeros();
        let mut wtxid = txid;
        if let Some(engines) = open.engines.take() {
            txid = Txid::from_engine(engines.base);
            if index > 0 {
                // The coinbase holds the commitment and cannot be under it.
                wtxid = Txid::from_engine(engines.whole);
            }
        }
        if judges {
            self.wtxids.push(wtxid.to_byte_array());
            self.own_sigop_cost += u64::from(open.sigops) * u64::from(BASE_FACTOR);
            if self.blamed.is_none() {
                self.blamed = open.fault.map(|fault| (index as u32, fault));
            }
        }
        self.txids.push(txid);
        if open.has_witness && self.witness.first.is_none() {
            self.witness.first = Some(index as u32);
        }
        for input in self.inputs.iter_mut().skip(open.first_input) {
            if input.p2sh_sigop_cost == NESTED_P2WSH {
                input.p2sh_sigop_cost = input.witness_sigops;
            }
        }
        let base_bytes = bytes - open.witness_bytes;
        self.base_bytes += base_bytes as usize;
        self.has_merkle_pair |= base_bytes == MERKLE_PAIR_BYTES;
        if index == 0 || !self.is_too_large() {
            self.transactions.push(ScannedTransaction {
                offset: open.offset,
                bytes,
                base_bytes,
                lock_time,
                first_coin: open.first_coin as u32,
                output_satoshi: open.output_satoshi,
                is_coinbase: open.is_coinbase,
                ignores_lock_time: open.ignores_lock_time,
            });
        }
    }
}
