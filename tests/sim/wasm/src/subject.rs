//! The canister's module in the replica as a simulation's subject.
//!
//! An injected trap strikes at a system call, or when a number of instructions is used up, in place of
//! a read or write of stable memory. A block is poisonous in that heartbeats trap while it is the only one
//! that waits. Full memory is that of the schedule's stable memory; the system's fault holds the heap, too. So a
//! heartbeat or call that trapped under it is run once more, and only one whose heap grows then is excused.
//! What cannot be done here, a run counts as left out: setting how fast instructions are used up.

use std::collections::{BTreeMap, BTreeSet};

use candid::Principal;
use ic_stable_structures::VectorMemory;
use millrace_candid::official::{GetBalanceRequest, GetUtxosRequest, GetUtxosResponse};
use millrace_candid::{
    BlockPart, BlockSelector, FeedError, FeedStateArgs, FeedStateResult, GetBalanceArgs,
    GetBalanceResult, GetBalancesArgs, GetBalancesResult, GetBlockArgs, GetBlockHeadersArgs,
    GetBlockHeadersResult, GetBlockResult, GetChainTipsArgs, GetChainTipsResult,
    GetFeePercentilesArgs, GetFeePercentilesResult, GetOutpointsArgs, GetOutpointsResult,
    GetStatusArgs, GetStatusResult, GetTransactionArgs, GetTransactionResult,
    GetTransactionStatusArgs, GetTransactionStatusResult, GetUtxosArgs, GetUtxosResult,
    PushBlocksResult, RelayError, ReportTransactionsResult, SendError, SendTransactionArgs,
    SendTransactionResult, SetConfigRequest, TransactionReport,
};
use millrace_canister::App;
use millrace_canister::pull::GetSuccessorsRequest;
use millrace_sim::memory::TrapPoint;
use millrace_sim::native;
use millrace_sim::schedule::Squeeze;
use millrace_sim::subject::{Asked, Beat, Note, Poison, Setup, Subject, Trap};
use millrace_subnet::{ConsensusCall, ErrorCode, FaultKind, MessageKind};

use crate::replica::{Ran, Replica, Trouble, controller, decode_reply, source};

/// Instructions that are left to a message for each read of stable memory until it is to trap.
const INSTRUCTIONS_PER_READ: u64 = 25_000;

/// Instructions that one step of a heartbeat, or taking one delivered block in, uses at most on the small
/// blocks of a simulation.
const STEP_INSTRUCTIONS: u64 = 60_000_000;

/// Instructions that are left to a heartbeat while a poisonous block waits: none ends within them.
const POISONED_INSTRUCTIONS: u64 = 100_000;

/// Rounds within which a subnet that is squeezed runs a callback.
const SQUEEZED_ROUNDS: u32 = 60;

/// The module in a subnet of its own.
pub struct Wasm {
    pub(crate) replica: Replica,
    now: u64,
    trap: Option<TrapPoint>,
    poison: Option<Poison>,
    is_full: bool,
    /// Upgrades so far.
    upgrades: u32,
    /// Calls that wait for an answer, with the upgrades before each.
    calls: BTreeMap<u64, u32>,
    /// Calls that the simulation knows of.
    asked: BTreeSet<u64>,
    /// Whether the timer trapped, which leaves it off.
    is_timer_off: bool,
    pub(crate) notes: Vec<Note>,
}

impl Wasm {
    /// What befalls the next message; an injected trap waits for one message only.
    pub(crate) fn trouble(&mut self) -> Trouble {
        let trap = self.trap.take().map(|point| match point {
            TrapPoint::Write(left) => {
                let kind = FaultKind::TrapAtSystemCall(u64::from(left) + 1);
                ("Write", kind)
            }
            TrapPoint::Read(left) => {
                let instructions = (u64::from(left) + 1) * INSTRUCTIONS_PER_READ;
                ("Read", FaultKind::InstructionLimit(instructions))
            }
        });
        Trouble {
            trap,
            is_full: self.is_full,
        }
    }

