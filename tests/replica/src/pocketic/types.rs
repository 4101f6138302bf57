//! JSON types of the PocketIC REST protocol, as the `pocket-ic` clients 11 to 16 send and read them.
//!
//! Unknown fields are ignored and missing ones have defaults, so that one server reads every version.

use crate::pocketic::base64_bytes;
use candid::Principal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Index of an instance on the server.
pub type InstanceId = usize;

/// Body of `POST /instances`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct InstanceConfig {
    /// Subnets to create.
    pub subnet_config_set: SubnetConfigSet,
    /// Gateway to start with the instance.
    pub http_gateway_config: Option<InstanceHttpGatewayConfig>,
    /// Folder that keeps the state of the instance.
    pub state_dir: Option<PathBuf>,
    /// Flags: `canister_execution_rate_limiting` is obeyed; the others are accepted and without effect,
    /// because the replica has one behaviour only.
    pub icp_config: Option<serde_json::Value>,
    /// Accepted and without effect: the server logs through its own filter.
    pub log_level: Option<String>,
    /// Not supported: blocks come from an adapter process, not from the server.
    pub bitcoind_addr: Option<serde_json::Value>,
    /// Not supported.
    pub dogecoind_addr: Option<serde_json::Value>,
    /// Not supported: no system canisters are shipped.
    pub icp_features: Option<BTreeMap<String, serde_json::Value>>,
    /// Accepted and without effect: a saved state is always complete.
    pub incomplete_state: Option<serde_json::Value>,
    /// Start of the clock.
    pub initial_time: Option<InitialTime>,
    /// Not supported.
    pub mainnet_nns_subnet_id: Option<bool>,
    /// Switches expiry and signature checks of the IC HTTP interface off.
    pub disable_ingress_validation: Option<bool>,
}

/// Gateway settings inside [`InstanceConfig`].
#[derive(Debug, Clone, Default, Deserialize)]
pub struct InstanceHttpGatewayConfig {
    /// Address to bind, default 127.0.0.1.
    pub ip_addr: Option<String>,
    /// Port to bind, default any.
    pub port: Option<u16>,
    /// Host names served, default `localhost`.
    pub domains: Option<Vec<String>>,
    /// Not supported.
    pub https_config: Option<serde_json::Value>,
}

/// Body of `POST /http_gateway`.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpGatewayConfig {
    /// Address to bind, default 127.0.0.1.
    pub ip_addr: Option<String>,
    /// Port to bind, default any.
    pub port: Option<u16>,
    /// What the gateway serves.
    pub forward_to: HttpGatewayBackend,
    /// Host names served, default `localhost`.
    pub domains: Option<Vec<String>>,
    /// Not supported.
    pub https_config: Option<serde_json::Value>,
}

/// Target of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpGatewayBackend {
    /// Another replica by URL. Not supported.
    Replica(String),
    /// An instance of this server.
    PocketIcInstance(InstanceId),
}

/// A running gateway, as `GET /http_gateway` lists it.
#[derive(Debug, Clone, Serialize)]
pub struct HttpGatewayDetails {
    /// Index of the gateway.
    pub instance_id: InstanceId,
    /// Port it listens on.
    pub port: u16,
    /// What it serves.
    pub forward_to: HttpGatewayBackend,
    /// Host names served.
    pub domains: Option<Vec<String>>,
    /// Always `null`.
    pub https_config: Option<()>,
}

/// A started gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HttpGatewayInfo {
    /// Index of the gateway.
    pub instance_id: InstanceId,
    /// Port it listens on.
    pub port: u16,
}

/// Answer of `POST /http_gateway`.
#[derive(Debug, Serialize)]
pub enum CreateHttpGatewayResponse {
    /// It runs.
    Created(HttpGatewayInfo),
    /// It does not.
    Error {
        /// Why.
        message: String,
    },
}

/// Answer of `POST /instances`.
#[derive(Debug, Serialize)]
pub enum CreateInstanceResponse {
    /// It exists.
    Created {
        /// Its index.
        instance_id: InstanceId,
        /// Its subnets.
        topology: Topology,
        /// Its gateway, when one was asked for.
        http_gateway_info: Option<HttpGatewayInfo>,
    },
    /// It does not.
    Error {
        /// Why.
        message: String,
    },
}

/// Start of the clock.
#[derive(Debug, Clone, Copy, Deserialize)]
pub enum InitialTime {
    /// This time.
    Timestamp(RawTime),
    /// Wall-clock time, and rounds run by themselves.
    AutoProgress(AutoProgressConfig),
}

