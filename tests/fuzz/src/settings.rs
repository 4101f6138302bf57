//! Settings files.

use std::fs;

use clap::Parser;
use millrace_adapter::cli::{Cli, Command};
use millrace_adapter::config::run_settings;

/// A TOML file of settings, which is taken or refused with a reason.
pub fn config(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("adapter.toml");
    fs::write(&path, data).expect("our folder");
    let path = path.to_str().expect("a plain path");
    let cli = Cli::try_parse_from(["adapter", "run", "--config", path]).expect("good flags");
    let Command::Run(args) = cli.command else {
        unreachable!("`run` was asked for");
    };
    if let Err(error) = run_settings(args) {
        assert!(!error.to_string().is_empty());
    }
}
