//! The IC HTTP interface of one instance: status, call, query and read_state
//! (interface spec, "HTTPS interface"), in the versions v2, v3 and v4 of their paths.

use super::errors::TextError;
use crate::authentication::envelope::{self, AuthError, Targets, Validator};
use crate::certification::authority::to_cbor;
use crate::certification::keys::raw_bls_key;
use crate::http::effective_id;
use crate::instance::Instance;
use crate::instance::state_tree::{self, Scope, error_code};
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use candid::Principal;
use ic_transport_types::{
    Envelope, EnvelopeContent, NodeSignature, QueryResponse, ReadStateResponse, RejectCode,
    RejectResponse, ReplyResponse, SenderInfo,
};
use millrace_subnet::{
    EffectivePrincipal, Ingress, IngressState, MessageId, Network, Query, UserError,
};
use millrace_vm::CallerInfo;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Largest request body, as the IC's nodes accept. The subnet's own ingress limit is smaller.
pub const REQUEST_BYTES_MAX: usize = 5 * 1024 * 1024;

/// How long a synchronous call waits for the answer before it tells the agent to poll.
const SYNC_CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Which answer a `call` path gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallMode {
    /// v2: 202 at once, the agent polls.
    Asynchronous,
    /// v3 and v4: the certificate of the answer, or 202 after ten seconds.
    Synchronous,
}

#[derive(Serialize)]
struct Status<'a> {
    ic_api_version: &'static str,
    impl_version: &'static str,
    replica_health_status: &'static str,
    #[serde(with = "serde_bytes")]
    root_key: &'a [u8],
}

#[derive(Serialize)]
struct CallAnswer<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", with = "serde_bytes")]
    certificate: Option<&'a [u8]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reject_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reject_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
}

/// Answers `GET /api/v2/status`.
pub fn status(instance: &Instance) -> Response {
    cbor(
        StatusCode::OK,
        &Status {
            ic_api_version: "unversioned",
            impl_version: concat!("millrace-replica ", env!("CARGO_PKG_VERSION")),
            replica_health_status: "healthy",
            root_key: instance.authority().root_key_der(),
        },
    )
}

/// Answers `call`: checks the envelope, submits the message, and in synchronous mode waits for its
/// answer. The same request sent again is executed once and answered alike.
///
/// # Errors
/// [`TextError`] for anything that is wrong with the envelope.
pub async fn call(
    instance: &Arc<Instance>,
    scope: Scope,
    mode: CallMode,
    body: Bytes,
) -> Result<Response, TextError> {
    let (envelope, _) = verified(instance, scope, body, "a call request").await?;
    let id = MessageId(*envelope.content.to_request_id());
    let EnvelopeContent::Call {
        ingress_expiry,
        sender,
        canister_id,
        method_name,
        arg,
        sender_info,
        ..
    } = envelope.content.into_owned()
    else {
        return Err(wrong_kind("call"));
    };
    let ingress = Ingress {
        sender,
        canister_id,
        method: method_name,
        payload: arg,
        effective: effective(scope),
        message_id: Some(id),
        expiry_ns: instance.validates_ingress().then_some(ingress_expiry),
        caller_info: sender_info.map(caller_info).transpose()?,
    };
    let mut changes = instance.subscribe();
    let by_itself = instance.auto_progress_enabled();
    if let Err(rejection) = instance.submit(ingress).await? {
        return Ok(not_accepted(&rejection, mode));
    }
    if mode == CallMode::Asynchronous {
        return Ok(accepted());
    }
    let _waiting = instance.wait_for_answer();
    let deadline = tokio::time::Instant::now() + SYNC_CALL_TIMEOUT;
    loop {
        changes.borrow_and_update();
        if let Some(certificate) = answer_certificate(instance, id).await? {
            return Ok(cbor(
                StatusCode::OK,
                &CallAnswer {
                    status: "replied",
                    certificate: Some(&certificate),
                    reject_code: None,
                    reject_message: None,
                    error_code: None,
                },
            ));
        }
        // Once automatic progress has stopped, nobody knows whether a round comes: the agent polls.
        let stopped = by_itself && !instance.auto_progress_enabled();
        if stopped
            || tokio::time::timeout_at(deadline, changes.changed())
                .await
                .is_err()
        {
            return Ok(accepted());
        }
    }
}

