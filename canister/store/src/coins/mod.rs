//! The UTXO set: the stable set, and each unstable block's change over its parent.
//!
//! This is the boundary that sorted runs will replace; what is above it knows only these duties:
//! [`Coins::connect_step`] stores a block's change under a run, [`Coins::retire_step`] moves a
//! run into the stable set, [`Coins::drop_step`] deletes one, and [`Coins::view`] reads the set as
//! it stands at any chain of runs. Each duty works in steps of a given number of coins; the
//! progress is in the run's record, so a step may be the last before an upgrade.
//!
//! Readers never see a half-done duty:
//! - a run being built is in no chain; it enters one when its block is connected;
//! - a step of retiring moves each coin, and each script's balance, from the run to the stable set
//!   at once. The run stays in every chain until the last one moved, so that a reader finds each
//!   coin in exactly one of both places;
//! - a run being dropped left all chains before.

mod audit;
mod codec;
mod connect;
mod locate;
mod retire;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint};
use ic_stable_structures::{BTreeMap as StableMap, Cell, Memory};
use millrace_core::Height;
use millrace_core::delta::{BlockDelta, Coin};
use millrace_core::script::ScriptHash;

use crate::StoreError;
use crate::record::{join, take};
use codec::{
    ENTRY_BYTES, OUTPOINT_BYTES, RUN_COIN_KEY_BYTES, RUN_SCRIPT_KEY_BYTES, SCRIPT_KEY_BYTES,
    TOTAL_BYTES,
};

pub use codec::ListedCoin;
pub use connect::PreparedDelta;
pub use view::{Balance, CoinPage, MAX_SPENT_PASSED, View};

/// Whether a stepwise duty is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    More,
    /// Done.
    Done,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunState {
    Building,
    Complete,
    Retiring,
    Dropping,
}

/// The change of one unstable block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    number: u64,
    height: Height,
    state: RunState,
    /// Items done in this state.
    done: u32,
    /// Records of the log.
    records: u32,
    /// Change of the number of coins.
    coins: i64,
}

const RUN_BYTES: usize = 29;

/// All coins; see the module's documentation.
pub struct Coins<M: Memory> {
    stable: StableMap<[u8; OUTPOINT_BYTES], Vec<u8>, M>,
    by_script: StableMap<[u8; SCRIPT_KEY_BYTES], [u8; ENTRY_BYTES], M>,
    balances: StableMap<[u8; 32], [u8; TOTAL_BYTES], M>,
    /// Number of stable coins, next run number.
    totals: Cell<[u8; 16], M>,
    runs: StableMap<[u8; 32], [u8; RUN_BYTES], M>,
    run_coins: StableMap<[u8; RUN_COIN_KEY_BYTES], Vec<u8>, M>,
    run_scripts: StableMap<[u8; RUN_SCRIPT_KEY_BYTES], [u8; TOTAL_BYTES], M>,
    /// Heap copy of `runs`.
    run_cache: BTreeMap<BlockHash, Run>,
}

/// The regions of [`Coins`], in the order of its fields.
pub(crate) struct CoinRegions<M> {
    pub stable: M,
    pub by_script: M,
    pub balances: M,
    pub totals: M,
    pub runs: M,
    pub run_coins: M,
    pub run_scripts: M,
}

impl<M: Memory> Coins<M> {
    pub(crate) fn open(regions: CoinRegions<M>) -> Result<Self, StoreError> {
        let runs: StableMap<[u8; 32], [u8; RUN_BYTES], M> = StableMap::init(regions.runs);
        let mut run_cache = BTreeMap::new();
        for entry in runs.iter() {
            let run = Run::decode(&entry.value())?;
            run_cache.insert(BlockHash::from_byte_array(*entry.key()), run);
        }
        Ok(Self {
            stable: StableMap::init(regions.stable),
            by_script: StableMap::init(regions.by_script),
            balances: StableMap::init(regions.balances),
            totals: Cell::init(regions.totals, [0; 16]),
            runs,
            run_coins: StableMap::init(regions.run_coins),
            run_scripts: StableMap::init(regions.run_scripts),
            run_cache,
        })
    }

    /// Puts the coins of the first block into the empty stable set.
    pub(crate) fn seed(&mut self, delta: &BlockDelta) {
        for (outpoint, keyed) in &delta.puts {
            let coin = ListedCoin {
                outpoint: *outpoint,
                value: keyed.coin.value,
                height: keyed.coin.height,
                coinbase: keyed.coin.coinbase,
            };
            self.put_stable(&keyed.script_hash, &coin, codec::encode_coin(&keyed.coin));
            let value = i128::from(coin.value.to_sat());
            self.move_balance(&keyed.script_hash, value, 1);
        }
        let (count, next) = self.totals();
        self.set_totals(count + delta.puts.len() as u64, next);
    }

    /// Returns the number of stable coins.
    pub fn stable_count(&self) -> u64 {
        self.totals().0
    }

