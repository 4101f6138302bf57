//! Heap, globals and stable memory of one canister, between messages.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::{ExternType, V128, Val, ValType};

use crate::memory::pages::Pages;
use crate::module::CanisterModule;
use crate::units::WASM_PAGE_BYTES;

const HEAP_FILE: &str = "heap.bin";
const STABLE_FILE: &str = "stable.bin";
const STATE_FILE: &str = "state.cbor";

/// Format of the files `save` writes.
const STATE_VERSION: u32 = 1;
/// Bytes of the file of globals; a module has at most 1,000 of them.
const STATE_FILE_BYTES_MAX: u64 = 1 << 20;
/// Pages that a 32-bit memory can have.
const HEAP_PAGES_MAX: u64 = 1 << 16;
/// Pages that stable memory can have on the IC: 500 GiB.
const STABLE_PAGES_MAX: u64 = (500 << 30) / WASM_PAGE_BYTES;

/// Why state could not be read, written, saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The host failed. Transient: memory or disk space may be missing.
    #[error("cannot {action}: {source}")]
    Host {
        /// What was attempted.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A range of stable memory does not exist. Permanent.
    #[error("stable memory has {size} bytes; {offset} + {len} is beyond its end")]
    OutOfBounds {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// Bytes there are.
        size: u64,
    },
    /// Saved state is not this package's, or of another module. Permanent.
    #[error("{path} cannot be used: {reason}; restore the directory or start without it")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

fn host(action: impl Into<String>) -> impl FnOnce(io::Error) -> StateError {
    let action = action.into();
    |source| StateError::Host { action, source }
}

/// The value of a mutable global; floats as bits, so that NaNs keep theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GlobalValue {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u64, u64),
}

impl GlobalValue {
    /// Returns the value in wasmtime's terms.
    pub(crate) fn to_val(self) -> Val {
        match self {
            Self::I32(value) => Val::I32(value),
            Self::I64(value) => Val::I64(value),
            Self::F32(bits) => Val::F32(bits),
            Self::F64(bits) => Val::F64(bits),
            Self::V128(high, low) => {
                Val::V128(V128::from(u128::from(high) << 64 | u128::from(low)))
            }
        }
    }

    /// Returns the value of a number or vector.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "splits 128 bits into halves"
    )]
    pub(crate) fn from_val(value: &Val) -> Option<Self> {
        Some(match value {
            Val::I32(value) => Self::I32(*value),
            Val::I64(value) => Self::I64(*value),
            Val::F32(bits) => Self::F32(*bits),
            Val::F64(bits) => Self::F64(*bits),
            Val::V128(value) => Self::V128((value.as_u128() >> 64) as u64, value.as_u128() as u64),
            _ => return None,
        })
    }

    /// Returns whether a global of this type can hold the value.
    fn is_a(self, content: &ValType) -> bool {
        matches!(
            (self, content),
            (Self::I32(_), ValType::I32)
                | (Self::I64(_), ValType::I64)
                | (Self::F32(_), ValType::F32)
                | (Self::F64(_), ValType::F64)
                | (Self::V128(..), ValType::V128)
        )
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    #[serde(with = "serde_bytes")]
    wasm_hash: Vec<u8>,
    heap_pages: u64,
    stable_pages: u64,
    globals: Option<Vec<GlobalValue>>,
}

impl Saved {
    /// Checks that the module could have come to this state, as far as sizes and types tell.
    fn check(&self, module: &CanisterModule) -> Result<(), String> {
        if self.version != STATE_VERSION {
            return Err(format!("version {} is not {STATE_VERSION}", self.version));
        }
        if self.wasm_hash != module.wasm_hash() {
            return Err("it belongs to another module".to_owned());
        }
        let heap_pages = module.heap_pages_min..=HEAP_PAGES_MAX;
        if !heap_pages.contains(&self.heap_pages) {
            return Err(format!(
                "a heap of {} pages, but the module's has {} to {HEAP_PAGES_MAX}",
                self.heap_pages, module.heap_pages_min
            ));
        }
        if self.stable_pages > STABLE_PAGES_MAX {
            return Err(format!(
                "stable memory of {} pages, more than {STABLE_PAGES_MAX}",
                self.stable_pages
            ));
        }
        let Some(globals) = &self.globals else {
            return Ok(());
        };
        if globals.len() != module.globals.len() {
            return Err(format!(
                "{} globals, but the module has {}",
                globals.len(),
                module.globals.len()
            ));
        }
        let exports = module.instance.module();
        for (name, value) in module.globals.iter().zip(globals) {
            let fits = match exports.get_export(name) {
                Some(ExternType::Global(global)) => value.is_a(global.content()),
                _ => false,
            };
            if !fits {
                return Err(format!("{value:?} is not of the type of {name}"));
            }
        }
        Ok(())
    }
}

