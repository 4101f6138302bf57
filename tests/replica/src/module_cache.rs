//! Where compiled modules are kept between runs: compiling a canister takes seconds, its state
//! loads in none. The folder holds at most [`millrace_vm::CACHE_BYTES_MAX`].

use millrace_vm::{Engine, EngineError, EngineOptions};
pub use millrace_vm::{Profiler, decode_module};
use std::env;
use std::path::PathBuf;
use std::sync::Arc;

/// The environment variable naming the folder; empty switches the cache off.
pub const VARIABLE: &str = "MILLRACE_MODULE_CACHE";

/// Returns an engine with the cache of this user, or without one if the folder cannot be used.
///
/// # Errors
/// When wasmtime refuses its configuration.
pub fn engine() -> Result<Engine, EngineError> {
    profiled_engine(None)
}

/// Returns an engine as [`engine`] does that takes stacks of what it executes, if there is a profiler.
///
/// # Errors
/// When wasmtime refuses its configuration.
pub fn profiled_engine(profiler: Option<Arc<Profiler>>) -> Result<Engine, EngineError> {
    let cached = EngineOptions {
        profiler: profiler.clone(),
        cache_dir: folder(|name| env::var_os(name).map(PathBuf::from)),
        ..EngineOptions::default()
    };
    match Engine::new(cached) {
        Err(EngineError::CacheDirectory { path, source }) => {
            tracing::warn!(path = %path.display(), %source, "compiled modules are not kept");
            Engine::new(EngineOptions {
                profiler,
                ..EngineOptions::default()
            })
        }
        engine => engine,
    }
}

/// Chooses the folder: what [`VARIABLE`] names, else one in the user's cache.
fn folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(named) = variable(VARIABLE) {
        return (!named.as_os_str().is_empty()).then_some(named);
    }
    let cache = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(variable("HOME")?.join(".cache")));
    Some(cache?.join("millrace/modules"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        folder(|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| PathBuf::from(value))
        })
    }

    #[test]
    fn the_named_folder_wins_over_the_users_cache() {
        type Case = (
            &'static [(&'static str, &'static str)],
            Option<&'static str>,
        );
        let cases: [Case; 5] = [
            (&[(VARIABLE, "/m"), ("HOME", "/h")], Some("/m")),
            (&[(VARIABLE, ""), ("HOME", "/h")], None),
            (
                &[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")],
                Some("/c/millrace/modules"),
            ),
            (
                &[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")],
                Some("/h/.cache/millrace/modules"),
            ),
            (&[], None),
        ];
        for (variables, wanted) in cases {
            assert_eq!(with(variables), wanted.map(PathBuf::from), "{variables:?}");
        }
    }
}
