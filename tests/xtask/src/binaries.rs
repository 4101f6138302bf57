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
/// Measures the canister's module.
pub const BENCH_CANISTER: Program = Program {
    package: "millrace-bench",
    name: "bench-canister",
};
/// Measures the adapter's sources.
pub const BENCH_ADAPTER: Program = Program {
    package: "millrace-tests",
    name: "bench-adapter",
};
/// Runs the canister's module through seeded schedules.
pub const SIM_WASM: Program = Program {
    package: "millrace-sim-wasm",
    name: "millrace-sim-wasm",
};
/// The main job in one go.
pub const DEMO: Program = Program {
    package: "millrace-tests",
    name: "demo",
};

/// Builds `programs` and returns their files, in that order.
///
/// Cargo chooses the features of shared dependencies from all packages it is asked for, and those of
/// dependencies of tests only when it is asked for targets that need them. `--workspace` and
/// `--examples` (there is none) make both choices those of `cargo xtask test`: otherwise each of the
/// two commands would compile most dependencies again, the largest ones included.
///
/// # Errors
/// When one does not compile or its package does not bring it, or this system is not Linux.
pub fn build<const N: usize>(
    workspace: &Workspace,
    programs: [Program; N],
) -> Result<[PathBuf; N]> {
    require_linux()?;
    let mut cargo = process::cargo(workspace.root());
    cargo.args(["build", "--workspace", "--examples"]);
    for program in programs {
        cargo.args(["--bin", program.name]);
    }
    process::run(&mut cargo)?;
    locate(workspace, programs)
}

/// Fails on systems the local replica does not run on, before anything is compiled for it.
///
/// # Errors
/// When this is not Linux.
pub fn require_linux() -> Result<()> {
    supports(std::env::consts::OS)
}

/// The replica keeps the memories of canisters in files without a name (memfd), which only Linux has.
fn supports(system: &str) -> Result<()> {
    if system != "linux" {
        bail!(
            "the local replica needs Linux, and this is {system}: run this in a Linux container or \
             virtual machine, or under WSL 2 on Windows"
        );
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::supports;

    #[test]
    fn systems_without_a_replica_are_named_with_a_way_out() {
        assert!(supports("linux").is_ok());
        for system in ["macos", "windows"] {
            let error = supports(system).expect_err("no replica there").to_string();
            assert!(error.contains(system), "{error}");
            assert!(error.contains("Linux container"), "{error}");
        }
    }
}
