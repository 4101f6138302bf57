//! Stores a block's change as a run.

use std::collections::BTreeMap;

use bitcoin::{BlockHash, OutPoint};
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::delta::{BlockDelta, KeyedCoin};
use millrace_core::script::ScriptHash;

use super::codec::{self, Kind, LogRecord, PLACE_BYTES};
use super::{Coins, Progress, Run, RunState, encode_total};
use crate::StoreError;
use crate::blobs::{BlobKey, Blobs};

pub(super) const PUT: u8 = 1;
pub(super) const SPENT: u8 = 2;

/// A block's change in the order in which it is stored: a pure function of the change, so that
/// storing can go on after an upgrade from the number of items stored.
#[derive(Debug)]
pub struct PreparedDelta {
    block: BlockHash,
    height: Height,
    items: Vec<(Kind, OutPoint, KeyedCoin)>,
    heads: Vec<(ScriptHash, i128, i64)>,
    coins: i64,
}

impl From<BlockDelta> for PreparedDelta {
    fn from(delta: BlockDelta) -> Self {
        let coins = delta.puts.len() as i64 - delta.spends.len() as i64;
        let mut heads: BTreeMap<ScriptHash, (i128, i64)> = BTreeMap::new();
        let spends = delta.spends.into_iter().map(|spend| (Kind::Spend, spend));
        let puts = delta.puts.into_iter().map(|put| (Kind::Put, put));
        let mut items = Vec::with_capacity(spends.len() + puts.len());
        for (kind, (outpoint, keyed)) in spends.chain(puts) {
            let sign = if kind == Kind::Put { 1 } else { -1 };
            let head = heads.entry(keyed.script_hash).or_default();
            head.0 += i128::from(sign) * i128::from(keyed.coin.value.to_sat());
            head.1 += sign;
            items.push((kind, outpoint, keyed));
        }
        let heads = heads.into_iter();
        Self {
            block: delta.block,
            height: delta.height,
            items,
            heads: heads.map(|(script, (sat, n))| (script, sat, n)).collect(),
            coins,
        }
    }
}

impl PreparedDelta {
    /// Returns the block.
    pub const fn block(&self) -> BlockHash {
        self.block
    }

    /// Returns the number of items to store: coins and scripts.
    pub fn len(&self) -> usize {
        self.items.len() + self.heads.len()
    }

    /// Returns whether the block changes nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<M: Memory> Coins<M> {
    /// Stores up to `budget` further items (at least one) of a block's change. After
    /// [`Progress::Done`] chains through the block can be read.
    ///
    /// Each item costs two or three tree insertions. A block that is stored already is done.
    ///
    /// # Errors
    /// [`StoreError`]; the items stored so far stay, and the call may be repeated.
    pub fn connect_step(
        &mut self,
        blobs: &mut Blobs<M>,
        delta: &PreparedDelta,
        budget: usize,
    ) -> Result<Progress, StoreError> {
        let mut run = match self.run_cache.get(&delta.block) {
            Some(run) => *run,
            None => self.begin_run(delta),
        };
        match run.state {
            RunState::Building => {}
            RunState::Complete | RunState::Retiring => return Ok(Progress::Done),
            RunState::Dropping => {
                return Err(StoreError::damaged("run", "stored while it is dropped"));
            }
        }
        let start = run.done as usize;
        let end = delta.len().min(start.saturating_add(budget.max(1)));
        let items = delta.items.get(start..end.min(delta.items.len()));
        let items = items.unwrap_or_default();
        let mut log = Vec::with_capacity(items.len() * codec::LOG_RECORD_BYTES);
        for (kind, outpoint, keyed) in items {
            log.extend_from_slice(&LogRecord::new(*kind, outpoint, keyed).encode());
        }
        // The log first: it alone can fail, and what is not in it could never be deleted.
        blobs.append(&BlobKey::RunLog(run.number), &log)?;
        for (kind, outpoint, keyed) in items {
            self.store_item(run.number, *kind, outpoint, keyed);
        }
        let items_end = delta.items.len();
        let heads = start.max(items_end) - items_end..end.max(items_end) - items_end;
        for (script, satoshi, coins) in delta.heads.get(heads).unwrap_or_default() {
            let key = codec::run_script_key(script, run.number, Kind::Head, &[0; PLACE_BYTES]);
            self.run_scripts.insert(key, encode_total(*satoshi, *coins));
        }
        run.records = end.min(items_end) as u32;
        run.done = end as u32;
        let is_done = end == delta.len();
        if is_done {
            run.state = RunState::Complete;
            run.done = 0;
        }
        self.set_run(&delta.block, run);
        Ok(if is_done {
            Progress::Done
        } else {
            Progress::More
        })
    }

    fn begin_run(&mut self, delta: &PreparedDelta) -> Run {
        let (count, number) = self.totals();
        self.set_totals(count, number.saturating_add(1));
        Run {
            number,
            height: delta.height,
            state: RunState::Building,
            done: 0,
            records: 0,
            coins: delta.coins,
        }
    }

    fn store_item(&mut self, run: u64, kind: Kind, outpoint: &OutPoint, keyed: &KeyedCoin) {
        let key = codec::run_coin_key(outpoint, run);
        let value = if kind == Kind::Put {
            // Spends come first: only the coin that replaces an unspent one finds something.
            let flags = self.run_coins.get(&key).map_or(0, |old| flags_of(&old));
            let mut value = vec![flags | PUT];
            value.extend(codec::encode_coin(&keyed.coin));
            value
        } else {
            vec![SPENT]
        };
        self.run_coins.insert(key, value);
        let record = LogRecord::new(kind, outpoint, keyed);
        let script_key = codec::run_script_key(&keyed.script_hash, run, kind, &record.place());
        self.run_scripts
            .insert(script_key, codec::entry(&record.coin));
    }
}

pub(super) fn flags_of(value: &[u8]) -> u8 {
    value.first().copied().unwrap_or(0)
}
