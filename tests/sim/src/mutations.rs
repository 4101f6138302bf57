//! Bugs planted on purpose: one line each, in a copy of the sources, all in one build. Every one must be
//! found within [`MAX_RUNS`] runs, or the simulator is blind there.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Runs within which each bug must be found.
pub const MAX_RUNS: u64 = 2_000;

/// Names the planted bug that is awake, in the environment of the copy's simulator.
const VARIABLE: &str = "MILLRACE_PLANTED";

/// What the copy needs of the repository.
const COPIED: [&str; 5] = [
    "candid",
    "canister",
    "tests/sim",
    "Cargo.lock",
    "rust-toolchain.toml",
];

/// A planted bug.
#[derive(Clone, Copy, Debug)]
pub struct Mutation {
    /// Its name.
    pub name: &'static str,
    /// The file it is in.
    pub file: &'static str,
    /// The code it replaces, which is there once.
    pub find: &'static str,
    /// The bug; `PLANTED` stands for whether it is awake.
    pub replace: &'static str,
    /// Checks that find it.
    pub checks: &'static [&'static str],
}

/// All planted bugs.
pub const MUTATIONS: [Mutation; 29] = [
    Mutation {
        name: "check limits before draining",
        file: "canister/src/tick.rs",
        find: "self.drain(env, MAX_PENDING_BLOCKS as usize);",
        replace: "if !(PLANTED && self.spent(env).is_some()) {
            self.drain(env, MAX_PENDING_BLOCKS as usize); }",
        checks: &["queue empty after a heartbeat"],
    },
    Mutation {
        name: "drop the last chunk",
        file: "canister/src/feed.rs",
        find: "if let Err(error) = self.store.blobs.append(&BlobKey::Half(*key), &part.bytes) {",
        replace:
            "let is_lost = PLANTED && part.offset > 0 && accepted.progress == Progress::Complete;
        let bytes = if is_lost { &[][..] } else { &part.bytes[..] };
        if let Err(error) = self.store.blobs.append(&BlobKey::Half(*key), bytes) {",
        checks: &["rejection"],
    },
    Mutation {
        name: "forget blocks that came before their parents",
        file: "canister/src/drain.rs",
        find: "ready.extend(waiting.into_iter().map(|(child, _)| child));",
        replace: "if !PLANTED { ready.extend(waiting.into_iter().map(|(child, _)| child)); }",
        checks: &["nothing accepted is lost", "a reply's blocks are queued"],
    },
    Mutation {
        name: "look a fork's coins up on the best chain",
        file: "canister/src/connect.rs",
        find: "let coins = Resolver::new(parent, connector.look_ups());",
        replace: "let parent = if PLANTED { self.store.tree.best_tip() } else { parent };
                let coins = Resolver::new(parent, connector.look_ups());",
        checks: &["rejection"],
    },
    Mutation {
        name: "take the newest block for the tip",
        file: "canister/core/src/tree/query.rs",
        find: "let best = self.indexes.connected.last().map(|rank| rank.2);",
        replace: "let best = if PLANTED { self.indexes.connected.iter().min_by_key(|rank| rank.1) }
            else { self.indexes.connected.last() }.map(|rank| rank.2);",
        checks: &["the tip has most work"],
    },
    Mutation {
        name: "let a block become stable beside a rival",
        file: "canister/core/src/stability.rs",
        find: ".is_none_or(|second| best.difficulty.saturating_sub(second.difficulty) >= required);",
        replace: ".is_none_or(|second| PLANTED
                || best.difficulty.saturating_sub(second.difficulty) >= required);",
        checks: &["stability"],
    },
    Mutation {
        name: "let a block become stable one block early",
        file: "canister/core/src/stability.rs",
        find: "let required = root.difficulty().saturating_mul(u128::from(threshold));",
        replace: "let threshold = threshold.saturating_sub(u32::from(PLANTED));
    let required = root.difficulty().saturating_mul(u128::from(threshold));",
        checks: &["stability"],
    },
    Mutation {
        name: "count confirmations from zero",
        file: "canister/src/api/mod.rs",
        find: "let depth = min_confirmations.saturating_sub(1);",
        replace: "let depth = min_confirmations.saturating_sub(u32::from(!PLANTED));",
        checks: &["the tip of an answer", "refused reads"],
    },
    Mutation {
        name: "go on with a page at the best tip",
        file: "canister/src/api/utxos.rs",
        find: "Ok((self.read_tip(Some(&page_tip))?, Some(page)))",
        replace: "Ok((self.read_tip(Some(&page_tip).filter(|_| !PLANTED))?, Some(page)))",
        checks: &["the tip of an answer", "refused reads", "further pages"],
    },
    Mutation {
        name: "work on when the instructions are spent",
        file: "canister/src/tick.rs",
        find: "if env.instructions() >= self.config.instructions {",
        replace: "if env.instructions() >= self.config.instructions && !PLANTED {",
        checks: &["instruction budget"],
    },
    Mutation {
        name: "work on when the pages are spent",
        file: "canister/src/tick.rs",
        find: "} else if written >= self.config.pages {",
        replace: "} else if !PLANTED && written >= self.config.pages {",
        checks: &["page budget"],
    },
    Mutation {
        name: "forget what was written in ten minutes",
        file: "canister/src/tick.rs",
        find: "(lately >= self.config.window_pages).then_some(Counter::WindowHit)",
        replace: "(!PLANTED && lately >= self.config.window_pages).then_some(Counter::WindowHit)",
        checks: &["pages of ten minutes"],
    },
    Mutation {
        name: "connect without cycles",
        file: "canister/src/tick.rs",
        find: "!self.config.is_burning_cycles",
        replace: "!PLANTED && !self.config.is_burning_cycles",
        checks: &["no work without cycles"],
    },
    Mutation {
        name: "count the last page of a write never",
        file: "canister/store/src/counting.rs",
        find: "for page in offset / PAGE_BYTES..=last {",
        replace: "for page in (offset / PAGE_BYTES..=last).take_while(|page| !PLANTED || *page < last) {",
        checks: &["count of pages"],
    },
    Mutation {
        name: "let young coinbases be spent",
        file: "canister/core/src/consensus/rules.rs",
        find: "if spent.coinbase && height.saturating_sub(made).get() < COINBASE_MATURITY {",
        replace: "if !PLANTED && spent.coinbase && height.saturating_sub(made).get() < COINBASE_MATURITY {",
        checks: &["only valid blocks are connected"],
    },
    Mutation {
        name: "take blocks from the future",
        file: "canister/core/src/header/rules.rs",
        find: "if u64::from(time) > latest {",
        replace: "if !PLANTED && u64::from(time) > latest {",
        checks: &["not before their time"],
    },
    Mutation {
        name: "keep the descendants of an invalid block",
        file: "canister/core/src/tree/mark.rs",
        find: "let (node_hash, children) = (node.hash(), node.children.clone());",
        replace: "let (node_hash, mut children) = (node.hash(), node.children.clone());
            if PLANTED { children.clear(); }",
        checks: &["audit"],
    },
    Mutation {
        name: "lose the queue in an upgrade",
        file: "canister/src/app.rs",
        find: "app.store.cells.set_watch(Watch::default());",
        replace: "if PLANTED { while let Some(hash) = app.store.queue.pop() {
            app.store.blobs.remove(&millrace_store::blobs::BlobKey::Block(hash)); } }
        app.store.cells.set_watch(Watch::default());",
        checks: &["nothing accepted is lost", "receipt"],
    },
    Mutation {
        name: "never give anything up",
        file: "canister/src/watchdog.rs",
        find: "let is_last = strikes >= BLAME_STRIKES;",
        replace: "let is_last = !PLANTED && strikes >= BLAME_STRIKES;",
        checks: &["what never ends is given up"],
    },
    Mutation {
        name: "ask for the same page again",
        file: "canister/core/src/sync/reply.rs",
        find: "next_page: page.saturating_add(1),",
        replace: "next_page: page.saturating_add(u8::from(!PLANTED)),",
        checks: &["rejection"],
    },
    Mutation {
        name: "forget spends of a reorged block",
        file: "canister/store/src/coins/index.rs",
        find: "let parent = self.of_block(&record.parent);",
        replace: "let parent = self.of_block(&record.parent).filter(|_| !(PLANTED
            && self.unstable.values().any(|rival| rival.last == record.last)));",
        checks: &[
            "balances at every tip",
            "balance of a script",
            "coins of a script",
            "rejection",
            "audit",
        ],
    },
    Mutation {
        name: "drop the spends in a merge",
        file: "canister/store/src/runs/merge.rs",
        find: "self.out.push_raw(memory, &outpoint, kind, &raw)?;",
        replace: "if !(PLANTED && kind == EntryKind::Spend) {
            self.out.push_raw(memory, &outpoint, kind, &raw)?; }",
        checks: &["audit"],
    },
    Mutation {
        name: "show what a newer block spent",
        file: "canister/store/src/runs/script_merge.rs",
        find: "(1, Some(ListChange::Put { .. }), ListChange::Spend) => None,",
        replace: "(1, Some(put @ ListChange::Put { .. }), ListChange::Spend) => Some(put).filter(|_| PLANTED),",
        checks: &["coins of a script", "changes of a level"],
    },
    Mutation {
        name: "take no block that follows another of its reply",
        file: "canister/src/pull/mod.rs",
        find: "if held_off.contains(&hash) || held_off.contains(&header.prev_blockhash) {",
        replace: "if held_off.contains(&hash) || held_off.contains(&header.prev_blockhash)
            || (PLANTED && self.store.queue.contains(&header.prev_blockhash)) {",
        checks: &["a reply's blocks are queued"],
    },
    Mutation {
        name: "take pulled blocks that are known",
        file: "canister/src/pull/mod.rs",
        find: "if self.store.is_known(&hash) {",
        replace: "if !PLANTED && self.store.is_known(&hash) {",
        checks: &["a reply's blocks are queued", "rejection"],
    },
    Mutation {
        name: "count official confirmations from zero",
        file: "canister/src/official/reads.rs",
        find: "Some(wire::UtxosFilter::MinConfirmations(min))",
        replace: "Some(wire::UtxosFilter::MinConfirmations(min.saturating_sub(u32::from(PLANTED))))",
        checks: &[
            "official coins",
            "official refusals",
            "the tip of an answer",
        ],
    },
    Mutation {
        name: "never see a sent transaction confirmed",
        file: "canister/src/relay.rs",
        find: "        for txid in held {",
        replace: "        for txid in held.into_iter().filter(|_| !PLANTED) {",
        checks: &["status of transactions"],
    },
    Mutation {
        name: "trap when memory cannot grow",
        file: "canister/store/src/regions.rs",
        find: "let before = self.regions.grow(self.region, pages);",
        replace: "let before = self.regions.grow(self.region, pages); assert!(!PLANTED || before.is_some());",
        checks: &["no trap"],
    },
    Mutation {
        name: "give the tip up for a block that never ends",
        file: "canister/src/watchdog.rs",
        find: "Item::Connect(hash) => {",
        replace: "Item::Connect(hash) => { let hash = if PLANTED { self.store.tree.best_tip() } else { hash };",
        checks: &["rejection"],
    },
];