    /// Returns whether the poisonous block is the only one that waits, so that it is the next item of work.
    fn is_poison_next(&mut self) -> bool {
        let Some(hash) = self.poison.as_ref().map(|poison| poison.hash.clone()) else {
            return false;
        };
        let status = self.status(&GetStatusArgs::default());
        let Ok(status) = status else {
            return false;
        };
        if (status.queued_blocks, status.pending_blocks) != (0, 1) {
            return false;
        }
        let at_tip = Some(hash.clone());
        let is_connected = self.status(&GetStatusArgs { at_tip }).is_ok();
        let found = self.block(&GetBlockArgs {
            select: BlockSelector::Hash(hash),
            offset: None,
            max_bytes: Some(1),
            at_tip: Some(status.anchor.hash),
        });
        !is_connected && found.is_ok()
    }

    /// Judges a message that ran, and counts what struck it.
    pub(crate) fn judge(&mut self, ran: &Ran, own: impl FnOnce() -> String) -> Result<(), Trap> {
        let judged = ran.trapped(own);
        if let (Err(_), Some((_, fault))) = (&judged, ran.struck) {
            self.notes.push(("fault", fault));
        }
        if ran.was_full {
            self.notes.push(("fault", "FullMemory"));
        }
        judged
    }

    /// Returns the questions that wait, and notes the upgrades before each new one.
    fn questions(&mut self) -> Result<Vec<ConsensusCall>, Trap> {
        let questions = self.replica.questions().map_err(Trap::Own)?;
        for question in &questions {
            self.calls.entry(question.callback).or_insert(self.upgrades);
        }
        Ok(questions)
    }

    /// Finds what the canister has asked its source since the last time.
    fn asked(&mut self) -> Result<Option<Asked>, Trap> {
        let new = self
            .questions()?
            .into_iter()
            .find(|question| self.asked.insert(question.callback));
        let Some(question) = new else {
            return Ok(None);
        };
        let request: GetSuccessorsRequest =
            decode_reply("bitcoin_get_successors", &question.payload).map_err(Trap::Own)?;
        Ok(Some(Asked {
            call: question.callback,
            request,
        }))
    }
}

