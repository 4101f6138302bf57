//! Keeps the state of an instance in a folder: whole checkpoints, replaced atomically.
//!
//! ```text
//! DIR/lock                   held by the process that uses the folder
//! DIR/current                JSON: format, version, name of the checkpoint in force
//! DIR/checkpoint-00000007/   replica.json (subnets and their seeds), network/ (millrace-subnet)
//! DIR/partial-…              a checkpoint being written; never loaded, removed at the next start
//! ```
//!
//! A checkpoint is written beside the one in force, made durable, and then named in `current` by a
//! rename. Whatever moment the process dies at, `current` names a complete checkpoint.

use super::certifier::DataCertifier;
use super::{InstanceError, authority_of};
use crate::certification::authority::Authority;
use millrace_subnet::{Network, NetworkError, SubnetSpec};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FORMAT: &str = "millrace-replica-state";
/// Raised whenever the layout of this folder changes; the network's own files carry their own version.
const VERSION: u32 = 1;
/// Largest `current` and `replica.json`; anything bigger is not ours.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Why the state folder cannot be used. The state in it is untouched.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error(
        "the state folder {0} is in use by another replica; stop that one or choose another folder"
    )]
    InUse(PathBuf),
    /// It belongs to another program or version.
    #[error(
        "the state in {path} is of format {found}, this replica reads {FORMAT} version {VERSION}; \
         use the replica that wrote it or choose another folder"
    )]
    Incompatible {
        /// The file that says so.
        path: PathBuf,
        /// Its format and version.
        found: String,
    },
    /// A file is damaged or missing.
    #[error(
        "the state in {path} is damaged: {reason}; restore a copy of the folder or choose another one"
    )]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It has no state although it holds other files.
    #[error("{0} is neither empty nor a state folder of this replica; choose another folder")]
    Foreign(PathBuf),
    /// The network could not be written.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// An opened and locked state folder.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    /// The lock lives as long as any copy of this handle.
    _lock: Arc<File>,
}

#[derive(Serialize, Deserialize)]
struct Current {
    format: String,
    version: u32,
    checkpoint: String,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    /// All subnets, the root first. Their seeds hold the instance's keys.
    subnets: Vec<SubnetSpec>,
}

