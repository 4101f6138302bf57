//! The wasmtime engine and its cache of compiled modules.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use wasmtime::{Caller, Config, Linker, Module, OptLevel};

use crate::api::host::{grow_heap, out_of_instructions};
use crate::api::{self, Host};
use crate::memory::heap::{HEAP_RESERVATION_BYTES, HeapCreator, HeapTracking, open_pagemap};
use crate::module::{CanisterModule, ModuleError};
use crate::module_files::ModuleFiles;
use crate::profile::{FRAMES_MAX, Profiler};
use crate::wasm::instrument::{
    GROW_HEAP, HOST_MODULE, Instrumented, OUT_OF_INSTRUCTIONS, global_export, instrument,
};
use crate::wasm::parse::Sections;
use crate::wasm::validate::{check_code_size, validate};

/// Bytes of stack Wasm code may use, as on the IC.
pub(crate) const WASM_STACK_BYTES: usize = 5 << 20;

/// Addresses after a heap that trap: lets the compiler skip bounds checks.
const HEAP_GUARD_BYTES: u64 = 2 << 30;

/// Compiled modules kept in memory; the oldest makes room.
const CACHED_MODULES_MAX: usize = 64;

/// Changes whenever instrumentation does, so that older files in the cache are not used.
const INSTRUMENTATION_VERSION: u32 = 2;

/// Bytes of compiled modules that a cache directory keeps unless told otherwise: a few hundred canisters.
pub const CACHE_BYTES_MAX: u64 = 2 << 30;

/// How an engine is set up.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Where compiled modules are kept between runs; nowhere when `None`. The directory must be
    /// as trustworthy as this executable: its files are machine code.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of compiled modules in that directory above which those that were not used for longest are
    /// removed; [`CACHE_BYTES_MAX`] when `None`.
    pub cache_bytes_max: Option<u64>,
    /// Takes a profile of all that is executed.
    pub profiler: Option<Arc<Profiler>>,
    /// How written heap pages are found.
    pub heap_tracking: HeapTracking,
}

/// Why an engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refused its configuration.
    #[error("cannot configure wasmtime: {0}")]
    Configuration(String),
    /// The cache directory cannot be used.
    #[error("cannot use {path} as module cache: {source}; name a writable directory")]
    CacheDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Compiles and runs modules; clones share one cache.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    linker: Linker<Host>,
    files: Option<ModuleFiles>,
    pagemap: Option<File>,
    profiler: Option<Arc<Profiler>>,
    modules: Mutex<ModuleCache>,
}

