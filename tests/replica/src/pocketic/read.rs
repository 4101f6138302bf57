//! Routes under `/instances/<id>/read/`: nothing they do changes the instance.

use super::extract::{JsonBody, OfInstance};
use super::topology;
use super::types::{
    RawCanisterCall, RawCanisterId, RawCanisterResult, RawCycles, RawIngressStatusArgs,
    RawPrincipalId, RawStableMemory, RawSubnetId, RawTime, Topology, principal,
};
use super::update::{message_id, raw_call, reject};
use crate::http::errors::ApiError;
use axum::Json;
use axum::http::StatusCode;
use candid::Principal;
use millrace_subnet::{IngressState, Query};

type Answer<T> = Result<Json<T>, ApiError>;

/// `GET read/topology`
pub async fn topology(OfInstance(instance): OfInstance) -> Answer<Topology> {
    Ok(Json(topology::read(&instance).await?))
}

/// `GET read/get_time`
pub async fn time(OfInstance(instance): OfInstance) -> Answer<RawTime> {
    let nanos_since_epoch = instance.run(|network| network.time_ns()).await?;
    Ok(Json(RawTime { nanos_since_epoch }))
}

/// `POST read/get_controllers`
pub async fn controllers(
    OfInstance(instance): OfInstance,
    JsonBody(canister): JsonBody<RawCanisterId>,
) -> Answer<Vec<RawPrincipalId>> {
    let id = canister_id(canister)?;
    let controllers = instance
        .run(move |network| network.canister(&id).map(|canister| canister.controllers()))
        .await??;
    Ok(Json(controllers.into_iter().map(Into::into).collect()))
}

/// `POST read/get_cycles`
pub async fn cycles(
    OfInstance(instance): OfInstance,
    JsonBody(canister): JsonBody<RawCanisterId>,
) -> Answer<RawCycles> {
    let id = canister_id(canister)?;
    let cycles = instance
        .run(move |network| network.canister(&id).map(|canister| canister.cycles()))
        .await??;
    Ok(Json(RawCycles { cycles }))
}

/// `POST read/get_stable_memory`
pub async fn stable_memory(
    OfInstance(instance): OfInstance,
    JsonBody(canister): JsonBody<RawCanisterId>,
) -> Answer<RawStableMemory> {
    let id = canister_id(canister)?;
    let blob = instance
        .run(move |network| network.canister(&id)?.stable_memory())
        .await??;
    Ok(Json(RawStableMemory { blob }))
}

/// `POST read/get_subnet`: `null` when the canister does not exist.
pub async fn subnet(
    OfInstance(instance): OfInstance,
    JsonBody(canister): JsonBody<RawCanisterId>,
) -> Answer<Option<RawSubnetId>> {
    let id = canister_id(canister)?;
    let subnet = instance
        .run(move |network| network.canister(&id).ok().map(|canister| canister.subnet()))
        .await?;
    Ok(Json(subnet.map(Into::into)))
}

/// `POST read/pub_key`: the DER key of a subnet, as an array of numbers.
pub async fn public_key(
    OfInstance(instance): OfInstance,
    JsonBody(subnet): JsonBody<RawSubnetId>,
) -> Answer<Vec<u8>> {
    let id = Principal::try_from(subnet).map_err(ApiError::bad_request)?;
    let keys = instance.authority().keys(id).ok_or_else(|| {
        ApiError::bad_request(format!("subnet {id} is not part of this instance"))
    })?;
    Ok(Json(keys.public_key_der().to_vec()))
}

/// `POST read/query`
pub async fn query(
    OfInstance(instance): OfInstance,
    JsonBody(call): JsonBody<RawCanisterCall>,
) -> Answer<RawCanisterResult> {
    let call = raw_call(call)?;
    let result = instance
        .run(move |network| {
            network.query(Query {
                sender: call.sender,
                canister_id: call.canister_id,
                method: call.method,
                payload: call.payload,
                effective: call.effective,
                caller_info: call.caller_info,
            })
        })
        .await?;
    Ok(Json(match result {
        Ok(reply) => RawCanisterResult::Ok(reply),
        Err(rejection) => RawCanisterResult::Err(reject(rejection, false)),
    }))
}

/// `POST read/ingress_status`: `null` while there is no answer, 403 for anybody but the sender.
pub async fn ingress_status(
    OfInstance(instance): OfInstance,
    JsonBody(args): JsonBody<RawIngressStatusArgs>,
) -> Answer<Option<RawCanisterResult>> {
    let id = message_id(&args.raw_message_id)?;
    let caller = args
        .raw_caller
        .map(Principal::try_from)
        .transpose()
        .map_err(ApiError::bad_request)?;
    let status = instance
        .run(move |network| network.ingress_status(&id).cloned())
        .await?;
    let Some(status) = status else {
        return Ok(Json(None));
    };
    if caller.is_some_and(|caller| caller != status.sender) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "The user tries to access Request ID not signed by the caller.",
        ));
    }
    Ok(Json(match status.state {
        IngressState::Received | IngressState::Processing | IngressState::Done => None,
        IngressState::Replied(reply) => Some(RawCanisterResult::Ok(reply)),
        IngressState::Rejected(rejection) => Some(RawCanisterResult::Err(reject(rejection, true))),
    }))
}

fn canister_id(canister: RawCanisterId) -> Result<Principal, ApiError> {
    principal("canister_id", &canister.canister_id).map_err(ApiError::bad_request)
}
