//! Entries of coin runs: what a change does to an outpoint.
//!
//! ```text
//! flags u8      bit 0 spends an older coin, bit 1 puts a coin, bit 2 transaction id of the entry
//!               before in this leaf, bit 3 coinbase, bits 4-6 form of the script, bit 7 zero
//! length u8     bytes after the transaction id, so that an entry is passed over without a look at it
//! txid 32       unless bit 2
//! vout          varint
//! height        varint            and the rest only for a put
//! amount        compressed
//! script        as its form says
//! ```

use std::cmp::Ordering;

use bitcoin::Amount;
use millrace_core::Height;

use super::key::{OutpointKey, prefix_of};
use super::number::{Input, MAX_VARINT_BYTES, put_amount, put_varint, varint_bytes};
use super::script_form::{MAX_FORM_BYTES, ScriptForm};
use crate::StoreError;

const SPEND: u8 = 1;
const PUT: u8 = 2;
const SAME_TXID: u8 = 4;
const COINBASE: u8 = 8;
const FORM_SHIFT: u32 = 4;
const UNUSED: u8 = 0x80;

/// Bytes that a transaction id takes where it is not that of the entry before.
pub const TXID_BYTES: usize = 32;

/// Bytes before the transaction id: flags and length.
const START_BYTES: usize = 2;

/// Longest entry in bytes: flags, length, outpoint, height, amount (71 bits), script.
pub const MAX_COIN_ENTRY_BYTES: usize =
    START_BYTES + TXID_BYTES + 5 + 5 + (MAX_VARINT_BYTES + 1) + MAX_FORM_BYTES;

const _: () = assert!(MAX_COIN_ENTRY_BYTES - START_BYTES - TXID_BYTES <= u8::MAX as usize);

/// Longest front of an entry that has its whole key, in bytes: flags, length, outpoint.
pub const MAX_COIN_KEY_BYTES: usize = START_BYTES + TXID_BYTES + 5;

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
        out.extend_from_slice(&[flags, 0]);
        let length_at = out.len() - 1;
        if !is_same {
            out.extend_from_slice(&self.outpoint.txid);
        }
        let from = out.len();
        put_varint(out, u64::from(self.outpoint.vout));
        if let Some(coin) = self.change.coin() {
            put_varint(out, u64::from(coin.height.get()));
            put_amount(out, coin.value);
            coin.script.encode(out);
        }
        let length = out.len() - from;
        if let Some(slot) = out.get_mut(length_at) {
            *slot = length as u8;
        }
    }

    /// Reads the next entry; `before` is the transaction id of the entry before in the same leaf.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn decode(before: Option<&[u8; 32]>, input: &mut Input<'_>) -> Result<Self, StoreError> {
        let flags = input.byte()?;
        let length = input.byte()?;
        let txid = if flags & SAME_TXID == 0 {
            input.array()?
        } else {
            let before = before.copied();
            before.ok_or_else(|| input.damaged("its first entry repeats a transaction id"))?
        };
        let mut rest = input.part(usize::from(length))?;
        let vout = rest.varint_u32()?;
        let is_put = flags & PUT != 0;
        let change = match (flags & SPEND != 0, is_put) {
            (true, false) if flags & !(SPEND | SAME_TXID) == 0 => CoinChange::Spend,
            (false, true) => CoinChange::Put(decode_coin(flags, &mut rest)?),
            (true, true) => CoinChange::Replace(decode_coin(flags, &mut rest)?),
            _ => return Err(input.damaged(format!("unknown flags {flags:#04x} of a coin"))),
        };
        if rest.left() > 0 {
            return Err(rest.damaged(format!("{} bytes after a coin", rest.left())));
        }
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
    /// Reads the entry at the front of `bytes`, without a look at what follows its outpoint; `None`
    /// when it is damaged.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let [flags, length, rest @ ..] = bytes else {
            return None;
        };
        let (mut txid, mut rest) = (None, rest);
        let mut start = START_BYTES;
        if flags & SAME_TXID == 0 {
            let (id, after) = rest.split_first_chunk()?;
            (txid, rest) = (Some(id), after);
            start += TXID_BYTES;
        }
        let length = usize::from(*length);
        let mut input = Input::new("output index", rest.get(..length)?);
        let vout = input.varint_u32().ok()?;
        let is_put = flags & PUT != 0;
        let is_known = match is_put {
            true => flags & UNUSED == 0 && input.left() > 0,
            false => flags & !SAME_TXID == SPEND && input.left() == 0,
        };
        if !is_known {
            return None;
        }
        Some(Self {
            flags: *flags,
            txid,
            vout,
            rest: input.rest(),
            length: start + length,
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
        if txid.is_none() {
            flags |= SAME_TXID;
        }
        let length = varint_bytes(self.vout) + self.rest.len();
        out.extend_from_slice(&[flags, length as u8]);
        if let Some(txid) = txid {
            out.extend_from_slice(txid);
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
    input.byte()?;
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
        let mut prefix = before.map_or(0, |txid| prefix_of(txid));
        while self.passed < entries {
            let mut at = self.at;
            let [flags, length] = *start_of(bytes, at).ok_or_else(damaged)?;
            at += START_BYTES;
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
                let vout =
                    Input::new("coin leaf", bytes.get(at..).unwrap_or_default()).varint_u32()?;
                match txid.cmp(&outpoint.txid).then(vout.cmp(&outpoint.vout)) {
                    Ordering::Less => {}
                    Ordering::Equal => {
                        let entry = bytes.get(self.at..).unwrap_or_default();
                        let mut entry = Input::new("coin leaf", entry);
                        return CoinEntry::decode(Some(txid), &mut entry).map(Found::Entry);
                    }
                    Ordering::Greater => return Ok(Found::Nothing),
                }
            }
            self.at = at + usize::from(length);
            self.txid_at = id_at;
            self.passed += 1;
        }
        if self.at != bytes.len() {
            return Err(input.damaged("bytes after its entries"));
        }
        Ok(Found::Later)
    }
}

fn start_of(bytes: &[u8], at: usize) -> Option<&[u8; START_BYTES]> {
    bytes.get(at..)?.first_chunk()
}

fn decode_coin(flags: u8, input: &mut Input<'_>) -> Result<PutCoin, StoreError> {
    Ok(PutCoin {
        height: Height::new(input.varint_u32()?),
        coinbase: flags & COINBASE != 0,
        value: input.amount()?,
        script: ScriptForm::decode(flags >> FORM_SHIFT, input)?,
    })
}
