//! Settings: flags and variables over the file over defaults, checked.

mod address;
mod error;
mod explain;
mod file;
mod http;
mod node;
mod source;
mod state;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use candid::Principal;
use millrace_core::Network;
use millrace_core::block::MAX_BLOCK_BYTES;
use url::Url;

use crate::cli::{LogFormat, NetworkName, ProgressMode, RunArgs, SharedArgs};
use crate::engine::Until;
use crate::sink::agent::{ENVELOPE_BYTES, INGRESS_BYTES_MAX, parse_url};
use crate::sink::identity::IdentitySource;

pub use address::HostPort;
pub use error::ConfigError;
pub use explain::{Origin, Origins, rows};
pub use file::{DEFAULT_FILE, KEYS};
pub use http::{HttpSettings, http_settings};
pub use node::node_settings;
pub use source::{P2pSettings, RestSettings, SourceSettings, default_minimum_chain_work};
pub use state::StateSettings;

use file::File;

/// The replica that is called without being named: dfx's local one.
pub const DEFAULT_REPLICA_URL: &str = "http://127.0.0.1:4943";

/// Blocks of the best chain that are pushed with witness data unless set otherwise: a day's, of which fee
/// percentiles and transactions are read.
pub const WITNESS_DEPTH: u32 = 144;

/// Most pushes in flight; an agent may have 50 requests at a time.
pub const PUSHES_MAX: u32 = 16;

const MESSAGE_BYTES_MAX: u32 = INGRESS_BYTES_MAX - ENVELOPE_BYTES;
const MESSAGE_BYTES_MIN: u32 = 64 * 1024;
const READ_AHEAD_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes that any memory for blocks must have: two of the largest.
const BLOCK_MEMORY_MIN: u64 = 2 * MAX_BLOCK_BYTES as u64;
const GIVE_UP_AFTER_ONCE: Duration = Duration::from_secs(120);

/// Settings of every command.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Bitcoin network.
    pub network: Network,
    /// Where block files are, if that is set.
    pub blocks: Option<PathBuf>,
    /// The replica.
    pub replica_url: Url,
    /// The canister.
    pub canister: Principal,
    /// As whom to call.
    pub identity: IdentitySource,
    /// Whether to fetch the root key; by the URL if absent.
    pub fetch_root_key: Option<bool>,
    /// Form of log lines.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: String,
    /// When the progress line is shown.
    pub progress: ProgressMode,
}

/// Settings of `run`.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Those of every command.
    pub shared: Settings,
    /// Where blocks come from.
    pub source: SourceSettings,
    /// Where state is kept.
    pub state: StateSettings,
    /// What is served over HTTP.
    pub http: HttpSettings,
    /// Blocks deeper below the best one than this are pushed without witness data.
    pub witness_depth: u32,
    /// When to finish.
    pub until: Until,
    /// How long to retry.
    pub give_up_after: Option<Duration>,
    /// Pushes in flight, at most.
    pub pushes_max: u32,
    /// Bytes of one push, at most.
    pub message_bytes_max: u32,
    /// Bytes read ahead, at most.
    pub read_ahead_bytes: u64,
}

/// Merges the settings of a command without further ones.
///
/// # Errors
/// [`ConfigError`] names the setting and what to do.
pub fn settings(args: SharedArgs) -> Result<Settings, ConfigError> {
    let file = File::load(args.config.as_deref())?;
    merge(args, &file)
}

/// Returns how long a command that retries for ever by default retries.
///
/// # Errors
/// [`ConfigError`] for a file that cannot be read.
pub fn give_up_after(
    flag: Option<u64>,
    config: Option<&Path>,
) -> Result<Option<Duration>, ConfigError> {
    let seconds = flag.or(File::load(config)?.give_up_after);
    let limit = seconds.map(Duration::from_secs);
    Ok(limit.filter(|limit| !limit.is_zero()))
}

