//! The configuration file.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;
use crate::cli::{LogFormat, NetworkName, ProgressMode, SourceName};

/// The file that is read without being named.
pub const DEFAULT_FILE: &str = "adapter.toml";

/// The file's keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub(super) network: Option<NetworkName>,
    pub(super) blocks: Option<PathBuf>,
    pub(super) replica_url: Option<String>,
    pub(super) canister: Option<String>,
    pub(super) identity_pem: Option<PathBuf>,
    pub(super) fetch_root_key: Option<bool>,
    pub(super) once: Option<bool>,
    pub(super) give_up_after: Option<u64>,
    pub(super) pushes_max: Option<u32>,
    pub(super) message_bytes_max: Option<u32>,
    pub(super) read_ahead_bytes: Option<u64>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) log_level: Option<String>,
    pub(super) progress: Option<ProgressMode>,
    pub(super) source: Option<SourceName>,
    pub(super) peers: Option<Vec<String>>,
    pub(super) only_peers: Option<bool>,
    pub(super) outbound_peers: Option<u32>,
    pub(super) v2_transport: Option<bool>,
    pub(super) proxy: Option<String>,
    pub(super) onion: Option<bool>,
    pub(super) minimum_chain_work: Option<String>,
    pub(super) rest_url: Option<String>,
    pub(super) rest_connections: Option<u32>,
    pub(super) state_folder: Option<PathBuf>,
    pub(super) block_memory_bytes: Option<u64>,
    pub(super) witness_depth: Option<u32>,
    pub(super) metrics_address: Option<String>,
    pub(super) healthy_lag_blocks: Option<u32>,
    pub(super) healthy_lag_seconds: Option<u64>,
    pub(super) node_url: Option<String>,
    pub(super) node_cookie: Option<PathBuf>,
    pub(super) node_user: Option<String>,
    pub(super) node_password: Option<String>,
    /// The keys that the file has.
    #[serde(skip)]
    named: Vec<String>,
}

/// Every key of the file, in the order of the example.
pub const KEYS: [&str; 34] = [
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
    "source",
    "peers",
    "only_peers",
    "outbound_peers",
    "v2_transport",
    "proxy",
    "onion",
    "minimum_chain_work",
    "rest_url",
    "rest_connections",
    "state_folder",
    "block_memory_bytes",
    "witness_depth",
    "metrics_address",
    "healthy_lag_blocks",
    "healthy_lag_seconds",
    "node_url",
    "node_cookie",
    "node_user",
    "node_password",
];

impl File {
    /// Reads the named file, or the default one if that exists.
    pub(super) fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
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
        let mut file: Self = toml::from_str(text).map_err(malformed)?;
        file.named = table.keys().cloned().collect();
        Ok(file)
    }

    /// Returns whether the file has a key.
    pub(super) fn names(&self, key: &str) -> bool {
        self.named.iter().any(|named| named == key)
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
