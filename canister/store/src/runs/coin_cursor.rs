//! Reads a coin run: one outpoint, or all from one on.

use bitcoin::ScriptBuf;
use ic_stable_structures::Memory;

use super::coin_entry::{
    self, CoinChange, CoinEntry, Found, LeafScan, MAX_COIN_KEY_BYTES, RawEntry,
};
use super::key::OutpointKey;
use super::leaf;
use super::number::Input;
use super::run::{FenceWindow, Run};
use super::script_form::ScriptForm;
use crate::StoreError;

const WHAT: &str = "coin leaf";

/// A place between two entries of a run. It holds one leaf.
#[derive(Clone, Debug)]
pub struct CoinCursor {
    run: Run,
    next_leaf: u32,
    leaf: Vec<u8>,
    /// Bytes of the leaf's entries, and how many of them were not looked at.
    used: usize,
    entries_left: u16,
    offset: usize,
    last: Option<OutpointKey>,
    head: Option<Head>,
}

/// The next entry: its key, and where it is in the leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// First bytes of the key, which nearly always decide which of two is smaller.
    pub prefix: u64,
    /// The key.
    pub outpoint: OutpointKey,
    start: usize,
    length: usize,
}

/// Returns what a run does to an outpoint. Reads a filter block, and where that says maybe, fences
/// and mostly one leaf.
///
/// # Errors
/// [`StoreError`] when the run is damaged.
pub fn find_coin<M: Memory>(
    memory: &M,
    run: &Run,
    outpoint: &OutpointKey,
) -> Result<Option<CoinChange>, StoreError> {
    if !run.may_contain(memory, &outpoint.digest())? {
        return Ok(None);
    }
    let mut leaf = LeafCache::default();
    find_in_leaves(memory, run, outpoint, &mut leaf)
}

/// The leaf of one run that was read last, how far it was looked through, and the fences around it.
#[derive(Clone, Debug, Default)]
pub struct LeafCache {
    index: Option<u32>,
    bytes: Vec<u8>,
    scan: LeafScan,
    fences: FenceWindow,
}

impl LeafCache {
    /// Forgets the leaf: another run's come next.
    pub const fn clear(&mut self) {
        self.index = None;
        self.fences.clear();
    }
}

/// As [`find_coin`], for an outpoint that the filter admits. The leaf stays in the cache: the next
/// outpoint in order is often in the same one.
///
/// # Errors
/// [`StoreError`] when the run is damaged.
pub fn find_in_leaves<M: Memory>(
    memory: &M,
    run: &Run,
    outpoint: &OutpointKey,
    cache: &mut LeafCache,
) -> Result<Option<CoinChange>, StoreError> {
    if run.header().leaves == 0 {
        return Ok(None);
    }
    if let Some(index) = cache.index
        && cache.scan.may_go_on(outpoint)
        && cache.fences.may_hold(index, outpoint.prefix())
    {
        let (entries, body) = leaf::open(WHAT, cache.bytes.as_slice())?;
        match cache.scan.find(outpoint, entries, Input::new(WHAT, body))? {
            Found::Entry(mut entry) => {
                resolve(memory, run, &mut entry)?;
                return Ok(Some(entry.change));
            }
            Found::Nothing => return Ok(None),
            Found::Later => {}
        }
    }
    let leaf = CoinCursor::leaf_of(memory, run, outpoint, &mut cache.fences)?;
    if cache.index != Some(leaf) {
        cache.index = None;
        run.read_leaf(memory, leaf, &mut cache.bytes)?;
        cache.scan = LeafScan::default();
        cache.index = Some(leaf);
    }
    let (entries, body) = leaf::open(WHAT, cache.bytes.as_slice())?;
    let found = cache.scan.find(outpoint, entries, Input::new(WHAT, body))?;
    let Found::Entry(mut entry) = found else {
        return Ok(None);
    };
    resolve(memory, run, &mut entry)?;
    Ok(Some(entry.change))
}

/// Returns the key of a leaf's first entry. Reads a few dozen bytes.
///
/// # Errors
/// [`StoreError`] when the run is damaged.
fn first_key<M: Memory>(memory: &M, run: &Run, leaf: u32) -> Result<OutpointKey, StoreError> {
    let mut bytes = [0; leaf::HEAD_BYTES + MAX_COIN_KEY_BYTES];
    run.read_leaf_start(memory, leaf, &mut bytes)?;
    let entry = bytes.get(leaf::HEAD_BYTES..).unwrap_or_default();
    coin_entry::first_key(Input::new(WHAT, entry))
}

/// Fetches a script from the overflow area.
fn resolve<M: Memory>(memory: &M, run: &Run, entry: &mut CoinEntry) -> Result<(), StoreError> {
    if let CoinChange::Put(coin) | CoinChange::Replace(coin) = &mut entry.change
        && let ScriptForm::Overflow { offset, length } = coin.script
    {
        let script = run.read_overflow(memory, offset, length)?;
        coin.script = ScriptForm::Plain(ScriptBuf::from_bytes(script));
    }
    Ok(())
}

