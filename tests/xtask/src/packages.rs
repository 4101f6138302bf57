//! Installs what the system lacks: Debian packages as root or through sudo, npm packages into the cache.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::process::{self, in_path};
use crate::workspace::cache_dir;

/// Whether this process has refreshed apt's package lists: once is enough.
static APT_REFRESHED: AtomicBool = AtomicBool::new(false);

/// Installs Debian packages; `purpose` completes the sentence "needed to ..." in the error.
///
/// # Errors
/// When this is no Debian-like system or there is no way to become root without a password; the
/// message names the packages to install by hand.
pub fn install_debian(packages: &[&str], purpose: &str) -> Result<()> {
    let wanted = packages.join(" ");
    let help = format!("packages needed to {purpose}: {wanted}");
    if in_path("apt-get").is_none() {
        bail!("{help}\nThis system has no apt-get: install them, or what it calls them, by hand");
    }
    let sudo = if is_root() {
        None
    } else if process::output(process::command("sudo").args(["-n", "true"])).is_ok() {
        Some("sudo")
    } else {
        bail!("{help}\nRun `sudo apt-get install {wanted}`, then start this again");
    };
    let apt = |arguments: &[&str]| {
        let mut command = process::command(sudo.unwrap_or("apt-get"));
        if sudo.is_some() {
            command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").args([
            "-y",
            "-q",
            "--no-install-recommends",
        ]);
        process::run(command.args(arguments)).with_context(|| help.clone())
    };
    if !APT_REFRESHED.swap(true, Ordering::Relaxed) {
        apt(&["update"])?;
    }
    apt(&[&["install"], packages].concat())
}

/// Makes sure that every named program is in `PATH`, installing the packages when one is not.
///
/// # Errors
/// Those of [`install_debian`], or a program that the packages did not bring.
pub fn require_programs(programs: &[&str], packages: &[&str], purpose: &str) -> Result<()> {
    let missing = || programs.iter().find(|program| in_path(program).is_none());
    if let Some(program) = missing() {
        eprintln!("{program} is not installed, and is needed to {purpose}");
        install_debian(packages, purpose)?;
    }
    match missing() {
        None => Ok(()),
        Some(program) => bail!(
            "{program} is still missing after installing {}",
            packages.join(" ")
        ),
    }
}

/// Returns the folder of an npm package of exactly this version, fetching it into the cache at first use.
///
/// # Errors
/// When npm is missing or cannot get the package.
pub fn npm_package(name: &str, version: &str) -> Result<PathBuf> {
    let prefix = cache_dir()?
        .join("npm")
        .join(format!("{}-{version}", name.replace(['@', '/'], "_")));
    let package = prefix.join("node_modules").join(name);
    if installed_version(&package).as_deref() == Some(version) {
        return Ok(package);
    }
    if in_path("npm").is_none() {
        bail!("npm is not installed (Debian packages: nodejs npm)");
    }
    std::fs::create_dir_all(&prefix)
        .with_context(|| format!("cannot create {}", prefix.display()))?;
    let mut npm = process::command("npm");
    npm.args([
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ])
    .arg(&prefix);
    process::run(npm.arg(format!("{name}@{version}")))?;
    match installed_version(&package) {
        Some(found) if found == version => Ok(package),
        found => bail!(
            "npm installed {name} {found:?} in {}, not {version}",
            prefix.display()
        ),
    }
}

fn installed_version(package: &Path) -> Option<String> {
    let manifest = std::fs::read(package.join("package.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
    Some(manifest.get("version")?.as_str()?.to_owned())
}

fn is_root() -> bool {
    process::output(process::command("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
