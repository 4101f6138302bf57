//! The canister's own logic, run natively on memory that is a vector: it takes in within minutes what
//! the module in the replica would need hours for.
//!
//! Nothing is imitated. Blocks go through `push_blocks` and heartbeats of `millrace-canister`, the
//! crate the module is compiled from; instructions cost nothing here, so a heartbeat ends when the work
//! or its budget of pages does. Where heartbeats end has no influence on what is written but for
//! counters, so stable memory is what the module would have left.

use anyhow::{Context, Result, bail};
use bitcoin::Block;
use bitcoin::hashes::Hash;
use ic_stable_structures::{Memory, VectorMemory};
use millrace_candid::{Budgets, FeedStateArgs, InitConfig, SetConfigRequest};
use millrace_canister::{App, Env};
use millrace_core::{Bytes, Instructions, UnixSeconds};

use crate::canister::{START_NS, adapter};
use crate::feeding;

/// Heartbeats after which work that should end never will.
const HEARTBEATS_MAX: u32 = 100_000_000;

/// Seconds between two messages: as much as the canister looks back to see what it wrote lately, since
/// nobody shares a subnet with it here.
const SECONDS_BETWEEN: u64 = 600;

/// What the system tells: the time, and how many instructions each look at the counter finds.
struct World {
    now: UnixSeconds,
    instructions: Instructions,
}

/// A heartbeat works until nothing is left, or its pages are spent.
const FREE: Instructions = Instructions::new(0);

/// A heartbeat ends after one step of work.
const SPENT: Instructions = Instructions::new(u64::MAX);

impl Env for World {
    fn now(&self) -> UnixSeconds {
        self.now
    }

    fn instructions(&self) -> Instructions {
        self.instructions
    }

    fn heap_bytes(&self) -> Bytes {
        Bytes::ZERO
    }

    fn cycles_balance(&self) -> u128 {
        u128::from(u64::MAX)
    }

    fn cycles_to_spend(&self) -> Option<u128> {
        None
    }

    fn log(&self, line: &str) {
        eprintln!("  native canister: {line}");
    }
}

/// A canister that runs natively.
pub struct Native {
    app: App<VectorMemory>,
    memory: VectorMemory,
    /// When the next message comes.
    now: UnixSeconds,
}

impl Native {
    /// Installs.
    ///
    /// # Errors
    /// The configuration is refused.
    pub fn install(config: InitConfig) -> Result<Self> {
        let memory = VectorMemory::default();
        let app = App::install(memory.clone(), config)?;
        Ok(Self {
            app,
            memory,
            now: UnixSeconds::new(START_NS / 1_000_000_000),
        })
    }

    /// Lets `act` change stable memory while no canister runs on it.
    ///
    /// # Errors
    /// Those of `act`; or the memory cannot be opened again.
    pub fn between(self, act: impl FnOnce(VectorMemory) -> Result<()>) -> Result<Self> {
        let Self { app, memory, now } = self;
        drop(app);
        act(memory.clone())?;
        let app = App::open(memory.clone())?;
        Ok(Self { app, memory, now })
    }

    /// The canister.
    pub const fn app(&self) -> &App<VectorMemory> {
        &self.app
    }

    /// Takes a block in and does all work that follows.
    ///
    /// # Errors
    /// The block does not become the tip.
    pub fn take_in(&mut self, block: &Block) -> Result<()> {
        self.push(block)?;
        self.settle()?;
        self.expect_tip(block)
    }

    /// As [`Self::take_in`], but ends as soon as `stop` holds between two steps of work. Returns
    /// whether it did.
    ///
    /// # Errors
    /// The block is refused.
    pub fn take_in_until(
        &mut self,
        block: &Block,
        stop: impl Fn(&App<VectorMemory>) -> bool,
    ) -> Result<bool> {
        self.push(block)?;
        for _ in 0..HEARTBEATS_MAX {
            let pages = self.beat(SPENT);
            if stop(&self.app) {
                return Ok(true);
            }
            if pages <= IDLE_PAGES && !self.has_work() {
                self.expect_tip(block)?;
                return Ok(false);
            }
        }
        bail!("work does not end within {HEARTBEATS_MAX} heartbeats")
    }

    fn push(&mut self, block: &Block) -> Result<()> {
        let parts = feeding::parts(block);
        let world = self.begin_message(FREE);
        let receipt = self.app.push_blocks(&world, adapter(), &parts);
        let receipt = receipt.map_err(|error| anyhow::anyhow!("push_blocks: {error:?}"))?;
        if feeding::taken(&receipt)? < parts.len() {
            bail!("there is no room for block {}", block.block_hash());
        }
        Ok(())
    }

    /// Beats until a heartbeat ends before its budget of pages does.
    fn settle(&mut self) -> Result<()> {
        let budgets = self.app.get_config().budgets;
        for _ in 0..HEARTBEATS_MAX {
            if self.beat(FREE) < u64::from(budgets.stable_pages_per_heartbeat) {
                return Ok(());
            }
        }
        bail!("work does not end within {HEARTBEATS_MAX} heartbeats")
    }

