//! Settings: flags and variables over the file over defaults, checked.

mod node;

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use candid::Principal;
use millrace_core::Network;
use millrace_core::block::MAX_BLOCK_BYTES;
use serde::Deserialize;
use url::Url;

use crate::cli::{LogFormat, NetworkName, ProgressMode, RunOnlyArgs, SharedArgs};
use crate::engine::Until;
use crate::node::NodeError;
use crate::sink::agent::{AgentSinkError, ENVELOPE_BYTES, INGRESS_BYTES_MAX, parse_url};
use crate::sink::identity::IdentitySource;

pub use node::node_settings;

/// The file that is read without being named.
pub const DEFAULT_FILE: &str = "adapter.toml";

/// The replica that is called without being named: dfx's local one.
pub const DEFAULT_REPLICA_URL: &str = "http://127.0.0.1:4943";

/// Most pushes in flight; an agent may have 50 requests at a time.
pub const PUSHES_MAX: u32 = 16;

const MESSAGE_BYTES_MAX: u32 = INGRESS_BYTES_MAX - ENVELOPE_BYTES;
const MESSAGE_BYTES_MIN: u32 = 64 * 1024;
const READ_AHEAD_BYTES: u64 = 64 * 1024 * 1024;
const READ_AHEAD_BYTES_MIN: u64 = 2 * MAX_BLOCK_BYTES as u64;
const GIVE_UP_AFTER_ONCE: Duration = Duration::from_secs(120);

/// Why there are no settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {path}: {reason}; check --config")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The file is not TOML, or a value has the wrong type.
    #[error("configuration {path} is wrong: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Where and why.
        reason: String,
    },
    /// The file has a key that does not exist.
    #[error("configuration {path} has unknown key `{key}`; {hint}")]
    UnknownKey {
        /// The file.
        path: String,
        /// The key.
        key: String,
        /// Keys like it, or all keys.
        hint: String,
    },
    /// A needed setting is nowhere.
    #[error("{name} is not set: give --{flag}, {variable}, or `{key}` in the configuration file")]
    Missing {
        /// What it is.
        name: &'static str,
        /// Its flag.
        flag: &'static str,
        /// Its environment variable.
        variable: &'static str,
        /// Its key in the file.
        key: &'static str,
    },
    /// A value is outside its range.
    #[error("{name} is {value}, it must be {range}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What is allowed.
        range: String,
    },
    /// A principal does not parse.
    #[error(
        "canister {text:?} is no principal: {reason}; give one like rwlgt-iiaaa-aaaaa-aaaaa-cai"
    )]
    BadCanister {
        /// What was given.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A URL does not parse.
    #[error(transparent)]
    BadUrl(#[from] AgentSinkError),
    /// A node's URL does not parse.
    #[error(transparent)]
    BadNode(#[from] NodeError),
    /// A user of the node without a password, or a password without one.
    #[error("{given} is set without {lacking}: set both, or neither to use the node's cookie")]
    HalfCredentials {
        /// What is set.
        given: &'static str,
        /// What is not.
        lacking: &'static str,
    },
}

/// The file's keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    network: Option<NetworkName>,
    blocks: Option<PathBuf>,
    replica_url: Option<String>,
    canister: Option<String>,
    identity_pem: Option<PathBuf>,
    fetch_root_key: Option<bool>,
    once: Option<bool>,
    give_up_after: Option<u64>,
    pushes_max: Option<u32>,
    message_bytes_max: Option<u32>,
    read_ahead_bytes: Option<u64>,
    log_format: Option<LogFormat>,
    log_level: Option<String>,
    progress: Option<ProgressMode>,
    node_url: Option<String>,
    node_cookie: Option<PathBuf>,
    node_user: Option<String>,
    node_password: Option<String>,
}

/// The names of [`File`]'s fields.
const KEYS: [&str; 18] = [
    "network",
    "blocks",
    "replica_url",
    "canister",
    "identity_pem",
    "fetch_root_key",
    "once",
    "give_up_after",
    "pushes_max",
    "message_bytes_max",
    "read_ahead_bytes",
    "log_format",
    "log_level",
    "progress",
    "node_url",
    "node_cookie",
    "node_user",
    "node_password",
];

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
    /// Where block files are.
    pub blocks: PathBuf,
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
pub fn run_settings(args: SharedArgs, run: &RunOnlyArgs) -> Result<RunSettings, ConfigError> {
    let file = File::load(args.config.as_deref())?;
    let shared = merge(args, &file)?;
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
        READ_AHEAD_BYTES_MIN,
        u64::MAX,
    )?;
    Ok(RunSettings {
        blocks: shared.blocks.clone().ok_or(ConfigError::Missing {
            name: "the source of blocks",
            flag: "blocks",
            variable: "MILLRACE_BLOCKS",
            key: "blocks",
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
        blocks: args.blocks.or_else(|| file.blocks.clone()),
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

impl File {
    /// Reads the named file, or the default one if that exists.
    fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let Some(path) = path.or_else(|| default.exists().then_some(default)) else {
            return Ok(Self::default());
        };
        let text = fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let malformed = |error: toml::de::Error| ConfigError::Malformed {
            path: path.display().to_string(),
            reason: error.to_string().trim_end().to_owned(),
        };
        let table: toml::Table = text.parse().map_err(malformed)?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(ConfigError::UnknownKey {
                path: path.display().to_string(),
                key: key.clone(),
                hint: hint(key),
            });
        }
        toml::from_str(text).map_err(malformed)
    }
}

/// Names the keys that were probably meant.
fn hint(key: &str) -> String {
    /// Likeness above which a key is worth naming.
    const ALIKE: f64 = 0.8;
    let normal = key.to_ascii_lowercase().replace('-', "_");
    let mut near: Vec<(f64, &str)> = KEYS
        .iter()
        .map(|known| (strsim::jaro_winkler(&normal, known), *known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    if near.is_empty() {
        return format!("known keys are {}", KEYS.join(", "));
    }
    let names: Vec<String> = near.iter().map(|(_, known)| format!("`{known}`")).collect();
    format!("did you mean {}?", names.join(" or "))
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
