//! A validated, instrumented and compiled canister module.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;

use wasmtime::InstancePre;

use crate::api::Host;
use crate::input::EntryPoint;
use crate::units::Instructions;
use crate::wasm::parse::ActiveData;

/// Bytes an uncompressed module may have.
pub const MODULE_BYTES_MAX: u64 = 100 << 20;

/// What compiling one operator costs on installation.
const COMPILE_INSTRUCTIONS_PER_OPERATOR: u64 = 6_000;

/// Why bytes are not a canister module. Permanent: the same bytes fail again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// A rule of the IC is broken; the text is the IC's.
    #[error("Canister's Wasm module is not valid: {0}")]
    Invalid(String),
    /// The module cannot be instrumented; the text is the IC's.
    #[error("Could not instrument wasm module of canister: {0}")]
    Instrumentation(String),
    /// wasmtime failed on a valid module.
    #[error("Canister encountered a Wasm engine error: {0}")]
    Engine(String),
}

/// What a module exports to the IC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// Names after `canister_update `.
    pub updates: BTreeSet<String>,
    /// Names after `canister_query `.
    pub queries: BTreeSet<String>,
    /// Names after `canister_composite_query `.
    pub composite_queries: BTreeSet<String>,
    /// Whether the module has a start function.
    pub start: bool,
    /// Whether `canister_init` exists.
    pub init: bool,
    /// Whether `canister_pre_upgrade` exists.
    pub pre_upgrade: bool,
    /// Whether `canister_post_upgrade` exists.
    pub post_upgrade: bool,
    /// Whether `canister_inspect_message` exists.
    pub inspect_message: bool,
    /// Whether `canister_heartbeat` exists.
    pub heartbeat: bool,
    /// Whether `canister_global_timer` exists.
    pub global_timer: bool,
    /// Whether `canister_on_low_wasm_memory` exists.
    pub low_wasm_memory: bool,
}

impl Exports {
    /// Returns whether the function of `entry` exists; callbacks are in the table, and may.
    #[must_use]
    pub fn contains(&self, entry: &EntryPoint) -> bool {
        match entry {
            EntryPoint::Start => self.start,
            EntryPoint::Init => self.init,
            EntryPoint::PreUpgrade => self.pre_upgrade,
            EntryPoint::PostUpgrade => self.post_upgrade,
            EntryPoint::Update(name) => self.updates.contains(name),
            EntryPoint::Query(name) => self.queries.contains(name),
            EntryPoint::CompositeQuery(name) => self.composite_queries.contains(name),
            EntryPoint::Heartbeat => self.heartbeat,
            EntryPoint::GlobalTimer => self.global_timer,
            EntryPoint::LowWasmMemory => self.low_wasm_memory,
            EntryPoint::InspectMessage => self.inspect_message,
            EntryPoint::ReplyCallback(_)
            | EntryPoint::RejectCallback(_)
            | EntryPoint::Cleanup(_) => true,
        }
    }
}

/// A custom section named `icp:public <name>` or `icp:private <name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomSection {
    /// Whether anyone may read it; controllers always may.
    pub public: bool,
    /// The name after the visibility.
    pub name: String,
    /// The content.
    pub content: Vec<u8>,
}

/// A module ready to execute. Made by [`Engine::prepare`](crate::Engine::prepare).
pub struct CanisterModule {
    pub(crate) wasm_hash: [u8; 32],
    pub(crate) wasm_bytes: u64,
    pub(crate) exports: Exports,
    pub(crate) custom_sections: Vec<CustomSection>,
    pub(crate) operators: u64,
    pub(crate) data: Vec<ActiveData>,
    /// Names under which the mutable globals are exported.
    pub(crate) globals: Vec<String>,
    /// Wasm pages of a fresh heap.
    pub(crate) heap_pages_min: u64,
    pub(crate) instance: InstancePre<Host>,
}

impl CanisterModule {
    /// Returns the SHA-256 of the uncompressed module.
    #[must_use]
    pub fn wasm_hash(&self) -> [u8; 32] {
        self.wasm_hash
    }

    /// Returns the size of the uncompressed module in bytes.
    #[must_use]
    pub fn wasm_bytes(&self) -> u64 {
        self.wasm_bytes
    }

    /// Returns what the module exports to the IC.
    #[must_use]
    pub fn exports(&self) -> &Exports {
        &self.exports
    }

    /// Returns the `icp:` custom sections in the module's order.
    #[must_use]
    pub fn custom_sections(&self) -> &[CustomSection] {
        &self.custom_sections
    }

    /// Returns the size of the `icp:` custom sections in bytes, names included.
    #[must_use]
    pub fn custom_sections_bytes(&self) -> u64 {
        let bytes = |section: &CustomSection| section.name.len() + section.content.len();
        self.custom_sections.iter().map(bytes).sum::<usize>() as u64
    }

    /// Returns what compiling costs on installation: 6,000 instructions per operator of the
    /// module's functions, and two operators per global.
    #[must_use]
    pub fn compile_instructions(&self) -> Instructions {
        Instructions(
            self.operators
                .saturating_mul(COMPILE_INSTRUCTIONS_PER_OPERATOR),
        )
    }
}

impl fmt::Debug for CanisterModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanisterModule")
            .field("wasm_bytes", &self.wasm_bytes)
            .field("exports", &self.exports)
            .finish_non_exhaustive()
    }
}

/// Undoes gzip, or passes plain Wasm through.
///
/// # Errors
/// When the bytes are neither, or uncompressed longer than [`MODULE_BYTES_MAX`].
pub fn decode_module(bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
    const WASM_MAGIC: &[u8] = b"\0asm";
    const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b, 0x08];
    let decoding =
        |detail: String| ModuleError::Invalid(format!("Failed to decode wasm module: {detail}"));
    let too_long = || {
        decoding(format!(
            "module is longer than {MODULE_BYTES_MAX} bytes uncompressed"
        ))
    };
    if bytes.starts_with(WASM_MAGIC) {
        return if bytes.len() as u64 > MODULE_BYTES_MAX {
            Err(too_long())
        } else {
            Ok(bytes.to_vec())
        };
    }
    if !bytes.starts_with(GZIP_MAGIC) {
        return Err(decoding("unsupported canister module format".to_owned()));
    }
    let mut wasm = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .take(MODULE_BYTES_MAX + 1)
        .read_to_end(&mut wasm)
        .map_err(|error| decoding(error.to_string()))?;
    if wasm.len() as u64 > MODULE_BYTES_MAX {
        return Err(too_long());
    }
    if !wasm.starts_with(WASM_MAGIC) {
        return Err(decoding("unsupported canister module format".to_owned()));
    }
    Ok(wasm)
}
