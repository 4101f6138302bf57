//! Finds the blocks that made a transaction, by the coins it made.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid};
use ic_stable_structures::Memory;

use super::Coins;
use crate::StoreError;
use crate::runs::coin_cursor::CoinCursor;
use crate::runs::key::OutpointKey;
use crate::runs::run::Run;

/// Entries of a transaction looked at, at most: it has up to 100,000 outputs.
const MAX_ENTRIES: usize = 1_000;

impl<M: Memory> Coins<M> {
    /// Returns the unstable blocks, on any branch, that made a coin of the transaction which
    /// outlived the block, looking at up to 1,000 of its coins in each. Costs one look at a filter
    /// for each unstable block.
    ///
    /// # Errors
    /// [`StoreError`] when a run is damaged.
    pub fn blocks_with_transaction(&self, txid: &Txid) -> Result<Vec<BlockHash>, StoreError> {
        let mut blocks = Vec::new();
        for node in self.index.unstable() {
            if self.makes(&node.runs.coins, txid)? {
                blocks.push(node.block);
            }
        }
        Ok(blocks)
    }

    fn makes(&self, run: &Run, txid: &Txid) -> Result<bool, StoreError> {
        let first = OutpointKey {
            txid: txid.to_byte_array(),
            vout: 0,
        };
        if !run.may_contain(&self.region, &first.digest())? {
            return Ok(false);
        }
        let mut cursor = CoinCursor::seek(&self.region, run, &first)?;
        for _ in 0..MAX_ENTRIES {
            match cursor.next(&self.region)? {
                Some(entry) if entry.outpoint.txid == first.txid => {
                    if entry.change.coin().is_some() {
                        return Ok(true);
                    }
                }
                _ => return Ok(false),
            }
        }
        Ok(false)
    }
}
