//! What the management canister tells about canisters: status and history.

use super::{Caller, Reply, decode, encode, errors};
use crate::canister::{QueryStatistics, Settings, Status};
use crate::subnet::Subnet;
use candid::{Nat, Principal};
use ic_management_canister_types::{
    CanisterInfoArgs, CanisterInfoResult, CanisterStatusArgs, CanisterStatusResult,
    CanisterStatusType, DefiniteCanisterSettings, EnvironmentVariable, MemoryMetrics, QueryStats,
};

impl Subnet {
    /// Returns the status of a canister to its controllers and to itself.
    pub(super) fn canister_status(&mut self, caller: &Principal, payload: &[u8]) -> Reply {
        let args: CanisterStatusArgs = decode(payload)?;
        let (limits, fees) = (&self.rules.limits, &self.rules.fees);
        let canister = self
            .canisters
            .get(&args.canister_id)
            .ok_or_else(|| errors::not_found(&args.canister_id))?;
        if *caller != canister.id && !canister.is_controller(caller) {
            return Err(errors::invalid_controller(canister, caller));
        }
        let memory = canister.memory(limits);
        // Globals are part of the state but not worth a measurement: 8 bytes each on the IC.
        let metrics = MemoryMetrics {
            wasm_memory_size: Nat::from(memory.heap),
            stable_memory_size: Nat::from(memory.stable),
            global_memory_size: Nat::from(0_u8),
            wasm_binary_size: Nat::from(memory.binary),
            custom_sections_size: Nat::from(memory.custom),
            canister_history_size: Nat::from(memory.history),
            wasm_chunk_store_size: Nat::from(memory.chunks),
            snapshots_size: Nat::from(memory.snapshots),
            log_memory_store_size: Nat::from(memory.log),
        };
        let result = CanisterStatusResult {
            status: match canister.status {
                Status::Running => CanisterStatusType::Running,
                Status::Stopping(_) => CanisterStatusType::Stopping,
                Status::Stopped => CanisterStatusType::Stopped,
            },
            ready_for_migration: canister.status == Status::Stopped && canister.queues.is_empty(),
            version: canister.version,
            settings: definite_settings(&canister.settings),
            module_hash: canister.code.as_ref().map(|code| code.module_hash.to_vec()),
            memory_size: Nat::from(memory.total()),
            memory_metrics: metrics,
            cycles: Nat::from(canister.balance),
            reserved_cycles: Nat::from(0_u8),
            idle_cycles_burned_per_day: Nat::from(canister.idle_per_day(limits, fees)),
            query_stats: query_statistics(canister.query_statistics),
        };
        Ok(encode((result,)))
    }

    /// Returns the history of a canister to any canister.
    pub(super) fn canister_info(&mut self, caller: &Caller<'_>, payload: &[u8]) -> Reply {
        if caller.is_user() {
            return Err(errors::not_for_users("canister_info"));
        }
        let args: CanisterInfoArgs = decode(payload)?;
        let canister = self.canister_mut(&args.canister_id)?;
        let result = CanisterInfoResult {
            total_num_changes: canister.history.total(),
            recent_changes: canister
                .history
                .latest(args.num_requested_changes.unwrap_or(0)),
            module_hash: canister.code.as_ref().map(|code| code.module_hash.to_vec()),
            controllers: canister.settings.controllers.iter().copied().collect(),
        };
        Ok(encode((result,)))
    }
}

fn definite_settings(settings: &Settings) -> DefiniteCanisterSettings {
    DefiniteCanisterSettings {
        controllers: settings.controllers.iter().copied().collect(),
        compute_allocation: Nat::from(settings.compute_percent),
        memory_allocation: Nat::from(settings.memory_allocation),
        freezing_threshold: Nat::from(settings.freezing_threshold_s),
        reserved_cycles_limit: Nat::from(settings.reserved_cycles_limit),
        log_visibility: settings.log_visibility.clone(),
        log_memory_limit: Nat::from(settings.log_bytes),
        snapshot_visibility: settings.snapshot_visibility.clone(),
        wasm_memory_limit: Nat::from(settings.wasm_memory_limit),
        wasm_memory_threshold: Nat::from(settings.wasm_memory_threshold),
        environment_variables: settings
            .environment
            .iter()
            .map(|(name, value)| EnvironmentVariable {
                name: name.clone(),
                value: value.clone(),
            })
            .collect(),
    }
}

fn query_statistics(statistics: QueryStatistics) -> QueryStats {
    QueryStats {
        num_calls_total: Nat::from(statistics.calls),
        num_instructions_total: Nat::from(statistics.instructions),
        request_payload_bytes_total: Nat::from(statistics.request_bytes),
        response_payload_bytes_total: Nat::from(statistics.response_bytes),
    }
}
