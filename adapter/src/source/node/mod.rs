//! Blocks of one Bitcoin Core node, over its REST or its RPC interface.
//!
//! Both interfaces show the node's best chain only, from any of its blocks on. So the source keeps the
//! last header it reported and asks on from there; when the node has left that branch, it asks from the
//! newest block of the locator that the node still has.

mod rest;
mod rpc;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bitcoin::BlockHash;
use bitcoin::block::Header;
use millrace_core::Network;
use millrace_core::block::decode_header;
use millrace_p2p::message;

use super::{BlockSource, Discovery, SourceError};
use crate::node::{ChainState, chain_name};

pub use rest::{Rest, RestSettings};
pub use rpc::{Rpc, RpcSettings};

/// Headers of one answer, Bitcoin Core's limit.
const HEADERS_MAX: u32 = 2_000;

/// Blocks fetched at a time where nothing else is set. It keeps a node on the same machine busy, which has
/// 16 threads for all who ask it.
pub const CONNECTIONS: u32 = 4;

/// Candidates for the last common block that are asked about in one discovery: the last one reported, a
/// locator's entries, and genesis.
const CANDIDATES_MAX: usize = 66;

/// Blocks of a node over its REST interface.
pub type RestSource = NodeSource<Rest>;

/// Blocks of a node over its RPC interface.
pub type RpcSource = NodeSource<Rpc>;

/// An interface of a node; clones ask the same node.
pub trait NodeInterface: Clone + Send + Sync + 'static {
    /// Returns the node's address, for messages.
    fn url(&self) -> &str;

    /// Returns how many blocks it takes to be asked for at a time.
    fn reads_max(&self) -> usize;

    /// Asks where the node stands.
    ///
    /// # Errors
    /// [`SourceError`].
    fn standing(&self) -> impl Future<Output = Result<ChainState, SourceError>> + Send;

    /// Fetches headers of the node's best chain, `first` and those that follow it: at most 2,000, none if
    /// `first` is not on it. `standing` is what the node said just before.
    ///
    /// # Errors
    /// [`SourceError`].
    fn headers_from(
        &self,
        first: BlockHash,
        standing: &ChainState,
    ) -> impl Future<Output = Result<Vec<Header>, SourceError>> + Send;

    /// Fetches a block's bytes, which nobody has checked.
    ///
    /// # Errors
    /// [`SourceError`].
    fn block(&self, hash: BlockHash) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send;
}

/// What has been reported.
#[derive(Clone, Copy, Debug, Default)]
struct Reported {
    /// The last header.
    last: Option<BlockHash>,
    /// Whether it was remarked that the node is catching up.
    is_catching_up: bool,
}

/// The blocks of a node's best chain.
#[derive(Clone, Debug)]
pub struct NodeSource<I> {
    interface: I,
    network: Network,
    reported: Arc<Mutex<Reported>>,
}

impl<I: NodeInterface> NodeSource<I> {
    /// Starts with a node that must be on `network`; nothing is asked yet.
    pub fn new(interface: I, network: Network) -> Self {
        Self {
            interface,
            network,
            reported: Arc::default(),
        }
    }

    async fn look(self, locator: Vec<BlockHash>) -> Result<Discovery, SourceError> {
        let standing = self.interface.standing().await?;
        self.check_network(&standing)?;
        let mut discovery = Discovery::default();
        let reported = self.note_catching_up(&standing, &mut discovery);
        if reported.last == Some(standing.best) {
            return Ok(discovery);
        }
        let headers = self
            .headers_after(reported.last, locator, &standing)
            .await?;
        let Some(last) = headers.last() else {
            return Ok(discovery);
        };
        self.change(|reported| reported.last = Some(last.block_hash()));
        // The first one is known.
        discovery.has_more = headers.len() >= HEADERS_MAX as usize;
        discovery.headers = headers.into_iter().skip(1).collect();
        Ok(discovery)
    }

