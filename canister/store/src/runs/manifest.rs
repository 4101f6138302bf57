//! The list of changes: what is not named here does not exist.
//!
//! ```text
//! record, 128 bytes, by id u64
//! offset size
//!      0    1  state: 0 building, 1 unstable, 2 stable, 3 merged ahead
//!      1    1  level
//!      2    2  reserved
//!      4    4  first height
//!      8    4  last height
//!     12   32  hash of the last block
//!     44   16  range of the coin run: start u64, length u64
//!     60   16  range of the script run
//!     76    8  puts
//!     84    8  spends
//!     92    4  reserved
//!     96   32  hash of the block before the first one
//! ```
//!
//! Numbers are little endian. Only merges are recorded while they are built: what is written of
//! them outlives an upgrade, so the whole range that was taken for them is named.

use std::collections::BTreeMap;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ic_stable_structures::{BTreeMap as StableMap, Memory};
use millrace_core::Height;

use super::extent::Extent;
use super::number::Input;
use crate::StoreError;
use crate::record::join;

/// Bytes of a record.
pub const RECORD_BYTES: usize = 128;

/// Name of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeId(pub u64);

/// What may be read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing yet: a merge under way.
    Building,
    /// It belongs to a block of the unstable tree.
    Unstable,
    /// It belongs to the stable chain.
    Stable,
    /// A finished merge of blocks that are not all stable yet; their changes are there too.
    Ahead,
    /// A piece of a set that is being imported. Its heights number pieces.
    Imported,
    /// Nothing yet: a merge of such pieces under way.
    Importing,
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRecord {
    /// What may be read.
    pub state: State,
    /// 0 for one block, one more for each merge.
    pub level: u8,
    /// Height of its first block.
    pub first: Height,
    /// Height of its last block.
    pub last: Height,
    /// Hash of its last block.
    pub block: BlockHash,
    /// Hash of the block before its first one.
    pub parent: BlockHash,
    /// The coin run.
    pub coins: Extent,
    /// The script run.
    pub scripts: Extent,
    /// Coins put.
    pub puts: u64,
    /// Coins spent.
    pub spends: u64,
}

impl ChangeRecord {
    /// Returns the record's bytes.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let state = match self.state {
            State::Building => 0,
            State::Unstable => 1,
            State::Stable => 2,
            State::Ahead => 3,
            State::Imported => 4,
            State::Importing => 5,
        };
        join(&[
            &[state, self.level, 0, 0],
            &self.first.get().to_le_bytes(),
            &self.last.get().to_le_bytes(),
            self.block.as_byte_array(),
            &self.coins.start.to_le_bytes(),
            &self.coins.length.to_le_bytes(),
            &self.scripts.start.to_le_bytes(),
            &self.scripts.length.to_le_bytes(),
            &self.puts.to_le_bytes(),
            &self.spends.to_le_bytes(),
            &[0; 4],
            self.parent.as_byte_array(),
        ])
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Result<Self, StoreError> {
        let mut input = Input::new("manifest record", bytes);
        let [state, level, _, _] = input.array()?;
        let state = match state {
            0 => State::Building,
            1 => State::Unstable,
            2 => State::Stable,
            3 => State::Ahead,
            4 => State::Imported,
            5 => State::Importing,
            other => return Err(input.damaged(format!("unknown state {other}"))),
        };
        let first = Height::new(u32::from_le_bytes(input.array()?));
        let last = Height::new(u32::from_le_bytes(input.array()?));
        if first > last {
            return Err(input.damaged(format!("heights {first} to {last}")));
        }
        let block = BlockHash::from_byte_array(input.array()?);
        let mut next = || input.array().map(u64::from_le_bytes);
        let mut extent = || {
            Ok::<_, StoreError>(Extent {
                start: next()?,
                length: next()?,
            })
        };
        let (coins, scripts) = (extent()?, extent()?);
        let (puts, spends) = (next()?, next()?);
        let _reserved: [u8; 4] = input.array()?;
        Ok(Self {
            state,
            level,
            first,
            last,
            block,
            parent: BlockHash::from_byte_array(input.array()?),
            coins,
            scripts,
            puts,
            spends,
        })
    }
}

/// All records, with a copy on the heap: 150 bytes for each change.
pub struct Manifest<M: Memory> {
    stored: StableMap<u64, [u8; RECORD_BYTES], M>,
    records: BTreeMap<ChangeId, ChangeRecord>,
    next: u64,
}

