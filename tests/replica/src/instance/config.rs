//! Turns a PocketIC instance configuration into a network and its signing authority.

use super::certifier::DataCertifier;
use super::progress::wall_clock_ns;
use super::state_dir::StateDir;
use super::{Instance, InstanceError, authority_of};
use crate::certification::keys::SubnetKeys;
use crate::pocketic::types::{
    self as json, InitialTime, InstanceConfig, SubnetConfigSet, SubnetStateConfig,
};
use millrace_subnet::{
    CanisterRange, CostSchedule, InstructionConfig, LimitsConfig, Network, NetworkConfig,
    SubnetKind, SubnetSpec, Topology,
};
use std::sync::Arc;
use std::time::Duration;

/// PocketIC's start of time, 2021-05-06T19:17:10Z, in nanoseconds since 1970.
pub const DEFAULT_TIME_NS: u64 = 1_620_328_630_000_000_000;

/// Most subnets of one instance.
const SUBNETS_MAX: usize = 64;

/// Creates the instance: loads it when its state folder holds one, otherwise starts it empty.
/// A gateway is the caller's business.
///
/// # Errors
/// [`InstanceError::Config`] for what is not supported, and everything that loading can fail with.
pub async fn create(
    config: InstanceConfig,
    engine: millrace_vm::Engine,
    limits: LimitsConfig,
) -> Result<Arc<Instance>, InstanceError> {
    refuse_unsupported(&config)?;
    let initial_time = config.initial_time;
    let instance = tokio::task::spawn_blocking(move || build(&config, engine, limits))
        .await
        .map_err(|e| InstanceError::Internal(e.to_string()))??;
    if let Some(InitialTime::AutoProgress(progress)) = initial_time {
        let delay = progress.artificial_delay_ms.map(Duration::from_millis);
        instance.start_auto_progress(delay).await?;
    }
    Ok(instance)
}

fn build(
    config: &InstanceConfig,
    engine: millrace_vm::Engine,
    limits: LimitsConfig,
) -> Result<Arc<Instance>, InstanceError> {
    let validate = !config.disable_ingress_validation.unwrap_or(false);
    let state_dir = config
        .state_dir
        .as_deref()
        .map(StateDir::open)
        .transpose()?;
    if let Some(state_dir) = &state_dir
        && let Some((network, authority)) = state_dir.load(engine.clone())?
    {
        warn_of_ignored(config, &limits, &network.topology());
        return Ok(Instance::new(
            network,
            authority,
            validate,
            Some(state_dir.clone()),
        ));
    }
    let limits = if rate_limits_disabled(config)? {
        limits.without_rate_limits()
    } else {
        limits
    };
    let subnets = subnet_specs(&config.subnet_config_set)?;
    let authority = authority_of(&subnets)?;
    let network = Network::new(NetworkConfig {
        subnets,
        time_ns: initial_time_ns(config.initial_time)?,
        engine,
        limits,
        certifier: Arc::new(DataCertifier::new(authority.clone())),
    })?;
    Ok(Instance::new(network, authority, validate, state_dir))
}

/// A saved state keeps its subnets and limits: says so when others are asked for.
fn warn_of_ignored(config: &InstanceConfig, limits: &LimitsConfig, loaded: &Topology) {
    let kinds = |specs: &[SubnetSpec]| specs.iter().map(|spec| spec.kind).collect::<Vec<_>>();
    // More may have been added since.
    let same = subnet_specs(&config.subnet_config_set)
        .is_ok_and(|asked| kinds(&loaded.subnets).starts_with(&kinds(&asked)));
    if !same {
        tracing::warn!("the state folder has other subnets than asked for; its own are used");
    }
    if *limits != LimitsConfig::default() || rate_limits_disabled(config).is_ok_and(|off| off) {
        tracing::warn!(
            "the state folder keeps the limits it was made with; those given now have no effect"
        );
    }
}

/// Returns whether `icp_config` switches rate limits off. Its other flags choose between behaviours of
/// which this replica has the newest only.
fn rate_limits_disabled(config: &InstanceConfig) -> Result<bool, InstanceError> {
    let flag = config
        .icp_config
        .as_ref()
        .and_then(|flags| flags.get("canister_execution_rate_limiting"));
    match flag {
        None | Some(serde_json::Value::Null) => Ok(false),
        Some(flag) if flag == "Enabled" => Ok(false),
        Some(flag) if flag == "Disabled" => Ok(true),
        Some(flag) => Err(InstanceError::Config(format!(
            "canister_execution_rate_limiting is {flag}, it must be \"Enabled\" or \"Disabled\""
        ))),
    }
}

fn initial_time_ns(initial_time: Option<InitialTime>) -> Result<u64, InstanceError> {
    match initial_time {
        None => Ok(DEFAULT_TIME_NS),
        Some(InitialTime::AutoProgress(_)) => Ok(wall_clock_ns().max(DEFAULT_TIME_NS)),
        Some(InitialTime::Timestamp(time)) if time.nanos_since_epoch >= DEFAULT_TIME_NS => {
            Ok(time.nanos_since_epoch)
        }
        Some(InitialTime::Timestamp(time)) => Err(InstanceError::Config(format!(
            "the initial time {} ns must be at least {DEFAULT_TIME_NS} ns (2021-05-06 19:17:10 UTC)",
            time.nanos_since_epoch
        ))),
    }
}

