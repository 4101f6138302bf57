//! Reads a file of coins, one transaction's after the other's.
//!
//! What comes out is in the order the canister wants: within a transaction by output index. Bitcoin Core
//! orders by the bytes of its database keys, which differs from index 16,512 on. A group sorted has as many
//! bytes as before, so that offsets into the sorted stream are offsets into the file.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use bitcoin::Txid;
use bitcoin::hashes::Hash;
use millrace_core::Network;
use millrace_core::snapshot::{
    CoinReader, MAX_COIN_BYTES, METADATA_BYTES, Metadata, Position, SnapshotCoin, SnapshotError,
};

/// Bytes read at a time.
const READ_BYTES: usize = 1024 * 1024;

/// Coins that a transaction makes at most: its block has 1,000,000 bytes without witnesses, and an output
/// takes 9.
const GROUP_COINS_MAX: u64 = 1_000_000 / 9;

/// Bytes that the coins of a transaction take at most: those of a block, and for each coin what its output
/// does not have, with room to spare.
const GROUP_BYTES_MAX: usize = 1_000_000 + GROUP_COINS_MAX as usize * 30;

/// Bytes between two places that reading can go back to.
const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;

/// Why a file cannot be used. Permanent: it must be another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {action} it: {reason}")]
    Unreadable {
        /// What was tried.
        action: &'static str,
        /// The system's words.
        reason: String,
    },
    /// It does not begin as a snapshot of this network.
    #[error(transparent)]
    Format(#[from] SnapshotError),
    /// A coin is none.
    #[error("the coin at byte {at} is damaged: {what}; copy the file again")]
    Coin {
        /// Where in the file.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The coins of a transaction are none.
    #[error(
        "the coins of transaction {txid} at byte {at} are damaged: {what}; copy the file again"
    )]
    Group {
        /// The transaction.
        txid: Txid,
        /// Where in the file.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// It ends in the middle of a coin or of a transaction's coins.
    #[error("it ends at byte {length} in the middle of a transaction's coins; copy it again")]
    Truncated {
        /// Its length.
        length: u64,
    },
    /// It holds another number of coins than it says.
    #[error("it holds {found} coins, and says it has {expected}; copy it again")]
    OtherCount {
        /// Coins found, or one more than there should be.
        found: u64,
        /// Coins that its metadata name.
        expected: u64,
    },
    /// No coin begins at the byte that is wanted.
    #[error(
        "no coin begins at byte {offset}, where the canister wants to go on: it was begun with another file. \
         Let a controller call discard_snapshot_import"
    )]
    NoCoinAt {
        /// The byte.
        offset: u64,
    },
}

/// The coins of one transaction, ascending by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Where it begins in the file.
    pub start: u64,
    /// Its coins.
    pub coins: Vec<SnapshotCoin>,
    /// Its bytes, coins ascending.
    pub bytes: Vec<u8>,
    /// Where in `bytes` each coin ends.
    pub ends: Vec<usize>,
}

impl Group {
    /// Returns where the next group begins.
    pub const fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// A place between two groups.
#[derive(Clone, Copy, Debug)]
struct Checkpoint {
    offset: u64,
    coins: u64,
    last: Txid,
}

/// Reads groups; see the module's documentation. Takes some megabytes of memory.
#[derive(Debug)]
pub struct GroupReader<R> {
    file: R,
    metadata: Metadata,
    window: Vec<u8>,
    /// Bytes of the window that were used.
    used: usize,
    is_at_end: bool,
    /// Where the next group begins.
    next: Checkpoint,
    /// Ascending; the first is the first group's.
    checkpoints: Vec<Checkpoint>,
}

impl<R: Read + Seek> GroupReader<R> {
    /// Reads how a file begins.
    ///
    /// # Errors
    /// [`FileError`]: it is no snapshot of `network`, or cannot be read.
    pub fn new(mut file: R, network: Network) -> Result<Self, FileError> {
        let mut head = Vec::new();
        (&mut file)
            .take(METADATA_BYTES as u64)
            .read_to_end(&mut head)
            .map_err(|error| unreadable("read", &error))?;
        let first = Checkpoint {
            offset: METADATA_BYTES as u64,
            coins: 0,
            last: Txid::from_byte_array([0; 32]),
        };
        Ok(Self {
            file,
            metadata: Metadata::decode(&head, network)?,
            window: Vec::new(),
            used: 0,
            is_at_end: false,
            next: first,
            checkpoints: vec![first],
        })
    }

    /// Returns what the file says of itself.
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns how many coins come before the next group.
    pub const fn coins_before(&self) -> u64 {
        self.next.coins
    }

    /// Returns where the next group begins.
    pub const fn offset(&self) -> u64 {
        self.next.offset
    }

    /// Goes back to a place at or before `offset`, some ten megabytes at most; not before the first group.
    ///
    /// # Errors
    /// [`FileError::Unreadable`].
    pub fn rewind(&mut self, offset: u64) -> Result<(), FileError> {
        let after = self
            .checkpoints
            .partition_point(|checkpoint| checkpoint.offset <= offset);
        let Some(checkpoint) = self.checkpoints.get(after.saturating_sub(1)) else {
            return Ok(());
        };
        self.next = *checkpoint;
        self.window.clear();
        self.used = 0;
        self.is_at_end = false;
        self.file
            .seek(SeekFrom::Start(self.next.offset))
            .map_err(|error| unreadable("seek in", &error))?;
        Ok(())
    }

