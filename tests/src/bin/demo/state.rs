//! The demo's folder: the replica's state, two keys, logs, and which canister was deployed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candid::Principal;
use ic_agent::Identity;
use ic_agent::identity::BasicIdentity;
use ic_ed25519::{PrivateKey, PrivateKeyFormat};
use serde::{Deserialize, Serialize};

/// Names what a folder is, so that `--fresh` deletes nothing else.
const MARKER: &str = "demo.json";

/// What an earlier run did.
#[derive(Serialize, Deserialize, Default)]
pub struct Deployed {
    /// The canister, once it was created.
    pub canister: Option<Principal>,
}

/// The demo's folder.
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens the folder or makes it; `fresh` deletes what it holds first.
    ///
    /// # Errors
    /// The folder cannot be used, or holds something else than a demo's state.
    pub fn open(path: &Path, fresh: bool) -> Result<Self> {
        let marker = path.join(MARKER);
        let occupied = path
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_some());
        if occupied && !marker.is_file() {
            bail!(
                "{} is not empty and holds no {MARKER}, so it is no demo's folder; choose another --state or delete it",
                path.display()
            );
        }
        if occupied && fresh {
            fs::remove_dir_all(path)
                .with_context(|| format!("cannot delete {}", path.display()))?;
        }
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot find {}", path.display()))?;
        let state = Self { path };
        if !state.path.join(MARKER).is_file() {
            state.remember(&Deployed::default())?;
        }
        Ok(state)
    }

    /// A file or folder in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier run did.
    ///
    /// # Errors
    /// The record is unreadable.
    pub fn deployed(&self) -> Result<Deployed> {
        let path = self.file(MARKER);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged; start over with --fresh", path.display()))
    }

    /// Records what this run did.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn remember(&self, deployed: &Deployed) -> Result<()> {
        let path = self.file(MARKER);
        let text = serde_json::to_vec_pretty(deployed).context("the record is plain data")?;
        let partial = self.file("demo.json.partial");
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// The key called `name`, made at first use: its file and the identity.
    ///
    /// # Errors
    /// The file cannot be written, or holds no Ed25519 key.
    pub fn identity(&self, name: &str) -> Result<(PathBuf, BasicIdentity)> {
        let path = self.file(&format!("{name}.pem"));
        if !path.exists() {
            let pem = PrivateKey::generate().serialize_pkcs8_pem(PrivateKeyFormat::Pkcs8v2);
            fs::write(&path, pem).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let identity = BasicIdentity::from_pem_file(&path).with_context(|| {
            format!(
                "{} holds no Ed25519 key; start over with --fresh",
                path.display()
            )
        })?;
        Ok((path, identity))
    }
}

/// The principal of an identity.
///
/// # Errors
/// The identity has none.
pub fn principal(identity: &BasicIdentity) -> Result<Principal> {
    identity
        .sender()
        .map_err(|error| anyhow::anyhow!("a key without a principal: {error}"))
}