impl CoinCursor {
    /// Starts before the first entry. Reads nothing.
    pub fn start(run: &Run) -> Self {
        Self {
            run: *run,
            next_leaf: 0,
            leaf: Vec::new(),
            used: 0,
            entries_left: 0,
            offset: 0,
            last: None,
            head: None,
        }
    }

    /// Starts before the first entry of `outpoint` or a larger one.
    ///
    /// # Errors
    /// [`StoreError`] when the run is damaged.
    pub fn seek<M: Memory>(
        memory: &M,
        run: &Run,
        outpoint: &OutpointKey,
    ) -> Result<Self, StoreError> {
        let mut cursor = Self::start(run);
        cursor.next_leaf = Self::leaf_of(memory, run, outpoint, &mut FenceWindow::default())?;
        while let Some(head) = cursor.peek(memory)?
            && head.outpoint < *outpoint
        {
            cursor.advance();
        }
        Ok(cursor)
    }

    /// Returns the last leaf that begins at `outpoint` or before it. Outputs of one transaction
    /// share their fence: of one over many leaves, this reads as many as their number has bits,
    /// so that a transaction with thousands of outputs makes no look-up dear.
    fn leaf_of<M: Memory>(
        memory: &M,
        run: &Run,
        outpoint: &OutpointKey,
        fences: &mut FenceWindow,
    ) -> Result<u32, StoreError> {
        let prefix = outpoint.prefix();
        let (below, mut high) = run.fences_at(memory, prefix, fences)?;
        // The first one begins before: its fence is smaller, or there is none before it.
        let mut low = below.max(1);
        while low < high {
            let middle = low + (high - low) / 2;
            if first_key(memory, run, middle)? <= *outpoint {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low - 1)
    }

    /// Returns the next entry's key without going on; `None` after the last one.
    ///
    /// # Errors
    /// [`StoreError`] when the run is damaged: entries that do not ascend are.
    pub fn peek<M: Memory>(&mut self, memory: &M) -> Result<Option<&Head>, StoreError> {
        if self.head.is_none() {
            self.head = self.read(memory)?;
        }
        Ok(self.head.as_ref())
    }

    /// Returns the entry that was peeked at.
    pub fn raw(&self) -> Option<RawEntry<'_>> {
        let head = self.head?;
        let end = head.start + head.length;
        RawEntry::read(self.leaf.get(head.start..end)?)
    }

    /// Goes on to the entry after the one that was peeked at.
    pub const fn advance(&mut self) {
        self.head = None;
    }

    /// Returns the next entry, with its script even where that is in the overflow area; `None`
    /// after the last one.
    ///
    /// # Errors
    /// As [`CoinCursor::peek`].
    pub fn next<M: Memory>(&mut self, memory: &M) -> Result<Option<CoinEntry>, StoreError> {
        let Some(head) = self.peek(memory)?.copied() else {
            return Ok(None);
        };
        let entry = self.leaf.get(head.start..head.start + head.length);
        let mut input = Input::new(WHAT, entry.unwrap_or_default());
        let mut entry = CoinEntry::decode(Some(&head.outpoint.txid), &mut input)?;
        resolve(memory, &self.run, &mut entry)?;
        self.advance();
        Ok(Some(entry))
    }

    fn read<M: Memory>(&mut self, memory: &M) -> Result<Option<Head>, StoreError> {
        let mut before = self.last;
        if self.entries_left == 0 {
            if self.next_leaf >= self.run.header().leaves {
                return Ok(None);
            }
            self.run.read_leaf(memory, self.next_leaf, &mut self.leaf)?;
            self.next_leaf += 1;
            let (entries, body) = leaf::open(WHAT, self.leaf.as_slice())?;
            self.entries_left = entries;
            self.offset = leaf::HEAD_BYTES;
            self.used = leaf::HEAD_BYTES + body.len();
            before = None;
        }
        let damaged = |detail: &str| StoreError::damaged(WHAT, detail);
        let rest = self.leaf.get(self.offset..self.used).unwrap_or_default();
        let raw = RawEntry::read(rest).ok_or_else(|| damaged("an entry that has no end"))?;
        let txid = raw.txid.copied().or(before.map(|before| before.txid));
        let outpoint = OutpointKey {
            txid: txid.ok_or_else(|| damaged("its first entry repeats a transaction id"))?,
            vout: raw.vout,
        };
        let head = Head {
            prefix: outpoint.prefix(),
            outpoint,
            start: self.offset,
            length: raw.length,
        };
        if self.last.is_some_and(|last| last >= outpoint) {
            return Err(damaged(&format!("{outpoint:?} does not ascend")));
        }
        self.offset += head.length;
        self.entries_left -= 1;
        if self.entries_left == 0 && self.offset < self.used {
            return Err(damaged("bytes after its entries"));
        }
        self.last = Some(outpoint);
        Ok(Some(head))
    }
}
