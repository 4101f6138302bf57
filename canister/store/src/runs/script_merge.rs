//! The half of a merge that goes by script: groups in the order of keys, entries in the order of
//! places.

use ic_stable_structures::Memory;

use super::change::ChangeRuns;
use super::extent::Extent;
use super::key::{Place, ScriptKey};
use super::merge::Depth;
use super::run::Run;
use super::script_cursor::ScriptCursor;
use super::script_entry::{BalanceChange, ListChange, ScriptEntry};
use super::script_writer::ScriptWriter;
use super::writer::RunPlan;
use crate::StoreError;

/// One input, at a group.
#[derive(Clone, Debug)]
struct Input {
    cursor: ScriptCursor,
    /// Its group, `None` after the last one; unknown before the first step.
    group: Option<(ScriptKey, BalanceChange)>,
}

/// The group that is being merged.
#[derive(Clone, Copy, Debug)]
struct Group {
    key: ScriptKey,
    change: BalanceChange,
    /// What the entries written so far sum up to, for groups without spends.
    written: BalanceChange,
}

#[derive(Clone, Debug)]
pub(super) struct ScriptMerge {
    inputs: Vec<Input>,
    is_begun: bool,
    group: Option<Group>,
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
        let inputs = inputs.iter().map(|input| Input {
            cursor: ScriptCursor::start(&input.scripts),
            group: None,
        });
        Ok(Self {
            inputs: inputs.collect(),
            is_begun: false,
            group: None,
            out: ScriptWriter::new(extent, plan)?,
            depth,
        })
    }

    /// Merges the next place of the group, or goes to the next group; returns whether there was
    /// one.
    pub(super) fn next<M: Memory>(&mut self, memory: &M) -> Result<bool, StoreError> {
        if !self.is_begun {
            for input in &mut self.inputs {
                input.group = input.cursor.next_group(memory)?;
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
        let groups = self.inputs.iter().filter_map(|input| input.group);
        let Some(key) = groups.map(|(key, _)| key).min() else {
            return Ok(false);
        };
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
        let of_group = |input: &&mut Input| input.group.is_some_and(|(other, _)| other == *key);
        let cursors = self.inputs.iter_mut().filter(of_group);
        merge_place(memory, cursors.map(|input| &mut input.cursor))
    }

    fn end_group<M: Memory>(&mut self, memory: &M, group: &Group) -> Result<(), StoreError> {
        // Without spends the sum is known twice.
        if self.depth == Depth::Bottom && group.written != group.change {
            let detail = format!("{:?} for coins of {:?}", group.change, group.written);
            return Err(StoreError::damaged("oldest change", detail));
        }
        for input in &mut self.inputs {
            if input.group.is_some_and(|(other, _)| other == group.key) {
                input.group = input.cursor.next_group(memory)?;
            }
        }
        self.group = None;
        Ok(())
    }
}

/// Takes the smallest next place off cursors in one group, given oldest first; returns it with
/// what is left of their changes there.
pub(super) fn merge_place<'a, M: Memory>(
    memory: &M,
    cursors: impl Iterator<Item = &'a mut ScriptCursor>,
) -> Result<Option<(Place, Option<ListChange>)>, StoreError> {
    let mut cursors: Vec<&mut ScriptCursor> = cursors.collect();
    let mut smallest: Option<Place> = None;
    for cursor in &mut cursors {
        if let Some(entry) = cursor.peek_entry(memory)?
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
    for cursor in &mut cursors {
        if cursor
            .peek_entry(memory)?
            .is_none_or(|entry| entry.place != place)
        {
            continue;
        }
        let next = cursor.next_entry(memory)?.map(|entry| entry.change);
        change = match (seen, change, next) {
            (0, _, next) => next,
            (1, Some(ListChange::Put { .. }), Some(ListChange::Spend)) => None,
            _ => {
                let detail = format!("{place:?} is put or spent twice");
                return Err(StoreError::damaged("changes", detail));
            }
        };
        seen += 1;
    }
    Ok(Some((place, change)))
}