impl<M: Memory> Manifest<M> {
    /// Reads all records.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn open(memory: M) -> Result<Self, StoreError> {
        let stored: StableMap<u64, [u8; RECORD_BYTES], M> = StableMap::init(memory);
        let mut records = BTreeMap::new();
        for entry in stored.iter() {
            let record = ChangeRecord::decode(&entry.value())?;
            records.insert(ChangeId(*entry.key()), record);
        }
        let next = records
            .keys()
            .next_back()
            .map_or(0, |id: &ChangeId| id.0 + 1);
        Ok(Self {
            stored,
            records,
            next,
        })
    }

    /// Returns an id that no change has, nor had since the manifest was opened.
    pub const fn new_id(&mut self) -> ChangeId {
        let id = ChangeId(self.next);
        self.next += 1;
        id
    }

    /// Returns a record.
    ///
    /// # Errors
    /// [`StoreError::Missing`].
    pub fn get(&self, id: ChangeId) -> Result<ChangeRecord, StoreError> {
        let record = self.records.get(&id).copied();
        record.ok_or_else(|| StoreError::missing("change", id.0))
    }

    /// Returns all records by id.
    pub fn records(&self) -> impl Iterator<Item = (ChangeId, &ChangeRecord)> {
        self.records.iter().map(|(id, record)| (*id, record))
    }

    /// Returns the stable changes, oldest first.
    pub fn stable(&self) -> Vec<(ChangeId, ChangeRecord)> {
        let records = self.records();
        let mut stable: Vec<_> = records
            .filter(|(_, record)| record.state == State::Stable)
            .map(|(id, record)| (id, *record))
            .collect();
        stable.sort_by_key(|(_, record)| record.first);
        stable
    }

    /// Returns all ranges that are taken.
    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        let records = self.records.values();
        records.flat_map(|record| [record.coins, record.scripts])
    }

    /// Adds or replaces a record.
    pub fn set(&mut self, id: ChangeId, record: ChangeRecord) {
        self.stored.insert(id.0, record.encode());
        self.records.insert(id, record);
    }

    /// Removes and returns a record, if it is there; its ranges are free from now on.
    pub fn remove(&mut self, id: ChangeId) -> Option<ChangeRecord> {
        self.stored.remove(&id.0);
        self.records.remove(&id)
    }

    /// Puts a finished merge in the place of its inputs, and returns their ranges. Readers see
    /// either all of it or nothing, since nobody reads within a message.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when an input is gone; nothing is changed.
    pub fn swap(
        &mut self,
        inputs: &[ChangeId],
        output: ChangeId,
        record: ChangeRecord,
    ) -> Result<Vec<Extent>, StoreError> {
        for input in inputs {
            self.get(*input)?;
        }
        let mut freed = Vec::with_capacity(2 * inputs.len());
        for old in inputs.iter().filter_map(|input| self.remove(*input)) {
            freed.extend([old.coins, old.scripts]);
        }
        self.set(output, record);
        Ok(freed)
    }
}

#[cfg(test)]
mod tests {
    use ic_stable_structures::VectorMemory;
    use proptest::prelude::*;

    use super::*;

    fn record(first: u32, last: u32) -> ChangeRecord {
        let start = u64::from(first) * 8192 + 4096;
        ChangeRecord {
            state: State::Stable,
            level: 0,
            first: Height::new(first),
            last: Height::new(last),
            block: BlockHash::from_byte_array([first as u8; 32]),
            parent: BlockHash::from_byte_array([first as u8 + 1; 32]),
            coins: Extent { start, length: 9 },
            scripts: Extent {
                start: start + 4096,
                length: 8,
            },
            puts: 3,
            spends: 2,
        }
    }

    #[test]
    fn records_survive_opening_and_a_swap_replaces_all_inputs_or_none() {
        let memory = VectorMemory::default();
        let mut manifest = Manifest::open(memory.clone()).unwrap();
        for height in [2, 0, 1] {
            manifest.set(ChangeId(u64::from(9 - height)), record(height, height));
        }
        let firsts = |manifest: &Manifest<_>| -> Vec<u32> {
            manifest
                .stable()
                .iter()
                .map(|(_, record)| record.first.get())
                .collect()
        };
        assert_eq!(firsts(&manifest), [0, 1, 2]);
        let refused = manifest.swap(&[ChangeId(9), ChangeId(77)], ChangeId(10), record(0, 1));
        assert_eq!(refused, Err(StoreError::missing("change", 77)));
        assert_eq!(firsts(&manifest), [0, 1, 2]);
        let freed = manifest.swap(&[ChangeId(9), ChangeId(8)], ChangeId(10), record(0, 1));
        assert_eq!(freed.unwrap().len(), 4);
        let again = Manifest::open(memory).unwrap();
        assert_eq!(firsts(&again), [0, 2]);
        assert!(again.records().eq(manifest.records()));
        assert_eq!(again.extents().count(), 4);
    }

    proptest! {
        #[test]
        fn bytes_of_a_record_are_damage_or_read_back(at in 0..RECORD_BYTES, byte in any::<u8>()) {
            let mut bytes = record(3, 8).encode();
            prop_assert_eq!(ChangeRecord::decode(&bytes), Ok(record(3, 8)));
            bytes[at] = byte;
            if let Ok(found) = ChangeRecord::decode(&bytes) {
                let mut again = found.encode();
                // Reserved bytes are not kept.
                for reserved in [2, 3, 92, 93, 94, 95] {
                    again[reserved] = bytes[reserved];
                }
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
