//! All subnets of one instance: one clock, one routing table.

use crate::error::{NetworkError, UserError};
use crate::ingress::{EffectivePrincipal, Ingress, IngressStatus, MessageId, Query};
use crate::limits::LimitsConfig;
use crate::topology::{CanisterId, CanisterRange, SubnetId, SubnetKind, SubnetSpec, Topology};
use crate::usage::UsageRing;
use candid::Principal;
use std::path::Path;
use std::sync::Arc;

/// Signs what canisters certify.
pub trait Certifier: Send + Sync {
    /// Returns the certificate that `ic0.data_certificate` gives a query, or `None` when there is none.
    ///
    /// `certified_data` is empty for a canister that never set any.
    fn data_certificate(
        &self,
        subnet: &SubnetId,
        canister: &CanisterId,
        certified_data: &[u8],
        time_ns: u64,
    ) -> Option<Vec<u8>>;

    /// Returns the DER-encoded public key of the root subnet, as `ic0.root_key` gives it.
    fn root_key(&self) -> Vec<u8>;
}

/// What a network is made of.
pub struct NetworkConfig {
    /// Subnets; at least one.
    pub subnets: Vec<SubnetSpec>,
    /// Time of the first round, in ns since 1970.
    pub time_ns: u64,
    /// Executes messages.
    pub engine: millrace_vm::Engine,
    /// Limits.
    pub limits: LimitsConfig,
    /// Signer of certified data.
    pub certifier: Arc<dyn Certifier>,
}

/// The subnets of one instance.
pub struct Network {}

impl Network {
    /// Returns a network without canisters.
    ///
    /// # Errors
    /// [`NetworkError::InvalidSubnet`] when there is no subnet, or ids or ranges overlap.
    pub fn new(_config: NetworkConfig) -> Result<Self, NetworkError> {
        todo!()
    }

    /// Adds a subnet.
    ///
    /// # Errors
    /// [`NetworkError::InvalidSubnet`] when its id or a range is taken.
    pub fn add_subnet(&mut self, _spec: SubnetSpec) -> Result<(), NetworkError> {
        todo!()
    }

    /// Removes a subnet with all its canisters.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn delete_subnet(&mut self, _id: &SubnetId) -> Result<(), NetworkError> {
        todo!()
    }

    /// Returns the kind and ranges of the subnet that must be added before this message can be routed:
    /// the creation of a canister with a mainnet id that no subnet owns.
    #[must_use]
    pub fn subnet_wanted(&self, _ingress: &Ingress) -> Option<(SubnetKind, Vec<CanisterRange>)> {
        todo!()
    }

    /// Returns the subnet that answers a message.
    ///
    /// # Errors
    /// `CanisterNotFound` ("does not belong to any subnet") or `SubnetNotFound`.
    pub fn route(
        &self,
        _canister_id: &CanisterId,
        _method: &str,
        _payload: &[u8],
        _effective: EffectivePrincipal,
    ) -> Result<SubnetId, UserError> {
        todo!()
    }

    /// Accepts an update call, or refuses it as the IC's ingress filter and `canister_inspect_message` would.
    /// A message id that is known already is accepted and not executed again.
    ///
    /// # Errors
    /// The reason of the refusal; nothing was stored.
    pub fn submit_ingress(&mut self, _ingress: Ingress) -> Result<MessageId, UserError> {
        todo!()
    }

    /// Returns the status of a message; `None` when it is unknown or forgotten.
    #[must_use]
    pub fn ingress_status(&self, _id: &MessageId) -> Option<&IngressStatus> {
        todo!()
    }

    /// Executes rounds until the message is answered, and returns the answer.
    ///
    /// # Errors
    /// [`NetworkError::NotAnswered`] after `rounds_max` rounds, [`NetworkError::UnknownIngress`].
    pub fn await_ingress(
        &mut self,
        _id: &MessageId,
        _rounds_max: u32,
    ) -> Result<Result<Vec<u8>, UserError>, NetworkError> {
        todo!()
    }

    /// Executes a query (or composite query) without replication.
    ///
    /// Changes nothing but the usage records and the query statistics.
    ///
    /// # Errors
    /// The rejection.
    pub fn query(&mut self, _query: Query) -> Result<Vec<u8>, UserError> {
        todo!()
    }

    /// Executes one round on every subnet. Time advances by 1 ns when nobody advanced it since the last round.
    pub fn tick(&mut self) {
        todo!()
    }

    /// Returns whether a round would do any work besides time: a message waits, a timer is due, or a
    /// running canister has a heartbeat.
    #[must_use]
    pub fn has_work(&self) -> bool {
        todo!()
    }

    /// Returns the time, in ns since 1970.
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        todo!()
    }

    /// Moves the time forward; setting the current time is allowed.
    ///
    /// # Errors
    /// [`NetworkError::TimeInPast`].
    pub fn set_time_ns(&mut self, _time_ns: u64) -> Result<(), NetworkError> {
        todo!()
    }

    /// Returns the subnets and the default effective canister id.
    #[must_use]
    pub fn topology(&self) -> Topology {
        todo!()
    }

    /// Returns the subnet whose ranges contain the id, whether or not the canister exists.
    #[must_use]
    pub fn subnet_of(&self, _id: &CanisterId) -> Option<SubnetId> {
        todo!()
    }

    /// Returns a canister's readable state.
    ///
    /// # Errors
    /// [`NetworkError::CanisterNotFound`].
    pub fn canister(&self, _id: &CanisterId) -> Result<CanisterView<'_>, NetworkError> {
        todo!()
    }

    /// Returns the canisters of a subnet in ascending order.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn canisters(&self, _subnet: &SubnetId) -> Result<Vec<CanisterId>, NetworkError> {
        todo!()
    }

    /// Adds cycles to a canister and returns its new balance.
    ///
    /// # Errors
    /// [`NetworkError::CanisterNotFound`].
    pub fn add_cycles(&mut self, _id: &CanisterId, _cycles: u128) -> Result<u128, NetworkError> {
        todo!()
    }

    /// Replaces the stable memory of a canister.
    ///
    /// # Errors
    /// [`NetworkError::CanisterNotFound`], [`NetworkError::CanisterIsEmpty`], [`NetworkError::StableMemoryTooLarge`].
    pub fn set_stable_memory(
        &mut self,
        _id: &CanisterId,
        _contents: &[u8],
    ) -> Result<(), NetworkError> {
        todo!()
    }

    /// Returns the figures of the state tree's `/subnet/<id>/metrics`.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn subnet_metrics(&self, _id: &SubnetId) -> Result<SubnetMetrics, NetworkError> {
        todo!()
    }

    /// Returns the management calls of a subnet that wait for a response from outside.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn consensus_calls(&self, _subnet: &SubnetId) -> Result<Vec<ConsensusCall>, NetworkError> {
        todo!()
    }

    /// Puts a response into the subnet's consensus queue, which the next round drains.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`], [`NetworkError::UnknownConsensusCall`].
    pub fn answer_consensus_call(
        &mut self,
        _subnet: &SubnetId,
        _callback: u64,
        _response: Result<Vec<u8>, UserError>,
    ) -> Result<(), NetworkError> {
        todo!()
    }

    /// Writes the complete durable state into a new or empty folder.
    ///
    /// # Errors
    /// [`NetworkError::SavedState`].
    pub fn save(&self, _dir: &Path) -> Result<(), NetworkError> {
        todo!()
    }

    /// Returns the network that [`Network::save`] wrote. Limits are the saved ones.
    ///
    /// # Errors
    /// [`NetworkError::SavedState`] when the folder is incomplete, corrupt or of another version.
    pub fn load(
        _dir: &Path,
        _engine: millrace_vm::Engine,
        _certifier: Arc<dyn Certifier>,
    ) -> Result<Self, NetworkError> {
        todo!()
    }
}

