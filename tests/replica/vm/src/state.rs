//! Heap, globals and stable memory of one canister, between messages.

use std::path::Path;
use std::sync::Arc;

use crate::module::CanisterModule;

/// Why state could not be read, written, saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The host failed.
    #[error("{action}: {source}")]
    Host {
        /// What was attempted.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A range of stable memory does not exist.
    #[error("stable memory has {size} bytes; {offset} + {len} is beyond its end")]
    OutOfBounds {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// Bytes there are.
        size: u64,
    },
}

/// The committed contents of one canister.
pub struct CanisterState {}

impl CanisterState {
    /// Returns the state right after instantiation: data segments applied, no code run.
    ///
    /// # Errors
    /// When the host cannot provide memory.
    pub fn new(_module: &Arc<CanisterModule>) -> Result<Self, StateError> {
        unimplemented!()
    }
    /// Returns a throw-away copy that shares unchanged pages.
    #[must_use]
    pub fn fork(&self) -> Self {
        unimplemented!()
    }
    /// Returns the state after an upgrade: stable memory kept, heap and globals kept or fresh.
    ///
    /// # Errors
    /// When the host cannot provide memory.
    pub fn upgrade(
        &self,
        _module: &Arc<CanisterModule>,
        _keep_heap: bool,
    ) -> Result<Self, StateError> {
        unimplemented!()
    }
    /// Returns the module the state belongs to.
    #[must_use]
    pub fn module(&self) -> &Arc<CanisterModule> {
        unimplemented!()
    }
    /// Returns the size of stable memory in Wasm pages of 64 KiB.
    #[must_use]
    pub fn stable_size_pages(&self) -> u64 {
        unimplemented!()
    }
    /// Returns the size of stable memory in bytes.
    #[must_use]
    pub fn stable_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Returns the size of the heap in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        unimplemented!()
    }
    /// Reads a range of stable memory.
    ///
    /// # Errors
    /// When the range is beyond the end, or the host fails.
    pub fn read_stable(&self, _offset: u64, _len: u64) -> Result<Vec<u8>, StateError> {
        unimplemented!()
    }
    /// Writes a range of stable memory, outside any message.
    ///
    /// # Errors
    /// When the range is beyond the end, or the host fails.
    pub fn write_stable(&mut self, _offset: u64, _bytes: &[u8]) -> Result<(), StateError> {
        unimplemented!()
    }
    /// Replaces stable memory; the length is rounded up to whole Wasm pages.
    ///
    /// # Errors
    /// When the host fails.
    pub fn set_stable(&mut self, _bytes: &[u8]) -> Result<(), StateError> {
        unimplemented!()
    }
    /// Writes heap, globals and stable memory into `dir`, which is created.
    ///
    /// # Errors
    /// When the host fails.
    pub fn save(&self, _dir: &Path) -> Result<(), StateError> {
        unimplemented!()
    }
    /// Reads what `save` wrote; `module` is the module the state belonged to.
    ///
    /// # Errors
    /// When files are missing, damaged or of another module.
    pub fn load(_dir: &Path, _module: &Arc<CanisterModule>) -> Result<Self, StateError> {
        unimplemented!()
    }
}
