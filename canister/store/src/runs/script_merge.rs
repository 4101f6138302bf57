//! The half of a merge that goes by script: groups in the order of keys, entries in the order of
//! places.

use ic_stable_structures::Memory;

use super::change::ChangeRuns;
use super::checkpoint::Saved;
use super::extent::Extent;
use super::key::{Digest, Place, ScriptKey};
use super::merge::Depth;
use super::number;
use super::run::Run;
use super::script_cursor::ScriptCursor;
use super::script_entry::{BalanceChange, ListChange, PartHead, ScriptEntry};
use super::script_writer::ScriptWriter;
use super::writer::RunPlan;
use crate::StoreError;

/// One input, at a group.
#[derive(Clone, Debug)]
struct Input {
    cursor: ScriptCursor,
    /// Its group, `None` after the last one; unknown before the first step.
    group: Option<(ScriptKey, BalanceChange)>,
    /// First bytes of the group's key, which nearly always decide which of two is smaller.
    prefix: u64,
}

impl Input {
    fn start(run: &Run) -> Self {
        Self {
            cursor: ScriptCursor::start(run),
            group: None,
            prefix: 0,
        }
    }

    fn next_group<M: Memory>(&mut self, memory: &M) -> Result<(), StoreError> {
        let group = self.cursor.next_group(memory)?;
        self.set_group(group);
        Ok(())
    }

    fn set_group(&mut self, group: Option<(ScriptKey, BalanceChange)>) {
        self.prefix = group.map_or(u64::MAX, |(key, _)| Digest::from(&key).prefix);
        self.group = group;
    }
}

/// Returns the input with the smallest key, that key, and whether another input has it, too.
fn smallest_group(inputs: &[Input]) -> Option<(usize, ScriptKey, bool)> {
    let mut smallest: Option<(usize, ScriptKey, bool)> = None;
    let mut prefix = u64::MAX;
    for (index, input) in inputs.iter().enumerate() {
        if input.prefix > prefix {
            continue;
        }
        let Some((key, _)) = &input.group else {
            continue;
        };
        match &mut smallest {
            Some((_, other, is_shared)) if key == other => *is_shared = true,
            Some((_, other, _)) if &*other < key => {}
            _ => {
                smallest = Some((index, *key, false));
                prefix = input.prefix;
            }
        }
    }
    smallest
}

/// The group that is being merged.
#[derive(Clone, Copy, Debug)]
struct Group {
    key: ScriptKey,
    change: BalanceChange,
    /// What the entries written so far sum up to, for groups without spends.
    written: BalanceChange,
}

impl Saved for Group {
    fn save(&self, out: &mut Vec<u8>) {
        self.key.save(out);
        self.change.save(out);
        self.written.save(out);
    }

    fn restore(input: &mut number::Input<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            key: ScriptKey::restore(input)?,
            change: BalanceChange::restore(input)?,
            written: BalanceChange::restore(input)?,
        })
    }
}

#[derive(Clone, Debug)]
pub(super) struct ScriptMerge {
    inputs: Vec<Input>,
    is_begun: bool,
    group: Option<Group>,
    /// The last group that ended.
    last_key: Option<ScriptKey>,
    /// The last place of the group.
    last_place: Option<Place>,
    out: ScriptWriter,
    depth: Depth,
}

impl ScriptMerge {
    pub(super) fn new(
        inputs: &[ChangeRuns],
        extent: Extent,
        plan: &RunPlan,
        depth: Depth,
    ) -> Result<Self, StoreError> {
        let inputs = inputs.iter().map(|input| Input::start(&input.scripts));
        Ok(Self {
            inputs: inputs.collect(),
            is_begun: false,
            group: None,
            last_key: None,
            last_place: None,
            out: ScriptWriter::new(extent, plan)?,
            depth,
        })
    }

    pub(super) fn save<M: Memory>(
        &mut self,
        memory: &M,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.out.save(memory, out)?;
        self.group.save(out);
        self.last_key.save(out);
        self.last_place.save(out);
        Ok(())
    }

    pub(super) fn restore<M: Memory>(
        memory: &M,
        inputs: &[ChangeRuns],
        extent: Extent,
        plan: &RunPlan,
        depth: Depth,
        state: &mut number::Input<'_>,
    ) -> Result<Self, StoreError> {
        let mut merge = Self::new(inputs, extent, plan, depth)?;
        merge.out = ScriptWriter::restore(extent, plan, state)?;
        merge.group = Option::restore(state)?;
        merge.last_key = Option::restore(state)?;
        merge.last_place = Option::restore(state)?;
        let key = merge.group.map(|group| group.key).or(merge.last_key);
        let Some(key) = key else {
            return Ok(merge);
        };
        for (input, runs) in merge.inputs.iter_mut().zip(inputs) {
            let (cursor, group) = ScriptCursor::seek(memory, &runs.scripts, &key)?;
            input.cursor = cursor;
            input.set_group(group);
            if input.group.is_none_or(|(found, _)| found != key) {
                continue;
            }
            if merge.group.is_none() {
                input.next_group(memory)?;
            } else if let Some(place) = &merge.last_place {
                input.cursor.skip_to(memory, place)?;
                input.cursor.take_at(memory, place)?;
            }
        }
        merge.is_begun = true;
        Ok(merge)
    }

