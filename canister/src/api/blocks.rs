//! `get_block` and `get_transaction`: raw data of blocks that are still held.

use bitcoin::consensus::{Decodable, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Block, BlockHash, Txid};
use ic_stable_structures::Memory;
use millrace_candid::{
    BlockBytes, BlockSelector, FoundTransaction, GetBlockArgs, GetBlockResult, GetTransactionArgs,
    GetTransactionResult, ReadError,
};
use millrace_core::Height;
use millrace_store::blobs::BlobKey;
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

    /// Returns a transaction of a held block of the chain read. Costs decoding that block and
    /// hashing its transactions up to this one: at most 4 MB.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get_transaction(&self, args: &GetTransactionArgs) -> GetTransactionResult {
        self.check_read(args.at_tip.is_some())?;
        let txid = convert::txid(&args.txid).map_err(convert::malformed_hash)?;
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let block = match &args.block {
            Some(bytes) => Some(convert::block_hash(bytes).map_err(convert::malformed_hash)?),
            None => {
                let blocks = self.store.coins.blocks_with_transaction(&txid);
                let mut blocks = blocks.map_err(convert::store_error)?.into_iter();
                blocks.find(|block| self.store.tree.is_ancestor(block, &tip.hash))
            }
        };
        let missing = || ReadError::TransactionNotFound {
            txid: ByteBuf::from(txid.to_byte_array()),
        };
        let block = block.ok_or_else(missing)?;
        let (height, _) = self.held_block(block)?;
        if !self.store.tree.is_ancestor(&block, &tip.hash) {
            return Err(ReadError::UnknownBlock {
                hash: convert::hash(block),
            });
        }
        let (index, transaction) = self.find_in_block(block, &txid)?.ok_or_else(missing)?;
        let size = convert::length(transaction.len());
        if size > MAX_RESPONSE_BYTES {
            return Err(ReadError::TransactionTooLarge {
                size,
                max: MAX_RESPONSE_BYTES,
            });
        }
        Ok(FoundTransaction {
            transaction: ByteBuf::from(transaction),
            block: convert::block_id(block, height),
            index,
            confirmations: tip.confirmations(height),
            tip: tip.to_wire(),
        })
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

    fn find_in_block(
        &self,
        hash: BlockHash,
        txid: &Txid,
    ) -> Result<Option<(u32, Vec<u8>)>, ReadError> {
        let bytes = self.store.blobs.read_all(&BlobKey::Block(hash));
        let bytes = bytes.map_err(convert::store_error)?;
        // Bytes after a block are allowed where it came from.
        let block = Block::consensus_decode(&mut bytes.as_slice())
            .map_err(|error| ReadError::Internal(format!("block {hash}: {error}")))?;
        let found = (0..)
            .zip(&block.txdata)
            .find(|(_, transaction)| transaction.compute_txid() == *txid);
        Ok(found.map(|(index, transaction)| (index, serialize(transaction))))
    }
}
