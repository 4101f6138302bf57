//! Where instructions go: a stack is taken whenever another so many have been counted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use wasmparser::{KnownCustom, Name, Parser, Payload};
use wasmtime::{AsContext, WasmBacktrace};

use crate::wasm::instrument::INJECTED_IMPORTS;

/// Frames of a stack that are kept, the innermost first.
pub(crate) const FRAMES_MAX: usize = 64;

/// Takes stacks of whatever an engine executes. Samples are of counted instructions, not of time, so
/// that a system call weighs what it is charged, and two runs give the same profile.
pub struct Profiler {
    interval: u64,
    /// How often each stack of function indices was seen, innermost function first.
    samples: Mutex<HashMap<Vec<u32>, u64>>,
}

impl fmt::Debug for Profiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profiler")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl Profiler {
    /// Takes a stack every `interval` instructions; 0 counts as 1.
    #[must_use]
    pub fn new(interval: u64) -> Self {
        Self {
            interval: interval.max(1),
            samples: Mutex::default(),
        }
    }

    /// Forgets what was taken so far.
    pub fn clear(&self) {
        self.samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// Returns each stack, outermost function first, and the instructions it stands for, in no order.
    ///
    /// Functions bear the names that the module's name section gives, or their indices.
    #[must_use]
    pub fn stacks(&self, wasm: &[u8]) -> Vec<(Vec<String>, u64)> {
        let names = function_names(wasm);
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |index: &u32| {
            let original = index.saturating_sub(INJECTED_IMPORTS);
            match names.get(&original) {
                Some(name) => name.clone(),
                None => format!("function {original}"),
            }
        };
        samples
            .iter()
            .map(|(stack, seen)| {
                let names = stack.iter().rev().map(name).collect();
                (names, seen.saturating_mul(self.interval))
            })
            .collect()
    }

    /// Takes the stack if the counter fell to the watermark, and returns the next watermark.
    pub(crate) fn sample(&self, store: impl AsContext, remaining: i64, watermark: i64) -> i64 {
        if remaining >= watermark {
            return watermark;
        }
        let passed = watermark.abs_diff(remaining) / self.interval + 1;
        let stack = WasmBacktrace::force_capture(store)
            .frames()
            .iter()
            .take(FRAMES_MAX)
            .map(wasmtime::FrameInfo::func_index)
            .collect();
        *self
            .samples
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(stack)
            .or_default() += passed;
        let step = i64::try_from(passed.saturating_mul(self.interval)).unwrap_or(i64::MAX);
        watermark.saturating_sub(step)
    }

    /// Returns the first watermark of a message that may use this many instructions.
    pub(crate) fn first_watermark(&self, limit: i64) -> i64 {
        limit.saturating_sub(i64::try_from(self.interval).unwrap_or(i64::MAX))
    }
}

fn function_names(wasm: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for payload in Parser::new(0).parse_all(wasm).flatten() {
        let Payload::CustomSection(section) = payload else {
            continue;
        };
        let KnownCustom::Name(reader) = section.as_known() else {
            continue;
        };
        for subsection in reader.into_iter().flatten() {
            if let Name::Function(functions) = subsection {
                for naming in functions.into_iter().flatten() {
                    names.insert(naming.index, naming.name.to_owned());
                }
            }
        }
    }
    names
}
