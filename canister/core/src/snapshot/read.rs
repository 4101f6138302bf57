//! Reads coins from any piece of a file.

use bitcoin::hashes::Hash;
use bitcoin::{OutPoint, ScriptBuf, Txid};

use super::number::{Bytes, NumberError, restore_amount};
use super::script::{self, ScriptError};
use super::{METADATA_BYTES, SnapshotCoin};
use crate::network::Network;
use crate::units::Height;

/// Most satoshi that a coin can have.
const MAX_MONEY: u64 = 2_100_000_000_000_000;

/// Why bytes are no snapshot. Permanent: the file must be another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It ends too early.
    #[error("{given} bytes are too few for a snapshot, whose metadata has {needed}")]
    Short {
        /// Bytes given.
        given: usize,
        /// Bytes needed.
        needed: usize,
    },
    /// It does not begin as one.
    #[error("it begins with {found:02x?} instead of \"utxo\" and 0xff: no `dumptxoutset` wrote it")]
    NoSnapshot {
        /// The first bytes.
        found: [u8; 5],
    },
    /// It is of another version.
    #[error(
        "it has version {found}, and 2 is what can be read: write it with Bitcoin Core 28 or newer"
    )]
    Version {
        /// The version.
        found: u16,
    },
    /// It is of another network.
    #[error("it has the network magic {found:02x?}, {expected} has {:02x?}", expected.magic().to_bytes())]
    OtherNetwork {
        /// Its magic.
        found: [u8; 4],
        /// The network asked for.
        expected: Network,
    },
    /// Something in a coin is impossible.
    #[error("the coin at byte {at} is damaged: {what}")]
    Coin {
        /// Where it begins, counted from where the reader began.
        at: usize,
        /// What is wrong.
        what: String,
    },
}

/// Where a reader is between two coins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The transaction whose coins are being read.
    pub txid: Txid,
    /// How many of them are left; with none the next coin begins a group.
    pub left: u64,
}

impl Position {
    /// At the first group.
    pub fn start() -> Self {
        Self {
            txid: Txid::from_byte_array([0; 32]),
            left: 0,
        }
    }
}

/// Reads the coins of a piece that begins at a coin.
#[derive(Clone, Debug)]
pub struct CoinReader<'a> {
    bytes: &'a [u8],
    at: usize,
    position: Position,
}

impl<'a> CoinReader<'a> {
    /// Starts with the first byte of `bytes`, at a position.
    pub const fn new(bytes: &'a [u8], position: Position) -> Self {
        Self {
            bytes,
            at: 0,
            position,
        }
    }

    /// Returns how many bytes the coins read so far take.
    pub const fn consumed(&self) -> usize {
        self.at
    }

    /// Returns where the next coin begins.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Reads the next coin; `None` where the bytes end before it does. At most
    /// [`super::MAX_COIN_BYTES`] bytes are needed for that.
    ///
    /// # Errors
    /// [`SnapshotError::Coin`]; the reader is where it was.
    pub fn next_coin(&mut self) -> Result<Option<SnapshotCoin>, SnapshotError> {
        let mut bytes = Bytes::new(self.bytes, self.at);
        match self.read(&mut bytes) {
            Ok((coin, position)) => {
                self.at = bytes.at();
                self.position = position;
                Ok(Some(coin))
            }
            Err(Broken::CutOff) => Ok(None),
            Err(Broken::Damaged(what)) => Err(SnapshotError::Coin { at: self.at, what }),
        }
    }

    fn read(&self, bytes: &mut Bytes<'_>) -> Result<(SnapshotCoin, Position), Broken> {
        let mut position = self.position;
        if position.left == 0 {
            position.txid = Txid::from_byte_array(bytes.array()?);
            position.left = bytes.compact_size()?;
        }
        position.left = position.left.checked_sub(1).ok_or_else(|| {
            Broken::Damaged(format!("transaction {} has no coins", position.txid))
        })?;
        let vout = bytes.compact_size()?;
        let vout = u32::try_from(vout).ok().filter(|vout| *vout < u32::MAX);
        let vout = vout.ok_or_else(|| Broken::Damaged("no output has such an index".to_owned()))?;
        let code = bytes.varint()?;
        let height = u32::try_from(code >> 1)
            .map_err(|_| Broken::Damaged(format!("no block has the height {}", code >> 1)))?;
        let amount = bytes.varint()?;
        let satoshi = restore_amount(amount).filter(|satoshi| *satoshi <= MAX_MONEY);
        let satoshi = satoshi.ok_or_else(|| {
            Broken::Damaged(format!("{amount}, an amount, is more than there can be"))
        })?;
        let coin = SnapshotCoin {
            outpoint: OutPoint {
                txid: position.txid,
                vout,
            },
            height: Height::new(height),
            coinbase: code & 1 == 1,
            satoshi,
            script: ScriptBuf::from_bytes(script::read(bytes)?),
        };
        Ok((coin, position))
    }
}

enum Broken {
    CutOff,
    Damaged(String),
}

impl From<NumberError> for Broken {
    fn from(error: NumberError) -> Self {
        match error {
            NumberError::CutOff => Self::CutOff,
            NumberError::Malformed => {
                Self::Damaged("a number is longer than it need be, or than 64 bits".to_owned())
            }
        }
    }
}

impl From<ScriptError> for Broken {
    fn from(error: ScriptError) -> Self {
        match error {
            ScriptError::Number(error) => error.into(),
            ScriptError::TooLong(length) => {
                Self::Damaged(format!("a script of {length} bytes cannot be spent"))
            }
            ScriptError::NoKey => Self::Damaged("a public key is not on the curve".to_owned()),
        }
    }
}

const _: () = assert!(METADATA_BYTES == 5 + 2 + 4 + 32 + 8);
