//! A chain of made-up changes with the sizes of mainnet's, for counting what the store does.
//!
//! A block has 6,714 inputs and 7,297 outputs in 2,919 transactions; nearly half of the inputs
//! spend coins of the eight blocks before, a third of the outputs go to scripts used before.

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Txid};
use millrace_core::Height;
use millrace_core::delta::Coin;
use millrace_core::testing::{BlockDelta, KeyedCoin};

const TRANSACTIONS: u64 = 2_919;

/// Inputs of a block.
pub const INPUTS: usize = 6_714;

/// Outputs of a block.
pub const OUTPUTS: u64 = 7_297;

/// Both.
pub const ITEMS: f64 = 14_011.0;

/// Deterministic numbers: splitmix64.
#[derive(Default)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.as_chunks_mut::<8>().0 {
            *chunk = self.next().to_le_bytes();
        }
        bytes
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A script by its owner's number, in about mainnet's mix of kinds.
pub fn script(owner: u64) -> ScriptBuf {
    let hash = Numbers(owner.wrapping_mul(0xff51_afd7_ed55_8ccd)).bytes();
    let (head, length, tail): (&[u8], usize, &[u8]) = match owner % 100 {
        0..45 => (&[0x00, 0x14], 20, &[]),
        45..70 => (&[0x51, 0x20], 32, &[]),
        70..87 => (&[0x76, 0xa9, 0x14], 20, &[0x88, 0xac]),
        87..97 => (&[0xa9, 0x14], 20, &[0x87]),
        _ => (&[0x00, 0x20], 32, &[]),
    };
    ScriptBuf::from_bytes([head, &hash[..length], tail].concat())
}

/// The chain so far.
pub struct MainnetLike {
    numbers: Numbers,
    height: u32,
    /// Unspent coins of the last blocks, and of all blocks before.
    pub recent: Vec<Vec<(OutPoint, Coin)>>,
    pub old: Vec<(OutPoint, Coin)>,
    owners: u64,
}

impl MainnetLike {
    pub fn new(height: u32) -> Self {
        Self {
            numbers: Numbers::default(),
            height,
            recent: Vec::new(),
            old: Vec::new(),
            owners: 5_000,
        }
    }

    /// Returns the number of unspent coins.
    pub fn unspent(&self) -> usize {
        self.old.len() + self.recent.iter().map(Vec::len).sum::<usize>()
    }

    fn owner(&mut self) -> u64 {
        match self.numbers.below(100) {
            // The square makes low numbers hot.
            0..33 => {
                let far = self.numbers.below(5_000);
                far * far / 5_000
            }
            _ => {
                self.owners += 1;
                self.owners
            }
        }
    }

    fn make(&mut self, coins: u64) -> Vec<(OutPoint, Coin)> {
        let mut made = Vec::new();
        let mut outpoint = OutPoint::default();
        for index in 0..coins {
            let transaction = |index: u64| index * TRANSACTIONS / OUTPUTS;
            if index == 0 || transaction(index) != transaction(index - 1) {
                outpoint.txid = Txid::from_byte_array(self.numbers.bytes());
                outpoint.vout = 0;
            } else {
                outpoint.vout += 1;
            }
            let owner = self.owner();
            let coin = Coin {
                value: Amount::from_sat(self.numbers.below(100_000_000)),
                script: script(owner),
                height: Height::new(self.height),
                coinbase: index == 0,
            };
            made.push((outpoint, coin));
        }
        made
    }

    /// Makes the next block; one that spends nothing is a base of old coins.
    pub fn block(&mut self, spends: usize, puts: u64) -> BlockDelta {
        let mut delta = BlockDelta {
            block: block_hash(self.height),
            height: Height::new(self.height),
            spends: BTreeMap::new(),
            puts: BTreeMap::new(),
        };
        for _ in 0..spends {
            let is_recent = self.numbers.below(100) < 45;
            let block = self.numbers.below(8) as usize;
            let from = match self.recent.iter_mut().rev().nth(block) {
                Some(block) if is_recent && !block.is_empty() => block,
                _ => &mut self.old,
            };
            let index = self.numbers.below(from.len() as u64) as usize;
            let (outpoint, coin) = from.swap_remove(index);
            delta.spends.insert(outpoint, KeyedCoin::from(coin));
        }
        let made = self.make(puts);
        for (outpoint, coin) in &made {
            delta.puts.insert(*outpoint, KeyedCoin::from(coin.clone()));
        }
        if spends == 0 {
            self.old = made;
        } else {
            self.recent.push(made);
        }
        if self.recent.len() > 8 {
            self.old.append(&mut self.recent.remove(0));
        }
        self.height += 1;
        delta
    }
}

/// The hash of the block at a height.
pub fn block_hash(height: u32) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&height.to_le_bytes());
    BlockHash::from_byte_array(bytes)
}
