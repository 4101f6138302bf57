//! Writes a script run.

use ic_stable_structures::Memory;

use super::checkpoint::Saved;
use super::extent::Extent;
use super::header::RunKind;
use super::key::{Digest, Place, SCRIPT_KEY_BYTES, ScriptKey};
use super::number::{Input, MAX_VARINT_BYTES, MAX_WIDE_BYTES};
use super::run::Run;
use super::script_entry::{
    BalanceChange, ListChange, MAX_PART_HEAD_BYTES, MAX_SCRIPT_ENTRY_BYTES, PartHead, ScriptEntry,
};
use super::writer::{RunPlan, RunWriter};
use crate::StoreError;

/// Longest head of a part that goes on, and of one that begins a group, in bytes.
const LATER_HEAD_BYTES: usize = SCRIPT_KEY_BYTES + 1 + 2 + 2;
const FIRST_HEAD_BYTES: usize = LATER_HEAD_BYTES + MAX_WIDE_BYTES + MAX_VARINT_BYTES;

/// A group being written: the entries that wait to go into the leaf.
#[derive(Clone, Debug)]
struct Group {
    key: ScriptKey,
    change: BalanceChange,
    is_begun: bool,
    last: Option<Place>,
    entries: u32,
    bytes: Vec<u8>,
}

/// A script run being written. Between two entries it can wait for as long as the heap lasts.
#[derive(Clone, Debug)]
pub struct ScriptWriter {
    out: RunWriter,
    group: Option<Group>,
    last: Option<ScriptKey>,
    /// Room for a part, and for a group's entries: most groups are small, and there are many.
    part: Vec<u8>,
    spare: Vec<u8>,
}

impl ScriptWriter {
    /// Starts a run that holds at most what is planned.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when the extent is too small for the plan.
    pub fn new(extent: Extent, plan: &RunPlan) -> Result<Self, StoreError> {
        Ok(Self {
            out: RunWriter::new(extent, RunKind::Scripts, plan)?,
            group: None,
            last: None,
            part: Vec::new(),
            spare: Vec::new(),
        })
    }

    pub(super) fn save<M: Memory>(
        &mut self,
        memory: &M,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.out.save(memory, out)?;
        self.last.save(out);
        self.group.save(out);
        Ok(())
    }

