//! The canister's logic in this process: the same `App` that the Wasm shell drives, on a memory that
//! rolls back.
//!
//! What the shell in `canister/src/main.rs` does is done here too: the state is opened by the first
//! message after an upgrade, each heartbeat sets the watchdog's timer, and a trap undoes a message. What
//! a query does is undone, too, so that opening is left to a message, which may trap doing so. A native
//! heap cannot be rolled back, so a trap loses it: the next message opens the state again. That is harsher
//! than the system and must make no difference.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use bitcoin::hashes::Hash;
use candid::Principal;
use millrace_candid::official::{GetBalanceRequest, GetUtxosRequest, GetUtxosResponse};
use millrace_candid::{
    BlockPart, FeedStateArgs, FeedStateResult, GetBalanceArgs, GetBalanceResult, GetBalancesArgs,
    GetBalancesResult, GetBlockArgs, GetBlockHeadersArgs, GetBlockHeadersResult, GetBlockResult,
    GetChainTipsArgs, GetChainTipsResult, GetFeePercentilesArgs, GetFeePercentilesResult,
    GetOutpointsArgs, GetOutpointsResult, GetStatusArgs, GetStatusResult, GetTransactionArgs,
    GetTransactionResult, GetTransactionStatusArgs, GetTransactionStatusResult, GetUtxosArgs,
    GetUtxosResult, PushBlocksResult, ReportTransactionsResult, SendError, SendTransactionArgs,
    SetConfigRequest, TransactionReport,
};
use millrace_canister::guard::Payment;
use millrace_canister::official::{Mode, Refusal};
use millrace_canister::relay::Dispatch;
use millrace_canister::watchdog::WATCH_SECONDS;
use millrace_canister::{App, Env};
use millrace_core::sync::CallId;
use millrace_core::{Bytes, Instructions, UnixSeconds};
use millrace_store::layout;
use serde_bytes::ByteBuf;

use crate::memory::{InjectedTrap, SimMemory, TrapPoint};
use crate::subject::{Asked, Beat, Poison, Setup, Subject, Trap};

/// Instructions that each look at the counter pretends were executed, at the start.
const PACE: u64 = 1_000_000;

/// Cycles of a canister that has enough.
const RICH_CYCLES: u128 = 1 << 80;

/// Images of memory that are kept for the next run with the same setup, at most.
const MAX_IMAGES: usize = 32;

thread_local! {
    /// Whether a message runs, whose panics are traps and need no report.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
    static IMAGES: RefCell<Vec<(Setup, Vec<u8>)>> = const { RefCell::new(Vec::new()) };
}

static QUIET: Once = Once::new();

/// Keeps panics that stand for traps out of the output.
fn report_no_traps() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !IS_RUNNING.get() {
            usual(info);
        }
    }));
}

/// A canister in this process.
pub struct Native {
    memory: SimMemory,
    /// Absent after an upgrade and after a trap.
    app: Option<App<SimMemory>>,
    /// Whether the state is opened by a new version.
    is_upgraded: bool,
    world: World,
    /// When the watchdog's timer is due, if it is set.
    timer: Option<u64>,
    calls: BTreeMap<u64, CallId>,
}

struct World {
    now: Cell<u64>,
    instructions: Cell<u64>,
    pace: Cell<u64>,
    cycles: Cell<u128>,
}

impl Env for World {
    fn now(&self) -> UnixSeconds {
        UnixSeconds::new(self.now.get())
    }

    fn instructions(&self) -> Instructions {
        let instructions = self.instructions.get() + self.pace.get();
        self.instructions.set(instructions);
        Instructions::new(instructions)
    }

    fn heap_bytes(&self) -> Bytes {
        Bytes::new(65_536)
    }

    fn cycles_balance(&self) -> u128 {
        self.cycles.get()
    }

    fn cycles_to_spend(&self) -> Option<u128> {
        Some(self.cycles.get())
    }

    fn log(&self, _: &str) {}
}

/// Whoever pays has enough.
struct Rich;

impl Payment for Rich {
    fn available(&self) -> u128 {
        u128::MAX
    }

    fn accept(&self, _: u128) {}
}

