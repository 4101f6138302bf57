//! A canister's history: who changed its code or controllers, and when.

use ic_management_canister_types::{Change, ChangeDetails, ChangeOrigin};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The latest changes, and how many there were in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    changes: VecDeque<Change>,
    total: u64,
}

impl History {
    /// Appends a change; `canister_version` is the version after it.
    pub(crate) fn record(
        &mut self,
        timestamp_nanos: u64,
        canister_version: u64,
        origin: ChangeOrigin,
        details: ChangeDetails,
        capacity: u64,
    ) {
        self.total += 1;
        self.changes.push_back(Change {
            timestamp_nanos,
            canister_version,
            origin,
            details: Some(details),
        });
        while self.changes.len() as u64 > capacity {
            self.changes.pop_front();
        }
    }

    /// Forgets the changes; their number stays.
    pub(crate) fn clear(&mut self) {
        self.changes.clear();
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// Returns the latest `count` changes, oldest first.
    pub(crate) fn latest(&self, count: u64) -> Vec<Change> {
        let kept = self.changes.len();
        let skipped = kept - usize::try_from(count).unwrap_or(usize::MAX).min(kept);
        self.changes.iter().skip(skipped).cloned().collect()
    }

    /// Returns roughly what the entries occupy.
    pub(crate) fn bytes(&self) -> u64 {
        const BYTES_PER_CONTROLLER: usize = 29;
        self.changes
            .iter()
            .map(|change| {
                let controllers = match &change.details {
                    Some(ChangeDetails::Creation(record)) => record.controllers.len(),
                    Some(ChangeDetails::ControllersChange(record)) => record.controllers.len(),
                    _ => 0,
                };
                (size_of::<Change>() + controllers * BYTES_PER_CONTROLLER) as u64
            })
            .sum()
    }
}
