//! Where the module's instructions go, by function: `--profile`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use millrace_replica::module_cache::{Profiler, decode_module};

/// Functions of each entry point that are printed.
const PRINTED: usize = 40;

static PROFILER: OnceLock<Arc<Profiler>> = OnceLock::new();

/// Takes stacks of all canisters installed from now on, one each `interval` instructions.
pub fn start(interval: u64) {
    PROFILER.get_or_init(|| Arc::new(Profiler::new(interval)));
}

/// Returns what takes stacks, if anything does.
pub fn profiler() -> Option<Arc<Profiler>> {
    PROFILER.get().cloned()
}

/// Forgets the stacks taken so far: what came before is not of interest.
pub fn restart() {
    if let Some(profiler) = PROFILER.get() {
        profiler.clear();
    }
}

/// Instructions in a function itself and in what it calls.
#[derive(Default)]
struct Share {
    own: u64,
    all: u64,
}

/// Writes the stacks to a file, and prints the functions with the most instructions by entry point.
///
/// # Errors
/// The module cannot be read or the file not be written.
pub fn report(module: &[u8], path: &Path) -> Result<()> {
    let Some(profiler) = profiler() else {
        return Ok(());
    };
    let wasm = decode_module(module).context("cannot decode the module")?;
    let mut folded = String::new();
    let mut entries: BTreeMap<String, BTreeMap<String, Share>> = BTreeMap::new();
    for (stack, instructions) in profiler.stacks(&wasm) {
        writeln!(folded, "{} {instructions}", stack.join(";"))?;
        let (Some(entry), Some(innermost)) = (stack.first(), stack.last()) else {
            continue;
        };
        let shares = entries.entry(entry.clone()).or_default();
        shares.entry(innermost.clone()).or_default().own += instructions;
        for function in stack.iter().collect::<BTreeSet<_>>() {
            shares.entry(function.clone()).or_default().all += instructions;
        }
    }
    std::fs::write(path, folded).with_context(|| format!("cannot write {}", path.display()))?;
    for (entry, shares) in entries {
        print_entry(&entry, &shares);
    }
    Ok(())
}

fn print_entry(entry: &str, shares: &BTreeMap<String, Share>) {
    let total: u64 = shares.values().map(|share| share.own).sum();
    println!("\n{entry}: {} M instructions", total / 1_000_000);
    let mut sorted: Vec<_> = shares.iter().collect();
    sorted.sort_by_key(|(_, share)| std::cmp::Reverse(share.own));
    println!("   itself  with calls");
    for (function, share) in sorted.into_iter().take(PRINTED) {
        let percent = |part: u64| part as f64 * 100.0 / total.max(1) as f64;
        println!(
            "  {:>5.1} %     {:>5.1} %  {function}",
            percent(share.own),
            percent(share.all)
        );
    }
}
