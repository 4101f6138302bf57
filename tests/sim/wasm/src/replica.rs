//! A subnet with the canister's module and its blocks source, which runs one message at a time: heartbeats
//! and timers are held back by a fault unless it is their turn.

use std::sync::Arc;

use candid::{CandidType, Principal, decode_one, encode_one};
use ic_management_canister_types::{
    CanisterIdRecord, CanisterInstallMode, InstallCodeArgs, ProvisionalCreateCanisterWithCyclesArgs,
};
use millrace_candid::{CanisterArg, InitConfig};
use millrace_sim::schedule::Squeeze;
use millrace_sim::subject::{Setup, Trap};
use millrace_subnet::{
    ConsensusCall, CostSchedule, EffectivePrincipal, ErrorCode, Fault, FaultKind, Ingress,
    InstructionConfig, LimitsConfig, MessageKind, Network, NetworkConfig, Query, SubnetId,
    SubnetKind, SubnetSpec, UsageRecord, UserError,
};
use serde::de::DeserializeOwned;

use crate::modules::{NoKeys, shared};

/// Rounds within which every message here is answered.
const ROUNDS_MAX: u32 = 50;

/// Largest message of a user: deliveries of a simulation are not cut to what the IC's ingress takes.
const INGRESS_BYTES: u64 = 256 << 20;

/// The blocks source's id: one that may ask the management canister for what comes from outside.
const SOURCE: &str = "g4xu7-jiaaa-aaaan-aaaaq-cai";

const SECOND_NS: u64 = 1_000_000_000;

/// Cycles of a canister that has enough.
const RICH_CYCLES: u64 = 1_000_000_000_000_000;

/// Cycles of a canister that keeps them for draining and answering: less than its reserve, enough to pay ahead
/// for the longest message (40 G) above the freezing threshold (8 G), and few to grow its memory.
const POOR_CYCLES: u64 = 52_000_000_000;

/// Instructions that a round has beyond a slice where it is squeezed so: those of a message or two.
const SQUEEZED_INSTRUCTIONS: u64 = 20_000_000;

/// Bytes written after which a subnet that is squeezed so waits for a checkpoint, and rounds between two.
const SQUEEZED_BYTES: u64 = 4 << 20;
const SQUEEZED_INTERVAL: u64 = 20;

/// The blocks source.
pub(crate) fn source() -> Principal {
    Principal::from_text(SOURCE).unwrap_or(Principal::management_canister())
}

/// Who controls the canisters, and calls them where it does not matter who does.
pub(crate) fn controller() -> Principal {
    Principal::self_authenticating(b"the controller of the simulation")
}

/// What goes wrong with the next message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// A trap, with the kind of the event.
    pub(crate) trap: Option<(&'static str, FaultKind)>,
    /// Whether memory cannot grow.
    pub(crate) is_full: bool,
}

/// A message that ran.
pub(crate) struct Ran {
    pub(crate) record: UsageRecord,
    /// The injected trap that struck it: the kind of the event, and of the fault.
    pub(crate) struck: Option<(&'static str, &'static str)>,
    /// Whether memory could not grow for it, which is no reason to trap.
    pub(crate) was_full: bool,
}

/// The answer to an update call, and what it ran as if it ran at all.
type Answered = (Result<Vec<u8>, UserError>, Option<Ran>);

impl Ran {
    /// Returns whether it trapped while memory was full, and nothing else struck it.
    pub(crate) const fn is_lost_to_full(&self) -> bool {
        !self.record.succeeded && self.was_full && self.struck.is_none()
    }

    /// Judges a message that did not end well.
    pub(crate) fn trapped(&self, own: impl FnOnce() -> String) -> Result<(), Trap> {
        match (self.record.succeeded, self.struck) {
            (true, _) => Ok(()),
            (false, Some((kind, _))) => Err(Trap::Injected(kind)),
            (false, None) => Err(Trap::Own(own())),
        }
    }
}

/// The subnet.
pub(crate) struct Replica {
    network: Network,
    subnet: SubnetId,
    id: Principal,
    squeeze: Squeeze,
    is_poor: bool,
    /// The kind of the event whose trap is armed.
    event: &'static str,
}

