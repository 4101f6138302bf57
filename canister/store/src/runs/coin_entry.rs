//! Entries of coin runs: what a change does to an outpoint.
//!
//! ```text
//! flags u8      bit 0 spends an older coin, bit 1 puts a coin, bit 2 transaction id of the entry
//!               before in this leaf, bit 3 coinbase, bits 4-6 form of the script, bit 7 zero
//! txid 32       unless bit 2
//! vout          varint
//! height        varint            and the rest only for a put
//! amount        compressed
//! script        as its form says
//! ```

use std::cmp::Ordering;

use bitcoin::Amount;
use millrace_core::Height;

use super::key::OutpointKey;
use super::number::{Input, MAX_VARINT_BYTES, put_amount, put_varint};
use super::script_form::{MAX_FORM_BYTES, ScriptForm};
use crate::StoreError;

const SPEND: u8 = 1;
const PUT: u8 = 2;
const SAME_TXID: u8 = 4;
const COINBASE: u8 = 8;
const FORM_SHIFT: u32 = 4;

/// Bytes that a transaction id takes where it is not that of the entry before.
pub const TXID_BYTES: usize = 32;

/// Longest entry in bytes: flags, outpoint, height, amount (71 bits), script.
pub const MAX_COIN_ENTRY_BYTES: usize =
    1 + TXID_BYTES + 5 + 5 + (MAX_VARINT_BYTES + 1) + MAX_FORM_BYTES;

/// Longest front of an entry that has its whole key, in bytes: flags, outpoint.
pub const MAX_COIN_KEY_BYTES: usize = 1 + TXID_BYTES + 5;

/// A coin that a change puts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutCoin {
    /// Height of the block that made it.
    pub height: Height,
    /// Whether a coinbase transaction made it.
    pub coinbase: bool,
    /// Its amount.
    pub value: Amount,
    /// Its script.
    pub script: ScriptForm,
}

/// What a change does to an outpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoinChange {
    /// There is no older coin; now there is one.
    Put(PutCoin),
    /// An older coin is gone.
    Spend,
    /// An older coin is gone, and another one has its name: the later one of BIP30, or one whose
    /// transaction repeats a spent one.
    Replace(PutCoin),
}

impl CoinChange {
    /// Returns the coin that is there after the change.
    pub const fn coin(&self) -> Option<&PutCoin> {
        match self {
            Self::Put(coin) | Self::Replace(coin) => Some(coin),
            Self::Spend => None,
        }
    }

    /// Returns whether an older coin goes.
    pub const fn is_spend(&self) -> bool {
        matches!(self, Self::Spend | Self::Replace(_))
    }
}

/// One entry of a coin run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinEntry {
    /// The outpoint.
    pub outpoint: OutpointKey,
    /// What happens to it.
    pub change: CoinChange,
}

impl CoinEntry {
    /// Appends the entry; `before` is the transaction id of the entry before in the same leaf.
    pub fn encode(&self, before: Option<&[u8; 32]>, out: &mut Vec<u8>) {
        let is_same = before == Some(&self.outpoint.txid);
        let mut flags = if is_same { SAME_TXID } else { 0 };
        if self.change.is_spend() {
            flags |= SPEND;
        }
        if let Some(coin) = self.change.coin() {
            flags |= PUT | coin.script.code() << FORM_SHIFT;
            if coin.coinbase {
                flags |= COINBASE;
            }
        }
        out.push(flags);
        if !is_same {
            out.extend_from_slice(&self.outpoint.txid);
        }
        put_varint(out, u64::from(self.outpoint.vout));
        if let Some(coin) = self.change.coin() {
            put_varint(out, u64::from(coin.height.get()));
            put_amount(out, coin.value);
            coin.script.encode(out);
        }
    }

    /// Reads the next entry; `before` is the transaction id of the entry before in the same leaf.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn decode(before: Option<&[u8; 32]>, input: &mut Input<'_>) -> Result<Self, StoreError> {
        let flags = input.byte()?;
        let txid = if flags & SAME_TXID == 0 {
            input.array()?
        } else {
            let before = before.copied();
            before.ok_or_else(|| input.damaged("its first entry repeats a transaction id"))?
        };
        let vout = input.varint_u32()?;
        let is_put = flags & PUT != 0;
        let change = match (flags & SPEND != 0, is_put) {
            (true, false) if flags & !(SPEND | SAME_TXID) == 0 => CoinChange::Spend,
            (false, true) => CoinChange::Put(decode_coin(flags, input)?),
            (true, true) => CoinChange::Replace(decode_coin(flags, input)?),
            _ => return Err(input.damaged(format!("unknown flags {flags:#04x} of a coin"))),
        };
        Ok(Self {
            outpoint: OutpointKey { txid, vout },
            change,
        })
    }
}

