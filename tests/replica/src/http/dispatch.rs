//! Finds the operation that a path of the IC HTTP interface means.

use super::api::{self, CallMode, REQUEST_BYTES_MAX};
use super::errors::TextError;
use crate::instance::Instance;
use crate::instance::state_tree::Scope;
use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use candid::Principal;
use std::sync::Arc;

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Status,
    Call(Scope, CallMode),
    Query(Scope),
    ReadState(Scope),
}

/// Answers a request for `/api/<path>`.
pub async fn answer(instance: &Arc<Instance>, method: Method, path: &str, body: Body) -> Response {
    match try_answer(instance, method, path, body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn try_answer(
    instance: &Arc<Instance>,
    method: Method,
    path: &str,
    body: Body,
) -> Result<Response, TextError> {
    let operation = operation(path)?;
    let expected = if operation == Operation::Status {
        Method::GET
    } else {
        Method::POST
    };
    if method != expected {
        return Err(TextError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("/api/{path} takes {expected}, not {method}"),
        ));
    }
    match operation {
        Operation::Status => Ok(api::status(instance)),
        Operation::Call(scope, mode) => {
            api::call(instance, scope, mode, bounded(body).await?).await
        }
        Operation::Query(scope) => api::query(instance, scope, bounded(body).await?).await,
        Operation::ReadState(scope) => api::read_state(instance, scope, bounded(body).await?).await,
    }
}

fn operation(path: &str) -> Result<Operation, TextError> {
    let unknown = || {
        TextError::new(
            StatusCode::NOT_FOUND,
            format!("/api/{path} is not part of the IC HTTP interface this replica serves"),
        )
    };
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let (version, scope, name) = match segments.as_slice() {
        ["v2", "status"] => return Ok(Operation::Status),
        [version @ ("v2" | "v3" | "v4"), "canister", id, name] => {
            (*version, Scope::Canister(principal(id)?), *name)
        }
        [version @ ("v2" | "v3" | "v4"), "subnet", id, name] => {
            (*version, Scope::Subnet(principal(id)?), *name)
        }
        _ => return Err(unknown()),
    };
    match (name, version) {
        ("call", "v2") => Ok(Operation::Call(scope, CallMode::Asynchronous)),
        ("call", _) => Ok(Operation::Call(scope, CallMode::Synchronous)),
        ("query", _) => Ok(Operation::Query(scope)),
        ("read_state", _) => Ok(Operation::ReadState(scope)),
        _ => Err(unknown()),
    }
}

fn principal(text: &str) -> Result<Principal, TextError> {
    Principal::from_text(text).map_err(|e| {
        TextError::new(
            StatusCode::BAD_REQUEST,
            format!("{text:?} in the URL is not a principal: {e}"),
        )
    })
}

async fn bounded(body: Body) -> Result<Bytes, TextError> {
    axum::body::to_bytes(body, REQUEST_BYTES_MAX)
        .await
        .map_err(|e| {
            TextError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "cannot read the request, at most {REQUEST_BYTES_MAX} bytes are accepted: {e}"
                ),
            )
        })
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
