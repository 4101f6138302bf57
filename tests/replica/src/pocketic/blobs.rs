//! Blobs that clients upload once and refer to by hash.

use super::types::BlobId;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// Largest blob, before and after decompression.
pub const BLOB_BYTES_MAX: usize = 4 << 30;
/// Memory all blobs of a server may take; further uploads are refused.
const STORE_BYTES_MAX: usize = 8 << 30;

/// Why a blob was not stored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BlobError {
    /// It is larger than the bound once decompressed.
    #[error("the blob has more than {BLOB_BYTES_MAX} bytes after decompression")]
    TooLarge,
    /// The store is full.
    #[error(
        "the blob of {0} bytes does not fit, all blobs of a server may have {STORE_BYTES_MAX} bytes; restart the server"
    )]
    StoreFull(usize),
    /// It is not what its encoding says.
    #[error("the blob is not valid gzip: {0}")]
    NotGzip(String),
}

/// The blobs of a server. They live as long as the server.
#[derive(Debug, Default)]
pub struct BlobStore {
    blobs: Mutex<BTreeMap<Vec<u8>, Arc<Vec<u8>>>>,
}

impl BlobStore {
    /// Stores a blob, undoing gzip, and returns its id: SHA-256 of the bytes as uploaded, so that a
    /// client can compute it.
    ///
    /// # Errors
    /// [`BlobError`]; nothing was stored.
    pub fn insert(&self, uploaded: Vec<u8>, gzip: bool) -> Result<BlobId, BlobError> {
        let id = Sha256::digest(&uploaded).to_vec();
        let blob = if gzip { gunzip(&uploaded)? } else { uploaded };
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let stored: usize = blobs.values().map(|blob| blob.len()).sum();
        if !blobs.contains_key(&id) && stored.saturating_add(blob.len()) > STORE_BYTES_MAX {
            return Err(BlobError::StoreFull(blob.len()));
        }
        blobs.insert(id.clone(), Arc::new(blob));
        Ok(BlobId(id))
    }

    /// Returns a blob, decompressed.
    pub fn get(&self, id: &BlobId) -> Option<Arc<Vec<u8>>> {
        let blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.get(&id.0).cloned()
    }
}

fn gunzip(compressed: &[u8]) -> Result<Vec<u8>, BlobError> {
    let mut blob = Vec::new();
    GzDecoder::new(compressed)
        .take(BLOB_BYTES_MAX as u64 + 1)
        .read_to_end(&mut blob)
        .map_err(|e| BlobError::NotGzip(e.to_string()))?;
    if blob.len() > BLOB_BYTES_MAX {
        return Err(BlobError::TooLarge);
    }
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    #[test]
    fn a_blob_is_found_by_its_id_with_and_without_gzip() {
        let store = BlobStore::default();
        let plain = store.insert(b"contents".to_vec(), false).expect("stored");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"contents").expect("compresses");
        let gzip = encoder.finish().expect("compresses");
        let zipped = store.insert(gzip, true).expect("stored");
        assert_eq!(store.get(&plain).expect("known").as_slice(), b"contents");
        assert_eq!(store.get(&zipped).expect("known").as_slice(), b"contents");
        assert!(store.get(&BlobId(vec![0; 32])).is_none());
    }

    #[test]
    fn garbage_that_claims_to_be_gzip_is_refused() {
        let store = BlobStore::default();
        let refused = store.insert(b"garbage".to_vec(), true);
        assert!(matches!(refused, Err(BlobError::NotGzip(_))), "{refused:?}");
    }
}
