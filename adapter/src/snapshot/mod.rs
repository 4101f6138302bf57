//! Whole UTXO sets, in files as Bitcoin Core's `dumptxoutset` writes them: into a canister and out of one.
//!
//! | module | does |
//! |---|---|
//! | [`groups`], [`pieces`] | reads a file, in order, and cuts it into messages |
//! | [`import`] | decides what to send next: a state machine without I/O or clock |
//! | [`upload`] | carries an import out |
//! | [`headers`] | where an import's headers come from |
//! | [`mod@write`] | writes a file coin by coin |
//! | [`download`] | fetches a canister's coins, page by page |
//! | [`canister`] | what is asked of a canister |
//! | [`meter`] | shows how far a long job is |

pub mod canister;
pub mod download;
pub mod groups;
pub mod headers;
pub mod import;
pub mod meter;
pub mod pieces;
pub mod upload;
pub mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::path::Path;

use bitcoin::hashes::{Hash, sha256d};

pub use groups::FileError;

/// Opens a file to read.
///
/// # Errors
/// [`FileError::Unreadable`].
pub fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(|error| FileError::Unreadable {
        action: "open",
        reason: error.to_string(),
    })
}

/// Why a text is no hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--hash {text:?} is no hash: give the 64 hexadecimal digits that `dumptxoutset` prints as txoutset_hash"
)]
pub struct HashError {
    /// The text.
    pub text: String,
}

/// Reads a hash as Bitcoin Core prints it, last byte first, into internal order.
///
/// # Errors
/// [`HashError`].
pub fn printed_hash(text: &str) -> Result<[u8; 32], HashError> {
    let hash: Result<sha256d::Hash, _> = text.parse();
    let hash = hash.map_err(|_| HashError {
        text: text.to_owned(),
    })?;
    Ok(hash.to_byte_array())
}
