//! Between the contract's types and the engine's.

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use millrace_candid as wire;
use millrace_core::{Height, Network};
use serde_bytes::ByteBuf;

use crate::engine::{
    BlockRef, FeedView, HalfReceived, Part, PartOutcome, Receipt, Rejection, RejectionKind,
};

/// Why an answer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A hash has another length.
    #[error("hash in {field} has {length} bytes, not 32")]
    HashLength {
        /// Where.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
    },
}

/// Converts an answer of `feed_state`.
///
/// # Errors
/// [`ConvertError`] for values the contract does not allow.
pub fn feed_view(state: wire::FeedState) -> Result<FeedView, ConvertError> {
    let half_received = state.half_received.iter().map(|half| {
        Ok(HalfReceived {
            hash: hash("half_received", &half.hash)?,
            size: half.size,
            received: half.received,
        })
    });
    let rejections = state.recent_rejections.into_iter().map(|rejection| {
        Ok(Rejection {
            hash: hash("recent_rejections", &rejection.hash)?,
            height: rejection.height.map(Height::new),
            kind: kind(rejection.kind),
            reason: rejection.reason,
        })
    });
    Ok(FeedView {
        network: network(state.chain),
        is_syncing: state.syncing == wire::Flag::Enabled,
        anchor: block_ref("anchor", &state.anchor)?,
        tip: block_ref("tip", &state.tip)?,
        best_header: block_ref("best_header", &state.best_header)?,
        common: state
            .common
            .map(|common| block_ref("common", &common))
            .transpose()?,
        free_bytes: state.free_bytes,
        free_blocks: state.free_blocks,
        message_bytes_max: state.max_message_bytes,
        parts_max: state.max_parts,
        block_bytes_max: state.max_block_bytes,
        half_received: half_received.collect::<Result<_, _>>()?,
        pending_blocks: state.pending_blocks,
        rejections: rejections.collect::<Result<_, _>>()?,
    })
}

/// Converts a receipt.
///
/// # Errors
/// [`ConvertError`] for values the contract does not allow.
pub fn receipt(receipt: wire::PushReceipt) -> Result<Receipt, ConvertError> {
    Ok(Receipt {
        outcomes: receipt.outcomes.into_iter().map(outcome).collect(),
        free_bytes: receipt.free_bytes,
        free_blocks: receipt.free_blocks,
        tip: block_ref("tip", &receipt.tip)?,
    })
}

/// Converts parts to push.
pub fn block_part(part: Part) -> wire::BlockPart {
    wire::BlockPart {
        hash: hash_bytes(part.hash),
        size: part.size,
        offset: part.offset,
        bytes: ByteBuf::from(part.bytes),
    }
}

/// Converts a hash.
pub fn hash_bytes(hash: BlockHash) -> ByteBuf {
    ByteBuf::from(hash.to_byte_array())
}

fn outcome(outcome: wire::PartOutcome) -> PartOutcome {
    match outcome {
        wire::PartOutcome::Queued => PartOutcome::Queued,
        wire::PartOutcome::Incomplete { received } => PartOutcome::Incomplete { received },
        wire::PartOutcome::Known => PartOutcome::Known,
        wire::PartOutcome::NoRoom => PartOutcome::NoRoom,
        wire::PartOutcome::Rejected(error) => rejected(error),
    }
}

fn rejected(error: wire::PartError) -> PartOutcome {
    use wire::PartError as E;
    let reason = match error {
        E::UnexpectedOffset { expected, .. } => {
            return PartOutcome::ContinueAt { offset: expected };
        }
        // The beginning came from another copy of the block: start over with this one.
        E::SizeChanged { .. } => return PartOutcome::ContinueAt { offset: 0 },
        E::MalformedHash {
            given_bytes,
            expected_bytes,
        } => format!("hash has {given_bytes} bytes, not {expected_bytes}"),
        E::EmptyPart => "part is empty".to_owned(),
        E::BlockTooLarge { size, max } => {
            format!("block has {size} bytes, at most {max} are taken")
        }
        E::BlockTooSmall { size, min } => {
            format!("block has {size} bytes, at least {min} are needed")
        }
        E::BeyondEnd {
            offset,
            length,
            size,
        } => format!("part of {length} bytes at {offset} reaches beyond the block's {size} bytes"),
        E::HeaderHashMismatch { .. } => "header does not hash to the block's hash".to_owned(),
        E::InsufficientWork { reason } => format!("insufficient work: {reason}"),
        E::InvalidBlock { reason, .. } => format!("refused before: {reason}"),
    };
    PartOutcome::Refused { reason }
}

fn kind(kind: Option<wire::RejectionKind>) -> RejectionKind {
    use wire::RejectionKind as W;
    match kind {
        Some(W::UnknownParent) => RejectionKind::UnknownParent,
        Some(W::TooNew) => RejectionKind::TooNew,
        Some(W::TreeFull) => RejectionKind::TreeFull,
        Some(W::DamagedBytes) => RejectionKind::DamagedBytes,
        Some(W::InvalidHeader) => RejectionKind::InvalidHeader,
        Some(W::InvalidBlock) => RejectionKind::InvalidBlock,
        Some(W::InvalidAncestor) => RejectionKind::InvalidAncestor,
        Some(W::Quarantined) => RejectionKind::Quarantined,
        None => RejectionKind::Unknown,
    }
}

fn network(chain: wire::Chain) -> Network {
    match chain {
        wire::Chain::Mainnet => Network::Mainnet,
        wire::Chain::Testnet4 => Network::Testnet4,
        wire::Chain::Signet => Network::Signet,
        wire::Chain::Regtest => Network::Regtest,
    }
}

fn block_ref(field: &'static str, block: &wire::BlockId) -> Result<BlockRef, ConvertError> {
    Ok(BlockRef {
        hash: hash(field, &block.hash)?,
        height: Height::new(block.height),
    })
}

fn hash(field: &'static str, bytes: &[u8]) -> Result<BlockHash, ConvertError> {
    BlockHash::from_slice(bytes).map_err(|_| ConvertError::HashLength {
        field,
        length: bytes.len(),
    })
}
