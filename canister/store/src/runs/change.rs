//! A block's change: both runs, from what the block spends and puts.

use bitcoin::{Amount, OutPoint};
use ic_stable_structures::Memory;
use millrace_core::Height;
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

/// One thing a block does to a coin.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    /// Of the coin run: a put or a spend. Once it is written, always a spend.
    entry: CoinEntry,
    script: ScriptKey,
    height: Height,
    value: Amount,
    /// Of the script run.
    change: ListChange,
}

impl Item {
    fn spend(outpoint: &OutPoint, keyed: &KeyedCoin) -> Self {
        Self::new(outpoint, keyed, CoinChange::Spend, ListChange::Spend)
    }

    fn put(outpoint: &OutPoint, keyed: &KeyedCoin) -> Self {
        let coin = PutCoin {
            height: keyed.coin.height,
            coinbase: keyed.coin.coinbase,
            value: keyed.coin.value,
            script: ScriptForm::of(&keyed.coin.script),
        };
        let change = ListChange::Put {
            value: coin.value,
            coinbase: coin.coinbase,
        };
        Self::new(outpoint, keyed, CoinChange::Put(coin), change)
    }

    fn new(at: &OutPoint, keyed: &KeyedCoin, entry: CoinChange, change: ListChange) -> Self {
        Self {
            entry: CoinEntry {
                outpoint: OutpointKey::from(at),
                change: entry,
            },
            script: ScriptKey::from(&keyed.script_hash),
            height: keyed.coin.height,
            value: keyed.coin.value,
            change,
        }
    }

    const fn listed(&self) -> ScriptEntry {
        ScriptEntry {
            place: Place::new(self.height, self.entry.outpoint),
            change: self.change,
        }
    }

    fn balance(&self) -> BalanceChange {
        let satoshi = i128::from(self.value.to_sat());
        match self.change {
            ListChange::Put { .. } => BalanceChange { satoshi, coins: 1 },
            ListChange::Spend => BalanceChange {
                satoshi: -satoshi,
                coins: -1,
            },
        }
    }

    fn take(&mut self) -> CoinChange {
        std::mem::replace(&mut self.entry.change, CoinChange::Spend)
    }
}

/// A block's change in the order of both runs: a pure function of the block's delta, so that it
/// can be made again when it is lost. About 130 bytes for each coin put or spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockChange {
    /// By outpoint; a spend before the put that takes its name.
    items: Vec<Item>,
    /// Indices of items by script, then place.
    by_script: Vec<u32>,
    plan: ChangePlan,
}

impl From<BlockDelta> for BlockChange {
    fn from(delta: BlockDelta) -> Self {
        let mut items = Vec::with_capacity(delta.spends.len() + delta.puts.len());
        items.extend(delta.spends.iter().map(|(at, coin)| Item::spend(at, coin)));
        items.extend(delta.puts.iter().map(|(at, coin)| Item::put(at, coin)));
        drop(delta);
        items.sort_by_key(|item| item.entry.outpoint);
        let by_script = by_script(&items);
        let mut change = Self {
            items,
            by_script,
            plan: ChangePlan::default(),
        };
        change.plan = change.measure();
        change
    }
}

/// Returns the order of items by script, then place.
fn by_script(items: &[Item]) -> Vec<u32> {
    let prefixes = items.iter().map(|item| item.script.digest().prefix);
    let mut order: Vec<(u64, u32)> = prefixes.zip(0..).collect();
    let item = |at: u32| items.get(at as usize);
    // Prefixes nearly always decide; else all of the key does.
    order.sort_unstable_by(|a, b| {
        let full = |at: u32| item(at).map(|item| (item.script, item.listed().place));
        a.0.cmp(&b.0).then_with(|| full(a.1).cmp(&full(b.1)))
    });
    order.into_iter().map(|(_, at)| at).collect()
}

impl BlockChange {
    /// Returns the most that its runs will hold.
    pub const fn plan(&self) -> ChangePlan {
        self.plan
    }

