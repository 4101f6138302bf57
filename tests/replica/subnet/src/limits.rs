//! Every limit of the execution environment, with the IC's values as defaults.

use crate::crash::RoundOrder;
use crate::topology::{InstructionConfig, SubnetType};
use serde::{Deserialize, Serialize};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const BILLION: u64 = 1_000_000_000;
/// Stands for "no limit" and leaves room for sums.
const UNLIMITED: u64 = 1_000_000 * BILLION;
const SECOND_NS: u64 = BILLION;

/// The limits of each subnet type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Application and verified application subnets.
    pub application: SubnetLimits,
    /// System subnets.
    pub system: SubnetLimits,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            application: SubnetLimits::application(),
            system: SubnetLimits::system(),
        }
    }
}

impl LimitsConfig {
    /// Returns these limits without rate limits, as PocketIC's `canister_execution_rate_limiting: Disabled`.
    #[must_use]
    pub fn without_rate_limits(self) -> Self {
        Self {
            application: self.application.without_rate_limits(),
            system: self.system.without_rate_limits(),
        }
    }

    /// Returns these limits with another round order on every subnet.
    #[must_use]
    pub const fn with_round_order(mut self, order: RoundOrder) -> Self {
        self.application.round_order = order;
        self.system.round_order = order;
        self
    }

    /// Returns the limits of a subnet of this type; benchmarking lifts the instruction limits.
    #[must_use]
    pub fn of(&self, subnet_type: SubnetType, instructions: InstructionConfig) -> SubnetLimits {
        let limits = match subnet_type {
            SubnetType::System => self.system.clone(),
            SubnetType::Application | SubnetType::VerifiedApplication => self.application.clone(),
        };
        match instructions {
            InstructionConfig::Production => limits,
            InstructionConfig::Benchmarking => limits.benchmarking(),
        }
    }
}