/// Body of `POST /instances/<id>/auto_progress`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct AutoProgressConfig {
    /// Pause between rounds in milliseconds.
    pub artificial_delay_ms: Option<u64>,
}

/// Subnets of an instance.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SubnetConfigSet {
    /// The root subnet.
    pub nns: Option<SubnetSpec>,
    /// SNS subnet.
    pub sns: Option<SubnetSpec>,
    /// Internet Identity subnet.
    pub ii: Option<SubnetSpec>,
    /// Fiduciary subnet.
    pub fiduciary: Option<SubnetSpec>,
    /// Bitcoin subnet.
    pub bitcoin: Option<SubnetSpec>,
    /// Subnet of the test threshold keys.
    pub test_threshold_keys: Option<SubnetSpec>,
    /// System subnets.
    pub system: Vec<SubnetSpec>,
    /// Application subnets.
    pub application: Vec<SubnetSpec>,
    /// Cloud engines.
    pub cloud_engine: Vec<SubnetSpec>,
    /// Verified application subnets.
    pub verified_application: Vec<SubnetSpec>,
}

/// One subnet to create.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SubnetSpec {
    /// Where its state comes from.
    pub state_config: SubnetStateConfig,
    /// Its instruction limits.
    pub instruction_config: InstructionConfig,
    /// Principals with administrator rights on the subnet. Not supported unless empty.
    pub subnet_admins: Option<Vec<RawPrincipalId>>,
    /// Whether canisters pay.
    pub cost_schedule: CostSchedule,
}

/// Where the state of a subnet comes from.
#[derive(Debug, Clone, Default, Deserialize)]
pub enum SubnetStateConfig {
    /// Nowhere: it starts empty.
    #[default]
    New,
    /// A replica's state folder. Not supported.
    FromPath(PathBuf),
    /// The blob store. Not supported, by the official server neither.
    FromBlobStore(BlobId),
}

/// Instruction limits of a subnet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstructionConfig {
    /// The IC's limits.
    #[default]
    Production,
    /// Effectively unlimited.
    Benchmarking,
}

/// Whether canisters of a subnet pay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CostSchedule {
    /// The fees of the subnet's type.
    #[default]
    Normal,
    /// Nothing costs cycles.
    Free,
}

/// Subnets of an instance, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// Subnets by the text form of their id.
    pub subnet_configs: BTreeMap<Principal, SubnetConfig>,
    /// A canister id whose subnet takes canister creations without a destination.
    pub default_effective_canister_id: RawCanisterId,
}

/// One subnet of [`Topology`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubnetConfig {
    /// PocketIC's name of the kind.
    pub subnet_kind: &'static str,
    /// Always `null`.
    pub subnet_admins: Option<Vec<RawPrincipalId>>,
    /// Whether canisters pay.
    pub cost_schedule: CostSchedule,
    /// Seed of keys and randomness.
    pub subnet_seed: [u8; 32],
    /// Instruction limits.
    pub instruction_config: InstructionConfig,
    /// Canister ids it owns.
    pub canister_ranges: Vec<CanisterIdRange>,
}

/// Closed range of canister ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CanisterIdRange {
    /// First id.
    pub start: RawCanisterId,
    /// Last id.
    pub end: RawCanisterId,
}

/// A time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawTime {
    /// Nanoseconds since 1970.
    pub nanos_since_epoch: u64,
}

macro_rules! base64_id {
    ($(#[$doc:meta])* $name:ident, $field:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            /// Raw bytes of the principal.
            #[serde(with = "base64_bytes")]
            pub $field: Vec<u8>,
        }

        impl From<Principal> for $name {
            fn from(principal: Principal) -> Self {
                Self { $field: principal.as_slice().to_vec() }
            }
        }

        impl TryFrom<$name> for Principal {
            type Error = String;

            fn try_from(id: $name) -> Result<Self, String> {
                principal(stringify!($field), &id.$field)
            }
        }
    };
}

base64_id!(
    /// A user.
    RawPrincipalId,
    principal_id
);
base64_id!(
    /// A canister.
    RawCanisterId,
    canister_id
);
base64_id!(
    /// A subnet.
    RawSubnetId,
    subnet_id
);

/// Returns the principal of these bytes, or a message naming the field.
pub fn principal(field: &str, bytes: &[u8]) -> Result<Principal, String> {
    Principal::try_from_slice(bytes)
        .map_err(|e| format!("{field} {} is not a principal: {e}", hex::encode(bytes)))
}

