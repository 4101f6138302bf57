//! Snapshots in folders, with which tests carry a canister's state from one instance to another.
//!
//! ```text
//! metadata.json      what the canister knew besides code and memories
//! wasm_module.bin    the module as it was uploaded
//! memories/          heap, globals and stable memory, as millrace-vm writes them
//! wasm_chunk_store/  the chunks of the chunk store
//! ```
//!
//! A folder may have been changed since, or come from anywhere: everything read from it is checked.

use super::snapshots::{Snapshot, SnapshotRecord, charge, next_snapshot_id};
use super::{Subnet, errors};
use crate::canister::{Canister, ChunkStore, Code, LowMemoryHook};
use crate::error::NetworkError;
use crate::network::Network;
use crate::run::Env;
use crate::topology::CanisterId;
use candid::Principal;
use millrace_vm::{CanisterState, MODULE_BYTES_MAX, decode_module};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Format of the folder.
const VERSION: u32 = 1;
const METADATA_FILE: &str = "metadata.json";
const MODULE_FILE: &str = "wasm_module.bin";
const MEMORIES: &str = "memories";
const CHUNKS: &str = "wasm_chunk_store";
const METADATA_BYTES_MAX: u64 = 1 << 16;
/// Bytes of certified data that a canister can set.
const CERTIFIED_DATA_BYTES_MAX: usize = 32;

#[derive(Serialize, Deserialize)]
struct Metadata {
    version: u32,
    /// In hexadecimal digits.
    certified_data: String,
    global_timer_ns: u64,
    low_memory_hook: LowMemoryHook,
}