impl Native {
    fn around(image: Vec<u8>, now: u64) -> Self {
        Self {
            memory: SimMemory::new(image),
            app: None,
            is_upgraded: true,
            world: World {
                now: Cell::new(now),
                instructions: Cell::new(0),
                pace: Cell::new(PACE),
                cycles: Cell::new(RICH_CYCLES),
            },
            timer: Some(now + WATCH_SECONDS),
            calls: BTreeMap::new(),
        }
    }

    /// Installs, takes the base in and returns the memory.
    fn build_image(setup: &Setup) -> Result<Vec<u8>, String> {
        let mut native = Self::around(Vec::new(), setup.now);
        let config = setup.config.clone();
        let app = App::install(native.memory.clone(), config);
        native.app = Some(app.map_err(|error| error.to_string())?);
        let adapter = setup.config.adapters.iter().flatten().next().copied();
        let adapter = adapter.unwrap_or(Principal::management_canister());
        for chunk in setup.base.chunks(100) {
            let parts: Vec<BlockPart> = chunk.iter().map(|bytes| whole(bytes)).collect();
            let trapped = |trap| format!("taking in the base: {trap:?}");
            let receipt = native.push(adapter, &parts).map_err(trapped)?;
            receipt.map_err(|error| format!("taking in the base: {error:?}"))?;
            native.heartbeat().map_err(trapped)?;
        }
        for _ in 0..20 {
            native
                .heartbeat()
                .map_err(|trap| format!("taking in the base: {trap:?}"))?;
        }
        let status = native.status(&GetStatusArgs::default());
        let height = status.map(|status| status.tip.height);
        if height != Ok(setup.base.len() as u32) {
            return Err(format!("the base led to height {height:?}"));
        }
        Ok(native.memory.image())
    }

    /// Runs a message: all of it or nothing.
    fn message<R>(
        &mut self,
        run: impl FnOnce(&mut App<SimMemory>, &World) -> R,
    ) -> Result<R, Trap> {
        let outcome = self.attempt(run);
        self.memory.set_trap(None);
        outcome
    }

    fn attempt<R>(
        &mut self,
        run: impl FnOnce(&mut App<SimMemory>, &World) -> R,
    ) -> Result<R, Trap> {
        self.memory.begin();
        self.world.instructions.set(0);
        let (app, is_upgraded) = (self.app.take(), self.is_upgraded);
        let (memory, world) = (&self.memory, &self.world);
        IS_RUNNING.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut app = match app {
                Some(mut app) => {
                    app.begin_message(world);
                    app
                }
                None if is_upgraded => App::open(memory.clone()).map_err(|e| e.to_string())?,
                None => App::reopen(memory.clone()).map_err(|e| e.to_string())?,
            };
            let result = run(&mut app, world);
            Ok::<_, String>((app, result))
        }));
        IS_RUNNING.set(false);
        match outcome {
            Ok(Ok((app, result))) => {
                self.app = Some(app);
                self.is_upgraded = false;
                Ok(result)
            }
            Ok(Err(error)) => {
                self.memory.roll_back();
                Err(Trap::Own(format!("the state does not open: {error}")))
            }
            Err(payload) => {
                self.memory.roll_back();
                Err(trap_of(payload.as_ref()))
            }
        }
    }

    /// Runs a query, which no injected fault reaches. The state that one opens is not there afterwards.
    fn query<R>(&mut self, run: impl FnOnce(&App<SimMemory>, &World) -> R) -> R {
        self.memory.set_armed(false);
        let answer = match &self.app {
            Some(app) => Ok(run(app, &self.world)),
            None => {
                let is_upgraded = self.is_upgraded;
                let answer = self.attempt(|app, world| run(app, world));
                self.memory.roll_back();
                self.app = None;
                self.is_upgraded = is_upgraded;
                answer
            }
        };
        self.memory.set_armed(true);
        match answer {
            Ok(answer) => answer,
            Err(trap) => panic!("a query trapped: {trap:?}"),
        }
    }
}

impl Subject for Native {
    fn install(setup: &Setup) -> Result<Self, String> {
        let image = image(setup)?;
        Ok(Self::around(image, setup.now))
    }

    fn now(&self) -> u64 {
        self.world.now.get()
    }

    fn advance(&mut self, seconds: u64) {
        self.world.now.set(self.now() + seconds);
    }

