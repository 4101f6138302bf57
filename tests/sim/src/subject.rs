//! The canister as a simulation sees it: messages, queries, and what the system does to it.
//!
//! [`crate::native::Native`] is the canister's logic in this process. A canister in the replica can be
//! another subject: everything here is what a subnet offers, but for [`Subject::audit`] and the counts in
//! [`Beat`], which it may leave out.

use candid::Principal;
use millrace_candid::official::{GetBalanceRequest, GetUtxosRequest, GetUtxosResponse};
use millrace_candid::{
    BlockPart, FeedStateArgs, FeedStateResult, GetBalanceArgs, GetBalanceResult, GetBalancesArgs,
    GetBalancesResult, GetBlockArgs, GetBlockHeadersArgs, GetBlockHeadersResult, GetBlockResult,
    GetChainTipsArgs, GetChainTipsResult, GetFeePercentilesArgs, GetFeePercentilesResult,
    GetOutpointsArgs, GetOutpointsResult, GetStatusArgs, GetStatusResult, GetTransactionArgs,
    GetTransactionResult, GetTransactionStatusArgs, GetTransactionStatusResult, GetUtxosArgs,
    GetUtxosResult, InitConfig, PushBlocksResult, ReportTransactionsResult, SendError,
    SendTransactionArgs, SetConfigRequest, TransactionReport,
};
use millrace_canister::pull::GetSuccessorsRequest;
use serde_bytes::ByteBuf;

use crate::memory::TrapPoint;
use crate::schedule::Squeeze;

/// A block that nobody can process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Its hash, as messages have it.
    pub hash: ByteBuf,
    /// Bytes that only it has.
    pub mark: Vec<u8>,
}

/// Why a message had no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A fault that the simulation injected, by its kind.
    Injected(&'static str),
    /// The canister itself; no schedule may cause this.
    Own(String),
}

/// A call that the canister makes to its blocks source.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Names the call.
    pub call: u64,
    /// The argument.
    pub request: GetSuccessorsRequest,
}

/// What a heartbeat did.
#[derive(Clone, Debug)]
pub struct Beat {
    /// The call it made, if any.
    pub asked: Option<Asked>,
    /// Whether it found the watchdog's timer off: then it sets it and does nothing else.
    pub is_rescue: bool,
    /// Instructions as the canister's counter had them at the end.
    pub instructions: Option<u64>,
    /// Distinct pages of stable memory written, as the system counts them.
    pub pages: Option<u64>,
    /// The same as the canister counts them.
    pub own_pages: Option<u64>,
    /// Bytes of stable memory.
    pub stable_bytes: Option<u64>,
    /// Bytes of the heap.
    pub heap_bytes: Option<u64>,
}

/// How a canister is set up before a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The installation's argument.
    pub config: InitConfig,
    /// Blocks to be taken in first, serialised, lowest first; their number alone tells setups of
    /// the same configuration apart.
    pub base: Vec<Vec<u8>>,
    /// The system's time, seconds since the Unix epoch.
    pub now: u64,
}

/// Something a run counts: a group and a kind.
pub type Note = (&'static str, &'static str);

/// A canister under test.
pub trait Subject: Sized {
    /// Installs a canister, and has it take in the base.
    ///
    /// # Errors
    /// Why that fails, for people.
    fn install(setup: &Setup) -> Result<Self, String>;

    /// Returns the system's time, seconds since the Unix epoch.
    fn now(&self) -> u64;
    /// Lets time pass.
    fn advance(&mut self, seconds: u64);
    /// Runs the canister's timer if it is due. Returns whether it was.
    ///
    /// # Errors
    /// [`Trap`] of the timer.
    fn run_timer(&mut self) -> Result<bool, Trap>;
    /// Sets how fast instructions are used up.
    fn set_pace(&mut self, instructions_per_step: u64);
    /// Returns the instructions of a step at most, where [`Subject::set_pace`] does not say.
    fn step_instructions(&self) -> u64 {
        0
    }
    /// Takes what is to be counted: faults that struck, and what was asked for in vain.
    fn take_notes(&mut self) -> Vec<Note> {
        Vec::new()
    }
    /// Sets whether no cycles are left above the freezing threshold. Returns whether that is so now: a
    /// subnet that charges nothing leaves nobody poor.
    fn set_poor(&mut self, is_poor: bool) -> bool;
    /// Has the next message trap.
    fn set_trap(&mut self, point: Option<TrapPoint>);
    /// Sets whether stable memory can grow.
    fn set_full(&mut self, is_full: bool);
    /// Has every message trap that processes this block.
    fn set_poison(&mut self, poison: Option<Poison>);
    /// Stops the canister, lets time pass, and starts it.
    ///
    /// # Errors
    /// What else happened, for people.
    fn stop_for(&mut self, seconds: u64) -> Result<(), String> {
        self.advance(seconds);
        Ok(())
    }
    /// Stops what runs the canister, and goes on with what it saved.
    ///
    /// # Errors
    /// Why that fails, for people.
    fn restart(&mut self) -> Result<(), String> {
        Ok(())
    }
    /// Sets how little the subnet executes, where there is one.
    fn set_limits(&mut self, _: Squeeze) {}
    /// Replaces the module by itself.
    ///
    /// # Errors
    /// [`Trap`] that keeps the new one from starting; the old one stays then.
    fn upgrade(&mut self) -> Result<(), Trap>;