    pub(super) fn restore(
        extent: Extent,
        plan: &RunPlan,
        input: &mut Input<'_>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            out: RunWriter::restore(extent, RunKind::Scripts, plan, input)?,
            last: Option::restore(input)?,
            group: Option::restore(input)?,
            part: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// Returns the most that one entry takes of a plan, and the head of its group if it is the
    /// first in it.
    pub fn bound(is_first: bool) -> RunPlan {
        let head_bytes = if is_first { FIRST_HEAD_BYTES } else { 0 };
        RunPlan {
            keys: u64::from(is_first),
            entry_bytes: (head_bytes + MAX_SCRIPT_ENTRY_BYTES) as u64,
            overflow_bytes: 0,
        }
    }

    /// Begins the next group, which must have a larger key than all before; `change` is what its
    /// entries sum up to. A group that gets no entry leaves nothing behind.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the key does not ascend, or the group before has no entries
    /// but a sum; [`StoreError::BeyondEnd`] when the run is full.
    pub fn begin_group<M: Memory>(
        &mut self,
        memory: &M,
        key: ScriptKey,
        change: BalanceChange,
    ) -> Result<(), StoreError> {
        self.end_group(memory)?;
        self.ascend(key)?;
        self.group = Some(Group {
            key,
            change,
            is_begun: false,
            last: None,
            entries: 0,
            bytes: std::mem::take(&mut self.spare),
        });
        Ok(())
    }

    /// Adds a whole group of another run, as its leaf holds it, unless so long a one could leave
    /// too much of a leaf empty: returns whether it was added. `coins` is the change of the number of
    /// coins.
    ///
    /// # Errors
    /// As [`ScriptWriter::begin_group`].
    pub fn push_group<M: Memory>(
        &mut self,
        memory: &M,
        key: ScriptKey,
        coins: i64,
        (bytes, entries): (&[u8], u32),
    ) -> Result<bool, StoreError> {
        let is_short = bytes.len() <= MAX_PART_HEAD_BYTES + MAX_SCRIPT_ENTRY_BYTES;
        self.end_group(memory)?;
        if !is_short && bytes.len() > self.out.leaf.room() {
            return Ok(false);
        }
        self.ascend(key)?;
        if bytes.len() > self.out.leaf.room() {
            self.out.end_leaf(memory)?;
        }
        self.out.push(memory, &Digest::from(&key), bytes)?;
        self.out.header.entries += 1;
        // So many more were put than spent.
        let puts = i64::from(entries).saturating_add(coins) / 2;
        let puts = puts.clamp(0, i64::from(entries)) as u64;
        self.out.header.puts += puts;
        self.out.header.spends += u64::from(entries) - puts;
        Ok(true)
    }

    fn ascend(&mut self, key: ScriptKey) -> Result<(), StoreError> {
        if self.last.is_some_and(|last| last >= key) {
            let detail = format!("{key:?} does not ascend");
            return Err(StoreError::damaged("script run", detail));
        }
        self.last = Some(key);
        Ok(())
    }

    /// Adds the next entry to the group, which must have a larger place than all before.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it has not, or no group was begun; [`StoreError::BeyondEnd`]
    /// when the run is full.
    pub fn push<M: Memory>(&mut self, memory: &M, entry: &ScriptEntry) -> Result<(), StoreError> {
        let Some(group) = &mut self.group else {
            return Err(StoreError::damaged(
                "script run",
                "an entry without a group",
            ));
        };
        if group.last.is_some_and(|last| last >= entry.place) {
            let detail = format!("{:?} does not ascend", entry.place);
            return Err(StoreError::damaged("script run", detail));
        }
        if !group.try_add(entry, self.out.leaf.room()) {
            if group.entries > 0 {
                write_part(&mut self.out, memory, group, true, &mut self.part)?;
            }
            self.out.end_leaf(memory)?;
            if !group.try_add(entry, self.out.leaf.room()) {
                return Err(StoreError::damaged(
                    "script run",
                    "an entry over a leaf's size",
                ));
            }
        }
        match entry.change {
            ListChange::Put { .. } => self.out.header.puts += 1,
            ListChange::Spend => self.out.header.spends += 1,
        }
        Ok(())
    }

    /// Completes the run; afterwards the writer is of no use.
    ///
    /// # Errors
    /// As [`ScriptWriter::begin_group`].
    pub fn finish<M: Memory>(&mut self, memory: &M) -> Result<Run, StoreError> {
        self.end_group(memory)?;
        self.out.finish(memory)
    }

    fn end_group<M: Memory>(&mut self, memory: &M) -> Result<(), StoreError> {
        let Some(mut group) = self.group.take() else {
            return Ok(());
        };
        if group.entries > 0 {
            write_part(&mut self.out, memory, &mut group, false, &mut self.part)?;
            self.spare = group.bytes;
            return Ok(());
        }
        if group.change == BalanceChange::default() {
            return Ok(());
        }
        let detail = format!("{:?} for no entries of {:?}", group.change, group.key);
        Err(StoreError::damaged("script run", detail))
    }
}

/// Writes what a group has for the leaf; `part` is overwritten.
fn write_part<M: Memory>(
    out: &mut RunWriter,
    memory: &M,
    group: &mut Group,
    goes_on: bool,
    part: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let head = PartHead {
        key: group.key,
        change: (!group.is_begun).then_some(group.change),
        goes_on,
        entries: group.entries,
        bytes: group.bytes.len() as u32,
    };
    part.clear();
    head.encode(part);
    part.extend_from_slice(&group.bytes);
    out.push(memory, &Digest::from(&group.key), part)?;
    out.header.entries += u64::from(!group.is_begun);
    group.is_begun = true;
    group.entries = 0;
    group.bytes.clear();
    Ok(())
}

impl Saved for Group {
    fn save(&self, out: &mut Vec<u8>) {
        self.key.save(out);
        self.change.save(out);
        self.is_begun.save(out);
        self.last.save(out);
        self.entries.save(out);
        self.bytes.save(out);
    }

    fn restore(input: &mut Input<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            key: ScriptKey::restore(input)?,
            change: BalanceChange::restore(input)?,
            is_begun: bool::restore(input)?,
            last: Option::restore(input)?,
            entries: u32::restore(input)?,
            bytes: Vec::restore(input)?,
        })
    }
}

impl Group {
    /// Adds an entry to the part, unless the part would no longer fit.
    fn try_add(&mut self, entry: &ScriptEntry, room: usize) -> bool {
        let before = self.last.filter(|_| self.entries > 0);
        let length = self.bytes.len();
        entry.encode(before.as_ref(), &mut self.bytes);
        let head = if self.is_begun {
            LATER_HEAD_BYTES
        } else {
            FIRST_HEAD_BYTES
        };
        if head + self.bytes.len() > room {
            self.bytes.truncate(length);
            return false;
        }
        self.entries += 1;
        self.last = Some(entry.place);
        true
    }
}
