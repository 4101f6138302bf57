//! The complete durable state in a folder.
//!
//! ```text
//! network.cbor            magic, version, then everything but code and memories, with a checksum
//! modules/<sha256>        modules as they were uploaded
//! canisters/<id>/         heap, globals and stable memory, as millrace-vm writes them
//! snapshots/<hex id>/     the same of snapshots
//! ```

use crate::canister::{Canister, Code};
use crate::error::NetworkError;
use crate::fees::Fees;
use crate::limits::{LimitsConfig, SubnetLimits};
use crate::management::Snapshot;
use crate::network::{Certifier, Network};
use crate::routing::Routing;
use crate::run::{Env, Rules};
use crate::subnet::{Subnet, SubnetState};
use crate::topology::SubnetSpec;
use millrace_vm::{CanisterModule, CanisterState, Engine, decode_module};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"MRSUBNET";
const VERSION: u32 = 3;
const HEADER_BYTES: usize = 8 + 4 + 32;

type SnapshotRecord = crate::management::SnapshotRecord;

/// What `network.cbor` holds.
#[derive(Serialize, Deserialize)]
struct SavedNetwork<S> {
    time_ns: u64,
    last_round_ns: u64,
    unnamed_messages: u64,
    limits: LimitsConfig,
    /// Subnets in the order they were added.
    routing: Routing,
    subnets: Vec<S>,
}

#[derive(Serialize)]
struct SubnetRef<'a> {
    spec: &'a SubnetSpec,
    limits: &'a SubnetLimits,
    state: &'a SubnetState,
    canisters: Vec<(&'a Canister, Option<serde_bytes::ByteBuf>)>,
    snapshots: Vec<(
        serde_bytes::ByteBuf,
        &'a SnapshotRecord,
        serde_bytes::ByteBuf,
    )>,
}

#[derive(Deserialize)]
struct SavedSubnet {
    spec: SubnetSpec,
    limits: SubnetLimits,
    state: SubnetState,
    /// Each with the hash of its module.
    canisters: Vec<(Canister, Option<serde_bytes::ByteBuf>)>,
    /// Each with its id and the hash of its module.
    snapshots: Vec<(serde_bytes::ByteBuf, SnapshotRecord, serde_bytes::ByteBuf)>,
}

fn failed(path: &Path, reason: impl std::fmt::Display) -> NetworkError {
    NetworkError::SavedState {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

impl Network {
    /// Writes the complete durable state into a new or empty folder.
    ///
    /// Usage records are part of it. Nothing is synced to disk; callers that replace a checkpoint do.
    ///
    /// # Errors
    /// [`NetworkError::SavedState`].
    pub fn save(&self, dir: &Path) -> Result<(), NetworkError> {
        for folder in ["modules", "canisters", "snapshots"] {
            let path = dir.join(folder);
            std::fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
        }
        let mut subnets = Vec::new();
        for spec in &self.env.routing.subnets {
            let Some(subnet) = self.subnets.get(&spec.id) else {
                continue;
            };
            for canister in subnet.canisters.values() {
                if let Some(code) = &canister.code {
                    save_code(dir, &canister_dir(dir, canister), code)?;
                }
            }
            for (id, snapshot) in &subnet.snapshots {
                save_code(dir, &snapshot_dir(dir, id), &snapshot.code)?;
            }
            subnets.push(subnet_ref(subnet));
        }
        let saved = SavedNetwork {
            time_ns: self.env.time_ns,
            last_round_ns: self.last_round_ns,
            unnamed_messages: self.unnamed_messages,
            limits: self.limits.clone(),
            routing: self.env.routing.clone(),
            subnets,
        };
        let path = dir.join("network.cbor");
        let mut body = Vec::new();
        ciborium::into_writer(&saved, &mut body).map_err(|error| failed(&path, error))?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend_from_slice(&body);
        std::fs::write(&path, bytes).map_err(|error| failed(&path, error))
    }

    /// Returns the network that [`Network::save`] wrote. Limits are the saved ones.
    ///
    /// # Errors
    /// [`NetworkError::SavedState`] when the folder is incomplete, corrupt or of another version.
    pub fn load(
        dir: &Path,
        engine: Engine,
        certifier: Arc<dyn Certifier>,
    ) -> Result<Self, NetworkError> {
        let path = dir.join("network.cbor");
        let bytes = std::fs::read(&path).map_err(|error| failed(&path, error))?;
        let body = checked_body(&path, &bytes)?;
        let saved: SavedNetwork<SavedSubnet> =
            ciborium::from_reader(body).map_err(|error| failed(&path, error))?;
        let root_key = Arc::from(certifier.root_key());
        let mut loader = Loader {
            dir,
            engine: &engine,
            modules: BTreeMap::new(),
        };
        let mut subnets = BTreeMap::new();
        for subnet in saved.subnets {
            let subnet = loader.subnet(subnet)?;
            subnets.insert(subnet.id(), subnet);
        }
        Ok(Self {
            env: Env {
                engine,
                certifier,
                root_key,
                time_ns: saved.time_ns,
                routing: saved.routing,
            },
            limits: saved.limits,
            subnets,
            last_round_ns: saved.last_round_ns,
            unnamed_messages: saved.unnamed_messages,
        })
    }
}

/// Returns what follows the header, after checking magic, version and checksum.
fn checked_body<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a [u8], NetworkError> {
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(failed(
            path,
            format!("{} bytes are too few for a saved network", bytes.len()),
        ));
    };
    if !header.starts_with(MAGIC) {
        return Err(failed(path, "not a saved network"));
    }
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if version != VERSION {
        return Err(failed(
            path,
            format!(
                "format version {version}, but this program reads {VERSION}: use the program that wrote it or start afresh"
            ),
        ));
    }
    if header[12..] != Sha256::digest(body)[..] {
        return Err(failed(
            path,
            "the checksum does not match: the file is damaged",
        ));
    }
    Ok(body)
}

fn canister_dir(dir: &Path, canister: &Canister) -> PathBuf {
    dir.join("canisters").join(canister.id.to_text())
}

fn snapshot_dir(dir: &Path, id: &[u8]) -> PathBuf {
    dir.join("snapshots").join(hex::encode(id))
}

fn module_path(dir: &Path, hash: &[u8]) -> PathBuf {
    dir.join("modules").join(hex::encode(hash))
}

fn save_code(dir: &Path, state_dir: &Path, code: &Code) -> Result<(), NetworkError> {
    let path = module_path(dir, &code.module_hash);
    if !path.exists() {
        std::fs::write(&path, &code.uploaded).map_err(|error| failed(&path, error))?;
    }
    code.state
        .save(state_dir)
        .map_err(|error| failed(state_dir, error))
}

fn subnet_ref(subnet: &Subnet) -> SubnetRef<'_> {
    let hash = |code: &Code| serde_bytes::ByteBuf::from(code.module_hash.to_vec());
    SubnetRef {
        spec: &subnet.rules.spec,
        limits: &subnet.rules.limits,
        state: &subnet.state,
        canisters: subnet
            .canisters
            .values()
            .map(|canister| (canister, canister.code.as_ref().map(hash)))
            .collect(),
        snapshots: subnet
            .snapshots
            .iter()
            .map(|(id, snapshot)| {
                (
                    serde_bytes::ByteBuf::from(id.clone()),
                    &snapshot.record,
                    hash(&snapshot.code),
                )
            })
            .collect(),
    }
}

