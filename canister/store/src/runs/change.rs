//! A block's change: both runs, written from the block's own bytes.

use bitcoin::{Amount, BlockHash, Script};
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::connect::{BlockChange, CoinEvent, CoinPosition, ScriptEvent};
use millrace_core::scan::{BlockBytes, ScannedCoin};

use super::coin_entry::{CoinChange, CoinEntry, PutCoin};
use super::coin_writer::CoinWriter;
use super::extent::Extent;
use super::header::RunKind;
use super::key::{OutpointKey, Place};
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

impl ChangePlan {
    /// Returns the plan of a block's change. Reads no script: what their forms save is given back
    /// when the runs are complete. Costs a look at each entry.
    pub fn of_block(change: &BlockChange) -> Self {
        let mut plan = Self::default();
        let mut position = CoinPosition::default();
        let mut before = None;
        while let Some((outpoint, event)) = change.next_coin(&mut position) {
            let script_bytes = match event {
                CoinEvent::Spend(_) => None,
                CoinEvent::Put(coin) | CoinEvent::Replace(_, coin) => Some(coin.script_bytes),
            };
            let is_same = before == Some(outpoint.txid);
            plan.coins = plan.coins.and(CoinWriter::bound(is_same, script_bytes));
            before = Some(outpoint.txid);
        }
        let mut before = None;
        for at in 0..change.script_events() {
            let key = change.script_event(at).map(|event| event.script);
            plan.scripts = plan.scripts.and(ScriptWriter::bound(key != before));
            before = key;
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
    position: CoinPosition,
    /// The next event of a script, and the first one of the next script.
    next_event: usize,
    group_end: usize,
    /// The script at hand; kept so that none is allocated for each coin.
    script: Vec<u8>,
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
            position: CoinPosition::default(),
            next_event: 0,
            group_end: 0,
            script: Vec::new(),
            done: None,
        })
    }

    /// Writes up to `budget` further entries (at least one) of either run; `bytes` are the
    /// block's, of which the scripts of new coins are read.
    ///
    /// # Errors
    /// [`StoreError`]; the runs are of no use then.
    pub fn step<M: Memory, B: BlockBytes + ?Sized>(
        &mut self,
        memory: &M,
        bytes: &B,
        budget: usize,
    ) -> Result<Progress, StoreError>
    where
        StoreError: From<B::Error>,
    {
        for _ in 0..budget.max(1) {
            if self.write_coin(memory, bytes)? || self.write_event(memory)? {
                continue;
            }
            self.done = Some(ChangeRuns {
                coins: self.coins.finish(memory)?,
                scripts: self.scripts.finish(memory)?,
            });
            return Ok(Progress::Done);
        }
        Ok(Progress::More)
    }

    /// Writes the next entry of the coin run, if there is one.
    fn write_coin<M: Memory, B: BlockBytes + ?Sized>(
        &mut self,
        memory: &M,
        bytes: &B,
    ) -> Result<bool, StoreError>
    where
        StoreError: From<B::Error>,
    {
        let Some((outpoint, event)) = self.change.next_coin(&mut self.position) else {
            return Ok(false);
        };
        let mut put = |coin: &ScannedCoin| {
            self.script.resize(coin.script_bytes as usize, 0);
            bytes.read(coin.script_offset, &mut self.script)?;
            Ok::<_, StoreError>(PutCoin {
                height: self.change.height(),
                coinbase: coin.coinbase,
                value: Amount::from_sat(coin.satoshi),
                script: ScriptForm::of(Script::from_bytes(&self.script)),
            })
        };
        let change = match event {
            CoinEvent::Spend(_) => CoinChange::Spend,
            CoinEvent::Put(coin) => CoinChange::Put(put(coin)?),
            CoinEvent::Replace(_, coin) => CoinChange::Replace(put(coin)?),
        };
        let outpoint = OutpointKey::from(&outpoint);
        self.coins.push(memory, CoinEntry { outpoint, change })?;
        Ok(true)
    }

    /// Writes the next entry of the script run, if there is one.
    fn write_event<M: Memory>(&mut self, memory: &M) -> Result<bool, StoreError> {
        let Some(event) = self.change.script_event(self.next_event) else {
            return Ok(false);
        };
        if self.next_event == self.group_end {
            let (end, change) = self.group(&event);
            self.group_end = end;
            self.scripts.begin_group(memory, event.script, change)?;
        }
        self.scripts.push(memory, &entry_of(&event))?;
        self.next_event += 1;
        Ok(true)
    }

    /// Returns where the events of a script that begin with `first` end, and their sum.
    fn group(&self, first: &ScriptEvent) -> (usize, BalanceChange) {
        let mut end = self.next_event;
        let mut sum = BalanceChange::default();
        while let Some(event) = self.change.script_event(end)
            && event.script == first.script
        {
            let sign = if event.is_spend { -1 } else { 1 };
            sum = sum.and(BalanceChange {
                satoshi: i128::from(event.satoshi) * sign,
                coins: sign as i64,
            });
            end += 1;
        }
        (end, sum)
    }

    /// Returns the block's hash.
    pub const fn block(&self) -> BlockHash {
        self.change.hash()
    }

    /// Returns the block's height.
    pub const fn height(&self) -> Height {
        self.change.height()
    }

    /// Returns the finished runs.
    pub const fn runs(&self) -> Option<ChangeRuns> {
        self.done
    }
}

fn entry_of(event: &ScriptEvent) -> ScriptEntry {
    ScriptEntry {
        place: Place::new(event.height, OutpointKey::from(&event.outpoint)),
        change: match event.is_spend {
            true => ListChange::Spend,
            false => ListChange::Put {
                value: Amount::from_sat(event.satoshi),
                coinbase: event.coinbase,
            },
        },
    }
}
