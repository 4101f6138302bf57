//! Signs state trees for every subnet of one instance and vouches for non-root subnets.
//!
//! Arrangement: the NNS subnet is the root when the instance has one, otherwise the first subnet.
//! The root subnet signs without a delegation; every other subnet's certificate carries one, signed
//! by the root, over `/subnet/<id>/public_key`, `/subnet/<id>/canister_ranges` and
//! `/canister_ranges/<id>/<shard>` (one shard). Old and new agents each find the ranges they know.

use super::keys::SubnetKeys;
use super::tree::{TreeBuilder, leb128};
use candid::Principal;
use ic_certification::{Certificate, Delegation};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const STATE_ROOT_DOMAIN: &[u8] = b"\x0Dic-state-root";

/// A delegation is renewed when the certified time is further than this from its own time; agents
/// accept delegations up to 30 days old.
const DELEGATION_MAX_AGE_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// An inclusive range of canister ids.
pub type CanisterRange = (Principal, Principal);

/// The signing side of one instance: keys of all its subnets, one of which is the root.
pub struct Authority {
    root: Arc<SubnetKeys>,
    inner: Mutex<BTreeMap<Principal, Member>>,
}

struct Member {
    keys: Arc<SubnetKeys>,
    ranges: Vec<CanisterRange>,
    /// The cached delegation and its time. Always `None` for the root subnet.
    delegation: Option<(u64, Delegation)>,
}

impl Authority {
    /// Returns an authority whose root is `root`; add the root's own ranges with [`Self::set_subnet`].
    pub fn new(root: Arc<SubnetKeys>) -> Self {
        Self {
            root,
            inner: Mutex::new(BTreeMap::new()),
        }
    }

    /// Returns the DER-wrapped root key that clients verify against.
    pub fn root_key_der(&self) -> &[u8] {
        self.root.public_key_der()
    }

    /// Returns the id of the root subnet.
    pub fn root_subnet_id(&self) -> Principal {
        self.root.subnet_id()
    }

    /// Adds a subnet or replaces its canister ranges.
    pub fn set_subnet(&self, keys: Arc<SubnetKeys>, ranges: Vec<CanisterRange>) {
        self.members().insert(
            keys.subnet_id(),
            Member {
                keys,
                ranges,
                delegation: None,
            },
        );
    }

    /// Forgets a deleted subnet: it can no longer certify anything.
    pub fn remove_subnet(&self, subnet_id: Principal) {
        self.members().remove(&subnet_id);
    }

    /// Returns the keys of a subnet.
    pub fn keys(&self, subnet_id: Principal) -> Option<Arc<SubnetKeys>> {
        self.members().get(&subnet_id).map(|m| m.keys.clone())
    }

    /// Returns the canister ranges of a subnet.
    pub fn ranges(&self, subnet_id: Principal) -> Option<Vec<CanisterRange>> {
        self.members().get(&subnet_id).map(|m| m.ranges.clone())
    }

    /// Returns the CBOR certificate of `tree` with `/time` added, signed by the subnet's key, with a
    /// delegation unless it is the root. `None` when the subnet is unknown. Costs one signature,
    /// and a second one when the delegation has to be renewed.
    pub fn certify(
        &self,
        subnet_id: Principal,
        mut tree: TreeBuilder,
        time_ns: u64,
    ) -> Option<Vec<u8>> {
        let (keys, delegation) = {
            let mut members = self.members();
            let member = members.get_mut(&subnet_id)?;
            let delegation = self.delegation_for(member, time_ns);
            (member.keys.clone(), delegation)
        };
        tree.insert(&[b"time"], leb128(time_ns));
        Some(signed_certificate(&keys, tree, delegation))
    }

    fn delegation_for(&self, member: &mut Member, time_ns: u64) -> Option<Delegation> {
        if member.keys.subnet_id() == self.root.subnet_id() {
            return None;
        }
        if let Some((made_at_ns, delegation)) = &member.delegation
            && made_at_ns.abs_diff(time_ns) <= DELEGATION_MAX_AGE_NS
        {
            return Some(delegation.clone());
        }
        let delegation = self.delegate(&member.keys, &member.ranges, time_ns);
        member.delegation = Some((time_ns, delegation.clone()));
        Some(delegation)
    }

    fn delegate(&self, keys: &SubnetKeys, ranges: &[CanisterRange], time_ns: u64) -> Delegation {
        let id = keys.subnet_id();
        let mut tree = TreeBuilder::new();
        tree.insert(&[b"time"], leb128(time_ns));
        tree.insert(
            &[b"subnet", id.as_slice(), b"public_key"],
            keys.public_key_der(),
        );
        insert_ranges(&mut tree, id, ranges);
        Delegation {
            subnet_id: id.as_slice().to_vec(),
            certificate: signed_certificate(&self.root, tree, None),
        }
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<Principal, Member>> {
        // Every critical section leaves the map whole, so a panic elsewhere does not spoil it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds both published forms of a subnet's canister ranges to a tree.
pub fn insert_ranges(tree: &mut TreeBuilder, subnet_id: Principal, ranges: &[CanisterRange]) {
    tree.insert(
        &[b"subnet", subnet_id.as_slice(), b"canister_ranges"],
        encode_ranges(ranges),
    );
    insert_range_shard(tree, subnet_id, ranges);
}

/// Adds `/canister_ranges/<subnet>/<first id>`, the sharded form, with a single shard.
pub fn insert_range_shard(tree: &mut TreeBuilder, subnet_id: Principal, ranges: &[CanisterRange]) {
    if let Some(first) = ranges.iter().map(|(start, _)| start).min() {
        tree.insert(
            &[b"canister_ranges", subnet_id.as_slice(), first.as_slice()],
            encode_ranges(ranges),
        );
    }
}

/// Returns the CBOR array of `[start, end]` byte strings, sorted by start.
pub fn encode_ranges(ranges: &[CanisterRange]) -> Vec<u8> {
    let mut sorted: Vec<[&serde_bytes::Bytes; 2]> = ranges
        .iter()
        .map(|(start, end)| {
            [
                serde_bytes::Bytes::new(start.as_slice()),
                serde_bytes::Bytes::new(end.as_slice()),
            ]
        })
        .collect();
    sorted.sort();
    to_cbor(&sorted)
}

/// Returns the self-described CBOR form of `value`.
pub fn to_cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut serializer = serde_cbor::Serializer::new(Vec::new());
    serializer
        .self_describe()
        .and_then(|()| value.serialize(&mut serializer))
        .expect("writing plain data to a vector cannot fail");
    serializer.into_inner()
}

fn signed_certificate(
    keys: &SubnetKeys,
    tree: TreeBuilder,
    delegation: Option<Delegation>,
) -> Vec<u8> {
    let tree = tree.build();
    let mut message = STATE_ROOT_DOMAIN.to_vec();
    message.extend_from_slice(&tree.digest());
    to_cbor(&Certificate {
        tree,
        signature: keys.sign(&message).to_vec(),
        delegation,
    })
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
