//! Finds the blocks that made a transaction, by the coins it made.

use bitcoin::{BlockHash, OutPoint, Txid};
use ic_stable_structures::Memory;

use super::connect::{PUT, flags_of};
use super::{Coins, codec};

/// Changes of a transaction's coins looked at, at most: a transaction has up to 100,000 outputs.
const MAX_CHANGES: usize = 1_000;

impl<M: Memory> Coins<M> {
    /// Returns the unstable blocks, on any branch, that made a coin of the transaction which outlived
    /// the block, looking at up to 1,000 changes. Costs one range look-up and O(unstable blocks).
    pub fn blocks_with_transaction(&self, txid: &Txid) -> Vec<BlockHash> {
        let outpoint = |vout| OutPoint { txid: *txid, vout };
        let first = codec::run_coin_key(&outpoint(0), 0);
        let last = codec::run_coin_key(&outpoint(u32::MAX), u64::MAX);
        let mut runs: Vec<u64> = self
            .run_coins
            .range(first..=last)
            .take(MAX_CHANGES)
            .filter(|entry| flags_of(&entry.value()) & PUT != 0)
            .map(|entry| codec::split_run_coin_key(entry.key()))
            .collect();
        runs.sort_unstable();
        runs.dedup();
        let blocks = self.run_cache.iter();
        blocks
            .filter(|(_, run)| runs.binary_search(&run.number).is_ok())
            .map(|(block, _)| *block)
            .collect()
    }
}
