//! Events that make things go wrong or change the configuration, and the end of all that.

use candid::Principal;
use millrace_candid::{Budgets, Flag, SetConfigRequest};

use crate::payment::mark_of;
use crate::run::{Checked, DEFAULT_BUDGETS, DEFAULT_WINDOW, Run, adapter, require};
use crate::schedule::{Event, Squeeze};
use crate::seen::bytes_of;
use crate::subject::{Poison, Subject};

impl<S: Subject> Run<S> {
    pub(crate) fn trouble(&mut self, event: Event) -> Checked {
        let flag = |is_on| Some(if is_on { Flag::Enabled } else { Flag::Disabled });
        let mut change = SetConfigRequest::default();
        match event {
            Event::Trap(point) => {
                self.subject.set_trap(Some(point));
                return Ok(());
            }
            Event::Full(is_full) => {
                self.is_full = is_full;
                self.was_full |= is_full;
                self.subject.set_full(is_full);
                self.note_full();
                return Ok(());
            }
            Event::Poison(pick) => {
                let place = self.place(pick);
                let block = self.model.at(place);
                let hash = bytes_of(block.hash);
                let poison = mark_of(&block.block).map(|mark| Poison { hash, mark });
                self.poison = poison.as_ref().map(|poison| poison.mark.clone());
                self.poisoned_beats = 0;
                self.subject.set_poison(poison);
                return Ok(());
            }
            Event::Limits(squeeze) => {
                self.subject.set_limits(squeeze);
                return Ok(());
            }
            Event::Pace(millions) => {
                self.pace = u64::from(millions) * 1_000_000;
                self.subject.set_pace(self.pace);
                return Ok(());
            }
            Event::Budgets { millions, pages } => {
                change.budgets = Some(Budgets {
                    instructions_per_heartbeat: u64::from(millions) * 1_000_000,
                    stable_pages_per_heartbeat: u32::from(pages),
                });
            }
            Event::Window(pages) => change.stable_pages_per_ten_minutes = Some(pages.into()),
            Event::Poor(is_poor) => {
                self.is_poor = self.subject.set_poor(is_poor);
                return Ok(());
            }
            Event::Threshold(threshold) => change.stability_threshold = Some(threshold.into()),
            Event::Syncing(is_on) => change.syncing = flag(is_on),
            Event::Access(is_on) => change.api_access = flag(is_on),
            Event::SecondAdapter(is_on) => change.adapters = Some(adapters(is_on)),
            Event::Pulling(is_on) => change.pull = flag(is_on && self.profile.is_pulling),
            _ => {}
        }
        self.configure(change)
    }

    /// Changes the configuration, and what is known of it.
    pub(crate) fn configure(&mut self, change: SetConfigRequest) -> Checked {
        match self.subject.set_config(change.clone()) {
            Err(trap) => return self.excuse(&trap),
            Ok(set) => require(set.is_ok(), "configuration", || format!("{set:?}"))?,
        }
        if let Some(budgets) = change.budgets {
            self.budgets = budgets;
        }
        if let Some(Some(threshold)) = change
            .stability_threshold
            .map(|it| u32::try_from(it.0).ok())
        {
            self.profile.threshold = threshold;
        }
        if let Some(pages) = change.stable_pages_per_ten_minutes {
            self.window = pages.into();
        }
        if let Some(syncing) = change.syncing {
            self.is_syncing = syncing == Flag::Enabled;
        }
        if let Some(access) = change.api_access {
            self.is_open = access == Flag::Enabled;
            self.look()?;
        }
        if let Some(adapters) = change.adapters {
            self.has_second = adapters.len() > 1;
        }
        Ok(())
    }

    /// Ends all faults and sets the configuration right.
    pub(crate) fn end_faults(&mut self) -> Checked {
        self.subject.set_limits(Squeeze::None);
        self.subject.set_full(false);
        self.is_full = false;
        self.is_poor = self.subject.set_poor(false);
        self.subject.set_trap(None);
        self.subject.set_poison(None);
        self.poison = None;
        self.pace = 1_000_000;
        self.subject.set_pace(self.pace);
        let is_pulling = self.profile.is_pulling;
        self.configure(SetConfigRequest {
            budgets: Some(DEFAULT_BUDGETS),
            stable_pages_per_ten_minutes: Some(DEFAULT_WINDOW),
            syncing: Some(Flag::Enabled),
            api_access: Some(Flag::Enabled),
            adapters: Some(adapters(true)),
            pull: Some(if is_pulling {
                Flag::Enabled
            } else {
                Flag::Disabled
            }),
            ..SetConfigRequest::default()
        })
    }
}

fn adapters(has_second: bool) -> Vec<Principal> {
    let count = if has_second { 2 } else { 1 };
    (0..count).map(adapter).collect()
}