    /// Merges the next place of the group, or goes to the next group; returns whether there was
    /// one.
    pub(super) fn next<M: Memory>(&mut self, memory: &M) -> Result<bool, StoreError> {
        if !self.is_begun {
            for input in &mut self.inputs {
                input.next_group(memory)?;
            }
            self.is_begun = true;
        }
        let Some(mut group) = self.group else {
            return self.begin_group(memory);
        };
        let Some((place, change)) = self.next_place(memory, &group.key)? else {
            self.end_group(memory, &group)?;
            return Ok(true);
        };
        self.last_place = Some(place);
        if let Some(change) = change {
            match change {
                ListChange::Put { value, .. } => {
                    group.written = group.written.and(BalanceChange {
                        satoshi: i128::from(value.to_sat()),
                        coins: 1,
                    });
                }
                ListChange::Spend if self.depth == Depth::Bottom => {
                    let detail = format!("{place:?} is spent and was never put");
                    return Err(StoreError::damaged("oldest change", detail));
                }
                ListChange::Spend => {}
            }
            self.out.push(memory, &ScriptEntry { place, change })?;
            self.group = Some(group);
        }
        Ok(true)
    }

    pub(super) fn finish<M: Memory>(&mut self, memory: &M) -> Result<Run, StoreError> {
        self.out.finish(memory)
    }

    fn begin_group<M: Memory>(&mut self, memory: &M) -> Result<bool, StoreError> {
        let Some((first, key, is_shared)) = smallest_group(&self.inputs) else {
            return Ok(false);
        };
        let is_bottom = self.depth == Depth::Bottom;
        // What one input alone has is copied as it is.
        if let Some(input) = self.inputs.get_mut(first).filter(|_| !is_shared)
            && let Some((_, change)) = input.group
            && let Some(raw) = input.cursor.raw_group()
            && (!is_bottom || check_bottom(change, raw.0)?)
            && self.out.push_group(memory, key, change.coins, raw)?
        {
            input.next_group(memory)?;
            self.last_key = Some(key);
            return Ok(true);
        }
        let groups = self.inputs.iter().filter_map(|input| input.group);
        let change = groups
            .filter(|(other, _)| *other == key)
            .fold(BalanceChange::default(), |sum, (_, change)| sum.and(change));
        self.out.begin_group(memory, key, change)?;
        self.group = Some(Group {
            key,
            change,
            written: BalanceChange::default(),
        });
        Ok(true)
    }

    /// Returns the next place at which an input changes the group, and what all of them do there.
    fn next_place<M: Memory>(
        &mut self,
        memory: &M,
        key: &ScriptKey,
    ) -> Result<Option<(Place, Option<ListChange>)>, StoreError> {
        merge_place(memory, &mut self.inputs, |input| {
            let is_in_group = input.group.is_some_and(|(other, _)| other == *key);
            is_in_group.then_some(&mut input.cursor)
        })
    }

    fn end_group<M: Memory>(&mut self, memory: &M, group: &Group) -> Result<(), StoreError> {
        // Without spends the sum is known twice.
        if self.depth == Depth::Bottom && group.written != group.change {
            let detail = format!("{:?} for coins of {:?}", group.change, group.written);
            return Err(StoreError::damaged("oldest change", detail));
        }
        for input in &mut self.inputs {
            if input.group.is_some_and(|(other, _)| other == group.key) {
                input.next_group(memory)?;
            }
        }
        self.group = None;
        self.last_key = Some(group.key);
        self.last_place = None;
        Ok(())
    }
}

/// Checks a group of the oldest change: it has no spends, and sums up to what it says.
fn check_bottom(change: BalanceChange, group: &[u8]) -> Result<bool, StoreError> {
    let mut input = number::Input::new("oldest change", group);
    let head = PartHead::decode(&mut input)?;
    let mut sum = BalanceChange::default();
    let mut before = None;
    for _ in 0..head.entries {
        let entry = ScriptEntry::decode(before.as_ref(), &mut input)?;
        let ListChange::Put { value, .. } = entry.change else {
            let detail = format!("{:?} is spent and was never put", entry.place);
            return Err(input.damaged(detail));
        };
        let satoshi = i128::from(value.to_sat());
        sum = sum.and(BalanceChange { satoshi, coins: 1 });
        before = Some(entry.place);
    }
    if sum != change {
        return Err(input.damaged(format!("{change:?} for coins of {sum:?}")));
    }
    Ok(true)
}

/// Takes the smallest next place off the cursors that `cursor` finds in `inputs`, oldest first;
/// returns it with what is left of their changes there.
fn merge_place<M: Memory, T>(
    memory: &M,
    inputs: &mut [T],
    mut cursor: impl FnMut(&mut T) -> Option<&mut ScriptCursor>,
) -> Result<Option<(Place, Option<ListChange>)>, StoreError> {
    let mut smallest: Option<Place> = None;
    for input in &mut *inputs {
        if let Some(cursor) = cursor(input)
            && let Some(entry) = cursor.peek_entry(memory)?
            && smallest.is_none_or(|smallest| entry.place < smallest)
        {
            smallest = Some(entry.place);
        }
    }
    let Some(place) = smallest else {
        return Ok(None);
    };
    let mut seen = 0;
    let mut change = None;
    for input in inputs {
        let Some(cursor) = cursor(input) else {
            continue;
        };
        let Some(next) = cursor.take_at(memory, &place)? else {
            continue;
        };
        change = match (seen, change, next) {
            (0, _, next) => Some(next),
            (1, Some(ListChange::Put { .. }), ListChange::Spend) => None,
            _ => {
                let detail = format!("{place:?} is put or spent twice");
                return Err(StoreError::damaged("changes", detail));
            }
        };
        seen += 1;
    }
    Ok(Some((place, change)))
}
