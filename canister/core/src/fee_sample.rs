//! What each transaction of a connected block paid, and for how much room.

use std::collections::BTreeMap;

use bitcoin::{Transaction, Txid};

use crate::block::CheckedBlock;
use crate::delta::BlockDelta;

/// Samples taken from one block, at most: as many transactions as the official canister looks at
/// altogether.
pub const MAX_SAMPLES: usize = 10_000;

/// What one transaction paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeSample {
    /// Values of its inputs minus values of its outputs, in satoshi; 0 where outputs exceed inputs,
    /// which proof-of-work validation lets pass.
    pub fee_satoshi: u64,
    /// Its virtual size in vbytes (BIP141), computed from the block as it was received: a block that
    /// came without witness data gives the size without it.
    pub virtual_bytes: u32,
}

/// Returns the samples of a block's transactions without the coinbase, in block order, at most
/// [`MAX_SAMPLES`]. `delta` is the block's own change: it has the coins of earlier blocks.
///
/// Costs a look-up for each input.
pub fn fee_samples(block: &CheckedBlock, delta: &BlockDelta) -> Vec<FeeSample> {
    let own: BTreeMap<&Txid, &Transaction> = block.transactions().collect();
    block
        .transactions()
        .map(|(_, transaction)| transaction)
        .filter(|transaction| !transaction.is_coinbase())
        .take(MAX_SAMPLES)
        .map(|transaction| sample(transaction, delta, &own))
        .collect()
}

fn sample(
    transaction: &Transaction,
    delta: &BlockDelta,
    own: &BTreeMap<&Txid, &Transaction>,
) -> FeeSample {
    let inputs = transaction.input.iter().map(|input| {
        let outpoint = &input.previous_output;
        let earlier = delta.spends.get(outpoint).map(|keyed| keyed.coin.value);
        let value = earlier.or_else(|| {
            let output = own.get(&outpoint.txid)?.output.get(outpoint.vout as usize);
            output.map(|output| output.value)
        });
        value.map_or(0, |value| value.to_sat())
    });
    let inputs = inputs.fold(0u64, u64::saturating_add);
    let outputs = transaction
        .output
        .iter()
        .map(|output| output.value.to_sat());
    let outputs = outputs.fold(0u64, u64::saturating_add);
    FeeSample {
        fee_satoshi: inputs.saturating_sub(outputs),
        virtual_bytes: u32::try_from(transaction.vsize()).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests;