/// A module as it was uploaded, and ready to execute.
type LoadedModule = (Arc<[u8]>, Arc<CanisterModule>);

/// Reads code back; canisters with the same module share it.
struct Loader<'a> {
    dir: &'a Path,
    engine: &'a Engine,
    modules: BTreeMap<Vec<u8>, LoadedModule>,
}

impl Loader<'_> {
    fn subnet(&mut self, saved: SavedSubnet) -> Result<Subnet, NetworkError> {
        let mut canisters = BTreeMap::new();
        for (mut canister, hash) in saved.canisters {
            if let Some(hash) = hash {
                let state_dir = canister_dir(self.dir, &canister);
                canister.code = Some(self.code(&hash, &state_dir)?);
            }
            canisters.insert(canister.id, canister);
        }
        let mut snapshots = BTreeMap::new();
        for (id, record, hash) in saved.snapshots {
            let id = id.into_vec();
            let code = self.code(&hash, &snapshot_dir(self.dir, &id))?;
            snapshots.insert(id, Snapshot { record, code });
        }
        let fees = Fees::of(&saved.spec);
        let rules = Rules {
            spec: saved.spec,
            limits: saved.limits,
            fees,
        };
        Ok(Subnet {
            rules,
            state: saved.state,
            canisters,
            snapshots,
        })
    }

    fn code(&mut self, hash: &[u8], state_dir: &Path) -> Result<Code, NetworkError> {
        let (uploaded, module) = match self.modules.get(hash) {
            Some(known) => known.clone(),
            None => {
                let loaded = self.module(hash)?;
                self.modules.insert(hash.to_vec(), loaded.clone());
                loaded
            }
        };
        let module_hash = Sha256::digest(&uploaded).into();
        let state =
            CanisterState::load(state_dir, &module).map_err(|error| failed(state_dir, error))?;
        Ok(Code {
            state,
            uploaded,
            module_hash,
        })
    }

    fn module(&self, hash: &[u8]) -> Result<LoadedModule, NetworkError> {
        let path = module_path(self.dir, hash);
        let uploaded = std::fs::read(&path).map_err(|error| failed(&path, error))?;
        if Sha256::digest(&uploaded)[..] != *hash {
            return Err(failed(
                &path,
                "the module does not match its hash: the file is damaged",
            ));
        }
        let wasm = decode_module(&uploaded).map_err(|error| failed(&path, error))?;
        let module = self
            .engine
            .prepare(&wasm)
            .map_err(|error| failed(&path, error))?;
        Ok((Arc::from(uploaded), module))
    }
}
