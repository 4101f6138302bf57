//! What the rest of the adapter asks of the node.

use std::future::Future;

use bitcoin::{BlockHash, Txid};
use millrace_p2p::node::{RelayOutcome, RelayTransaction, Standing};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::source::{BlockSource, Discovery, SourceError};

/// Blocks asked for at a time: the node's window, which it fetches whether they are asked for or not.
const READS_MAX: usize = 1_024;

/// Who waits for a block.
pub(super) type Asker = oneshot::Sender<Result<Vec<u8>, SourceError>>;

/// What the driver is asked.
pub(super) enum Request {
    Discover(Vec<BlockHash>, oneshot::Sender<Discovery>),
    Read(BlockHash, Asker),
    Relay(Vec<RelayTransaction>),
    Forget(Vec<Txid>),
    Stop,
}

/// A node that runs, and its ends.
pub struct Running {
    /// Asks it.
    pub handle: P2pHandle,
    /// Where it stands, at most a second old.
    pub standing: watch::Receiver<Standing>,
    /// What became of transactions. Whoever does not read them loses the newest.
    pub reports: mpsc::Receiver<(Txid, RelayOutcome)>,
    /// Ends after [`P2pHandle::stop`], or when nobody has a handle any more.
    pub task: JoinHandle<()>,
}

/// Asks a node that runs. Clones ask the same one.
///
/// The channel to it has no bound of its own: blocks asked for are bounded by the engine's read-ahead,
/// transactions by the canister's outbox.
#[derive(Clone)]
pub struct P2pHandle {
    pub(super) requests: mpsc::UnboundedSender<Request>,
}

impl P2pHandle {
    /// Returns headers of the best chain behind the first block of `locator` that is on it; see
    /// [`BlockSource::discover`].
    ///
    /// # Errors
    /// [`SourceError::Stopped`].
    pub fn discover(
        &self,
        locator: Vec<BlockHash>,
    ) -> impl Future<Output = Result<Discovery, SourceError>> + Send + 'static {
        let (sender, receiver) = oneshot::channel();
        let _ = self.requests.send(Request::Discover(locator, sender));
        async move { receiver.await.map_err(|_| stopped()) }
    }

    /// Reads a block; see [`BlockSource::read`]. The order of calls is the order of need.
    ///
    /// # Errors
    /// [`SourceError::Stopped`], and [`SourceError::Unknown`] for a block on no chain of the node's.
    pub fn read(
        &self,
        hash: BlockHash,
    ) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send + 'static {
        let (sender, receiver) = oneshot::channel();
        let _ = self.requests.send(Request::Read(hash, sender));
        async move { receiver.await.unwrap_or_else(|_| Err(stopped())) }
    }

    /// Relays transactions until they are forgotten.
    pub fn relay(&self, transactions: Vec<RelayTransaction>) {
        let _ = self.requests.send(Request::Relay(transactions));
    }

    /// Ends the relay of transactions.
    pub fn forget(&self, txids: Vec<Txid>) {
        let _ = self.requests.send(Request::Forget(txids));
    }

    /// Closes all connections and ends the node.
    pub fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }
}

impl BlockSource for P2pHandle {
    fn reads_max(&self) -> usize {
        READS_MAX
    }

    fn discover(
        &self,
        locator: Vec<BlockHash>,
    ) -> impl Future<Output = Result<Discovery, SourceError>> + Send + 'static {
        Self::discover(self, locator)
    }

    fn read(
        &self,
        hash: BlockHash,
    ) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send + 'static {
        Self::read(self, hash)
    }
}

fn stopped() -> SourceError {
    SourceError::Stopped {
        reason: "the peer-to-peer node has ended".to_owned(),
    }
}
