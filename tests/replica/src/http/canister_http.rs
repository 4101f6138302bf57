//! Turns an HTTP request into the `http_request` query of a canister and its reply into a response
//! (interface spec, "The HTTP Gateway protocol").
//!
//! Response certification is the browser-facing gateways' business and is not checked here.

use super::errors::TextError;
use crate::instance::Instance;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::response::Response;
use candid::types::reference::Func;
use candid::types::value::{IDLField, IDLValue};
use candid::{CandidType, Deserialize, Encode, IDLArgs, Principal, Reserved};
use millrace_subnet::{EffectivePrincipal, ErrorCode, Ingress, Query, RejectCode, UserError};
use std::sync::Arc;
use std::time::Duration;

/// Largest request body handed to a canister: an ingress message holds 2 MiB with its other fields.
const REQUEST_BODY_BYTES_MAX: usize = 2_000_000;
/// Most callbacks followed for one streamed response.
const STREAM_CALLBACKS_MAX: usize = 1_000;
/// Largest streamed response.
const STREAM_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long an upgraded request waits for its update call.
const UPDATE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(CandidType, Deserialize)]
struct HttpRequest {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    certificate_version: Option<u16>,
}

#[derive(CandidType, Deserialize)]
struct HttpUpdateRequest {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
}

#[derive(CandidType, Deserialize)]
struct HttpResponse {
    status_code: u16,
    headers: Vec<(String, String)>,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    upgrade: Option<bool>,
    streaming_strategy: Option<Reserved>,
}

/// Answers `request` with what the canister says.
///
/// # Errors
/// [`TextError`] when the request is too large, the canister rejects it, or its reply is no HTTP
/// response.
pub async fn answer(
    instance: &Arc<Instance>,
    canister_id: Principal,
    request: Request<Body>,
) -> Result<Response, TextError> {
    let request = candid_request(request).await?;
    let mut reply = query(instance, canister_id, "http_request", encode(&request)?).await?;
    let mut response = decode(canister_id, "http_request", &reply)?;
    if response.upgrade == Some(true) {
        let update = HttpUpdateRequest {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
        };
        reply = update_call(instance, canister_id, encode(&update)?).await?;
        response = decode(canister_id, "http_request_update", &reply)?;
    }
    if response.streaming_strategy.is_some() {
        let mut body = std::mem::take(&mut response.body);
        follow_stream(instance, canister_id, &reply, &mut body).await?;
        response.body = body;
    }
    http_response(response)
}

async fn candid_request(request: Request<Body>) -> Result<HttpRequest, TextError> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, REQUEST_BODY_BYTES_MAX)
        .await
        .map_err(|e| {
            TextError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "cannot read the request body, at most {REQUEST_BODY_BYTES_MAX} bytes are accepted: {e}"
                ),
            )
        })?;
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect();
    let url = parts
        .uri
        .path_and_query()
        .map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned());
    Ok(HttpRequest {
        method: parts.method.as_str().to_owned(),
        url,
        headers,
        body: body.to_vec(),
        certificate_version: Some(2),
    })
}

async fn query(
    instance: &Arc<Instance>,
    canister_id: Principal,
    method: &str,
    payload: Vec<u8>,
) -> Result<Vec<u8>, TextError> {
    let query = Query {
        sender: Principal::anonymous(),
        canister_id,
        method: method.to_owned(),
        payload,
        effective: EffectivePrincipal::CanisterId(canister_id),
        caller_info: None,
    };
    let reply = instance.run(move |network| network.query(query)).await?;
    reply.map_err(|rejection| rejected(canister_id, &rejection))
}

async fn update_call(
    instance: &Arc<Instance>,
    canister_id: Principal,
    payload: Vec<u8>,
) -> Result<Vec<u8>, TextError> {
    let ingress = Ingress {
        sender: Principal::anonymous(),
        canister_id,
        method: "http_request_update".to_owned(),
        payload,
        effective: EffectivePrincipal::CanisterId(canister_id),
        message_id: None,
        expiry_ns: None,
        caller_info: None,
    };
    instance
        .call(ingress, UPDATE_TIMEOUT)
        .await?
        .map_err(|rejection| rejected(canister_id, &rejection))
}

