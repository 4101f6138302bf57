//! The address book as bytes.
//!
//! ```text
//! magic "MRAB", version u8 = 1, network magic 4 bytes
//! seed u64, numbers drawn u64, last success u64
//! number of entries u32, entries:
//!     address, services u64, seen u64, source group 5 bytes,
//!     attempted u64, succeeded u64, failed u64, counted u64, failures u32, is tried u8
//! number of bans u32, bans: address, end u64
//! SHA-256 of all before
//! ```
//!
//! Numbers are little-endian, times in seconds since 1970. An address is its kind (4, 6, or 7 for
//! onion services), 4, 16 or 32 bytes, and the port. Tests of tried addresses that are under way are
//! left out: they begin anew.

use bitcoin::hashes::{Hash, sha256};
use millrace_core::Network;

use super::entry::Entry;
use super::table::{NEW_BUCKETS, PLACES_PER_BUCKET, TRIED_BUCKETS};
use super::{AddressBook, MAX_BANS};
use crate::address::{Host, NetworkGroup, PeerAddress};

const MAGIC: [u8; 4] = *b"MRAB";
const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 32;
/// Entries that both tables hold, at most.
const MAX_ENTRIES: usize = (NEW_BUCKETS + TRIED_BUCKETS) * PLACES_PER_BUCKET;

/// Why bytes are no address book of this network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The bytes are something else.
    #[error("this is no address book: it begins with {got:02x?}")]
    Magic {
        /// The first bytes.
        got: Vec<u8>,
    },
    /// A later version of the adapter wrote it.
    #[error("the address book has version {got}, this adapter reads version 1")]
    Version {
        /// The version found.
        got: u8,
    },
    /// The book is another network's.
    #[error("the address book belongs to the network with magic {got:02x?}, not to {expected}")]
    Network {
        /// The magic found.
        got: [u8; 4],
        /// The network asked for.
        expected: Network,
    },
    /// The bytes were changed or cut.
    #[error("the address book is damaged: its checksum does not match")]
    Checksum,
    /// The bytes do not follow the layout.
    #[error("the address book is damaged: {field} is cut or impossible")]
    Field {
        /// What was being read.
        field: &'static str,
    },
}

impl AddressBook {
    /// Returns everything but tests under way as bytes, at most some 8 MB.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.entries.len() * 90);
        out.extend(MAGIC);
        out.push(VERSION);
        out.extend(self.network.magic().to_bytes());
        out.extend(self.chance.seed.to_le_bytes());
        out.extend(self.chance.drawn.to_le_bytes());
        out.extend(self.last_success.to_le_bytes());
        out.extend(count(self.entries.len()));
        for (address, entry) in &self.entries {
            write_address(&mut out, address);
            write_entry(&mut out, entry);
        }
        let bans = self.bans.iter();
        out.extend(count(bans.len()));
        for (address, end) in bans {
            write_address(&mut out, address);
            out.extend(end.to_le_bytes());
        }
        let checksum = sha256::Hash::hash(&out);
        out.extend(checksum.as_byte_array());
        out
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`BookError`] when the bytes are damaged, of another version or of another network.
    pub fn decode(network: Network, bytes: &[u8]) -> Result<Self, BookError> {
        let body = check_frame(bytes)?;
        let mut reader = Reader { rest: body };
        let magic = reader.array("the network")?;
        if magic != network.magic().to_bytes() {
            return Err(BookError::Network {
                got: magic,
                expected: network,
            });
        }
        let mut book = Self::new(network, reader.u64("the seed")?);
        book.chance.drawn = reader.u64("the numbers drawn")?;
        book.last_success = reader.u64("the last success")?;
        let entries = reader.count("the number of entries", MAX_ENTRIES)?;
        for _ in 0..entries {
            let address = reader.address()?;
            let entry = reader.entry()?;
            let place = book.place_of(&address, &entry);
            if address.may_be_dialled(network) && book.tables.at(place).is_none() {
                book.tables.put(place, address);
                book.entries.insert(address, entry);
            }
        }
        let bans = reader.count("the number of bans", MAX_BANS)?;
        for _ in 0..bans {
            let address = reader.address()?;
            book.bans.restore(address, reader.u64("the end of a ban")?);
        }
        if !reader.rest.is_empty() {
            return Err(BookError::Field {
                field: "the end of the book",
            });
        }
        Ok(book)
    }
}

/// Checks magic, version and checksum; returns what is between.
fn check_frame(bytes: &[u8]) -> Result<&[u8], BookError> {
    let Some((&[first, second, third, fourth, version], rest)) = bytes.split_first_chunk::<5>()
    else {
        return Err(BookError::Magic {
            got: bytes.to_vec(),
        });
    };
    let magic = [first, second, third, fourth];
    if magic != MAGIC {
        return Err(BookError::Magic {
            got: magic.to_vec(),
        });
    }
    if version != VERSION {
        return Err(BookError::Version { got: version });
    }
    let (covered, checksum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(BookError::Checksum)?;
    if sha256::Hash::hash(covered).as_byte_array() != checksum {
        return Err(BookError::Checksum);
    }
    let (body, _) = rest
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(BookError::Checksum)?;
    Ok(body)
}

/// Counts are bounded far below 2^32.
fn count(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}

fn write_address(out: &mut Vec<u8>, address: &PeerAddress) {
    match &address.host {
        Host::V4(host) => {
            out.push(4);
            out.extend(host.octets());
        }
        Host::V6(host) => {
            out.push(6);
            out.extend(host.octets());
        }
        Host::Onion(key) => {
            out.push(7);
            out.extend(key);
        }
    }
    out.extend(address.port.to_le_bytes());
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend(entry.services.to_le_bytes());
    out.extend(entry.seen.to_le_bytes());
    out.extend(entry.source.to_bytes());
    for time in [
        entry.attempted,
        entry.succeeded,
        entry.failed,
        entry.counted,
    ] {
        out.extend(time.to_le_bytes());
    }
    out.extend(entry.failures.to_le_bytes());
    out.push(u8::from(entry.is_tried));
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], BookError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(BookError::Field { field })?;
        self.rest = rest;
        Ok(*head)
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, BookError> {
        self.array(field).map(u64::from_le_bytes)
    }

    fn count(&mut self, field: &'static str, end: usize) -> Result<usize, BookError> {
        let count = u32::from_le_bytes(self.array(field)?) as usize;
        if count > end {
            return Err(BookError::Field { field });
        }
        Ok(count)
    }

    fn address(&mut self) -> Result<PeerAddress, BookError> {
        let field = "an address";
        let host = match self.array(field)? {
            [4] => Host::V4(self.array::<4>(field)?.into()),
            [6] => Host::V6(self.array::<16>(field)?.into()),
            [7] => Host::Onion(self.array(field)?),
            _ => return Err(BookError::Field { field }),
        };
        let port = u16::from_le_bytes(self.array(field)?);
        Ok(PeerAddress { host, port })
    }

    fn entry(&mut self) -> Result<Entry, BookError> {
        let field = "an entry";
        let services = self.u64(field)?;
        let seen = self.u64(field)?;
        let source =
            NetworkGroup::from_bytes(self.array(field)?).ok_or(BookError::Field { field })?;
        Ok(Entry {
            services,
            seen,
            source,
            attempted: self.u64(field)?,
            succeeded: self.u64(field)?,
            failed: self.u64(field)?,
            counted: self.u64(field)?,
            failures: u32::from_le_bytes(self.array(field)?),
            is_tried: match self.array(field)? {
                [0] => false,
                [1] => true,
                _ => return Err(BookError::Field { field }),
            },
        })
    }
}
