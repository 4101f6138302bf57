//! The canister's module in our replica, in this process: calls it, runs rounds, and reads what each
//! message consumed.

use std::path::Path;
use std::sync::Arc;

use crate::profile;
use anyhow::{Context, Result, anyhow, bail};
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal, decode_one, encode_one};
use ic_management_canister_types::{
    CanisterIdRecord, CanisterInstallMode, CanisterStatusResult, InstallCodeArgs,
    ProvisionalCreateCanisterWithCyclesArgs,
};
use millrace_candid::{CanisterArg, InitConfig, SetConfigRequest};
use millrace_subnet::{
    CanisterRange, Certifier, CostSchedule, EffectivePrincipal, Ingress, InstructionConfig,
    LimitsConfig, MessageKind, Network, NetworkConfig, SubnetKind, SubnetSpec, UsageRecord,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Rounds within which every message here is answered: a long one takes some slices.
const ROUNDS_MAX: u32 = 1_000;

/// 30 June 2026: later than any block here.
pub const START_NS: u64 = 1_782_777_600_000_000_000;

/// A canister id that may ask the management canister for blocks.
const PRIVILEGED: &str = "g4xu7-jiaaa-aaaan-aaaaq-cai";

/// Who pushes blocks, controls the canister, and calls it.
pub fn adapter() -> Principal {
    Principal::self_authenticating(b"the adapter of the benchmarks")
}

/// Vouches for nothing: queries only need to see that there is a certificate.
struct NoKeys;

impl Certifier for NoKeys {
    fn data_certificate(&self, _: &Principal, _: &Principal, _: &[u8], _: u64) -> Option<Vec<u8>> {
        Some(b"a certificate".to_vec())
    }

    fn root_key(&self) -> Vec<u8> {
        b"no key".to_vec()
    }
}

/// The canister.
pub struct Canister {
    network: Network,
    id: Principal,
    module: Arc<[u8]>,
    /// The next usage record nobody has taken.
    next_record: u64,
}

/// Sizes of the canister's memories.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The Wasm heap.
    pub heap_bytes: u64,
    /// Stable memory.
    pub stable_bytes: u64,
}

impl Canister {
    /// Installs the module on an application subnet with the IC's limits.
    ///
    /// # Errors
    /// The module or the configuration is refused.
    pub fn install(module: &Arc<[u8]>, config: InitConfig) -> Result<Self> {
        Self::install_on(SubnetKind::Application, module, config)
    }

    /// Installs the module under an id that may pull from the management canister.
    ///
    /// # Errors
    /// The module or the configuration is refused.
    pub fn install_privileged(module: &Arc<[u8]>, config: InitConfig) -> Result<Self> {
        Self::install_on(SubnetKind::Bitcoin, module, config)
    }

    fn install_on(kind: SubnetKind, module: &Arc<[u8]>, config: InitConfig) -> Result<Self> {
        let ranges = match kind.mainnet_ranges() {
            ranges if ranges.is_empty() => vec![CanisterRange::local(0)],
            ranges => ranges,
        };
        let subnet = SubnetSpec {
            kind,
            id: Principal::self_authenticating(b"the subnet of the benchmarks"),
            ranges,
            seed: [7; 32],
            instructions: InstructionConfig::Production,
            cost_schedule: CostSchedule::Free,
        };
        let network = Network::new(NetworkConfig {
            subnets: vec![subnet],
            time_ns: START_NS,
            engine: millrace_replica::module_cache::profiled_engine(profile::profiler())?,
            limits: LimitsConfig::default(),
            certifier: Arc::new(NoKeys),
        })?;
        let mut canister = Self {
            network,
            id: Principal::management_canister(),
            module: module.clone(),
            next_record: 0,
        };
        let specified_id = (kind == SubnetKind::Bitcoin)
            .then(|| Principal::from_text(PRIVILEGED).expect("a canister id"));
        let create = ProvisionalCreateCanisterWithCyclesArgs {
            amount: Some(1_000_000_000_000_000_u64.into()),
            specified_id,
            ..Default::default()
        };
        let created: CanisterIdRecord =
            canister.manage("provisional_create_canister_with_cycles", &create)?;
        canister.id = created.canister_id;
        canister.install_code(CanisterInstallMode::Install, &CanisterArg::Init(config))?;
        Ok(canister)
    }

