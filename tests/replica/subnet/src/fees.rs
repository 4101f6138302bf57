//! What the subnet charges besides executing and sending, which millrace-vm prices.

use crate::topology::{CostSchedule, SubnetSpec, SubnetType};
use millrace_vm::Instructions;

const REFERENCE_SUBNET_SIZE: u128 = 13;
const INGRESS_MESSAGE: u128 = 1_200_000;
const INGRESS_BYTE: u128 = 2_000;
const GIB_STORAGE_PER_SECOND: u128 = 127_000;
const COMPUTE_PERCENT_PER_SECOND: u128 = 10_000_000;
const GIB: u128 = 1 << 30;
const SECONDS_PER_DAY: u128 = 24 * 3600;
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;

/// Prices of one subnet in cycles, scaled by its number of nodes; all zero when it charges nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fees {
    /// Prices of what happens inside a message.
    pub(crate) vm: millrace_vm::Fees,
}

impl Fees {
    pub(crate) fn of(spec: &SubnetSpec) -> Self {
        let size = u32::try_from(spec.kind.size()).expect("subnet sizes are small");
        let free = spec.kind.subnet_type() == SubnetType::System
            || spec.cost_schedule == CostSchedule::Free;
        let vm = if free {
            millrace_vm::Fees::system(size)
        } else {
            millrace_vm::Fees::application(size)
        };
        Self { vm }
    }

    fn scaled(&self, cycles_at_13_nodes: u128) -> u128 {
        if self.vm.free {
            return 0;
        }
        cycles_at_13_nodes.saturating_mul(u128::from(self.vm.subnet_size)) / REFERENCE_SUBNET_SIZE
    }

    /// Returns the price of executing one message of this many instructions.
    pub(crate) fn execution(&self, instructions: u64) -> u128 {
        self.vm.execution(Instructions(instructions)).get()
    }

    /// Returns the price of this many instructions without the fee per message.
    pub(crate) fn instructions(&self, instructions: u64) -> u128 {
        self.execution(instructions)
            .saturating_sub(self.execution(0))
    }

    /// Returns the price of inducting an ingress message of this many bytes.
    pub(crate) fn ingress(&self, bytes: u64) -> u128 {
        self.scaled(INGRESS_MESSAGE)
            .saturating_add(self.scaled(INGRESS_BYTE.saturating_mul(u128::from(bytes))))
    }

    /// Returns the price of a canister response's transmission.
    pub(crate) fn transmission(&self, bytes: u64) -> u128 {
        self.vm.transmission(bytes).get()
    }

    /// Returns the price of creating a canister.
    pub(crate) fn creation(&self) -> u128 {
        self.vm.create_canister().get()
    }

    /// Returns the price of holding memory and compute for a duration.
    pub(crate) fn holding(
        &self,
        memory_bytes: u64,
        compute_percent: u64,
        duration_ns: u64,
    ) -> u128 {
        const NS: u128 = 1_000_000_000;
        let duration = u128::from(duration_ns);
        let storage = u128::from(memory_bytes)
            .saturating_mul(GIB_STORAGE_PER_SECOND)
            .saturating_mul(duration)
            / GIB
            / NS;
        let compute = u128::from(compute_percent)
            .saturating_mul(COMPUTE_PERCENT_PER_SECOND)
            .saturating_mul(duration)
            / NS;
        self.scaled(storage).saturating_add(self.scaled(compute))
    }

    /// Returns what an idle canister burns per day.
    pub(crate) fn idle_per_day(&self, memory_bytes: u64, compute_percent: u64) -> u128 {
        self.holding(memory_bytes, compute_percent, DAY_NS)
    }

    /// Returns the balance below which a canister of this size is frozen.
    pub(crate) fn freezing_balance(
        &self,
        memory_bytes: u64,
        compute_percent: u64,
        threshold_s: u64,
    ) -> u128 {
        self.idle_per_day(memory_bytes, compute_percent)
            .saturating_mul(u128::from(threshold_s))
            / SECONDS_PER_DAY
    }
}
