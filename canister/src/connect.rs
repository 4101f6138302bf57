//! Connects one block: scans it, judges it and looks up what it spends, writes its change. All in
//! steps of bounded work; what is on the heap between steps can be lost and is computed again.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::block::BlockError;
use millrace_core::connect::{BlockConnector, ConnectStep, ConnectedBlock};
use millrace_core::consensus::{BlockPlace, BlockValidation, ConnectError};
use millrace_core::delta::DeltaError;
use millrace_core::scan::{BlockScanner, ScanError, ScanStep, ScannedBlock};
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::StoreError;
use millrace_store::blobs::{BlobKey, BlobPages};
use millrace_store::cells::Counter;
use millrace_store::coins::{Progress, Resolver};
use millrace_store::rejections::RejectionKind;

use crate::{App, Env, convert};

/// Inputs and outputs read in one step: a few million instructions, and 50 M where each is as long
/// as one item may be.
pub const STEP_ITEMS: usize = 256;

/// Filters asked for spent coins in one step: a few million instructions.
pub const STEP_PROBES: usize = 16_384;

/// Inputs and new coins judged in one step: about 2 M instructions.
pub const STEP_COINS: usize = 256;

/// Entries of runs written or merged in one step: a few million instructions, and at most two dozen
/// pages.
pub const STEP_ENTRIES: usize = 512;

/// The block being connected.
pub(crate) struct InHand {
    hash: BlockHash,
    /// Where its bytes are.
    pages: BlobPages,
    stage: Stage,
}

