//! The headers from the first block to a snapshot's base block: out of block files, or from a node.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use millrace_core::Height;

use crate::headers::HeaderTree;
use crate::node::{HEADERS_MAX, Node, NodeError};
use crate::source::SourceError;

/// Headers of one message: what the canister takes.
pub const MESSAGE_HEADERS_MAX: u32 = 10_000;

/// Why there are no headers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadersError {
    /// The node did not tell.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The block files cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The block files do not lead to the base block.
    #[error(
        "the best chain of {source_name} ends at height {height} without block {base}: give --blocks of a \
         node that has it, or --headers-from node"
    )]
    NoBase {
        /// Where headers come from.
        source_name: String,
        /// Height of their best chain.
        height: Height,
        /// The base block.
        base: BlockHash,
    },
    /// A header does not follow the one before: the chain changed in between.
    #[error("the node's chain changed while headers were read: height {height} does not follow")]
    Unlinked {
        /// The height.
        height: Height,
    },
    /// The canister wants headers after the base block.
    #[error("the canister wants height {wanted}, the base block has {base}")]
    BeyondBase {
        /// Height wanted.
        wanted: Height,
        /// Height of the base block.
        base: Height,
    },
}

impl HeadersError {
    /// Returns whether another attempt may bring them.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Node(error) => error.is_transient(),
            Self::Unlinked { .. } => true,
            Self::Source(_) | Self::NoBase { .. } | Self::BeyondBase { .. } => false,
        }
    }
}

/// Where headers come from.
#[derive(Clone, Debug)]
pub enum HeaderSource {
    /// The headers of block files.
    Files {
        /// Their headers.
        tree: Box<HeaderTree>,
        /// Where they are.
        name: String,
    },
    /// A node, asked anew for every message.
    Node(Node),
}

impl HeaderSource {
    /// Finds the base block.
    ///
    /// # Errors
    /// [`HeadersError`]: it is not there, or nothing can be asked.
    pub async fn base_height(&self, base: BlockHash) -> Result<Height, HeadersError> {
        match self {
            Self::Node(node) => Ok(node.height_of(base).await?),
            Self::Files { tree, name } => {
                let height = tree.height_of(base).filter(|_| tree.is_on_best_chain(base));
                height.ok_or_else(|| HeadersError::NoBase {
                    source_name: name.clone(),
                    height: tree.tip_height(),
                    base,
                })
            }
        }
    }

    /// Reads headers from height `first` to the base block, at most [`MESSAGE_HEADERS_MAX`], 80 bytes each.
    ///
    /// # Errors
    /// [`HeadersError`].
    pub async fn read(&self, first: Height, base: Height) -> Result<Vec<u8>, HeadersError> {
        let left = base.get().checked_sub(first.get());
        let left = left.ok_or(HeadersError::BeyondBase {
            wanted: first,
            base,
        })?;
        let count = left.saturating_add(1).min(MESSAGE_HEADERS_MAX);
        let headers = match self {
            Self::Files { tree, .. } => (first.get()..)
                .take(count as usize)
                .map_while(|height| tree.header_at(Height::new(height)))
                .collect(),
            Self::Node(node) => of_node(node, first, count).await?,
        };
        linked(first, &headers)?;
        Ok(headers.iter().flat_map(serialize).collect())
    }
}

async fn of_node(node: &Node, first: Height, count: u32) -> Result<Vec<Header>, NodeError> {
    let mut headers = Vec::new();
    let mut next = first.get();
    let end = next.saturating_add(count);
    while next < end {
        let wanted = (end - next).min(HEADERS_MAX);
        headers.extend(node.headers(Height::new(next), wanted).await?);
        next += wanted;
    }
    Ok(headers)
}

fn linked(first: Height, headers: &[Header]) -> Result<(), HeadersError> {
    let pairs = headers.iter().zip(headers.iter().skip(1));
    for (height, (parent, child)) in (first.get() + 1..).zip(pairs) {
        if child.prev_blockhash != parent.block_hash() {
            let height = Height::new(height);
            return Err(HeadersError::Unlinked { height });
        }
    }
    Ok(())
}
