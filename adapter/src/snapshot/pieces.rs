//! Cuts a file's coins into pieces that fit a message, from any coin on.

use std::io::{Read, Seek};

use millrace_core::Network;
use millrace_core::snapshot::{Metadata, SerializedDigest, SerializedHash};

use super::groups::{FileError, Group, GroupReader};

/// Most bytes of a piece: what the canister takes in one message.
pub const PIECE_BYTES_MAX: usize = 1_900_000;

/// Cuts pieces. Those that follow one another cost one pass through the file.
#[derive(Debug)]
pub struct Pieces<R> {
    groups: GroupReader<R>,
    /// The group that was cut last, or passed over.
    group: Option<Group>,
}

impl<R: Read + Seek> Pieces<R> {
    /// Reads how a file begins.
    ///
    /// # Errors
    /// [`FileError`]: it is no snapshot of `network`, or cannot be read.
    pub fn new(file: R, network: Network) -> Result<Self, FileError> {
        Ok(Self {
            groups: GroupReader::new(file, network)?,
            group: None,
        })
    }

    /// Returns what the file says of itself.
    pub const fn metadata(&self) -> &Metadata {
        self.groups.metadata()
    }

    /// Reads the whole file and returns the hash of its coins. Calls `progress` with the number of coins
    /// read, some thousand times at most.
    ///
    /// # Errors
    /// [`FileError`]: wherever it is damaged.
    pub fn hash(&mut self, mut progress: impl FnMut(u64)) -> Result<SerializedDigest, FileError> {
        let every = self.metadata().coins / 1_000;
        let mut hash = SerializedHash::default();
        let mut reported = 0;
        self.group = None;
        self.groups.rewind(0)?;
        while let Some(group) = self.groups.next_group()? {
            for coin in &group.coins {
                coin.counted(|counted| hash.put(counted));
            }
            let read = self.groups.coins_before();
            if read > reported + every {
                progress(read);
                reported = read;
            }
        }
        Ok(hash.finish())
    }

    /// Reads towards `offset` and returns where it is then: at `offset`'s group, or `bytes_max` farther
    /// than before. This is for files in which the way there takes minutes.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn approach(&mut self, offset: u64, bytes_max: u64) -> Result<u64, FileError> {
        if self.group.as_ref().is_none_or(|group| offset < group.start) {
            self.group = None;
            self.groups.rewind(offset)?;
        }
        let until = offset.min(self.groups.offset().saturating_add(bytes_max));
        while self.groups.offset() <= until {
            let Some(group) = self.groups.next_group()? else {
                break;
            };
            self.group = Some(group);
        }
        Ok(self.groups.offset())
    }

    /// Returns the coins from `offset` on, as many whole ones as fit into `bytes_max` bytes and at least
    /// one; none at the file's end.
    ///
    /// # Errors
    /// [`FileError`]; [`FileError::NoCoinAt`] where no coin begins at `offset`.
    pub fn piece(&mut self, offset: u64, bytes_max: usize) -> Result<Vec<u8>, FileError> {
        self.approach(offset, u64::MAX)?;
        let mut piece = Vec::new();
        let mut from = offset;
        while let Some(group) = self.group_at(from)? {
            let start = usize::try_from(from - group.start).unwrap_or(usize::MAX);
            let is_start = start == 0 || group.ends.contains(&start);
            if !is_start {
                return Err(FileError::NoCoinAt { offset: from });
            }
            let room = start.saturating_add(bytes_max.saturating_sub(piece.len()));
            let first = group.ends.partition_point(|end| *end <= start);
            let after = group.ends.partition_point(|end| *end <= room);
            let after = after.max(first + usize::from(piece.is_empty()));
            let end = after.checked_sub(1).and_then(|last| group.ends.get(last));
            let taken = end.and_then(|end| group.bytes.get(start..*end));
            let taken = taken.unwrap_or_default();
            piece.extend_from_slice(taken);
            from += taken.len() as u64;
            if from < group.end() {
                break;
            }
        }
        Ok(piece)
    }

    /// Returns the group that holds a byte at or after the one held; `None` at the file's end.
    fn group_at(&mut self, offset: u64) -> Result<Option<&Group>, FileError> {
        if self
            .group
            .as_ref()
            .is_none_or(|group| group.end() <= offset)
        {
            let next = self.groups.next_group()?;
            let Some(next) = next else {
                return Ok(None);
            };
            self.group = Some(next);
        }
        let group = self.group.as_ref();
        if let Some(group) = group.filter(|group| offset < group.start) {
            // Before the first group, or beyond the end.
            return Err(FileError::NoCoinAt {
                offset: offset.min(group.start),
            });
        }
        Ok(group)
    }
}