/// Limits without rates: deliveries of a simulation are not cut to what the IC's ingress takes.
fn limits(squeeze: Squeeze) -> LimitsConfig {
    let mut limits = LimitsConfig::default().without_rate_limits();
    limits.application.ingress_bytes = INGRESS_BYTES;
    limits.application.ingress_round_bytes = INGRESS_BYTES;
    limits.application.ingress_pool_bytes = INGRESS_BYTES;
    match squeeze {
        Squeeze::None => {}
        Squeeze::HeapDelta => {
            limits.application.heap_delta_capacity = SQUEEZED_BYTES;
            limits.application.heap_delta_initial_reserve = SQUEEZED_BYTES;
            limits.application.checkpoint_interval_rounds = SQUEEZED_INTERVAL;
        }
        Squeeze::Instructions => {
            let slice = limits.application.slice_instructions;
            let slice = slice.max(limits.application.install_slice_instructions);
            limits.application.round_instructions = slice + SQUEEZED_INSTRUCTIONS;
        }
    }
    limits
}

impl Replica {
    /// Sets a subnet up whose canister has this stable memory and the module's heap of after an upgrade.
    pub(crate) fn new(setup: &Setup, config: InitConfig, image: &[u8]) -> Result<Self, String> {
        let shared = shared()?;
        let subnet = Principal::self_authenticating(b"the subnet of the simulation");
        let kind = SubnetKind::Application;
        let network = Network::new(NetworkConfig {
            subnets: vec![SubnetSpec {
                kind,
                id: subnet,
                ranges: SubnetKind::Bitcoin.mainnet_ranges(),
                seed: [7; 32],
                instructions: InstructionConfig::Production,
                cost_schedule: CostSchedule::Normal,
            }],
            time_ns: setup.now * SECOND_NS,
            engine: shared.engine.clone(),
            limits: limits(Squeeze::None),
            certifier: Arc::new(NoKeys),
        });
        let network = network.map_err(|error| error.to_string())?;
        let mut replica = Self {
            network,
            subnet,
            id: Principal::management_canister(),
            squeeze: Squeeze::None,
            is_poor: false,
            event: "",
        };
        let made = replica.create(Some(source()))?;
        replica.install_code(
            made,
            CanisterInstallMode::Install,
            &shared.source,
            Vec::new(),
        )?;
        replica.id = replica.create(None)?;
        replica.arm(&[], &Trouble::default())?;
        let install = CanisterArg::Init(config);
        let argument = encode_one(&install).map_err(|error| error.to_string())?;
        let mode = CanisterInstallMode::Install;
        replica.install_code(replica.id, mode, &shared.module, argument)?;
        let set = replica.network.set_stable_memory(&replica.id, image);
        set.map_err(|error| error.to_string())?;
        replica.upgrade()?;
        Ok(replica)
    }

    fn create(&mut self, specified_id: Option<Principal>) -> Result<Principal, String> {
        let create = ProvisionalCreateCanisterWithCyclesArgs {
            amount: Some(RICH_CYCLES.into()),
            specified_id,
            ..Default::default()
        };
        let method = "provisional_create_canister_with_cycles";
        let created: CanisterIdRecord = self.manage(method, &create)?;
        Ok(created.canister_id)
    }

    fn install_code(
        &mut self,
        canister_id: Principal,
        mode: CanisterInstallMode,
        module: &[u8],
        arg: Vec<u8>,
    ) -> Result<(), String> {
        let arguments = InstallCodeArgs {
            mode,
            canister_id,
            wasm_module: module.to_vec(),
            arg,
            sender_canister_version: None,
        };
        self.manage("install_code", &arguments)
    }

    /// Upgrades the canister to the same module; what it waits for stays under way.
    pub(crate) fn upgrade(&mut self) -> Result<(), String> {
        self.arm(&[MessageKind::Upgrade], &Trouble::default())?;
        self.install_same()
    }

    /// The same when something goes wrong. Returns what it ran as.
    pub(crate) fn upgrade_in(&mut self, trouble: &Trouble) -> Result<Option<Ran>, String> {
        let from = self.next_record();
        self.arm(&[MessageKind::Upgrade], trouble)?;
        let upgraded = self.install_same();
        let ran = self.ran(from, &[MessageKind::Upgrade]);
        match &ran {
            Some(ran) if ran.struck.is_some() => {}
            _ => upgraded?,
        }
        Ok(ran)
    }

