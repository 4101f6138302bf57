//! What can be wrong with settings.

use crate::node::NodeError;
use crate::sink::agent::AgentSinkError;

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
    /// A peer or a proxy is no address.
    #[error("{name} {text:?} is no address: {reason}; give one like {example}")]
    BadAddress {
        /// The setting.
        name: &'static str,
        /// What was given.
        text: String,
        /// Why not.
        reason: String,
        /// One that is.
        example: &'static str,
    },
    /// A work is no number.
    #[error(
        "minimum_chain_work {text:?} is no work; give 1 to 64 hexadecimal digits, as `chainwork` of \
         getblockchaininfo, or 0 for none"
    )]
    BadWork {
        /// What was given.
        text: String,
    },
    /// A setting is of no use without another one, or with it.
    #[error("{given} is set, but {but}: {remedy}")]
    Contradiction {
        /// What is set.
        given: String,
        /// What it does not go with.
        but: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}
