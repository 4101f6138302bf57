//! A canister installed on a PocketIC server, and typed calls to it.

mod bitcoin_adapter;
mod client;
mod control;
mod pull;
mod push;
mod read;
mod usage;

use std::time::Duration;

use bitcoin::{Block, BlockHash};
use candid::utils::{ArgumentEncoder, encode_args};
use candid::{CandidType, Principal, decode_one};
use millrace_candid::{Budgets, CanisterArg, Chain, FeedState, InitConfig, InitNetwork};
use pocket_ic::{ErrorCode, PocketIc, PocketIcBuilder, RejectResponse};
use serde::de::DeserializeOwned;

use crate::artifacts;

pub use bitcoin_adapter::{BITCOIN_TESTNET_CANISTER, BitcoinAdapter};
pub use client::{Client, bitcoin_builder, bitcoin_instance};
pub use control::{Control, SubnetFigures, WaitingCall};
pub use pull::{Source, pulled};
pub use push::{part, parts_of};
pub use read::{Snapshot, hash_of};
pub use usage::Usage;

/// Budgets under which one heartbeat connects many blocks: for tests that are not about budgets.
pub const GENEROUS: Budgets = Budgets {
    instructions_per_heartbeat: 10_000_000_000,
    stable_pages_per_heartbeat: 100_000,
};

/// Cycles no test uses up.
const CYCLES: u128 = 1_000_000_000_000_000;

/// Rounds after which a subnet takes new code again.
const MAX_INSTALL_ROUNDS: u32 = 100;

/// Rounds after which something that should have happened never will.
const MAX_ROUNDS: u32 = 20_000;

/// A canister, the server's instance it lives in, and the principals that talk to it.
pub struct Setup {
    /// The instance.
    pub pic: PocketIc,
    /// The Millrace canister.
    pub canister: Principal,
    /// Who controls it.
    pub controller: Principal,
    /// Who may push blocks to it.
    pub adapter: Principal,
    /// What the empty queue takes.
    queue_capacity: u32,
}

/// The principal that pushes blocks in tests.
pub fn adapter_principal() -> Principal {
    Principal::self_authenticating(b"an adapter of the tests")
}

/// A principal nobody has granted anything.
pub fn stranger() -> Principal {
    Principal::self_authenticating(b"a stranger")
}

/// The principal that controls canisters in tests.
pub fn controller_principal() -> Principal {
    Principal::self_authenticating(b"a controller of the tests")
}

/// A configuration that takes blocks from [`adapter_principal`] and wastes no time.
pub fn pushed(network: InitNetwork) -> InitConfig {
    InitConfig {
        network: Some(network),
        adapters: Some(vec![adapter_principal()]),
        budgets: Some(GENEROUS),
        ..InitConfig::default()
    }
}

/// An instance with one application subnet.
pub fn instance() -> PocketIc {
    PocketIcBuilder::new()
        .with_server_binary(artifacts::pocket_ic_server())
        .with_application_subnet()
        .build()
}

impl Setup {
    /// Installs the canister in an instance of its own.
    pub fn new(config: InitConfig) -> Self {
        Self::in_instance(instance(), config)
    }

    /// A mainnet canister that is pushed to.
    pub fn mainnet() -> Self {
        Self::new(pushed(InitNetwork::Mainnet))
    }

    /// A regtest canister that is pushed to.
    pub fn regtest() -> Self {
        Self::new(pushed(InitNetwork::Regtest))
    }

    /// Installs the canister in an instance that holds other things already.
    pub fn in_instance(pic: PocketIc, config: InitConfig) -> Self {
        let canister = pic.create_canister_with_settings(Some(controller_principal()), None);
        Self::in_canister(pic, canister, config)
    }

    /// Installs the canister under this id, which must be free.
    pub fn with_id(pic: PocketIc, id: Principal, config: InitConfig) -> Self {
        let canister = pic
            .create_canister_with_id(Some(controller_principal()), None, id)
            .unwrap_or_else(|error| panic!("canister {id} cannot be created: {error}"));
        Self::in_canister(pic, canister, config)
    }

    fn in_canister(pic: PocketIc, canister: Principal, config: InitConfig) -> Self {
        let controller = controller_principal();
        pic.add_cycles(canister, CYCLES);
        let argument = encode(CanisterArg::Init(config));
        pic.install_canister(
            canister,
            artifacts::millrace_archive(),
            argument,
            Some(controller),
        );
        let mut setup = Self {
            pic,
            canister,
            controller,
            adapter: adapter_principal(),
            queue_capacity: u32::MAX,
        };
        setup.queue_capacity = setup.feed_state().map_or(u32::MAX, |feed| feed.free_blocks);
        setup
    }

