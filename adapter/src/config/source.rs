//! Settings of sources: which one, and what each needs.

use std::fmt;
use std::path::{Path, PathBuf};

use millrace_core::Network;
use millrace_core::header::ChainWork;
use url::Url;

use super::file::File;
use super::{BLOCK_MEMORY_MIN, ConfigError, HostPort, given, given_path, in_range, node_settings};
use crate::cli::{NodeArgs, SourceArgs, SourceName};
use crate::node::{NodeSettings, default_url, parse_url};

/// Named peers, at most.
const PEERS_MAX: usize = 64;
/// Outbound peers, at most; more would be a burden to the network and no gain.
const OUTBOUND_PEERS_MAX: u32 = 32;
const OUTBOUND_PEERS: u32 = 8;
const BLOCK_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
const REST_CONNECTIONS: u32 = 4;
const REST_CONNECTIONS_MAX: u32 = 32;
/// The port of a SOCKS proxy that is named without one (RFC 1928 section 3).
const SOCKS_PORT: u16 = 1080;

const PEER_EXAMPLE: &str = "203.0.113.7:8333, [2001:db8::7]:8333 or node.example:8333";
const PROXY_EXAMPLE: &str = "127.0.0.1:9050";

/// Where blocks come from.
#[derive(Clone, Debug)]
pub enum SourceSettings {
    /// Bitcoin's peer-to-peer network.
    P2p(P2pSettings),
    /// A Bitcoin Core node's REST interface.
    Rest(RestSettings),
    /// A Bitcoin Core node's JSON-RPC interface.
    Rpc(NodeSettings),
    /// Block files: a folder or a file.
    Blocks(PathBuf),
}

impl SourceSettings {
    /// Returns the source's name in settings.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::P2p(_) => "p2p",
            Self::Rest(_) => "rest",
            Self::Rpc(_) => "rpc",
            Self::Blocks(_) => "blocks",
        }
    }
}

impl fmt::Display for SourceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::P2p(_) => Ok(()),
            Self::Rest(rest) => write!(f, " {}", rest.url),
            Self::Rpc(node) => write!(f, " {}", node.url),
            Self::Blocks(path) => write!(f, " {}", path.display()),
        }
    }
}

/// Settings of the peer-to-peer network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct P2pSettings {
    /// Peers to stay connected to.
    pub peers: Vec<HostPort>,
    /// Whether only those are connected to.
    pub only_peers: bool,
    /// Outbound peers wanted besides, 1 to 32.
    pub outbound_peers: u32,
    /// Whether the encrypted transport (BIP324) is tried first.
    pub v2_transport: bool,
    /// The SOCKS5 proxy of all connections.
    pub proxy: Option<HostPort>,
    /// Whether onion services are connected to.
    pub onion: bool,
    /// Work that a chain must have before it is believed to be the network's.
    pub minimum_chain_work: ChainWork,
    /// Bytes of blocks held or on their way, at most.
    pub block_memory_bytes: u64,
}

/// Settings of a node's REST interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestSettings {
    /// Its URL, without `/rest`.
    pub url: Url,
    /// Connections, 1 to 32.
    pub connections: u32,
}

/// What was said about sources, and where.
pub(super) struct Given<'a> {
    pub source: SourceArgs,
    pub node: NodeArgs,
    /// Block files by flag or variable.
    pub blocks: Option<PathBuf>,
    pub file: &'a File,
    /// The file's path.
    pub config: Option<&'a Path>,
    pub network: Network,
}

pub(super) fn merge(given: Given<'_>) -> Result<SourceSettings, ConfigError> {
    let Given { source, node, .. } = given;
    // What is named on the command line or in a variable is meant, whatever the file says.
    let named = choose(source.source, &source.rest_url, &given.blocks)?;
    let file = given.file;
    let named = match named {
        Some(named) => Some(named),
        None => choose(file.source, &file.rest_url, &file.blocks)?,
    };
    Ok(match named.unwrap_or(SourceName::P2p) {
        SourceName::P2p => SourceSettings::P2p(merge_p2p(source, file, given.network)?),
        SourceName::Rest => SourceSettings::Rest(merge_rest(source, file, given.network)?),
        SourceName::Rpc => SourceSettings::Rpc(node_settings(node, given.config, given.network)?),
        SourceName::Blocks => {
            let blocks = given_path(given.blocks.or_else(|| file.blocks.clone()));
            SourceSettings::Blocks(blocks.ok_or(ConfigError::Missing {
                name: "the folder of blocks",
                flag: "blocks",
                variable: "MILLRACE_BLOCKS",
                key: "blocks",
            })?)
        }
    })
}

/// Chooses the source that is named, or else the one that is meant by naming where it is.
fn choose(
    source: Option<SourceName>,
    rest_url: &Option<String>,
    blocks: &Option<PathBuf>,
) -> Result<Option<SourceName>, ConfigError> {
    if source.is_some() {
        return Ok(source);
    }
    let has_rest = given(rest_url.clone()).is_some();
    let has_blocks = given_path(blocks.clone()).is_some();
    match (has_rest, has_blocks) {
        (true, true) => Err(ConfigError::Contradiction {
            given: "rest_url".to_owned(),
            but: "so is blocks, which is another source",
            remedy: "set source to `rest` or `blocks`",
        }),
        (true, false) => Ok(Some(SourceName::Rest)),
        (false, true) => Ok(Some(SourceName::Blocks)),
        (false, false) => Ok(None),
    }
}

