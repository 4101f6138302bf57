//! Routes under `/instances/<id>/update/` and the instance's clock.

use super::base64_bytes;
use super::extract::{JsonBody, OfInstance};
use super::server::Server;
use super::types::{
    AutoProgressConfig, RawAddCycles, RawCanisterCall, RawCanisterResult, RawCycles,
    RawEffectivePrincipal, RawMessageId, RawSetStableMemory, RawSubmitIngressResult, RawSubnetId,
    RawTime, RejectResponse, principal,
};
use crate::http::errors::ApiError;
use axum::Json;
use axum::extract::State;
use candid::Principal;
use millrace_subnet::{EffectivePrincipal, Ingress, MessageId, SubnetKind, UserError};
use millrace_vm::CallerInfo;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// How long `await_ingress_message` waits while automatic progress runs the rounds.
const AWAIT_TIMEOUT: Duration = Duration::from_secs(300);

type Answer<T> = Result<Json<T>, ApiError>;

/// A call with its principals checked.
pub struct Call {
    /// User.
    pub sender: Principal,
    /// Target.
    pub canister_id: Principal,
    /// Method name.
    pub method: String,
    /// Argument.
    pub payload: Vec<u8>,
    /// Routing hint.
    pub effective: EffectivePrincipal,
    /// What the user attached about itself.
    pub caller_info: Option<CallerInfo>,
}

/// `POST update/submit_ingress_message`
pub async fn submit(
    OfInstance(instance): OfInstance,
    JsonBody(raw): JsonBody<RawCanisterCall>,
) -> Answer<RawSubmitIngressResult> {
    let hint = raw.effective_principal.clone();
    let call = raw_call(raw)?;
    let ingress = Ingress {
        sender: call.sender,
        canister_id: call.canister_id,
        method: call.method,
        payload: call.payload,
        effective: call.effective,
        message_id: None,
        expiry_ns: None,
        caller_info: call.caller_info,
    };
    let submitted = instance.submit(ingress).await?;
    Ok(Json(match submitted {
        Ok(id) => RawSubmitIngressResult::Ok(RawMessageId {
            effective_principal: hint,
            message_id: id.0.to_vec(),
        }),
        Err(rejection) => RawSubmitIngressResult::Err(reject(rejection, false)),
    }))
}

/// `POST update/await_ingress_message`: runs up to 100 rounds until the message is answered.
pub async fn await_answer(
    OfInstance(instance): OfInstance,
    JsonBody(raw): JsonBody<RawMessageId>,
) -> Answer<RawCanisterResult> {
    let id = message_id(&raw)?;
    Ok(Json(
        match instance.await_answer(id, AWAIT_TIMEOUT).await? {
            Ok(reply) => RawCanisterResult::Ok(reply),
            Err(rejection) => RawCanisterResult::Err(reject(rejection, true)),
        },
    ))
}

/// `POST update/add_cycles`
pub async fn add_cycles(
    OfInstance(instance): OfInstance,
    JsonBody(raw): JsonBody<RawAddCycles>,
) -> Answer<RawCycles> {
    let id = principal("canister_id", &raw.canister_id).map_err(ApiError::bad_request)?;
    let cycles = instance
        .change(move |network| network.add_cycles(&id, raw.amount))
        .await??;
    Ok(Json(RawCycles { cycles }))
}

/// `POST update/set_stable_memory`
pub async fn set_stable_memory(
    State(server): State<Arc<Server>>,
    OfInstance(instance): OfInstance,
    JsonBody(raw): JsonBody<RawSetStableMemory>,
) -> Answer<()> {
    let id = principal("canister_id", &raw.canister_id).map_err(ApiError::bad_request)?;
    let blob = server.blobs.get(&raw.blob_id).ok_or_else(|| {
        ApiError::bad_request(format!(
            "blob {} was not uploaded to this server",
            hex::encode(&raw.blob_id.0)
        ))
    })?;
    instance
        .change(move |network| network.set_stable_memory(&id, &blob))
        .await??;
    Ok(Json(()))
}

/// `POST update/set_time` and `update/set_certified_time`: the certified time is the time here,
/// because every state is certified as soon as it is read.
pub async fn set_time(
    OfInstance(instance): OfInstance,
    JsonBody(time): JsonBody<RawTime>,
) -> Answer<()> {
    instance
        .change(move |network| network.set_time_ns(time.nanos_since_epoch))
        .await??;
    Ok(Json(()))
}

/// Body of `update/tick`.
#[derive(Debug, Default, Deserialize)]
pub struct TickConfigs {
    #[serde(default)]
    blockmakers: Option<Vec<SubnetBlockmakers>>,
}

/// Which node makes a subnet's block, and which ones failed to.
#[derive(Debug, Deserialize)]
pub struct SubnetBlockmakers {
    subnet: RawSubnetId,
    blockmaker: RawNodeId,
    failed_blockmakers: Vec<RawNodeId>,
}

