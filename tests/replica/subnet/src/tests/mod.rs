//! Networks of small hand-written canisters.

mod bitcoin;
mod cycles;
mod faults;
mod management;
mod messages;
mod persistence;
mod queries;
mod rounds;
mod routing;

use crate::*;
use candid::{CandidType, Principal};
use ic_management_canister_types::{
    CanisterIdRecord, CanisterInstallMode, CanisterSettings, CreateCanisterArgs, InstallCodeArgs,
    ProvisionalCreateCanisterWithCyclesArgs,
};
use std::sync::{Arc, OnceLock};

const START_NS: u64 = 1_620_328_630_000_000_000;
const TRILLION: u128 = 1_000_000_000_000;
const ROUNDS: u32 = 100;
/// The privileged Bitcoin mainnet canister.
const BITCOIN_CANISTER: &str = "ghsi2-tqaaa-aaaan-aaaca-cai";

/// Certifies with the bytes themselves, which tests can compare.
struct PlainCertifier;

impl Certifier for PlainCertifier {
    fn data_certificate(
        &self,
        _subnet: &SubnetId,
        _canister: &CanisterId,
        certified_data: &[u8],
        _time_ns: u64,
    ) -> Option<Vec<u8>> {
        Some([b"certified ", certified_data].concat())
    }

    fn root_key(&self) -> Vec<u8> {
        b"root".to_vec()
    }
}

/// One engine for all tests, so that every module is compiled once.
fn engine() -> millrace_vm::Engine {
    static ENGINE: OnceLock<millrace_vm::Engine> = OnceLock::new();
    ENGINE
        .get_or_init(|| {
            millrace_vm::Engine::new(millrace_vm::EngineOptions::default()).expect("engine")
        })
        .clone()
}

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's module is valid")
}

fn probe() -> Vec<u8> {
    static PROBE: OnceLock<Vec<u8>> = OnceLock::new();
    PROBE
        .get_or_init(|| wasm(include_str!("probe.wat")))
        .clone()
}

fn user() -> Principal {
    Principal::self_authenticating(b"the user")
}

fn stranger() -> Principal {
    Principal::self_authenticating(b"a stranger")
}

fn subnet_spec(kind: SubnetKind, index: u8) -> SubnetSpec {
    let mainnet = kind.mainnet_ranges();
    let ranges = if mainnet.is_empty() {
        vec![CanisterRange::local(u64::from(index))]
    } else {
        mainnet
    };
    SubnetSpec {
        kind,
        id: Principal::self_authenticating([index, 7]),
        ranges,
        seed: [index; 32],
        instructions: InstructionConfig::Production,
        cost_schedule: CostSchedule::Normal,
    }
}

/// A network and what tests do with it.
struct Net(Network);

impl Net {
    fn new(kinds: &[SubnetKind]) -> Self {
        Self::with_limits(kinds, LimitsConfig::default())
    }

    fn with_limits(kinds: &[SubnetKind], limits: LimitsConfig) -> Self {
        let subnets = (0_u8..)
            .zip(kinds)
            .map(|(index, &kind)| subnet_spec(kind, index))
            .collect();
        Self::with_specs(subnets, limits)
    }

    fn with_specs(subnets: Vec<SubnetSpec>, limits: LimitsConfig) -> Self {
        let config = NetworkConfig {
            subnets,
            time_ns: START_NS,
            engine: engine(),
            limits,
            certifier: Arc::new(PlainCertifier),
        };
        Self(Network::new(config).expect("the subnets do not overlap"))
    }

    fn application() -> Self {
        Self::new(&[SubnetKind::Application])
    }

    fn system() -> Self {
        Self::new(&[SubnetKind::System])
    }

