//! What Bitcoin Core's `gettxoutsetinfo muhash` says of a set of coins: hash, number, amount, size.
//!
//! Which coins count, and how one is written before it is hashed, is Core's `coinstatsindex`:
//!
//! ```text
//! txid 32 | index u32 | height * 2 + 1 if a coinbase made it, u32 | satoshi u64 | length, script
//! ```
//!
//! Numbers are little endian, the length is a CompactSize. Outputs that nobody can spend are no coins at
//! all ([`crate::delta::is_unspendable`]); [`counts`] has the other exceptions.

#[cfg(test)]
mod tests;

use bitcoin::OutPoint;
use bitcoin::consensus::encode::VarInt;
use bitcoin::hashes::Hash;

use crate::bytes::{Reader, fixed};
use crate::muhash::{Element, MUHASH_BYTES, MuHash};
use crate::network::Network;
use crate::sha256::{BLOCK_BYTES, LANES, blocks_of, digests, pad};
use crate::units::Height;

/// Bytes of a [`Commitment`] as it is stored: hash, outputs, satoshi, bogosize.
pub const COMMITMENT_BYTES: usize = MUHASH_BYTES + 8 + 16 + 16;

/// What Core counts for each coin's size besides its script's bytes: id 32, index 4, height 4,
/// amount 8, length 2.
const BOGO_BYTES: i128 = 50;

/// Returns whether Bitcoin Core counts a coin made at `height`.
///
/// It has no coin of the genesis block, and leaves out the two mainnet coinbases that later ones replaced
/// (BIP30) from the start: nobody ever spent them.
pub const fn counts(network: Network, height: Height, coinbase: bool) -> bool {
    let is_replaced =
        matches!(network, Network::Mainnet) && matches!(height.get(), 91_722 | 91_812);
    !(coinbase && (height.get() == 0 || is_replaced))
}

/// A coin as it is hashed.
#[derive(Clone, Copy, Debug)]
pub struct CountedCoin<'a> {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Height of the block that made it.
    pub height: Height,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
    /// Its amount.
    pub satoshi: u64,
    /// Its script, in pieces.
    pub script: &'a [&'a [u8]],
}

impl CountedCoin<'_> {
    fn script_bytes(&self) -> usize {
        self.script.iter().map(|part| part.len()).sum()
    }

    /// Replaces `out` by what is hashed.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let code = self.height.get() << 1 | u32::from(self.coinbase);
        out.clear();
        out.extend_from_slice(self.outpoint.txid.as_byte_array());
        out.extend_from_slice(&self.outpoint.vout.to_le_bytes());
        out.extend_from_slice(&code.to_le_bytes());
        out.extend_from_slice(&self.satoshi.to_le_bytes());
        let length = self.script_bytes();
        match u8::try_from(length) {
            Ok(short) if short < 0xfd => out.push(short),
            _ => out.extend_from_slice(&bitcoin::consensus::serialize(&VarInt::from(length))),
        }
        for part in self.script {
            out.extend_from_slice(part);
        }
    }
}

/// Sums over coins; of a change, what it adds less what it takes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of coins.
    pub outputs: i64,
    /// Their amounts. Wider than any amount: nothing bounds created values under proof-of-work
    /// validation.
    pub satoshi: i128,
    /// Core's measure of size that depends on no database: 50 bytes for each coin, and its script.
    pub bogosize: i128,
}

impl Totals {
    fn of(coin: &CountedCoin<'_>, sign: i64) -> Self {
        let size = BOGO_BYTES + coin.script_bytes() as i128;
        Self {
            outputs: sign,
            satoshi: i128::from(coin.satoshi) * i128::from(sign),
            bogosize: size * i128::from(sign),
        }
    }

    fn add(&mut self, other: &Self) {
        self.outputs = self.outputs.saturating_add(other.outputs);
        self.satoshi = self.satoshi.saturating_add(other.satoshi);
        self.bogosize = self.bogosize.saturating_add(other.bogosize);
    }
}

/// Hash and sums of a set of coins, or of a change of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commitment {
    /// The set's hash.
    pub muhash: MuHash,
    /// Its sums.
    pub totals: Totals,
}

impl Commitment {
    /// Does to this set what `change` stands for. Costs two multiplications, however much that is.
    pub fn combine(&mut self, change: &Self) {
        self.muhash.combine(&change.muhash);
        self.totals.add(&change.totals);
    }

    /// Returns the stored form.
    pub fn to_bytes(&self) -> [u8; COMMITMENT_BYTES] {
        fixed(&[
            &self.muhash.to_bytes(),
            &self.totals.outputs.to_le_bytes(),
            &self.totals.satoshi.to_le_bytes(),
            &self.totals.bogosize.to_le_bytes(),
        ])
    }

    /// Reads the stored form. Any bytes are one.
    pub fn from_bytes(bytes: &[u8; COMMITMENT_BYTES]) -> Self {
        let mut reader = Reader::new(bytes);
        let muhash = reader.array().map(|bytes| MuHash::from_bytes(&bytes));
        let totals = Totals {
            outputs: reader.array().map(i64::from_le_bytes).unwrap_or_default(),
            satoshi: reader.array().map(i128::from_le_bytes).unwrap_or_default(),
            bogosize: reader.array().map(i128::from_le_bytes).unwrap_or_default(),
        };
        Self {
            muhash: muhash.unwrap_or_default(),
            totals,
        }
    }
}

/// Takes coins into a commitment, four at a time: what makes an element of a coin costs hardly more
/// for four than for one.
#[derive(Clone, Debug)]
pub struct Committer {
    commitment: Commitment,
    waiting: [Waiting; LANES],
    count: usize,
}

/// A coin, written and padded for hashing.
#[derive(Clone, Debug, Default)]
struct Waiting {
    padded: Vec<u8>,
    is_gone: bool,
}

impl Committer {
    /// Goes on from a commitment.
    pub fn new(commitment: Commitment) -> Self {
        Self {
            commitment,
            waiting: Default::default(),
            count: 0,
        }
    }

    /// Adds a coin. Costs about one multiplication.
    pub fn put(&mut self, coin: &CountedCoin<'_>) {
        self.push(coin, false);
    }

    /// Takes a coin away. Costs about one multiplication.
    pub fn take(&mut self, coin: &CountedCoin<'_>) {
        self.push(coin, true);
    }

    fn push(&mut self, coin: &CountedCoin<'_>, is_gone: bool) {
        let sign = if is_gone { -1 } else { 1 };
        self.commitment.totals.add(&Totals::of(coin, sign));
        if let Some(slot) = self.waiting.get_mut(self.count) {
            slot.is_gone = is_gone;
            coin.write(&mut slot.padded);
            let length = slot.padded.len();
            slot.padded.resize(blocks_of(length) * BLOCK_BYTES, 0);
            pad(&mut slot.padded, length);
            self.count += 1;
        }
        if self.count == LANES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let messages = self.waiting.each_ref();
        let messages = messages.map(|waiting| waiting.padded.as_chunks().0);
        let elements = Element::of_digests(digests(messages));
        let waiting = self.waiting.iter().take(self.count);
        for (element, waiting) in elements.iter().zip(waiting) {
            if waiting.is_gone {
                self.commitment.muhash.remove(element);
            } else {
                self.commitment.muhash.insert(element);
            }
        }
        self.count = 0;
    }

    /// Returns the commitment, all coins in it.
    pub fn finish(mut self) -> Commitment {
        if self.count > 0 {
            self.flush();
        }
        self.commitment
    }
}