/// Returns the subnets in PocketIC's order; the first one becomes the root.
///
/// # Errors
/// [`InstanceError::Config`] naming the subnet and the option that is not supported.
pub fn subnet_specs(set: &SubnetConfigSet) -> Result<Vec<SubnetSpec>, InstanceError> {
    let named = [
        (SubnetKind::NNS, &set.nns),
        (SubnetKind::SNS, &set.sns),
        (SubnetKind::II, &set.ii),
        (SubnetKind::Fiduciary, &set.fiduciary),
        (SubnetKind::Bitcoin, &set.bitcoin),
        (SubnetKind::TestThresholdKeys, &set.test_threshold_keys),
    ];
    let unnamed = [
        (SubnetKind::System, &set.system),
        (SubnetKind::Application, &set.application),
        (SubnetKind::VerifiedApplication, &set.verified_application),
        (SubnetKind::CloudEngine, &set.cloud_engine),
    ];
    let wanted: Vec<(SubnetKind, &json::SubnetSpec)> = named
        .into_iter()
        .filter_map(|(kind, spec)| spec.as_ref().map(|spec| (kind, spec)))
        .chain(
            unnamed
                .into_iter()
                .flat_map(|(kind, specs)| specs.iter().map(move |spec| (kind, spec))),
        )
        .collect();
    if wanted.is_empty() {
        return Err(InstanceError::Config(
            "SubnetConfigSet must contain at least one subnet".to_owned(),
        ));
    }
    if wanted.len() > SUBNETS_MAX {
        return Err(InstanceError::Config(format!(
            "{} subnets were asked for, at most {SUBNETS_MAX} are supported",
            wanted.len()
        )));
    }
    let mut local_ranges = 0;
    let mut specs = Vec::with_capacity(wanted.len());
    for (index, (kind, spec)) in wanted.into_iter().enumerate() {
        check_subnet(kind, spec)?;
        let mut ranges = kind.mainnet_ranges();
        if ranges.is_empty() {
            ranges.push(CanisterRange::local(local_ranges));
            local_ranges += 1;
        }
        let (instructions, cost_schedule) = (spec.instruction_config, spec.cost_schedule);
        let (_, spec) = new_subnet(
            seed(index as u64),
            kind,
            ranges,
            match instructions {
                json::InstructionConfig::Production => InstructionConfig::Production,
                json::InstructionConfig::Benchmarking => InstructionConfig::Benchmarking,
            },
            match cost_schedule {
                json::CostSchedule::Normal => CostSchedule::Normal,
                json::CostSchedule::Free => CostSchedule::Free,
            },
        );
        specs.push(spec);
    }
    Ok(specs)
}

/// Returns keys and specification of a subnet made from this seed.
pub fn new_subnet(
    seed: [u8; 32],
    kind: SubnetKind,
    ranges: Vec<CanisterRange>,
    instructions: InstructionConfig,
    cost_schedule: CostSchedule,
) -> (Arc<SubnetKeys>, SubnetSpec) {
    let keys = Arc::new(SubnetKeys::from_seed(&seed));
    let spec = SubnetSpec {
        kind,
        id: keys.subnet_id(),
        ranges,
        seed,
        instructions,
        cost_schedule,
    };
    (keys, spec)
}

/// Returns the seed of the next subnet: one above the highest in use, so that a deleted subnet's
/// identity is not given out again while a later one exists.
pub fn next_seed(topology: &Topology) -> [u8; 32] {
    let highest = topology.subnets.iter().map(|spec| spec.seed).max();
    let mut next = highest.unwrap_or([0; 32]);
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            break;
        }
    }
    next
}

/// Returns the seed of the subnet with this index: the index, big endian, as in PocketIC. Keys are
/// therefore the same in every run, which makes ids in tests and scripts stable; they protect nothing.
fn seed(index: u64) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[24..].copy_from_slice(&index.to_be_bytes());
    seed
}

fn check_subnet(kind: SubnetKind, spec: &json::SubnetSpec) -> Result<(), InstanceError> {
    let refuse = |what: &str| {
        Err(InstanceError::Config(format!(
            "{what} of the {kind:?} subnet is not supported by this replica"
        )))
    };
    match &spec.state_config {
        SubnetStateConfig::New => {}
        SubnetStateConfig::FromPath(path) => {
            return refuse(&format!(
                "loading the state {} (a mainnet replica's format)",
                path.display()
            ));
        }
        SubnetStateConfig::FromBlobStore(_) => {
            return refuse("loading a state from the blob store");
        }
    }
    if spec
        .subnet_admins
        .as_ref()
        .is_some_and(|admins| !admins.is_empty())
    {
        return refuse("the option subnet_admins");
    }
    let may_be_free = matches!(kind, SubnetKind::Application | SubnetKind::CloudEngine);
    if spec.cost_schedule == json::CostSchedule::Free && !may_be_free {
        return Err(InstanceError::Config(
            "Non-default cost schedule can only be specified for subnet of kind `Application` or `CloudEngine`"
                .to_owned(),
        ));
    }
    Ok(())
}

fn refuse_unsupported(config: &InstanceConfig) -> Result<(), InstanceError> {
    let refuse = |what: String| Err(InstanceError::Config(what));
    if config.dogecoind_addr.is_some() {
        return refuse("dogecoind_addr: Dogecoin is not supported by this replica".into());
    }
    if config.bitcoind_addr.is_some() {
        return refuse(
            "bitcoind_addr is not supported by this replica: run the millrace adapter against the node instead"
                .into(),
        );
    }
    if config.mainnet_nns_subnet_id == Some(true) {
        return refuse("mainnet_nns_subnet_id is not supported by this replica".into());
    }
    let features: Vec<&str> = config
        .icp_features
        .iter()
        .flatten()
        .filter(|(_, setting)| !setting.is_null())
        .map(|(name, _)| name.as_str())
        .collect();
    if !features.is_empty() {
        return refuse(format!(
            "icp_features {} need system canisters that this replica does not ship",
            features.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
