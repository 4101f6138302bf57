//! Makes what the settings name: a source of blocks, and what relays transactions there.

use bitcoin::Txid;
use millrace_core::{Network, UnixSeconds};
use millrace_p2p::node::{RelayOutcome, RelayTransaction, Standing};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::{SourceSettings, StateSettings};
use crate::http::Observer;
use crate::node::{Node, NodeError};
use crate::p2p::{BeginError, P2pHandle, Running, begin};
use crate::relay::node::NodeRelay;
use crate::relay::shell::{NodeRelayer, Relayer};
use crate::source::SourceError;
use crate::source::any::AnySource;
use crate::source::file::FileSource;
use crate::source::node::{NodeSource, Rest, RestSettings, Rpc, RpcSettings};

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The peer-to-peer node does not start.
    #[error(transparent)]
    Peers(#[from] BeginError),
    /// The source cannot be used as it is set.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The node's settings cannot be used.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// A source and what comes with it.
pub struct Opened {
    /// Blocks.
    pub source: AnySource,
    /// What brings transactions to the network, if the source can.
    pub relayer: Option<AnyRelayer>,
    /// Where the peer-to-peer node stands, if that is the source.
    pub standing: Option<watch::Receiver<Standing>>,
    /// Ends the source in good order.
    pub closing: Closing,
}

/// Ends a source.
pub struct Closing(Option<(P2pHandle, JoinHandle<()>)>);

impl Closing {
    /// Has everything kept that is known, and waits for it.
    pub async fn close(self) {
        if let Some((handle, task)) = self.0 {
            handle.stop();
            // A defect of its own has been shown by then.
            let _ = task.await;
        }
    }
}

/// Makes a source.
///
/// # Errors
/// [`OpenError`] names what cannot be used.
pub async fn open(
    source: &SourceSettings,
    state: &StateSettings,
    network: Network,
    now: UnixSeconds,
) -> Result<Opened, OpenError> {
    let without_relay = |source| Opened {
        source,
        relayer: None,
        standing: None,
        closing: Closing(None),
    };
    Ok(match source {
        SourceSettings::Blocks(path) => {
            without_relay(AnySource::Files(FileSource::new(path, network)))
        }
        SourceSettings::Rest(rest) => {
            let rest = Rest::new(&RestSettings {
                url: rest.url.clone(),
                connections: rest.connections,
            })?;
            without_relay(AnySource::Rest(NodeSource::new(rest, network)))
        }
        SourceSettings::Rpc(node) => {
            let rpc = Rpc::new(&RpcSettings::new(node.clone()))?;
            let relay = NodeRelay::new(Node::new(node)?);
            Opened {
                relayer: Some(AnyRelayer::Node(NodeRelayer::start(relay))),
                ..without_relay(AnySource::Rpc(NodeSource::new(rpc, network)))
            }
        }
        SourceSettings::P2p(peers) => {
            let Running {
                handle,
                standing,
                reports,
                task,
            } = begin(peers, &state.folder, network, now).await?;
            Opened {
                source: AnySource::Peers(handle.clone()),
                relayer: Some(AnyRelayer::Peers(PeerRelayer {
                    handle: handle.clone(),
                    reports,
                })),
                standing: Some(standing),
                closing: Closing(Some((handle, task))),
            }
        }
    })
}

/// What brings transactions to the network.
pub enum AnyRelayer {
    /// A Bitcoin Core node.
    Node(NodeRelayer),
    /// Peers.
    Peers(PeerRelayer),
}

/// Relays through peers.
pub struct PeerRelayer {
    handle: P2pHandle,
    reports: mpsc::Receiver<(Txid, RelayOutcome)>,
}

impl Relayer for AnyRelayer {
    fn add(&mut self, transactions: Vec<RelayTransaction>) {
        match self {
            Self::Node(relayer) => relayer.add(transactions),
            Self::Peers(relayer) => relayer.handle.relay(transactions),
        }
    }

    fn forget(&mut self, txids: Vec<Txid>) {
        match self {
            Self::Node(relayer) => relayer.forget(txids),
            Self::Peers(relayer) => relayer.handle.forget(txids),
        }
    }

    async fn next(&mut self) -> (Txid, RelayOutcome) {
        match self {
            Self::Node(relayer) => relayer.next().await,
            Self::Peers(relayer) => match relayer.reports.recv().await {
                Some(outcome) => outcome,
                // The node has ended.
                None => std::future::pending().await,
            },
        }
    }
}

/// A relayer whose outcomes are counted.
pub struct Observed {
    /// The relayer.
    pub relayer: AnyRelayer,
    /// Who counts.
    pub observer: Observer,
}

impl Relayer for Observed {
    fn add(&mut self, transactions: Vec<RelayTransaction>) {
        self.relayer.add(transactions);
    }

    fn forget(&mut self, txids: Vec<Txid>) {
        self.relayer.forget(txids);
    }

    async fn next(&mut self) -> (Txid, RelayOutcome) {
        let (txid, outcome) = self.relayer.next().await;
        self.observer.relayed(&outcome);
        (txid, outcome)
    }
}
