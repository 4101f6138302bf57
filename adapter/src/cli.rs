//! Flags and environment variables.
//!
//! Every setting has one name in three spellings: `--replica-url`, `MILLRACE_REPLICA_URL`, and
//! `replica_url` in the file; only what is said of one run (`--once`, `--height`) is a flag alone. Flags win over
//! variables, variables over the file, the file over defaults.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::exit::Exit;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "adapter",
    version,
    about = "Feeds Bitcoin blocks to a Millrace canister",
    long_about = "Feeds Bitcoin blocks to a Millrace canister on the Internet Computer, a dfx or \
                  icp network, PocketIC or the project's local replica.\n\nSettings are flags, \
                  environment variables (MILLRACE_…) or keys of a TOML file; flags win over \
                  variables, variables over the file, the file over defaults. See \
                  adapter.example.toml.",
    after_help = Exit::HELP,
    arg_required_else_help = true,
    propagate_version = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read blocks from the source and push them until stopped, or with --once until in sync
    #[command(after_help = Exit::HELP)]
    Run(RunArgs),
    /// Show the canister's chain, tip, queue and refusals on one screen
    #[command(after_help = Exit::HELP)]
    Status(StatusArgs),
    /// Bring a whole UTXO set into an empty canister, or write one out
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Compare the canister's coins with a Bitcoin Core node's, or with a snapshot's
    #[command(
        after_help = Exit::HELP,
        long_about = "Compares the canister's coins with a Bitcoin Core node's, or with a snapshot's.\n\n\
                      The hash of the whole set (MuHash) is compared first: it takes \
                      `utxo_set_commitment` in the canister and -coinstatsindex=1 in the node. Where it \
                      differs, the first height at which it does is searched for, and the coins that are \
                      missing, extra or different are named: with --snapshot or --dump-folder, which \
                      takes hours for a large set. With --snapshot and no node set, only that is done."
    )]
    Verify(VerifyArgs),
}

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Push a file that Bitcoin Core's `dumptxoutset` wrote into an empty canister; may be stopped and
    /// run again at any time, and goes on where it was
    #[command(after_help = Exit::HELP)]
    Import(ImportArgs),
    /// Write the canister's coins into a file as Bitcoin Core's `dumptxoutset` would
    #[command(after_help = Exit::HELP)]
    Export(ExportArgs),
}

/// Flags of `snapshot import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// File that `dumptxoutset` wrote, version 2 (Bitcoin Core 28 or newer)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Settings shared with other commands.
    #[command(flatten)]
    pub shared: SharedArgs,
    /// The node to take headers from.
    #[command(flatten)]
    pub node: NodeArgs,
    /// hash_serialized_3 of the set, as `dumptxoutset` and `gettxoutsetinfo` print it; only a controller
    /// of the canister may name one. Needed where Bitcoin Core's source does not know the base block
    #[arg(long, value_name = "HEX")]
    pub hash: Option<String>,
    /// Where headers come from [default: blocks, if --blocks is set, else node]
    #[arg(long, value_enum)]
    pub headers_from: Option<HeadersFrom>,
    /// Give up after failing to reach the canister for this long; 0 retries for ever [default: 0]
    #[arg(long, env = "MILLRACE_GIVE_UP_AFTER", value_name = "SECONDS")]
    pub give_up_after: Option<u64>,
}

/// Where headers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HeadersFrom {
    /// Block files
    Blocks,
    /// A Bitcoin Core node
    Node,
}

/// Flags of `snapshot export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// File to write; it must not exist. Until it is whole it is called FILE.partial
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Settings shared with other commands.
    #[command(flatten)]
    pub shared: SharedArgs,
    /// Block after which the coins are written, as printed [default: the newest stable one]
    #[arg(long, value_name = "HASH")]
    pub block: Option<String>,
}

/// Flags of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Settings shared with other commands.
    #[command(flatten)]
    pub shared: SharedArgs,
    /// The node to compare with.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Height to compare at [default: the newest stable one]
    #[arg(long, value_name = "HEIGHT")]
    pub height: Option<u32>,
    /// File that `dumptxoutset` wrote, to compare with coin by coin
    #[arg(long, value_name = "FILE")]
    pub snapshot: Option<PathBuf>,
    /// Folder, the same for the node and for the adapter, into which the node shall write its coins
    /// where they differ
    #[arg(long, value_name = "FOLDER", conflicts_with = "snapshot")]
    pub dump_folder: Option<PathBuf>,
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

/// Flags of `run`.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// Settings shared with other commands.
    #[command(flatten)]
    pub shared: SharedArgs,
    /// Settings of `run` alone.
    #[command(flatten)]
    pub run: RunOnlyArgs,
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

/// Flags of `status`.
#[derive(Debug, Default, Args)]
pub struct StatusArgs {
    /// Settings shared with other commands.
    #[command(flatten)]
    pub shared: SharedArgs,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

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