    /// Runs a heartbeat and returns the pages it wrote.
    fn beat(&mut self, instructions: Instructions) -> u64 {
        let world = self.begin_message(instructions);
        self.app.heartbeat(&world);
        self.app.store().pages().pages_written().get()
    }

    fn begin_message(&mut self, instructions: Instructions) -> World {
        let world = World {
            now: self.now,
            instructions,
        };
        self.now = UnixSeconds::new(self.now.get() + SECONDS_BETWEEN);
        self.app.begin_message(&world);
        world
    }

    /// Whether blocks or merges wait.
    fn has_work(&self) -> bool {
        let store = self.app.store();
        let is_waiting = !store.queue.is_empty() || store.held().0 > 0;
        is_waiting || store.coins.wants_compaction()
    }

    fn expect_tip(&self, block: &Block) -> Result<()> {
        let state = self.app.feed_state(adapter(), &FeedStateArgs::default());
        let state = state.map_err(|error| anyhow::anyhow!("feed_state: {error:?}"))?;
        if state.tip.hash.as_slice() == block.block_hash().to_byte_array() {
            return Ok(());
        }
        bail!(
            "block {} did not become the tip; refused: {:?}",
            block.block_hash(),
            state.recent_rejections
        )
    }

    /// Merges what waits, key by key, and returns how many keys that were. Only for a copy: what the
    /// canister would have done besides is left out.
    ///
    /// # Errors
    /// Memory is damaged.
    pub fn count_keys(image: &[u8]) -> Result<u64> {
        let memory = VectorMemory::default();
        write_image(&memory, image)?;
        let mut store = millrace_store::Store::open(memory)?;
        let changes = store.coins.stable_len();
        let mut keys = 0;
        while store.coins.stable_len() == changes && store.coins.wants_compaction() {
            store.coins.compact_step(1)?;
            keys += 1;
        }
        Ok(keys)
    }

    /// Its stable memory.
    ///
    /// # Errors
    /// Somebody else still holds it.
    pub fn into_image(self) -> Result<Vec<u8>> {
        let Self { app, memory, .. } = self;
        drop(app);
        let cell = std::rc::Rc::into_inner(memory).context("the memory is still in use")?;
        Ok(cell.into_inner())
    }
}

/// Pages that a heartbeat without work writes: counters, and a record of what ran.
const IDLE_PAGES: u64 = 2;

fn write_image(memory: &VectorMemory, image: &[u8]) -> Result<()> {
    let pages = image.len().div_ceil(65_536) as u64;
    if memory.grow(pages) < 0 {
        bail!("memory cannot grow to {pages} pages");
    }
    memory.write(0, image);
    Ok(())
}

/// What changes a canister's budgets to one step of work for each heartbeat.
pub fn one_step() -> SetConfigRequest {
    SetConfigRequest {
        budgets: Some(Budgets {
            instructions_per_heartbeat: 1,
            stable_pages_per_heartbeat: 1,
        }),
        ..SetConfigRequest::default()
    }
}

/// The stable memory that a chain leaves.
///
/// # Errors
/// A block is refused.
pub fn image(config: InitConfig, chain: impl Iterator<Item = Block>) -> Result<Vec<u8>> {
    let mut native = Native::install(config)?;
    for block in chain {
        native.take_in(&block)?;
    }
    native.into_image()
}

#[cfg(test)]
mod tests {
    use millrace_candid::BlockValidation;
    use millrace_tests::chain::{Body, MainnetLike, Plan};

    use super::*;
    use crate::mark::config;

    fn chain(seed: u64) -> impl Iterator<Item = Block> {
        let plan = Plan {
            seed,
            funding_blocks: 110,
            funding_outputs: 20,
            growth: None,
            blocks: 4,
            body: Body::of(6),
            named: Vec::new(),
            spendable_max: 10_000,
        };
        MainnetLike::new(plan).map(|made| made.block)
    }

    fn settings() -> InitConfig {
        config(3, BlockValidation::Consensus)
    }

    #[test]
    fn the_same_chain_leaves_the_same_bytes_and_another_one_others() {
        let left = |seed| image(settings(), chain(seed)).expect("taken in");
        assert!(left(1) == left(1));
        assert!(left(1) != left(2));
    }

    #[test]
    fn work_can_be_stopped_before_a_merge_whose_keys_are_counted_on_a_copy() {
        let mut native = Native::install(settings()).expect("installed");
        let stopped = chain(1)
            .map(|block| native.take_in_until(&block, |app| app.store().coins.wants_compaction()))
            .position(|stopped| stopped.expect("taken in"));
        // Eight stable changes, genesis' among them, and two unstable blocks above.
        assert_eq!(stopped, Some(7 + 2 - 1));
        let image = native.into_image().expect("nobody else holds it");
        // Seven coinbases of 20 outputs and genesis', by outpoint and by script, the beginning and the end of
        // each script that several of them pay, and what ends both.
        let keys = Native::count_keys(&image).expect("merged");
        assert!((2 * 141..2 * 141 + 20).contains(&keys), "{keys}");
    }

    #[test]
    fn a_block_that_is_refused_is_an_error_with_the_reason() {
        let mut native = Native::install(settings()).expect("installed");
        let second = chain(1).nth(1).expect("a second block");
        native.take_in(&second).expect_err("its parent is missing");
    }
}
