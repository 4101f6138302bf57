//! A validated, instrumented and compiled canister module.

use std::collections::BTreeSet;

use crate::input::EntryPoint;
use crate::units::Instructions;

/// Why bytes are not a canister module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// A rule of the IC is broken; the text is the IC's.
    #[error("Canister's Wasm module is not valid: {0}")]
    Invalid(String),
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
    /// Returns whether the function of `entry` exists; callbacks are in the table and always may.
    #[must_use]
    pub fn contains(&self, _entry: &EntryPoint) -> bool {
        unimplemented!()
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

/// A module ready to execute.
pub struct CanisterModule {}

impl CanisterModule {
    /// Returns the SHA-256 of the uncompressed module.
    #[must_use]
    pub fn wasm_hash(&self) -> [u8; 32] {
        unimplemented!()
    }
    /// Returns the size of the uncompressed module in bytes.
    #[must_use]
    pub fn wasm_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Returns what the module exports to the IC.
    #[must_use]
    pub fn exports(&self) -> &Exports {
        unimplemented!()
    }
    /// Returns the `icp:` custom sections.
    #[must_use]
    pub fn custom_sections(&self) -> &[CustomSection] {
        unimplemented!()
    }
    /// Returns the total size of the `icp:` custom sections in bytes.
    #[must_use]
    pub fn custom_sections_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Returns what compiling costs on installation: 6,000 instructions per operator.
    #[must_use]
    pub fn compile_instructions(&self) -> Instructions {
        unimplemented!()
    }
}

/// Undoes gzip (or passes plain Wasm through), bounded to 100 MiB of output.
///
/// # Errors
/// When the bytes are neither, or too long.
pub fn decode_module(_bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
    unimplemented!()
}
