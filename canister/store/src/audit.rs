//! Checks every invariant of the store, and sums its content up in a digest. For tests: both read
//! everything.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::tree::{BlockStatus, NODE_RECORD_BYTES};

use crate::blobs::BlobKey;
use crate::{Store, StoreError};

impl<M: Memory> Store<M> {
    /// Checks all invariants; call it between messages, after [`Store::flush`].
    ///
    /// # Errors
    /// [`StoreError::Damaged`] naming the first broken invariant.
    pub fn audit(&self) -> Result<(), StoreError> {
        self.audit_chain()?;
        self.audit_bodies()?;
        self.audit_queue()?;
        self.audit_blobs()?;
        self.audit_outbox()?;
        self.audit_transactions()?;
        self.audit_commitment()?;
        self.coins.audit()
    }

    /// Stable headers form one chain that ends at the root, and tree records equal the tree.
    fn audit_chain(&self) -> Result<(), StoreError> {
        let broken = |detail: String| Err(StoreError::damaged("stable chain", detail));
        let mut parent = None;
        for height in 0..self.headers.len() as u32 {
            let Some(header) = self.headers.header(Height::new(height)) else {
                return broken(format!("no header at height {height}"));
            };
            let hash = header.block_hash();
            if parent.is_some_and(|parent| parent != header.prev_blockhash) {
                return broken(format!("{hash} does not follow {parent:?}"));
            }
            if self.headers.height(&hash) != Some(Height::new(height)) {
                return broken(format!("{hash} is not found at height {height}"));
            }
            parent = Some(hash);
        }
        let importing = self.imports.get().filter(|_| self.imports.is_under_way());
        let last = importing.map_or_else(|| self.tree.root_hash(), |import| import.header.hash());
        if parent != Some(last) || self.headers.index_len() != self.headers.len() {
            return broken(format!("ends at {parent:?} instead of {last}"));
        }
        let work = self.tree.root().map(|root| root.context().chain_work());
        if self.headers.chain_work(self.anchor_height()) != work {
            return broken(format!("the root's work is {work:?}"));
        }
        let hashes: Vec<BlockHash> = self.tree.hashes().copied().collect();
        let is_stored = |hash: &BlockHash| {
            let stored: Option<[u8; NODE_RECORD_BYTES]> = self.nodes.get(hash);
            stored.is_some() && stored == self.tree.record(hash).map(|record| record.encode())
        };
        if let Some(hash) = hashes.iter().find(|hash| !is_stored(hash)) {
            return broken(format!("record of {hash} is not up to date"));
        }
        if self.nodes.len() != hashes.len() as u64 {
            return broken(format!(
                "{} records of {} blocks",
                self.nodes.len(),
                hashes.len()
            ));
        }
        let held = self.tree.hashes().copied().filter(|hash| {
            let node = self.tree.get(hash);
            node.is_some_and(|node| node.status() == BlockStatus::BodyHeld)
        });
        if held.count() != self.held().0 as usize {
            return broken(format!("{} blocks counted as held", self.held().0));
        }
        Ok(())
    }

    /// Held blocks have bytes and a parent with a body; connected ones a complete change.
    fn audit_bodies(&self) -> Result<(), StoreError> {
        let root = self.tree.root_hash();
        for hash in self.tree.hashes().copied() {
            let Some(node) = self.tree.get(&hash) else {
                continue;
            };
            let status = node.status();
            let is_held = matches!(status, BlockStatus::BodyHeld | BlockStatus::Connected);
            if hash == root {
                continue;
            }
            let has_bytes = self.blobs.length(&BlobKey::Block(hash)).is_some();
            if has_bytes != is_held && !self.queue.contains(&hash) {
                let detail = format!("{hash} is {status}, bytes held: {has_bytes}");
                return Err(StoreError::damaged("bodies", detail));
            }
            let parent = self.tree.get(&node.context().header().prev_blockhash);
            let parent = parent.map(|parent| parent.status());
            let parent_held =
                matches!(parent, Some(BlockStatus::BodyHeld | BlockStatus::Connected));
            if status == BlockStatus::BodyHeld && !parent_held {
                return Err(StoreError::damaged(
                    "bodies",
                    format!("{hash} is held without its parent"),
                ));
            }
            if self.coins.is_complete(&hash) != (status == BlockStatus::Connected) {
                return Err(StoreError::damaged(
                    "changes",
                    format!("{hash} is {status}"),
                ));
            }
        }
        Ok(())
    }