    fn submit(
        &mut self,
        sender: Principal,
        canister_id: CanisterId,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<MessageId, UserError> {
        self.submit_to(
            sender,
            canister_id,
            method,
            payload,
            EffectivePrincipal::None,
        )
    }

    fn submit_to(
        &mut self,
        sender: Principal,
        canister_id: CanisterId,
        method: &str,
        payload: Vec<u8>,
        effective: EffectivePrincipal,
    ) -> Result<MessageId, UserError> {
        self.0.submit_ingress(Ingress {
            sender,
            canister_id,
            method: method.to_owned(),
            payload,
            effective,
            message_id: None,
            expiry_ns: None,
            caller_info: None,
        })
    }

    /// Answers the only call of a canister that waits for the consensus queue.
    fn answer_consensus_call(&mut self, canister: &CanisterId, answer: Vec<u8>) {
        let subnet = self.0.subnet_of(canister).expect("hosted");
        let callback = self.0.consensus_calls(&subnet).expect("subnet")[0].callback;
        self.0
            .answer_consensus_call(&subnet, callback, Ok(answer))
            .expect("waiting");
    }

    fn finish(&mut self, id: MessageId) -> Result<Vec<u8>, UserError> {
        self.0.await_ingress(&id, ROUNDS).expect("answered in time")
    }

    fn update(
        &mut self,
        id: CanisterId,
        method: &str,
        payload: &[u8],
    ) -> Result<Vec<u8>, UserError> {
        let message = self.submit(user(), id, method, payload.to_vec())?;
        self.finish(message)
    }

    fn query(
        &mut self,
        id: CanisterId,
        method: &str,
        payload: &[u8],
    ) -> Result<Vec<u8>, UserError> {
        self.0.query(Query {
            sender: user(),
            canister_id: id,
            method: method.to_owned(),
            payload: payload.to_vec(),
            effective: EffectivePrincipal::None,
            caller_info: None,
        })
    }

    fn manage_as<T: CandidType>(
        &mut self,
        sender: Principal,
        method: &str,
        argument: &T,
    ) -> Result<Vec<u8>, UserError> {
        let payload = candid::encode_one(argument).expect("encodes");
        let management = Principal::management_canister();
        let message = self.submit(sender, management, method, payload)?;
        self.finish(message)
    }

    fn manage<T: CandidType>(&mut self, method: &str, argument: &T) -> Result<Vec<u8>, UserError> {
        self.manage_as(user(), method, argument)
    }

    fn create_in(&mut self, effective: EffectivePrincipal, cycles: u128) -> CanisterId {
        let args = ProvisionalCreateCanisterWithCyclesArgs {
            amount: Some(cycles.into()),
            ..Default::default()
        };
        self.create_with(&args, effective).expect("created")
    }

    fn create_with(
        &mut self,
        args: &ProvisionalCreateCanisterWithCyclesArgs,
        effective: EffectivePrincipal,
    ) -> Result<CanisterId, UserError> {
        let message = self.submit_to(
            user(),
            Principal::management_canister(),
            "provisional_create_canister_with_cycles",
            candid::encode_one(args).expect("encodes"),
            effective,
        )?;
        let reply = self.finish(message)?;
        let record: CanisterIdRecord = candid::decode_one(&reply).expect("decodes");
        Ok(record.canister_id)
    }

    fn create(&mut self) -> CanisterId {
        self.create_in(EffectivePrincipal::None, 100 * TRILLION)
    }

    fn create_as(&mut self, id: &str) -> CanisterId {
        let args = ProvisionalCreateCanisterWithCyclesArgs {
            amount: Some((100 * TRILLION).into()),
            specified_id: Some(principal(id)),
            ..Default::default()
        };
        self.create_with(&args, EffectivePrincipal::None)
            .expect("created")
    }

    fn install_as(
        &mut self,
        id: CanisterId,
        mode: CanisterInstallMode,
        wasm_module: Vec<u8>,
        arg: &[u8],
    ) -> Result<(), UserError> {
        let args = InstallCodeArgs {
            mode,
            canister_id: id,
            wasm_module,
            arg: arg.to_vec(),
            sender_canister_version: None,
        };
        self.manage("install_code", &args).map(|_| ())
    }

    fn install(&mut self, id: CanisterId, wasm_module: Vec<u8>) {
        self.install_as(id, CanisterInstallMode::Install, wasm_module, b"")
            .expect("installed");
    }

    /// Returns a new canister with the probe installed.
    fn probe(&mut self) -> CanisterId {
        let id = self.create();
        self.install(id, probe());
        id
    }

    fn tick(&mut self) {
        self.0.tick().expect("no replica crashes");
    }

    fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.tick();
        }
    }

    fn pass_seconds(&mut self, seconds: u64) {
        let time_ns = self.0.time_ns() + seconds * 1_000_000_000;
        self.0.set_time_ns(time_ns).expect("later");
        self.tick();
    }

    fn state_of(&self, id: &MessageId) -> IngressState {
        self.0.ingress_status(id).expect("known").state.clone()
    }

    fn cycles(&self, id: &CanisterId) -> u128 {
        self.0.canister(id).expect("exists").cycles()
    }

    fn subnet_mut(&mut self, id: &CanisterId) -> &mut crate::subnet::Subnet {
        let subnet = self.0.subnet_of(id).expect("hosted");
        self.0.subnets.get_mut(&subnet).expect("exists")
    }

    fn canister_mut(&mut self, id: &CanisterId) -> &mut crate::canister::Canister {
        let canisters = &mut self.subnet_mut(id).canisters;
        canisters.get_mut(id).expect("exists")
    }
}

