//! Where the adapter keeps what spares work at the next start.

use std::ffi::OsString;
use std::path::PathBuf;

use millrace_core::Network;

use super::file::File;
use super::given_path;
use crate::cli::SourceArgs;

/// Where state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// The folder, of one network only. It need not exist yet.
    pub folder: PathBuf,
}

pub(super) fn merge(args: &SourceArgs, file: &File, network: Network) -> StateSettings {
    let named = args.state_folder.clone().or(file.state_folder.clone());
    StateSettings {
        folder: given_path(named)
            .unwrap_or_else(|| default_folder(|name| std::env::var_os(name), network)),
    }
}

/// Returns the folder for state by the conventions of the system: what systemd's `StateDirectory=` made, the
/// user's by the XDG base directory specification, or the machine's.
pub(super) fn default_folder(
    variable: impl Fn(&str) -> Option<OsString>,
    network: Network,
) -> PathBuf {
    let folder = |name: &str| {
        let value = variable(name).filter(|value| !value.is_empty())?;
        // systemd separates several by colons; ours names one.
        let first = std::env::split_paths(&value).next()?;
        first.is_absolute().then_some(first)
    };
    folder("STATE_DIRECTORY")
        .or_else(|| folder("XDG_STATE_HOME").map(|state| state.join("millrace")))
        .or_else(|| folder("HOME").map(|home| home.join(".local/state/millrace")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/millrace"))
        .join(network.to_string())
}
