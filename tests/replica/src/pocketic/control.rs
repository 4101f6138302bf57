//! Routes under `/instances/<id>/millrace/` that make things go wrong, or play the world outside:
//!
//! - `POST faults`: injects a list of faults, `[{"canister": "<id>", "kind": {"trap_at_system_call": 9},
//!   "message": "heartbeat", "skip": 2, "times": 1}]`; see [`millrace_subnet::Fault`]. `GET faults` tells what
//!   became of them, `DELETE faults` forgets them.
//! - `POST limits`: changes limits from the next round on, `{"application": {"heap_delta_capacity": 1000}}`,
//!   named as in a limits file; `GET limits` returns all.
//! - `GET consensus/<subnet id>`: management calls that wait for an answer from outside, as
//!   `[{"callback", "sender", "method", "payload"}]`. `POST` to it puts an answer into the consensus queue:
//!   `{"callback": n, "blocks": ["<base64>"], "next": []}`, `{"callback": n, "reply": "<base64>"}` or
//!   `{"callback": n, "reject": "text"}`.
//! - `POST consensus/<subnet id>/keep/<rounds>`: so many rounds leave the queue as it is.
//! - `POST restart`: saves the state, drops everything and loads it, as a replica does that is restarted.

use super::extensions::principal;
use super::extract::{JsonBody, OfInstance};
use crate::http::errors::ApiError;
use crate::instance::limits_file;
use axum::Json;
use axum::extract::Path;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use candid::Principal;
use millrace_subnet::{
    ErrorCode, Fault, FaultStatus, LimitsConfig, NetworkError, Successors, UserError,
};
use serde::{Deserialize, Serialize};

/// Answer of `consensus`: one call that waits.
#[derive(Debug, Serialize)]
pub struct WaitingCall {
    callback: u64,
    sender: Principal,
    method: String,
    /// Base64.
    payload: String,
}

/// Body of `consensus`: an answer. Exactly one of `blocks`, `reply` and `reject` is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideAnswer {
    callback: u64,
    blocks: Option<Vec<String>>,
    #[serde(default)]
    next: Vec<String>,
    reply: Option<String>,
    reject: Option<String>,
}

/// `GET millrace/faults`
pub async fn faults(OfInstance(instance): OfInstance) -> Result<Json<Vec<FaultStatus>>, ApiError> {
    Ok(Json(instance.run(|network| network.faults()).await?))
}

/// `POST millrace/faults`
pub async fn inject(
    OfInstance(instance): OfInstance,
    JsonBody(faults): JsonBody<Vec<Fault>>,
) -> Result<Json<()>, ApiError> {
    instance.change(|network| network.inject(faults)).await??;
    Ok(Json(()))
}

/// `DELETE millrace/faults`
pub async fn clear_faults(OfInstance(instance): OfInstance) -> Result<Json<()>, ApiError> {
    instance.change(|network| network.clear_faults()).await?;
    Ok(Json(()))
}

/// `GET millrace/limits`
pub async fn limits(OfInstance(instance): OfInstance) -> Result<Json<LimitsConfig>, ApiError> {
    Ok(Json(
        instance.run(|network| network.limits().clone()).await?,
    ))
}

/// `POST millrace/limits`
pub async fn set_limits(
    OfInstance(instance): OfInstance,
    JsonBody(named): JsonBody<serde_json::Value>,
) -> Result<Json<()>, ApiError> {
    let changed = instance.change(move |network| {
        let limits = limits_file::changed(network.limits(), &named)?;
        network.set_limits(limits);
        Ok(())
    });
    changed.await?.map_err(|reason: String| {
        ApiError::bad_request(format!("the limits are invalid: {reason}"))
    })?;
    Ok(Json(()))
}

/// `GET millrace/consensus/<subnet id>`
pub async fn consensus_calls(
    OfInstance(instance): OfInstance,
    Path((_, subnet)): Path<(String, String)>,
) -> Result<Json<Vec<WaitingCall>>, ApiError> {
    let id = principal(&subnet)?;
    let calls = instance
        .run(move |network| network.consensus_calls(&id))
        .await??;
    let waiting = calls.into_iter().map(|call| WaitingCall {
        callback: call.callback,
        sender: call.sender,
        method: call.method,
        payload: BASE64_STANDARD.encode(call.payload),
    });
    Ok(Json(waiting.collect()))
}

/// `POST millrace/consensus/<subnet id>`
pub async fn answer_consensus_call(
    OfInstance(instance): OfInstance,
    Path((_, subnet)): Path<(String, String)>,
    JsonBody(answer): JsonBody<OutsideAnswer>,
) -> Result<Json<()>, ApiError> {
    let id = principal(&subnet)?;
    let callback = answer.callback;
    match (answer.blocks, answer.reply, answer.reject) {
        (Some(blocks), None, None) => {
            let found = Successors {
                blocks: decoded("blocks", &blocks)?,
                next: decoded("next", &answer.next)?,
            };
            instance
                .change(move |network| network.answer_with_blocks(&id, callback, found))
                .await??;
        }
        (None, Some(reply), None) if answer.next.is_empty() => {
            let reply = base64("reply", &reply)?;
            reply_with(&instance, id, callback, Ok(reply)).await?;
        }
        (None, None, Some(text)) if answer.next.is_empty() => {
            let refused = UserError::new(ErrorCode::CanisterRejectedMessage, text);
            reply_with(&instance, id, callback, Err(refused)).await?;
        }
        _ => {
            return Err(ApiError::bad_request(format!(
                "the answer to callback {callback} must have exactly one of blocks (with or without \
                 next), reply and reject"
            )));
        }
    }
    Ok(Json(()))
}

/// `POST millrace/consensus/<subnet id>/keep/<rounds>`
pub async fn keep_consensus_queue(
    OfInstance(instance): OfInstance,
    Path((_, subnet, rounds)): Path<(String, String, String)>,
) -> Result<Json<()>, ApiError> {
    let id = principal(&subnet)?;
    let rounds = rounds.parse().map_err(|error| {
        ApiError::bad_request(format!("{rounds:?} is not a number of rounds: {error}"))
    })?;
    instance
        .change(move |network| network.keep_consensus_queue(&id, rounds))
        .await??;
    Ok(Json(()))
}

/// `POST millrace/restart`
pub async fn restart(OfInstance(instance): OfInstance) -> Result<Json<()>, ApiError> {
    instance.restart().await?;
    Ok(Json(()))
}

async fn reply_with(
    instance: &crate::instance::Instance,
    subnet: Principal,
    callback: u64,
    reply: Result<Vec<u8>, UserError>,
) -> Result<(), ApiError> {
    let answered: Result<(), NetworkError> = instance
        .change(move |network| network.answer_consensus_call(&subnet, callback, reply))
        .await?;
    Ok(answered?)
}

fn decoded(field: &str, texts: &[String]) -> Result<Vec<Vec<u8>>, ApiError> {
    texts.iter().map(|text| base64(field, text)).collect()
}

fn base64(field: &str, text: &str) -> Result<Vec<u8>, ApiError> {
    BASE64_STANDARD
        .decode(text)
        .map_err(|error| ApiError::bad_request(format!("{field} is not base64: {error}")))
}