/// Returns the certificate of a message's answer, or `None` while it has none.
async fn answer_certificate(
    instance: &Instance,
    id: MessageId,
) -> Result<Option<Vec<u8>>, TextError> {
    let authority = instance.authority().clone();
    let certificate = instance
        .run(move |network| {
            let status = network.ingress_status(&id)?;
            match status.state {
                IngressState::Received | IngressState::Processing => None,
                IngressState::Replied(_) | IngressState::Rejected(_) | IngressState::Done => {
                    state_tree::request_certificate(network, &authority, &id)
                }
            }
        })
        .await?;
    Ok(certificate)
}

/// Answers `query`, signed by the node of the canister's subnet.
///
/// # Errors
/// [`TextError`] for anything that is wrong with the envelope.
pub async fn query(
    instance: &Arc<Instance>,
    scope: Scope,
    body: Bytes,
) -> Result<Response, TextError> {
    let (envelope, _) = verified(instance, scope, body, "a query request").await?;
    let request_id = envelope.content.to_request_id();
    let EnvelopeContent::Query {
        sender,
        canister_id,
        method_name,
        arg,
        sender_info,
        ..
    } = envelope.content.into_owned()
    else {
        return Err(wrong_kind("query"));
    };
    let caller_info = sender_info.map(caller_info).transpose()?;
    let authority = instance.authority().clone();
    let response = instance
        .run(move |network| {
            let keys = state_tree::subnet_of(network, scope)
                .ok()
                .and_then(|subnet| authority.keys(subnet))
                .ok_or_else(|| no_such_canister(scope))?;
            let mut response = query_response(network.query(Query {
                sender,
                canister_id,
                method: method_name,
                payload: arg,
                effective: effective(scope),
                caller_info,
            }));
            let timestamp = network.time_ns();
            let signature = NodeSignature {
                timestamp,
                signature: keys
                    .sign_as_node(&response.signable(request_id, timestamp))
                    .to_vec(),
                identity: keys.node_id(),
            };
            let (QueryResponse::Replied { signatures, .. }
            | QueryResponse::Rejected { signatures, .. }) = &mut response;
            signatures.push(signature);
            Ok::<_, TextError>(response)
        })
        .await??;
    Ok(cbor(StatusCode::OK, &response))
}

/// Answers `read_state` with a certificate over the requested paths.
///
/// # Errors
/// [`TextError`] for a bad envelope or a path the reader may not see.
pub async fn read_state(
    instance: &Arc<Instance>,
    scope: Scope,
    body: Bytes,
) -> Result<Response, TextError> {
    let (envelope, targets) = verified(instance, scope, body, "a read_state request").await?;
    let EnvelopeContent::ReadState { sender, paths, .. } = envelope.content.into_owned() else {
        return Err(wrong_kind("read_state"));
    };
    let authority = instance.authority().clone();
    let certificate = instance
        .run(move |network| state_tree::read(network, &authority, scope, &paths, sender, &targets))
        .await??;
    Ok(cbor(StatusCode::OK, &ReadStateResponse { certificate }))
}

