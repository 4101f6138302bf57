//! A block's change: both runs, from what the block spends and puts.

use std::collections::BTreeMap;

use ic_stable_structures::Memory;
use millrace_core::delta::{BlockDelta, KeyedCoin};

use super::coin_entry::{CoinChange, CoinEntry, PutCoin};
use super::coin_writer::CoinWriter;
use super::extent::Extent;
use super::header::RunKind;
use super::key::{OutpointKey, Place, ScriptKey};
use super::manifest::ChangeRecord;
use super::run::Run;
use super::script_entry::{BalanceChange, ListChange, ScriptEntry};
use super::script_form::ScriptForm;
use super::script_writer::ScriptWriter;
use super::writer::RunPlan;
use crate::StoreError;
use crate::coins::Progress;

/// The two runs of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRuns {
    /// By outpoint.
    pub coins: Run,
    /// By script.
    pub scripts: Run,
}

impl ChangeRuns {
    /// Reads the headers of a change's runs.
    ///
    /// # Errors
    /// [`StoreError`] when one is damaged.
    pub fn open<M: Memory>(memory: &M, record: &ChangeRecord) -> Result<Self, StoreError> {
        Ok(Self {
            coins: Run::open(memory, record.coins, RunKind::Coins)?,
            scripts: Run::open(memory, record.scripts, RunKind::Scripts)?,
        })
    }
}

/// The most that the two runs of a change will hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangePlan {
    /// Of the coin run.
    pub coins: RunPlan,
    /// Of the script run.
    pub scripts: RunPlan,
}

impl ChangePlan {
    /// Returns the plan of a merge.
    pub fn of(inputs: &[ChangeRuns]) -> Self {
        inputs.iter().fold(Self::default(), |sum, input| Self {
            coins: sum.coins.and(RunPlan::of(&input.coins)),
            scripts: sum.scripts.and(RunPlan::of(&input.scripts)),
        })
    }

    /// Returns the bytes to take for the coin run and for the script run.
    pub fn lengths(&self) -> (u64, u64) {
        (
            self.coins.length(RunKind::Coins),
            self.scripts.length(RunKind::Scripts),
        )
    }
}

/// A group of a block's script run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    change: BalanceChange,
    entries: Vec<ScriptEntry>,
}

/// A block's change in the order of both runs: a pure function of the block's delta, so that it
/// can be made again when it is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockChange {
    coins: Vec<CoinEntry>,
    groups: Vec<(ScriptKey, Group)>,
}

impl From<BlockDelta> for BlockChange {
    fn from(delta: BlockDelta) -> Self {
        let mut coins: BTreeMap<OutpointKey, CoinChange> = BTreeMap::new();
        let mut groups: BTreeMap<ScriptKey, Group> = BTreeMap::new();
        for (outpoint, keyed) in &delta.spends {
            let key = OutpointKey::from(outpoint);
            coins.insert(key, CoinChange::Spend);
            let group = groups.entry(ScriptKey::from(&keyed.script_hash));
            group.or_default().add(key, keyed, ListChange::Spend);
        }
        for (outpoint, keyed) in &delta.puts {
            let key = OutpointKey::from(outpoint);
            let coin = PutCoin::from(keyed);
            let put = ListChange::Put {
                value: coin.value,
                coinbase: coin.coinbase,
            };
            // A coin that replaces an unspent one is both spent and put (BIP30).
            let change = if delta.spends.contains_key(outpoint) {
                CoinChange::Replace(coin)
            } else {
                CoinChange::Put(coin)
            };
            coins.insert(key, change);
            let group = groups.entry(ScriptKey::from(&keyed.script_hash));
            group.or_default().add(key, keyed, put);
        }
        for group in groups.values_mut() {
            group.entries.sort_unstable_by_key(|entry| entry.place);
        }
        let coins = coins.into_iter();
        Self {
            coins: coins
                .map(|(outpoint, change)| CoinEntry { outpoint, change })
                .collect(),
            groups: groups.into_iter().collect(),
        }
    }
}

impl Group {
    fn add(&mut self, outpoint: OutpointKey, keyed: &KeyedCoin, change: ListChange) {
        let satoshi = i128::from(keyed.coin.value.to_sat());
        self.change = self.change.and(match change {
            ListChange::Put { .. } => BalanceChange { satoshi, coins: 1 },
            ListChange::Spend => BalanceChange {
                satoshi: -satoshi,
                coins: -1,
            },
        });
        let place = Place::new(keyed.coin.height, outpoint);
        self.entries.push(ScriptEntry { place, change });
    }
}

impl From<&KeyedCoin> for PutCoin {
    fn from(keyed: &KeyedCoin) -> Self {
        Self {
            height: keyed.coin.height,
            coinbase: keyed.coin.coinbase,
            value: keyed.coin.value,
            script: ScriptForm::of(&keyed.coin.script),
        }
    }
}

impl BlockChange {
    /// Returns the most that its runs will hold.
    pub fn plan(&self) -> ChangePlan {
        let mut plan = ChangePlan::default();
        let mut before = None;
        for entry in &self.coins {
            plan.coins = plan.coins.and(CoinWriter::plan_of(entry, before));
            before = Some(&entry.outpoint);
        }
        for (_, group) in &self.groups {
            let group = ScriptWriter::plan_of(group.entries.iter());
            plan.scripts = plan.scripts.and(group);
        }
        plan
    }
}

/// A block's change being written; it is started again when it is lost.
#[derive(Clone, Debug)]
pub struct ChangeWriter {
    change: BlockChange,
    coins: CoinWriter,
    scripts: ScriptWriter,
    next_coin: usize,
    /// The next group, and the next entry in it.
    next_entry: (usize, usize),
    done: Option<ChangeRuns>,
}

impl ChangeWriter {
    /// Starts to write both runs to extents of the planned lengths.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when an extent is too small.
    pub fn new(
        change: BlockChange,
        plan: &ChangePlan,
        coins: Extent,
        scripts: Extent,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            change,
            coins: CoinWriter::new(coins, &plan.coins)?,
            scripts: ScriptWriter::new(scripts, &plan.scripts)?,
            next_coin: 0,
            next_entry: (0, 0),
            done: None,
        })
    }

    /// Writes up to `budget` further entries (at least one) of either run.
    ///
    /// # Errors
    /// [`StoreError`]; the runs are of no use then.
    pub fn step<M: Memory>(&mut self, memory: &M, budget: usize) -> Result<Progress, StoreError> {
        for _ in 0..budget.max(1) {
            if let Some(entry) = self.change.coins.get(self.next_coin) {
                self.coins.push(memory, entry.clone())?;
                self.next_coin += 1;
                continue;
            }
            let (index, at) = self.next_entry;
            let Some((key, group)) = self.change.groups.get(index) else {
                self.done = Some(ChangeRuns {
                    coins: self.coins.finish(memory)?,
                    scripts: self.scripts.finish(memory)?,
                });
                return Ok(Progress::Done);
            };
            if at == 0 {
                self.scripts.begin_group(memory, *key, group.change)?;
            }
            let Some(entry) = group.entries.get(at) else {
                self.next_entry = (index + 1, 0);
                continue;
            };
            self.scripts.push(memory, entry)?;
            self.next_entry = (index, at + 1);
        }
        Ok(Progress::More)
    }

    /// Returns the finished runs.
    pub const fn runs(&self) -> Option<ChangeRuns> {
        self.done
    }
}