/// Limits of one subnet. Instructions are counted in the IC's units, sizes in bytes, times in ns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubnetLimits {
    /// Instructions of one update, heartbeat, timer or callback.
    pub message_instructions: u64,
    /// Instructions of one query, also when it runs replicated.
    pub query_instructions: u64,
    /// Instructions of one deterministic time slice; only the round's accounting uses it.
    pub slice_instructions: u64,
    /// Instructions of one `install_code`.
    pub install_instructions: u64,
    /// Instructions of one slice of `install_code`.
    pub install_slice_instructions: u64,
    /// Instructions of one round.
    pub round_instructions: u64,
    /// A round gives management messages 1 / this part of its instructions.
    pub subnet_message_fraction: u64,
    /// Instructions of `canister_inspect_message`.
    pub inspect_instructions: u64,
    /// Instructions that each execution costs the round.
    pub execution_overhead_instructions: u64,
    /// Instructions that each scheduled canister costs the round.
    pub canister_overhead_instructions: u64,
    /// Instructions that each of the subnet's canisters costs an iteration of the round.
    pub iteration_overhead_instructions: u64,
    /// Instructions of a message that are paid for, and in advance; what it uses above is free.
    pub message_instructions_paid: u64,
    /// The same of a replicated query.
    pub query_instructions_paid: u64,
    /// The same of `install_code`.
    pub install_instructions_paid: u64,
    /// Depth of a composite query's call graph.
    pub query_call_depth: u64,
    /// Instructions of a composite query's call graph.
    pub query_graph_instructions: u64,
    /// Instructions that each call of a composite query is charged.
    pub query_call_overhead_instructions: u64,
    /// Instructions of `upload_chunk`.
    pub upload_chunk_instructions: u64,
    /// Instructions of taking or loading a snapshot, besides one per byte.
    pub snapshot_instructions: u64,

    /// Bytes of dirty memory at which rounds stop executing until the next checkpoint.
    pub heap_delta_capacity: u64,
    /// Part of the capacity that is available right after a checkpoint.
    pub heap_delta_initial_reserve: u64,
    /// Dirty bytes one canister may write per round; what is above delays it.
    pub heap_delta_rate: u64,
    /// Dirty bytes after which a round starts no further iteration.
    pub heap_delta_iteration: u64,
    /// Instructions of `install_code` one canister may use per round; what is above delays it.
    pub install_rate_instructions: u64,
    /// Rounds from one checkpoint to the next.
    pub checkpoint_interval_rounds: u64,
    /// Which program the subnet's replicas run.
    pub round_order: RoundOrder,

    /// Stable 4 KiB pages a message may dirty or access.
    pub message_stable_bytes: u64,
    /// The same for upgrades and installs.
    pub install_stable_bytes: u64,
    /// The same for queries.
    pub query_stable_bytes: u64,
    /// Largest stable memory.
    pub stable_memory_bytes: u64,
    /// Largest heap.
    pub wasm_memory_bytes: u64,
    /// `wasm_memory_limit` of a new canister.
    pub default_wasm_memory_limit: u64,
    /// Memory all canisters of the subnet may use.
    pub subnet_memory_bytes: u64,
    /// Largest module after decompression.
    pub wasm_module_bytes: u64,
    /// Largest chunk of the chunk store.
    pub chunk_bytes: u64,
    /// Chunks of one canister.
    pub chunks_per_canister: u64,
    /// Snapshots of one canister.
    pub snapshots_per_canister: u64,

    /// Largest method name and payload of an ingress message together.
    pub ingress_bytes: u64,
    /// Longest time from now to an ingress message's expiry.
    pub ingress_ttl_ns: u64,
    /// Clock difference allowed on top.
    pub ingress_drift_ns: u64,
    /// How long an answer is kept.
    pub ingress_history_ttl_ns: u64,
    /// Ingress messages waiting for one canister.
    pub ingress_queue: u64,
    /// Ingress messages inducted per round.
    pub ingress_round_messages: u64,
    /// Bytes of users' messages that have not started: methods and payloads, inducted or not.
    pub ingress_pool_bytes: u64,
    /// Bytes of ingress methods and payloads inducted per round.
    pub ingress_round_bytes: u64,
    /// Messages whose status is kept.
    pub ingress_history_entries: u64,
    /// Bytes of answers that are kept; older answers read as done.
    pub ingress_history_bytes: u64,
    /// Largest request payload to another subnet, and largest replicated reply.
    pub inter_canister_bytes: u64,
    /// Largest request payload on the same subnet.
    pub local_call_bytes: u64,
    /// Largest reply of a query from a user.
    pub query_reply_bytes: u64,
    /// Outstanding calls of one canister to one other.
    pub queue_capacity: u64,
    /// Outstanding calls of one canister.
    pub callbacks: u64,
    /// How long `stop_canister` waits.
    pub stop_timeout_ns: u64,

    /// Canisters of the subnet.
    pub canisters: u64,
    /// Controllers of one canister.
    pub controllers: u64,
    /// Environment variables of one canister.
    pub environment_variables: u64,
    /// Bytes of an environment variable's name, and of its value.
    pub environment_variable_bytes: u64,
    /// Entries of the canister history.
    pub history_entries: u64,
    /// Bytes of a canister's log, unless its settings say otherwise.
    pub log_bytes: u64,
    /// Executed messages whose usage is kept per canister.
    pub usage_records: u64,
    /// Cycles of a provisionally created canister.
    pub provisional_cycles: u128,
    /// `freezing_threshold` of a new canister, in seconds.
    pub freezing_threshold_s: u64,
    /// Percent of compute that canisters may reserve.
    pub compute_capacity_percent: u64,
}

impl Default for SubnetLimits {
    fn default() -> Self {
        Self::application()
    }
}