/// An entry as a leaf holds it: what merges and look-ups need of most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEntry<'a> {
    flags: u8,
    /// The transaction id, unless it is that of the entry before.
    pub txid: Option<&'a [u8; 32]>,
    /// The output index.
    pub vout: u32,
    /// What follows the outpoint.
    rest: &'a [u8],
    /// Bytes of the entry.
    pub length: usize,
}

impl<'a> RawEntry<'a> {
    /// Reads the entry at the front of `bytes`, without a look at what follows its outpoint but for
    /// its length; `None` when it is damaged.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let flags = *bytes.first()?;
        let mut at = 1;
        let mut txid = None;
        if flags & SAME_TXID == 0 {
            txid = bytes.get(1..)?.first_chunk();
            txid?;
            at = 1 + TXID_BYTES;
        }
        let mut vout = u32::from(*bytes.get(at)?);
        if vout >= 0x80 {
            let mut input = Input::new("output index", bytes.get(at..)?);
            let left = input.left();
            vout = input.varint_u32().ok()?;
            at += left - input.left();
        } else {
            at += 1;
        }
        let rest_at = at;
        if flags & PUT != 0 {
            at = after_varint(bytes, at)?;
            at = after_varint(bytes, at)?;
            at = ScriptForm::end(flags >> FORM_SHIFT, bytes, at)?;
        } else if flags & !(SPEND | SAME_TXID) != 0 {
            return None;
        }
        Some(Self {
            flags,
            txid,
            vout,
            rest: bytes.get(rest_at..at)?,
            length: at,
        })
    }

    /// Returns what the entry does, and whether its script is in the overflow area.
    pub const fn kind(&self) -> (EntryKind, bool) {
        let kind = match (self.flags & SPEND != 0, self.flags & PUT != 0) {
            (false, _) => EntryKind::Put,
            (true, false) => EntryKind::Spend,
            (true, true) => EntryKind::Replace,
        };
        let form = self.flags >> FORM_SHIFT;
        (kind, self.flags & PUT != 0 && ScriptForm::is_overflow(form))
    }

    /// Appends the entry, doing what `kind` says, after one with another or the same transaction
    /// id.
    pub fn encode(&self, kind: EntryKind, txid: Option<&[u8; 32]>, out: &mut Vec<u8>) {
        let mut flags = self.flags & !(SPEND | SAME_TXID);
        if kind != EntryKind::Put {
            flags |= SPEND;
        }
        match txid {
            Some(txid) => {
                out.push(flags);
                out.extend_from_slice(txid);
            }
            None => out.push(flags | SAME_TXID),
        }
        put_varint(out, u64::from(self.vout));
        out.extend_from_slice(self.rest);
    }
}

/// What an entry does, without the coin it puts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// [`CoinChange::Put`].
    Put,
    /// [`CoinChange::Spend`].
    Spend,
    /// [`CoinChange::Replace`].
    Replace,
}

impl EntryKind {
    /// Returns what this and then `newer` do together; `None` when that is nothing. The coin, if
    /// there is one afterwards, is that of `newer`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when `newer` cannot follow: it puts what is there, or spends what
    /// is not.
    pub fn then(self, newer: Self) -> Result<Option<Self>, StoreError> {
        match (self, newer) {
            (Self::Put, Self::Spend) => Ok(None),
            (Self::Put, Self::Replace) => Ok(Some(Self::Put)),
            (Self::Replace, Self::Spend) => Ok(Some(Self::Spend)),
            (Self::Spend, Self::Put) | (Self::Replace, Self::Replace) => Ok(Some(Self::Replace)),
            (Self::Put | Self::Replace, Self::Put) => {
                Err(StoreError::damaged("changes", "a coin is put twice"))
            }
            (Self::Spend, Self::Spend | Self::Replace) => {
                Err(StoreError::damaged("changes", "a coin is spent twice"))
            }
        }
    }
}

