//! The small and the full chain of the mark to beat: taking them in, what they occupy, every read, and
//! an upgrade on top.

use anyhow::{Context, Result, anyhow, bail};
use bitcoin::Block;
use candid::Nat;
use millrace_candid::{BlockValidation, GetStatusResult, InitConfig, InitNetwork};
use millrace_tests::chain::{Body, MainnetLike, Named, Plan};

use crate::cache::{Cache, Prepared};
use crate::canister::{Canister, adapter};
use crate::counts::{Counts, Row, row};
use crate::phase::Phase;
use crate::profile;
use crate::reads::{self, Rows};
use crate::sample::Sample;
use crate::workload::Bench;

/// Coins the generator keeps to spend.
const SPENDABLE_MAX: usize = 2_000_000;

/// Blocks of the surge.
const SURGE_BLOCKS: u32 = 50;

/// What an upgrade and the first message after it, which opens each change, may cost with 500 unstable
/// blocks, in instructions.
pub const UPGRADE_MAX: u64 = 60_000_000;

/// A chain, and how deep a block must lie to be stable.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Begins the names of its rows.
    pub name: &'static str,
    /// The chain.
    pub plan: Plan,
    /// Depth of stability.
    pub threshold: u32,
}

/// 160 blocks, the last 50 with 300 transactions, threshold 20, 220,000 UTXOs at the end.
pub fn small() -> Mark {
    Mark {
        name: "small",
        plan: Plan {
            seed: 160,
            funding_blocks: 110,
            funding_outputs: 1_981,
            growth: None,
            blocks: 50,
            body: Body::of(300),
            named: named(&[1, 6_246]),
            spendable_max: SPENDABLE_MAX,
        },
        threshold: 20,
    }
}

/// 300 blocks, the last 190 of mainnet's size, threshold 144, 965,000 UTXOs at the end, of which 46 or
/// 47 full blocks became stable.
pub fn full() -> Mark {
    Mark {
        name: "full",
        plan: Plan {
            seed: 300,
            funding_blocks: 110,
            funding_outputs: 8_060,
            growth: None,
            blocks: 190,
            body: Body::MAINNET,
            named: named(&[1, 6_246, 21_463]),
            spendable_max: SPENDABLE_MAX,
        },
        threshold: 144,
    }
}

/// 30 blocks of mainnet's size on 220,000 UTXOs, threshold 10: what a full block costs, without the hour
/// that the full chain takes where each costs much.
pub fn full_blocks() -> Mark {
    Mark {
        name: "30_full_blocks",
        plan: Plan {
            seed: 30,
            funding_blocks: 110,
            funding_outputs: 2_000,
            growth: None,
            blocks: 30,
            body: Body::MAINNET,
            named: named(&[1, 6_246]),
            spendable_max: SPENDABLE_MAX,
        },
        threshold: 10,
    }
}

/// A chain whose last `blocks` blocks are unstable, for an upgrade on top.
pub fn unstable(name: &'static str, blocks: u32, body: Body) -> Mark {
    Mark {
        name,
        plan: Plan {
            seed: 500,
            funding_blocks: 110,
            funding_outputs: if body == Body::MAINNET { 2_000 } else { 200 },
            growth: None,
            blocks,
            body,
            named: named(&[1]),
            spendable_max: SPENDABLE_MAX,
        },
        // Nothing becomes stable but by regtest's limit of depth: 500.
        threshold: 1_000,
    }
}

fn named(utxos: &[u32]) -> Vec<Named> {
    let named = utxos.iter().map(|utxos| Named { utxos: *utxos });
    named.collect()
}

/// A regtest canister that is pushed to, with the default budgets.
pub fn config(threshold: u32, validation: BlockValidation) -> InitConfig {
    InitConfig {
        network: Some(InitNetwork::Regtest),
        adapters: Some(vec![adapter()]),
        stability_threshold: Some(Nat::from(threshold)),
        block_validation: Some(validation),
        ..InitConfig::default()
    }
}

impl Mark {
    /// Takes the chain in, or reads back a canister that did.
    ///
    /// # Errors
    /// A block is refused, or the cache cannot be written.
    pub fn prepare(&self, bench: &Bench) -> Result<(Canister, Prepared)> {
        let key = format!("{:?}", (&self.plan, self.threshold));
        let cache = Cache::new(bench, self.name, &key);
        if let Some(prepared) = cache.load(&bench.module)? {
            return Ok(prepared);
        }
        let (canister, prepared) = self.take_in(bench)?;
        cache.save(&canister, &prepared)?;
        Ok((canister, prepared))
    }

    fn take_in(&self, bench: &Bench) -> Result<(Canister, Prepared)> {
        let config = config(self.threshold, BlockValidation::Consensus);
        let mut canister = Canister::install(&bench.module, config)?;
        let chain = MainnetLike::new(self.plan.clone());
        let mut sample = Sample::of(&chain);
        let (mut funding, mut connecting, mut steady) =
            (Phase::default(), Phase::default(), Phase::default());
        let mut all = Counts::default();
        let (length, funded) = (self.plan.length(), self.plan.funding_blocks);
        let mut utxos = 0;
        for made in chain {
            let facts = made.facts;
            if facts.height == funded + self.threshold + 1 {
                profile::restart();
            }
            let counts = canister
                .take_in(&made.block)
                .with_context(|| format!("{}: block {}", self.name, facts.height))?;
            let phase = if facts.height <= funded {
                &mut funding
            } else if facts.height <= funded + self.threshold {
                &mut connecting
            } else {
                &mut steady
            };
            phase.add(facts.inputs + facts.outputs, &counts);
            all.join(&counts);
            utxos = facts.utxos;
            sample.note(&made, length);
            bench.progress(self.name, facts.height, length);
        }
        let counted = reads::metric(&mut canister, "utxos_length")?;
        if counted != utxos {
            bail!(
                "{}: {utxos} coins are unspent, the canister has {counted}",
                self.name
            );
        }
        let mut rows = Rows::new();
        for (phase, sums) in [
            ("funding", funding),
            ("connecting", connecting),
            ("steady", steady),
        ] {
            if sums.blocks > 0 {
                rows.push((format!("{}.taking_in.{phase}", self.name), sums.row()));
            }
        }
        let longest = row(&[("longest_message", all.longest)]);
        rows.push((format!("{}.taking_in.all", self.name), longest));
        rows.push((format!("{}.memory", self.name), memory(&mut canister)?));
        Ok((canister, Prepared { rows, sample }))
    }
}