#[derive(Default)]
struct ModuleCache {
    modules: HashMap<[u8; 32], (u64, Arc<CanisterModule>)>,
    uses: u64,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("files", &self.inner.files)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Sets up an engine.
    ///
    /// # Errors
    /// When wasmtime refuses its configuration or the cache directory cannot be created.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let configuration = |error: wasmtime::Error| EngineError::Configuration(error.to_string());
        let bytes_max = options.cache_bytes_max.unwrap_or(CACHE_BYTES_MAX);
        let files = options
            .cache_dir
            .map(|path| {
                ModuleFiles::open(path.clone(), bytes_max)
                    .map_err(|source| EngineError::CacheDirectory { path, source })
            })
            .transpose()?;
        let wasmtime =
            wasmtime::Engine::new(&config(options.profiler.is_some())).map_err(configuration)?;
        let linker = linker(&wasmtime).map_err(configuration)?;
        Ok(Self {
            inner: Arc::new(Inner {
                wasmtime,
                linker,
                files,
                pagemap: open_pagemap(options.heap_tracking),
                profiler: options.profiler,
                modules: Mutex::default(),
            }),
        })
    }

    /// Validates, instruments and compiles a module, or finds it in the cache.
    ///
    /// `wasm` is plain Wasm; see [`decode_module`](crate::decode_module).
    ///
    /// # Errors
    /// When the module breaks a rule of the IC.
    pub fn prepare(&self, wasm: &[u8]) -> Result<Arc<CanisterModule>, ModuleError> {
        let hash: [u8; 32] = Sha256::digest(wasm).into();
        if let Some(module) = self.cached(&hash) {
            return Ok(module);
        }
        check_code_size(wasm)?;
        Module::validate(&self.inner.wasmtime, wasm).map_err(|error| {
            ModuleError::Invalid(format!(
                "Wasmtime failed to validate wasm module wasmtime::Module::validate() failed with {error:#}"
            ))
        })?;
        let decoding = |error: &dyn fmt::Display| {
            ModuleError::Invalid(format!("Failed to decode wasm module: {error}"))
        };
        let sections = Sections::parse(wasm).map_err(|error| decoding(&error))?;
        let validated = validate(&sections)?;
        let instrumented = instrument(&sections)
            .map_err(|error| ModuleError::Instrumentation(error.to_string()))?;
        let engine_error = |error: wasmtime::Error| ModuleError::Engine(format!("{error:#}"));
        let compiled = self.compile(&hash, &instrumented).map_err(engine_error)?;
        let module = Arc::new(CanisterModule {
            wasm_hash: hash,
            wasm_bytes: wasm.len() as u64,
            exports: validated.exports,
            custom_sections: validated.custom_sections,
            operators: instrumented.operators,
            data: instrumented.data,
            globals: instrumented
                .mutable_globals
                .into_iter()
                .map(global_export)
                .collect(),
            heap_pages_min: sections.memory.map_or(0, |memory| memory.initial),
            instance: self
                .inner
                .linker
                .instantiate_pre(&compiled)
                .map_err(engine_error)?,
        });
        self.remember(hash, &module);
        Ok(module)
    }

    /// Returns the wasmtime engine.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }

    /// Returns this process's page map, when heap writes are found with it.
    pub(crate) fn pagemap(&self) -> Option<&File> {
        self.inner.pagemap.as_ref()
    }

    /// Returns what takes stacks, if anything does.
    pub(crate) fn profiler(&self) -> Option<&Arc<Profiler>> {
        self.inner.profiler.as_ref()
    }

    fn cached(&self, hash: &[u8; 32]) -> Option<Arc<CanisterModule>> {
        let mut cache = self
            .inner
            .modules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        cache.uses += 1;
        let uses = cache.uses;
        cache.modules.get_mut(hash).map(|(last_use, module)| {
            *last_use = uses;
            Arc::clone(module)
        })
    }

    fn remember(&self, hash: [u8; 32], module: &Arc<CanisterModule>) {
        let mut cache = self
            .inner
            .modules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if cache.modules.len() >= CACHED_MODULES_MAX {
            let oldest = cache
                .modules
                .iter()
                .min_by_key(|(_, (last_use, _))| *last_use);
            if let Some(hash) = oldest.map(|(hash, _)| *hash) {
                cache.modules.remove(&hash);
            }
        }
        let uses = cache.uses;
        cache.modules.insert(hash, (uses, Arc::clone(module)));
    }

    fn compile(&self, hash: &[u8; 32], instrumented: &Instrumented) -> wasmtime::Result<Module> {
        let engine = &self.inner.wasmtime;
        let Some(files) = &self.inner.files else {
            return Module::new(engine, &instrumented.wasm);
        };
        let name = self.cache_name(hash);
        if let Some(module) = files.read(engine, &name) {
            return Ok(module);
        }
        let module = Module::new(engine, &instrumented.wasm)?;
        // A cache that cannot be written costs time, not correctness.
        let _ = files.write(&name, &module);
        Ok(module)
    }

    fn cache_name(&self, hash: &[u8; 32]) -> String {
        let mut hasher = DefaultHasher::new();
        self.inner
            .wasmtime
            .precompile_compatibility_hash()
            .hash(&mut hasher);
        INSTRUMENTATION_VERSION.hash(&mut hasher);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}-{:016x}", hasher.finish())
    }
}

fn config(takes_stacks: bool) -> Config {
    let mut config = Config::new();
    config
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .generate_address_map(false)
        .wasm_backtrace_max_frames(if takes_stacks {
            NonZeroUsize::new(FRAMES_MAX)
        } else {
            None
        })
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_extended_const(false)
        .wasm_tail_call(true)
        // Not used, but wasmtime wants it to be at least the next.
        .async_stack_size(WASM_STACK_BYTES)
        .max_wasm_stack(WASM_STACK_BYTES)
        .memory_reservation(HEAP_RESERVATION_BYTES)
        .memory_guard_size(HEAP_GUARD_BYTES)
        .memory_init_cow(false)
        .with_host_memory(Arc::new(HeapCreator));
    config
}

fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(
        HOST_MODULE,
        OUT_OF_INSTRUCTIONS,
        |mut caller: Caller<'_, Host>| {
            out_of_instructions(&mut caller).map_err(wasmtime::Error::new)
        },
    )?;
    linker.func_wrap(
        HOST_MODULE,
        GROW_HEAP,
        |mut caller: Caller<'_, Host>, delta: u32| {
            grow_heap(&mut caller, delta).map_err(wasmtime::Error::new)
        },
    )?;
    api::link(&mut linker)?;
    Ok(linker)
}
