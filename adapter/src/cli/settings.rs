//! Groups of settings, as flags and variables.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use serde::Deserialize;

/// Settings of every command.
#[derive(Debug, Default, Args)]
pub struct SharedArgs {
    /// TOML file with settings [default: ./adapter.toml, if it exists]
    #[arg(long, env = "MILLRACE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Bitcoin network [default: mainnet]
    #[arg(long, env = "MILLRACE_NETWORK", value_enum)]
    pub network: Option<NetworkName>,
    /// Block files: a directory of blk*.dat files or one file of framed blocks
    #[arg(long, env = "MILLRACE_BLOCKS", value_name = "PATH")]
    pub blocks: Option<PathBuf>,
    /// URL of the replica or of the Internet Computer [default: http://127.0.0.1:4943]
    #[arg(long, env = "MILLRACE_REPLICA_URL", value_name = "URL")]
    pub replica_url: Option<String>,
    /// Canister to feed
    #[arg(long, env = "MILLRACE_CANISTER", value_name = "PRINCIPAL")]
    pub canister: Option<String>,
    /// Private key of the adapter: an unencrypted PEM file, Ed25519 or secp256k1 (the variable may
    /// also hold the PEM text itself) [default: anonymous]
    #[arg(
        long,
        env = "MILLRACE_IDENTITY_PEM",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub identity_pem: Option<String>,
    /// Take the root key from the replica [default: true, but false and refused for hosts of the
    /// Internet Computer]
    #[arg(
        long,
        env = "MILLRACE_FETCH_ROOT_KEY",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub fetch_root_key: Option<bool>,
    /// Form of log lines [default: text]
    #[arg(long, env = "MILLRACE_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug, trace, or a tracing filter [default: info]
    #[arg(long, env = "MILLRACE_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<String>,
    /// Progress line: auto shows it on a terminal only [default: auto]
    #[arg(long, env = "MILLRACE_PROGRESS", value_enum)]
    pub progress: Option<ProgressMode>,
}

/// Where blocks come from.
#[derive(Debug, Default, Args)]
pub struct SourceArgs {
    /// Where blocks come from [default: blocks, where --blocks is set; rest, where --rest-url is; else
    /// p2p]
    #[arg(long, env = "MILLRACE_SOURCE", value_enum)]
    pub source: Option<SourceName>,
    /// Bitcoin peers to stay connected to, besides those that are found: host:port, with an IPv6 address in brackets, or
    /// name.onion:port; several with commas [default port: the network's]
    #[arg(
        long,
        env = "MILLRACE_PEERS",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub peers: Option<Vec<String>>,
    /// Connect to the named peers only
    #[arg(
        long,
        env = "MILLRACE_ONLY_PEERS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub only_peers: Option<bool>,
    /// Outbound peers wanted besides the named ones, 1 to 32 [default: 8]
    #[arg(long, env = "MILLRACE_OUTBOUND_PEERS", value_name = "N")]
    pub outbound_peers: Option<u32>,
    /// Try the encrypted transport (BIP324) first [default: true]
    #[arg(
        long,
        env = "MILLRACE_V2_TRANSPORT",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub v2_transport: Option<bool>,
    /// SOCKS5 proxy for every Bitcoin peer, as Tor's 127.0.0.1:9050 [default: none]
    #[arg(long, env = "MILLRACE_PROXY", value_name = "ADDRESS")]
    pub proxy: Option<String>,
    /// Connect to onion services too; it takes a proxy [default: true where a proxy is set]
    #[arg(
        long,
        env = "MILLRACE_ONION",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub onion: Option<bool>,
    /// Work in hexadecimal digits that a chain must have before it is believed to be the network's
    /// [default: Bitcoin Core's for the network]
    #[arg(long, env = "MILLRACE_MINIMUM_CHAIN_WORK", value_name = "HEX")]
    pub minimum_chain_work: Option<String>,
    /// URL of a Bitcoin Core node's REST interface (-rest) [default: http://127.0.0.1, with the
    /// network's usual port]
    #[arg(long, env = "MILLRACE_REST_URL", value_name = "URL")]
    pub rest_url: Option<String>,
    /// Connections to a node's REST interface, 1 to 32 [default: 4]
    #[arg(long, env = "MILLRACE_REST_CONNECTIONS", value_name = "N")]
    pub rest_connections: Option<u32>,
    /// Folder for headers, peers' addresses and what is being relayed, of one network [default:
    /// $STATE_DIRECTORY, $XDG_STATE_HOME/millrace, ~/.local/state/millrace or /var/lib/millrace, and
    /// in it the network's name]
    #[arg(long, env = "MILLRACE_STATE_FOLDER", value_name = "FOLDER")]
    pub state_folder: Option<PathBuf>,
    /// Bytes of blocks held or on their way from peers, at least 8000000 [default: 268435456]
    #[arg(long, env = "MILLRACE_BLOCK_MEMORY_BYTES", value_name = "BYTES")]
    pub block_memory_bytes: Option<u64>,
    /// Blocks deeper below the best one than this are pushed without witness data [default: 144]
    #[arg(long, env = "MILLRACE_WITNESS_DEPTH", value_name = "BLOCKS")]
    pub witness_depth: Option<u32>,
}

