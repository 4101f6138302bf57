//! The modules that run in the replica, compiled once for all runs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use candid::Principal;
use millrace_subnet::Certifier;
use millrace_vm::{Engine, EngineOptions};

/// The environment variable naming the folder of the canister modules.
const WASM_DIR: &str = "MILLRACE_WASM_DIR";

/// The environment variable naming the folder of compiled modules, as for the replica.
const CACHE: &str = "MILLRACE_MODULE_CACHE";
/// Vouches for nothing: queries only need to see that there is a certificate.
pub(crate) struct NoKeys;

impl Certifier for NoKeys {
    fn data_certificate(&self, _: &Principal, _: &Principal, _: &[u8], _: u64) -> Option<Vec<u8>> {
        Some(b"a certificate".to_vec())
    }

    fn root_key(&self) -> Vec<u8> {
        b"no key".to_vec()
    }
}

/// What all runs share: compiled modules, and their bytes.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) module: Vec<u8>,
    pub(crate) source: Vec<u8>,
}

pub(crate) fn shared() -> Result<&'static Shared, String> {
    static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let folder = std::env::var_os(CACHE)
            .filter(|folder| !folder.is_empty())
            .unwrap_or_else(|| "target/modules".into());
        let engine = Engine::new(EngineOptions {
            cache_dir: Some(repository().join(folder)),
            ..EngineOptions::default()
        });
        let source = wat::parse_str(include_str!("source.wat"));
        Ok(Shared {
            engine: engine.map_err(|error| error.to_string())?,
            module: read_module()?,
            source: source.map_err(|error| error.to_string())?,
        })
    });
    shared.as_ref().map_err(Clone::clone)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Reads the module where `cargo xtask wasm` puts it.
fn read_module() -> Result<Vec<u8>, String> {
    let folder = std::env::var_os(WASM_DIR).unwrap_or_else(|| "target/wasm".into());
    let path = repository().join(folder).join("millrace.wasm.gz");
    std::fs::read(&path).map_err(|error| {
        format!(
            "cannot read {}: {error}; run `cargo xtask wasm` to build it, or name its folder in {WASM_DIR}",
            path.display()
        )
    })
}
