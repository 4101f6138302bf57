//! The IC's execution environment for a few subnets in one process, without any network.
//!
//! A [`Network`] owns subnets with one clock and one routing table. Users' messages go in through
//! [`Network::submit_ingress`] and [`Network::query`]; [`Network::tick`] executes one round on every
//! subnet in the IC's order. It is a test and development tool, not a node.

mod error;
mod ingress;
mod limits;
mod network;
mod topology;
mod usage;

pub use error::{ErrorCode, NetworkError, RejectCode, UserError};
pub use ingress::{EffectivePrincipal, Ingress, IngressState, IngressStatus, MessageId, Query};
pub use limits::{LimitsConfig, SubnetLimits};
pub use network::{
    CanisterStatus, CanisterView, Certifier, ConsensusCall, MetadataVisibility, Network,
    NetworkConfig, SubnetMetrics,
};
pub use topology::{
    CanisterId, CanisterRange, CostSchedule, InstructionConfig, SubnetId, SubnetKind, SubnetSpec,
    SubnetType, Topology, canister_id_from_number, canister_number, mainnet_home,
};
pub use usage::{MessageKind, UsageRecord, UsageRing};