    /// Returns whether the block has a complete change, so that chains through it can be read.
    pub fn is_complete(&self, block: &BlockHash) -> bool {
        let run = self.run_cache.get(block);
        run.is_some_and(|run| matches!(run.state, RunState::Complete | RunState::Retiring))
    }

    /// Returns the block whose retiring began and did not end, if there is one.
    pub fn retiring(&self) -> Option<BlockHash> {
        self.run_cache
            .iter()
            .find(|(_, run)| run.state == RunState::Retiring)
            .map(|(hash, _)| *hash)
    }

    /// Returns whether the block has a run of any kind.
    pub fn has_run(&self, block: &BlockHash) -> bool {
        self.run_cache.contains_key(block)
    }

    /// Returns whether the block has a run that is being deleted.
    pub fn is_dropping(&self, block: &BlockHash) -> bool {
        let run = self.run_cache.get(block);
        run.is_some_and(|run| run.state == RunState::Dropping)
    }

    /// Returns the number of runs.
    pub fn run_count(&self) -> usize {
        self.run_cache.len()
    }

    fn run(&self, block: &BlockHash) -> Result<Run, StoreError> {
        let run = self.run_cache.get(block).copied();
        run.ok_or_else(|| StoreError::missing("run of block", block))
    }

    fn set_run(&mut self, block: &BlockHash, run: Run) {
        self.runs.insert(block.to_byte_array(), run.encode());
        self.run_cache.insert(*block, run);
    }

    fn remove_run(&mut self, block: &BlockHash) {
        self.runs.remove(block.as_byte_array());
        self.run_cache.remove(block);
    }

    fn totals(&self) -> (u64, u64) {
        let mut rest = self.totals.get().as_slice();
        let mut next = || u64::from_le_bytes(take(&mut rest).unwrap_or_default());
        (next(), next())
    }

    fn set_totals(&mut self, count: u64, next_run: u64) {
        let totals = join(&[&count.to_le_bytes(), &next_run.to_le_bytes()]);
        self.totals.set(totals);
    }

    fn put_stable(&mut self, script: &ScriptHash, coin: &ListedCoin, bytes: Vec<u8>) {
        let place = codec::place(coin.height, &coin.outpoint);
        self.stable
            .insert(codec::outpoint_key(&coin.outpoint), bytes);
        self.by_script
            .insert(codec::script_key(script, &place), codec::entry(coin));
    }

    fn stable_coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, StoreError> {
        let stored = self.stable.get(&codec::outpoint_key(outpoint));
        stored.map(|bytes| codec::decode_coin(&bytes)).transpose()
    }

    /// Changes the stable balance of a script; one without coins has no record.
    fn move_balance(&mut self, script: &ScriptHash, satoshi: i128, coins: i64) {
        let (balance, count) = self.stable_balance(script);
        let balance = balance.saturating_add(satoshi);
        let count = count.saturating_add(coins);
        if count == 0 {
            self.balances.remove(script.as_bytes());
        } else {
            self.balances
                .insert(*script.as_bytes(), encode_total(balance, count));
        }
    }

    fn stable_balance(&self, script: &ScriptHash) -> (i128, i64) {
        let stored = self.balances.get(script.as_bytes());
        stored.map_or((0, 0), |total| decode_total(&total))
    }
}

fn encode_total(satoshi: i128, coins: i64) -> [u8; TOTAL_BYTES] {
    join(&[&satoshi.to_le_bytes(), &coins.to_le_bytes()])
}

fn decode_total(bytes: &[u8; TOTAL_BYTES]) -> (i128, i64) {
    let mut rest = bytes.as_slice();
    let satoshi = i128::from_le_bytes(take(&mut rest).unwrap_or_default());
    (
        satoshi,
        i64::from_le_bytes(take(&mut rest).unwrap_or_default()),
    )
}

impl Run {
    fn encode(&self) -> [u8; RUN_BYTES] {
        let state = match self.state {
            RunState::Building => 0,
            RunState::Complete => 1,
            RunState::Retiring => 2,
            RunState::Dropping => 3,
        };
        join(&[
            &self.number.to_le_bytes(),
            &self.height.get().to_le_bytes(),
            &[state],
            &self.done.to_le_bytes(),
            &self.records.to_le_bytes(),
            &self.coins.to_le_bytes(),
        ])
    }

    fn decode(bytes: &[u8; RUN_BYTES]) -> Result<Self, StoreError> {
        let mut rest = bytes.as_slice();
        let mut read = || {
            let number = u64::from_le_bytes(take(&mut rest)?);
            let height = Height::new(u32::from_le_bytes(take(&mut rest)?));
            let state = match take(&mut rest)? {
                [0] => RunState::Building,
                [1] => RunState::Complete,
                [2] => RunState::Retiring,
                [3] => RunState::Dropping,
                _ => return None,
            };
            Some(Self {
                number,
                height,
                state,
                done: u32::from_le_bytes(take(&mut rest)?),
                records: u32::from_le_bytes(take(&mut rest)?),
                coins: i64::from_le_bytes(take(&mut rest)?),
            })
        };
        read().ok_or_else(|| StoreError::damaged("run", "unknown state"))
    }
}