/// Decodes and checks an envelope against the URL and the instance's current time. That runs on a
/// blocking thread, outside the instance's queue.
async fn verified(
    instance: &Arc<Instance>,
    scope: Scope,
    body: Bytes,
    expected: &'static str,
) -> Result<(Envelope<'static>, Targets), TextError> {
    if body.len() > REQUEST_BYTES_MAX {
        return Err(TextError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the request has {} bytes, at most {REQUEST_BYTES_MAX} are accepted",
                body.len()
            ),
        ));
    }
    let now_ns = instance
        .run(|network: &mut Network| network.time_ns())
        .await?;
    let (authority, enabled) = (instance.authority().clone(), instance.validates_ingress());
    tokio::task::spawn_blocking(move || {
        let envelope = envelope::decode(&body, expected)?;
        let validator = Validator {
            now_ns,
            root_key_raw: raw_bls_key(authority.root_key_der()).unwrap_or_default(),
            enabled,
        };
        let targets = validator.check(&envelope)?;
        if let EnvelopeContent::Call {
            canister_id,
            method_name,
            arg,
            ..
        }
        | EnvelopeContent::Query {
            canister_id,
            method_name,
            arg,
            ..
        } = envelope.content.as_ref()
        {
            effective_id::check(scope, *canister_id, method_name, arg)?;
        }
        Ok((envelope, targets))
    })
    .await
    .map_err(|e| TextError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?
}

/// Returns what the canister learns about its caller; the validator has checked the signature.
fn caller_info(info: SenderInfo) -> Result<CallerInfo, TextError> {
    let signer = Principal::try_from_slice(&info.signer).map_err(|e| {
        TextError::new(
            StatusCode::BAD_REQUEST,
            format!(
                "the signer {} of sender_info is not a principal: {e}",
                hex::encode(&info.signer)
            ),
        )
    })?;
    Ok(CallerInfo {
        data: info.info,
        signer,
    })
}

fn effective(scope: Scope) -> EffectivePrincipal {
    match scope {
        Scope::Subnet(id) => EffectivePrincipal::SubnetId(id),
        // Agents address creations to the management canister itself; the network then chooses.
        Scope::Canister(id) if id == Principal::management_canister() => EffectivePrincipal::None,
        Scope::Canister(id) => EffectivePrincipal::CanisterId(id),
    }
}

fn query_response(result: Result<Vec<u8>, UserError>) -> QueryResponse {
    let signatures = Vec::with_capacity(1);
    match result {
        Ok(arg) => QueryResponse::Replied {
            reply: ReplyResponse { arg },
            signatures,
        },
        Err(error) => QueryResponse::Rejected {
            reject: RejectResponse {
                // Queries make no best-effort calls, so the one code agents cannot name is not met.
                reject_code: RejectCode::try_from(u64::from(error.reject_code().number()))
                    .unwrap_or(RejectCode::SysTransient),
                error_code: Some(error_code(&error)),
                reject_message: error.message,
            },
            signatures,
        },
    }
}

/// The answer to a message that was refused before it entered the subnet: not certified.
fn not_accepted(rejection: &UserError, mode: CallMode) -> Response {
    let answer = CallAnswer {
        status: match mode {
            CallMode::Synchronous => "non_replicated_rejection",
            CallMode::Asynchronous => "rejected",
        },
        certificate: None,
        reject_code: Some(rejection.reject_code().number()),
        reject_message: Some(&rejection.message),
        error_code: Some(error_code(rejection)),
    };
    cbor(StatusCode::OK, &answer)
}

fn accepted() -> Response {
    let answer = CallAnswer {
        status: "accepted",
        certificate: None,
        reject_code: None,
        reject_message: None,
        error_code: None,
    };
    cbor(StatusCode::ACCEPTED, &answer)
}

fn no_such_canister(scope: Scope) -> TextError {
    let (Scope::Canister(id) | Scope::Subnet(id)) = scope;
    TextError::new(
        StatusCode::BAD_REQUEST,
        format!(
            "error: canister_not_found\ndetails: {id} does not belong to any subnet of this replica"
        ),
    )
}

fn wrong_kind(expected: &'static str) -> TextError {
    AuthError::NotAnEnvelope {
        expected,
        reason: "the request_type is another one".to_owned(),
    }
    .into()
}

fn cbor<T: Serialize>(status: StatusCode, value: &T) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/cbor")],
        to_cbor(value),
    )
        .into_response()
}