    /// Reads the next group; `None` after the last one, if there were as many coins as the file says.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn next_group(&mut self) -> Result<Option<Group>, FileError> {
        let start = self.next.offset;
        let mut found = Found::default();
        let mut position = Position::start();
        loop {
            self.fill()?;
            let rest = self.window.get(self.used..).unwrap_or_default();
            let mut reader = CoinReader::new(rest, position);
            let coin = reader.next_coin().map_err(|error| match error {
                SnapshotError::Coin { what, .. } => FileError::Coin {
                    at: start + found.bytes.len() as u64,
                    what,
                },
                other => other.into(),
            })?;
            let Some(coin) = coin else {
                return self.end(found.bytes.len() + rest.len());
            };
            let taken = rest.get(..reader.consumed()).unwrap_or_default();
            position = reader.position();
            found.put(coin, taken, position.left);
            self.used += taken.len();
            if let Some(what) = found.excess(position.left) {
                return Err(self.bad_group(position.txid, what));
            }
            if position.left == 0 {
                break;
            }
        }
        self.check_order(position.txid)?;
        let group = found
            .group(start)
            .ok_or_else(|| self.bad_group(position.txid, "an output comes twice"))?;
        self.advance(&group, position.txid)?;
        Ok(Some(group))
    }

    fn bad_group(&self, txid: Txid, what: &'static str) -> FileError {
        let at = self.next.offset;
        FileError::Group { txid, at, what }
    }

    fn check_order(&self, txid: Txid) -> Result<(), FileError> {
        let is_first = self.next.coins == 0;
        if !is_first && txid.as_byte_array() <= self.next.last.as_byte_array() {
            return Err(self.bad_group(txid, "transactions do not ascend"));
        }
        Ok(())
    }

    fn advance(&mut self, group: &Group, txid: Txid) -> Result<(), FileError> {
        self.next = Checkpoint {
            offset: group.end(),
            coins: self.next.coins + group.coins.len() as u64,
            last: txid,
        };
        self.check_count(self.next.coins <= self.metadata.coins)?;
        let last = self.checkpoints.last().map_or(0, |last| last.offset);
        if self.next.offset >= last + CHECKPOINT_BYTES {
            self.checkpoints.push(self.next);
        }
        Ok(())
    }

    /// Judges the file's end, so many bytes after the last whole group.
    fn end(&self, bytes_after: usize) -> Result<Option<Group>, FileError> {
        if bytes_after > 0 {
            return Err(FileError::Truncated {
                length: self.next.offset + bytes_after as u64,
            });
        }
        self.check_count(self.next.coins == self.metadata.coins)?;
        Ok(None)
    }

    const fn check_count(&self, is_right: bool) -> Result<(), FileError> {
        if is_right {
            return Ok(());
        }
        Err(FileError::OtherCount {
            found: self.next.coins,
            expected: self.metadata.coins,
        })
    }

    /// Reads on until the window has a coin whatever its size, or the file ends.
    fn fill(&mut self) -> Result<(), FileError> {
        let needed = MAX_COIN_BYTES;
        if self.is_at_end || self.window.len().saturating_sub(self.used) >= needed {
            return Ok(());
        }
        self.window.drain(..self.used);
        self.used = 0;
        let wanted = READ_BYTES as u64;
        let read = (&mut self.file).take(wanted).read_to_end(&mut self.window);
        let read = read.map_err(|error| unreadable("read", &error))?;
        self.is_at_end = (read as u64) < wanted;
        Ok(())
    }
}

/// What was read of a group.
#[derive(Default)]
struct Found {
    coins: Vec<(SnapshotCoin, Range<usize>)>,
    bytes: Vec<u8>,
    head_bytes: usize,
}

impl Found {
    fn put(&mut self, coin: SnapshotCoin, bytes: &[u8], left: u64) {
        let mut start = self.bytes.len();
        if self.coins.is_empty() {
            // The transaction's id, and how many coins there are: a CompactSize.
            let size = bitcoin::VarInt(left.saturating_add(1)).size();
            self.head_bytes = 32 + size;
            start = self.head_bytes;
        }
        self.bytes.extend_from_slice(bytes);
        self.coins.push((coin, start..self.bytes.len()));
    }

    fn excess(&self, left: u64) -> Option<&'static str> {
        if left.saturating_add(self.coins.len() as u64) > GROUP_COINS_MAX {
            return Some("no transaction has so many outputs");
        }
        (self.bytes.len() > GROUP_BYTES_MAX).then_some("no transaction is that large")
    }

    /// Returns the group with its coins ascending; `None` if an output comes twice.
    fn group(self, start: u64) -> Option<Group> {
        let Self {
            mut coins,
            bytes: read,
            head_bytes,
        } = self;
        let vout = |item: &(SnapshotCoin, Range<usize>)| item.0.outpoint.vout;
        let is_sorted = coins.is_sorted_by_key(vout);
        coins.sort_by_key(vout);
        if !coins.is_sorted_by(|one, other| vout(one) < vout(other)) {
            return None;
        }
        let ends = coins.iter().scan(head_bytes, |end, (_, place)| {
            *end += place.len();
            Some(*end)
        });
        let ends = ends.collect();
        let bytes = if is_sorted {
            read
        } else {
            let places = std::iter::once(0..head_bytes)
                .chain(coins.iter().map(|(_, place)| place.clone()))
                .filter_map(|place| read.get(place));
            places.flatten().copied().collect()
        };
        Some(Group {
            start,
            coins: coins.into_iter().map(|(coin, _)| coin).collect(),
            bytes,
            ends,
        })
    }
}

fn unreadable(action: &'static str, error: &io::Error) -> FileError {
    FileError::Unreadable {
        action,
        reason: error.to_string(),
    }
}
