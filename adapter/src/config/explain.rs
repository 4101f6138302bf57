//! The merged settings as text, and where each came from.

use std::fmt;
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use url::Url;

use super::file::{File, KEYS};
use super::{ConfigError, P2pSettings, RunSettings, SourceSettings};
use crate::cli::{LogFormat, ProgressMode};
use crate::engine::Until;
use crate::node::{Credentials, NodeSettings};
use crate::sink::identity::IdentitySource;

/// What stands for a secret.
const HIDDEN: &str = "(hidden)";
/// What stands for nothing.
const NONE: &str = "none";

/// Where a setting came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// An environment variable.
    Variable,
    /// The configuration file.
    File,
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Flag => "flag",
            Self::Variable => "variable",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// Where every setting came from.
#[derive(Clone, Debug)]
pub struct Origins(Vec<(&'static str, Origin)>);

impl Origins {
    /// Reads what was given.
    ///
    /// # Errors
    /// [`ConfigError`] for a file that cannot be read.
    pub fn read(matches: &ArgMatches, config: Option<&Path>) -> Result<Self, ConfigError> {
        let file = File::load(config)?;
        let source = |name: &str| {
            // Asking for a name that the command does not have would be a defect.
            let is_known = matches.try_contains_id(name).is_ok();
            is_known.then(|| matches.value_source(name)).flatten()
        };
        let origin = |key: &str| match source(key) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => Origin::Variable,
            _ if key == "once" && source("follow") == Some(ValueSource::CommandLine) => {
                Origin::Flag
            }
            _ if file.names(key) => Origin::File,
            _ => Origin::Default,
        };
        Ok(Self(KEYS.iter().map(|key| (*key, origin(key))).collect()))
    }

    /// Returns where a setting came from.
    pub fn of(&self, key: &str) -> Origin {
        let found = self.0.iter().find(|(known, _)| *known == key);
        found.map_or(Origin::Default, |(_, origin)| *origin)
    }

    /// Returns the settings that somebody set.
    pub fn set(&self) -> impl Iterator<Item = &'static str> {
        let set = self
            .0
            .iter()
            .filter(|(_, origin)| *origin != Origin::Default);
        set.map(|(key, _)| *key)
    }
}

/// Returns the settings that a run uses, by name, secrets hidden.
pub fn rows(settings: &RunSettings) -> Vec<(&'static str, String)> {
    let shared = &settings.shared;
    let mut rows = vec![
        ("network", shared.network.to_string()),
        ("source", settings.source.name().to_owned()),
    ];
    match &settings.source {
        SourceSettings::P2p(p2p) => p2p_rows(p2p, &mut rows),
        SourceSettings::Rest(rest) => {
            rows.push(("rest_url", rest.url.to_string()));
            rows.push(("rest_connections", rest.connections.to_string()));
        }
        SourceSettings::Rpc(node) => node_rows(node, &mut rows),
        SourceSettings::Blocks(path) => rows.push(("blocks", path.display().to_string())),
    }
    let identity = match &shared.identity {
        IdentitySource::Anonymous => format!("{NONE}: calls are anonymous"),
        IdentitySource::File(path) => path.display().to_string(),
        IdentitySource::Text(_) => HIDDEN.to_owned(),
    };
    let root_key = match shared.fetch_root_key {
        None => "by the host of replica_url".to_owned(),
        Some(fetch) => fetch.to_string(),
    };
    let give_up = settings.give_up_after;
    let address = settings.http.address;
    rows.extend([
        ("state_folder", settings.state.folder.display().to_string()),
        ("replica_url", without_password(&shared.replica_url)),
        ("canister", shared.canister.to_text()),
        ("identity_pem", identity),
        ("fetch_root_key", root_key),
        ("once", (settings.until == Until::Synced).to_string()),
        (
            "give_up_after",
            give_up.map_or(0, |limit| limit.as_secs()).to_string(),
        ),
        ("pushes_max", settings.pushes_max.to_string()),
        ("message_bytes_max", settings.message_bytes_max.to_string()),
        ("read_ahead_bytes", settings.read_ahead_bytes.to_string()),
        ("witness_depth", settings.witness_depth.to_string()),
        (
            "metrics_address",
            address.map_or_else(|| NONE.to_owned(), |address| address.to_string()),
        ),
        (
            "healthy_lag_blocks",
            settings.http.healthy_lag_blocks.to_string(),
        ),
        (
            "healthy_lag_seconds",
            settings.http.healthy_lag.as_secs().to_string(),
        ),
        ("log_format", log_format(shared.log_format).to_owned()),
        ("log_level", shared.log_level.clone()),
        ("progress", progress(shared.progress).to_owned()),
    ]);
    rows
}

fn p2p_rows(p2p: &P2pSettings, rows: &mut Vec<(&'static str, String)>) {
    let peers: Vec<String> = p2p.peers.iter().map(ToString::to_string).collect();
    let peers = if peers.is_empty() {
        NONE.to_owned()
    } else {
        peers.join(", ")
    };
    let proxy = p2p.proxy.as_ref();
    let work = p2p.minimum_chain_work.to_string();
    let digits = work.trim_start_matches('0');
    rows.extend([
        ("peers", peers),
        ("only_peers", p2p.only_peers.to_string()),
        ("outbound_peers", p2p.outbound_peers.to_string()),
        ("v2_transport", p2p.v2_transport.to_string()),
        (
            "proxy",
            proxy.map_or_else(|| NONE.to_owned(), ToString::to_string),
        ),
        ("onion", p2p.onion.to_string()),
        (
            "minimum_chain_work",
            if digits.is_empty() { "0" } else { digits }.to_owned(),
        ),
        ("block_memory_bytes", p2p.block_memory_bytes.to_string()),
    ]);
}

fn node_rows(node: &NodeSettings, rows: &mut Vec<(&'static str, String)>) {
    rows.push(("node_url", node.url.to_string()));
    match &node.credentials {
        Credentials::Cookie(path) => rows.push(("node_cookie", path.display().to_string())),
        Credentials::Password { user, .. } => {
            rows.push(("node_user", user.clone()));
            rows.push(("node_password", HIDDEN.to_owned()));
        }
    }
}

fn without_password(url: &Url) -> String {
    if url.password().is_none() && url.username().is_empty() {
        return url.to_string();
    }
    let mut shown = url.clone();
    // Both fail only for URLs that cannot have them.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    format!("{shown} with name and password {HIDDEN}")
}

const fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}

const fn progress(mode: ProgressMode) -> &'static str {
    match mode {
        ProgressMode::Auto => "auto",
        ProgressMode::Always => "always",
        ProgressMode::Never => "never",
    }
}
