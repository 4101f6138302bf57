//! The two tables of buckets, and which place in them is an address's.

use crate::address::{Host, NetworkGroup, PeerAddress};
use crate::chance::keyed_hash;

/// Buckets of addresses that somebody told of.
pub const NEW_BUCKETS: usize = 1_024;
/// Buckets of addresses that a connection succeeded to.
pub const TRIED_BUCKETS: usize = 256;
/// Addresses a bucket holds.
pub const PLACES_PER_BUCKET: usize = 64;
/// Buckets of new addresses that those told of by one group can be in.
const NEW_BUCKETS_PER_SOURCE: u64 = 64;
/// Buckets of tried addresses that those of one group can be in.
const TRIED_BUCKETS_PER_GROUP: u64 = 8;

/// Which of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    New,
    Tried,
}

/// Where an address belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    which: Which,
    bucket: usize,
    position: usize,
}

impl Place {
    /// The place of an address that a group told of.
    pub(super) fn new(seed: u64, address: &PeerAddress, source: NetworkGroup) -> Self {
        let (group, source) = (address.group().to_bytes(), source.to_bytes());
        let branch = keyed_hash(seed, "new branch", &[&group, &source]) % NEW_BUCKETS_PER_SOURCE;
        let bucket = keyed_hash(seed, "new bucket", &[&source, &branch.to_le_bytes()]);
        Self::at(seed, Which::New, bucket, address)
    }

    /// The place of an address that a connection succeeded to.
    pub(super) fn tried(seed: u64, address: &PeerAddress) -> Self {
        let branch =
            keyed_hash(seed, "tried branch", &[&bytes_of(address)]) % TRIED_BUCKETS_PER_GROUP;
        let group = address.group().to_bytes();
        let bucket = keyed_hash(seed, "tried bucket", &[&group, &branch.to_le_bytes()]);
        Self::at(seed, Which::Tried, bucket, address)
    }

    fn at(seed: u64, which: Which, bucket: u64, address: &PeerAddress) -> Self {
        let (purpose, buckets) = match which {
            Which::New => ("new place", NEW_BUCKETS),
            Which::Tried => ("tried place", TRIED_BUCKETS),
        };
        let bucket = bucket % buckets as u64;
        let fields: [&[u8]; 2] = [&bucket.to_le_bytes(), &bytes_of(address)];
        let position = keyed_hash(seed, purpose, &fields) % PLACES_PER_BUCKET as u64;
        Self {
            which,
            bucket: usize::try_from(bucket).unwrap_or(0),
            position: usize::try_from(position).unwrap_or(0),
        }
    }
}

/// Returns a form of constant size that differs between addresses.
fn bytes_of(address: &PeerAddress) -> [u8; 35] {
    let mut bytes = [0; 35];
    let (kind, host): (u8, &[u8]) = match &address.host {
        Host::V4(host) => (4, &host.octets()),
        Host::V6(host) => (6, &host.octets()),
        Host::Onion(key) => (7, key),
    };
    let port = address.port.to_le_bytes();
    let fields = [kind].into_iter().chain(port).chain(host.iter().copied());
    for (slot, byte) in bytes.iter_mut().zip(fields) {
        *slot = byte;
    }
    bytes
}

/// One table. Buckets are kept as short lists: most books are nearly empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    /// Positions and addresses of each bucket, by position.
    buckets: Vec<Vec<(usize, PeerAddress)>>,
    len: usize,
}

impl Table {
    fn new(buckets: usize) -> Self {
        Self {
            buckets: vec![Vec::new(); buckets],
            len: 0,
        }
    }
}

/// Both tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    new: Table,
    tried: Table,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            new: Table::new(NEW_BUCKETS),
            tried: Table::new(TRIED_BUCKETS),
        }
    }

    /// Returns who is there.
    pub(super) fn at(&self, place: Place) -> Option<PeerAddress> {
        let bucket = self.table(place.which).buckets.get(place.bucket)?;
        let at = bucket
            .binary_search_by_key(&place.position, |(position, _)| *position)
            .ok()?;
        bucket.get(at).map(|(_, address)| *address)
    }

    /// Puts an address at an empty place; one that is there already stays.
    pub(super) fn put(&mut self, place: Place, address: PeerAddress) {
        let table = self.table_mut(place.which);
        let Some(bucket) = table.buckets.get_mut(place.bucket) else {
            return;
        };
        if let Err(at) = bucket.binary_search_by_key(&place.position, |(position, _)| *position) {
            bucket.insert(at, (place.position, address));
            table.len += 1;
        }
    }

    /// Empties a place.
    pub(super) fn take(&mut self, place: Place) {
        let table = self.table_mut(place.which);
        let Some(bucket) = table.buckets.get_mut(place.bucket) else {
            return;
        };
        if let Ok(at) = bucket.binary_search_by_key(&place.position, |(position, _)| *position) {
            bucket.remove(at);
            table.len = table.len.saturating_sub(1);
        }
    }

    /// Returns how many addresses a table holds.
    pub(super) const fn len(&self, which: Which) -> usize {
        self.table(which).len
    }

    /// Returns the buckets of a table that are not empty.
    pub(super) fn used_buckets(&self, which: Which) -> Vec<usize> {
        let buckets = self.table(which).buckets.iter().enumerate();
        buckets
            .filter(|(_, bucket)| !bucket.is_empty())
            .map(|(index, _)| index)
            .collect()
    }

    /// Returns the addresses of a bucket.
    pub(super) fn bucket(&self, which: Which, index: usize) -> &[(usize, PeerAddress)] {
        let bucket = self.table(which).buckets.get(index);
        bucket.map_or(&[], Vec::as_slice)
    }

    const fn table(&self, which: Which) -> &Table {
        match which {
            Which::New => &self.new,
            Which::Tried => &self.tried,
        }
    }

    const fn table_mut(&mut self, which: Which) -> &mut Table {
        match which {
            Which::New => &mut self.new,
            Which::Tried => &mut self.tried,
        }
    }
}
