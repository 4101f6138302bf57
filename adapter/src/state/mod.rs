//! What the adapter knows beyond one run, in a folder of its own.
//!
//! | file | holds |
//! |---|---|
//! | `adapter.lock` | nothing: whoever has it locked may use the folder |
//! | `adapter.redb` | the address book with its bans, and whose folder it is |
//! | `headers.dat` | the best chain's headers ([`millrace_p2p::headers::file`]) |
//!
//! Every save is complete or did not happen, whenever the process is killed. Nothing in the folder
//! is irreplaceable: a damaged file is moved aside, and what it held is found out anew.

mod database;
mod headers;

#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use millrace_core::{Height, Network, UnixSeconds};
use millrace_p2p::book::AddressBook;
use millrace_p2p::headers::HeaderTree;

use database::Database;
use headers::HeaderStore;

const LOCK_FILE: &str = "adapter.lock";
const DATABASE_FILE: &str = "adapter.redb";
const HEADER_FILE: &str = "headers.dat";

/// Why state cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process uses the folder.
    #[error(
        "another adapter uses the folder {}: stop it, or give this one a folder of its own",
        directory.display()
    )]
    InUse {
        /// The folder.
        directory: PathBuf,
    },
    /// The folder belongs to another network.
    #[error(
        "the folder {} belongs to {found}, not to {expected}: give this adapter a folder of its own",
        directory.display()
    )]
    OtherNetwork {
        /// The folder.
        directory: PathBuf,
        /// What it belongs to.
        found: String,
        /// The network asked for.
        expected: Network,
    },
    /// A file cannot be used.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The database refuses.
    #[error("cannot {action} the database of the folder: {reason}")]
    Database {
        /// What was being done.
        action: &'static str,
        /// Its words.
        reason: String,
    },
}

/// What a folder held.
#[derive(Debug)]
pub struct Restored {
    /// The chain, from genesis; nothing more if there was none.
    pub headers: HeaderTree,
    /// The address book.
    pub book: Option<AddressBook>,
    /// What was lost and why, for the log.
    pub warnings: Vec<String>,
}

/// An open folder; see the module's documentation. Calls wait for the disk.
#[derive(Debug)]
pub struct State {
    database: Database,
    headers: HeaderStore,
    // Unlocked when it is closed, after all else.
    _lock: File,
}

impl State {
    /// Opens a folder, or makes it, and returns what it held. `now` is the clock that the newest
    /// headers are judged by.
    ///
    /// # Errors
    /// [`StateError`] when the folder is in use, is another network's, or cannot be written.
    pub fn open(
        directory: &Path,
        network: Network,
        now: UnixSeconds,
    ) -> Result<(Self, Restored), StateError> {
        let failed = |action| {
            move |error| StateError::File {
                action,
                path: directory.to_owned(),
                error,
            }
        };
        fs::create_dir_all(directory).map_err(failed("make the folder"))?;
        let lock = lock(directory)?;
        let mut warnings = Vec::new();
        let path = directory.join(DATABASE_FILE);
        let database = Database::open(&path, &mut warnings)?;
        database.claim(directory, network)?;
        let book = database.book(network, &mut warnings)?;
        let path = directory.join(HEADER_FILE);
        let (headers, tree) = HeaderStore::open(&path, network, now, &mut warnings)?;
        let state = Self {
            database,
            headers,
            _lock: lock,
        };
        let restored = Restored {
            headers: tree,
            book,
            warnings,
        };
        Ok((state, restored))
    }

    /// Keeps the address book, as [`AddressBook::encode`] writes it.
    ///
    /// # Errors
    /// [`StateError`] when the disk refuses; what was kept before is still there.
    pub fn save_book(&mut self, book: &[u8]) -> Result<(), StateError> {
        self.database.save_note(database::BOOK, book)
    }

    /// Keeps the tree's best chain. `changed_from` is the lowest height at which it changed since the
    /// last call, or since [`State::open`].
    ///
    /// Costs O(new headers), and O(2,016) after a reorganisation.
    ///
    /// # Errors
    /// [`StateError`] when the disk refuses; the next call makes good for it.
    pub fn save_headers(
        &mut self,
        tree: &HeaderTree,
        changed_from: Height,
    ) -> Result<(), StateError> {
        self.headers.save(tree, changed_from)
    }
}

fn lock(directory: &Path) -> Result<File, StateError> {
    let path = directory.join(LOCK_FILE);
    let failed = |error| StateError::File {
        action: "lock",
        path: path.clone(),
        error,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse {
            directory: directory.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Moves a damaged file out of the way, in place of one moved there before.
fn move_aside(path: &Path, reason: &str, warnings: &mut Vec<String>) -> Result<(), StateError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    let aside = PathBuf::from(name);
    fs::rename(path, &aside).map_err(|error| StateError::File {
        action: "move aside",
        path: path.to_owned(),
        error,
    })?;
    warnings.push(format!(
        "{} cannot be used ({reason}): it is now {}, and what it held is found out anew",
        path.display(),
        aside.display()
    ));
    Ok(())
}
