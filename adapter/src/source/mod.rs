//! Where blocks come from: the boundary to files and, later, to nodes and peers.

pub mod file;

use std::future::Future;

use bitcoin::BlockHash;
use bitcoin::block::Header;

/// Headers one discovery returns, at most.
pub const MAX_HEADERS: usize = 10_000;

/// A source of blocks.
///
/// A source only reports what it has. Which headers hold and which chain is best is decided by the
/// engine, the same for every source.
pub trait BlockSource: Send + 'static {
    /// Looks for headers not reported before, at most [`MAX_HEADERS`], in any order. `locator`
    /// names blocks the adapter knows, newest first; sources that keep no position need it.
    ///
    /// # Errors
    /// [`SourceError`] says whether another attempt can help.
    fn discover(
        &mut self,
        locator: Vec<BlockHash>,
    ) -> impl Future<Output = Result<Discovery, SourceError>> + Send;

    /// Reads a block of a header reported before: its consensus serialisation, whose first 80
    /// bytes hash to `hash`.
    ///
    /// # Errors
    /// [`SourceError`] says whether another attempt can help.
    fn read(
        &mut self,
        hash: BlockHash,
    ) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send;
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
}

impl SourceError {
    /// Returns how far the error reaches.
    pub const fn reach(&self) -> SourceErrorReach {
        match self {
            Self::Damaged { .. } | Self::Unknown { .. } => SourceErrorReach::Block,
            Self::Unreadable { .. }
            | Self::NoBlockFiles { .. }
            | Self::BadKey { .. }
            | Self::WrongNetwork { .. }
            | Self::NoBlocks { .. }
            | Self::Stopped { .. } => SourceErrorReach::Source,
        }
    }
}
