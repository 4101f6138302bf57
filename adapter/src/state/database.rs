//! The database: everything but headers.
//!
//! | table | key | value |
//! |---|---|---|
//! | `notes` | a name | bytes |

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;

use millrace_core::Network;
use millrace_p2p::book::AddressBook;
use redb::{DatabaseError, ReadableDatabase, StorageError, TableDefinition, WriteTransaction};

use super::{StateError, move_aside};

const NOTES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("notes");
/// The note that holds the address book.
pub(super) const BOOK: &str = "address book";
/// The note that holds the network's name.
const NETWORK: &str = "network";
/// Memory that pages may take; the default is a gigabyte.
const CACHE_BYTES: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct Database {
    inner: redb::Database,
}

/// Turns an error of the database into ours.
fn failed<E: Display>(action: &'static str) -> impl Fn(E) -> StateError {
    move |error| StateError::Database {
        action,
        reason: error.to_string(),
    }
}

impl Database {
    /// Opens the file, or begins one; a damaged one is moved aside.
    pub(super) fn open(path: &Path, warnings: &mut Vec<String>) -> Result<Self, StateError> {
        let reason = match open_checked(path) {
            Ok(inner) => return Ok(Self { inner }),
            Err(error) if is_damage(&error) => error.to_string(),
            Err(error) => return Err(failed("open")(error)),
        };
        move_aside(path, &reason, warnings)?;
        let inner = open_checked(path).map_err(failed("begin"))?;
        Ok(Self { inner })
    }

    /// Notes whose folder this is, or refuses another network's.
    pub(super) fn claim(&self, directory: &Path, network: Network) -> Result<(), StateError> {
        let expected = network.to_string();
        match self.note(NETWORK)? {
            None => self.save_note(NETWORK, expected.as_bytes()),
            Some(found) if found == expected.as_bytes() => Ok(()),
            Some(found) => Err(StateError::OtherNetwork {
                directory: directory.to_owned(),
                found: String::from_utf8_lossy(&found).into_owned(),
                expected: network,
            }),
        }
    }

    /// Returns the address book, unless there is none or it is damaged.
    pub(super) fn book(
        &self,
        network: Network,
        warnings: &mut Vec<String>,
    ) -> Result<Option<AddressBook>, StateError> {
        let Some(bytes) = self.note(BOOK)? else {
            return Ok(None);
        };
        match AddressBook::decode(network, &bytes) {
            Ok(book) => Ok(Some(book)),
            Err(error) => {
                warnings.push(format!("{error}: a new one is begun"));
                Ok(None)
            }
        }
    }

    pub(super) fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let read = self.inner.begin_read().map_err(failed("read"))?;
        let table = match read.open_table(NOTES) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(failed("read")(error)),
        };
        let value = table.get(name).map_err(failed("read"))?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    pub(super) fn save_note(&self, name: &str, value: &[u8]) -> Result<(), StateError> {
        self.write(|write| {
            let mut table = write.open_table(NOTES).map_err(failed("write"))?;
            table.insert(name, value).map_err(failed("write"))?;
            Ok(())
        })
    }

    /// Carries out changes together: all are on the disk afterwards, or none.
    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let write = self.inner.begin_write().map_err(failed("write"))?;
        change(&write)?;
        write.commit().map_err(failed("write"))
    }
}

/// Opens a file and compares every page with its checksum: without that, the database trusts a file
/// that was closed properly, and may panic later.
fn open_checked(path: &Path) -> Result<redb::Database, DatabaseError> {
    redb::Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create(path)
}

/// Returns whether the file itself is at fault, not the disk or its permissions.
fn is_damage(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(StorageError::Io(error)) => matches!(
            error.kind(),
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput
        ),
        DatabaseError::Storage(StorageError::Corrupted(_))
        | DatabaseError::UpgradeRequired(_)
        | DatabaseError::RepairAborted => true,
        _ => false,
    }
}
