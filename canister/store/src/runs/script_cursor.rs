//! Reads a script run: one script's group from a place on, or all groups in turn.

use ic_stable_structures::Memory;

use super::key::{Digest, Place, ScriptKey};
use super::leaf;
use super::number::Input;
use super::run::{FenceWindow, Run};
use super::script_entry::{BalanceChange, ListChange, PartHead, ScriptEntry, first_and_length};
use crate::StoreError;

const WHAT: &str = "script leaf";

/// A group's part that is being read.
#[derive(Clone, Copy, Debug)]
struct Part {
    key: ScriptKey,
    /// Offset of its head in the leaf's body.
    start: usize,
    entries: u32,
    goes_on: bool,
    entries_left: u32,
    /// Offset in the leaf's body after its entries.
    end: usize,
    last: Option<Place>,
}

/// A place in a script run. It holds one leaf.
#[derive(Clone, Debug)]
pub struct ScriptCursor {
    run: Run,
    next_leaf: u32,
    leaf: Vec<u8>,
    parts_left: u16,
    offset: usize,
    part: Option<Part>,
    peeked: Option<ScriptEntry>,
    last_key: Option<ScriptKey>,
    /// The last place of the group, also over parts.
    last_place: Option<Place>,
}

/// A group that was found.
#[derive(Clone, Debug)]
pub struct FoundGroup {
    /// What its entries sum up to.
    pub change: BalanceChange,
    /// Before its first entry.
    pub cursor: ScriptCursor,
}

/// What one run after the other is read into, so that nothing is allocated or cleared for each.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    leaf: Vec<u8>,
    fences: FenceWindow,
}

/// Returns what a run changes of a script's balance. Reads a filter block, and where that says maybe, fences
/// and mostly one leaf.
///
/// # Errors
/// [`StoreError`] when the run is damaged.
pub fn find_balance<M: Memory>(
    memory: &M,
    run: &Run,
    key: &ScriptKey,
    scratch: &mut Scratch,
) -> Result<Option<BalanceChange>, StoreError> {
    let digest = Digest::from(key);
    if !run.may_contain(memory, &digest)? {
        return Ok(None);
    }
    scratch.fences.clear();
    let (below, up_to) = run.fences_at(memory, digest.prefix, &mut scratch.fences)?;
    for leaf in below.saturating_sub(1)..up_to {
        run.read_leaf(memory, leaf, &mut scratch.leaf)?;
        let (parts, body) = leaf::open(WHAT, scratch.leaf.as_slice())?;
        let mut body = Input::new(WHAT, body);
        for _ in 0..parts {
            let (first, length) = length_of(&body)?;
            if first < digest.prefix {
                body.bytes(length)?;
                continue;
            }
            let mut part = body.part(length)?;
            let head = PartHead::decode(&mut part)?;
            if let Some(change) = head.change
                && head.key >= *key
            {
                return Ok((head.key == *key).then_some(change));
            }
        }
    }
    Ok(None)
}

/// Returns the first bytes of the next part's key, and the part's length.
fn length_of(parts: &Input<'_>) -> Result<(u64, usize), StoreError> {
    first_and_length(parts.rest()).ok_or_else(|| parts.damaged("a part that has no end"))
}

/// Returns the group of a script. Reads a filter block, and where that says maybe, fences and
/// mostly one leaf.
///
/// # Errors
/// [`StoreError`] when the run is damaged.
pub fn find_group<M: Memory>(
    memory: &M,
    run: &Run,
    key: &ScriptKey,
) -> Result<Option<FoundGroup>, StoreError> {
    if !run.may_contain(memory, &Digest::from(key))? {
        return Ok(None);
    }
    let prefix = Digest::from(key).prefix;
    let mut cursor = ScriptCursor::at_leaf(run, run.leaf_before(memory, prefix)?);
    Ok(match cursor.go_to(memory, key, prefix)? {
        Some((found, change)) if found == *key => Some(FoundGroup { change, cursor }),
        _ => None,
    })
}

impl ScriptCursor {
    /// Starts before the first group. Reads nothing.
    pub fn start(run: &Run) -> Self {
        Self::at_leaf(run, 0)
    }

    /// Returns a cursor in the first group with `key` or a larger one, and that group; `None` in its
    /// place after the last one.
    ///
    /// # Errors
    /// [`StoreError`] when the run is damaged.
    pub fn seek<M: Memory>(
        memory: &M,
        run: &Run,
        key: &ScriptKey,
    ) -> Result<(Self, Option<(ScriptKey, BalanceChange)>), StoreError> {
        let prefix = Digest::from(key).prefix;
        let mut cursor = Self::at_leaf(run, run.leaf_before(memory, prefix)?);
        let group = cursor.go_to(memory, key, prefix)?;
        Ok((cursor, group))
    }