/// What looking through a leaf led to.
#[derive(Debug)]
pub enum Found {
    /// The entry.
    Entry(CoinEntry),
    /// A larger one comes where it would be.
    Nothing,
    /// All entries are smaller.
    Later,
}

/// Returns the key of a leaf's first entry, at the front of `input`.
///
/// # Errors
/// [`StoreError::Damaged`].
pub fn first_key(mut input: Input<'_>) -> Result<OutpointKey, StoreError> {
    if input.byte()? & SAME_TXID != 0 {
        return Err(input.damaged("its first entry repeats a transaction id"));
    }
    Ok(OutpointKey {
        txid: input.array()?,
        vout: input.varint_u32()?,
    })
}

/// How far a leaf's entries were looked through. Outpoints asked for in ascending order go through
/// them once.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeafScan {
    /// Entries passed, and their bytes: all of them are smaller than `asked`.
    passed: u16,
    at: usize,
    /// Where the transaction id of the last one passed is.
    txid_at: Option<usize>,
    asked: Option<OutpointKey>,
}

impl LeafScan {
    /// Returns whether an outpoint is none of those passed.
    pub fn may_go_on(&self, outpoint: &OutpointKey) -> bool {
        self.asked.is_some_and(|asked| asked <= *outpoint)
    }

    /// Looks for the entry of an outpoint among a leaf's entries. Others are passed over, not decoded:
    /// the first bytes of their transaction ids nearly always decide.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn find(
        &mut self,
        outpoint: &OutpointKey,
        entries: u16,
        input: Input<'_>,
    ) -> Result<Found, StoreError> {
        if self.asked.is_some_and(|asked| asked > *outpoint) {
            *self = Self::default();
        }
        self.asked = Some(*outpoint);
        let damaged = || input.damaged("an entry that has no end");
        let bytes = input.rest();
        let txid_at = |at: usize| {
            let txid = bytes.get(at..).and_then(<[u8]>::first_chunk::<TXID_BYTES>);
            txid.ok_or_else(damaged)
        };
        let wanted = outpoint.prefix();
        let mut before = self.txid_at.map(txid_at).transpose()?;
        let mut prefix = before.map_or(0, prefix_of);
        while self.passed < entries {
            let mut at = self.at;
            let flags = *bytes.get(at).ok_or_else(damaged)?;
            at += 1;
            let mut id_at = self.txid_at;
            if flags & SAME_TXID == 0 {
                let txid = txid_at(at)?;
                prefix = prefix_of(txid);
                before = Some(txid);
                id_at = Some(at);
                at += TXID_BYTES;
            }
            if prefix > wanted {
                return Ok(Found::Nothing);
            }
            if prefix == wanted {
                let txid = before.ok_or_else(|| input.damaged("its first entry repeats an id"))?;
                let entry = bytes.get(self.at..).unwrap_or_default();
                let mut entry = Input::new("coin leaf", entry);
                let decoded = CoinEntry::decode(Some(txid), &mut entry)?;
                match decoded.outpoint.cmp(outpoint) {
                    Ordering::Less => {}
                    Ordering::Equal => return Ok(Found::Entry(decoded)),
                    Ordering::Greater => return Ok(Found::Nothing),
                }
            }
            at = after_varint(bytes, at).ok_or_else(damaged)?;
            if flags & PUT != 0 {
                at = after_varint(bytes, at).ok_or_else(damaged)?;
                at = after_varint(bytes, at).ok_or_else(damaged)?;
                at = ScriptForm::end(flags >> FORM_SHIFT, bytes, at).ok_or_else(damaged)?;
            }
            self.at = at;
            self.txid_at = id_at;
            self.passed += 1;
        }
        Ok(Found::Later)
    }
}

fn prefix_of(txid: &[u8; TXID_BYTES]) -> u64 {
    txid.first_chunk()
        .map_or(0, |head| u64::from_be_bytes(*head))
}

fn after_varint(bytes: &[u8], mut at: usize) -> Option<usize> {
    while *bytes.get(at)? & 0x80 != 0 {
        at += 1;
    }
    Some(at + 1)
}

fn decode_coin(flags: u8, input: &mut Input<'_>) -> Result<PutCoin, StoreError> {
    Ok(PutCoin {
        height: Height::new(input.varint_u32()?),
        coinbase: flags & COINBASE != 0,
        value: input.amount()?,
        script: ScriptForm::decode(flags >> FORM_SHIFT, input)?,
    })
}