    /// Installs the module on an application subnet, gives it a stable memory, and upgrades it to
    /// itself: the memory's canister goes on as after any upgrade.
    ///
    /// # Errors
    /// The module or the configuration is refused, or the memory is too large.
    pub fn install_on_image(
        module: &Arc<[u8]>,
        config: InitConfig,
        image: &[u8],
        change: Option<SetConfigRequest>,
    ) -> Result<Self> {
        let mut canister = Self::install(module, config)?;
        let id = CanisterIdRecord {
            canister_id: canister.id,
        };
        // Nothing of the empty canister may run, or write, between the two.
        canister.manage::<()>("stop_canister", &id)?;
        canister.network.set_stable_memory(&canister.id, image)?;
        canister.install_code(
            CanisterInstallMode::Upgrade(None),
            &CanisterArg::Upgrade(change),
        )?;
        canister.records()?;
        canister.manage::<()>("start_canister", &id)?;
        Ok(canister)
    }

    /// Changes the configuration.
    ///
    /// # Errors
    /// It is refused.
    pub fn set_config(&mut self, change: &SetConfigRequest) -> Result<()> {
        self.update("set_config", encode_one(change)?).map(drop)
    }

    /// Reads back what [`Self::save`] wrote.
    ///
    /// # Errors
    /// The folder does not hold it.
    pub fn load(folder: &Path, module: &Arc<[u8]>) -> Result<Self> {
        let engine = millrace_replica::module_cache::engine()?;
        let network = Network::load(folder, engine, Arc::new(NoKeys))?;
        let subnet = network.topology().subnets[0].id;
        let canisters = network.canisters(&subnet)?;
        let id = *canisters.first().context("the folder holds no canister")?;
        let next_record = network.canister(&id)?.usage().next_sequence();
        Ok(Self {
            network,
            id,
            module: module.clone(),
            next_record,
        })
    }