    /// Calls an update method.
    ///
    /// # Errors
    /// The IC rejects the call.
    pub fn update<R: CandidType + DeserializeOwned>(
        &self,
        sender: Principal,
        method: &str,
        arguments: impl ArgumentEncoder,
    ) -> Result<R, RejectResponse> {
        let payload = encode_args(arguments).expect("contract types encode");
        let reply = self
            .pic
            .update_call(self.canister, sender, method, payload)?;
        Ok(decode_reply(method, &reply))
    }

    /// Calls a query method.
    ///
    /// # Errors
    /// The IC rejects the call.
    pub fn query<R: CandidType + DeserializeOwned>(
        &self,
        sender: Principal,
        method: &str,
        arguments: impl ArgumentEncoder,
    ) -> Result<R, RejectResponse> {
        let payload = encode_args(arguments).expect("contract types encode");
        let reply = self
            .pic
            .query_call(self.canister, sender, method, payload)?;
        Ok(decode_reply(method, &reply))
    }

    /// Installs the same module again, keeping stable memory.
    ///
    /// # Errors
    /// The canister refuses.
    pub fn upgrade(&self, argument: Vec<u8>) -> Result<(), RejectResponse> {
        self.install_patiently(|wasm| {
            let sender = Some(self.controller);
            self.pic
                .upgrade_canister(self.canister, wasm, argument.clone(), sender)
        })
    }

    /// Installs the same module afresh.
    ///
    /// # Errors
    /// The canister refuses.
    pub fn reinstall(&self, argument: Vec<u8>) -> Result<(), RejectResponse> {
        self.install_patiently(|wasm| {
            let sender = Some(self.controller);
            self.pic
                .reinstall_canister(self.canister, wasm, argument.clone(), sender)
        })
    }

    /// Tries again as long as the subnet limits how fast code is installed.
    fn install_patiently(
        &self,
        install: impl Fn(Vec<u8>) -> Result<(), RejectResponse>,
    ) -> Result<(), RejectResponse> {
        for _ in 0..MAX_INSTALL_ROUNDS {
            match install(artifacts::millrace_archive()) {
                Err(reject) if reject.error_code == ErrorCode::CanisterInstallCodeRateLimited => {
                    self.pic.tick();
                }
                outcome => return outcome,
            }
        }
        install(artifacts::millrace_archive())
    }

    /// Runs rounds until `done` holds.
    pub fn tick_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..MAX_ROUNDS {
            if done(self) {
                return;
            }
            self.pic.tick();
        }
        panic!(
            "{what}: not reached within {MAX_ROUNDS} rounds; {:#?}",
            self.feed_state()
        );
    }

    /// Runs rounds until nothing that was pushed waits any more.
    pub fn settle(&self) {
        self.tick_until("an empty queue", Self::is_settled);
    }

    /// Whether nothing that was pushed waits any more.
    pub fn is_settled(&self) -> bool {
        let feed = self.feed_state().expect("the adapter may ask");
        feed.pending_blocks == 0 && self.waiting_of(&feed) == 0
    }

    /// Blocks of this feed state that were admitted and are not connected yet.
    pub fn waiting_of(&self, feed: &FeedState) -> u32 {
        self.queue_capacity - feed.free_blocks
    }

    /// Runs rounds until reads answer from this block.
    pub fn tick_until_tip(&self, tip: BlockHash) {
        self.tick_until(&format!("tip {tip}"), |setup| setup.tip() == tip);
    }

    /// Pushes blocks and runs rounds until all have been dealt with.
    pub fn feed<'a>(&self, blocks: impl IntoIterator<Item = &'a Block>) {
        self.push(blocks);
        self.settle();
    }

    /// Moves the instance's clock.
    pub fn advance(&self, seconds: u64) {
        self.pic.advance_time(Duration::from_secs(seconds));
    }

    /// The chain the canister follows.
    pub fn chain(&self) -> Chain {
        self.config().chain
    }

    /// What the canister tells its adapter that has nothing.
    ///
    /// # Errors
    /// The canister's own.
    pub fn feed_state(&self) -> millrace_candid::FeedStateResult {
        self.feed_state_with(self.adapter, Vec::new())
    }

    /// The feed state without what refused input may change: the list of refusals, and the best
    /// header, since a good header stays known when its block is bad.
    pub fn feed_apart_from_refusals(&self) -> Option<FeedState> {
        self.feed_state().ok().map(|mut feed| {
            feed.recent_rejections.clear();
            feed.best_header = feed.tip.clone();
            feed
        })
    }
}

/// Encodes one Candid argument.
pub fn encode(argument: impl CandidType) -> Vec<u8> {
    candid::encode_one(argument).expect("contract types encode")
}

fn decode_reply<R: CandidType + DeserializeOwned>(method: &str, reply: &[u8]) -> R {
    decode_one(reply).unwrap_or_else(|error| {
        panic!("{method}: the reply is not of the contract's type: {error}")
    })
}
