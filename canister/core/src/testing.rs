//! Changes of the UTXO set made up by tests, without blocks.

use std::collections::{BTreeMap, BTreeSet};

use bitcoin::{BlockHash, OutPoint, Txid};

use crate::connect::{BlockChange, SpentCoin};
use crate::delta::Coin;
use crate::scan::{Lock, ScannedBlock, ScannedCoin, ScannedTransaction};
use crate::script::{ScriptHash, ScriptKey};
use crate::units::Height;

/// A coin with the key of its script, hashed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedCoin {
    /// The coin.
    pub coin: Coin,
    /// SHA-256 of the coin's script.
    pub script_hash: ScriptHash,
}

impl From<Coin> for KeyedCoin {
    fn from(coin: Coin) -> Self {
        let script_hash = ScriptHash::of(&coin.script);
        Self { coin, script_hash }
    }
}

/// The change one block makes, relative to its parent's UTXO set.
///
/// Coins made and spent inside the block appear nowhere. Apply `spends` before `puts`: in the two
/// BIP30 blocks one outpoint is in both, because the new coin replaces an unspent older one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockDelta {
    /// The block.
    pub block: BlockHash,
    /// Its height.
    pub height: Height,
    /// Coins of earlier blocks that are gone, as they were.
    pub spends: BTreeMap<OutPoint, KeyedCoin>,
    /// Coins that are new.
    pub puts: BTreeMap<OutPoint, KeyedCoin>,
}

/// What a block changes for one script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptDelta {
    /// Coins new less coins gone.
    pub coins: i64,
    /// Change of the script's balance in satoshi. Wider than any single amount because nothing
    /// bounds the sum of created values under proof-of-work validation.
    pub balance_satoshi: i128,
}

impl BlockDelta {
    /// Returns the change in the order in which it is written, and the bytes that hold the new
    /// coins' scripts.
    pub fn change(&self) -> (BlockChange, Vec<u8>) {
        let spends = self.spends.iter().map(|(outpoint, keyed)| SpentCoin {
            txid: outpoint.txid,
            vout: outpoint.vout,
            script: ScriptKey::from(&keyed.script_hash),
            satoshi: keyed.coin.value.to_sat(),
            height: keyed.coin.height,
            coinbase: keyed.coin.coinbase,
        });
        let mut bytes = Vec::new();
        let txids: BTreeSet<Txid> = self.puts.keys().map(|outpoint| outpoint.txid).collect();
        let mut coins = Vec::new();
        let mut transactions = Vec::new();
        for (transaction, txid) in (0..).zip(&txids) {
            let first = OutPoint::new(*txid, 0);
            let last = OutPoint::new(*txid, u32::MAX);
            let first_coin = coins.len() as u32;
            for (outpoint, keyed) in self.puts.range(first..=last) {
                let script = keyed.coin.script.as_bytes();
                coins.push(ScannedCoin {
                    transaction,
                    vout: outpoint.vout,
                    satoshi: keyed.coin.value.to_sat(),
                    script_offset: bytes.len() as u32,
                    script_bytes: script.len() as u32,
                    script: ScriptKey::from(&keyed.script_hash),
                    lock: Lock::of(script),
                    coinbase: keyed.coin.coinbase,
                });
                bytes.extend_from_slice(script);
            }
            transactions.push(ScannedTransaction {
                offset: 0,
                bytes: 0,
                base_bytes: 0,
                lock_time: 0,
                first_coin,
                output_satoshi: 0,
                is_coinbase: false,
                ignores_lock_time: true,
            });
        }
        let passed = vec![false; coins.len()];
        let txids = txids.into_iter().collect();
        let block = ScannedBlock::made_up(self.block, txids, transactions, coins);
        let change = BlockChange::new(block, self.height, spends.collect(), passed);
        (change, bytes)
    }

    /// Groups the change by script: O(n log n) in coins, no hashing.
    pub fn scripts(&self) -> BTreeMap<ScriptHash, ScriptDelta> {
        let mut scripts: BTreeMap<ScriptHash, ScriptDelta> = BTreeMap::new();
        for keyed in self.spends.values() {
            let delta = scripts.entry(keyed.script_hash).or_default();
            delta.balance_satoshi -= i128::from(keyed.coin.value.to_sat());
            delta.coins -= 1;
        }
        for keyed in self.puts.values() {
            let delta = scripts.entry(keyed.script_hash).or_default();
            delta.balance_satoshi += i128::from(keyed.coin.value.to_sat());
            delta.coins += 1;
        }
        scripts
    }
}
