//! What is asked for when a canister has taken in a chain: owners, outputs, a block and a transaction.

use anyhow::{Context, Result};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{Address, Block, OutPoint, Script, ScriptBuf, Txid};
use millrace_tests::chain::{Made, MainnetLike, Owner};
use serde::{Deserialize, Serialize};

/// Outputs and owners that are asked for at once.
pub const BATCH: usize = 100;

/// Height of the funding block whose coins count as old.
const OLD_HEIGHT: u32 = 3;

/// How far below the tip the block lies that is asked for.
const DEPTH: u32 = 5;

/// An owner and how many coins it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Its script, in hex.
    script: String,
    /// Its coins.
    pub utxos: u64,
}

impl Asked {
    /// Its script.
    ///
    /// # Errors
    /// The text is no hex.
    pub fn script(&self) -> Result<ScriptBuf> {
        Ok(ScriptBuf::from_hex(&self.script)?)
    }

    /// Its address on regtest.
    ///
    /// # Errors
    /// The script has none.
    pub fn address(&self) -> Result<String> {
        address(&self.script()?)
    }
}

/// What to ask for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Somebody without coins, then the plan's owners.
    pub owners: Vec<Asked>,
    /// The id of a transaction of old coins.
    old: String,
    /// An unstable block, in hex.
    block: String,
    /// Its height.
    pub height: u32,
}

impl Sample {
    /// Names the owners of a chain.
    pub fn of(chain: &MainnetLike) -> Self {
        let asked = |owner: Owner, utxos: u32| Asked {
            script: chain.script(owner).to_hex_string(),
            utxos: u64::from(utxos),
        };
        let named = (0..).zip(&chain.plan().named);
        let named = named.map(|(position, named)| asked(Owner::named(position), named.utxos));
        Self {
            owners: std::iter::once(asked(Owner::nobody(), 0))
                .chain(named)
                .collect(),
            ..Self::default()
        }
    }

    /// Keeps what is asked for later of a block of a chain of `length` blocks.
    pub fn note(&mut self, made: &Made, length: u32) {
        let height = made.facts.height;
        if height == OLD_HEIGHT {
            self.old = made.block.txdata[0].compute_txid().to_string();
        }
        if height + DEPTH == length {
            self.height = height;
            self.block = hex::encode(serialize(&made.block));
        }
    }

    /// The unstable block.
    ///
    /// # Errors
    /// None was noted.
    pub fn block(&self) -> Result<Block> {
        let bytes = hex::decode(&self.block)?;
        deserialize(&bytes).context("no block was noted: is the chain shorter than its plan?")
    }

    /// Outputs to ask for at once: half of them old, half of them of the unstable block.
    ///
    /// # Errors
    /// No block was noted.
    pub fn outpoints(&self) -> Result<Vec<OutPoint>> {
        let old: Txid = self.old.parse().context("no old block was noted")?;
        let block = self.block()?;
        let young = block.txdata.iter().skip(1).take(BATCH / 2);
        let young = young.map(|made| OutPoint {
            txid: made.compute_txid(),
            vout: 0,
        });
        let old = (0..50).map(|vout| OutPoint { txid: old, vout });
        Ok(old.chain(young).collect())
    }

    /// Scripts to ask for at once: those the unstable block pays.
    ///
    /// # Errors
    /// No block was noted.
    pub fn scripts(&self) -> Result<Vec<ScriptBuf>> {
        let block = self.block()?;
        let outputs = block.txdata.iter().skip(1).flat_map(|made| &made.output);
        let scripts = outputs.map(|output| output.script_pubkey.clone());
        Ok(scripts
            .filter(|script| !script.is_op_return())
            .take(BATCH)
            .collect())
    }
}

/// A script's address on regtest.
///
/// # Errors
/// It has none.
pub fn address(script: &Script) -> Result<String> {
    let address = Address::from_script(script, bitcoin::Network::Regtest)?;
    Ok(address.to_string())
}

/// The hashes beside the way from a transaction to its block's merkle root, the nearest first.
pub fn branch(block: &Block, position: usize) -> Vec<[u8; 32]> {
    let mut level: Vec<[u8; 32]> = block
        .txdata
        .iter()
        .map(|made| made.compute_txid().to_byte_array())
        .collect();
    let mut position = position;
    let mut siblings = Vec::new();
    while level.len() > 1 {
        let sibling = (position ^ 1).min(level.len() - 1);
        siblings.push(level[sibling]);
        let pairs = level.chunks(2);
        level = pairs
            .map(|pair| parent(&pair[0], &pair[pair.len() - 1]))
            .collect();
        position /= 2;
    }
    siblings
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(left);
    engine.input(right);
    sha256d::Hash::from_engine(engine).to_byte_array()
}

#[cfg(test)]
mod tests {
    use bitcoin::TxMerkleNode;
    use millrace_tests::chain::{Body, Plan};

    use super::*;

    fn plan() -> Plan {
        Plan {
            seed: 4,
            funding_blocks: 105,
            funding_outputs: 60,
            growth: None,
            blocks: 7,
            body: Body::of(60),
            named: Vec::new(),
            spendable_max: 10_000,
        }
    }

    /// Hashes a transaction up to the root beside its branch.
    fn root(txid: Txid, position: usize, branch: &[[u8; 32]]) -> TxMerkleNode {
        let (mut hash, mut position) = (txid.to_byte_array(), position);
        for sibling in branch {
            hash = if position.is_multiple_of(2) {
                parent(&hash, sibling)
            } else {
                parent(sibling, &hash)
            };
            position /= 2;
        }
        TxMerkleNode::from_byte_array(hash)
    }

    #[test]
    fn a_chains_sample_asks_for_what_is_there() {
        let mut chain = MainnetLike::new(plan());
        let mut sample = Sample::of(&chain);
        let made: Vec<Made> = chain.by_ref().collect();
        for block in &made {
            sample.note(block, plan().length());
        }
        let kept = serde_json::to_vec(&sample).expect("encodes");
        let sample: Sample = serde_json::from_slice(&kept).expect("decodes");
        let block = sample.block().expect("noted");
        assert_eq!(block, made[106].block, "height 107 of 112");
        for position in [0, 1, 30, 60] {
            let txid = block.txdata[position].compute_txid();
            let found = root(txid, position, &branch(&block, position));
            assert_eq!(found, block.header.merkle_root, "{position}");
        }
        assert_eq!(sample.outpoints().expect("noted").len(), BATCH);
        assert_eq!(sample.scripts().expect("noted").len(), BATCH);
        assert!(
            sample.owners[0]
                .address()
                .expect("it has one")
                .starts_with("bcrt1q")
        );
    }

    #[test]
    fn a_sample_of_a_shorter_chain_says_so() {
        let sample = Sample::of(&MainnetLike::new(plan()));
        let error = sample.block().expect_err("nothing was noted").to_string();
        assert!(error.contains("shorter than its plan"), "{error}");
    }
}
