//! The wasmtime engine and its cache of compiled modules.

use std::path::PathBuf;
use std::sync::Arc;

use crate::module::{CanisterModule, ModuleError};

/// How an engine is set up.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Where compiled modules are kept between runs; nowhere when `None`.
    pub cache_dir: Option<PathBuf>,
}

/// Why an engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refused its configuration.
    #[error("cannot configure wasmtime: {0}")]
    Configuration(String),
}

/// Compiles and runs modules; clones share one cache.
#[derive(Clone)]
pub struct Engine {}

impl Engine {
    /// Sets up an engine.
    ///
    /// # Errors
    /// When wasmtime refuses its configuration.
    pub fn new(_options: EngineOptions) -> Result<Self, EngineError> {
        unimplemented!()
    }

    /// Validates, instruments and compiles a module, or finds it in the cache.
    ///
    /// # Errors
    /// When the module breaks a rule of the IC.
    pub fn prepare(&self, _wasm: &[u8]) -> Result<Arc<CanisterModule>, ModuleError> {
        unimplemented!()
    }
}