/// Bytes of a page of blobs.
const BLOB_PAGE_BYTES: u64 = 4_096;

/// What the canister occupies, in all and for each coin; and without what unstable blocks take as the canister
/// tells: their bytes, the indexes of their transactions, their runs and the merges of them made ahead.
///
/// # Errors
/// The canister does not say.
pub fn memory(canister: &mut Canister) -> Result<Row> {
    let sizes = canister.sizes()?;
    let stable_utxos = reads::metric(canister, "stable_utxos_length")?.max(1);
    let unstable_bytes = reads::metric(canister, "blob_pages")? * BLOB_PAGE_BYTES
        + reads::metric(canister, "transaction_index_bytes")?
        + reads::metric(canister, "unstable_coin_bytes")?;
    let apart = sizes.stable_bytes.saturating_sub(unstable_bytes);
    Ok(row(&[
        ("heap_bytes", sizes.heap_bytes),
        ("stable_bytes", sizes.stable_bytes),
        (
            "stable_bytes_per_stable_utxo",
            sizes.stable_bytes.div_ceil(stable_utxos),
        ),
        (
            "stable_bytes_per_stable_utxo_unstable_blocks_apart",
            apart.div_ceil(stable_utxos),
        ),
    ]))
}

/// Measures everything on a chain of the mark.
///
/// # Errors
/// A block is refused, a call fails, or an answer is wrong.
pub fn measure(bench: &Bench, mark: &Mark) -> Result<Rows> {
    let (mut canister, prepared) = mark.prepare(bench)?;
    let mut rows = prepared.rows;
    let name = mark.name;
    let idle = canister.idle_heartbeat()?;
    rows.push((format!("{name}.idle_heartbeat"), Counts::of(&idle).row()));
    let upgraded = upgrade(&mut canister, &prepared.sample)?;
    rows.extend(named_rows(name, upgraded));
    let read = reads::measure(&mut canister, &prepared.sample)?;
    let read = read
        .into_iter()
        .map(|(read, row)| (format!("read.{read}"), row));
    rows.extend(named_rows(name, read.collect()));
    Ok(rows)
}

fn named_rows(name: &str, rows: Rows) -> impl Iterator<Item = (String, Row)> {
    rows.into_iter()
        .map(move |(row, counts)| (format!("{name}.{row}"), counts))
}

/// Upgrades, compares answers before and after, and measures what the next heartbeat and the heap cost.
fn upgrade(canister: &mut Canister, sample: &Sample) -> Result<Rows> {
    let before = reads::answers(canister, sample)?;
    let (upgrade, heartbeat) = canister.upgrade()?;
    // The first message after it opens the store.
    let instructions = upgrade.instructions + heartbeat.instructions;
    if instructions > UPGRADE_MAX {
        bail!("an upgrade costs {instructions} instructions, {UPGRADE_MAX} are allowed");
    }
    let after = reads::answers(canister, sample)?;
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        if before != after {
            bail!("{name} has another answer after an upgrade");
        }
    }
    let heap = row(&[("heap_bytes", canister.sizes()?.heap_bytes)]);
    Ok(vec![
        ("upgrade".to_owned(), Counts::of(&upgrade).row()),
        (
            "upgrade.first_heartbeat".to_owned(),
            Counts::of(&heartbeat).row(),
        ),
        ("upgrade.memory".to_owned(), heap),
    ])
}

/// Measures an upgrade with many unstable blocks.
///
/// # Errors
/// A block is refused, a call fails, an answer changes, or the upgrade costs more than [`UPGRADE_MAX`].
pub fn measure_upgrade(bench: &Bench, mark: &Mark) -> Result<Rows> {
    let (mut canister, prepared) = mark.prepare(bench)?;
    let status: GetStatusResult = canister.ask("get_status_query", ())?;
    let status = status.map_err(|error| anyhow!("no status: {error:?}"))?;
    let unstable = status.tip.height - status.anchor.height;
    let wanted = mark.plan.blocks.min(499);
    if unstable < wanted {
        bail!("{unstable} blocks are unstable, {wanted} were to be");
    }
    Ok(named_rows(mark.name, upgrade(&mut canister, &prepared.sample)?).collect())
}

/// Measures a surge: 50 more full blocks on the full chain, pushed as fast as there is room.
///
/// # Errors
/// A block is refused.
pub fn measure_surge(bench: &Bench) -> Result<Rows> {
    let full = full();
    let (mut canister, _) = full.prepare(bench)?;
    let mut chain = MainnetLike::new(full.plan);
    chain.by_ref().for_each(drop);
    chain.extend_by(SURGE_BLOCKS);
    let (mut phase, mut blocks) = (Phase::default(), Vec::<Block>::new());
    for made in chain {
        phase.add(made.facts.inputs + made.facts.outputs, &Counts::default());
        blocks.push(made.block);
    }
    phase.counts = canister.take_in_all(&blocks)?;
    Ok(vec![("surge_50_full_blocks".to_owned(), phase.row())])
}
