//! Keeps what takes long to make: canisters that took in a chain, and stable memories.
//!
//! ```text
//! <cache>/<workload>-<hash of module, chain and format>/state/          as millrace-subnet writes it
//!                                                      /prepared.json  rows and sample
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::canister::Canister;
use crate::reads::Rows;
use crate::sample::Sample;
use crate::workload::Bench;

/// Changes when rows of taking in are computed in another way, or the generator makes other blocks.
const FORMAT: u32 = 1;

/// What was found while a chain was taken in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// Rows of taking in.
    pub rows: Rows,
    /// What to ask for.
    pub sample: Sample,
}

/// One workload's place among what is kept.
pub struct Place {
    /// Absent when nothing is to be kept.
    folder: Option<PathBuf>,
    /// Begins the names of this workload's folders.
    prefix: String,
}

impl Place {
    /// The place of what `name` makes from that which has this hash.
    pub fn new(cache: Option<&Path>, name: &str, hash: &[u8]) -> Self {
        let hash = hex::encode(&hash[..hash.len().min(8)]);
        let prefix = format!("{name}-");
        Self {
            folder: cache.map(|cache| cache.join(format!("{prefix}{hash}"))),
            prefix,
        }
    }

    /// Reads back what was kept, if anything was.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn read<T>(&self, read: impl FnOnce(&Path) -> Result<T>) -> Result<Option<T>> {
        let Some(folder) = self.folder.as_ref().filter(|folder| folder.is_dir()) else {
            return Ok(None);
        };
        let kept = read(folder)
            .with_context(|| format!("{} cannot be read back; delete it", folder.display()))?;
        Ok(Some(kept))
    }

    /// Lets `write` fill a folder, and deletes what was kept for this workload before.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn keep(&self, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let parent = folder
            .parent()
            .context("a workload's folder lies in another")?;
        fs::create_dir_all(parent)?;
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with(&self.prefix)
            {
                fs::remove_dir_all(entry.path())?;
            }
        }
        // Whole or not at all: an interrupted run leaves a folder of another name.
        let unfinished = folder.with_extension("unfinished");
        fs::create_dir_all(&unfinished)?;
        write(&unfinished).with_context(|| format!("cannot write {}", unfinished.display()))?;
        fs::rename(&unfinished, folder).with_context(|| format!("cannot keep {}", folder.display()))
    }
}

/// The place of a canister that took in a chain.
pub struct Cache(Place);

impl Cache {
    /// The place of a workload on `chain` with this module.
    pub fn new(bench: &Bench, name: &str, chain: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(FORMAT.to_le_bytes());
        hash.update(&bench.module);
        hash.update(chain.as_bytes());
        Self(Place::new(bench.cache.as_deref(), name, &hash.finalize()))
    }

    /// Reads back what was kept, if anything was.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn load(&self, module: &Arc<[u8]>) -> Result<Option<(Canister, Prepared)>> {
        self.0.read(|folder| {
            let text = fs::read(folder.join("prepared.json"))?;
            let prepared: Prepared = serde_json::from_slice(&text)?;
            let canister = Canister::load(&folder.join("state"), module)?;
            Ok((canister, prepared))
        })
    }

    /// Keeps a canister, and deletes what was kept for this workload with other modules.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, canister: &Canister, prepared: &Prepared) -> Result<()> {
        self.0.keep(|folder| {
            fs::create_dir_all(folder.join("state"))?;
            canister.save(&folder.join("state"))?;
            Ok(fs::write(
                folder.join("prepared.json"),
                serde_json::to_vec(prepared)?,
            )?)
        })
    }
}
