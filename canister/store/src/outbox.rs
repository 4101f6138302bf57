//! Keeps the outbox: its records, and the bytes of transactions that adapters are to relay.
//!
//! ```text
//! record        txid -> see millrace_core::outbox
//! bytes         blob of the transaction
//! ```

use bitcoin::Txid;
use bitcoin::hashes::Hash;
use ic_stable_structures::{BTreeMap as StableMap, Memory};
use millrace_core::outbox::{Chain, Command, Event, Outbox, OutboxError, Standing};
use millrace_core::tree::{BlockStatus, Tree};
use millrace_core::{BlockHash, UnixSeconds};

use crate::blobs::BlobKey;
use crate::headers::Headers;
use crate::{Store, StoreError};

/// Why an event of the outbox could not be handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// The outbox refuses; nothing changed.
    #[error(transparent)]
    Refused(#[from] OutboxError),
    /// Stable memory is full or damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where blocks stand, from the tree and the stable headers.
struct Standings<'a, M: Memory> {
    tree: &'a Tree,
    headers: &'a Headers<M>,
    best: BlockHash,
}

impl<M: Memory> Chain for Standings<'_, M> {
    fn standing(&self, block: &BlockHash) -> Standing {
        match self.tree.get(block) {
            Some(node) if node.hash() == self.tree.root_hash() => Standing::Stable,
            Some(node) if node.status() != BlockStatus::Connected => Standing::Aside,
            Some(_) if self.tree.is_ancestor(block, &self.best) => Standing::Best,
            Some(_) => Standing::Aside,
            None if self.headers.height(block).is_some() => Standing::Stable,
            None => Standing::Aside,
        }
    }
}

pub(crate) fn load<M: Memory>(
    records: &StableMap<[u8; 32], Vec<u8>, M>,
) -> Result<Outbox, StoreError> {
    let records = records
        .iter()
        .map(|entry| (Txid::from_byte_array(*entry.key()), entry.value()));
    Outbox::restore(records).map_err(|error| StoreError::damaged("outbox", error))
}

impl<M: Memory> Store<M> {
    /// Handles an event of the outbox and makes what it changes durable; `bytes` are those of the
    /// transaction submitted, empty for other events.
    ///
    /// # Errors
    /// [`DeliveryError`]. When memory is full, a submission leaves nothing behind.
    pub fn deliver(
        &mut self,
        now: UnixSeconds,
        event: Event,
        bytes: &[u8],
    ) -> Result<(), DeliveryError> {
        let chain = Standings {
            tree: &self.tree,
            headers: &self.headers,
            best: self.tree.best_tip(),
        };
        // Room is made sure of first: the machine cannot take a submission back.
        if let Event::Submitted { txid, .. } = &event
            && self.blobs.length(&BlobKey::Transaction(*txid)).is_none()
        {
            self.require_room()?;
            self.blobs.append(&BlobKey::Transaction(*txid), bytes)?;
            let commands = self.outbox.on(now, event.clone(), &chain);
            let is_kept =
                matches!(&commands, Ok(list) if list.contains(&Command::KeepBytes(*txid)));
            if !is_kept {
                self.blobs.remove(&BlobKey::Transaction(*txid));
            }
            let commands = commands?;
            self.obey(commands);
            return Ok(());
        }
        let commands = self.outbox.on(now, event, &chain)?;
        self.obey(commands);
        Ok(())
    }

    fn obey(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::KeepBytes(_) => {}
                Command::DropBytes(txid) => self.blobs.remove(&BlobKey::Transaction(txid)),
                Command::Save(txid) => {
                    if let Some(record) = self.outbox.record(&txid) {
                        self.outbox_records.insert(txid.to_byte_array(), record);
                    }
                }
                Command::Forget(txid) => {
                    self.outbox_records.remove(txid.as_byte_array());
                }
            }
        }
    }

    /// Returns where a transaction of the outbox is on the chain that ends at `tip`, a connected
    /// block of the tree, or `None` for one that is unknown.
    pub fn transaction_status(
        &self,
        txid: &Txid,
        tip: BlockHash,
    ) -> Option<millrace_core::outbox::Status> {
        let chain = Standings {
            tree: &self.tree,
            headers: &self.headers,
            best: tip,
        };
        self.outbox.status(txid, &chain)
    }

    /// Returns transactions to relay in order of their ids, after a given one: as many as fit
    /// `max_bytes`, but at most `max_count`. The first is returned whatever its size.
    ///
    /// # Errors
    /// [`StoreError`] when bytes are missing or damaged.
    pub fn transactions_to_relay(
        &self,
        after: Option<Txid>,
        max_count: usize,
        max_bytes: u64,
    ) -> Result<Vec<RelayedTransaction>, StoreError> {
        let chain = Standings {
            tree: &self.tree,
            headers: &self.headers,
            best: self.tree.best_tip(),
        };
        let mut found = Vec::new();
        let mut total = 0u64;
        for (txid, size, submitted) in self.outbox.to_relay(after, &chain).take(max_count) {
            total = total.saturating_add(u64::from(size));
            if total > max_bytes && !found.is_empty() {
                break;
            }
            found.push(RelayedTransaction {
                txid,
                bytes: self.blobs.read_all(&BlobKey::Transaction(txid))?,
                submitted,
            });
        }
        Ok(found)
    }
}

/// A transaction that adapters should relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayedTransaction {
    /// Its id.
    pub txid: Txid,
    /// Its consensus encoding.
    pub bytes: Vec<u8>,
    /// When it was submitted.
    pub submitted: UnixSeconds,
}
