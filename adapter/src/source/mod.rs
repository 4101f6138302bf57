//! Where blocks come from: the boundary to files, nodes and peers.

pub mod any;
pub mod file;
pub mod node;

use std::future::Future;

use bitcoin::BlockHash;
use bitcoin::block::Header;

use crate::node::NodeError;

/// Headers one discovery returns, at most.
pub const MAX_HEADERS: usize = 10_000;

/// A source of blocks.
///
/// A source only reports what it has. Which headers hold and which chain is best is decided by the
/// engine, the same for every source.
///
/// Both methods return at once; the work is in the future, which lives on without the source. So a
/// source is asked for many blocks before the first one is there, and answers in any order.
pub trait BlockSource: Send + 'static {
    /// Returns how many blocks it takes to be asked for at a time; at least 1. What more would be of
    /// no use: a source with four connections needs few more than four, one that orders its fetches
    /// itself wants to know its whole window.
    fn reads_max(&self) -> usize;

    /// Looks for headers not reported before, at most [`MAX_HEADERS`], in any order. `locator`
    /// names blocks the adapter knows, newest first; sources that keep no position need it. There is
    /// never more than one discovery under way.
    ///
    /// # Errors
    /// [`SourceError`] says whether another attempt can help.
    fn discover(
        &self,
        locator: Vec<BlockHash>,
    ) -> impl Future<Output = Result<Discovery, SourceError>> + Send + 'static;

    /// Reads a block of a header reported before: its consensus serialisation, whose first 80
    /// bytes hash to `hash`. It is called in the order in which blocks are needed, so a source that
    /// fetches ahead may take note of the order before it returns the future.
    ///
    /// # Errors
    /// [`SourceError`] says whether another attempt can help.
    fn read(
        &self,
        hash: BlockHash,
    ) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send + 'static;
}

/// What a discovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Headers not reported before.
    pub headers: Vec<Header>,
    /// Whether there is more right away.
    pub has_more: bool,
    /// Oddities worth a line in the log, each reported once.
    pub remarks: Vec<String>,
}

/// Why a source brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The file system refused. Permanent: somebody must look.
    #[error(
        "cannot {action} {path}: {reason}; check that it exists and that this user may read it"
    )]
    Unreadable {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// A directory without block files.
    #[error(
        "{path} has no blk*.dat file; give the `blocks` folder of a Bitcoin Core data directory, or \
         one block file"
    )]
    NoBlockFiles {
        /// The directory.
        path: String,
    },
    /// `xor.dat` is not a key.
    #[error(
        "{path} has {length} bytes, a key has exactly 8; copy it again from the node's `blocks` folder"
    )]
    BadKey {
        /// The key file.
        path: String,
        /// Its length.
        length: u64,
    },
    /// The file belongs to another Bitcoin network.
    #[error(
        "{path} holds blocks of {found}, not of {expected}; set --network or choose other files"
    )]
    WrongNetwork {
        /// The file.
        path: String,
        /// The network whose magic was found.
        found: String,
        /// The network asked for.
        expected: String,
    },
    /// No block record in the whole source.
    #[error(
        "{path} holds no {expected} block: {scanned_bytes} bytes read, none starts a record with \
         magic {magic}; is it a block file, and is its xor.dat beside it?"
    )]
    NoBlocks {
        /// The file or directory.
        path: String,
        /// The network asked for.
        expected: String,
        /// Its magic, in hex.
        magic: String,
        /// Bytes looked at.
        scanned_bytes: u64,
    },
    /// A block that was reported cannot be read as such. Permanent for this block only.
    #[error("block {hash} in {path} at byte {offset} is damaged: {reason}; copy the file again")]
    Damaged {
        /// The block.
        hash: BlockHash,
        /// The file.
        path: String,
        /// Where the block starts.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The block was never reported.
    #[error("block {hash} is not in the source")]
    Unknown {
        /// The block.
        hash: BlockHash,
    },
    /// A node or its network brings nothing for now. Transient.
    #[error("the node at {url} brings nothing for now: {reason}")]
    Unavailable {
        /// The node.
        url: String,
        /// What it or the network says, and what to look at.
        reason: String,
    },
    /// A node answers, but not as a node does.
    #[error("{url} does not answer {asked} as Bitcoin Core does: {reason}")]
    BadAnswer {
        /// The node.
        url: String,
        /// What it was asked.
        asked: String,
        /// What is wrong, and what to look at.
        reason: String,
    },
    /// A node follows another network. Permanent.
    #[error(
        "the node at {url} is on {found}, not on {expected}; name another node, or set --network"
    )]
    OtherNetwork {
        /// The node.
        url: String,
        /// Its network.
        found: String,
        /// The network asked for.
        expected: String,
    },
    /// A node refuses a call. Permanent.
    #[error(transparent)]
    Node(NodeError),
    /// A node has deleted the block. Permanent.
    #[error(
        "the node at {url} has pruned block {hash}; use a node that keeps all blocks (prune=0), or \
         another source"
    )]
    Pruned {
        /// The node.
        url: String,
        /// The block.
        hash: BlockHash,
    },
    /// A node sends bytes that are not the block asked for. Permanent for this block only.
    #[error("the node at {url} sends a damaged block {hash}: {reason}")]
    DamagedAnswer {
        /// The node.
        url: String,
        /// The block.
        hash: BlockHash,
        /// What is wrong.
        reason: String,
    },
    /// The source's worker is gone; a defect.
    #[error("block source stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// How far an error reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorReach {
    /// Only one block is affected.
    Block,
    /// The source cannot be used.
    Source,
    /// Nothing comes now; the same may succeed later.
    Moment,
}

impl SourceError {
    /// Returns how far the error reaches.
    pub const fn reach(&self) -> SourceErrorReach {
        match self {
            Self::Damaged { .. } | Self::DamagedAnswer { .. } | Self::Unknown { .. } => {
                SourceErrorReach::Block
            }
            Self::Unavailable { .. } => SourceErrorReach::Moment,
            Self::Unreadable { .. }
            | Self::NoBlockFiles { .. }
            | Self::BadKey { .. }
            | Self::WrongNetwork { .. }
            | Self::NoBlocks { .. }
            | Self::BadAnswer { .. }
            | Self::OtherNetwork { .. }
            | Self::Node(_)
            | Self::Pruned { .. }
            | Self::Stopped { .. } => SourceErrorReach::Source,
        }
    }
}
