//! `cargo xtask bitcoind`: Bitcoin Core's `bitcoind` and `bitcoin-cli` for differential tests.
//!
//! Core's sources come from the crates.io package `libbitcoinkernel-sys`, which carries the whole
//! tree but the wallet. The programs are built once and kept in the user's cache.

mod trial;

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::packages::{install_debian, require_programs};
use crate::process;
use crate::workspace::cache_dir;

const CORE: &str = "31.99";
const CRATE: &str = "libbitcoinkernel-sys";
const CRATE_VERSION: &str = "0.4.1";
const PROGRAMS: [&str; 2] = ["bitcoind", "bitcoin-cli"];

const CMAKE_OPTIONS: [&str; 11] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_DAEMON=ON",
    "-DBUILD_CLI=ON",
    "-DENABLE_WALLET=OFF",
    "-DENABLE_IPC=OFF",
    "-DBUILD_TESTS=OFF",
    "-DBUILD_BENCH=OFF",
    "-DBUILD_TX=OFF",
    "-DBUILD_UTIL=OFF",
    "-DWITH_EMBEDDED_ASMAP=OFF",
    "-GNinja",
];

/// How the build may burden the machine.
#[derive(Args, Default)]
pub struct Options {
    /// Compile this many files at a time (default: one for each processor)
    #[arg(long, short, value_name = "N")]
    jobs: Option<u16>,
}

/// Prints the path of `bitcoind`, which is `BITCOIND_EXE` when set, and of `bitcoin-cli`, building
/// them if they are not in the cache.
///
/// # Errors
/// When `BITCOIND_EXE` names no file, or the build fails: its own output says why.
pub fn run(options: &Options) -> Result<()> {
    let bitcoind = find_or_build(options)?;
    println!("{}", bitcoind.display());
    if env::var_os("BITCOIND_EXE").is_none() {
        println!("{}", bitcoind.with_file_name(PROGRAMS[1]).display());
    }
    Ok(())
}

/// Returns `bitcoind`, built if it is neither named nor there.
///
/// # Errors
/// When `BITCOIND_EXE` names no file, or the build fails: its own output says why.
pub fn find_or_build(options: &Options) -> Result<PathBuf> {
    if let Some(chosen) = env::var_os("BITCOIND_EXE") {
        let path = PathBuf::from(&chosen);
        if !path.is_file() {
            bail!(
                "BITCOIND_EXE names {}, which is no file: correct it, or unset it to build one",
                path.display()
            );
        }
        return Ok(path);
    }
    let folder = cache_dir()?.join(format!("bitcoind-{CORE}"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let finished = PROGRAMS.map(|name| folder.join("bin").join(name));
    if !finished.iter().all(|path| path.is_file()) {
        let _lock = lock(&folder)?;
        // Another process may have built them while this one waited for the lock.
        if !finished.iter().all(|path| path.is_file()) {
            build(&folder, options)?;
        }
    }
    let [bitcoind, _] = finished;
    Ok(bitcoind)
}

/// Returns `bitcoind` if there is one: what `BITCOIND_EXE` names, or the one that was built.
pub fn find() -> Option<PathBuf> {
    let chosen = env::var_os("BITCOIND_EXE").map(PathBuf::from);
    let built = || {
        Some(
            cache_dir()
                .ok()?
                .join(format!("bitcoind-{CORE}/bin/bitcoind")),
        )
    };
    chosen.or_else(built).filter(|path| path.is_file())
}

/// Takes the cache's lock, which the operating system releases when the process ends in any way.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!(
            "waiting for another build of bitcoind to finish ({} is locked)",
            path.display()
        );
        file.lock()
            .with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

fn build(folder: &Path, options: &Options) -> Result<()> {
    eprintln!("building Bitcoin Core {CORE}: about 6 minutes on 2 cores, once for this user");
    install_tools()?;
    let source = source(folder)?;
    let build = folder.join("build");
    let mut cmake = process::command("cmake");
    cmake
        .arg("-S")
        .arg(&source)
        .arg("-B")
        .arg(&build)
        .args(CMAKE_OPTIONS);
    process::run(&mut cmake).context(
        "Bitcoin Core's build needs cmake, ninja, boost and libevent with their headers",
    )?;
    let mut ninja = process::command("cmake");
    ninja
        .arg("--build")
        .arg(&build)
        .arg("--target")
        .args(PROGRAMS);
    if let Some(jobs) = options.jobs {
        ninja.arg("--parallel").arg(jobs.to_string());
    }
    process::run(&mut ninja)?;
    let draft = folder.join("bin.draft");
    let finished = folder.join("bin");
    for old in [&draft, &finished] {
        if old.exists() {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
    }
    fs::create_dir(&draft).with_context(|| format!("cannot create {}", draft.display()))?;
    for name in PROGRAMS {
        let built = build.join("bin").join(name);
        fs::copy(&built, draft.join(name))
            .with_context(|| format!("the build brought no {}", built.display()))?;
    }
    let version = process::output(process::command(draft.join("bitcoind")).arg("--version"))?;
    if !version.contains(&format!("v{CORE}.")) {
        bail!(
            "the bitcoind built calls itself {:?}, not {CORE}",
            version.lines().next().unwrap_or_default()
        );
    }
    trial::run(&draft, folder)?;
    fs::rename(&draft, &finished)
        .with_context(|| format!("cannot create {}", finished.display()))?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}

/// Installs compilers and headers where Debian's packages can; elsewhere cmake says what it misses.
fn install_tools() -> Result<()> {
    let purpose = "build Bitcoin Core";
    require_programs(
        &["cmake", "ninja", "c++"],
        &["cmake", "ninja-build", "g++"],
        purpose,
    )?;
    let headers = [
        "/usr/include/boost/version.hpp",
        "/usr/include/event2/event.h",
    ];
    if process::in_path("apt-get").is_some()
        && !headers.iter().all(|header| Path::new(header).is_file())
    {
        install_debian(&["libboost-dev", "libevent-dev", "pkg-config"], purpose)?;
    }
    Ok(())
}

/// Returns the folder of Core's sources, fetched by cargo as a dependency of a package made for that.
fn source(folder: &Path) -> Result<PathBuf> {
    let package = folder.join("fetch");
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [lib]\npath = \"lib.rs\"\n\n[dependencies]\n{CRATE} = \"={CRATE_VERSION}\"\n\n[workspace]\n"
    );
    fs::create_dir_all(&package).with_context(|| format!("cannot create {}", package.display()))?;
    for (name, content) in [("Cargo.toml", manifest.as_str()), ("lib.rs", "")] {
        let write = |path: &Path| File::create(path)?.write_all(content.as_bytes());
        write(&package.join(name))
            .with_context(|| format!("cannot write {name} in {}", package.display()))?;
    }
    process::run(process::cargo(&package).arg("fetch"))?;
    let metadata =
        process::output(process::cargo(&package).args(["metadata", "--format-version", "1"]))?;
    let metadata: Value =
        serde_json::from_str(&metadata).context("cargo metadata printed no JSON")?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|package| package["name"] == CRATE)
        .find_map(|package| package["manifest_path"].as_str());
    let crate_dir = manifest
        .and_then(|path| Path::new(path).parent())
        .context("cargo did not fetch the sources")?;
    let source = crate_dir.join("bitcoin");
    if !source.join("CMakeLists.txt").is_file() {
        bail!(
            "{CRATE} {CRATE_VERSION} has no bitcoin/CMakeLists.txt in {}",
            crate_dir.display()
        );
    }
    Ok(source)
}
