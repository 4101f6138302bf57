//! A list of changes with filters over some of them, as the engine's own tests read it.

use bitcoin::OutPoint;
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::delta::Coin;
use millrace_core::script::ScriptHash;

use super::change::ChangeRuns;
use super::filter::Filter;
use super::header::RunKind;
use super::key::{Digest, OutpointKey, Place, ScriptKey};
use super::read::{self, Listed, Path, ScriptList};
use super::script_entry::BalanceChange;
use crate::StoreError;
use crate::coins::ListedCoin;

/// Filters over neighbours in a list of changes.
pub(super) struct Span {
    /// Index of the newest change it covers.
    pub first: usize,
    /// Index after the oldest one.
    pub end: usize,
    pub coins: Filter,
    pub scripts: Filter,
}

/// Newest first, down to the oldest change of all.
pub(super) struct ChangeList {
    changes: Vec<ChangeRuns>,
    /// By their first change, the widest first.
    spans: Vec<Span>,
}

struct At<'a> {
    list: &'a ChangeList,
    at: usize,
}

impl<'a> Path<'a> for At<'a> {
    fn next<M: Memory>(
        &mut self,
        memory: &M,
        kind: RunKind,
        digest: &Digest,
    ) -> Result<Option<&'a ChangeRuns>, StoreError> {
        'changes: loop {
            for span in self.list.spans.iter().filter(|span| span.first == self.at) {
                let filter = match kind {
                    RunKind::Coins => &span.coins,
                    RunKind::Scripts => &span.scripts,
                };
                if span.end > self.at && !filter.may_contain(memory, digest)? {
                    self.at = span.end;
                    continue 'changes;
                }
            }
            self.at += 1;
            return Ok(self.list.changes.get(self.at - 1));
        }
    }
}

impl ChangeList {
    pub(super) fn new(changes: Vec<ChangeRuns>, mut spans: Vec<Span>) -> Self {
        spans.sort_by_key(|span| (span.first, std::cmp::Reverse(span.end)));
        Self { changes, spans }
    }

    fn path(&self) -> At<'_> {
        At { list: self, at: 0 }
    }

    pub(super) fn coin<M: Memory>(&self, memory: &M, outpoint: &OutPoint) -> Option<Coin> {
        read::coin(memory, &mut self.path(), outpoint).unwrap()
    }

    pub(super) fn balance<M: Memory>(&self, memory: &M, script: &ScriptHash) -> BalanceChange {
        read::balance(memory, &mut self.path(), &ScriptKey::from(script)).unwrap()
    }

    pub(super) fn coins_of<M: Memory>(
        &self,
        memory: &M,
        script: &ScriptHash,
        from: Option<(Height, OutPoint)>,
        limit: usize,
    ) -> Vec<ListedCoin> {
        let from = from.map(|(height, o)| Place::new(height, OutpointKey::from(&o)));
        let key = ScriptKey::from(script);
        let mut list = ScriptList::open(memory, &mut self.path(), &key, from.as_ref()).unwrap();
        let mut found = Vec::new();
        while found.len() < limit {
            match list.next(memory).unwrap() {
                None => break,
                Some(Listed::Spent(_)) => {}
                Some(Listed::Coin(coin)) => found.push(coin),
            }
        }
        found
    }
}