    fn measure(&self) -> ChangePlan {
        let mut plan = ChangePlan::default();
        let mut scratch = Vec::new();
        let mut before = None;
        for item in &self.items {
            let part = CoinWriter::plan_of(&item.entry, before, &mut scratch);
            plan.coins = plan.coins.and(part);
            before = Some(&item.entry.outpoint);
        }
        let mut before: Option<(ScriptKey, Place)> = None;
        for at in 0..self.by_script.len() {
            let Some(item) = self.by_script(at) else {
                continue;
            };
            let entry = item.listed();
            let same = before.filter(|(script, _)| *script == item.script);
            let same = same.as_ref().map(|(_, place)| place);
            let part = ScriptWriter::plan_of(&entry, same, &mut scratch);
            plan.scripts = plan.scripts.and(part);
            before = Some((item.script, entry.place));
        }
        plan
    }

    /// Takes the entry of the coin run that begins at an item; returns it with the next item.
    fn take_entry(&mut self, at: usize) -> Option<(CoinEntry, usize)> {
        let (item, rest) = self.items.get_mut(at..)?.split_first_mut()?;
        let outpoint = item.entry.outpoint;
        let change = item.take();
        let twin = rest.first_mut();
        let twin = twin.filter(|next| next.entry.outpoint == outpoint);
        // A coin that replaces an unspent one is both spent and put (BIP30).
        let (change, next) = match twin.map(Item::take) {
            Some(CoinChange::Put(coin)) => (CoinChange::Replace(coin), at + 2),
            _ => (change, at + 1),
        };
        Some((CoinEntry { outpoint, change }, next))
    }

    fn by_script(&self, at: usize) -> Option<&Item> {
        self.items.get(*self.by_script.get(at)? as usize)
    }

    /// Returns what the group that begins at a place of the script order sums up to.
    fn group_sum(&self, at: usize) -> BalanceChange {
        let script = self.by_script(at).map(|item| item.script);
        (at..)
            .map_while(|at| self.by_script(at))
            .take_while(|item| Some(item.script) == script)
            .fold(BalanceChange::default(), |sum, item| {
                sum.and(item.balance())
            })
    }
}

/// A block's change being written; it is started again when it is lost.
#[derive(Clone, Debug)]
pub struct ChangeWriter {
    change: BlockChange,
    coins: CoinWriter,
    scripts: ScriptWriter,
    /// The next item by outpoint, and by script.
    next_coin: usize,
    next_entry: usize,
    script: Option<ScriptKey>,
    done: Option<ChangeRuns>,
}

impl ChangeWriter {
    /// Starts to write both runs to extents of the planned lengths.
    ///
    /// # Errors
    /// [`StoreError::BeyondEnd`] when an extent is too small.
    pub fn new(change: BlockChange, coins: Extent, scripts: Extent) -> Result<Self, StoreError> {
        let plan = change.plan();
        Ok(Self {
            change,
            coins: CoinWriter::new(coins, &plan.coins)?,
            scripts: ScriptWriter::new(scripts, &plan.scripts)?,
            next_coin: 0,
            next_entry: 0,
            script: None,
            done: None,
        })
    }

    /// Writes up to `budget` further entries (at least one) of either run.
    ///
    /// # Errors
    /// [`StoreError`]; the runs are of no use then.
    pub fn step<M: Memory>(&mut self, memory: &M, budget: usize) -> Result<Progress, StoreError> {
        for _ in 0..budget.max(1) {
            if let Some((entry, next)) = self.change.take_entry(self.next_coin) {
                self.coins.push(memory, entry)?;
                self.next_coin = next;
                continue;
            }
            let Some(item) = self.change.by_script(self.next_entry) else {
                self.done = Some(ChangeRuns {
                    coins: self.coins.finish(memory)?,
                    scripts: self.scripts.finish(memory)?,
                });
                return Ok(Progress::Done);
            };
            if self.script != Some(item.script) {
                self.script = Some(item.script);
                let sum = self.change.group_sum(self.next_entry);
                self.scripts.begin_group(memory, item.script, sum)?;
            }
            self.scripts.push(memory, &item.listed())?;
            self.next_entry += 1;
        }
        Ok(Progress::More)
    }

    /// Returns the finished runs.
    pub const fn runs(&self) -> Option<ChangeRuns> {
        self.done
    }
}
