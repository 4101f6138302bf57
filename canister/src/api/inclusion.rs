//! `verify_tx_inclusion`: whether a transaction is in a block whose header is known.

use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid};
use ic_stable_structures::Memory;
use millrace_candid::{
    InclusionProof, ProvenInclusion, ReadError, VerifyTxInclusionArgs, VerifyTxInclusionResult,
};
use millrace_core::Height;
use millrace_core::proof::{
    MAX_BRANCH_NODES, MAX_MERKLE_BLOCK_BYTES, MerkleBlockProof, ProofError, ProvenTransaction,
    verify_branch,
};
use millrace_core::tree::BlockStatus;
use serde_bytes::ByteBuf;

use crate::{App, convert};

/// A header that proofs are judged against.
struct KnownBlock {
    header: Header,
    height: Height,
    /// Number of its transactions, if the block was ever connected.
    transactions: Option<u32>,
}

impl<M: Memory> App<M> {
    /// Judges a proof against any known header that is not condemned: stable, connected, or of a
    /// block that is still missing. Of all but the last the number of transactions is known, and a
    /// proof of another depth fails: a 64-byte transaction, which reads as two hashes, proves nothing
    /// below it (CVE-2017-12842), and an inner hash is no transaction. Costs one double SHA-256 per hash of the proof: 0.2 G
    /// instructions for the largest merkle block, by estimate.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn verify_tx_inclusion(&self, args: &VerifyTxInclusionArgs) -> VerifyTxInclusionResult {
        self.check_read(args.at_tip.is_some())?;
        let txid = convert::txid(&args.txid).map_err(convert::malformed_hash)?;
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let (hash, block, position) = match &args.proof {
            InclusionProof::MerkleBlock(bytes) => self.in_merkle_block(txid, bytes)?,
            InclusionProof::Branch {
                block,
                position,
                siblings,
            } => self.on_branch(txid, block, *position, siblings)?,
        };
        let is_below = self.height_on_chain(&hash, tip).is_some();
        Ok(ProvenInclusion {
            block: convert::block_id(hash, block.height),
            position,
            // Of a block that was never connected, inner hashes may pass for transactions.
            confirmations: if is_below && block.transactions.is_some() {
                tip.confirmations(block.height)
            } else {
                0
            },
            transactions: block.transactions,
            tip: tip.to_wire(),
        })
    }

    fn in_merkle_block(
        &self,
        txid: Txid,
        bytes: &[u8],
    ) -> Result<(BlockHash, KnownBlock, u32), ReadError> {
        let proof = MerkleBlockProof::decode(bytes).map_err(proof_error)?;
        let hash = proof.block_hash();
        let block = self.known_block(hash)?;
        let proven = proof.verify(&block.header, block.transactions);
        let proven = proven.map_err(proof_error)?;
        let found = proven.iter().find(|proven| proven.txid == txid);
        let ProvenTransaction { position, .. } =
            found.ok_or_else(|| ReadError::TransactionNotProven {
                txid: ByteBuf::from(txid.to_byte_array()),
            })?;
        Ok((hash, block, *position))
    }

    fn on_branch(
        &self,
        txid: Txid,
        block: &[u8],
        position: u32,
        siblings: &[ByteBuf],
    ) -> Result<(BlockHash, KnownBlock, u32), ReadError> {
        // First, so that no more hashes are read than a branch can have.
        if siblings.len() > MAX_BRANCH_NODES {
            return Err(ReadError::TooManyItems {
                given: convert::length(siblings.len()),
                max: MAX_BRANCH_NODES as u32,
            });
        }
        let hash = convert::block_hash(block).map_err(convert::malformed_hash)?;
        let siblings = siblings.iter().map(|bytes| {
            <[u8; convert::HASH_BYTES]>::try_from(bytes.as_slice())
                .map_err(|_| convert::malformed_hash(convert::length(bytes.len())))
        });
        let siblings = siblings.collect::<Result<Vec<_>, _>>()?;
        let block = self.known_block(hash)?;
        let proven = verify_branch(&block.header, txid, position, &siblings, block.transactions);
        let proven = proven.map_err(proof_error)?;
        Ok((hash, block, proven.position))
    }

    fn known_block(&self, hash: BlockHash) -> Result<KnownBlock, ReadError> {
        let unknown = || ReadError::UnknownBlock {
            hash: convert::hash(hash),
        };
        if let Some(node) = self.store.tree.get(&hash) {
            let transactions = match node.status() {
                BlockStatus::Invalid(_) => return Err(unknown()),
                // What was not connected was not compared with its merkle root.
                BlockStatus::HeaderOnly | BlockStatus::BodyHeld => None,
                BlockStatus::Connected => self.store.transaction_count(&hash),
            };
            return Ok(KnownBlock {
                header: *node.context().header(),
                height: node.context().height(),
                transactions,
            });
        }
        let height = self.store.headers.height(&hash).ok_or_else(unknown)?;
        let header = self.store.headers.header(height);
        let header =
            header.ok_or_else(|| ReadError::Internal(format!("no header at height {height}")))?;
        Ok(KnownBlock {
            header,
            height,
            transactions: self.store.transaction_count(&hash),
        })
    }
}

/// Returns the typed error for a proof that shows nothing.
fn proof_error(error: ProofError) -> ReadError {
    match error {
        ProofError::TooLong { length } => ReadError::ProofTooLarge {
            given: convert::length(length),
            max: MAX_MERKLE_BLOCK_BYTES as u32,
        },
        error @ (ProofError::Malformed { .. } | ProofError::TrailingBytes { .. }) => {
            ReadError::MalformedProof {
                reason: error.to_string(),
            }
        }
        error => ReadError::ProofFails {
            reason: error.to_string(),
        },
    }
}
