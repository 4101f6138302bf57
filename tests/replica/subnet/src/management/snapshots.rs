//! Snapshots: taking, loading, listing and deleting copies of a canister's code and memories.

use super::{Caller, ManagementUsage, Reply, decode, encode, errors};
use crate::canister::{Canister, ChunkStore, Code, LowMemoryHook};
use crate::error::UserError;
use crate::run::Env;
use crate::subnet::Subnet;
use crate::topology::CanisterId;
use candid::Reserved;
use ic_management_canister_types::{
    ChangeDetails, DeleteCanisterSnapshotArgs, ListCanisterSnapshotsArgs, LoadCanisterSnapshotArgs,
    LoadSnapshotRecord, Snapshot as SnapshotInfo, SnapshotSource, SnapshotVisibility,
    TakeCanisterSnapshotArgs,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A copy of a canister. The code is saved apart, in files of its own.
pub(crate) struct Snapshot {
    pub(crate) record: SnapshotRecord,
    pub(crate) code: Code,
}

/// What a snapshot keeps besides code and memories.
#[derive(Serialize, Deserialize)]
pub(crate) struct SnapshotRecord {
    pub(crate) canister_id: CanisterId,
    pub(crate) taken_ns: u64,
    pub(crate) bytes: u64,
    pub(crate) canister_version: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) certified_data: Vec<u8>,
    pub(crate) global_timer_ns: u64,
    pub(crate) low_memory_hook: LowMemoryHook,
    pub(crate) chunks: ChunkStore,
    /// Whether it came out of a folder rather than from the canister.
    pub(crate) uploaded: bool,
}

impl Snapshot {
    fn info(&self, id: &[u8]) -> SnapshotInfo {
        SnapshotInfo {
            id: id.to_vec(),
            taken_at_timestamp: self.record.taken_ns,
            total_size: self.record.bytes,
        }
    }
}

impl Subnet {
    pub(super) fn take_snapshot(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        payload: &[u8],
        usage: &mut ManagementUsage,
    ) -> Reply {
        let args: TakeCanisterSnapshotArgs = decode(payload)?;
        let id = args.canister_id;
        self.chunk_owner(&caller.principal, &id)?;
        self.check_replaced(&id, args.replace_snapshot.as_deref())?;
        let limits = self.rules.limits.clone();
        let fees = self.rules.fees;
        let canister = self.canisters.get_mut(&id).expect("looked up just before");
        if canister.heap_delta_debit >= limits.heap_delta_rate {
            let debit = canister.heap_delta_debit;
            return Err(errors::heap_delta_limited(
                &id,
                debit,
                limits.heap_delta_rate,
            ));
        }
        if canister.code.is_none() {
            return Err(errors::snapshot_of_empty(&id));
        }
        let memory = canister.memory(&limits);
        let bytes = memory.heap + memory.stable + memory.binary + memory.chunks;
        let instructions = charge(canister, bytes, &limits, &fees)?;
        let snapshot = snapshot_of(canister, env.time_ns, bytes)
            .ok_or_else(|| errors::snapshot_of_empty(&id))?;
        let snapshot_id = next_snapshot_id(canister);
        let info = snapshot.info(&snapshot_id);
        let replaced = args.replace_snapshot.as_deref();
        self.replace_snapshot(&id, replaced, snapshot_id, snapshot);
        usage.instructions += instructions;
        usage.heap_delta += bytes;
        let canister = self.canister_mut(&id)?;
        canister.heap_delta_debit += bytes;
        if args.uninstall_code == Some(true) {
            self.uninstall(env, &id);
        }
        Ok(encode((info,)))
    }

    /// Checks the snapshot to be replaced, or that there is room for one more.
    pub(super) fn check_replaced(
        &self,
        id: &CanisterId,
        replaced: Option<&[u8]>,
    ) -> Result<(), UserError> {
        if let Some(replaced) = replaced {
            return self.owned_snapshot(id, replaced).map(|_| ());
        }
        let count = self
            .snapshots
            .values()
            .filter(|snapshot| snapshot.record.canister_id == *id)
            .count();
        let limit = self.rules.limits.snapshots_per_canister;
        if count as u64 >= limit {
            return Err(errors::too_many_snapshots(id, limit));
        }
        Ok(())
    }

    pub(super) fn owned_snapshot(
        &self,
        id: &CanisterId,
        snapshot: &[u8],
    ) -> Result<&Snapshot, UserError> {
        match self.snapshots.get(snapshot) {
            None => Err(errors::snapshot_not_found(id, snapshot)),
            Some(found) if found.record.canister_id != *id => {
                Err(errors::snapshot_not_owned(id, snapshot))
            }
            Some(found) => Ok(found),
        }
    }

