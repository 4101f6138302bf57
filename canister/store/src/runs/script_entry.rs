//! Groups of script runs: what a change does to the coins of one script.
//!
//! ```text
//! part
//!   key 20
//!   flags u8     bit 0 goes on from the leaf before, bit 1 goes on in the next leaf
//!   satoshi      zigzag varint     change of the balance; only in a group's first part
//!   coins        zigzag varint     change of the number of coins; likewise
//!   entries      varint            of this part
//!   bytes        varint            that they take
//! entry
//!   flags u8     bit 0 spend, bit 1 coinbase, bit 2 height of the entry before in this part,
//!                bit 3 transaction id of the entry before, bits 4-7 zero
//!   height       varint            unless bit 2
//!   txid 32      unless bit 3
//!   vout         varint
//!   amount       compressed        only for a put
//! ```

use bitcoin::Amount;
use millrace_core::Height;

use super::key::{OutpointKey, Place, SCRIPT_KEY_BYTES, ScriptKey};
use super::number::{Input, MAX_VARINT_BYTES, MAX_WIDE_BYTES, put_amount, put_signed, put_varint};
use crate::StoreError;

const FROM_BEFORE: u8 = 1;
const GOES_ON: u8 = 2;

const SPEND: u8 = 1;
const COINBASE: u8 = 2;
const SAME_HEIGHT: u8 = 4;
const SAME_TXID: u8 = 8;

/// Longest entry in bytes.
pub const MAX_SCRIPT_ENTRY_BYTES: usize = 1 + 5 + 32 + 5 + (MAX_VARINT_BYTES + 1);

/// Longest head of a part in bytes; counts and lengths in a leaf take two bytes each at most.
pub const MAX_PART_HEAD_BYTES: usize =
    SCRIPT_KEY_BYTES + 1 + MAX_WIDE_BYTES + MAX_VARINT_BYTES + 2 + 2;

/// Change of what a script holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BalanceChange {
    /// Sum of the coins put less the coins spent. Wider than any amount: nothing bounds created
    /// values under proof-of-work validation.
    pub satoshi: i128,
    /// Number of coins put less coins spent.
    pub coins: i64,
}

impl BalanceChange {
    /// Returns this change and `other` together.
    pub const fn and(self, other: Self) -> Self {
        Self {
            satoshi: self.satoshi.saturating_add(other.satoshi),
            coins: self.coins.saturating_add(other.coins),
        }
    }
}

/// What a change does to a coin of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListChange {
    /// The coin is new.
    Put {
        /// Its amount.
        value: Amount,
        /// Whether a coinbase transaction made it.
        coinbase: bool,
    },
    /// An older coin is gone.
    Spend,
}

/// One entry of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptEntry {
    /// Where the coin is in the script's list.
    pub place: Place,
    /// What happens to it.
    pub change: ListChange,
}

impl ScriptEntry {
    /// Appends the entry; `before` is the place of the entry before in the same part.
    pub fn encode(&self, before: Option<&Place>, out: &mut Vec<u8>) {
        let height = self.place.height();
        let outpoint = &self.place.outpoint;
        let is_same_height = before.is_some_and(|before| before.height() == height);
        let is_same_txid = before.is_some_and(|before| before.outpoint.txid == outpoint.txid);
        let mut flags = match self.change {
            ListChange::Spend => SPEND,
            ListChange::Put { coinbase: true, .. } => COINBASE,
            ListChange::Put { .. } => 0,
        };
        if is_same_height {
            flags |= SAME_HEIGHT;
        }
        if is_same_txid {
            flags |= SAME_TXID;
        }
        out.push(flags);
        if !is_same_height {
            put_varint(out, u64::from(height.get()));
        }
        if !is_same_txid {
            out.extend_from_slice(&outpoint.txid);
        }
        put_varint(out, u64::from(outpoint.vout));
        if let ListChange::Put { value, .. } = self.change {
            put_amount(out, value);
        }
    }

