//! Real chain data, a UTXO set, and a miner for regtest, for the tests of this package.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;

use bitcoin::block::{Header, Version};
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, CompactTarget, OutPoint, Transaction, TxMerkleNode, Txid};

use crate::block::{BlockError, HEADER_BYTES};
use crate::connect::{BlockChange, CoinEvent, CoinPosition};
use crate::delta::{Coin, CoinView};
use crate::header::HeaderContext;
use crate::network::Network;
use crate::scan::ScannedBlock;
use crate::testing::{BlockDelta, KeyedCoin};
use crate::units::UnixSeconds;

/// Later than every recorded header.
pub(crate) const NOW: UnixSeconds = UnixSeconds::new(4_000_000_000);

/// Reads a file of `tests/fixtures`.
pub(crate) fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads concatenated 80-byte headers.
pub(crate) fn headers(name: &str) -> Vec<Header> {
    file(name)
        .chunks_exact(HEADER_BYTES)
        .map(|bytes| deserialize(bytes).unwrap())
        .collect()
}

/// Reads blocks framed by magic and length; a cut-off last one is left out.
pub(crate) fn framed_blocks(name: &str) -> Vec<Vec<u8>> {
    let bytes = file(name);
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(frame) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes(frame[4..8].try_into().unwrap()) as usize;
        let Some(block) = bytes.get(at + 8..at + 8 + length) else {
            break;
        };
        blocks.push(block.to_vec());
        at += 8 + length;
    }
    blocks
}

/// Reads blocks written as one hex line each.
pub(crate) fn hex_blocks(name: &str) -> Vec<Vec<u8>> {
    String::from_utf8(file(name))
        .unwrap()
        .lines()
        .map(|line| hex::decode(line.trim()).unwrap())
        .collect()
}

/// Mines a regtest header; `salt` makes siblings differ. Takes two tries on average.
pub(crate) fn mine(parent: BlockHash, time: u32, salt: u64) -> Header {
    let mut root = [0; 32];
    root[..8].copy_from_slice(&salt.to_le_bytes());
    let mut header = Header {
        version: Version::ONE,
        prev_blockhash: parent,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time,
        bits: Network::Regtest.pow_limit_bits(),
        nonce: 0,
    };
    remine(&mut header);
    header
}

/// Finds a nonce that meets the header's own target; for regtest's only.
pub(crate) fn remine(header: &mut Header) {
    while !header.target().is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
}

/// Mines a regtest child 600 s after its parent.
pub(crate) fn mine_child(parent: &HeaderContext, salt: u64) -> Header {
    mine(parent.hash(), parent.header().time + 600, salt)
}

/// A block around `txdata`, with the right merkle root.
pub(crate) fn block_of(txdata: Vec<Transaction>) -> Block {
    let mut block = Block {
        header: Header {
            version: Version::ONE,
            prev_blockhash: BlockHash::all_zeros(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: 0,
            bits: CompactTarget::from_consensus(0x207f_ffff),
            nonce: 0,
        },
        txdata,
    };
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    block
}

/// A UTXO set kept by applying deltas.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coins(pub(crate) BTreeMap<OutPoint, Coin>);

impl CoinView for Coins {
    type Error = Infallible;

    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Infallible> {
        Ok(self.0.get(outpoint).cloned())
    }
}

impl Coins {
    pub(crate) fn apply(&mut self, delta: &BlockDelta) {
        for (outpoint, spent) in &delta.spends {
            assert_eq!(self.0.remove(outpoint).as_ref(), Some(&spent.coin));
        }
        for (outpoint, put) in &delta.puts {
            assert_eq!(self.0.insert(*outpoint, put.coin.clone()), None);
        }
    }
}

impl Coins {
    /// Reads a change back from the block's bytes, the spent coins being in this set.
    pub(crate) fn delta_of(&self, change: &BlockChange, block: &CheckedBlock) -> BlockDelta {
        let mut delta = BlockDelta {
            block: change.hash(),
            height: change.height(),
            spends: BTreeMap::new(),
            puts: BTreeMap::new(),
        };
        let mut position = CoinPosition::default();
        while let Some((outpoint, event)) = change.next_coin(&mut position) {
            let (spend, put) = match event {
                CoinEvent::Spend(spend) => (Some(spend), None),
                CoinEvent::Put(put) => (None, Some(put)),
                CoinEvent::Replace(spend, put) => (Some(spend), Some(put)),
            };
            if spend.is_some() {
                let coin = KeyedCoin::from(self.0[&outpoint].clone());
                delta.spends.insert(outpoint, coin);
            }
            if let Some(put) = put {
                let (_, transaction) = block.transaction(put.transaction as usize).unwrap();
                let at = put.script_offset as usize;
                let script = &block.bytes[at..at + put.script_bytes as usize];
                let coin = Coin {
                    value: bitcoin::Amount::from_sat(put.satoshi),
                    script: bitcoin::ScriptBuf::from_bytes(script.to_vec()),
                    height: change.height(),
                    coinbase: transaction.is_coinbase(),
                };
                delta.puts.insert(outpoint, KeyedCoin::from(coin));
            }
        }
        delta
    }
}

/// A block whose structure holds, as bytes, decoded and scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckedBlock {
    bytes: Vec<u8>,
    block: Block,
    scanned: ScannedBlock,
}

impl CheckedBlock {
    /// Scans a block, judging its transactions, with a pause after every few items.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let scanned = ScannedBlock::in_steps(bytes, true, 1 + bytes.len() % 7)?;
        Ok(Self {
            bytes: bytes.to_vec(),
            block: deserialize(bytes).unwrap(),
            scanned,
        })
    }

    pub(crate) fn check(block: Block) -> Result<Self, BlockError> {
        Self::decode(&serialize(&block))
    }

    pub(crate) fn hash(&self) -> BlockHash {
        self.scanned.hash()
    }

    pub(crate) fn weight(&self) -> u64 {
        self.scanned.weight()
    }

    pub(crate) fn header(&self) -> &Header {
        self.scanned.header()
    }

    pub(crate) fn scanned(&self) -> ScannedBlock {
        self.scanned.clone()
    }

    pub(crate) fn transactions(&self) -> impl ExactSizeIterator<Item = (&Txid, &Transaction)> {
        self.scanned.txids().iter().zip(&self.block.txdata)
    }

    pub(crate) fn transaction(&self, index: usize) -> Option<(&Txid, &Transaction)> {
        self.transactions().nth(index)
    }

    pub(crate) fn into_block(self) -> Block {
        self.block
    }
}