    /// Runs one heartbeat.
    ///
    /// # Errors
    /// [`Trap`].
    fn heartbeat(&mut self) -> Result<Beat, Trap>;
    /// Answers a call of the canister; none is answered twice by a subnet, so a second answer is
    /// dropped there.
    ///
    /// # Errors
    /// [`Trap`].
    fn reply(&mut self, call: u64, answer: Result<Vec<u8>, String>) -> Result<(), Trap>;
    /// `push_blocks`.
    ///
    /// # Errors
    /// [`Trap`].
    fn push(&mut self, caller: Principal, parts: &[BlockPart]) -> Result<PushBlocksResult, Trap>;
    /// `set_config` by a controller.
    ///
    /// # Errors
    /// [`Trap`].
    fn set_config(&mut self, change: SetConfigRequest) -> Result<Result<(), String>, Trap>;
    /// `send_transaction` with enough cycles. Returns the id.
    ///
    /// # Errors
    /// [`Trap`].
    fn send(&mut self, args: SendTransactionArgs) -> Result<Result<Vec<u8>, SendError>, Trap>;
    /// `report_transactions`.
    ///
    /// # Errors
    /// [`Trap`].
    fn report(
        &mut self,
        caller: Principal,
        reports: &[TransactionReport],
    ) -> Result<ReportTransactionsResult, Trap>;

    /// `feed_state`.
    fn feed_state(&mut self, caller: Principal, args: &FeedStateArgs) -> FeedStateResult;
    /// `get_status`.
    fn status(&mut self, args: &GetStatusArgs) -> GetStatusResult;
    /// `get_chain_tips`.
    fn chain_tips(&mut self, args: &GetChainTipsArgs) -> GetChainTipsResult;
    /// `get_utxos`.
    fn utxos(&mut self, args: &GetUtxosArgs) -> GetUtxosResult;
    /// `get_balance`.
    fn balance(&mut self, args: &GetBalanceArgs) -> GetBalanceResult;
    /// `get_balances`.
    fn balances(&mut self, args: &GetBalancesArgs) -> GetBalancesResult;
    /// `get_outpoints`.
    fn outpoints(&mut self, args: &GetOutpointsArgs) -> GetOutpointsResult;
    /// `get_block`.
    fn block(&mut self, args: &GetBlockArgs) -> GetBlockResult;
    /// `get_block_headers`.
    fn headers(&mut self, args: &GetBlockHeadersArgs) -> GetBlockHeadersResult;
    /// `get_transaction`.
    fn transaction(&mut self, args: &GetTransactionArgs) -> GetTransactionResult;
    /// `get_transaction_status`.
    fn transaction_status(&mut self, args: &GetTransactionStatusArgs)
    -> GetTransactionStatusResult;
    /// `get_fee_percentiles`.
    fn fees(&mut self, args: &GetFeePercentilesArgs) -> GetFeePercentilesResult;
    /// `bitcoin_get_utxos_query`; the error is the text of the refusal.
    ///
    /// # Errors
    /// The text.
    fn official_utxos(&mut self, request: GetUtxosRequest) -> Result<GetUtxosResponse, String>;
    /// `bitcoin_get_balance_query`; the error is the text of the refusal.
    ///
    /// # Errors
    /// The text.
    fn official_balance(&mut self, request: GetBalanceRequest) -> Result<u64, String>;

    /// Checks the canister's stored state against itself. Returns the number of stable changes of the
    /// level that has most.
    ///
    /// # Errors
    /// What is broken.
    fn audit(&mut self) -> Result<usize, String>;
}