    /// The queue's heap form equals its records, and every queued block has its bytes.
    fn audit_queue(&self) -> Result<(), StoreError> {
        let broken = |detail: String| Err(StoreError::damaged("queue", detail));
        if self.queue.stored_len() != self.queue.len() as u64 {
            return broken(format!("{} records", self.queue.stored_len()));
        }
        for block in self.queue.iter() {
            let block = block?;
            let length = self.blobs.length(&BlobKey::Block(block.hash));
            if length != Some(block.size) {
                return broken(format!(
                    "{} has {length:?} bytes of {}",
                    block.hash, block.size
                ));
            }
        }
        let halves = self.assembly.records().count() as u64;
        if self.assembly_records.len() != halves {
            return broken(format!("{halves} half-received blocks"));
        }
        for half in self.assembly.records() {
            let known: BTreeMap<_, _> = self
                .assembly
                .half_received(half.key().pusher)
                .map(|(hash, _, received)| (hash, received))
                .collect();
            let length = self.blobs.length(&BlobKey::Half(*half.key()));
            if length != known.get(&half.key().hash).copied() {
                return broken(format!("half of {} has {length:?} bytes", half.key().hash));
            }
        }
        Ok(())
    }

    /// The outbox's heap form equals its records, and it has the bytes it should have.
    fn audit_outbox(&self) -> Result<(), StoreError> {
        let broken = |detail: String| Err(StoreError::damaged("outbox", detail));
        for (txid, keeps_bytes) in self.outbox.iter() {
            if self.outbox_records.get(txid.as_byte_array()) != self.outbox.record(txid) {
                return broken(format!("record of {txid} is not up to date"));
            }
            let has_bytes = self.blobs.length(&BlobKey::Transaction(*txid)).is_some();
            if has_bytes != keeps_bytes {
                return broken(format!("{txid} has its bytes: {has_bytes}"));
            }
        }
        if self.outbox_records.len() != self.outbox.iter().count() as u64 {
            return broken(format!("{} records", self.outbox_records.len()));
        }
        Ok(())
    }

    /// Each connected block above the genesis block, or the base of a snapshot, has an index of its transactions, and each index
    /// belongs to a held block.
    fn audit_transactions(&self) -> Result<(), StoreError> {
        let broken = |detail: String| Err(StoreError::damaged("transaction index", detail));
        self.transaction_indexes.audit()?;
        let base = self.imports.get().map(|import| import.header.height());
        let base = base.unwrap_or(Height::ZERO);
        for hash in self.tree.hashes() {
            let node = self.tree.get(hash);
            let needs_one = node.is_some_and(|node| {
                node.status() == BlockStatus::Connected && node.context().height() > base
            });
            if needs_one && self.transaction_indexes.count(hash).is_none() {
                return broken(format!("none of {hash}"));
            }
        }
        for hash in self.transaction_indexes.blocks() {
            let status = self.tree.get(hash).map(|node| node.status());
            if !matches!(status, Some(BlockStatus::BodyHeld | BlockStatus::Connected)) {
                return broken(format!("{hash} is not held"));
            }
            self.audit_transactions_of(hash)?;
        }
        Ok(())
    }

    /// Every page belongs to one blob or is free, and every blob belongs to something.
    fn audit_blobs(&self) -> Result<(), StoreError> {
        let (used, free) = self.blobs.usage();
        let found = self.blobs.count_pages()?;
        if found != used + free {
            let detail = format!("{found} pages found, {used} used and {free} free");
            return Err(StoreError::damaged("blobs", detail));
        }
        for (key, _) in self.blobs.iter() {
            let is_owned = match &key {
                Some(BlobKey::Block(hash)) => {
                    self.queue.contains(hash) || self.tree.get(hash).is_some()
                }
                Some(BlobKey::Half(half)) => self.assembly.record(half).is_some(),
                Some(BlobKey::Staged) => true,
                Some(BlobKey::FeeRates(hash)) => self.tree.get(hash).is_some(),
                Some(BlobKey::Transaction(txid)) => self.outbox.contains(txid),
                None => false,
            };
            if !is_owned {
                return Err(StoreError::damaged(
                    "blobs",
                    format!("{key:?} belongs to nothing"),
                ));
            }
        }
        Ok(())
    }

    /// Returns SHA-256 of all content but counters and rejections: equal digests mean that
    /// nothing else changed.
    pub fn digest(&self) -> [u8; 32] {
        let mut engine = sha256::Hash::engine();
        for hash in self.tree.hashes() {
            if let Some(record) = self.tree.record(hash) {
                engine.input(&record.encode());
            }
        }
        engine.input(self.tree.root_hash().as_byte_array());
        for block in self.queue.iter().flatten() {
            engine.input(block.hash.as_byte_array());
        }
        for record in self.assembly.records() {
            engine.input(&record.encode());
        }
        for (key, length) in self.blobs.iter() {
            engine.input(format!("{key:?} {length}").as_bytes());
            if let Some(Ok(bytes)) = key.map(|key| self.blobs.read_all(&key)) {
                engine.input(&bytes);
            }
        }
        for (txid, _) in self.outbox.iter() {
            engine.input(txid.as_byte_array());
            engine.input(&self.outbox.record(txid).unwrap_or_default());
        }
        for hash in self.transaction_indexes.blocks() {
            let entries = self.transaction_indexes.all(hash);
            engine.input(format!("{hash} {entries:?}").as_bytes());
        }
        engine.input(self.cells.config());
        self.coins.digest(&mut engine);
        self.commitments.digest(&mut engine);
        engine.input(&self.imports.digest());
        sha256::Hash::from_engine(engine).to_byte_array()
    }
}
