//! Where things are: the repository's root, its build folders and the per-user cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository these commands work on.
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the repository from the package folder cargo names when it runs this program, so that
    /// every command works from any sub-folder.
    ///
    /// # Errors
    /// When the folder is gone, which happens when a copied binary is started by hand.
    pub fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.join("../..");
        let root = root.canonicalize().with_context(|| {
            format!(
                "no repository at {}: start this as `cargo xtask`",
                root.display()
            )
        })?;
        Ok(Self { root })
    }

    /// Returns the folder that holds the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns `path` inside the repository.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Returns the folder of finished Wasm modules. It ignores `CARGO_TARGET_DIR`, because
    /// `dfx.json` and `icp.yaml` name files in it.
    pub fn wasm_dir(&self) -> PathBuf {
        self.path("target/wasm")
    }

    /// Returns the build folder of the Wasm target, apart from the host's because the compiler may
    /// be another one, which would make cargo build everything anew at each change of sides.
    pub fn wasm_build_dir(&self) -> PathBuf {
        self.path("target/wasm-build")
    }

    /// Returns `path` as people read it: relative to the repository where it lies inside.
    pub fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }
}

/// Returns the folder for downloaded and built tools, which outlives `cargo clean`:
/// `$XDG_CACHE_HOME/millrace`, or `~/.cache/millrace`.
///
/// # Errors
/// When neither variable is set.
pub fn cache_dir() -> Result<PathBuf> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("millrace"))
        .context("no folder for built tools: set HOME or XDG_CACHE_HOME to an absolute path")
}
