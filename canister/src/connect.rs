//! Connects one block: decodes it, looks up the coins it spends, judges it and computes its change,
//! stores the change. Each is a step of bounded work; what is on the heap between steps can be lost and is computed again, what was
//! stored stays.

use bitcoin::{BlockHash, OutPoint, Txid};
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::block::CheckedBlock;
use millrace_core::consensus::{BlockConnector, BlockPlace, ConnectError, ConnectStep};
use millrace_core::delta::DeltaError;
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::StoreError;
use millrace_store::blobs::BlobKey;
use millrace_store::cells::Counter;
use millrace_store::coins::{Progress, Resolver};
use millrace_store::rejections::RejectionKind;

use crate::{App, Env, convert};

/// Inputs and outputs looked at in one step: about 2 M instructions.
pub const STEP_COINS: usize = 256;

/// Filters asked for spent coins in one step: a few million instructions.
pub const STEP_PROBES: usize = 16_384;

/// Entries of runs written or merged in one step: a few million instructions, and at most two dozen
/// pages.
pub const STEP_ENTRIES: usize = 512;

/// The block being connected.
pub(crate) struct InHand {
    hash: BlockHash,
    stage: Stage,
}

enum Stage {
    /// The coins it spends are being looked up.
    Resolving(CheckedBlock, Box<BlockConnector>, Resolver),
    /// It is being judged, and its change computed.
    Computing(CheckedBlock, Box<BlockConnector>, Resolver),
    /// Its change is being stored.
    Storing,
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
            Some(Stage::Resolving(block, connector, coins)) => {
                self.resolve(block, connector, coins)
            }
            Some(Stage::Computing(block, connector, coins)) => {
                self.compute(env, block, *connector, coins)
            }
            Some(Stage::Storing) => self.store_change(env, hash),
        }
    }

    /// Decodes the block. One step, whatever its size: it costs at most
    /// [`crate::config::DECODING_INSTRUCTIONS`].
    fn begin(&mut self, env: &impl Env, hash: BlockHash) -> Result<(), StoreError> {
        let bytes = self.store.blobs.read_all(&BlobKey::Block(hash))?;
        match CheckedBlock::decode(&bytes) {
            Ok(block) => {
                let place = self.place(&block)?;
                match BlockConnector::start(&block, place, self.config.block_validation) {
                    Ok(connector) => {
                        let parent = block.header().prev_blockhash;
                        let coins = Resolver::new(parent, spent_outside(&block).into_iter());
                        let stage = Stage::Resolving(block, Box::new(connector), coins);
                        self.in_hand = Some(InHand { hash, stage });
                    }
                    Err(error) => self.refuse(env, hash, ConnectError::Rule(error))?,
                }
            }
            Err(error) if error.condemns_header() => {
                self.condemn(env, hash, InvalidReason::Structure, error);
            }
            Err(error) => self.want_again(env, hash, error),
        }
        Ok(())
    }

    /// Returns what a block's rules need to know of the chain below it.
    fn place(&self, block: &CheckedBlock) -> Result<BlockPlace, StoreError> {
        let parent = block.header().prev_blockhash;
        let parent = self.store.tree.get(&parent);
        let parent = parent.ok_or_else(|| missing_parent(block))?.context();
        Ok(BlockPlace {
            network: self.store.network(),
            height: parent.height().next(),
            median_time_past: parent.median_time_past(),
        })
    }

    fn resolve(
        &mut self,
        block: CheckedBlock,
        connector: Box<BlockConnector>,
        mut coins: Resolver,
    ) -> Result<(), StoreError> {
        let hash = block.hash();
        let stage = match coins.step(&self.store.coins, STEP_PROBES)? {
            Progress::More => Stage::Resolving(block, connector, coins),
            Progress::Done => Stage::Computing(block, connector, coins),
        };
        self.in_hand = Some(InHand { hash, stage });
        Ok(())
    }

    fn compute(
        &mut self,
        env: &impl Env,
        block: CheckedBlock,
        connector: BlockConnector,
        coins: Resolver,
    ) -> Result<(), StoreError> {
        let hash = block.hash();
        let parent = block.header().prev_blockhash;
        let view = coins.coins(&self.store.coins)?;
        let times = self.store.chain_times(parent);
        let stage = match connector.step(&block, &view, &times, STEP_COINS) {
            Ok(ConnectStep::More(connector)) => Stage::Computing(block, connector, coins),
            Ok(ConnectStep::Done(connected)) => {
                self.store.set_fee_rates(hash, &connected.fees)?;
                self.note_inclusions(env, &block);
                self.store.coins.begin_connect(parent, connected.delta)?;
                Stage::Storing
            }
            Err(error) => return self.refuse(env, hash, error),
        };
        self.in_hand = Some(InHand { hash, stage });
        Ok(())
    }

    fn store_change(&mut self, env: &impl Env, hash: BlockHash) -> Result<(), StoreError> {
        let progress = self.store.coins.connect_step(&hash, STEP_ENTRIES)?;
        if progress == Progress::More {
            let stage = Stage::Storing;
            self.in_hand = Some(InHand { hash, stage });
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

    /// Deals with a block that cannot be connected: condemns it, or has it delivered again.
    ///
    /// # Errors
    /// [`StoreError`] when neither the block nor its carrier is to blame; the block stays where it
    /// is.
    fn refuse(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
        error: ConnectError<StoreError>,
    ) -> Result<(), StoreError> {
        if error.suspects_carrier() {
            self.want_again(env, hash, error);
            return Ok(());
        }
        match error {
            error if error.condemns_block() => {
                let reason = match error {
                    ConnectError::Coins(_) => InvalidReason::Coins,
                    _ => InvalidReason::Consensus,
                };
                self.condemn(env, hash, reason, error);
                Ok(())
            }
            ConnectError::Coins(DeltaError::View(error)) | ConnectError::Times(error) => Err(error),
            ConnectError::UnknownMedianTime { height } => Err(StoreError::Missing {
                what: "median time past at height",
                name: height.to_string(),
            }),
            error => Err(StoreError::Damaged {
                what: "block in hand",
                detail: error.to_string(),
            }),
        }
    }

    /// Gives up the bytes of a block that whoever delivered it may have damaged: the block is
    /// wanted again.
    fn want_again(&mut self, env: &impl Env, hash: BlockHash, error: impl ToString) {
        self.reject(env, hash, RejectionKind::DamagedBytes, error);
        if self.store.tree.drop_body(&hash).is_ok() {
            self.store.discard(hash);
            self.drop_bodies_above(&hash);
        }
        self.store.flush_tree();
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

/// Returns the coins a block spends that it does not make itself.
fn spent_outside(block: &CheckedBlock) -> Vec<OutPoint> {
    let mut own: Vec<Txid> = block.transactions().map(|(txid, _)| *txid).collect();
    own.sort_unstable();
    let spending = block.transactions().map(|(_, transaction)| transaction);
    let spending = spending.filter(|transaction| !transaction.is_coinbase());
    let inputs = spending.flat_map(|transaction| &transaction.input);
    let outpoints = inputs.map(|input| input.previous_output);
    outpoints
        .filter(|outpoint| own.binary_search(&outpoint.txid).is_err())
        .collect()
}

fn missing_parent(block: &CheckedBlock) -> StoreError {
    StoreError::Missing {
        what: "connected parent",
        name: block.header().prev_blockhash.to_string(),
    }
}

fn log_reorg(env: &impl Env, old_tip: BlockHash, tip: BlockHash, height: Height) {
    env.log(&format!(
        "reorg: {tip} at height {height} replaces {old_tip}"
    ));
}