impl SubnetLimits {
    /// Returns the IC's limits of application subnets.
    #[must_use]
    pub fn application() -> Self {
        Self {
            message_instructions: 40 * BILLION,
            query_instructions: 5 * BILLION,
            slice_instructions: 2 * BILLION,
            install_instructions: 300 * BILLION,
            install_slice_instructions: 2 * BILLION,
            round_instructions: 4 * BILLION,
            subnet_message_fraction: 16,
            inspect_instructions: 200_000_000,
            execution_overhead_instructions: 2_000_000,
            canister_overhead_instructions: 8_000_000,
            iteration_overhead_instructions: 12_000,
            message_instructions_paid: UNLIMITED,
            query_instructions_paid: UNLIMITED,
            install_instructions_paid: UNLIMITED,
            query_call_depth: 6,
            query_graph_instructions: 5 * BILLION,
            query_call_overhead_instructions: 50_000_000,
            upload_chunk_instructions: 200_000_000,
            snapshot_instructions: 2 * BILLION,
            heap_delta_capacity: 140 * GIB,
            heap_delta_initial_reserve: 32 * GIB,
            heap_delta_rate: 75 * MIB,
            heap_delta_iteration: 200_000_000,
            install_rate_instructions: 2 * BILLION,
            checkpoint_interval_rounds: 500,
            round_order: RoundOrder::Ic,
            message_stable_bytes: 2 * GIB,
            install_stable_bytes: 8 * GIB,
            query_stable_bytes: GIB,
            stable_memory_bytes: 500 * GIB,
            wasm_memory_bytes: 4 * GIB,
            default_wasm_memory_limit: 3 * GIB,
            subnet_memory_bytes: 2 << 40,
            wasm_module_bytes: 100 * MIB,
            chunk_bytes: MIB,
            chunks_per_canister: 100,
            snapshots_per_canister: 10,
            ingress_bytes: 2 * MIB,
            ingress_ttl_ns: 300 * SECOND_NS,
            ingress_drift_ns: 30 * SECOND_NS,
            ingress_history_ttl_ns: 300 * SECOND_NS,
            ingress_queue: 10_000,
            ingress_round_messages: 1_000,
            ingress_pool_bytes: 256 * MIB,
            ingress_round_bytes: 4 * MIB,
            ingress_history_entries: 100_000,
            ingress_history_bytes: 256 * MIB,
            inter_canister_bytes: 2 * MIB,
            local_call_bytes: 10 * MIB,
            query_reply_bytes: 3 * MIB,
            queue_capacity: 500,
            callbacks: 1_000_000,
            stop_timeout_ns: 300 * SECOND_NS,
            canisters: 120_000,
            controllers: 10,
            environment_variables: 20,
            environment_variable_bytes: 128,
            history_entries: 20,
            log_bytes: 4 * KIB,
            usage_records: 10_000,
            provisional_cycles: 100_000_000_000_000,
            freezing_threshold_s: 30 * 24 * 3600,
            compute_capacity_percent: 200,
        }
    }

    /// Returns the IC's limits of system subnets.
    #[must_use]
    pub fn system() -> Self {
        Self {
            message_instructions: 50 * BILLION,
            query_instructions: 50 * BILLION,
            install_instructions: 1000 * BILLION,
            install_slice_instructions: 5 * BILLION,
            round_instructions: 7 * BILLION,
            upload_chunk_instructions: 0,
            snapshot_instructions: 0,
            heap_delta_initial_reserve: 140 * GIB,
            heap_delta_rate: UNLIMITED,
            heap_delta_iteration: 2_000_000_000,
            install_rate_instructions: UNLIMITED,
            ingress_bytes: 3 * MIB + 512 * KIB,
            ..Self::application()
        }
    }

    /// Returns these limits without the rates at which one canister may write and install code.
    #[must_use]
    pub fn without_rate_limits(self) -> Self {
        Self {
            heap_delta_rate: UNLIMITED,
            install_rate_instructions: UNLIMITED,
            ..self
        }
    }

    /// Returns whether the rate of installing code is limited at all.
    pub(crate) const fn limits_install_rate(&self) -> bool {
        self.install_rate_instructions < UNLIMITED
    }

    /// Returns the instructions of a message, task or callback that are paid for in advance.
    pub(crate) fn prepaid_message(&self) -> u64 {
        self.message_instructions
            .min(self.message_instructions_paid)
    }

    /// Returns the instructions of a replicated query that are paid for in advance.
    pub(crate) fn prepaid_query(&self) -> u64 {
        self.query_instructions.min(self.query_instructions_paid)
    }

    /// Returns the instructions of `install_code` that are paid for in advance.
    pub(crate) fn prepaid_install(&self) -> u64 {
        self.install_instructions
            .min(self.install_instructions_paid)
    }

    /// Returns these limits with instructions effectively unlimited.
    ///
    /// Canisters pay as before, for at most the instructions of the limits that are lifted: no balance
    /// could pay for unlimited ones in advance.
    #[must_use]
    pub fn benchmarking(self) -> Self {
        Self {
            message_instructions_paid: self.prepaid_message(),
            query_instructions_paid: self.prepaid_query(),
            install_instructions_paid: self.prepaid_install(),
            message_instructions: UNLIMITED,
            query_instructions: UNLIMITED,
            slice_instructions: UNLIMITED,
            install_instructions: UNLIMITED,
            install_slice_instructions: UNLIMITED,
            round_instructions: 2 * UNLIMITED,
            inspect_instructions: UNLIMITED,
            query_graph_instructions: UNLIMITED,
            ..self
        }
    }
}