impl StateDir {
    /// Opens the folder, creating it when absent, takes its lock and removes remains of interrupted
    /// checkpoints.
    ///
    /// # Errors
    /// [`StateDirError`] when the folder cannot be used, is in use, or holds something else.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        fs::create_dir_all(path).map_err(io_error("create", path))?;
        let lock_path = path.join("lock");
        let foreign = !path.join("current").exists() && !lock_path.exists() && !is_empty(path)?;
        if foreign {
            return Err(StateDirError::Foreign(path.to_owned()));
        }
        let lock = File::create(&lock_path).map_err(io_error("create", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(e)) => return Err(io_error("lock", &lock_path)(e)),
        }
        let dir = Self {
            path: path.to_owned(),
            _lock: Arc::new(lock),
        };
        let current = dir.current()?;
        dir.remove_all_but(current.as_deref())?;
        Ok(dir)
    }

    /// Loads the checkpoint in force, or returns `None` when the folder has none yet.
    ///
    /// # Errors
    /// [`InstanceError::StateDir`] when it is damaged or of another version.
    pub fn load(
        &self,
        engine: millrace_vm::Engine,
    ) -> Result<Option<(Network, Arc<Authority>)>, InstanceError> {
        let Some(name) = self.current()? else {
            return Ok(None);
        };
        let checkpoint = self.path.join(name);
        let manifest: Manifest = read_json(&checkpoint.join("replica.json"))?;
        let authority = authority_of(&manifest.subnets)?;
        let certifier = Arc::new(DataCertifier::new(authority.clone()));
        let network = Network::load(&checkpoint.join("network"), engine, certifier)
            .map_err(StateDirError::Network)?;
        Ok(Some((network, authority)))
    }

    /// Writes a checkpoint of the network and puts it in force.
    ///
    /// # Errors
    /// [`StateDirError`]; the previous checkpoint stays in force.
    pub fn write(&self, network: &Network) -> Result<(), StateDirError> {
        let previous = self.current()?;
        let number = previous
            .as_deref()
            .and_then(|name| name.strip_prefix("checkpoint-"))
            .and_then(|digits| digits.parse::<u64>().ok())
            .map_or(1, |number| number.saturating_add(1));
        let name = format!("checkpoint-{number:08}");
        let partial = self.path.join(format!("partial-{number:08}"));
        let complete = self.path.join(&name);
        remove_if_present(&partial)?;
        remove_if_present(&complete)?;
        let network_dir = partial.join("network");
        fs::create_dir_all(&network_dir).map_err(io_error("create", &network_dir))?;
        network.save(&network_dir)?;
        let subnets = network.topology().subnets;
        write_json(&partial.join("replica.json"), &Manifest { subnets })?;
        sync_tree(&partial)?;
        fs::rename(&partial, &complete).map_err(io_error("rename", &partial))?;
        sync_entry(&self.path)?;
        self.put_in_force(&name)?;
        self.remove_all_but(Some(&name))
    }

    fn put_in_force(&self, name: &str) -> Result<(), StateDirError> {
        let temporary = self.path.join("partial-current");
        write_json(
            &temporary,
            &Current {
                format: FORMAT.to_owned(),
                version: VERSION,
                checkpoint: name.to_owned(),
            },
        )?;
        let current = self.path.join("current");
        fs::rename(&temporary, &current).map_err(io_error("replace", &current))?;
        sync_entry(&self.path)
    }

    fn current(&self) -> Result<Option<String>, StateDirError> {
        let path = self.path.join("current");
        if !path.exists() {
            return Ok(None);
        }
        let current: Current = read_json(&path)?;
        if current.format != FORMAT || current.version != VERSION {
            return Err(StateDirError::Incompatible {
                path,
                found: format!("{} version {}", current.format, current.version),
            });
        }
        let plain = current.checkpoint.starts_with("checkpoint-")
            && current
                .checkpoint
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !plain || !self.path.join(&current.checkpoint).is_dir() {
            return Err(StateDirError::Damaged {
                reason: format!("there is no checkpoint {}", current.checkpoint),
                path,
            });
        }
        Ok(Some(current.checkpoint))
    }

    /// Removes checkpoints that are not in force and remains of interrupted ones.
    fn remove_all_but(&self, in_force: Option<&str>) -> Result<(), StateDirError> {
        let entries = fs::read_dir(&self.path).map_err(io_error("list", &self.path))?;
        for entry in entries {
            let entry = entry.map_err(io_error("list", &self.path))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let ours = name.starts_with("checkpoint-") || name.starts_with("partial-");
            if ours && Some(name) != in_force {
                remove_if_present(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn is_empty(path: &Path) -> Result<bool, StateDirError> {
    let mut entries = fs::read_dir(path).map_err(io_error("list", path))?;
    Ok(entries.next().is_none())
}

fn remove_if_present(path: &Path) -> Result<(), StateDirError> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(e)),
        _ => Ok(()),
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, StateDirError> {
    let size = fs::metadata(path).map_err(io_error("read", path))?.len();
    let damaged = |reason: String| StateDirError::Damaged {
        path: path.to_owned(),
        reason,
    };
    if size > MANIFEST_BYTES_MAX {
        return Err(damaged(format!("{size} bytes are too many")));
    }
    let text = fs::read(path).map_err(io_error("read", path))?;
    serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StateDirError> {
    let text = serde_json::to_vec_pretty(value).expect("plain data always serialises");
    let mut file = File::create(path).map_err(io_error("create", path))?;
    file.write_all(&text)
        .and_then(|()| file.sync_all())
        .map_err(io_error("write", path))
}

/// Makes every file and folder below `path`, and itself, survive a crash of the machine.
fn sync_tree(path: &Path) -> Result<(), StateDirError> {
    for entry in fs::read_dir(path).map_err(io_error("list", path))? {
        let entry = entry.map_err(io_error("list", path))?;
        let inner = entry.path();
        if entry
            .file_type()
            .map_err(io_error("read", &inner))?
            .is_dir()
        {
            sync_tree(&inner)?;
        } else {
            sync_entry(&inner)?;
        }
    }
    sync_entry(path)
}

/// Flushes one folder, or one file.
fn sync_entry(path: &Path) -> Result<(), StateDirError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error("flush", path))
}

fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> StateDirError + use<'a> {
    move |source| StateDirError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
#[path = "state_dir_tests.rs"]
mod tests;