/// Routing hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawEffectivePrincipal {
    /// Decided by the server.
    None,
    /// This subnet.
    SubnetId(#[serde(with = "base64_bytes")] Vec<u8>),
    /// The subnet of this canister id.
    CanisterId(#[serde(with = "base64_bytes")] Vec<u8>),
}

/// A submitted message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawMessageId {
    /// Where it was routed.
    pub effective_principal: RawEffectivePrincipal,
    /// Request id, 32 bytes.
    #[serde(with = "base64_bytes")]
    pub message_id: Vec<u8>,
}

/// Body of `read/ingress_status`.
#[derive(Debug, Clone, Deserialize)]
pub struct RawIngressStatusArgs {
    /// The message.
    pub raw_message_id: RawMessageId,
    /// Who asks; only the sender may, when given.
    pub raw_caller: Option<RawPrincipalId>,
}

/// Canister-certified sender information.
#[derive(Debug, Clone, Deserialize)]
pub struct RawSenderInfo {
    /// What is certified.
    #[serde(with = "base64_bytes")]
    pub info: Vec<u8>,
    /// The canister that certifies it.
    #[serde(with = "base64_bytes")]
    pub signer: Vec<u8>,
}

/// A call or query.
#[derive(Debug, Clone, Deserialize)]
pub struct RawCanisterCall {
    /// User.
    #[serde(with = "base64_bytes")]
    pub sender: Vec<u8>,
    /// Target.
    #[serde(with = "base64_bytes")]
    pub canister_id: Vec<u8>,
    /// Routing hint.
    pub effective_principal: RawEffectivePrincipal,
    /// Method name.
    pub method: String,
    /// Argument.
    #[serde(with = "base64_bytes")]
    pub payload: Vec<u8>,
    /// What the sender attaches about itself.
    #[serde(default)]
    pub sender_info: Option<RawSenderInfo>,
}

/// A rejection, as the client parses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectResponse {
    /// Name of the class.
    pub reject_code: &'static str,
    /// The IC's wording.
    pub reject_message: String,
    /// Name of the reason.
    pub error_code: &'static str,
    /// Whether the rejection comes from executing the message.
    pub certified: bool,
}

/// Result of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum RawCanisterResult {
    /// Reply.
    Ok(#[serde(with = "base64_bytes")] Vec<u8>),
    /// Rejection.
    Err(RejectResponse),
}

/// Result of a submission.
#[derive(Debug, Clone, Serialize)]
pub enum RawSubmitIngressResult {
    /// It is queued.
    Ok(RawMessageId),
    /// It was refused.
    Err(RejectResponse),
}

/// Body of `update/set_stable_memory`.
#[derive(Debug, Clone, Deserialize)]
pub struct RawSetStableMemory {
    /// Canister.
    #[serde(with = "base64_bytes")]
    pub canister_id: Vec<u8>,
    /// Its new contents.
    pub blob_id: BlobId,
}

/// Answer of `read/get_stable_memory`.
#[derive(Debug, Clone, Serialize)]
pub struct RawStableMemory {
    /// The contents.
    #[serde(with = "base64_bytes")]
    pub blob: Vec<u8>,
}

/// Body of `update/add_cycles`.
#[derive(Debug, Clone, Deserialize)]
pub struct RawAddCycles {
    /// Canister.
    #[serde(with = "base64_bytes")]
    pub canister_id: Vec<u8>,
    /// Cycles to add.
    pub amount: u128,
}

/// A balance.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RawCycles {
    /// Cycles.
    pub cycles: u128,
}

/// Body of `POST /verify_signature`.
#[derive(Debug, Clone, Deserialize)]
pub struct RawVerifyCanisterSigArg {
    /// The message.
    #[serde(with = "base64_bytes")]
    pub msg: Vec<u8>,
    /// CBOR canister signature.
    #[serde(with = "base64_bytes")]
    pub sig: Vec<u8>,
    /// DER canister signature key.
    #[serde(with = "base64_bytes")]
    pub pubkey: Vec<u8>,
    /// DER root key.
    #[serde(with = "base64_bytes")]
    pub root_pubkey: Vec<u8>,
}

/// Key of the blob store: SHA-256 of the stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobId(#[serde(with = "base64_bytes")] pub Vec<u8>);

/// Body of every 4xx and 5xx answer.
#[derive(Debug, Clone, Serialize)]
pub struct ApiErrorBody {
    /// What is wrong and what to do.
    pub message: String,
}