/// The committed contents of one canister.
#[derive(Debug)]
pub struct CanisterState {
    pub(crate) module: Arc<CanisterModule>,
    pub(crate) heap: Pages,
    /// Size of the heap in Wasm pages.
    pub(crate) heap_pages: u64,
    pub(crate) stable: Pages,
    /// Size of stable memory in Wasm pages.
    pub(crate) stable_pages: u64,
    /// Values of the mutable globals in the module's order; `None` are the module's own.
    pub(crate) globals: Option<Vec<GlobalValue>>,
}

impl CanisterState {
    /// Returns the state right after instantiation: data segments applied, no code run.
    ///
    /// # Errors
    /// When the host cannot provide memory.
    pub fn new(module: &Arc<CanisterModule>) -> Result<Self, StateError> {
        let stable = Pages::new().map_err(host("create stable memory"))?;
        Ok(Self {
            module: Arc::clone(module),
            heap: fresh_heap(module)?,
            heap_pages: module.heap_pages_min,
            stable,
            stable_pages: 0,
            globals: None,
        })
    }

    /// Returns a copy that shares unchanged pages; neither sees the other's changes.
    ///
    /// Costs the same whatever the size. While both live, commits of each go to an overlay of its own,
    /// so copies that are not kept are best dropped before the next message.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            module: Arc::clone(&self.module),
            heap: self.heap.clone(),
            heap_pages: self.heap_pages,
            stable: self.stable.clone(),
            stable_pages: self.stable_pages,
            globals: self.globals.clone(),
        }
    }

    /// Returns the state after an upgrade: stable memory kept; the heap kept if asked for (the
    /// IC's `wasm_memory_persistence = keep`) or fresh; globals always fresh.
    ///
    /// # Errors
    /// When the host cannot provide memory.
    pub fn upgrade(
        &self,
        module: &Arc<CanisterModule>,
        keep_heap: bool,
    ) -> Result<Self, StateError> {
        let (heap, heap_pages) = if keep_heap {
            (
                self.heap.clone(),
                self.heap_pages.max(module.heap_pages_min),
            )
        } else {
            (fresh_heap(module)?, module.heap_pages_min)
        };
        Ok(Self {
            module: Arc::clone(module),
            heap,
            heap_pages,
            stable: self.stable.clone(),
            stable_pages: self.stable_pages,
            globals: None,
        })
    }

    /// Returns the module the state belongs to.
    #[must_use]
    pub fn module(&self) -> &Arc<CanisterModule> {
        &self.module
    }

    /// Returns the size of stable memory in Wasm pages of 64 KiB.
    #[must_use]
    pub fn stable_size_pages(&self) -> u64 {
        self.stable_pages
    }

    /// Returns the size of stable memory in bytes.
    #[must_use]
    pub fn stable_bytes(&self) -> u64 {
        self.stable_pages * WASM_PAGE_BYTES
    }

    /// Returns the size of the heap in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        self.heap_pages * WASM_PAGE_BYTES
    }

    /// Reads a range of stable memory.
    ///
    /// # Errors
    /// When the range is beyond the end, or the host fails.
    pub fn read_stable(&self, offset: u64, len: u64) -> Result<Vec<u8>, StateError> {
        self.check_stable(offset, len)?;
        let out_of_memory = |_| host("read stable memory")(io::ErrorKind::OutOfMemory.into());
        let mut bytes = Vec::new();
        let capacity = usize::try_from(len).map_err(out_of_memory)?;
        bytes.try_reserve_exact(capacity).map_err(|_| {
            host(format!("hold {len} bytes of stable memory"))(io::ErrorKind::OutOfMemory.into())
        })?;
        bytes.resize(capacity, 0);
        self.stable
            .read_at(offset, &mut bytes)
            .map_err(host("read stable memory"))?;
        Ok(bytes)
    }

    /// Writes a range of stable memory, outside any message.
    ///
    /// # Errors
    /// When the range is beyond the end, or the host fails.
    pub fn write_stable(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StateError> {
        self.check_stable(offset, bytes.len() as u64)?;
        self.stable
            .write_at(offset, bytes)
            .map_err(host("write stable memory"))
    }

    /// Replaces stable memory; the length is rounded up to whole Wasm pages.
    ///
    /// # Errors
    /// When the host fails; stable memory is then as before.
    pub fn set_stable(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let mut stable = Pages::new().map_err(host("create stable memory"))?;
        stable
            .write_at(0, bytes)
            .map_err(host("write stable memory"))?;
        self.stable = stable;
        self.stable_pages = (bytes.len() as u64).div_ceil(WASM_PAGE_BYTES);
        Ok(())
    }

    /// Writes heap, globals and stable memory into `dir`, which is created if missing.
    ///
    /// Holes stay holes. The caller makes the directory appear as a whole if it must.
    ///
    /// # Errors
    /// When the host fails.
    pub fn save(&self, dir: &Path) -> Result<(), StateError> {
        let write = |what: &str| host(format!("save {what} to {}", dir.display()));
        fs::create_dir_all(dir).map_err(write("state"))?;
        self.heap
            .save(&dir.join(HEAP_FILE))
            .map_err(write("the heap"))?;
        self.stable
            .save(&dir.join(STABLE_FILE))
            .map_err(write("stable memory"))?;
        let saved = Saved {
            version: STATE_VERSION,
            wasm_hash: self.module.wasm_hash().to_vec(),
            heap_pages: self.heap_pages,
            stable_pages: self.stable_pages,
            globals: self.globals.clone(),
        };
        let bytes = serde_cbor::to_vec(&saved).expect("plain data can be encoded");
        fs::write(dir.join(STATE_FILE), bytes).map_err(write("globals"))
    }

    /// Reads what `save` wrote; `module` is the module the state belonged to. The files are checked: they
    /// may come from elsewhere.
    ///
    /// # Errors
    /// When files are missing, damaged or of another module.
    pub fn load(dir: &Path, module: &Arc<CanisterModule>) -> Result<Self, StateError> {
        let read = |what: &str| host(format!("load {what} from {}", dir.display()));
        let path = dir.join(STATE_FILE);
        let mut bytes = Vec::new();
        fs::File::open(&path)
            .and_then(|file| file.take(STATE_FILE_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(read("state"))?;
        let unusable = |reason: String| StateError::Unusable {
            path: path.display().to_string(),
            reason,
        };
        let saved: Saved =
            serde_cbor::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        saved.check(module).map_err(unusable)?;
        let memory = |file: &str, pages: u64| Pages::load(&dir.join(file), pages * WASM_PAGE_BYTES);
        Ok(Self {
            module: Arc::clone(module),
            heap: memory(HEAP_FILE, saved.heap_pages).map_err(read("the heap"))?,
            heap_pages: saved.heap_pages,
            stable: memory(STABLE_FILE, saved.stable_pages).map_err(read("stable memory"))?,
            stable_pages: saved.stable_pages,
            globals: saved.globals,
        })
    }

    fn check_stable(&self, offset: u64, len: u64) -> Result<(), StateError> {
        let size = self.stable_bytes();
        if offset.checked_add(len).is_none_or(|end| end > size) {
            return Err(StateError::OutOfBounds { offset, len, size });
        }
        Ok(())
    }
}

fn fresh_heap(module: &CanisterModule) -> Result<Pages, StateError> {
    let mut heap = Pages::new().map_err(host("create the heap"))?;
    for segment in &module.data {
        heap.write_at(segment.offset.into(), &segment.bytes)
            .map_err(host("fill the heap"))?;
    }
    Ok(heap)
}
