//! `get_block` and `get_transaction`: raw data of blocks that are still held.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid};
use ic_stable_structures::Memory;
use millrace_candid::{
    BlockBytes, BlockSelector, FoundTransaction, GetBlockArgs, GetBlockResult, GetTransactionArgs,
    GetTransactionResult, ReadError,
};
use millrace_core::Height;
use millrace_core::tree::Node;
use millrace_store::blobs::BlobKey;
use millrace_store::transactions::HeldTransaction;
use serde_bytes::ByteBuf;

use super::ReadTip;
use crate::{App, convert};

/// Bytes of a block or of a transaction in one response, at most: below the 2 MiB of a message.
pub const MAX_RESPONSE_BYTES: u32 = 1_900_000;

impl<M: Memory> App<M> {
    /// Returns bytes of a block that is still held: above the newest stable one, connected or
    /// waiting. Costs one small read for each 4 KiB before `offset`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get_block(&self, args: &GetBlockArgs) -> GetBlockResult {
        self.check_read(args.at_tip.is_some())?;
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let hash = match &args.select {
            BlockSelector::Hash(bytes) => {
                convert::block_hash(bytes).map_err(convert::malformed_hash)?
            }
            BlockSelector::Height(height) => self.block_at(*height, tip)?,
        };
        let (height, size) = self.held_block(hash)?;
        let offset = args.offset.unwrap_or(0);
        if offset >= size {
            return Err(ReadError::OffsetOutOfRange {
                given: offset,
                size,
            });
        }
        let wanted = args.max_bytes.unwrap_or(MAX_RESPONSE_BYTES);
        if wanted == 0 {
            // An answer without bytes would have its reader ask for ever.
            return Err(ReadError::LimitOutOfRange {
                given: wanted,
                max: MAX_RESPONSE_BYTES,
            });
        }
        let length = wanted.min(MAX_RESPONSE_BYTES).min(size - offset);
        let mut bytes = vec![0; length as usize];
        self.store
            .blobs
            .read(&BlobKey::Block(hash), offset, &mut bytes)
            .map_err(convert::store_error)?;
        Ok(BlockBytes {
            block: convert::block_id(hash, height),
            size,
            offset,
            bytes: ByteBuf::from(bytes),
            tip: tip.to_wire(),
        })
    }

    /// Returns a transaction of a held block of the chain read, spent or not. Costs one or two page
    /// reads for each unstable block of that chain (of the named one alone), and hashing the
    /// transaction that is found.
    ///
    /// A block that waits to be connected is on no chain that can be read, and has no index yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get_transaction(&self, args: &GetTransactionArgs) -> GetTransactionResult {
        self.check_read(args.at_tip.is_some())?;
        let txid = convert::txid(&args.txid).map_err(convert::malformed_hash)?;
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let found = match &args.block {
            Some(bytes) => {
                let block = convert::block_hash(bytes).map_err(convert::malformed_hash)?;
                self.held_block(block)?;
                if !self.store.tree.is_ancestor(&block, &tip.hash) {
                    return Err(ReadError::UnknownBlock {
                        hash: convert::hash(block),
                    });
                }
                self.find_in_blocks(self.store.tree.get(&block).into_iter(), &txid)?
            }
            None => self.find_in_blocks(self.store.tree.path(&tip.hash), &txid)?,
        };
        let (block, transaction) = found.ok_or_else(|| ReadError::TransactionNotFound {
            txid: ByteBuf::from(txid.to_byte_array()),
            min_height: self.store.anchor_height().next().get(),
        })?;
        let size = convert::length(transaction.bytes.len());
        if size > MAX_RESPONSE_BYTES {
            return Err(ReadError::TransactionTooLarge {
                size,
                max: MAX_RESPONSE_BYTES,
            });
        }
        Ok(FoundTransaction {
            transaction: ByteBuf::from(transaction.bytes),
            block: block.to_wire(),
            index: transaction.position,
            confirmations: tip.confirmations(block.height),
            tip: tip.to_wire(),
        })
    }

    /// Returns the first of these blocks that holds a transaction, and that.
    fn find_in_blocks<'a>(
        &self,
        mut blocks: impl Iterator<Item = &'a Node>,
        txid: &Txid,
    ) -> Result<Option<(ReadTip, HeldTransaction)>, ReadError> {
        let found = blocks.find_map(|node| {
            let found = self.store.find_transaction(&node.hash(), txid);
            found
                .map(|found| Some((ReadTip::of(node), found?)))
                .transpose()
        });
        found.transpose().map_err(convert::store_error)
    }

    fn block_at(&self, height: u32, tip: ReadTip) -> Result<BlockHash, ReadError> {
        if height > tip.height.get() {
            return Err(ReadError::StartHeightDoesNotExist {
                requested: height,
                tip_height: tip.height.get(),
            });
        }
        let height = Height::new(height);
        if let Some(node) = self.store.tree.ancestor_at(&tip.hash, height) {
            return Ok(node.hash());
        }
        let header = self.store.headers.header(height);
        let header =
            header.ok_or_else(|| ReadError::Internal(format!("no header at height {height}")))?;
        Ok(header.block_hash())
    }

    /// Returns the height and size of a block whose bytes are held.
    fn held_block(&self, hash: BlockHash) -> Result<(Height, u32), ReadError> {
        let in_tree = self
            .store
            .tree
            .get(&hash)
            .map(|node| node.context().height());
        let height = in_tree.or_else(|| self.store.headers.height(&hash));
        let height = height.ok_or_else(|| ReadError::UnknownBlock {
            hash: convert::hash(hash),
        })?;
        let size = self.store.blobs.length(&BlobKey::Block(hash));
        let size = size.ok_or_else(|| ReadError::BlockNotHeld {
            hash: convert::hash(hash),
            min_height: self.store.anchor_height().next().get(),
        })?;
        Ok((height, size))
    }
}
