//! The UTXO set at the end of a chain, recomputed from its first block with a plain map.
//!
//! The yardstick for the canister: no increments, no undo data, no cleverness to go wrong.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash;
use bitcoin::{Amount, Block, OutPoint, ScriptBuf};
use thiserror::Error;

/// An unspent output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// What it is worth.
    pub value: Amount,
    /// Who may spend it.
    pub script: ScriptBuf,
    /// Height of the block that made it.
    pub height: u32,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
}

/// A coin with its place, as one row of an answer.
pub type PlacedCoin = (OutPoint, Coin);

/// A chain spends what it does not have.
#[derive(Debug, Error)]
#[error("height {height}: {outpoint} is spent but does not exist")]
pub struct MissingCoin {
    /// What is spent.
    pub outpoint: OutPoint,
    /// Height of the block that spends it.
    pub height: u32,
}

/// The unspent outputs at a tip.
#[derive(Clone, Debug, Default)]
pub struct CoinSet {
    coins: BTreeMap<OutPoint, Coin>,
    scripts: BTreeSet<ScriptBuf>,
}

impl CoinSet {
    /// Recomputes the set from the blocks of one chain, the genesis block first.
    ///
    /// Counts the genesis coinbase and leaves out outputs that start with `OP_RETURN`, as the
    /// official Bitcoin canister does.
    ///
    /// # Errors
    /// An input spends an output that does not exist.
    pub fn of_chain<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Result<Self, MissingCoin> {
        let mut set = Self::default();
        for (height, block) in (0..).zip(blocks) {
            set.apply(block, height)?;
        }
        Ok(set)
    }

    fn apply(&mut self, block: &Block, height: u32) -> Result<(), MissingCoin> {
        for transaction in &block.txdata {
            let coinbase = transaction.is_coinbase();
            if !coinbase {
                for input in &transaction.input {
                    let outpoint = input.previous_output;
                    self.coins
                        .remove(&outpoint)
                        .ok_or(MissingCoin { outpoint, height })?;
                }
            }
            let txid = transaction.compute_txid();
            for (vout, output) in (0..).zip(&transaction.output) {
                self.scripts.insert(output.script_pubkey.clone());
                if output.script_pubkey.is_op_return() {
                    continue;
                }
                let coin = Coin {
                    value: output.value,
                    script: output.script_pubkey.clone(),
                    height,
                    coinbase,
                };
                self.coins.insert(OutPoint { txid, vout }, coin);
            }
        }
        Ok(())
    }

    /// The coin at an outpoint, unless it is spent or never was.
    pub fn coin(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.coins.get(outpoint)
    }

    /// How many coins there are.
    pub fn len(&self) -> usize {
        self.coins.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.coins.is_empty()
    }

    /// What all coins together are worth.
    pub fn total(&self) -> Amount {
        self.coins.values().map(|coin| coin.value).sum()
    }

    /// The coins of every script any block of the chain pays to, those with none left included.
    ///
    /// Coins are in the contract's order: height descending, then txid bytes, then vout.
    pub fn by_script(&self) -> BTreeMap<ScriptBuf, Vec<PlacedCoin>> {
        let mut owners: BTreeMap<ScriptBuf, Vec<PlacedCoin>> = self
            .scripts
            .iter()
            .map(|script| (script.clone(), Vec::new()))
            .collect();
        for (outpoint, coin) in &self.coins {
            if let Some(coins) = owners.get_mut(&coin.script) {
                coins.push((*outpoint, coin.clone()));
            }
        }
        for coins in owners.values_mut() {
            coins.sort_by_key(|(outpoint, coin)| {
                (
                    u32::MAX - coin.height,
                    outpoint.txid.to_byte_array(),
                    outpoint.vout,
                )
            });
        }
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{artifacts, block_file};

    /// The counts are those published with the file, which leave the genesis coinbase out.
    #[test]
    fn the_mainnet_files_coins_are_as_published() {
        let file = block_file::read_mainnet(&artifacts::mainnet_blocks()).expect("readable");
        let set = CoinSet::of_chain(&file.blocks).expect("every input exists");
        assert_eq!(set.len(), 4_348 + 1);
        assert_eq!(set.total(), Amount::from_int_btc(226_050 + 50));
    }

    #[test]
    fn a_spend_of_nothing_is_named() {
        let file = block_file::read_mainnet(&artifacts::mainnet_blocks()).expect("readable");
        // Block 170 spends the coinbase of block 9.
        let without_block_9 = file
            .blocks
            .iter()
            .enumerate()
            .filter(|(height, _)| *height != 9)
            .map(|(_, block)| block);
        let error = CoinSet::of_chain(without_block_9).expect_err("the coin is missing");
        assert_eq!(error.height, 169);
    }
}
