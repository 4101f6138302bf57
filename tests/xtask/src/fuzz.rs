//! `cargo xtask fuzz`: builds the fuzz targets with coverage counters and runs them one after the other.
//!
//! LLVM's coverage pass and libFuzzer work with the pinned compiler; a nightly one would only add sanitizers, and
//! the adapter has no unsafe code.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::packages::require_programs;
use crate::process;
use crate::workspace::Workspace;

/// Corpora, findings and the targets themselves.
const FOLDER: &str = "target/fuzz";

const PACKAGE: &str = "millrace-fuzz";

/// Counts edges, traces comparisons, and keeps the checks of a debug build.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions";

/// Longest input, in bytes, unless asked for otherwise.
const MAX_BYTES: u32 = 16_384;

/// Memory at which a target counts as failed, in MB.
const MEMORY_MB: u32 = 2_048;

/// What to fuzz and for how long.
#[derive(Args)]
pub struct Options {
    /// Targets by name; all of them if none is named
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u32,
}

/// Builds and runs.
///
/// # Errors
/// When something does not build, a target is unknown, or a target failed: libFuzzer names the file with the input.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    require_programs(&["c++"], &["g++"], "compile libFuzzer")?;
    let folder = workspace.path(FOLDER);
    let host = process::output(process::command("rustc").args(["--print", "host-tuple"]))?;
    let host = host.trim();
    let mut build = process::cargo(workspace.root());
    build.args([
        "build",
        "--package",
        PACKAGE,
        "--features",
        "programs",
        "--bins",
    ]);
    build.args(["--profile", "sim", "--target", host, "--target-dir"]);
    build.arg(&folder).env("RUSTFLAGS", FLAGS);
    process::run(&mut build)?;
    let programs = folder.join(host).join("sim");
    let seeds = folder.join("seeds");
    process::run(process::command(programs.join("fuzz-seeds")).arg(&seeds))?;
    let all = names(&seeds)?;
    if let Some(unknown) = options.targets.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown}: there are {}", all.join(", "));
    }
    let chosen = if options.targets.is_empty() {
        &all
    } else {
        &options.targets
    };
    for name in chosen {
        eprintln!("\n== {name}");
        let corpus = folder.join("corpus").join(name);
        let found = folder.join("found").join(name);
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut command = process::command(programs.join(format!("fuzz_{name}")));
        command.arg(&corpus).arg(seeds.join(name));
        command.arg(format!("-artifact_prefix={}/", found.display()));
        command.arg(format!("-max_total_time={}", options.seconds));
        command.arg(format!("-max_len={MAX_BYTES}"));
        command.arg(format!("-rss_limit_mb={MEMORY_MB}"));
        command.args(["-timeout=10", "-print_final_stats=1", "-verbosity=1"]);
        process::run(&mut command).with_context(|| {
            format!("target {name} failed: its input is in {}", found.display())
        })?;
    }
    Ok(())
}

/// The names of the folders with seeds, which are those of the targets.
fn names(seeds: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(seeds).with_context(|| format!("cannot list {}", seeds.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