fn failed(path: &Path, reason: impl std::fmt::Display) -> NetworkError {
    NetworkError::SnapshotFolder {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

impl Network {
    /// Writes a snapshot into `dir`, which is created if missing and must be empty.
    ///
    /// # Errors
    /// [`NetworkError::CanisterNotFound`]; [`NetworkError::Refused`] when `sender` does not control the
    /// canister or the canister has no such snapshot; [`NetworkError::SnapshotFolder`].
    pub fn download_snapshot(
        &self,
        sender: &Principal,
        canister_id: &CanisterId,
        snapshot_id: &[u8],
        dir: &Path,
    ) -> Result<(), NetworkError> {
        let view = self.canister(canister_id)?;
        if !view.canister.is_controller(sender) {
            return Err(errors::invalid_controller(view.canister, sender).into());
        }
        let snapshot = view.subnet.owned_snapshot(canister_id, snapshot_id)?;
        write(snapshot, dir)
    }

    /// Makes what [`Network::download_snapshot`] wrote a snapshot of the canister, which pays for it as for
    /// taking one, and returns its id.
    ///
    /// # Errors
    /// [`NetworkError::CanisterNotFound`]; [`NetworkError::Refused`] when `sender` does not control the
    /// canister, it has too many snapshots or too few cycles; [`NetworkError::SnapshotFolder`] when a file
    /// is missing, damaged or too large.
    pub fn upload_snapshot(
        &mut self,
        sender: &Principal,
        canister_id: &CanisterId,
        replaced: Option<&[u8]>,
        dir: &Path,
    ) -> Result<Vec<u8>, NetworkError> {
        let view = self.canister(canister_id)?;
        if !view.canister.is_controller(sender) {
            return Err(errors::invalid_controller(view.canister, sender).into());
        }
        view.subnet.check_replaced(canister_id, replaced)?;
        let snapshot = read(&self.env, view.subnet, view.canister, dir)?;
        let home = view.subnet.id();
        let subnet = self
            .subnets
            .get_mut(&home)
            .ok_or(NetworkError::SubnetNotFound(home))?;
        let (limits, fees) = (subnet.rules.limits.clone(), subnet.rules.fees);
        let canister = subnet.canister_mut(canister_id)?;
        charge(canister, snapshot.record.bytes, &limits, &fees)?;
        let id = next_snapshot_id(canister);
        subnet.replace_snapshot(canister_id, replaced, id.clone(), snapshot);
        Ok(id)
    }
}

fn write(snapshot: &Snapshot, dir: &Path) -> Result<(), NetworkError> {
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let mut entries = fs::read_dir(dir).map_err(|error| failed(dir, error))?;
    if entries.next().is_some() {
        return Err(failed(dir, "is not empty; name an empty or a new folder"));
    }
    let Snapshot { record, code } = snapshot;
    let metadata = Metadata {
        version: VERSION,
        certified_data: hex::encode(&record.certified_data),
        global_timer_ns: record.global_timer_ns,
        low_memory_hook: record.low_memory_hook,
    };
    let path = dir.join(METADATA_FILE);
    let text = serde_json::to_vec_pretty(&metadata).map_err(|error| failed(&path, error))?;
    fs::write(&path, text).map_err(|error| failed(&path, error))?;
    let path = dir.join(MODULE_FILE);
    fs::write(&path, &code.uploaded).map_err(|error| failed(&path, error))?;
    let chunks = dir.join(CHUNKS);
    fs::create_dir(&chunks).map_err(|error| failed(&chunks, error))?;
    for (hash, chunk) in &record.chunks.chunks {
        let path = chunks.join(format!("{}.bin", hex::encode(hash)));
        fs::write(&path, chunk).map_err(|error| failed(&path, error))?;
    }
    let path = dir.join(MEMORIES);
    code.state.save(&path).map_err(|error| failed(&path, error))
}

fn read(
    env: &Env,
    subnet: &Subnet,
    canister: &Canister,
    dir: &Path,
) -> Result<Snapshot, NetworkError> {
    let path = dir.join(METADATA_FILE);
    let text = read_file(&path, METADATA_BYTES_MAX)?;
    let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| failed(&path, error))?;
    if metadata.version != VERSION {
        let reason = format!("format version {} is not {VERSION}", metadata.version);
        return Err(failed(&path, reason));
    }
    let certified_data =
        hex::decode(&metadata.certified_data).map_err(|error| failed(&path, error))?;
    if certified_data.len() > CERTIFIED_DATA_BYTES_MAX {
        let bytes = certified_data.len();
        let reason =
            format!("{bytes} bytes of certified data, at most {CERTIFIED_DATA_BYTES_MAX} can be");
        return Err(failed(&path, reason));
    }
    let path = dir.join(MODULE_FILE);
    let uploaded = read_file(&path, MODULE_BYTES_MAX)?;
    let module = decode_module(&uploaded)
        .and_then(|wasm| env.engine.prepare(&wasm))
        .map_err(|error| failed(&path, error))?;
    let chunks = read_chunks(subnet, &dir.join(CHUNKS))?;
    let path = dir.join(MEMORIES);
    let state = CanisterState::load(&path, &module).map_err(|error| failed(&path, error))?;
    let limit = subnet.limits().stable_memory_bytes;
    if state.stable_bytes() > limit {
        let bytes = state.stable_bytes();
        return Err(NetworkError::StableMemoryTooLarge { bytes, limit });
    }
    let chunk_slots = chunks.chunks.len() as u64 * subnet.limits().chunk_bytes;
    Ok(Snapshot {
        record: SnapshotRecord {
            canister_id: canister.id,
            taken_ns: env.time_ns,
            bytes: state.heap_bytes() + state.stable_bytes() + uploaded.len() as u64 + chunk_slots,
            canister_version: canister.version,
            certified_data,
            global_timer_ns: metadata.global_timer_ns,
            low_memory_hook: metadata.low_memory_hook,
            chunks,
            uploaded: true,
        },
        code: Code {
            state,
            module_hash: Sha256::digest(&uploaded).into(),
            uploaded: Arc::from(uploaded),
        },
    })
}

fn read_chunks(subnet: &Subnet, dir: &Path) -> Result<ChunkStore, NetworkError> {
    let limits = subnet.limits();
    let mut store = ChunkStore::default();
    for entry in fs::read_dir(dir).map_err(|error| failed(dir, error))? {
        let path = entry.map_err(|error| failed(dir, error))?.path();
        if store.chunks.len() as u64 >= limits.chunks_per_canister {
            let reason = format!("more than {} chunks", limits.chunks_per_canister);
            return Err(failed(dir, reason));
        }
        let chunk = read_file(&path, limits.chunk_bytes)?;
        let hash = Sha256::digest(&chunk).into();
        store.chunks.insert(hash, serde_bytes::ByteBuf::from(chunk));
    }
    Ok(store)
}

fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, NetworkError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        .map_err(|error| failed(path, error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(failed(path, format!("more than {bytes_max} bytes")));
    }
    Ok(bytes)
}