    fn check_network(&self, standing: &ChainState) -> Result<(), SourceError> {
        let expected = chain_name(self.network);
        if standing.chain == expected {
            return Ok(());
        }
        Err(SourceError::OtherNetwork {
            url: self.interface.url().to_owned(),
            found: standing.chain.clone(),
            expected: expected.to_owned(),
        })
    }

    /// Remarks once that there will be more blocks than the node has now.
    fn note_catching_up(&self, standing: &ChainState, discovery: &mut Discovery) -> Reported {
        let before = self.change(|reported| reported.is_catching_up = standing.is_catching_up);
        if standing.is_catching_up && !before.is_catching_up {
            discovery.remarks.push(format!(
                "the node at {} is still catching up, at block {} of {} known headers; its blocks are \
                 taken as they come",
                self.interface.url(),
                standing.height,
                standing.headers
            ));
        }
        before
    }

    /// Returns headers from the newest known block on that the node's best chain has.
    async fn headers_after(
        &self,
        last: Option<BlockHash>,
        locator: Vec<BlockHash>,
        standing: &ChainState,
    ) -> Result<Vec<Header>, SourceError> {
        let genesis = self.network.genesis_block().block_hash();
        let candidates = last.into_iter().chain(locator).take(CANDIDATES_MAX - 1);
        for first in candidates.chain([genesis]) {
            let headers = self.interface.headers_from(first, standing).await?;
            if !headers.is_empty() {
                self.check_links(first, &headers)?;
                return Ok(headers);
            }
        }
        Err(SourceError::BadAnswer {
            url: self.interface.url().to_owned(),
            asked: "headers".to_owned(),
            reason: format!("its chain has no block of ours, not even genesis {genesis}"),
        })
    }

    fn check_links(&self, first: BlockHash, headers: &[Header]) -> Result<(), SourceError> {
        let is_first = headers
            .first()
            .is_some_and(|header| header.block_hash() == first);
        let mut pairs = headers.iter().zip(headers.iter().skip(1));
        if is_first && pairs.all(|(parent, child)| child.prev_blockhash == parent.block_hash()) {
            return Ok(());
        }
        // Headers asked for by height are of two branches when the chain changes in between.
        Err(SourceError::Unavailable {
            url: self.interface.url().to_owned(),
            reason: format!("its headers from {first} on do not follow one another"),
        })
    }

    /// Changes what is reported, and returns what it was.
    fn change(&self, change: impl FnOnce(&mut Reported)) -> Reported {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *reported;
        change(&mut reported);
        before
    }

    async fn fetch(self, hash: BlockHash) -> Result<Vec<u8>, SourceError> {
        let bytes = self.interface.block(hash).await?;
        let url = self.interface.url().to_owned();
        let task = tokio::task::spawn_blocking(move || check_block(url, hash, bytes));
        task.await.unwrap_or_else(|error| {
            let reason = error.to_string();
            Err(SourceError::Stopped { reason })
        })
    }
}

/// Checks that bytes are a whole block of that hash. Costs a hash of each transaction.
fn check_block(url: String, hash: BlockHash, bytes: Vec<u8>) -> Result<Vec<u8>, SourceError> {
    let reason = match message::check_block(&bytes) {
        Err(error) => error.to_string(),
        Ok(()) => match decode_header(&bytes).map(|header| header.block_hash()) {
            Some(other) if other != hash => format!("it is block {other}"),
            _ => return Ok(bytes),
        },
    };
    Err(SourceError::DamagedAnswer { url, hash, reason })
}

impl<I: NodeInterface> BlockSource for NodeSource<I> {
    fn reads_max(&self) -> usize {
        self.interface.reads_max()
    }

    fn discover(
        &self,
        locator: Vec<BlockHash>,
    ) -> impl Future<Output = Result<Discovery, SourceError>> + Send + 'static {
        self.clone().look(locator)
    }

    fn read(
        &self,
        hash: BlockHash,
    ) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send + 'static {
        self.clone().fetch(hash)
    }
}
