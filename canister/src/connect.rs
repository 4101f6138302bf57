//! Connects one block: decodes it, computes its change, stores the change. Each is a step of
//! bounded work; what is on the heap between steps can be lost and is computed again, what was
//! stored stays.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::block::CheckedBlock;
use millrace_core::delta::{DeltaBuilder, DeltaStep};
use millrace_core::fee_sample::fee_samples;
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::StoreError;
use millrace_store::blobs::BlobKey;
use millrace_store::cells::Counter;
use millrace_store::coins::{PreparedDelta, Progress};
use millrace_store::rejections::RejectionKind;

use crate::official::fees::rate;
use crate::{App, Env, convert};

/// Coins looked at or moved in one step: about 10 M instructions.
pub const STEP_COINS: usize = 64;

/// Why a block that came again is not connected.
const UNDELETABLE: &str =
    "an earlier copy of its change cannot be deleted; a newer version of the canister may";

/// The block being connected.
pub(crate) struct InHand {
    hash: BlockHash,
    stage: Stage,
}

enum Stage {
    /// Its change is being computed.
    Computing(CheckedBlock, DeltaBuilder),
    /// Its change is being stored.
    Storing(PreparedDelta),
}

impl<M: Memory> App<M> {
    /// Returns the block to go on with: the one in hand while it may still be connected, else the
    /// best one whose parent is connected.
    pub(crate) fn next_to_connect(&self) -> Option<BlockHash> {
        let in_hand = self.in_hand.as_ref().map(|in_hand| in_hand.hash);
        in_hand
            .filter(|hash| self.is_connectable(hash))
            .or_else(|| self.store.tree.next_to_connect())
    }

    fn is_connectable(&self, hash: &BlockHash) -> bool {
        let tree = &self.store.tree;
        tree.get(hash).is_some_and(|node| {
            let parent = tree.get(&node.context().header().prev_blockhash);
            node.status() == BlockStatus::BodyHeld
                && parent.is_some_and(|parent| parent.status() == BlockStatus::Connected)
        })
    }

    /// Does one step of connecting `hash`. A block that breaks a rule is refused; that is a
    /// success of the step.
    ///
    /// # Errors
    /// [`StoreError`]; the block stays where it is.
    pub(crate) fn connect_step(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
    ) -> Result<(), StoreError> {
        let in_hand = self.in_hand.take().filter(|in_hand| in_hand.hash == hash);
        match in_hand.map(|in_hand| in_hand.stage) {
            None => self.begin(env, hash),
            Some(Stage::Computing(block, builder)) => self.compute(env, block, builder),
            Some(Stage::Storing(delta)) => self.store_change(env, delta),
        }
    }

    /// Decodes the block. One step, whatever its size: it costs at most
    /// [`crate::config::DECODING_INSTRUCTIONS`].
    fn begin(&mut self, env: &impl Env, hash: BlockHash) -> Result<(), StoreError> {
        if self.store.coins.is_dropping(&hash) {
            // Deleting goes before connecting, so it is halted: nothing would ever follow.
            self.condemn(env, hash, InvalidReason::Quarantined, UNDELETABLE);
            return Ok(());
        }
        let bytes = self.store.blobs.read_all(&BlobKey::Block(hash))?;
        match CheckedBlock::decode(&bytes) {
            Ok(block) => {
                let height = self.height(&hash);
                let builder = DeltaBuilder::new(&block, height, self.store.network());
                self.in_hand = Some(InHand {
                    hash,
                    stage: Stage::Computing(block, builder),
                });
            }
            Err(error) if error.condemns_header() => {
                self.condemn(env, hash, InvalidReason::Structure, error);
            }
            Err(error) => {
                // Whoever delivered the bytes may have damaged them: the block is wanted again.
                self.reject(env, hash, RejectionKind::DamagedBytes, error);
                if self.store.tree.drop_body(&hash).is_ok() {
                    self.store.discard(hash);
                    self.drop_bodies_above(&hash);
                }
                self.store.flush_tree();
            }
        }
        Ok(())
    }

    fn compute(
        &mut self,
        env: &impl Env,
        block: CheckedBlock,
        builder: DeltaBuilder,
    ) -> Result<(), StoreError> {
        let hash = block.hash();
        let parent = block.header().prev_blockhash;
        let view = self.store.view(&parent);
        let view = view.ok_or_else(|| StoreError::Missing {
            what: "connected parent",
            name: parent.to_string(),
        })?;
        let stage = match builder.step(&block, &view, STEP_COINS) {
            Ok(DeltaStep::More(builder)) => Stage::Computing(block, builder),
            Ok(DeltaStep::Done(delta)) => {
                let samples = fee_samples(&block, &delta);
                let rates: Vec<u64> = samples.iter().map(rate).collect();
                self.store.set_fee_rates(hash, &rates)?;
                self.note_inclusions(env, &block);
                Stage::Storing(PreparedDelta::from(delta))
            }
            Err(error) if error.condemns_block() => {
                self.condemn(env, hash, InvalidReason::Coins, error);
                return Ok(());
            }
            Err(millrace_core::delta::DeltaError::View(error)) => return Err(error),
            Err(error) => {
                return Err(StoreError::Damaged {
                    what: "block in hand",
                    detail: error.to_string(),
                });
            }
        };
        self.in_hand = Some(InHand { hash, stage });
        Ok(())
    }

    fn store_change(&mut self, env: &impl Env, delta: PreparedDelta) -> Result<(), StoreError> {
        let hash = delta.block();
        let store = &mut self.store;
        let progress = store
            .coins
            .connect_step(&mut store.blobs, &delta, STEP_COINS)?;
        if progress == Progress::More {
            self.in_hand = Some(InHand {
                hash,
                stage: Stage::Storing(delta),
            });
            return Ok(());
        }
        let (old_tip, _) = self.tip();
        let marked = self.store.tree.mark_connected(&hash);
        marked.map_err(|error| StoreError::Damaged {
            what: "unstable tree",
            detail: error.to_string(),
        })?;
        self.store.flush_tree();
        self.store.counters.add(Counter::BlocksConnected, 1);
        self.stable_child = None;
        let (tip, height) = self.tip();
        if tip != old_tip && !self.store.tree.is_ancestor(&old_tip, &tip) {
            self.store.counters.add(Counter::Reorgs, 1);
            log_reorg(env, old_tip, tip, height);
        }
        Ok(())
    }

    /// Marks a block and its descendants invalid, deletes what is held of them, and refuses it for
    /// good.
    pub(crate) fn condemn(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
        reason: InvalidReason,
        error: impl ToString,
    ) {
        self.refuse_for_good(env, hash, convert::rejection_kind(reason), error);
        match self.store.tree.mark_invalid(&hash, reason) {
            Ok(marked) => {
                for hash in marked {
                    self.store.discard(hash);
                }
            }
            Err(error) => env.log(&format!("block {hash} cannot be marked invalid: {error}")),
        }
        self.store.flush_tree();
    }
}

fn log_reorg(env: &impl Env, old_tip: BlockHash, tip: BlockHash, height: Height) {
    env.log(&format!(
        "reorg: {tip} at height {height} replaces {old_tip}"
    ));
}
