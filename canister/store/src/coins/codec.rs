//! Keys and values of the coin maps.
//!
//! ```text
//! outpoint      txid 32, vout u32 BE                                      36
//! place         height u32 BE all bits flipped, outpoint                  40   sorts as lists do
//! stable coin   outpoint -> coin
//! by script     script hash 32, place                                     72 -> value u64, coinbase u8
//! balance       script hash 32 -> satoshi u128, coins u64                 24
//! run coin      outpoint, run u64 BE                                      44 -> flags u8, coin if put
//! run script    script hash 32, run u64 BE, kind u8, place                81 -> 24 bytes
//!               kind 0: balance i128, coins i64 (the run's change for this script)
//!               kind 1, 2: put, spent coin: value u64, coinbase u8, zeros
//! coin          value u64, height*2 + coinbase u64, script
//! log record    kind u8, outpoint 36, height*2 + coinbase u64, value u64, script hash 32        85
//! ```
//!
//! Numbers in values are little endian.

use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, Txid};
use millrace_core::Height;
use millrace_core::delta::{Coin, KeyedCoin};
use millrace_core::script::ScriptHash;

use crate::StoreError;
use crate::record::{join, take};

pub(super) const OUTPOINT_BYTES: usize = 36;
pub(super) const PLACE_BYTES: usize = 40;
pub(super) const SCRIPT_KEY_BYTES: usize = 72;
pub(super) const ENTRY_BYTES: usize = 9;
pub(super) const TOTAL_BYTES: usize = 24;
pub(super) const RUN_COIN_KEY_BYTES: usize = 44;
pub(super) const RUN_SCRIPT_KEY_BYTES: usize = 81;
pub(super) const LOG_RECORD_BYTES: usize = 85;

/// What a run does with a coin. The order is that of keys: the head of a group comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Head = 0,
    Put = 1,
    Spend = 2,
}

impl Kind {
    pub(super) const fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Head),
            1 => Some(Self::Put),
            2 => Some(Self::Spend),
            _ => None,
        }
    }
}

/// A coin without its script: what lists show and logs keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedCoin {
    /// Where the coin is.
    pub outpoint: OutPoint,
    /// Its amount.
    pub value: Amount,
    /// Height of the block that made it.
    pub height: Height,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
}

/// One change of a run, as its log keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogRecord {
    pub kind: Kind,
    pub coin: ListedCoin,
    pub script: ScriptHash,
}

pub(super) fn outpoint_key(outpoint: &OutPoint) -> [u8; OUTPOINT_BYTES] {
    join(&[outpoint.txid.as_byte_array(), &outpoint.vout.to_be_bytes()])
}

pub(super) fn place(height: Height, outpoint: &OutPoint) -> [u8; PLACE_BYTES] {
    join(&[&(!height.get()).to_be_bytes(), &outpoint_key(outpoint)])
}

pub(super) fn script_key(script: &ScriptHash, place: &[u8; PLACE_BYTES]) -> [u8; SCRIPT_KEY_BYTES] {
    join(&[script.as_bytes(), place])
}

pub(super) fn run_coin_key(outpoint: &OutPoint, run: u64) -> [u8; RUN_COIN_KEY_BYTES] {
    join(&[&outpoint_key(outpoint), &run.to_be_bytes()])
}

pub(super) fn run_script_key(
    script: &ScriptHash,
    run: u64,
    kind: Kind,
    place: &[u8; PLACE_BYTES],
) -> [u8; RUN_SCRIPT_KEY_BYTES] {
    join(&[script.as_bytes(), &run.to_be_bytes(), &[kind as u8], place])
}

/// Splits a run script key after its script hash.
pub(super) fn split_run_script_key(
    key: &[u8; RUN_SCRIPT_KEY_BYTES],
) -> Result<(ScriptHash, u64, Kind, [u8; PLACE_BYTES]), StoreError> {
    let mut rest = key.as_slice();
    let mut split = || {
        let script = ScriptHash::from_bytes(take(&mut rest)?);
        let run = u64::from_be_bytes(take(&mut rest)?);
        let [kind] = take(&mut rest)?;
        Some((script, run, Kind::of(kind)?, take(&mut rest)?))
    };
    split().ok_or_else(|| StoreError::damaged("run script key", "unknown kind"))
}

pub(super) fn split_run_coin_key(key: &[u8; RUN_COIN_KEY_BYTES]) -> u64 {
    key.last_chunk::<8>()
        .map_or(0, |run| u64::from_be_bytes(*run))
}