fn merge_p2p(args: SourceArgs, file: &File, network: Network) -> Result<P2pSettings, ConfigError> {
    let peers = args.peers.or_else(|| file.peers.clone());
    let peers = parse_peers(&peers.unwrap_or_default(), network)?;
    let proxy = given(args.proxy.or_else(|| file.proxy.clone()));
    let proxy = proxy.as_deref().map(parse_proxy).transpose()?;
    let onion = args.onion.or(file.onion);
    let outbound_peers = args.outbound_peers.or(file.outbound_peers);
    let outbound_peers = outbound_peers.unwrap_or(OUTBOUND_PEERS);
    in_range(
        "outbound_peers",
        outbound_peers.into(),
        1,
        OUTBOUND_PEERS_MAX.into(),
    )?;
    let memory = args.block_memory_bytes.or(file.block_memory_bytes);
    let block_memory_bytes = memory.unwrap_or(BLOCK_MEMORY_BYTES);
    in_range(
        "block_memory_bytes",
        block_memory_bytes,
        BLOCK_MEMORY_MIN,
        u64::MAX,
    )?;
    let work = given(
        args.minimum_chain_work
            .or_else(|| file.minimum_chain_work.clone()),
    );
    let minimum_chain_work = match work {
        None => default_minimum_chain_work(network),
        Some(text) => ChainWork::from_hex(text.trim()).ok_or(ConfigError::BadWork { text })?,
    };
    let settings = P2pSettings {
        only_peers: args.only_peers.or(file.only_peers).unwrap_or(false),
        outbound_peers,
        v2_transport: args.v2_transport.or(file.v2_transport).unwrap_or(true),
        onion: onion.unwrap_or(proxy.is_some()),
        peers,
        proxy,
        minimum_chain_work,
        block_memory_bytes,
    };
    check_p2p(&settings)?;
    Ok(settings)
}

fn check_p2p(settings: &P2pSettings) -> Result<(), ConfigError> {
    let contradiction =
        |given: String, but, remedy| Err(ConfigError::Contradiction { given, but, remedy });
    let has_proxy = settings.proxy.is_some();
    if settings.only_peers && settings.peers.is_empty() {
        return contradiction(
            "only_peers".to_owned(),
            "peers names none",
            "name at least one, or leave only_peers out",
        );
    }
    if settings.onion && !has_proxy {
        return contradiction(
            "onion".to_owned(),
            "proxy is not",
            "set proxy to that of Tor, as 127.0.0.1:9050, or leave onion out",
        );
    }
    for peer in &settings.peers {
        if peer.is_onion() && !settings.onion {
            return contradiction(
                format!("peer {peer}"),
                "onion services are not connected to",
                "set proxy to that of Tor, as 127.0.0.1:9050, and leave onion out",
            );
        }
        if peer.is_name() && has_proxy {
            return contradiction(
                format!("peer {peer}"),
                "with a proxy no name is looked up, which would tell of it outside the proxy",
                "give its address",
            );
        }
    }
    Ok(())
}

fn merge_rest(
    args: SourceArgs,
    file: &File,
    network: Network,
) -> Result<RestSettings, ConfigError> {
    let url = given(args.rest_url.or_else(|| file.rest_url.clone()));
    let connections = args.rest_connections.or(file.rest_connections);
    let connections = connections.unwrap_or(REST_CONNECTIONS);
    in_range(
        "rest_connections",
        connections.into(),
        1,
        REST_CONNECTIONS_MAX.into(),
    )?;
    Ok(RestSettings {
        url: parse_url(url.as_deref().unwrap_or(default_url(network)))?,
        connections,
    })
}

fn parse_peers(texts: &[String], network: Network) -> Result<Vec<HostPort>, ConfigError> {
    let texts = texts.iter().filter(|text| !text.trim().is_empty());
    let port = default_port(network);
    let mut peers = Vec::new();
    for text in texts {
        let peer = HostPort::parse("peer", text, Some(port), PEER_EXAMPLE)?;
        if !peers.contains(&peer) {
            peers.push(peer);
        }
        in_range(
            "the number of peers",
            peers.len() as u64,
            0,
            PEERS_MAX as u64,
        )?;
    }
    Ok(peers)
}

fn parse_proxy(text: &str) -> Result<HostPort, ConfigError> {
    let address = text.trim();
    let address = ["socks5://", "socks5h://"]
        .iter()
        .find_map(|scheme| address.strip_prefix(scheme))
        .unwrap_or(address);
    let proxy = HostPort::parse("proxy", address, Some(SOCKS_PORT), PROXY_EXAMPLE)?;
    if proxy.is_onion() {
        return Err(ConfigError::BadAddress {
            name: "proxy",
            text: text.to_owned(),
            reason: "an onion service cannot be reached without a proxy".to_owned(),
            example: PROXY_EXAMPLE,
        });
    }
    Ok(proxy)
}

/// Returns the port that nodes of a network listen at.
const fn default_port(network: Network) -> u16 {
    match network {
        Network::Mainnet => 8_333,
        Network::Testnet3 => 18_333,
        Network::Testnet4 => 48_333,
        Network::Signet => 38_333,
        Network::Regtest => 18_444,
    }
}

/// Returns the work that Bitcoin Core 31.99 expects of a network's chain (`nMinimumChainWork`).
pub fn default_minimum_chain_work(network: Network) -> ChainWork {
    let digits = match network {
        Network::Mainnet => "1128750f82f4c366153a3a030",
        Network::Testnet3 => "17dde1c649f3708d14b6",
        Network::Testnet4 => "9a0fe15d0177d086304",
        Network::Signet => "b463ea0a4b8",
        Network::Regtest => "0",
    };
    ChainWork::from_hex(digits).unwrap_or(ChainWork::ZERO)
}