/// Returns the probe's description of a call.
fn call(callee: CanisterId, method: &str, cycles: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(callee.as_slice().len()).expect("short")];
    bytes.extend_from_slice(callee.as_slice());
    bytes.push(u8::try_from(method.len()).expect("short"));
    bytes.extend_from_slice(method.as_bytes());
    bytes.extend_from_slice(&cycles.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns the probe's description of a management call.
fn management_call<T: CandidType>(method: &str, cycles: u64, argument: &T) -> Vec<u8> {
    let payload = candid::encode_one(argument).expect("encodes");
    call(Principal::management_canister(), method, cycles, &payload)
}

#[derive(CandidType)]
#[expect(non_camel_case_types, reason = "the names are Candid's")]
enum SuccessorsRequest {
    initial(()),
    follow_up(u8),
}

/// Returns the probe's description of a call that asks the Bitcoin adapter for blocks.
fn blocks_call(request: &SuccessorsRequest) -> Vec<u8> {
    management_call("bitcoin_get_successors", 0, request)
}

/// Returns a network with the Bitcoin canister, and a call of it that waits for an answer from outside.
fn waiting_for_blocks(limits: LimitsConfig) -> (Net, CanisterId, MessageId) {
    let mut net = Net::with_limits(&[SubnetKind::Bitcoin], limits);
    let id = net.create_as(BITCOIN_CANISTER);
    // With a heap that holds a page of a block.
    let small = "(memory (export \"memory\") 2)";
    let large = "(memory (export \"memory\") 64)";
    let probe = include_str!("probe.wat").replace(small, large);
    net.install(id, wasm(&probe));
    let argument = blocks_call(&SuccessorsRequest::initial(()));
    let message = net.submit(user(), id, "call", argument).expect("accepted");
    net.ticks(3);
    (net, id, message)
}

fn record(id: CanisterId) -> CanisterIdRecord {
    CanisterIdRecord { canister_id: id }
}

fn principal(text: &str) -> Principal {
    Principal::from_text(text).expect("valid")
}

fn text(bytes: Result<Vec<u8>, UserError>) -> String {
    String::from_utf8(bytes.expect("replied")).expect("text")
}

fn settings(change: impl FnOnce(&mut CanisterSettings)) -> CanisterSettings {
    let mut settings = CanisterSettings::default();
    change(&mut settings);
    settings
}

fn creation(settings: CanisterSettings) -> CreateCanisterArgs {
    CreateCanisterArgs {
        settings: Some(settings),
        sender_canister_version: None,
    }
}