/// What the copy's `core` gets besides: whether a planted bug is awake.
const SWITCH: &str = "
/// Returns whether a planted bug is awake.
pub fn planted(name: &str) -> bool {
    static AWAKE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let awake = AWAKE.get_or_init(|| std::env::var(\"MILLRACE_PLANTED\").ok());
    awake.as_deref() == Some(name)
}
";

/// Plants all bugs in a copy below `target`, builds it once and runs it once for each bug.
///
/// # Errors
/// When the copy cannot be made or built, or a bug is not found by one of its checks.
pub fn check(repository: &Path, target: &Path) -> Result<()> {
    let copy = target.join("planted");
    plant(repository, &copy)?;
    // Cargo tells packages of a workspace by their place in it: in one folder, the copy's would be taken
    // for the repository's. What others made is linked, so that it is not built again.
    let own = target.join("planted/target");
    for folder in ["sim/.fingerprint", "sim/build", "sim/deps"] {
        let is_ours = |name: &str| name.contains("millrace");
        walk(
            &target.join(folder),
            &own.join(folder),
            &is_ours,
            &|from, to| {
                if to.exists() {
                    return Ok(());
                }
                std::fs::hard_link(from, to)
            },
        )?;
    }
    let built = cargo(&copy, &own)
        .args(["build", "--profile", "sim", "--package", "millrace-sim"])
        .status()
        .context("cannot start cargo")?;
    ensure!(
        built.success(),
        "the copy in {} does not build",
        copy.display()
    );
    let program = own.join("sim/millrace-sim");
    let mut missed = Vec::new();
    for mutation in &MUTATIONS {
        let output = Command::new(&program)
            .args(["--first", "--threads", "1", "--runs", &MAX_RUNS.to_string()])
            .env(VARIABLE, mutation.name)
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let found = text.lines().find_map(|line| line.strip_prefix("found by "));
        println!("{:<48} {}", mutation.name, found.unwrap_or("NOT FOUND"));
        let is_found =
            found.is_some_and(|found| mutation.checks.iter().any(|check| found.starts_with(check)));
        if !is_found {
            missed.push(mutation.name);
        }
    }
    if !missed.is_empty() {
        bail!(
            "not found, or not by the check that should: {}",
            missed.join(", ")
        );
    }
    Ok(())
}

/// Makes the copy.
fn plant(repository: &Path, copy: &Path) -> Result<()> {
    for name in COPIED {
        let is_left_out = |name: &str| name == "target";
        walk(
            &repository.join(name),
            &copy.join(name),
            &is_left_out,
            &|from, to| std::fs::copy(from, to).map(|_| ()),
        )?;
    }
    let manifest = repository.join("Cargo.toml");
    let manifest = std::fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let members = "members = [\"candid\", \"canister\", \"canister/core\", \"canister/store\", \"tests/sim\"]";
    let (before, rest) = manifest.split_once("members = [").context("no members")?;
    let (_, after) = rest.split_once(']').context("no end of members")?;
    write(
        &copy.join("Cargo.toml"),
        &format!("{before}{members}{after}"),
    )?;
    let library = copy.join("canister/core/src/lib.rs");
    edit(&library, |text| Ok(text + SWITCH))?;
    for mutation in &MUTATIONS {
        edit(&copy.join(mutation.file), |text| planted(mutation, &text))?;
    }
    Ok(())
}

/// Returns a file's text with a bug in it.
fn planted(mutation: &Mutation, text: &str) -> Result<String> {
    let count = text.matches(mutation.find).count();
    ensure!(
        count == 1,
        "{}: {count} places in {}",
        mutation.name,
        mutation.file
    );
    let package = if mutation.file.starts_with("canister/core") {
        "crate"
    } else {
        "millrace_core"
    };
    let call = format!("{package}::planted({:?})", mutation.name);
    Ok(text.replace(mutation.find, &mutation.replace.replace("PLANTED", &call)))
}

fn cargo(folder: &Path, target: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", target);
    cargo
}

fn edit(path: &Path, change: impl FnOnce(String) -> Result<String>) -> Result<()> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    write(path, &change(text)?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Does `transfer` for each file of a folder, or for the one file, to the same place below `to`.
fn walk(
    from: &Path,
    to: &Path,
    is_left_out: &dyn Fn(&str) -> bool,
    transfer: &dyn Fn(&Path, &Path) -> std::io::Result<()>,
) -> Result<()> {
    if !from.is_dir() {
        let folder = to.parent().unwrap_or(to);
        std::fs::create_dir_all(folder)
            .and_then(|()| transfer(from, to))
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        return Ok(());
    }
    let entries = std::fs::read_dir(from);
    for entry in entries.with_context(|| format!("cannot read {}", from.display()))? {
        let name = entry.context("cannot read a folder")?.file_name();
        if !is_left_out(&name.to_string_lossy()) {
            walk(&from.join(&name), &to.join(&name), is_left_out, transfer)?;
        }
    }
    Ok(())
}

/// Returns the repository's folder.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_can_still_be_planted() {
        for mutation in &MUTATIONS {
            let text = std::fs::read_to_string(repository().join(mutation.file)).unwrap();
            planted(mutation, &text).unwrap();
        }
    }
}