    fn run_timer(&mut self) -> Result<bool, Trap> {
        let now = self.now();
        if self.timer.is_none_or(|due| now < due) {
            return Ok(false);
        }
        // It is off once it fired; what sets it again is undone with a trap.
        self.timer = None;
        self.message(|app, world| app.watchdog(world))?;
        self.timer = Some(now + WATCH_SECONDS);
        Ok(true)
    }

    fn set_pace(&mut self, instructions_per_step: u64) {
        self.world.pace.set(instructions_per_step);
    }

    fn set_poor(&mut self, is_poor: bool) -> bool {
        self.world.cycles.set(if is_poor { 0 } else { RICH_CYCLES });
        is_poor
    }

    fn set_trap(&mut self, point: Option<TrapPoint>) {
        self.memory.set_trap(point);
    }

    fn set_full(&mut self, is_full: bool) {
        self.memory.set_full(is_full);
    }

    fn set_poison(&mut self, poison: Option<Poison>) {
        self.memory.set_poison(poison.map(|poison| poison.mark));
    }

    fn upgrade(&mut self) -> Result<(), Trap> {
        let memory = &self.memory;
        IS_RUNNING.set(true);
        let checked = catch_unwind(AssertUnwindSafe(|| layout::check(memory)));
        IS_RUNNING.set(false);
        self.memory.set_trap(None);
        match checked {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(Trap::Own(error.to_string())),
            Err(payload) => return Err(trap_of(payload.as_ref())),
        }
        self.app = None;
        self.is_upgraded = true;
        self.timer = Some(self.now() + WATCH_SECONDS);
        Ok(())
    }

    fn heartbeat(&mut self) -> Result<Beat, Trap> {
        let was_off = self.timer.is_none();
        let due = self.now() + WATCH_SECONDS;
        let (asked, own_pages, instructions) = self.message(|app, world| {
            if was_off {
                app.note_dead_watchdog(world);
                return (None, None, 0);
            }
            let asked = app.heartbeat(world);
            let pages = app.store().pages().pages_written().get();
            (asked, Some(pages), world.instructions.get())
        })?;
        self.timer = Some(due);
        let asked = asked.map(|ask| {
            self.calls.insert(ask.id.get(), ask.id);
            Asked {
                call: ask.id.get(),
                request: ask.request,
            }
        });
        Ok(Beat {
            asked,
            is_rescue: was_off,
            instructions: Some(instructions),
            pages: Some(self.memory.pages_written()),
            own_pages,
            stable_bytes: Some(ic_stable_structures::Memory::size(&self.memory) * 65_536),
            heap_bytes: None,
        })
    }

    fn reply(&mut self, call: u64, answer: Result<Vec<u8>, String>) -> Result<(), Trap> {
        let Some(id) = self.calls.get(&call).copied() else {
            return Ok(());
        };
        self.message(|app, world| app.on_reply(world, id, answer))
    }

    fn push(&mut self, caller: Principal, parts: &[BlockPart]) -> Result<PushBlocksResult, Trap> {
        self.message(|app, world| app.push_blocks(world, caller, parts))
    }

    fn set_config(&mut self, change: SetConfigRequest) -> Result<Result<(), String>, Trap> {
        let set = self.message(|app, _| app.set_config(change))?;
        Ok(set.map_err(|error| error.to_string()))
    }

    fn send(&mut self, args: SendTransactionArgs) -> Result<Result<Vec<u8>, SendError>, Trap> {
        let size = args.transaction.len() as u32;
        self.message(|app, world| {
            let dispatch = app.send_transaction(world, &Rich, args)?;
            let txid = match dispatch {
                Dispatch::Queued { txid } => txid,
                Dispatch::Call { txid, .. } => {
                    app.on_handed_over(world, txid, size);
                    txid
                }
            };
            Ok(txid.to_byte_array().to_vec())
        })
    }

    fn report(
        &mut self,
        caller: Principal,
        reports: &[TransactionReport],
    ) -> Result<ReportTransactionsResult, Trap> {
        self.message(|app, world| app.report_transactions(world, caller, reports))
    }

    fn feed_state(&mut self, caller: Principal, args: &FeedStateArgs) -> FeedStateResult {
        self.query(|app, _| app.feed_state(caller, args))
    }

