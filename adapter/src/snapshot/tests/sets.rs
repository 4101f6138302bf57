//! Made-up sets of coins and their files.

use std::io::Cursor;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint, ScriptBuf, Txid};
use millrace_core::snapshot::{SerializedDigest, SnapshotCoin};
use millrace_core::{Height, Network};

use crate::snapshot::write::SetWriter;

/// Chance from one seed.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub fn base() -> BlockHash {
    BlockHash::from_byte_array([0xba; 32])
}

pub fn txid(number: u64) -> Txid {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Txid::from_byte_array(bytes)
}

pub fn coin(number: u64, vout: u32, script: Vec<u8>) -> SnapshotCoin {
    SnapshotCoin {
        outpoint: OutPoint {
            txid: txid(number),
            vout,
        },
        height: Height::new(1 + number as u32 % 50),
        coinbase: number.is_multiple_of(7),
        satoshi: number * 1_000 + u64::from(vout),
        script: ScriptBuf::from_bytes(script),
    }
}

/// Coins ascending, some transactions with indexes that Bitcoin Core orders otherwise.
pub fn random_coins(seed: u64, transactions: u64) -> Vec<SnapshotCoin> {
    let mut chance = Chance::new(seed);
    let mut coins = Vec::new();
    for number in 1..=transactions {
        let mut vouts: Vec<u32> = (0..=chance.below(6))
            .map(|_| match chance.below(4) {
                0 => 16_500 + chance.below(30) as u32,
                1 => 120 + chance.below(200) as u32,
                _ => chance.below(5) as u32,
            })
            .collect();
        vouts.sort_unstable();
        vouts.dedup();
        for vout in vouts {
            let script = match chance.below(3) {
                0 => [&[0, 20][..], &[number as u8; 20]].concat(),
                1 => [&[0x76, 0xa9, 0x14][..], &[7; 20], &[0x88, 0xac]].concat(),
                _ => vec![0x51; chance.below(90) as usize],
            };
            coins.push(coin(number, vout, script));
        }
    }
    coins
}

/// The file that Bitcoin Core would write, and the hash that it would print.
pub fn file_of(coins: &[SnapshotCoin]) -> (Vec<u8>, SerializedDigest) {
    file_after(Network::Regtest, base(), coins)
}

/// As [`file_of`], after a block of a network.
pub fn file_after(
    network: Network,
    base: BlockHash,
    coins: &[SnapshotCoin],
) -> (Vec<u8>, SerializedDigest) {
    let file = Cursor::new(Vec::new());
    let mut writer = SetWriter::new(file, network, base).unwrap();
    for coin in coins {
        writer.put(coin.clone()).unwrap();
    }
    let (file, written) = writer.finish().unwrap();
    assert_eq!(written.coins, coins.len() as u64);
    (file.into_inner(), written.hash_serialized)
}
