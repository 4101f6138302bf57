//! Flags and environment variables.
//!
//! Every setting has one name in three spellings: `--replica-url`, `MILLRACE_REPLICA_URL`, and
//! `replica_url` in the file; only what is said of one run (`--once`, `--height`) is a flag alone. Flags win over
//! variables, variables over the file, the file over defaults.

mod settings;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit::Exit;

pub use settings::{
    HttpArgs, LogFormat, NetworkName, NodeArgs, ProgressMode, RunOnlyArgs, SharedArgs, SourceArgs,
    SourceName,
};

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
    /// Read everything that the source has, check it, drop it, and show how fast that was
    #[command(after_help = Exit::HELP)]
    Measure(RunArgs),
    /// Show the canister's chain, tip, queue and refusals on one screen
    #[command(after_help = Exit::HELP)]
    Status(StatusArgs),
    /// Show the settings, where each came from, and whether they can work
    #[command(
        after_help = Exit::HELP,
        long_about = "Shows the settings that `run` would use, where each came from (flag, variable, file or \
                      default), and whether files, keys, permissions and addresses are as they must be. \
                      Nothing is sent or written, unless --probe asks the canister, the source and the proxy."
    )]
    CheckConfig(CheckArgs),
    /// Show the peers of a running adapter
    #[command(after_help = Exit::HELP)]
    Peers(PeersArgs),
    /// Send a transaction to Bitcoin's network, directly or through the canister
    #[command(after_help = Exit::HELP)]
    Broadcast(BroadcastArgs),
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

/// Flags of `run`.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// Settings shared with other commands.
    #[command(flatten)]
    pub shared: SharedArgs,
    /// Where blocks come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// The node that is asked over RPC.
    #[command(flatten)]
    pub node: NodeArgs,
    /// What is served over HTTP.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Settings of `run` alone.
    #[command(flatten)]
    pub run: RunOnlyArgs,
}

/// Flags of `check-config`.
#[derive(Debug, Default, Args)]
pub struct CheckArgs {
    /// What `run` takes.
    #[command(flatten)]
    pub run: RunArgs,
    /// Also ask the canister, the source and the proxy whether they answer
    #[arg(long)]
    pub probe: bool,
}

/// Flags of `peers`.
#[derive(Debug, Default, Args)]
pub struct PeersArgs {
    /// TOML file with settings [default: ./adapter.toml, if it exists]
    #[arg(long, env = "MILLRACE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the running adapter is asked.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Flags of `broadcast`.
#[derive(Debug, Default, Args)]
pub struct BroadcastArgs {
    /// The transaction: hexadecimal digits, or a file that holds them or the bytes themselves
    #[arg(value_name = "TRANSACTION")]
    pub transaction: String,
    /// What `run` takes: the source whose network is told.
    #[command(flatten)]
    pub run: RunArgs,
    /// Hand it to the canister (`send_transaction`) instead: it is relayed by the adapters that feed it,
    /// until it is confirmed
    #[arg(long)]
    pub through_canister: bool,
}

/// Flags of `status`.
#[derive(Debug, Default, Args)]
pub struct StatusArgs {
    /// Settings shared with other commands.
    #[command(flatten)]
    pub shared: SharedArgs,
    /// Where the running adapter is asked.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}
