//! Keeps canisters that took in a chain, so that measuring again what is asked of them is quick.
//!
//! ```text
//! <cache>/<workload>-<hash of module, chain and format>/state/          as millrace-subnet writes it
//!                                                      /prepared.json  rows and sample
//! ```

use std::fs;
use std::path::PathBuf;
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

/// One workload's place.
pub struct Cache {
    /// Absent when the cache is not to be used.
    folder: Option<PathBuf>,
    /// Begins the names of this workload's folders.
    prefix: String,
}

impl Cache {
    /// The place of a workload on `chain` with this module.
    pub fn new(bench: &Bench, name: &str, chain: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(FORMAT.to_le_bytes());
        hash.update(&bench.module);
        hash.update(chain.as_bytes());
        let hash = hex::encode(&hash.finalize()[..8]);
        let prefix = format!("{name}-");
        let folder = bench.cache.as_ref();
        Self {
            folder: folder.map(|cache| cache.join(format!("{prefix}{hash}"))),
            prefix,
        }
    }

    /// Reads back what was kept, if anything was.
    ///
    /// # Errors
    /// What is there cannot be read.
    pub fn load(&self, module: &Arc<[u8]>) -> Result<Option<(Canister, Prepared)>> {
        let Some(folder) = self.folder.as_ref().filter(|folder| folder.is_dir()) else {
            return Ok(None);
        };
        let read = || {
            let text = fs::read(folder.join("prepared.json"))?;
            let prepared: Prepared = serde_json::from_slice(&text)?;
            let canister = Canister::load(&folder.join("state"), module)?;
            anyhow::Ok((canister, prepared))
        };
        let kept = read()
            .with_context(|| format!("{} cannot be read back; delete it", folder.display()))?;
        Ok(Some(kept))
    }

    /// Keeps a canister, and deletes what was kept for this workload with other modules.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, canister: &Canister, prepared: &Prepared) -> Result<()> {
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
        fs::create_dir_all(unfinished.join("state"))?;
        canister.save(&unfinished.join("state"))?;
        let text = serde_json::to_vec(prepared)?;
        fs::write(unfinished.join("prepared.json"), text)?;
        fs::rename(&unfinished, folder).with_context(|| format!("cannot keep {}", folder.display()))
    }
}