    /// Writes the complete state into an empty folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        Ok(self.network.save(folder)?)
    }

    fn install_code(&mut self, mode: CanisterInstallMode, argument: &CanisterArg) -> Result<()> {
        let arguments = InstallCodeArgs {
            mode,
            canister_id: self.id,
            wasm_module: self.module.to_vec(),
            arg: encode_one(argument)?,
            sender_canister_version: None,
        };
        for _ in 0..ROUNDS_MAX {
            match self.send(
                Principal::management_canister(),
                "install_code",
                encode_one(&arguments)?,
            )? {
                Ok(_) => return Ok(()),
                // The subnet limits how fast code is installed.
                Err(text) if text.contains("rate limited") => self.tick(),
                Err(text) => bail!("install_code: {text}"),
            }
        }
        bail!("install_code: rate limited for {ROUNDS_MAX} rounds")
    }

    /// Upgrades to the same module and returns what that consumed, and the first heartbeat after it,
    /// which opens the stores.
    ///
    /// # Errors
    /// The canister refuses.
    pub fn upgrade(&mut self) -> Result<(UsageRecord, UsageRecord)> {
        self.records()?;
        self.install_code(
            CanisterInstallMode::Upgrade(None),
            &CanisterArg::Upgrade(None),
        )?;
        let mut records = self.records()?;
        for _ in 0..ROUNDS_MAX {
            let mut after = records
                .iter()
                .skip_while(|record| record.kind != MessageKind::Upgrade || !record.succeeded);
            let upgrade = after.next().context("the upgrade left no usage record")?;
            if let Some(heartbeat) = after.find(|record| record.kind == MessageKind::Heartbeat) {
                return Ok((upgrade.clone(), heartbeat.clone()));
            }
            self.tick();
            records.extend(self.records()?);
        }
        bail!("no heartbeat ran after the upgrade")
    }

    fn manage<R: CandidType + DeserializeOwned>(
        &mut self,
        method: &str,
        argument: &impl CandidType,
    ) -> Result<R> {
        let reply = self.send(
            Principal::management_canister(),
            method,
            encode_one(argument)?,
        )?;
        let reply = reply.map_err(|text| anyhow!("{method}: {text}"))?;
        Ok(decode_one(&reply)?)
    }

    /// Sends an update call and runs rounds until it is answered; a rejection is the inner error.
    fn send(
        &mut self,
        callee: Principal,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<Result<Vec<u8>, String>> {
        let ingress = Ingress {
            sender: adapter(),
            canister_id: callee,
            method: method.to_owned(),
            payload,
            effective: EffectivePrincipal::None,
            message_id: None,
            expiry_ns: None,
            caller_info: None,
        };
        let id = match self.network.submit_ingress(ingress) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let answer = self.network.await_ingress(&id, ROUNDS_MAX)?;
        Ok(answer.map_err(|error| error.to_string()))
    }

    /// Makes an update call.
    ///
    /// # Errors
    /// It is rejected.
    pub fn update(&mut self, method: &str, payload: Vec<u8>) -> Result<Vec<u8>> {
        let reply = self.send(self.id, method, payload)?;
        reply.map_err(|text| anyhow!("{method}: {text}"))
    }

    /// Makes a query call.
    ///
    /// # Errors
    /// It is rejected.
    pub fn query(&mut self, method: &str, payload: Vec<u8>) -> Result<Vec<u8>> {
        let query = millrace_subnet::Query {
            sender: adapter(),
            canister_id: self.id,
            method: method.to_owned(),
            payload,
            effective: EffectivePrincipal::None,
            caller_info: None,
        };
        let reply = self.network.query(query);
        reply.map_err(|error| anyhow!("{method}: {error}"))
    }

    /// Makes a typed query call.
    ///
    /// # Errors
    /// It is rejected, or answers with another type.
    pub fn ask<R: CandidType + DeserializeOwned>(
        &mut self,
        method: &str,
        arguments: impl ArgumentEncoder,
    ) -> Result<R> {
        let reply = self.query(method, candid::encode_args(arguments)?)?;
        decode_one(&reply).with_context(|| format!("{method}: the reply is of another type"))
    }

    /// Runs a round.
    pub fn tick(&mut self) {
        self.network
            .tick()
            .expect("the right round order crashes no replica");
    }

    /// Takes the usage records since the last time, oldest first.
    ///
    /// # Errors
    /// Some are gone: more messages ran in between than the replica keeps records of.
    pub fn records(&mut self) -> Result<Vec<UsageRecord>> {
        let usage = self.network.canister(&self.id)?.usage();
        let records: Vec<UsageRecord> = usage.since(self.next_record).cloned().collect();
        let expected = usage.next_sequence() - self.next_record;
        if records.len() as u64 != expected {
            bail!(
                "{expected} messages ran, but only {} records are left",
                records.len()
            );
        }
        self.next_record = usage.next_sequence();
        Ok(records)
    }

    /// The sizes of its memories.
    ///
    /// # Errors
    /// The management canister does not say.
    pub fn sizes(&mut self) -> Result<Sizes> {
        let status: CanisterStatusResult = self.manage(
            "canister_status",
            &CanisterIdRecord {
                canister_id: self.id,
            },
        )?;
        let number = |nat: candid::Nat| u64::try_from(nat.0).context("a size in 64 bits");
        Ok(Sizes {
            heap_bytes: number(status.memory_metrics.wasm_memory_size)?,
            stable_bytes: number(status.memory_metrics.stable_memory_size)?,
        })
    }

    /// Its stable memory.
    ///
    /// # Errors
    /// The replica cannot read it.
    pub fn stable_memory(&self) -> Result<Vec<u8>> {
        Ok(self.network.canister(&self.id)?.stable_memory()?)
    }

    /// Answers the question for blocks that waits at the management canister, running rounds until
    /// there is one.
    ///
    /// # Errors
    /// The canister does not ask.
    pub fn answer_pull(&mut self, reply: &impl CandidType) -> Result<()> {
        let subnet = self.network.topology().subnets[0].id;
        for _ in 0..ROUNDS_MAX {
            if let Some(call) = self.network.consensus_calls(&subnet)?.first() {
                let reply = encode_one(reply)?;
                self.network
                    .answer_consensus_call(&subnet, call.callback, Ok(reply))?;
                return Ok(());
            }
            self.tick();
        }
        bail!("the canister does not ask for blocks")
    }
}

/// What a canister's `Result` reply holds, or its error as text.
///
/// # Errors
/// The reply is an error, or of another type.
pub fn succeeded<T, E>(reply: &[u8]) -> Result<T>
where
    T: CandidType + for<'de> Deserialize<'de>,
    E: CandidType + for<'de> Deserialize<'de> + std::fmt::Debug,
{
    let result: std::result::Result<T, E> = decode_one(reply)?;
    result.map_err(|error| anyhow!("{error:?}"))
}