    /// Goes to the first group with `key` or a larger one from the leaf on that it stands before; `prefix` is the
    /// key's.
    fn go_to<M: Memory>(
        &mut self,
        memory: &M,
        key: &ScriptKey,
        prefix: u64,
    ) -> Result<Option<(ScriptKey, BalanceChange)>, StoreError> {
        self.pass_below(memory, prefix)?;
        while let Some(group) = self.next_group(memory)? {
            if group.0 >= *key {
                return Ok(Some(group));
            }
        }
        Ok(None)
    }

    fn at_leaf(run: &Run, next_leaf: u32) -> Self {
        Self {
            run: *run,
            next_leaf,
            leaf: Vec::new(),
            parts_left: 0,
            offset: 0,
            part: None,
            peeked: None,
            last_key: None,
            last_place: None,
        }
    }

    /// Goes to the next group, past what is left of this one; `None` after the last one.
    ///
    /// # Errors
    /// [`StoreError`] when the run is damaged: keys that do not ascend are.
    pub fn next_group<M: Memory>(
        &mut self,
        memory: &M,
    ) -> Result<Option<(ScriptKey, BalanceChange)>, StoreError> {
        self.peeked = None;
        while let Some(head) = self.next_part(memory)? {
            let Some(change) = head.change else {
                continue;
            };
            if self.last_key.is_some_and(|last| last >= head.key) {
                let detail = format!("{:?} does not ascend", head.key);
                return Err(StoreError::damaged(WHAT, detail));
            }
            self.last_key = Some(head.key);
            self.last_place = None;
            return Ok(Some((head.key, change)));
        }
        Ok(None)
    }

    /// Returns the group's next entry without going on.
    ///
    /// # Errors
    /// As [`ScriptCursor::next_entry`].
    pub fn peek_entry<M: Memory>(
        &mut self,
        memory: &M,
    ) -> Result<Option<&ScriptEntry>, StoreError> {
        if self.peeked.is_none() {
            self.peeked = self.read_entry(memory)?;
        }
        Ok(self.peeked.as_ref())
    }

    /// Returns the group's next entry; `None` after the last one.
    ///
    /// # Errors
    /// [`StoreError`] when the run is damaged: places that do not ascend are.
    pub fn next_entry<M: Memory>(&mut self, memory: &M) -> Result<Option<ScriptEntry>, StoreError> {
        match self.peeked.take() {
            Some(entry) => Ok(Some(entry)),
            None => self.read_entry(memory),
        }
    }

    /// Returns the whole group as its leaf holds it, and its number of entries, before the first of
    /// them was read; `None` when it goes on in the next leaf.
    pub fn raw_group(&self) -> Option<(&[u8], u32)> {
        let part = self.part?;
        let is_whole = !part.goes_on && self.last_place.is_none() && self.peeked.is_none();
        let (_, body) = leaf::open(WHAT, self.leaf.as_slice()).ok()?;
        let bytes = body.get(part.start..part.end)?;
        is_whole.then_some((bytes, part.entries))
    }

    /// Takes the group's next entry if it is at `place`, and returns what happens there.
    ///
    /// # Errors
    /// As [`ScriptCursor::next_entry`].
    pub fn take_at<M: Memory>(
        &mut self,
        memory: &M,
        place: &Place,
    ) -> Result<Option<ListChange>, StoreError> {
        let next = self.peek_entry(memory)?;
        let change = next.filter(|entry| entry.place == *place);
        let change = change.map(|entry| entry.change);
        if change.is_some() {
            self.peeked = None;
        }
        Ok(change)
    }

    /// Goes to the group's first entry at `place` or after it. Of a group over many leaves, this
    /// reads as many leaves as their number has bits.
    ///
    /// # Errors
    /// [`StoreError`] when the run is damaged.
    pub fn skip_to<M: Memory>(&mut self, memory: &M, place: &Place) -> Result<(), StoreError> {
        let Some(part) = self.part else {
            return Ok(());
        };
        if part.goes_on
            && let Some(cursor) = self.last_leaf_before(memory, &part.key, place)?
        {
            *self = cursor;
        }
        while let Some(entry) = self.peek_entry(memory)?
            && entry.place < *place
        {
            self.peeked = None;
        }
        Ok(())
    }