/// What a running adapter serves over HTTP.
#[derive(Debug, Default, Args)]
pub struct HttpArgs {
    /// Address at which a running adapter serves /metrics, /healthz, /status and /peers, as
    /// 127.0.0.1:9332 [default: none]
    #[arg(long, env = "MILLRACE_METRICS_ADDRESS", value_name = "ADDRESS")]
    pub metrics_address: Option<String>,
    /// Blocks the canister may be behind and still be healthy [default: 2]
    #[arg(long, env = "MILLRACE_HEALTHY_LAG_BLOCKS", value_name = "BLOCKS")]
    pub healthy_lag_blocks: Option<u32>,
    /// How long it may be further behind, or say nothing, and still be healthy, at least 1
    /// [default: 300]
    #[arg(long, env = "MILLRACE_HEALTHY_LAG_SECONDS", value_name = "SECONDS")]
    pub healthy_lag_seconds: Option<u64>,
}

/// A Bitcoin Core node.
#[derive(Debug, Default, Args)]
pub struct NodeArgs {
    /// URL of the node's JSON-RPC interface [default: http://127.0.0.1, with the network's usual port]
    #[arg(long, env = "MILLRACE_NODE_URL", value_name = "URL")]
    pub node_url: Option<String>,
    /// The node's cookie file [default: .cookie in Bitcoin Core's usual folder]
    #[arg(long, env = "MILLRACE_NODE_COOKIE", value_name = "FILE")]
    pub node_cookie: Option<PathBuf>,
    /// User of the node, instead of a cookie
    #[arg(long, env = "MILLRACE_NODE_USER", value_name = "NAME")]
    pub node_user: Option<String>,
    /// Password of that user; a variable or the file keeps it from lists of processes
    #[arg(
        long,
        env = "MILLRACE_NODE_PASSWORD",
        value_name = "TEXT",
        hide_env_values = true
    )]
    pub node_password: Option<String>,
}

/// Settings of `run` alone.
#[derive(Debug, Default, Args)]
pub struct RunOnlyArgs {
    /// Exit when the canister has connected everything the source has
    #[arg(long, visible_alias = "until-synced", conflicts_with = "follow")]
    pub once: bool,
    /// Keep watching the source for new blocks (the default)
    #[arg(long)]
    pub follow: bool,
    /// Give up after failing to reach the canister for this long; 0 retries for ever [default: 120
    /// with --once, else 0]
    #[arg(long, env = "MILLRACE_GIVE_UP_AFTER", value_name = "SECONDS")]
    pub give_up_after: Option<u64>,
    /// Pushes in flight at a time, 1 to 16; it starts with one and feels its way [default: 4]
    #[arg(long, env = "MILLRACE_PUSHES_MAX", value_name = "N")]
    pub pushes_max: Option<u32>,
    /// Bytes of one push, 65536 to 2093056; the canister's own limit also holds [default: 2093056]
    #[arg(long, env = "MILLRACE_MESSAGE_BYTES_MAX", value_name = "BYTES")]
    pub message_bytes_max: Option<u32>,
    /// Bytes of blocks held in memory before they are pushed, at least 8000000 [default: 67108864]
    #[arg(long, env = "MILLRACE_READ_AHEAD_BYTES", value_name = "BYTES")]
    pub read_ahead_bytes: Option<u64>,
}

/// Bitcoin networks by the names of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkName {
    /// Bitcoin's main network
    Mainnet,
    /// The test network of 2024
    #[value(alias = "testnet")]
    #[serde(alias = "testnet")]
    Testnet4,
    /// The default signet
    Signet,
    /// A local chain
    Regtest,
}

/// Forms of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// When the progress line is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgressMode {
    /// On a terminal with text logs
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Sources by the names of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceName {
    /// Bitcoin's peer-to-peer network
    P2p,
    /// A Bitcoin Core node's REST interface
    Rest,
    /// A Bitcoin Core node's JSON-RPC interface
    Rpc,
    /// Block files
    Blocks,
}