enum Stage {
    /// It is being read.
    Scanning(Box<BlockScanner>),
    /// The coins it spends are being looked up.
    Resolving(Box<BlockConnector>, Resolver),
    /// It is being judged, and its change ordered.
    Computing(Box<BlockConnector>, Resolver),
    /// Its change is being written.
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
        let key = BlobKey::Block(hash);
        // Its bytes may have gone and come again since the last step.
        let in_hand = self
            .in_hand
            .take()
            .filter(|in_hand| in_hand.hash == hash && self.store.blobs.is_at(&key, &in_hand.pages));
        let (stage, pages) = match in_hand {
            None => (None, self.store.blobs.pages(&key)?),
            Some(in_hand) => (Some(in_hand.stage), in_hand.pages),
        };
        let next = match stage {
            None => self.begin(env, hash, &pages)?,
            Some(Stage::Scanning(scanner)) => self.scan(env, hash, &pages, *scanner)?,
            Some(Stage::Resolving(connector, coins)) => Some(self.resolve(connector, coins)?),
            Some(Stage::Computing(connector, coins)) => {
                self.compute(env, hash, *connector, coins)?
            }
            Some(Stage::Storing) => self.store_change(env, hash, &pages)?,
        };
        self.in_hand = next.map(|stage| InHand { hash, pages, stage });
        Ok(())
    }

    /// Begins to read the block; returns what comes next, nothing when it is refused.
    fn begin(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
        pages: &BlobPages,
    ) -> Result<Option<Stage>, StoreError> {
        let judges = self.config.block_validation == BlockValidation::Consensus;
        match BlockScanner::start(&self.store.blobs.reader(pages), judges) {
            Ok(scanner) => Ok(Some(Stage::Scanning(Box::new(scanner)))),
            Err(error) => self.refuse_bytes(env, hash, error).map(|()| None),
        }
    }

    fn scan(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
        pages: &BlobPages,
        scanner: BlockScanner,
    ) -> Result<Option<Stage>, StoreError> {
        let block = match scanner.step(&self.store.blobs.reader(pages), STEP_ITEMS) {
            Ok(ScanStep::More(scanner)) => return Ok(Some(Stage::Scanning(scanner))),
            Ok(ScanStep::Done(block)) => *block,
            Err(error) => return self.refuse_bytes(env, hash, error).map(|()| None),
        };
        let place = self.place(&block)?;
        match BlockConnector::start(block, place, self.config.block_validation) {
            Ok(connector) => {
                let parent = connector.block().header().prev_blockhash;
                let coins = Resolver::new(parent, connector.look_ups());
                Ok(Some(Stage::Resolving(Box::new(connector), coins)))
            }
            Err(error) => {
                self.refuse(env, hash, ConnectError::Rule(error))?;
                Ok(None)
            }
        }
    }

    /// Deals with bytes that are no acceptable block.
    fn refuse_bytes(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
        error: ScanError<StoreError>,
    ) -> Result<(), StoreError> {
        match error {
            ScanError::Bytes(error) => return Err(error),
            ScanError::Block(BlockError::TrailingBytes { used, .. })
                if self.copies.is_pulled(&hash) =>
            {
                // Sources may send bytes after a block. What is left is read again.
                self.store.cut_block(hash, convert::length(used))?;
            }
            ScanError::Block(error) if error.condemns_header() => {
                self.condemn(env, hash, InvalidReason::Structure, error);
            }
            ScanError::Block(error) => self.want_again(env, hash, error),
        }
        Ok(())
    }

    /// Returns what a block's rules need to know of the chain below it.
    fn place(&self, block: &ScannedBlock) -> Result<BlockPlace, StoreError> {
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
        &self,
        connector: Box<BlockConnector>,
        mut coins: Resolver,
    ) -> Result<Stage, StoreError> {
        Ok(match coins.step(&self.store.coins, STEP_PROBES)? {
            Progress::More => Stage::Resolving(connector, coins),
            Progress::Done => Stage::Computing(connector, coins),
        })
    }

    fn compute(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
        connector: BlockConnector,
        coins: Resolver,
    ) -> Result<Option<Stage>, StoreError> {
        let parent = connector.block().header().prev_blockhash;
        let view = coins.coins(&self.store.coins)?;
        let times = self.store.chain_times(parent);
        match connector.step(&view, &times, STEP_COINS) {
            Ok(ConnectStep::More(connector)) => Ok(Some(Stage::Computing(connector, coins))),
            Ok(ConnectStep::Done(connected)) => {
                self.begin_to_store(env, parent, *connected)?;
                Ok(Some(Stage::Storing))
            }
            Err(error) => {
                self.refuse(env, hash, error)?;
                Ok(None)
            }
        }
    }

    fn begin_to_store(
        &mut self,
        env: &impl Env,
        parent: BlockHash,
        connected: ConnectedBlock,
    ) -> Result<(), StoreError> {
        let block = connected.change.block();
        self.store.set_fee_rates(block.hash(), &connected.fees)?;
        self.store.index_transactions(block)?;
        self.note_inclusions(env, block);
        self.store.coins.begin_connect(parent, connected.change)
    }

    fn store_change(
        &mut self,
        env: &impl Env,
        hash: BlockHash,
        pages: &BlobPages,
    ) -> Result<Option<Stage>, StoreError> {
        let store = &mut self.store;
        let bytes = store.blobs.reader(pages);
        if store.coins.connect_step(&hash, &bytes, STEP_ENTRIES)? == Progress::More {
            return Ok(Some(Stage::Storing));
        }
        let (old_tip, _) = self.tip();
        let marked = self.store.tree.mark_connected(&hash);
        marked.map_err(|error| StoreError::Damaged {
            what: "unstable tree",
            detail: error.to_string(),
        })?;
        self.store.flush_tree();
        self.store.counters.add(Counter::BlocksConnected, 1);
        self.copies.settle(&hash);
        self.stable_child = None;
        let (tip, height) = self.tip();
        if tip != old_tip && !self.store.tree.is_ancestor(&old_tip, &tip) {
            self.store.counters.add(Counter::Reorgs, 1);
            log_reorg(env, old_tip, tip, height);
        }
        Ok(None)
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
        self.copies.note_bad(env.now(), hash);
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
        self.copies.settle(&hash);
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

fn missing_parent(block: &ScannedBlock) -> StoreError {
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
