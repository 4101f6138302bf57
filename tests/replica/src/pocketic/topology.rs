//! The subnets of an instance as PocketIC's JSON states them.

use super::types::{CanisterIdRange, CostSchedule, InstructionConfig, SubnetConfig, Topology};
use crate::instance::{Instance, InstanceError};
use millrace_subnet::{self as subnet, SubnetKind};

/// Returns the topology of an instance.
///
/// # Errors
/// [`InstanceError`] when the instance is gone.
pub async fn read(instance: &Instance) -> Result<Topology, InstanceError> {
    let topology = instance.run(|network| network.topology()).await?;
    Ok(json(&topology))
}

fn json(topology: &subnet::Topology) -> Topology {
    let subnet_configs = topology
        .subnets
        .iter()
        .map(|spec| {
            let config = SubnetConfig {
                subnet_kind: kind_name(spec.kind),
                subnet_admins: None,
                cost_schedule: match spec.cost_schedule {
                    subnet::CostSchedule::Normal => CostSchedule::Normal,
                    subnet::CostSchedule::Free => CostSchedule::Free,
                },
                subnet_seed: spec.seed,
                instruction_config: match spec.instructions {
                    subnet::InstructionConfig::Production => InstructionConfig::Production,
                    subnet::InstructionConfig::Benchmarking => InstructionConfig::Benchmarking,
                },
                canister_ranges: spec
                    .ranges
                    .iter()
                    .map(|range| CanisterIdRange {
                        start: range.first().into(),
                        end: range.last().into(),
                    })
                    .collect(),
            };
            (spec.id, config)
        })
        .collect();
    Topology {
        subnet_configs,
        default_effective_canister_id: topology.default_effective_canister_id.into(),
    }
}

/// Returns PocketIC's name of a kind.
pub fn kind_name(kind: SubnetKind) -> &'static str {
    match kind {
        SubnetKind::Application => "Application",
        SubnetKind::Bitcoin => "Bitcoin",
        SubnetKind::CloudEngine => "CloudEngine",
        SubnetKind::Fiduciary => "Fiduciary",
        SubnetKind::II => "II",
        SubnetKind::NNS => "NNS",
        SubnetKind::SNS => "SNS",
        SubnetKind::System => "System",
        SubnetKind::TestThresholdKeys => "TestThresholdKeys",
        SubnetKind::VerifiedApplication => "VerifiedApplication",
    }
}