/// Appends the rest of a streamed response to `body`, calling back until the canister gives no token.
async fn follow_stream(
    instance: &Arc<Instance>,
    canister_id: Principal,
    reply: &[u8],
    body: &mut Vec<u8>,
) -> Result<(), TextError> {
    let bad = |what: &str| bad_reply(canister_id, "http_request", what);
    let response = untyped_record(reply).ok_or_else(|| bad("not a record"))?;
    let strategy = response
        .into_iter()
        .find(|field| is_named(field, "streaming_strategy"))
        .and_then(|field| unwrap_opt(field.val))
        .ok_or_else(|| bad("no streaming strategy"))?;
    let IDLValue::Variant(strategy) = strategy else {
        return Err(bad("the streaming strategy is not a variant"));
    };
    let IDLValue::Record(fields) = strategy.0.val else {
        return Err(bad("the streaming strategy is not a Callback record"));
    };
    let (mut callback, mut token) = (None, None);
    for field in fields {
        if is_named(&field, "callback") {
            callback = Some(field.val);
        } else if is_named(&field, "token") {
            token = Some(field.val);
        }
    }
    let Some(IDLValue::Func(principal, method)) = callback else {
        return Err(bad("the streaming strategy has no callback"));
    };
    let callback = Func { principal, method };
    if callback.principal != canister_id {
        return Err(bad("the streaming callback belongs to another canister"));
    }
    for _ in 0..STREAM_CALLBACKS_MAX {
        let Some(value) = token.take() else {
            return Ok(());
        };
        let payload = IDLArgs::new(&[value])
            .to_bytes()
            .map_err(|e| bad(&format!("the streaming token cannot be sent back: {e}")))?;
        let reply = query(instance, canister_id, &callback.method, payload).await?;
        let chunk = untyped_record(&reply).ok_or_else(|| bad("a chunk is not a record"))?;
        for field in chunk {
            if is_named(&field, "body") {
                body.extend_from_slice(
                    &bytes(field.val).ok_or_else(|| bad("a chunk has no body"))?,
                );
            } else if is_named(&field, "token") {
                token = unwrap_opt(field.val);
            }
        }
        if body.len() > STREAM_BYTES_MAX {
            return Err(bad(&format!(
                "the streamed body exceeds {STREAM_BYTES_MAX} bytes"
            )));
        }
    }
    Err(bad(&format!(
        "the stream does not end after {STREAM_CALLBACKS_MAX} callbacks"
    )))
}

fn untyped_record(reply: &[u8]) -> Option<Vec<IDLField>> {
    match IDLArgs::from_bytes_with_config(reply, &millrace_vm::candid_quotas(reply.len()))
        .ok()?
        .args
        .into_iter()
        .next()?
    {
        IDLValue::Record(fields) => Some(fields),
        _ => None,
    }
}

fn is_named(field: &IDLField, name: &str) -> bool {
    // An untyped decoder sees the hashes of names only.
    field.id.get_id() == candid::idl_hash(name)
}

fn unwrap_opt(value: IDLValue) -> Option<IDLValue> {
    match value {
        IDLValue::Opt(inner) => Some(*inner),
        _ => None,
    }
}

fn bytes(value: IDLValue) -> Option<Vec<u8>> {
    match value {
        IDLValue::Blob(bytes) => Some(bytes),
        IDLValue::Vec(items) => items
            .into_iter()
            .map(|item| match item {
                IDLValue::Nat8(byte) => Some(byte),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn encode<T: CandidType>(request: &T) -> Result<Vec<u8>, TextError> {
    Encode!(request).map_err(|e| TextError::new(StatusCode::BAD_REQUEST, e.to_string()))
}

fn decode(canister_id: Principal, method: &str, reply: &[u8]) -> Result<HttpResponse, TextError> {
    millrace_vm::decode_candid::<HttpResponse>(reply)
        .map_err(|e| bad_reply(canister_id, method, &e.to_string()))
}

fn http_response(response: HttpResponse) -> Result<Response, TextError> {
    // An informational status announces another response, which never comes.
    let final_status = StatusCode::from_u16(response.status_code)
        .ok()
        .filter(|status| !status.is_informational());
    let status = final_status.ok_or_else(|| {
        TextError::new(
            StatusCode::BAD_GATEWAY,
            format!(
                "the canister answered with the HTTP status {}, which is no status of a response",
                response.status_code
            ),
        )
    })?;
    let mut http = Response::new(Body::from(response.body));
    *http.status_mut() = status;
    for (name, value) in response.headers {
        let hop_by_hop = ["connection", "content-length", "transfer-encoding"]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own));
        // A header that HTTP cannot carry is left out rather than failing the whole page.
        if let (false, Ok(name), Ok(value)) = (
            hop_by_hop,
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(&value),
        ) {
            http.headers_mut().append(name, value);
        }
    }
    Ok(http)
}

fn bad_reply(canister_id: Principal, method: &str, what: &str) -> TextError {
    TextError::new(
        StatusCode::BAD_GATEWAY,
        format!(
            "canister {canister_id} answered {method} with something that is no HTTP response: {what}"
        ),
    )
}

fn rejected(canister_id: Principal, rejection: &UserError) -> TextError {
    let status = match (rejection.code, rejection.reject_code()) {
        (ErrorCode::CanisterMethodNotFound | ErrorCode::CanisterWasmModuleNotFound, _) => {
            StatusCode::NOT_IMPLEMENTED
        }
        (_, RejectCode::DestinationInvalid) => StatusCode::NOT_FOUND,
        (_, RejectCode::SysTransient | RejectCode::SysUnknown) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    TextError::new(
        status,
        format!(
            "canister {canister_id} cannot answer over HTTP: {} ({})",
            rejection.message,
            rejection.code.name()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_final_status_becomes_a_response() {
        for (status_code, accepted) in [
            (99, false),
            (100, false),
            (101, false),
            (199, false),
            (200, true),
            (404, true),
            (999, true),
            (1_000, false),
        ] {
            let response = http_response(HttpResponse {
                status_code,
                headers: Vec::new(),
                body: Vec::new(),
                upgrade: None,
                streaming_strategy: None,
            });
            assert_eq!(response.is_ok(), accepted, "{status_code}");
        }
    }
}