/// Merges the settings of `run`.
///
/// # Errors
/// [`ConfigError`] names the setting and what to do.
pub fn run_settings(args: RunArgs) -> Result<RunSettings, ConfigError> {
    let config = args.shared.config.clone();
    let file = File::load(config.as_deref())?;
    let blocks_flag = args.shared.blocks.clone();
    let shared = merge(args.shared, &file)?;
    let run = &args.run;
    let is_once = run.once || (!run.follow && file.once.unwrap_or(false));
    let give_up_after = run
        .give_up_after
        .or(file.give_up_after)
        .map(Duration::from_secs)
        .or(is_once.then_some(GIVE_UP_AFTER_ONCE))
        .filter(|limit| !limit.is_zero());
    let pushes_max = run.pushes_max.or(file.pushes_max).unwrap_or(4);
    let message_bytes_max = run
        .message_bytes_max
        .or(file.message_bytes_max)
        .unwrap_or(MESSAGE_BYTES_MAX);
    let read_ahead_bytes = run
        .read_ahead_bytes
        .or(file.read_ahead_bytes)
        .unwrap_or(READ_AHEAD_BYTES);
    in_range("pushes_max", pushes_max.into(), 1, PUSHES_MAX.into())?;
    in_range(
        "message_bytes_max",
        message_bytes_max.into(),
        MESSAGE_BYTES_MIN.into(),
        MESSAGE_BYTES_MAX.into(),
    )?;
    in_range(
        "read_ahead_bytes",
        read_ahead_bytes,
        BLOCK_MEMORY_MIN,
        u64::MAX,
    )?;
    Ok(RunSettings {
        state: state::merge(&args.source, &file, shared.network),
        http: http::merge(&args.http, &file)?,
        witness_depth: args
            .source
            .witness_depth
            .or(file.witness_depth)
            .unwrap_or(WITNESS_DEPTH),
        source: source::merge(source::Given {
            source: args.source,
            node: args.node,
            blocks: blocks_flag,
            file: &file,
            config: config.as_deref(),
            network: shared.network,
        })?,
        until: if is_once {
            Until::Synced
        } else {
            Until::Stopped
        },
        give_up_after,
        pushes_max,
        message_bytes_max,
        read_ahead_bytes,
        shared,
    })
}

fn merge(args: SharedArgs, file: &File) -> Result<Settings, ConfigError> {
    let network = args
        .network
        .or(file.network)
        .unwrap_or(NetworkName::Mainnet);
    let replica_url = args.replica_url.or_else(|| file.replica_url.clone());
    let canister = args
        .canister
        .or_else(|| file.canister.clone())
        .ok_or(ConfigError::Missing {
            name: "the canister",
            flag: "canister",
            variable: "MILLRACE_CANISTER",
            key: "canister",
        })?;
    let identity = match (args.identity_pem, &file.identity_pem) {
        (Some(setting), _) => IdentitySource::from_setting(&setting),
        (None, Some(path)) => IdentitySource::File(path.clone()),
        (None, None) => IdentitySource::Anonymous,
    };
    Ok(Settings {
        network: network.into(),
        blocks: given_path(args.blocks.or_else(|| file.blocks.clone())),
        replica_url: parse_url(replica_url.as_deref().unwrap_or(DEFAULT_REPLICA_URL))?,
        canister: Principal::from_text(&canister).map_err(|error| ConfigError::BadCanister {
            text: canister,
            reason: error.to_string(),
        })?,
        identity,
        fetch_root_key: args.fetch_root_key.or(file.fetch_root_key),
        log_format: args.log_format.or(file.log_format).unwrap_or_default(),
        log_level: args
            .log_level
            .or_else(|| file.log_level.clone())
            .unwrap_or_else(|| "info".to_owned()),
        progress: args.progress.or(file.progress).unwrap_or_default(),
    })
}

/// Returns a text, unless it is absent or empty. What is empty counts as not set, so that a variable can take
/// back what the file says.
fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// Returns a path, unless it is absent or empty.
fn given_path(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

fn in_range(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let range = if max == u64::MAX {
        format!("at least {min}")
    } else {
        format!("{min} to {max}")
    };
    Err(ConfigError::OutOfRange { name, value, range })
}

impl From<NetworkName> for Network {
    fn from(name: NetworkName) -> Self {
        match name {
            NetworkName::Mainnet => Self::Mainnet,
            NetworkName::Testnet4 => Self::Testnet4,
            NetworkName::Signet => Self::Signet,
            NetworkName::Regtest => Self::Regtest,
        }
    }
}