    /// Returns a cursor at the last later leaf of the group that begins at `place` or before it.
    fn last_leaf_before<M: Memory>(
        &self,
        memory: &M,
        key: &ScriptKey,
        place: &Place,
    ) -> Result<Option<Self>, StoreError> {
        let mut low = self.next_leaf;
        let (_, mut high) = self.run.fences_at(
            memory,
            Digest::from(key).prefix,
            &mut FenceWindow::default(),
        )?;
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let mut cursor = Self::at_leaf(&self.run, middle);
            let head = cursor.next_part(memory)?;
            let is_same = head.is_some_and(|head| head.key == *key && head.change.is_none());
            let first = if is_same {
                cursor.peek_entry(memory)?.copied()
            } else {
                None
            };
            if first.is_some_and(|first| first.place <= *place) {
                cursor.last_key = self.last_key;
                found = Some(cursor);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(found)
    }

    fn read_entry<M: Memory>(&mut self, memory: &M) -> Result<Option<ScriptEntry>, StoreError> {
        loop {
            let Some(part) = &mut self.part else {
                return Ok(None);
            };
            if part.entries_left > 0 {
                let (_, body) = leaf::open(WHAT, self.leaf.as_slice())?;
                let entries = body.get(self.offset..part.end).unwrap_or_default();
                let mut input = Input::new(WHAT, entries);
                let entry = ScriptEntry::decode(part.last.as_ref(), &mut input)?;
                if self.last_place.is_some_and(|last| last >= entry.place) {
                    let detail = format!("{:?} does not ascend", entry.place);
                    return Err(input.damaged(detail));
                }
                self.offset = part.end - input.left();
                part.entries_left -= 1;
                part.last = Some(entry.place);
                self.last_place = part.last;
                return Ok(Some(entry));
            }
            if self.offset != part.end {
                return Err(StoreError::damaged(WHAT, "bytes after a part's entries"));
            }
            if !part.goes_on {
                return Ok(None);
            }
            let key = part.key;
            let next = self.next_part(memory)?;
            if next.is_none_or(|head| head.key != key || head.change.is_some()) {
                let detail = format!("the group of {key:?} does not go on");
                return Err(StoreError::damaged(WHAT, detail));
            }
        }
    }

    /// Passes over the parts at the front of the first leaf whose keys have smaller first bytes, but for
    /// the last one, without decoding them.
    fn pass_below<M: Memory>(&mut self, memory: &M, prefix: u64) -> Result<(), StoreError> {
        if !self.is_in_leaf(memory)? {
            return Ok(());
        }
        let (_, body) = leaf::open(WHAT, self.leaf.as_slice())?;
        while self.parts_left > 1 {
            let part = body.get(self.offset..).unwrap_or_default();
            let (first, length) = first_and_length(part)
                .ok_or_else(|| StoreError::damaged(WHAT, "a part that has no end"))?;
            if first >= prefix {
                break;
            }
            self.offset += length;
            self.parts_left -= 1;
        }
        Ok(())
    }

    /// Reads the next leaf unless parts of this one are left; returns whether there is one.
    fn is_in_leaf<M: Memory>(&mut self, memory: &M) -> Result<bool, StoreError> {
        if self.parts_left > 0 {
            return Ok(true);
        }
        if self.next_leaf >= self.run.header().leaves {
            return Ok(false);
        }
        self.run.read_leaf(memory, self.next_leaf, &mut self.leaf)?;
        self.next_leaf += 1;
        self.offset = 0;
        self.parts_left = leaf::open(WHAT, self.leaf.as_slice())?.0;
        Ok(true)
    }

    /// Goes to the next part, past what is left of this one.
    fn next_part<M: Memory>(&mut self, memory: &M) -> Result<Option<PartHead>, StoreError> {
        if let Some(part) = self.part.take() {
            self.offset = part.end;
        }
        if !self.is_in_leaf(memory)? {
            return Ok(None);
        }
        let (_, body) = leaf::open(WHAT, self.leaf.as_slice())?;
        let start = self.offset;
        let mut input = Input::new(WHAT, body.get(start..).unwrap_or_default());
        let head = PartHead::decode(&mut input)?;
        self.parts_left -= 1;
        self.offset = body.len() - input.left();
        self.part = Some(Part {
            key: head.key,
            start,
            entries: head.entries,
            goes_on: head.goes_on,
            entries_left: head.entries,
            end: self.offset + head.bytes as usize,
            last: None,
        });
        Ok(Some(head))
    }
}