/// Id of a node.
#[derive(Debug, Deserialize)]
pub struct RawNodeId {
    #[serde(with = "base64_bytes")]
    node_id: Vec<u8>,
}

/// `POST update/tick`. Each subnet has one node here, so the choice of blockmakers is checked and then
/// has no effect: there are no metrics of nodes.
pub async fn tick(
    OfInstance(instance): OfInstance,
    JsonBody(configs): JsonBody<Option<TickConfigs>>,
) -> Answer<()> {
    let chosen = configs.and_then(|configs| configs.blockmakers);
    for choice in chosen.unwrap_or_default() {
        let subnet = Principal::try_from(choice.subnet).map_err(ApiError::bad_request)?;
        let node = instance
            .authority()
            .keys(subnet)
            .map(|keys| keys.node_id())
            .ok_or_else(|| {
                ApiError::bad_request(format!("subnet {subnet} is not part of this instance"))
            })?;
        let named = principal("blockmaker", &choice.blockmaker.node_id);
        let named = named.map_err(ApiError::bad_request)?;
        if named != node || !choice.failed_blockmakers.is_empty() {
            return Err(ApiError::bad_request(format!(
                "node {named} cannot make the block of subnet {subnet} after {} others failed: \
                 its only node is {node}",
                choice.failed_blockmakers.len()
            )));
        }
    }
    instance.change(|network| network.tick()).await??;
    Ok(Json(()))
}

/// `POST update/delete_subnet`: only subnets without a mainnet role, as in PocketIC.
pub async fn delete_subnet(
    OfInstance(instance): OfInstance,
    JsonBody(raw): JsonBody<RawSubnetId>,
) -> Answer<()> {
    let id = Principal::try_from(raw).map_err(ApiError::bad_request)?;
    let topology = instance.run(|network| network.topology()).await?;
    let kind = topology
        .subnets
        .iter()
        .find(|spec| spec.id == id)
        .map(|spec| spec.kind);
    let named = kind.is_some_and(|kind: SubnetKind| !kind.mainnet_ranges().is_empty());
    if named {
        return Err(ApiError::bad_request(format!(
            "subnet {id} is a named subnet and cannot be deleted"
        )));
    }
    instance.delete_subnet(id).await?;
    Ok(Json(()))
}

/// `POST auto_progress`
pub async fn start_auto_progress(
    OfInstance(instance): OfInstance,
    JsonBody(config): JsonBody<Option<AutoProgressConfig>>,
) -> Answer<()> {
    let delay = config
        .and_then(|config| config.artificial_delay_ms)
        .map(Duration::from_millis);
    instance.start_auto_progress(delay).await?;
    Ok(Json(()))
}

/// `GET auto_progress`
pub async fn auto_progress(OfInstance(instance): OfInstance) -> Json<bool> {
    Json(instance.auto_progress_enabled())
}

/// `POST stop_progress`
pub async fn stop_auto_progress(OfInstance(instance): OfInstance) -> Json<()> {
    instance.stop_auto_progress().await;
    Json(())
}

/// Checks the principals of a raw call.
///
/// # Errors
/// HTTP 400 naming the field.
pub fn raw_call(raw: RawCanisterCall) -> Result<Call, ApiError> {
    let caller_info = raw
        .sender_info
        .map(|info| {
            Ok::<_, String>(CallerInfo {
                data: info.info,
                signer: principal("sender_info.signer", &info.signer)?,
            })
        })
        .transpose()
        .map_err(ApiError::bad_request)?;
    let effective = match &raw.effective_principal {
        RawEffectivePrincipal::None => Ok(EffectivePrincipal::None),
        RawEffectivePrincipal::SubnetId(id) => {
            principal("effective subnet id", id).map(EffectivePrincipal::SubnetId)
        }
        RawEffectivePrincipal::CanisterId(id) => {
            principal("effective canister id", id).map(EffectivePrincipal::CanisterId)
        }
    };
    Ok(Call {
        sender: principal("sender", &raw.sender).map_err(ApiError::bad_request)?,
        canister_id: principal("canister_id", &raw.canister_id).map_err(ApiError::bad_request)?,
        method: raw.method,
        payload: raw.payload,
        effective: effective.map_err(ApiError::bad_request)?,
        caller_info,
    })
}

/// Returns the message id of the protocol's form.
///
/// # Errors
/// HTTP 400 when it has not 32 bytes.
pub fn message_id(raw: &RawMessageId) -> Result<MessageId, ApiError> {
    let bytes = raw.message_id.as_slice().try_into().map_err(|_| {
        ApiError::bad_request(format!(
            "message id {} has {} bytes, it must have 32",
            hex::encode(&raw.message_id),
            raw.message_id.len()
        ))
    })?;
    Ok(MessageId(bytes))
}

/// Returns the protocol's form of a rejection.
pub fn reject(rejection: UserError, certified: bool) -> RejectResponse {
    RejectResponse {
        reject_code: rejection.reject_code().name(),
        error_code: rejection.code.name(),
        reject_message: rejection.message,
        certified,
    }
}
