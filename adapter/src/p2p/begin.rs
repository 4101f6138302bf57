//! Starts the node with what the settings and an earlier run say.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use millrace_core::{Network, UnixSeconds};
use millrace_p2p::address::{AddressError, PeerAddress};
use millrace_p2p::book::AddressBook;
use millrace_p2p::node::{Node, NodeConfig};
use millrace_p2p::relay::Relay;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::keeper::Keeper;
use super::{P2pSettings, Proxy, Running, dns_seeds, start};
use crate::config;
use crate::config::HostPort;
use crate::state::{State, StateError};

/// How long a name may take to be looked up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// What was known before cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system gives no chance.
    #[error("the system gives no random numbers: {reason}")]
    Chance {
        /// The system's words.
        reason: String,
    },
    /// A name has no address.
    #[error("cannot find {host}: {reason}; check the name, or give an address")]
    Name {
        /// The host as it was given.
        host: String,
        /// The system's words.
        reason: String,
    },
    /// An onion service is none.
    #[error(transparent)]
    Onion(#[from] AddressError),
}

/// Starts a node that connects as `settings` say, and keeps what it finds out in `folder`.
///
/// # Errors
/// [`BeginError`] names what cannot be used.
pub async fn begin(
    settings: &config::P2pSettings,
    folder: &Path,
    network: Network,
    now: UnixSeconds,
) -> Result<Running, BeginError> {
    let proxy = match &settings.proxy {
        Some(proxy) => Some(Proxy {
            address: resolve(proxy).await?,
            isolates_streams: settings.onion,
        }),
        None => None,
    };
    let mut fixed_peers = Vec::new();
    for peer in &settings.peers {
        fixed_peers.push(address(peer, network).await?);
    }
    let (state, restored) = State::open(folder, network, now)?;
    for warning in &restored.warnings {
        tracing::warn!("{warning}");
    }
    let (seed, book_seed, relay_seed) = (chance()?, chance()?, chance()?);
    let book = restored
        .book
        .unwrap_or_else(|| AddressBook::new(network, book_seed));
    tracing::info!(
        folder = %folder.display(),
        headers = restored.headers.tip_height().get(),
        addresses = book.len(),
        "known from earlier runs",
    );
    let config = NodeConfig {
        network,
        minimum_chain_work: settings.minimum_chain_work,
        fixed_peers,
        only_fixed: settings.only_peers,
        outbound_peers: settings.outbound_peers,
        v2_transport: settings.v2_transport,
        reaches_onion: settings.onion && proxy.is_some(),
        block_bytes_max: settings.block_memory_bytes,
        user_agent: format!("/millrace:{}/", env!("CARGO_PKG_VERSION")),
        seed,
    };
    let relay = Relay::new(relay_seed);
    let node = Node::new(config, restored.headers, Box::new(book), Box::new(relay));
    let seeds = dns_seeds(network).iter().map(|&seed| seed.to_owned());
    let shell = P2pSettings {
        network,
        proxy,
        seeds: seeds.collect(),
    };
    Ok(start(node, shell, Some(Keeper::new(state))))
}

/// Returns where a configured peer is; its name is looked up once.
async fn address(peer: &HostPort, network: Network) -> Result<PeerAddress, BeginError> {
    if peer.is_onion() {
        return Ok(PeerAddress::parse(&peer.to_string(), network)?);
    }
    let found = resolve(peer).await?;
    Ok(PeerAddress::from((found.ip(), found.port())))
}

async fn resolve(host: &HostPort) -> Result<SocketAddr, BeginError> {
    let failed = |reason: String| BeginError::Name {
        host: host.to_string(),
        reason,
    };
    let found = timeout(PATIENCE, lookup_host((host.host.as_str(), host.port))).await;
    let found = found.map_err(|_| failed(format!("no answer within {} s", PATIENCE.as_secs())))?;
    let mut found = found.map_err(|error| failed(error.to_string()))?;
    found
        .next()
        .ok_or_else(|| failed("it has no address".to_owned()))
}

fn chance() -> Result<u64, BeginError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| BeginError::Chance {
        reason: error.to_string(),
    })?;
    Ok(u64::from_le_bytes(bytes))
}
