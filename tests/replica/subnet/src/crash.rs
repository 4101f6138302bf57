//! What becomes of a round that leaves the consensus queue non-empty.
//!
//! On 22 April 2024 the IC's replicas compared the heap delta with its limit before they drained the queue.
//! A surge of testnet blocks reached the limit, the round ended early with an answer of the Bitcoin adapter
//! still in the queue, and the check "consensus queue empty after every round" made every replica of the
//! subnet panic, again after each restart, for 15 hours. [`RoundOrder::BeforeApril2024`] runs that program.

use crate::limits::LimitsConfig;
use crate::network::Network;
use crate::subnet::Subnet;
use crate::topology::SubnetId;
use serde::{Deserialize, Serialize};

/// Which program a subnet's replicas run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoundOrder {
    /// The consensus queue is drained before any limit is looked at. Should a round leave something in it
    /// all the same, that stays there, is counted, and is drained by the next round.
    #[default]
    Ic,
    /// As before the fix of April 2024: the heap delta is looked at first, and a round that leaves something
    /// in the queue crashes the replica.
    #[serde(rename = "before-april-2024")]
    BeforeApril2024,
}

impl std::str::FromStr for RoundOrder {
    type Err = UnknownRoundOrder;

    fn from_str(text: &str) -> Result<Self, UnknownRoundOrder> {
        match text {
            "ic" => Ok(Self::Ic),
            "before-april-2024" => Ok(Self::BeforeApril2024),
            other => Err(UnknownRoundOrder(other.to_owned())),
        }
    }
}

/// No round order has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no round order {0:?}, use `ic` or `before-april-2024`")]
pub struct UnknownRoundOrder(String);

/// Why the replicas of a subnet crashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// The subnet.
    pub subnet: SubnetId,
    /// The round that they crash in, also when they are restarted.
    pub round: u64,
    /// Answers left in the consensus queue.
    pub items: u64,
    /// Bytes dirtied since the last checkpoint.
    pub heap_delta: u64,
    /// Bytes at which that round executed nothing.
    pub heap_delta_limit: u64,
}

impl std::fmt::Display for Crash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            subnet,
            round,
            items,
            heap_delta,
            heap_delta_limit,
        } = self;
        write!(
            f,
            "the replicas of subnet {subnet} crashed: Consensus queue not empty at the end of round {round}. \
             {items} answers were left in it, because the heap delta of {heap_delta} bytes had reached its \
             limit of {heap_delta_limit} bytes and the round ended before the queue was looked at. A restart \
             executes the same round and crashes again; set the round order `ic` to go on"
        )
    }
}

impl Network {
    /// Returns why the replicas of a subnet crashed, if some did.
    #[must_use]
    pub fn crash(&self) -> Option<&Crash> {
        let mut subnets = self.subnets.values();
        subnets.find_map(|subnet| subnet.state.crash.as_ref())
    }

    /// Changes the limits of the whole network from the next round on. Replicas that crashed go on if their
    /// new round order does not crash them.
    pub fn set_limits(&mut self, limits: LimitsConfig) {
        for subnet in self.subnets.values_mut() {
            let spec = &subnet.rules.spec;
            subnet.rules.limits = limits.of(spec.kind.subnet_type(), spec.instructions);
            if subnet.rules.limits.round_order == RoundOrder::Ic {
                subnet.state.crash = None;
            }
        }
        self.limits = limits;
    }

    /// Returns the engine that executes messages.
    #[must_use]
    pub fn engine(&self) -> millrace_vm::Engine {
        self.env.engine.clone()
    }

    /// Returns the limits of the network.
    #[must_use]
    pub const fn limits(&self) -> &LimitsConfig {
        &self.limits
    }
}

impl Subnet {
    /// Looks whether the round kept the invariant that it leaves nothing in the consensus queue.
    pub(crate) fn check_consensus_queue(&mut self, heap_delta_limit: u64) {
        let items = self.state.consensus_queue.len() as u64;
        if items == 0 {
            return;
        }
        let round = self.state.round;
        self.state.consensus_items_left = self.state.consensus_items_left.saturating_add(items);
        match self.rules.limits.round_order {
            RoundOrder::Ic => tracing::error!(
                round,
                items,
                "a round left answers in the consensus queue; the next one drains them"
            ),
            RoundOrder::BeforeApril2024 => {
                let crash = Crash {
                    subnet: self.id(),
                    round,
                    items,
                    heap_delta: self.state.heap_delta,
                    heap_delta_limit,
                };
                tracing::error!("{crash}");
                self.state.crash = Some(crash);
            }
        }
    }
}
