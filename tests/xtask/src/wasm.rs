//! `cargo xtask wasm`: from the canister packages to installable modules in `target/wasm`.
//!
//! For each canister: compile, optimise, drop what only debuggers read, write its Candid contract
//! into the `icp:public candid:service` section, compress. The same sources and tools give the same
//! bytes: paths of this machine are mapped away and the archive carries no time.

mod build;
mod reproducible;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::metadata::Metadata;
use crate::shrink::BINARYEN;
use crate::workspace::Workspace;
use build::{Builder, Report};

const CANISTER: &str = "millrace-canister";
const CONTRACT: &str = "candid/btc.did";
const TEST_CANISTERS: &str = "tests/canisters";

/// What `wasm` builds and checks.
#[derive(Args, Default)]
pub struct Options {
    /// Build only this package (default: the canister and everything in tests/canisters)
    #[arg(long, short, value_name = "PACKAGE")]
    package: Option<String>,
    /// Build once more from a copy of the sources in another folder, and fail unless the bytes are equal
    #[arg(long)]
    check_reproducible: bool,
    /// Fail when a module cannot be optimised, instead of making a larger and slower one
    #[arg(long)]
    require_optimised: bool,
}

impl Options {
    /// Builds every module, optimised: what the tests say about budgets and sizes is of no worth for
    /// another one.
    pub fn tests() -> Self {
        Self {
            require_optimised: true,
            ..Self::default()
        }
    }

    /// Builds only the canister people deploy.
    pub fn canister() -> Self {
        Self {
            package: Some(CANISTER.to_owned()),
            ..Self::default()
        }
    }

    /// Builds only that, optimised: its counts are compared with those of optimised modules.
    pub fn measured() -> Self {
        Self {
            require_optimised: true,
            ..Self::canister()
        }
    }
}

/// A package whose Wasm module can be installed.
struct Canister {
    package: String,
    /// File name of the module, without its ending.
    name: String,
    /// Candid contract the module carries, relative to the repository; test canisters may have none.
    contract: Option<PathBuf>,
}

/// Builds what the options ask for.
///
/// # Errors
/// When a tool is missing and cannot be installed, the code does not compile, or the contract cannot
/// be read.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut canisters = canisters(workspace)?;
    if let Some(name) = &options.package {
        canisters.retain(|canister| canister.package == *name);
        if canisters.is_empty() {
            bail!(
                "no canister package is called {name}: there are {CANISTER} and those in {TEST_CANISTERS}"
            );
        }
    }
    let builder = Builder::new(workspace)?;
    for canister in &canisters {
        let report = builder.build(canister)?;
        print(workspace, &report);
        if options.require_optimised {
            require_optimised(&canister.package, &report)?;
        }
        if options.check_reproducible {
            reproducible::check(workspace, canister, &report)?;
        }
    }
    Ok(())
}

fn canisters(workspace: &Workspace) -> Result<Vec<Canister>> {
    let contract = Some(PathBuf::from(CONTRACT));
    let mut canisters = vec![Canister {
        package: CANISTER.to_owned(),
        name: "millrace".to_owned(),
        contract,
    }];
    for package in Metadata::load(workspace)?.packages {
        let Ok(folder) = package.folder.strip_prefix(workspace.path(TEST_CANISTERS)) else {
            continue;
        };
        let folder = PathBuf::from(TEST_CANISTERS).join(folder);
        let contract = contract_in(workspace, &folder)?;
        canisters.push(Canister {
            name: package.name.clone(),
            package: package.name,
            contract,
        });
    }
    Ok(canisters)
}

/// Returns the one `.did` file of a test canister's folder, if it has one.
fn contract_in(workspace: &Workspace, folder: &PathBuf) -> Result<Option<PathBuf>> {
    let entries = fs::read_dir(workspace.path(folder))
        .with_context(|| format!("cannot list {}", folder.display()))?;
    let names = entries.filter_map(|entry| Some(PathBuf::from(entry.ok()?.file_name())));
    let contracts: Vec<_> = names
        .filter(|name| name.extension().is_some_and(|ending| ending == "did"))
        .collect();
    match &contracts[..] {
        [] => Ok(None),
        [only] => Ok(Some(folder.join(only))),
        several => bail!(
            "{} holds {} .did files: a canister has one contract",
            folder.display(),
            several.len()
        ),
    }
}

fn require_optimised(package: &str, report: &Report) -> Result<()> {
    if !report.is_optimised {
        bail!(
            "the module of {package} is {}; see what wasm-opt lacks there, or put Binaryen {BINARYEN} in PATH",
            report.optimiser
        );
    }
    Ok(())
}

fn print(workspace: &Workspace, report: &Report) {
    let state = if report.unchanged {
        "unchanged"
    } else {
        "built"
    };
    println!(
        "{} ({state}, {})",
        workspace.shown(&report.module),
        report.optimiser
    );
    let [compiled, finished, compressed] = [
        report.compiled_bytes,
        report.finished_bytes,
        report.compressed_bytes,
    ];
    println!("  compiled {compiled} bytes, finished {finished}, gzip {compressed}");
    println!("  sha256      {}", report.module_sha256);
    println!("  sha256 (gz) {}", report.archive_sha256);
}

#[cfg(test)]
mod tests {
    use super::{Report, require_optimised};
    use std::path::PathBuf;

    #[test]
    fn a_module_nothing_optimised_is_refused_where_tests_need_an_optimised_one() {
        let report = |optimiser: &str, is_optimised| Report {
            module: PathBuf::new(),
            module_sha256: String::new(),
            archive_sha256: String::new(),
            compiled_bytes: 0,
            finished_bytes: 0,
            compressed_bytes: 0,
            optimiser: optimiser.to_owned(),
            is_optimised,
            unchanged: false,
        };
        require_optimised("millrace", &report("optimised by Binaryen", true)).expect("optimised");
        let error = require_optimised("millrace", &report("NOT optimised", false));
        let error = error.expect_err("not optimised").to_string();
        assert!(error.contains("millrace is NOT optimised"), "{error}");
    }
}
