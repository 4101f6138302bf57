//! Writes a coin run.

use ic_stable_structures::Memory;

use super::checkpoint::Saved;
use super::coin_entry::{
    CoinChange, CoinEntry, EntryKind, MAX_COIN_ENTRY_BYTES, RawEntry, TXID_BYTES,
};
use super::extent::Extent;
use super::header::RunKind;
use super::key::OutpointKey;
use super::number::Input;
use super::run::Run;
use super::script_form::{MAX_FORM_BYTES, MAX_INLINE_BYTES, ScriptForm};
use super::writer::{RunPlan, RunWriter};
use crate::StoreError;

/// Most bytes of an entry besides its transaction id and its script.
const FIELD_BYTES: usize = MAX_COIN_ENTRY_BYTES - TXID_BYTES - MAX_FORM_BYTES;

/// Most bytes of a script's form in an entry when the script is in the overflow area.
const OVERFLOW_FORM_BYTES: usize = 8 + 5;

/// A coin run being written. Between two entries it can wait for as long as the heap lasts.
#[derive(Clone, Debug)]
pub struct CoinWriter {
    out: RunWriter,
    last: Option<OutpointKey>,
    encoded: Vec<u8>,
}

impl CoinWriter {
    /// Starts a run that holds at most what is planned.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the extent is too small for the plan.
    pub fn new(extent: Extent, plan: &RunPlan) -> Result<Self, StoreError> {
        Ok(Self {
            out: RunWriter::new(extent, RunKind::Coins, plan)?,
            last: None,
            encoded: Vec::new(),
        })
    }

    pub(super) fn save<M: Memory>(
        &mut self,
        memory: &M,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.out.save(memory, out)?;
        self.last.save(out);
        Ok(())
    }

    pub(super) fn restore(
        extent: Extent,
        plan: &RunPlan,
        input: &mut Input<'_>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            out: RunWriter::restore(extent, RunKind::Coins, plan, input)?,
            last: Option::restore(input)?,
            encoded: Vec::new(),
        })
    }

    /// Returns the most that one entry takes of a plan: whether the entry before has its
    /// transaction id, and the length of its script if it is put.
    pub fn bound(is_same: bool, script_bytes: Option<u32>) -> RunPlan {
        let txid_bytes = if is_same { 0 } else { TXID_BYTES };
        let (form_bytes, overflow_bytes) = match script_bytes.map(|bytes| bytes as usize) {
            None => (0, 0),
            Some(script) if script > MAX_INLINE_BYTES => (OVERFLOW_FORM_BYTES, script),
            Some(script) => (MAX_FORM_BYTES - MAX_INLINE_BYTES + script, 0),
        };
        RunPlan {
            keys: 1,
            entry_bytes: (FIELD_BYTES + txid_bytes + form_bytes) as u64,
            overflow_bytes: overflow_bytes as u64,
        }
    }

    /// Adds the next entry, which must have a larger outpoint than all before.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it has not, [`StoreError::BeyondEnd`] when the run is full.
    pub fn push<M: Memory>(&mut self, memory: &M, mut entry: CoinEntry) -> Result<(), StoreError> {
        if self.last.is_some_and(|last| last >= entry.outpoint) {
            let detail = format!("{:?} does not ascend", entry.outpoint);
            return Err(StoreError::damaged("coin run", detail));
        }
        if let Some(script) = take_overflow(&mut entry) {
            let at = self.out.push_overflow(memory, &script)?;
            set_overflow(&mut entry, at);
        }
        self.encode(&entry);
        if self.encoded.len() > self.out.leaf.room() {
            self.out.end_leaf(memory)?;
            self.encode(&entry);
        }
        self.put(memory, &entry.outpoint)?;
        self.out.header.puts += u64::from(entry.change.coin().is_some());
        self.out.header.spends += u64::from(entry.change.is_spend());
        Ok(())
    }

    /// As [`CoinWriter::push`], for an entry of another run whose script is in its leaf.
    ///
    /// # Errors
    /// As [`CoinWriter::push`].
    pub fn push_raw<M: Memory>(
        &mut self,
        memory: &M,
        outpoint: &OutpointKey,
        kind: EntryKind,
        raw: &RawEntry<'_>,
    ) -> Result<(), StoreError> {
        if self.last.is_some_and(|last| last >= *outpoint) {
            let detail = format!("{outpoint:?} does not ascend");
            return Err(StoreError::damaged("coin run", detail));
        }
        let is_in_leaf = !self.out.leaf.is_empty();
        let is_same = is_in_leaf && self.last.is_some_and(|last| last.txid == outpoint.txid);
        let txid = Some(&outpoint.txid);
        self.encoded.clear();
        raw.encode(kind, txid.filter(|_| !is_same), &mut self.encoded);
        if self.encoded.len() > self.out.leaf.room() {
            self.out.end_leaf(memory)?;
            self.encoded.clear();
            raw.encode(kind, txid, &mut self.encoded);
        }
        self.put(memory, outpoint)?;
        self.out.header.puts += u64::from(kind != EntryKind::Spend);
        self.out.header.spends += u64::from(kind != EntryKind::Put);
        Ok(())
    }

    /// Adds the encoded entry.
    fn put<M: Memory>(&mut self, memory: &M, outpoint: &OutpointKey) -> Result<(), StoreError> {
        self.out.push(memory, &outpoint.digest(), &self.encoded)?;
        self.last = Some(*outpoint);
        self.out.header.entries += 1;
        Ok(())
    }

    /// Completes the run; afterwards the writer is of no use.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the run is full.
    pub fn finish<M: Memory>(&mut self, memory: &M) -> Result<Run, StoreError> {
        self.out.finish(memory)
    }

    fn encode(&mut self, entry: &CoinEntry) {
        let before = self.last.filter(|_| !self.out.leaf.is_empty());
        self.encoded.clear();
        entry.encode(before.map(|before| before.txid).as_ref(), &mut self.encoded);
    }
}

/// Replaces a script that does not fit a leaf by a reference to be filled in.
fn take_overflow(entry: &mut CoinEntry) -> Option<Vec<u8>> {
    let form = script_of(entry)?;
    let script = form.overflow().to_vec();
    if script.is_empty() {
        return None;
    }
    *form = ScriptForm::Overflow {
        offset: 0,
        length: script.len() as u32,
    };
    Some(script)
}

fn set_overflow(entry: &mut CoinEntry, at: u64) {
    if let Some(ScriptForm::Overflow { offset, .. }) = script_of(entry) {
        *offset = at;
    }
}

const fn script_of(entry: &mut CoinEntry) -> Option<&mut ScriptForm> {
    match &mut entry.change {
        CoinChange::Put(coin) | CoinChange::Replace(coin) => Some(&mut coin.script),
        CoinChange::Spend => None,
    }
}