    /// Reads the next entry; `before` is the place of the entry before in the same part.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn decode(before: Option<&Place>, input: &mut Input<'_>) -> Result<Self, StoreError> {
        let flags = input.byte()?;
        let first = || input.damaged("the first entry of a part repeats the one before");
        let height = if flags & SAME_HEIGHT == 0 {
            Height::new(input.varint_u32()?)
        } else {
            before.ok_or_else(first)?.height()
        };
        let txid = if flags & SAME_TXID == 0 {
            input.array()?
        } else {
            let before = before.ok_or_else(|| input.damaged("a first entry repeats an id"))?;
            before.outpoint.txid
        };
        let vout = input.varint_u32()?;
        let change = match flags & !(SAME_HEIGHT | SAME_TXID) {
            SPEND => ListChange::Spend,
            kind @ (0 | COINBASE) => ListChange::Put {
                value: input.amount()?,
                coinbase: kind == COINBASE,
            },
            _ => return Err(input.damaged(format!("unknown flags {flags:#04x} of a listed coin"))),
        };
        let place = Place::new(height, OutpointKey { txid, vout });
        Ok(Self { place, change })
    }
}

/// Returns the first 8 bytes of the key of the part at the front of `bytes`, and the part's length;
/// `None` when it has no end.
pub(super) fn first_and_length(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = u64::from_be_bytes(*bytes.first_chunk()?);
    let flags = *bytes.get(SCRIPT_KEY_BYTES)?;
    let mut at = SCRIPT_KEY_BYTES + 1;
    let skipped = if flags & FROM_BEFORE == 0 { 3 } else { 1 };
    for _ in 0..skipped {
        while *bytes.get(at)? & 0x80 != 0 {
            at += 1;
        }
        at += 1;
    }
    let mut rest = Input::new("part", bytes.get(at..)?);
    let entries = rest.varint_u32().ok()? as usize;
    let length = bytes.len() - rest.left() + entries;
    (entries <= rest.left()).then_some((first, length))
}

/// The head of a group's part in one leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// The script.
    pub key: ScriptKey,
    /// What the whole group sums up to; `None` when the part goes on from the leaf before.
    pub change: Option<BalanceChange>,
    /// Whether the group goes on in the next leaf.
    pub goes_on: bool,
    /// Entries of this part.
    pub entries: u32,
    /// Bytes they take.
    pub bytes: u32,
}

impl PartHead {
    /// Appends the head.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key.0);
        let from_before = if self.change.is_none() {
            FROM_BEFORE
        } else {
            0
        };
        out.push(from_before | if self.goes_on { GOES_ON } else { 0 });
        if let Some(change) = self.change {
            put_signed(out, change.satoshi);
            put_signed(out, i128::from(change.coins));
        }
        put_varint(out, u64::from(self.entries));
        put_varint(out, u64::from(self.bytes));
    }

    /// Reads the next head.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn decode(input: &mut Input<'_>) -> Result<Self, StoreError> {
        let key = ScriptKey(input.array()?);
        let flags = input.byte()?;
        if flags & !(FROM_BEFORE | GOES_ON) != 0 {
            return Err(input.damaged(format!("unknown flags {flags:#04x} of a group")));
        }
        let change = if flags & FROM_BEFORE == 0 {
            let satoshi = input.signed()?;
            let coins = input.signed()?;
            let coins = i64::try_from(coins)
                .map_err(|_| input.damaged(format!("{coins} coins are over 64 bits")))?;
            Some(BalanceChange { satoshi, coins })
        } else {
            None
        };
        let (entries, bytes) = (input.varint_u32()?, input.varint_u32()?);
        if entries == 0 || bytes as usize > input.left() {
            return Err(input.damaged(format!(
                "a group's part of {entries} entries, {bytes} bytes"
            )));
        }
        Ok(Self {
            key,
            change,
            goes_on: flags & GOES_ON != 0,
            entries,
            bytes,
        })
    }
}