    pub(super) fn load_snapshot(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        payload: &[u8],
        usage: &mut ManagementUsage,
    ) -> Reply {
        let args: LoadCanisterSnapshotArgs = decode(payload)?;
        let id = args.canister_id;
        self.chunk_owner(&caller.principal, &id)?;
        let limits = self.rules.limits.clone();
        let fees = self.rules.fees;
        let canister = self.canisters.get_mut(&id).expect("looked up just before");
        let snapshot = match self.snapshots.get(&args.snapshot_id) {
            None => return Err(errors::snapshot_not_found(&id, &args.snapshot_id)),
            Some(snapshot) if snapshot.record.canister_id != id => {
                return Err(errors::snapshot_not_owned(&id, &args.snapshot_id));
            }
            Some(snapshot) => snapshot,
        };
        let record = &snapshot.record;
        usage.instructions += charge(canister, record.bytes, &limits, &fees)?;
        canister.code = Some(Code {
            state: snapshot.code.state.fork(),
            uploaded: Arc::clone(&snapshot.code.uploaded),
            module_hash: snapshot.code.module_hash,
        });
        canister.certified_data.clone_from(&record.certified_data);
        canister.global_timer_ns = record.global_timer_ns;
        canister.low_memory_hook = record.low_memory_hook;
        canister.chunks = record.chunks.clone();
        canister.version += 1;
        canister.heap_delta_debit += record.bytes;
        usage.heap_delta += record.bytes;
        canister.history.record(
            env.time_ns,
            canister.version,
            caller.change_origin(args.sender_canister_version),
            ChangeDetails::LoadSnapshot(LoadSnapshotRecord {
                from_canister_id: None,
                snapshot_id: args.snapshot_id.clone(),
                canister_version: record.canister_version,
                taken_at_timestamp: record.taken_ns,
                source: if record.uploaded {
                    SnapshotSource::MetadataUpload(Reserved)
                } else {
                    SnapshotSource::TakenFromCanister(Reserved)
                },
            }),
            limits.history_entries,
        );
        Ok(encode(()))
    }

    pub(super) fn list_snapshots(&mut self, caller: &Caller<'_>, payload: &[u8]) -> Reply {
        let args: ListCanisterSnapshotsArgs = decode(payload)?;
        let id = args.canister_id;
        let canister = self.canister_mut(&id)?;
        let visible = match &canister.settings.snapshot_visibility {
            SnapshotVisibility::Public => true,
            SnapshotVisibility::Controllers => false,
            SnapshotVisibility::AllowedViewers(viewers) => viewers.contains(&caller.principal),
        };
        if !visible {
            self.chunk_owner(&caller.principal, &id)?;
        }
        let snapshots: Vec<SnapshotInfo> = self
            .snapshots
            .iter()
            .filter(|(_, snapshot)| snapshot.record.canister_id == id)
            .map(|(snapshot_id, snapshot)| snapshot.info(snapshot_id))
            .collect();
        Ok(encode((snapshots,)))
    }

    pub(super) fn delete_snapshot(&mut self, caller: &Caller<'_>, payload: &[u8]) -> Reply {
        let args: DeleteCanisterSnapshotArgs = decode(payload)?;
        self.chunk_owner(&caller.principal, &args.canister_id)?;
        self.owned_snapshot(&args.canister_id, &args.snapshot_id)?;
        self.snapshots.remove(&args.snapshot_id);
        self.refresh_snapshot_bytes(&args.canister_id);
        Ok(encode(()))
    }

    /// Keeps a snapshot, in place of another one if so asked.
    pub(super) fn replace_snapshot(
        &mut self,
        canister: &CanisterId,
        replaced: Option<&[u8]>,
        id: Vec<u8>,
        snapshot: Snapshot,
    ) {
        if let Some(replaced) = replaced {
            self.snapshots.remove(replaced);
        }
        self.snapshots.insert(id, snapshot);
        self.refresh_snapshot_bytes(canister);
    }

    fn refresh_snapshot_bytes(&mut self, id: &CanisterId) {
        let bytes = self
            .snapshots
            .values()
            .filter(|snapshot| snapshot.record.canister_id == *id)
            .map(|snapshot| snapshot.record.bytes)
            .sum();
        if let Some(canister) = self.canisters.get_mut(id) {
            canister.snapshot_bytes = bytes;
        }
    }
}

/// Charges for copying this many bytes and returns the instructions.
pub(super) fn charge(
    canister: &mut Canister,
    bytes: u64,
    limits: &crate::limits::SubnetLimits,
    fees: &crate::fees::Fees,
) -> Result<u64, UserError> {
    let instructions = limits.snapshot_instructions.saturating_add(bytes);
    let price = fees.execution(instructions);
    canister
        .withdraw(price, limits, fees, true)
        .map_err(|error| errors::snapshot_unpaid(&error))?;
    canister.consumed = canister.consumed.saturating_add(price);
    Ok(instructions)
}

/// Returns a copy of the canister, or `None` of an empty one.
fn snapshot_of(canister: &Canister, taken_ns: u64, bytes: u64) -> Option<Snapshot> {
    let code = canister.code.as_ref()?;
    Some(Snapshot {
        record: SnapshotRecord {
            canister_id: canister.id,
            taken_ns,
            bytes,
            canister_version: canister.version,
            certified_data: canister.certified_data.clone(),
            global_timer_ns: canister.global_timer_ns,
            low_memory_hook: canister.low_memory_hook,
            chunks: canister.chunks.clone(),
            uploaded: false,
        },
        code: Code {
            state: code.state.fork(),
            uploaded: Arc::clone(&code.uploaded),
            module_hash: code.module_hash,
        },
    })
}

/// Returns a snapshot id as the IC forms it: a counter, then the canister id.
pub(super) fn next_snapshot_id(canister: &mut Canister) -> Vec<u8> {
    let mut id = canister.snapshots_taken.to_be_bytes().to_vec();
    canister.snapshots_taken += 1;
    id.extend_from_slice(canister.id.as_slice());
    id
}