/// Who may read a metadata section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataVisibility {
    /// Everybody.
    Public,
    /// Controllers.
    Private,
}

/// Whether a canister accepts calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanisterStatus {
    /// It does.
    Running,
    /// It finishes what it began.
    Stopping,
    /// It does not.
    Stopped,
}

/// Read access to one canister.
pub struct CanisterView<'a> {
    _p: std::marker::PhantomData<&'a ()>,
}

impl CanisterView<'_> {
    /// Returns the subnet that hosts the canister.
    #[must_use]
    pub fn subnet(&self) -> SubnetId {
        todo!()
    }
    /// Returns the controllers in ascending order.
    #[must_use]
    pub fn controllers(&self) -> Vec<Principal> {
        todo!()
    }
    /// Returns SHA-256 of the module as it was installed, or `None` for an empty canister.
    #[must_use]
    pub fn module_hash(&self) -> Option<[u8; 32]> {
        todo!()
    }
    /// Returns the names of the metadata sections.
    #[must_use]
    pub fn metadata_names(&self) -> Vec<String> {
        todo!()
    }
    /// Returns a metadata section.
    #[must_use]
    pub fn metadata(&self, _name: &str) -> Option<(MetadataVisibility, &[u8])> {
        todo!()
    }
    /// Returns the certified data, at most 32 bytes.
    #[must_use]
    pub fn certified_data(&self) -> &[u8] {
        todo!()
    }
    /// Returns the balance.
    #[must_use]
    pub fn cycles(&self) -> u128 {
        todo!()
    }
    /// Returns whether it accepts calls.
    #[must_use]
    pub fn status(&self) -> CanisterStatus {
        todo!()
    }
    /// Returns the canister version.
    #[must_use]
    pub fn version(&self) -> u64 {
        todo!()
    }
    /// Returns a copy of the stable memory; its size is a multiple of 64 KiB.
    ///
    /// # Errors
    /// [`NetworkError::CanisterIsEmpty`].
    pub fn stable_memory(&self) -> Result<Vec<u8>, NetworkError> {
        todo!()
    }
    /// Returns whether the module exports the method as an update.
    #[must_use]
    pub fn has_update(&self, _method: &str) -> bool {
        todo!()
    }
    /// Returns whether the module exports the method as a query or composite query.
    #[must_use]
    pub fn has_query(&self, _method: &str) -> bool {
        todo!()
    }
    /// Returns what its latest messages consumed.
    #[must_use]
    pub fn usage(&self) -> &UsageRing {
        todo!()
    }
}

/// Figures of one subnet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubnetMetrics {
    /// Canisters.
    pub num_canisters: u64,
    /// Bytes of their state.
    pub canister_state_bytes: u64,
    /// Cycles consumed since the subnet exists.
    pub consumed_cycles_total: u128,
    /// Update messages executed since the subnet exists.
    pub update_transactions_total: u64,
    /// Rounds executed.
    pub rounds: u64,
    /// Rounds that executed nothing because the heap delta was above its limit.
    pub rounds_skipped_by_heap_delta: u64,
    /// Bytes dirtied since the last checkpoint.
    pub heap_delta_bytes: u64,
}

/// A management call that waits for a response from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusCall {
    /// Identifies the call in [`Network::answer_consensus_call`].
    pub callback: u64,
    /// Calling canister.
    pub sender: CanisterId,
    /// Management method.
    pub method: String,
    /// Argument.
    pub payload: Vec<u8>,
}