pub(super) fn split_script_key(key: &[u8; SCRIPT_KEY_BYTES]) -> (ScriptHash, [u8; PLACE_BYTES]) {
    let script = key.first_chunk().copied().unwrap_or_default();
    (ScriptHash::from_bytes(script), place_of(key))
}

/// Returns the place that ends a key.
pub(super) fn place_of(key: &[u8]) -> [u8; PLACE_BYTES] {
    key.last_chunk().copied().unwrap_or([0; PLACE_BYTES])
}

/// Joins a place and an entry to the coin they list.
pub(super) fn listed(place: &[u8; PLACE_BYTES], entry: &[u8]) -> Result<ListedCoin, StoreError> {
    let (mut rest, mut entry) = (place.as_slice(), entry);
    let mut read = || {
        Some(ListedCoin {
            height: Height::new(!u32::from_be_bytes(take(&mut rest)?)),
            outpoint: OutPoint {
                txid: Txid::from_byte_array(take(&mut rest)?),
                vout: u32::from_be_bytes(take(&mut rest)?),
            },
            value: Amount::from_sat(u64::from_le_bytes(take(&mut entry)?)),
            coinbase: take(&mut entry)? != [0],
        })
    };
    read().ok_or_else(|| StoreError::damaged("coin entry", "too short"))
}

pub(super) fn entry<const N: usize>(coin: &ListedCoin) -> [u8; N] {
    let value = coin.value.to_sat().to_le_bytes();
    join(&[&value, &[u8::from(coin.coinbase)]])
}

fn stamp(height: Height, coinbase: bool) -> [u8; 8] {
    (u64::from(height.get()) * 2 + u64::from(coinbase)).to_le_bytes()
}

fn read_stamp(bytes: [u8; 8]) -> Option<(Height, bool)> {
    let stamp = u64::from_le_bytes(bytes);
    let height = u32::try_from(stamp / 2).ok()?;
    Some((Height::new(height), stamp % 2 == 1))
}

pub(super) fn encode_coin(coin: &Coin) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + coin.script.len());
    out.extend_from_slice(&coin.value.to_sat().to_le_bytes());
    out.extend_from_slice(&stamp(coin.height, coin.coinbase));
    out.extend_from_slice(coin.script.as_bytes());
    out
}

pub(super) fn decode_coin(mut bytes: &[u8]) -> Result<Coin, StoreError> {
    let mut read = || {
        let value = Amount::from_sat(u64::from_le_bytes(take(&mut bytes)?));
        let (height, coinbase) = read_stamp(take(&mut bytes)?)?;
        Some(Coin {
            value,
            script: ScriptBuf::from_bytes(bytes.to_vec()),
            height,
            coinbase,
        })
    };
    read().ok_or_else(|| StoreError::damaged("coin", "too short"))
}

impl LogRecord {
    pub(super) fn new(kind: Kind, outpoint: &OutPoint, keyed: &KeyedCoin) -> Self {
        Self {
            kind,
            coin: ListedCoin {
                outpoint: *outpoint,
                value: keyed.coin.value,
                height: keyed.coin.height,
                coinbase: keyed.coin.coinbase,
            },
            script: keyed.script_hash,
        }
    }

    pub(super) fn place(&self) -> [u8; PLACE_BYTES] {
        place(self.coin.height, &self.coin.outpoint)
    }

    pub(super) fn encode(&self) -> [u8; LOG_RECORD_BYTES] {
        join(&[
            &[self.kind as u8],
            &outpoint_key(&self.coin.outpoint),
            &stamp(self.coin.height, self.coin.coinbase),
            &self.coin.value.to_sat().to_le_bytes(),
            self.script.as_bytes(),
        ])
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, StoreError> {
        let mut read = || {
            let [kind] = take(&mut bytes)?;
            let kind = Kind::of(kind).filter(|kind| *kind != Kind::Head)?;
            let outpoint = OutPoint {
                txid: Txid::from_byte_array(take(&mut bytes)?),
                vout: u32::from_be_bytes(take(&mut bytes)?),
            };
            let (height, coinbase) = read_stamp(take(&mut bytes)?)?;
            let value = Amount::from_sat(u64::from_le_bytes(take(&mut bytes)?));
            Some(Self {
                kind,
                coin: ListedCoin {
                    outpoint,
                    value,
                    height,
                    coinbase,
                },
                script: ScriptHash::from_bytes(take(&mut bytes)?),
            })
        };
        read().ok_or_else(|| StoreError::damaged("change log", "unreadable record"))
    }
}
