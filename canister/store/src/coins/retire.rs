//! Moves a run into the stable set, or deletes it.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;

use super::codec::{self, Kind, LOG_RECORD_BYTES, LogRecord, PLACE_BYTES};
use super::connect::{PUT, flags_of};
use super::{Coins, Progress, Run, RunState, decode_total};
use crate::StoreError;
use crate::blobs::{BlobKey, Blobs};

impl<M: Memory> Coins<M> {
    /// Marks a complete run as the one that becomes part of the stable set.
    ///
    /// # Errors
    /// [`StoreError::Missing`] without a complete run, [`StoreError::Damaged`] when another one is
    /// on its way.
    pub fn begin_retire(&mut self, block: &BlockHash) -> Result<(), StoreError> {
        let mut run = self.run(block)?;
        if run.state != RunState::Complete {
            return Err(StoreError::missing("complete run of block", block));
        }
        if let Some(other) = self.retiring() {
            return Err(StoreError::damaged(
                "runs",
                format!("{other} is retiring already"),
            ));
        }
        run.state = RunState::Retiring;
        run.done = 0;
        self.set_run(block, run);
        Ok(())
    }

    /// Moves up to `budget` further coins (at least one) of a retiring run into the stable set.
    ///
    /// Each costs three to six tree operations.
    ///
    /// # Errors
    /// [`StoreError`]; the coins moved so far stay moved.
    pub fn retire_step(
        &mut self,
        blobs: &mut Blobs<M>,
        block: &BlockHash,
        budget: usize,
    ) -> Result<Progress, StoreError> {
        let mut run = self.run(block)?;
        if run.state != RunState::Retiring {
            return Err(StoreError::missing("retiring run of block", block));
        }
        for record in read_log(blobs, &run, budget)? {
            self.retire_record(&run, &record)?;
            run.done += 1;
        }
        if run.done < run.records {
            self.set_run(block, run);
            return Ok(Progress::More);
        }
        let (count, next) = self.totals();
        self.set_totals(count.saturating_add_signed(run.coins), next);
        self.end_run(blobs, block, &run);
        Ok(Progress::Done)
    }

    /// Marks a run for deletion; chains through it can no longer be read.
    pub fn begin_drop(&mut self, block: &BlockHash) {
        if let Ok(mut run) = self.run(block)
            && run.state != RunState::Dropping
        {
            run.state = RunState::Dropping;
            run.done = 0;
            self.set_run(block, run);
        }
    }

    /// Deletes up to `budget` further items (at least one) of a run marked with
    /// [`Coins::begin_drop`]; a block without a run is done.
    ///
    /// # Errors
    /// [`StoreError`]; what was deleted so far stays deleted.
    pub fn drop_step(
        &mut self,
        blobs: &mut Blobs<M>,
        block: &BlockHash,
        budget: usize,
    ) -> Result<Progress, StoreError> {
        let Ok(mut run) = self.run(block) else {
            return Ok(Progress::Done);
        };
        if run.state != RunState::Dropping {
            return Err(StoreError::missing(
                "run marked for deletion of block",
                block,
            ));
        }
        for record in read_log(blobs, &run, budget)? {
            let outpoint = &record.coin.outpoint;
            self.run_coins
                .remove(&codec::run_coin_key(outpoint, run.number));
            self.remove_run_scripts(&run, &record);
            run.done += 1;
        }
        if run.done < run.records {
            self.set_run(block, run);
            return Ok(Progress::More);
        }
        self.end_run(blobs, block, &run);
        Ok(Progress::Done)
    }

    fn end_run(&mut self, blobs: &mut Blobs<M>, block: &BlockHash, run: &Run) {
        blobs.remove(&BlobKey::RunLog(run.number));
        self.remove_run(block);
    }

    fn retire_record(&mut self, run: &Run, record: &LogRecord) -> Result<(), StoreError> {
        let outpoint = &record.coin.outpoint;
        let key = codec::run_coin_key(outpoint, run.number);
        let stored = self.run_coins.get(&key);
        let stored = stored.ok_or_else(|| StoreError::missing("run coin", outpoint))?;
        if record.kind == Kind::Put {
            let coin = stored.get(1..).unwrap_or_default().to_vec();
            self.put_stable(&record.script, &record.coin, coin);
            self.run_coins.remove(&key);
        } else {
            self.stable.remove(&codec::outpoint_key(outpoint));
            self.by_script
                .remove(&codec::script_key(&record.script, &record.place()));
            if flags_of(&stored) & PUT == 0 {
                self.run_coins.remove(&key);
            }
        }
        if let Some((satoshi, coins)) = self.remove_run_scripts(run, record) {
            self.move_balance(&record.script, satoshi, coins);
        }
        Ok(())
    }

    /// Removes a record's entry and, with the first record of each script, the head of its group,
    /// which is returned.
    fn remove_run_scripts(&mut self, run: &Run, record: &LogRecord) -> Option<(i128, i64)> {
        let key = |kind, place: &[u8; PLACE_BYTES]| {
            codec::run_script_key(&record.script, run.number, kind, place)
        };
        self.run_scripts.remove(&key(record.kind, &record.place()));
        let head = self
            .run_scripts
            .remove(&key(Kind::Head, &[0; PLACE_BYTES]))?;
        Some(decode_total(&head))
    }
}

/// Reads the next records of a run's log.
fn read_log<M: Memory>(
    blobs: &Blobs<M>,
    run: &Run,
    budget: usize,
) -> Result<Vec<LogRecord>, StoreError> {
    let left = run.records.saturating_sub(run.done) as usize;
    let count = left.min(budget.max(1));
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; count * LOG_RECORD_BYTES];
    let offset = run.done.saturating_mul(LOG_RECORD_BYTES as u32);
    blobs.read(&BlobKey::RunLog(run.number), offset, &mut bytes)?;
    let records = bytes.chunks_exact(LOG_RECORD_BYTES);
    records.map(LogRecord::decode).collect()
}