impl Subject for Wasm {
    fn install(setup: &Setup) -> Result<Self, String> {
        let mut setup = setup.clone();
        setup.config.blocks_source = Some(source());
        let image = native::image(&setup)?;
        Ok(Self {
            replica: Replica::new(&setup, setup.config.clone(), &image)?,
            now: setup.now,
            trap: None,
            poison: None,
            is_full: false,
            upgrades: 0,
            calls: BTreeMap::new(),
            asked: BTreeSet::new(),
            is_timer_off: false,
            notes: Vec::new(),
        })
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn advance(&mut self, seconds: u64) {
        self.now += seconds;
        if seconds > 0 {
            self.replica.set_time(self.now);
        }
    }

    fn run_timer(&mut self) -> Result<bool, Trap> {
        let trap = self.trap;
        let trouble = self.trouble();
        let ran = self.replica.run(&[MessageKind::GlobalTimer], &trouble);
        let Some(ran) = ran.map_err(Trap::Own)? else {
            // It was not due; the trap waits for another message.
            self.trap = trap;
            return Ok(false);
        };
        let judged = self.judge(&ran, || "the timer trapped".to_owned());
        self.is_timer_off = judged.is_err();
        judged.map(|()| true)
    }

    fn set_pace(&mut self, _: u64) {
        self.notes.push(("left out", "Pace"));
    }

    fn set_trap(&mut self, point: Option<TrapPoint>) {
        self.trap = point;
    }

    fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    fn set_poor(&mut self, is_poor: bool) -> bool {
        self.replica.set_poor(is_poor);
        is_poor
    }

    fn set_poison(&mut self, poison: Option<Poison>) {
        self.poison = poison;
    }

    fn stop_for(&mut self, seconds: u64) -> Result<(), String> {
        self.replica.tell(FaultKind::Stop)?;
        self.advance(seconds);
        let parts: Vec<BlockPart> = Vec::new();
        let trouble = Trouble::default();
        let (answer, _) = self
            .replica
            .update(controller(), "push_blocks", &parts, &trouble)?;
        self.replica.tell(FaultKind::Start)?;
        match answer {
            Err(error) if error.code != ErrorCode::CanisterRejectedMessage => Ok(()),
            answer => Err(format!("a stopped canister answers {answer:?}")),
        }
    }

    fn restart(&mut self) -> Result<(), String> {
        self.replica.restart()
    }

    fn set_limits(&mut self, squeeze: Squeeze) {
        self.replica.set_limits(squeeze);
    }

    fn step_instructions(&self) -> u64 {
        STEP_INSTRUCTIONS
    }

    fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    fn upgrade(&mut self) -> Result<(), Trap> {
        let trouble = self.trouble();
        let ran = self.replica.upgrade_in(&trouble).map_err(Trap::Own)?;
        if let Some(ran) = ran {
            self.judge(&ran, || "the upgrade trapped".to_owned())?;
        }
        // A call of the last heartbeat may have come to the source only now.
        self.questions()?;
        self.upgrades += 1;
        self.is_timer_off = false;
        Ok(())
    }

    fn heartbeat(&mut self) -> Result<Beat, Trap> {
        let trap = self.trap;
        let mut trouble = self.trouble();
        if self.is_poison_next() {
            let kind = FaultKind::InstructionLimit(POISONED_INSTRUCTIONS);
            trouble.trap = Some(("Poison", kind));
        }
        let ran = self.replica.run(&[MessageKind::Heartbeat], &trouble);
        let Some(mut ran) = ran.map_err(Trap::Own)? else {
            if !self.replica.is_squeezed() {
                return Err(Trap::Own("no heartbeat ran".to_owned()));
            }
            self.trap = trap;
            return Err(Trap::Injected("Limit"));
        };
        if ran.is_lost_to_full() {
            let heap = self.replica.heap_bytes();
            let kinds = [MessageKind::Heartbeat];
            let again = self.replica.run(&kinds, &Trouble::default());
            let again = again.map_err(Trap::Own)?;
            if let Some(again) = again.filter(|_| self.replica.heap_bytes() > heap) {
                self.notes.push(("fault", "HeapHeld"));
                ran = again;
            }
        }
        let record = &ran.record;
        let text = || {
            format!(
                "a heartbeat trapped after {} instructions",
                record.instructions
            )
        };
        self.judge(&ran, text)?;
        let asked = self.asked()?;
        let was_dead = std::mem::take(&mut self.is_timer_off);
        let status = self.status(&GetStatusArgs::default());
        let own_pages = status.ok().map(|it| it.limits.last_heartbeat_stable_pages);
        Ok(Beat {
            asked,
            is_rescue: was_dead,
            instructions: Some(record.instructions),
            pages: Some(record.stable_pages_dirtied),
            // A heartbeat that finds the timer off does nothing that is counted.
            own_pages: own_pages.filter(|_| !was_dead),
            stable_bytes: Some(self.replica.stable_bytes()),
            heap_bytes: Some(self.replica.heap_bytes()),
        })
    }

    fn reply(&mut self, call: u64, answer: Result<Vec<u8>, String>) -> Result<(), Trap> {
        if !self.replica.answer(call, answer) {
            return Ok(());
        }
        let is_stale = self.calls.get(&call).is_none_or(|at| *at < self.upgrades);
        let trouble = self.trouble();
        let kinds = [MessageKind::ReplyCallback, MessageKind::RejectCallback];
        let mut ran = self.replica.run(&kinds, &trouble).map_err(Trap::Own)?;
        for _ in 0..SQUEEZED_ROUNDS {
            if ran.is_some() || !self.replica.is_squeezed() {
                break;
            }
            ran = self.replica.run(&kinds, &trouble).map_err(Trap::Own)?;
        }
        let ran = ran.ok_or_else(|| Trap::Own("no callback ran".to_owned()))?;
        if is_stale {
            let outcome = if ran.record.succeeded {
                "Ignored"
            } else {
                "Trapped"
            };
            self.notes.push(("reply after an upgrade", outcome));
            return Ok(());
        }
        self.judge(&ran, || "a callback trapped".to_owned())
    }

    fn push(&mut self, caller: Principal, parts: &[BlockPart]) -> Result<PushBlocksResult, Trap> {
        let pushed = self.call(caller, "push_blocks", &parts)?;
        Ok(pushed.unwrap_or(Err(FeedError::NotAnAdapter { caller })))
    }

    fn set_config(&mut self, change: SetConfigRequest) -> Result<Result<(), String>, Trap> {
        let set = self.update(controller(), "set_config", &change, true)?;
        Ok(set.map(|_| ()).map_err(|error| error.to_string()))
    }

    fn send(&mut self, args: SendTransactionArgs) -> Result<Result<Vec<u8>, SendError>, Trap> {
        let method = "send_transaction";
        let sent: Option<SendTransactionResult> = self.call(controller(), method, &args)?;
        let sent = sent.ok_or_else(|| Trap::Own(format!("{method} was refused")))?;
        Ok(sent.map(|sent| sent.txid.into_vec()))
    }

    fn report(
        &mut self,
        caller: Principal,
        reports: &[TransactionReport],
    ) -> Result<ReportTransactionsResult, Trap> {
        let reported = self.call(caller, "report_transactions", &reports)?;
        Ok(reported.unwrap_or(Err(RelayError::NotAnAdapter { caller })))
    }

    fn feed_state(&mut self, caller: Principal, args: &FeedStateArgs) -> FeedStateResult {
        self.ask(caller, "feed_state", args)
    }

    fn status(&mut self, args: &GetStatusArgs) -> GetStatusResult {
        self.read("get_status_query", &Some(args))
    }

    fn chain_tips(&mut self, args: &GetChainTipsArgs) -> GetChainTipsResult {
        self.read("get_chain_tips_query", &Some(args))
    }

    fn utxos(&mut self, args: &GetUtxosArgs) -> GetUtxosResult {
        self.read("get_utxos_query", args)
    }

    fn balance(&mut self, args: &GetBalanceArgs) -> GetBalanceResult {
        self.read("get_balance_query", args)
    }

    fn balances(&mut self, args: &GetBalancesArgs) -> GetBalancesResult {
        self.read("get_balances_query", args)
    }

    fn outpoints(&mut self, args: &GetOutpointsArgs) -> GetOutpointsResult {
        self.read("get_outpoints_query", args)
    }

    fn block(&mut self, args: &GetBlockArgs) -> GetBlockResult {
        self.read("get_block_query", args)
    }

    fn headers(&mut self, args: &GetBlockHeadersArgs) -> GetBlockHeadersResult {
        self.read("get_block_headers_query", args)
    }

    fn transaction(&mut self, args: &GetTransactionArgs) -> GetTransactionResult {
        self.read("get_transaction_query", args)
    }

    fn transaction_status(
        &mut self,
        args: &GetTransactionStatusArgs,
    ) -> GetTransactionStatusResult {
        self.read("get_transaction_status_query", args)
    }

    fn fees(&mut self, args: &GetFeePercentilesArgs) -> GetFeePercentilesResult {
        self.read("get_fee_percentiles_query", args)
    }

    fn official_utxos(&mut self, request: GetUtxosRequest) -> Result<GetUtxosResponse, String> {
        self.official("bitcoin_get_utxos_query", &request)
    }

    fn official_balance(&mut self, request: GetBalanceRequest) -> Result<u64, String> {
        self.official("bitcoin_get_balance_query", &request)
    }

    fn audit(&mut self) -> Result<usize, String> {
        let memory = VectorMemory::default();
        *memory.borrow_mut() = self.replica.stable_memory()?;
        let app = App::open(memory).map_err(|error| error.to_string())?;
        let audited = app.store().audit().map_err(|error| error.to_string());
        audited.map(|()| app.store().coins.fullest_level())
    }
}
