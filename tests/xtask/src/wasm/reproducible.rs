//! Checks that a module does not depend on where it was built, by building it somewhere else.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Canister;
use super::build::{Builder, Report};
use crate::process;
use crate::workspace::Workspace;

/// Builds `canister` from a copy of the sources in a temporary folder, with nothing compiled before,
/// and compares.
///
/// # Errors
/// When the copy cannot be made or built, or its module differs from the report's.
pub fn check(workspace: &Workspace, canister: &Canister, expected: &Report) -> Result<()> {
    let copy = env::temp_dir().join(format!("millrace-reproducible-{}", std::process::id()));
    let outcome = copy_sources(workspace, &copy).and_then(|()| {
        let builder = Builder::between(
            &copy,
            &copy.join("target/wasm-build"),
            &copy.join("target/wasm"),
        )?;
        builder.build(canister)
    });
    let removed =
        fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()));
    let report = outcome?;
    removed?;
    let files = [
        ("module", &expected.module_sha256, &report.module_sha256),
        ("archive", &expected.archive_sha256, &report.archive_sha256),
    ];
    for (file, here, there) in files {
        if here != there {
            bail!(
                "{} is not reproducible: its {file} is {here} here and {there} built in {}",
                canister.name,
                copy.display()
            );
        }
    }
    println!(
        "  reproducible: the same bytes when built in {}",
        copy.display()
    );
    Ok(())
}

/// Copies what git tracks, or would track, to `copy`.
fn copy_sources(workspace: &Workspace, copy: &Path) -> Result<()> {
    let mut git = process::command("git");
    git.current_dir(workspace.root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    for name in process::output(&mut git)?
        .split('\0')
        .filter(|name| !name.is_empty())
    {
        let (from, to) = (workspace.path(name), copy.join(name));
        // A tracked file may be deleted in the work tree.
        if !from.exists() {
            continue;
        }
        let folder = to.parent().context("a file has a folder")?;
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        fs::copy(&from, &to)
            .with_context(|| format!("cannot copy {name} to {}", copy.display()))?;
    }
    Ok(())
}
