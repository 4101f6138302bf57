//! The IC's execution environment for a few subnets in one process, without any network.
//!
//! A [`Network`] owns subnets with one clock and one routing table. Users' messages go in through
//! [`Network::submit_ingress`] and [`Network::query`]; [`Network::tick`] executes one round on every
//! subnet in the IC's order. It is a test and development tool, not a node.

mod admission;
mod bitcoin;
mod canister;
mod consensus;
mod contexts;
mod crash;
mod deletion;
mod error;
mod execute;
mod faults;
mod fees;
mod flexible;
mod history;
mod ingress;
mod ingress_history;
mod injection;
mod limits;
mod log;
mod management;
mod message;
mod network;
mod outcall_args;
mod outcalls;
mod outcome;
mod persist;
mod query;
mod queues;
mod round;
mod routing;
mod run;
mod streams;
mod subnet;
mod topology;
mod usage;
mod view;

pub use bitcoin::Successors;
pub use consensus::ConsensusCall;
pub use crash::{Crash, RoundOrder, UnknownRoundOrder};
pub use error::{ErrorCode, NetworkError, RejectCode, UserError};
pub use faults::{DELAY_ROUNDS_MAX, FAULTS_MAX, Fault, FaultError, FaultKind, FaultStatus};
pub use ingress::{EffectivePrincipal, Ingress, IngressState, IngressStatus, MessageId, Query};
pub use limits::{LimitsConfig, SubnetLimits};
pub use network::{Certifier, Network, NetworkConfig};
pub use outcall_args::{OutcallArgs, OutcallMethod, Replication, ReplicationCounts};
pub use outcalls::{HttpAnswer, HttpOutcall};
pub use topology::{
    CanisterId, CanisterRange, CostSchedule, InstructionConfig, SubnetId, SubnetKind, SubnetSpec,
    SubnetType, Topology, canister_id_from_number, canister_number, mainnet_home,
};
pub use usage::{MessageKind, UsageRecord, UsageRing};
pub use view::{CanisterStatus, CanisterView, MetadataVisibility, SubnetMetrics};

#[cfg(test)]
mod tests;
