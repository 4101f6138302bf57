//! Builds host programs of the workspace and says where they lie.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::metadata::Metadata;
use crate::process;
use crate::workspace::Workspace;

/// A program of the workspace: its package and its name.
#[derive(Clone, Copy)]
pub struct Program {
    package: &'static str,
    name: &'static str,
}

/// Serves the PocketIC protocol to tests.
pub const POCKET_IC_SERVER: Program = Program {
    package: "millrace-replica",
    name: "pocket-ic-server",
};
/// The local replica for people.
pub const REPLICA: Program = Program {
    package: "millrace-replica",
    name: "replica",
};
/// Fetches blocks and feeds a canister.
pub const ADAPTER: Program = Program {
    package: "millrace-adapter",
    name: "adapter",
};
/// The main job in one go.
pub const DEMO: Program = Program {
    package: "millrace-tests",
    name: "demo",
};

/// Builds `programs` and returns their files, in that order.
///
/// # Errors
/// When one does not compile or its package does not bring it.
pub fn build<const N: usize>(
    workspace: &Workspace,
    programs: [Program; N],
) -> Result<[PathBuf; N]> {
    let mut cargo = process::cargo(workspace.root());
    cargo.args(["build", "--bins"]);
    for package in programs.iter().map(|program| program.package) {
        cargo.args(["--package", package]);
    }
    process::run(&mut cargo)?;
    locate(workspace, programs)
}

/// Returns the files of `programs`, which were built before.
///
/// # Errors
/// When one is not there.
pub fn locate<const N: usize>(
    workspace: &Workspace,
    programs: [Program; N],
) -> Result<[PathBuf; N]> {
    let folder = Metadata::load(workspace)?.target_dir.join("debug");
    let files = programs
        .map(|program| folder.join(format!("{}{}", program.name, std::env::consts::EXE_SUFFIX)));
    for (file, program) in files.iter().zip(&programs) {
        if !file.is_file() {
            bail!(
                "package {} did not bring {}: has its [[bin]] been renamed?",
                program.package,
                file.display()
            );
        }
    }
    Ok(files)
}