    fn status(&mut self, args: &GetStatusArgs) -> GetStatusResult {
        self.query(|app, _| app.get_status(args))
    }

    fn chain_tips(&mut self, args: &GetChainTipsArgs) -> GetChainTipsResult {
        self.query(|app, _| app.get_chain_tips(args))
    }

    fn utxos(&mut self, args: &GetUtxosArgs) -> GetUtxosResult {
        self.query(|app, _| app.get_utxos(args))
    }

    fn balance(&mut self, args: &GetBalanceArgs) -> GetBalanceResult {
        self.query(|app, _| app.get_balance(args))
    }

    fn balances(&mut self, args: &GetBalancesArgs) -> GetBalancesResult {
        self.query(|app, _| app.get_balances(args))
    }

    fn outpoints(&mut self, args: &GetOutpointsArgs) -> GetOutpointsResult {
        self.query(|app, _| app.get_outpoints(args))
    }

    fn block(&mut self, args: &GetBlockArgs) -> GetBlockResult {
        self.query(|app, _| app.get_block(args))
    }

    fn headers(&mut self, args: &GetBlockHeadersArgs) -> GetBlockHeadersResult {
        self.query(|app, _| app.get_block_headers(args))
    }

    fn transaction(&mut self, args: &GetTransactionArgs) -> GetTransactionResult {
        self.query(|app, _| app.get_transaction(args))
    }

    fn transaction_status(
        &mut self,
        args: &GetTransactionStatusArgs,
    ) -> GetTransactionStatusResult {
        self.query(|app, _| app.get_transaction_status(args))
    }

    fn fees(&mut self, args: &GetFeePercentilesArgs) -> GetFeePercentilesResult {
        self.query(|app, _| app.get_fee_percentiles(args))
    }

    fn official_utxos(&mut self, request: GetUtxosRequest) -> Result<GetUtxosResponse, String> {
        let answer = self.query(|app, _| app.bitcoin_get_utxos_query(Mode::Query, request));
        answer.map_err(text)
    }

    fn official_balance(&mut self, request: GetBalanceRequest) -> Result<u64, String> {
        let answer = self.query(|app, _| app.bitcoin_get_balance_query(Mode::Query, request));
        answer.map_err(text)
    }

    fn audit(&mut self) -> Result<usize, String> {
        self.query(|app, _| {
            let audited = app.store().audit().map_err(|error| error.to_string());
            audited.map(|()| app.store().coins.fullest_level())
        })
    }
}

/// Tells an injected trap from the canister's own.
fn trap_of(payload: &(dyn Any + Send)) -> Trap {
    if let Some(InjectedTrap(kind)) = payload.downcast_ref() {
        return Trap::Injected(kind);
    }
    let text = payload.downcast_ref::<String>().cloned();
    let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
    Trap::Own(text.unwrap_or_default())
}

fn text(refusal: Refusal) -> String {
    match refusal {
        Refusal::Trap(text) | Refusal::Reject(text) => text,
    }
}

/// Returns the stable memory of a canister that was installed so and has taken the base in.
///
/// # Errors
/// Why that fails, for people.
pub fn image(setup: &Setup) -> Result<Vec<u8>, String> {
    QUIET.call_once(report_no_traps);
    let known = IMAGES.with_borrow(|images| {
        let found = images.iter().find(|(other, _)| {
            (other.base.len(), &other.config) == (setup.base.len(), &setup.config)
        });
        found.map(|(_, image)| image.clone())
    });
    if let Some(image) = known {
        return Ok(image);
    }
    let image = Native::build_image(setup)?;
    IMAGES.with_borrow_mut(|images| {
        if images.len() >= MAX_IMAGES {
            images.clear();
        }
        images.push((setup.clone(), image.clone()));
    });
    Ok(image)
}

/// A whole block as one part.
pub fn whole(bytes: &[u8]) -> BlockPart {
    let header = bitcoin::consensus::deserialize::<bitcoin::block::Header>(&bytes[..80]);
    let hash = header.map(|header| header.block_hash().to_byte_array());
    BlockPart {
        hash: ByteBuf::from(hash.unwrap_or_default()),
        size: bytes.len() as u32,
        offset: 0,
        bytes: ByteBuf::from(bytes),
    }
}