    fn install_same(&mut self) -> Result<(), String> {
        let argument = encode_one(CanisterArg::Upgrade(None)).map_err(|error| error.to_string())?;
        let mode = CanisterInstallMode::Upgrade(None);
        self.install_code(self.id, mode, &shared()?.module, argument)
    }

    fn manage<R: CandidType + DeserializeOwned>(
        &mut self,
        method: &str,
        argument: &impl CandidType,
    ) -> Result<R, String> {
        let payload = encode_one(argument).map_err(|error| error.to_string())?;
        let callee = Principal::management_canister();
        let reply = self.send(controller(), callee, method, payload)?;
        let reply = reply.map_err(|error| format!("{method}: {error}"))?;
        decode_reply(method, &reply)
    }

    /// Sends an update call and runs rounds until it is answered.
    fn send(
        &mut self,
        sender: Principal,
        canister_id: Principal,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<Result<Vec<u8>, UserError>, String> {
        let submitted = self.network.submit_ingress(Ingress {
            sender,
            canister_id,
            method: method.to_owned(),
            payload,
            effective: EffectivePrincipal::None,
            message_id: None,
            expiry_ns: None,
            caller_info: None,
        });
        let id = match submitted {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        let answer = self.network.await_ingress(&id, ROUNDS_MAX);
        answer.map_err(|error| format!("{method}: {error}"))
    }

    /// Sees to it that in the rounds to come only these kinds of messages run, and what befalls them.
    fn arm(&mut self, kinds: &[MessageKind], trouble: &Trouble) -> Result<(), String> {
        let of = |kind: FaultKind, message: MessageKind, times| Fault {
            message: Some(message),
            times,
            ..Fault::new(self.id, kind)
        };
        // An upgrade is paid ahead for its limit of instructions: who wants one tops the canister up.
        let is_poor = self.is_poor && !kinds.contains(&MessageKind::Upgrade);
        let cycles = if is_poor { POOR_CYCLES } else { RICH_CYCLES };
        let mut faults = vec![Fault::new(self.id, FaultKind::SetCycles(cycles))];
        for task in [MessageKind::Heartbeat, MessageKind::GlobalTimer] {
            if !kinds.contains(&task) {
                faults.push(of(FaultKind::SkipTask, task, u64::MAX));
            }
        }
        for kind in kinds {
            if trouble.is_full {
                faults.push(of(FaultKind::FullMemory, *kind, u64::MAX));
            }
            if let Some((_, trap)) = &trouble.trap {
                faults.push(of(trap.clone(), *kind, 1));
            }
        }
        self.event = trouble.trap.as_ref().map_or("", |(event, _)| *event);
        self.network.clear_faults();
        self.network
            .inject(faults)
            .map_err(|error| error.to_string())
    }

    /// Returns the first message of these kinds since a record, and what struck it.
    fn ran(&self, from: u64, kinds: &[MessageKind]) -> Option<Ran> {
        let canister = self.network.canister(&self.id).ok()?;
        let mut records = canister.usage().since(from);
        let record = records.find(|record| kinds.contains(&record.kind))?.clone();
        let faults = self.network.faults();
        let mut struck = faults.iter().filter(|status| status.struck > 0);
        let struck = struck.find_map(|status| match status.fault.kind {
            FaultKind::TrapAtSystemCall(_) => Some((self.event, "TrapAtSystemCall")),
            FaultKind::InstructionLimit(_) => Some((self.event, "InstructionLimit")),
            _ => None,
        });
        let was_full = faults
            .iter()
            .any(|status| status.struck > 0 && status.fault.kind == FaultKind::FullMemory);
        Some(Ran {
            record,
            struck,
            was_full,
        })
    }

    fn next_record(&self) -> u64 {
        let canister = self.network.canister(&self.id);
        canister.map_or(0, |canister| canister.usage().next_sequence())
    }

    /// Runs a round in which only one of these kinds runs. Returns nothing if none did.
    pub(crate) fn run(
        &mut self,
        kinds: &[MessageKind],
        trouble: &Trouble,
    ) -> Result<Option<Ran>, String> {
        let from = self.next_record();
        self.arm(kinds, trouble)?;
        self.network.tick().map_err(|error| error.to_string())?;
        Ok(self.ran(from, kinds))
    }

    /// Makes an update call; a rejection without a trap is the inner error.
    pub(crate) fn update(
        &mut self,
        sender: Principal,
        method: &str,
        argument: &impl CandidType,
        trouble: &Trouble,
    ) -> Result<Answered, String> {
        let payload = encode_one(argument).map_err(|error| error.to_string())?;
        let from = self.next_record();
        self.arm(&[MessageKind::Update], trouble)?;
        let answer = self.send(sender, self.id, method, payload)?;
        Ok((answer, self.ran(from, &[MessageKind::Update])))
    }

    /// Makes a query call.
    pub(crate) fn query(
        &mut self,
        sender: Principal,
        method: &str,
        argument: &impl CandidType,
    ) -> Result<Vec<u8>, UserError> {
        let payload = encode_one(argument).map_err(|error| {
            UserError::new(ErrorCode::CanisterRejectedMessage, error.to_string())
        })?;
        self.network.query(Query {
            sender,
            canister_id: self.id,
            method: method.to_owned(),
            payload,
            effective: EffectivePrincipal::None,
            caller_info: None,
        })
    }

    /// Returns the questions that wait for the simulation's answer, oldest first.
    pub(crate) fn questions(&self) -> Result<Vec<ConsensusCall>, String> {
        let calls = self.network.consensus_calls(&self.subnet);
        calls.map_err(|error| error.to_string())
    }

    /// Answers a question. Returns whether it still waited.
    pub(crate) fn answer(&mut self, call: u64, answer: Result<Vec<u8>, String>) -> bool {
        let refused = |text: String| UserError::new(ErrorCode::CanisterRejectedMessage, text);
        let answered =
            self.network
                .answer_consensus_call(&self.subnet, call, answer.map_err(refused));
        answered.is_ok()
    }

    /// Sets the time, in seconds since the Unix epoch.
    pub(crate) fn set_time(&mut self, seconds: u64) {
        // Rounds take nanoseconds: whole seconds later is always ahead.
        let set = self.network.set_time_ns(seconds * SECOND_NS);
        assert!(set.is_ok(), "the clock only goes forward: {set:?}");
    }

    /// Changes the limits from the next round on.
    pub(crate) fn set_limits(&mut self, squeeze: Squeeze) {
        self.squeeze = squeeze;
        self.network.set_limits(limits(squeeze));
    }

    /// Takes the canister's cycles, or gives it some, from the next round on.
    pub(crate) const fn set_poor(&mut self, is_poor: bool) {
        self.is_poor = is_poor;
    }

    /// Returns whether rounds may pass in which nothing is executed.
    pub(crate) fn is_squeezed(&self) -> bool {
        self.squeeze != Squeeze::None
    }

    /// Has the canister stopped or started, whatever it waits for.
    pub(crate) fn tell(&mut self, kind: FaultKind) -> Result<(), String> {
        self.arm(&[], &Trouble::default())?;
        let fault = Fault::new(self.id, kind);
        self.network
            .inject(vec![fault])
            .and_then(|()| self.network.tick())
            .map_err(|error| error.to_string())
    }

    /// Goes on from saved state.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let saved = self.network.save(folder.path());
        saved.map_err(|error| error.to_string())?;
        let engine = shared()?.engine.clone();
        let network = Network::load(folder.path(), engine, Arc::new(NoKeys));
        self.network = network.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Bytes of the canister's heap.
    pub(crate) fn heap_bytes(&self) -> u64 {
        let canister = self.network.canister(&self.id);
        canister.map_or(0, |canister| canister.heap_bytes())
    }

    /// Bytes of the canister's stable memory.
    pub(crate) fn stable_bytes(&self) -> u64 {
        let canister = self.network.canister(&self.id);
        canister.map_or(0, |canister| canister.stable_bytes())
    }

    /// A copy of the canister's stable memory.
    pub(crate) fn stable_memory(&self) -> Result<Vec<u8>, String> {
        let canister = self.network.canister(&self.id);
        let memory = canister.and_then(|canister| canister.stable_memory());
        memory.map_err(|error| error.to_string())
    }
}

/// Decodes the reply of a method.
pub(crate) fn decode_reply<R: CandidType + DeserializeOwned>(
    method: &str,
    reply: &[u8],
) -> Result<R, String> {
    // A reply without values reads as `null` does.
    let reply = match reply {
        b"DIDL\0\0" => &b"DIDL\0\x01\x7f"[..],
        other => other,
    };
    decode_one(reply).map_err(|error| format!("{method}: the reply is of another type: {error}"))
}
