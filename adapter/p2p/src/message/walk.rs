//! Steps over the transactions of a block without decoding them: where each begins, where its witness
//! data lies, what it hashes to.

use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{Txid, Wtxid};

const VERSION_BYTES: usize = 4;
/// Marker and flag (BIP144).
const MARKER_BYTES: usize = 2;
const OUTPOINT_BYTES: usize = 36;
const SEQUENCE_BYTES: usize = 4;
const VALUE_BYTES: usize = 8;
const LOCK_TIME_BYTES: usize = 4;

/// Why bytes are no transaction. Offsets count from the front of the bytes given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end.
    #[error("it ends within a transaction, after {0} bytes")]
    Ends(usize),
    /// A length or count takes more bytes than it needs.
    #[error("a number at byte {0} is written longer than it need be")]
    NotMinimal(usize),
    /// The byte after the marker is not 1.
    #[error("the transaction at byte {0} has the unknown flag {1}")]
    Flag(usize, u8),
    /// There is nothing that witness data could belong to.
    #[error("the transaction at byte {0} has witness data but no inputs")]
    NoInputs(usize),
    /// Every witness is empty, so the marker must not be there.
    #[error("the transaction at byte {0} says it has witness data and has none")]
    NoWitness(usize),
}

/// A transaction's bytes in its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalkedTransaction<'a> {
    /// All of it.
    pub(crate) bytes: &'a [u8],
    /// Its version.
    version: &'a [u8],
    /// Inputs and outputs with their counts.
    body: &'a [u8],
    lock_time: &'a [u8],
    /// Whether its only input names no output.
    pub(crate) is_coinbase: bool,
}

impl WalkedTransaction<'_> {
    /// Returns its parts without witness data, in order.
    pub(crate) const fn base(&self) -> [&[u8]; 3] {
        [self.version, self.body, self.lock_time]
    }

    /// Returns its bytes without witness data.
    pub(crate) fn base_bytes(&self) -> usize {
        self.base().iter().map(|part| part.len()).sum()
    }

    pub(crate) fn txid(&self) -> Txid {
        let mut engine = sha256d::Hash::engine();
        for part in self.base() {
            engine.input(part);
        }
        Txid::from_raw_hash(sha256d::Hash::from_engine(engine))
    }

    pub(crate) fn wtxid(&self) -> Wtxid {
        Wtxid::from_raw_hash(sha256d::Hash::hash(self.bytes))
    }
}

/// Steps through bytes.
pub(crate) struct Walker<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walker<'a> {
    /// Starts after the first `at` bytes.
    pub(crate) const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Returns how many bytes are behind it.
    pub(crate) const fn offset(&self) -> usize {
        self.at
    }

    /// Steps over a transaction.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn transaction(&mut self) -> Result<WalkedTransaction<'a>, Malformed> {
        let start = self.at;
        let version = self.take(VERSION_BYTES)?;
        let is_segwit = match *self.ahead(MARKER_BYTES)? {
            [0, 1] => true,
            [0, flag] => return Err(Malformed::Flag(start, flag)),
            _ => false,
        };
        if is_segwit {
            self.take(MARKER_BYTES)?;
        }
        let body_at = self.at;
        let inputs = self.number()?;
        if inputs == 0 {
            return Err(Malformed::NoInputs(start));
        }
        let mut is_coinbase = false;
        for _ in 0..inputs {
            let outpoint = self.take(OUTPOINT_BYTES)?;
            is_coinbase = inputs == 1 && is_null(outpoint);
            self.pass()?;
            self.take(SEQUENCE_BYTES)?;
        }
        for _ in 0..self.number()? {
            self.take(VALUE_BYTES)?;
            self.pass()?;
        }
        let body = self.since(body_at);
        if is_segwit {
            self.witnesses(start, inputs)?;
        }
        let lock_time = self.take(LOCK_TIME_BYTES)?;
        Ok(WalkedTransaction {
            bytes: self.since(start),
            version,
            body,
            lock_time,
            is_coinbase,
        })
    }

    fn witnesses(&mut self, start: usize, inputs: u64) -> Result<(), Malformed> {
        let mut has_witness = false;
        for _ in 0..inputs {
            let items = self.number()?;
            has_witness |= items > 0;
            for _ in 0..items {
                self.pass()?;
            }
        }
        if has_witness {
            Ok(())
        } else {
            Err(Malformed::NoWitness(start))
        }
    }

    /// Takes a number in Bitcoin's variable length.
    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let first = self.take(1)?.first().copied().unwrap_or_default();
        let (digits, least) = match first {
            0xfd => (2, 0xfd),
            0xfe => (4, 0x1_0000),
            0xff => (8, 0x1_0000_0000),
            short => return Ok(u64::from(short)),
        };
        let digits = self.take(digits)?.iter().rev();
        let number = digits.fold(0, |number, digit| number << 8 | u64::from(*digit));
        if number < least {
            return Err(Malformed::NotMinimal(start));
        }
        Ok(number)
    }

    /// Passes over bytes that their length precedes.
    fn pass(&mut self) -> Result<(), Malformed> {
        let length = self.number()?;
        let length = usize::try_from(length).map_err(|_| self.ends())?;
        self.take(length)?;
        Ok(())
    }

    fn ahead(&self, count: usize) -> Result<&'a [u8], Malformed> {
        let rest = self.bytes.get(self.at..);
        let ahead = rest.and_then(|rest| rest.get(..count));
        ahead.ok_or_else(|| self.ends())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let taken = self.ahead(count)?;
        self.at += count;
        Ok(taken)
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    const fn ends(&self) -> Malformed {
        Malformed::Ends(self.bytes.len())
    }
}

/// Returns whether an outpoint names nothing: an id of zeros and the highest index.
fn is_null(outpoint: &[u8]) -> bool {
    outpoint
        .split_last_chunk::<4>()
        .is_some_and(|(txid, vout)| *vout == [0xff; 4] && txid.iter().all(|byte| *byte == 0))
}
