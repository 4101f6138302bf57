//! Keeps the commitment to the stable set, where the configuration asks for one.
//!
//! It never holds up the chain: when a step of it fails, or never ends, it is given up until the next
//! upgrade, and blocks become stable without it.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_store::StoreError;
use millrace_store::commitments::Standing;

use crate::{App, Env};

/// Entries of a block's change taken in by one step: some 5 M instructions.
pub const STEP_COMMITTED: usize = 128;

/// Outpoints of the stable set that one step passes: some 10 M instructions.
pub const STEP_SWEPT: usize = 256;

impl<M: Memory> App<M> {
    /// Returns whether a commitment is kept.
    pub(crate) fn keeps_commitment(&self) -> bool {
        self.config.is_committing
            && !self.store.commitments.is_given_up()
            && !self.store.cells.watch().is_committing_halted
    }

    fn standing(&self) -> Standing {
        let root = self.store.tree.root_hash();
        self.store.commitments.standing(&root)
    }

    /// Begins a commitment where one is to be kept and there is none to the stable set as it is.
    pub(crate) fn follow_commitment(&mut self, env: &impl Env) {
        if !self.keeps_commitment() || self.memory_pause > 0 || self.standing() != Standing::None {
            return;
        }
        match self.store.begin_commitment() {
            Ok(()) => {}
            Err(error @ StoreError::OutOfMemory { .. }) => {
                self.note_block_fault(env, "beginning a commitment", &error);
            }
            Err(error) => {
                self.note_fault(env, "beginning a commitment", &error);
                self.store.commitments.give_up();
            }
        }
    }

    /// Returns whether the block must be taken in before it may become stable.
    pub(crate) fn must_commit(&self, block: &BlockHash) -> bool {
        self.keeps_commitment()
            && self.standing() != Standing::None
            && !self.store.commitments.is_ready(block)
    }

    /// Returns whether stable coins are still to be taken in.
    pub(crate) fn must_sweep(&self) -> bool {
        self.keeps_commitment() && matches!(self.standing(), Standing::CatchingUp { .. })
    }

    /// Takes in some of the block that becomes stable next.
    ///
    /// # Errors
    /// [`StoreError`]; the commitment is given up.
    pub(crate) fn commit_step(&mut self, block: &BlockHash) -> Result<(), StoreError> {
        let done = self.store.commit_step(block, STEP_COMMITTED);
        self.end_step(done.map(drop))
    }

    /// Takes in some of the stable set.
    ///
    /// # Errors
    /// [`StoreError`]; the commitment is given up.
    pub(crate) fn sweep_step(&mut self) -> Result<(), StoreError> {
        let done = self.store.sweep_step(STEP_SWEPT);
        self.end_step(done.map(drop))
    }

    fn end_step(&mut self, done: Result<(), StoreError>) -> Result<(), StoreError> {
        match &done {
            // There may be room later.
            Ok(()) | Err(StoreError::OutOfMemory { .. }) => {}
            Err(_) => self.store.commitments.give_up(),
        }
        done
    }
}
