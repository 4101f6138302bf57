//! Bitcoin Core's RPC interface: for nodes without REST, at twice the bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitcoin::BlockHash;
use bitcoin::block::Header;
use tokio::sync::Semaphore;

use super::{CONNECTIONS, HEADERS_MAX, NodeInterface};
use crate::node::{ChainState, Node, NodeError, NodeSettings};
use crate::source::SourceError;

/// Bitcoin Core's code for a block it does not know.
const NOT_FOUND: i64 = -5;

/// A node's RPC interface and how much it may be asked at a time.
#[derive(Clone, Debug)]
pub struct RpcSettings {
    /// The node and what it is shown.
    pub node: NodeSettings,
    /// Blocks fetched at a time, each on a connection of its own; at least 1.
    pub connections: u32,
}

impl RpcSettings {
    /// Fetches [`CONNECTIONS`] blocks at a time from a node.
    pub const fn new(node: NodeSettings) -> Self {
        Self {
            node,
            connections: CONNECTIONS,
        }
    }
}

/// A client of a node's RPC interface.
#[derive(Clone, Debug)]
pub struct Rpc {
    node: Node,
    connections: u32,
    fetching: Arc<Semaphore>,
    /// Whether the node has ever let us in: then a wrong cookie means that it is starting again.
    was_let_in: Arc<AtomicBool>,
}

impl Rpc {
    /// Prepares calls; nothing is sent yet.
    ///
    /// # Errors
    /// [`SourceError::Node`], where the system has no means for connections.
    pub fn new(settings: &RpcSettings) -> Result<Self, SourceError> {
        let connections = settings.connections.max(1);
        Ok(Self {
            node: Node::new(&settings.node).map_err(SourceError::Node)?,
            connections,
            fetching: Arc::new(Semaphore::new(connections as usize)),
            was_let_in: Arc::default(),
        })
    }

    /// Returns what an error means for the source.
    fn judge(&self, error: NodeError) -> SourceError {
        let is_shut_out = matches!(
            error,
            NodeError::Cookie { .. } | NodeError::Unauthorized { .. }
        );
        let is_restarting = is_shut_out && self.was_let_in.load(Ordering::Relaxed);
        if error.is_transient() || is_restarting {
            return SourceError::Unavailable {
                url: self.url().to_owned(),
                reason: error.to_string(),
            };
        }
        SourceError::Node(error)
    }
}

impl NodeInterface for Rpc {
    fn url(&self) -> &str {
        self.node.url().as_str()
    }

    fn reads_max(&self) -> usize {
        // One block is checked while the connection fetches the next.
        self.connections as usize * 2
    }

    async fn standing(&self) -> Result<ChainState, SourceError> {
        let state = self.node.chain_state().await;
        let state = state.map_err(|error| self.judge(error))?;
        self.was_let_in.store(true, Ordering::Relaxed);
        Ok(state)
    }

    async fn headers_from(
        &self,
        first: BlockHash,
        standing: &ChainState,
    ) -> Result<Vec<Header>, SourceError> {
        let height = match self.node.height_of(first).await {
            Ok(height) => height,
            Err(NodeError::NotOnChain { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(self.judge(error)),
        };
        let left = standing.height.next().saturating_sub(height);
        let count = left.get().clamp(1, HEADERS_MAX);
        let headers = self.node.headers(height, count).await;
        headers.map_err(|error| match error {
            // The chain has become shorter since the node was asked for its height.
            NodeError::Method { .. } => SourceError::Unavailable {
                url: self.url().to_owned(),
                reason: error.to_string(),
            },
            error => self.judge(error),
        })
    }

    async fn block(&self, hash: BlockHash) -> Result<Vec<u8>, SourceError> {
        // The semaphore is never closed; without a permit there would only be one request more.
        let _permit = self.fetching.acquire().await;
        let url = self.url().to_owned();
        self.node.block(hash).await.map_err(|error| match &error {
            NodeError::Method { code, .. } if *code == NOT_FOUND => SourceError::Unknown { hash },
            NodeError::Method { message, .. } if message.contains("pruned") => {
                SourceError::Pruned { url, hash }
            }
            NodeError::Method { message, .. } if message.contains("not available") => {
                let reason = message.clone();
                SourceError::Unavailable { url, reason }
            }
            _ => self.judge(error),
        })
    }
}
