//! The witness commitment of a block (BIP141).

use bitcoin::hashes::Hash;
use bitcoin::{Transaction, Txid, WitnessCommitment};

use super::ConsensusError;
use crate::block::CheckedBlock;
use crate::block::merkle::{merkle_root, parent};

/// How an output script that commits to witnesses starts: `OP_RETURN`, a push of 36 bytes, a
/// marker. 32 bytes of hash follow; more may.
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];

/// Whether a block came with its witness data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WitnessData {
    /// All of it, as far as the block has any.
    Complete,
    /// None, though the block commits to some. The commitment cannot be compared, P2WSH scripts
    /// cannot be counted, and virtual sizes are those of the stripped transactions.
    Stripped,
}

/// What is left to do about a block's commitment.
#[derive(Clone, Debug)]
pub(super) enum Commitment {
    /// Nothing.
    Settled,
    /// Collect the ids of all transactions, then compare.
    Open {
        expected: WitnessCommitment,
        nonce: [u8; 32],
        wtxids: Vec<[u8; 32]>,
    },
}

impl WitnessData {
    /// Tells a stripped block by the commitment without any witness; `active` is whether BIP141
    /// holds at the block's height.
    pub fn of(block: &CheckedBlock, active: bool) -> Self {
        if committed(block, active).is_some() && first_witness(block).is_none() {
            Self::Stripped
        } else {
            Self::Complete
        }
    }
}

impl Commitment {
    /// Starts to check the commitment; `active` is whether BIP141 holds at the block's height.
    pub(super) fn start(block: &CheckedBlock, active: bool) -> Result<Self, ConsensusError> {
        match (committed(block, active), first_witness(block)) {
            (None, Some(txid)) => Err(ConsensusError::UnexpectedWitness { txid }),
            (_, None) => Ok(Self::Settled),
            (Some(expected), Some(_)) => Ok(Self::Open {
                expected,
                nonce: nonce(block)?,
                wtxids: Vec::with_capacity(block.transactions().len()),
            }),
        }
    }

    /// Takes the next transaction of the block. Costs one double SHA-256 of all its bytes.
    pub(super) fn push(&mut self, index: usize, transaction: &Transaction) {
        if let Self::Open { wtxids, .. } = self {
            // The coinbase holds the commitment and cannot be under it.
            wtxids.push(match index {
                0 => [0; 32],
                _ => transaction.compute_wtxid().to_byte_array(),
            });
        }
    }

    /// Compares, once all transactions were taken. Costs one double SHA-256 per transaction.
    pub(super) fn finish(self) -> Result<(), ConsensusError> {
        let Self::Open {
            expected,
            nonce,
            wtxids,
        } = self
        else {
            return Ok(());
        };
        let got = WitnessCommitment::from_byte_array(parent(&merkle_root(wtxids).root, &nonce));
        if got == expected {
            Ok(())
        } else {
            Err(ConsensusError::WitnessCommitment { expected, got })
        }
    }
}

/// Returns the hash of the coinbase's last output that is a commitment.
fn committed(block: &CheckedBlock, active: bool) -> Option<WitnessCommitment> {
    let (_, coinbase) = block.transaction(0)?;
    coinbase
        .output
        .iter()
        .rev()
        .filter(|_| active)
        .find_map(|output| {
            let hash = output
                .script_pubkey
                .as_bytes()
                .strip_prefix(&COMMITMENT_PREFIX)?;
            Some(WitnessCommitment::from_byte_array(*hash.first_chunk()?))
        })
}

fn first_witness(block: &CheckedBlock) -> Option<Txid> {
    let has_witness =
        |transaction: &Transaction| transaction.input.iter().any(|i| !i.witness.is_empty());
    block
        .transactions()
        .find(|(_, transaction)| has_witness(transaction))
        .map(|(txid, _)| *txid)
}

fn nonce(block: &CheckedBlock) -> Result<[u8; 32], ConsensusError> {
    let input = block
        .transaction(0)
        .and_then(|(_, coinbase)| coinbase.input.first());
    let items = input.map_or(0, |input| input.witness.len());
    let first = input.and_then(|input| input.witness.nth(0)).unwrap_or(&[]);
    match first.try_into() {
        Ok(nonce) if items == 1 => Ok(nonce),
        _ => Err(ConsensusError::WitnessNonce {
            items,
            length: first.len(),
        }),
    }
}
