//! Blocks from Bitcoin Core's block files, or from any one file of framed blocks.
//!
//! One pass builds an index of all blocks from their headers alone; blocks may stand in any
//! order, with stale branches between. Bodies are read again when they are wanted. The index
//! takes about 100 bytes of memory per block.

mod files;
mod index;
mod scan;
mod window;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::BlockHash;
use millrace_core::Network;

use super::{BlockSource, Discovery, SourceError};
use index::Index;

/// Blocks asked for at a time: the next one is read while the last one is checked.
const READS_MAX: usize = 4;

/// The file source. File access blocks, so it runs on the runtime's threads for that.
#[derive(Clone, Debug)]
pub struct FileSource {
    index: Arc<Mutex<Index>>,
}

impl FileSource {
    /// Starts with a directory of `blk*.dat` files or one file; nothing is read yet.
    pub fn new(path: &Path, network: Network) -> Self {
        Self {
            index: Arc::new(Mutex::new(Index::new(path, network))),
        }
    }

    fn with_index<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T, SourceError> + Send + 'static,
    ) -> impl Future<Output = Result<T, SourceError>> + Send + 'static {
        let index = Arc::clone(&self.index);
        on_blocking_thread(move || {
            // The index is changed record by record, so it stays sound if a thread dies with it.
            let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut index)
        })
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let task = tokio::task::spawn_blocking(work);
    task.await.unwrap_or_else(|error| {
        Err(SourceError::Stopped {
            reason: error.to_string(),
        })
    })
}

impl BlockSource for FileSource {
    fn reads_max(&self) -> usize {
        READS_MAX
    }

    fn discover(
        &self,
        _locator: Vec<BlockHash>,
    ) -> impl Future<Output = Result<Discovery, SourceError>> + Send + 'static {
        self.with_index(Index::discover)
    }

    fn read(
        &self,
        hash: BlockHash,
    ) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send + 'static {
        let found = self.with_index(move |index| index.find(hash));
        async move {
            let copies = found.await?;
            on_blocking_thread(move || copies.read()).await
        }
    }
}
