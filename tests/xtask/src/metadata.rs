//! What cargo says about the workspace: packages, their folders and the target folder.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;
use crate::workspace::Workspace;

/// The workspace as `cargo metadata` describes it.
pub struct Metadata {
    /// Folder of host build results; honours `CARGO_TARGET_DIR` and cargo's configuration.
    pub target_dir: PathBuf,
    /// Packages of the workspace, in cargo's order.
    pub packages: Vec<Package>,
}

/// One package of the workspace.
pub struct Package {
    /// Name in its manifest.
    pub name: String,
    /// Folder of its manifest.
    pub folder: PathBuf,
}

impl Metadata {
    /// Asks cargo; costs about 0.1 s and builds nothing.
    ///
    /// # Errors
    /// When a manifest does not parse: cargo's own message is in the error.
    pub fn load(workspace: &Workspace) -> Result<Self> {
        let mut cargo = process::cargo(workspace.root());
        let text = process::output(cargo.args(["metadata", "--no-deps", "--format-version", "1"]))?;
        Self::parse(&text).context("cargo metadata printed something else than expected")
    }

    fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let target_dir = string(&value, "target_directory")?.into();
        let packages = value["packages"].as_array().context("no packages")?;
        let packages = packages.iter().map(|package| {
            let manifest = PathBuf::from(string(package, "manifest_path")?);
            let folder = manifest
                .parent()
                .context("manifest_path without a folder")?
                .to_owned();
            Ok(Package {
                name: string(package, "name")?,
                folder,
            })
        });
        Ok(Self {
            target_dir,
            packages: packages.collect::<Result<_>>()?,
        })
    }
}

fn string(value: &Value, key: &str) -> Result<String> {
    value[key]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no text at {key}"))
}
