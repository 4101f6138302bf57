//! Request parts every PocketIC route needs: a bounded JSON body and the instance of the URL.

use super::server::Server;
use super::types::InstanceId;
use crate::http::errors::ApiError;
use crate::instance::Instance;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Largest JSON body. The largest honest one holds an ingress payload in base64.
const JSON_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A JSON body; an empty body reads as `null`.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Server>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &Arc<Server>) -> Result<Self, ApiError> {
        let path = request.uri().path().to_owned();
        let body = bounded(request.into_body(), JSON_BYTES_MAX).await?;
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|e| ApiError::bad_request(format!("cannot parse the body of {path}: {e}")))
    }
}

/// The instance that the URL names.
pub struct OfInstance(pub Arc<Instance>);

impl FromRequestParts<Arc<Server>> for OfInstance {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, server: &Arc<Server>) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, server)
            .await
            .map_err(|e| ApiError::bad_request(e.to_string()))?;
        let id = params
            .iter()
            .find_map(|(name, value)| (name == "instance").then_some(value))
            .unwrap_or_default();
        server.instances.get(instance_id(id)?).map(Self)
    }
}

/// Returns the instance index that a URL segment spells.
///
/// # Errors
/// HTTP 400 naming the segment.
pub fn instance_id(text: &str) -> Result<InstanceId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::bad_request(format!("{text:?} is not an instance id")))
}

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// HTTP 413 naming the bound.
pub async fn bounded(body: Body, max: usize) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, max).await.map_err(|e| {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("cannot read the body, at most {max} bytes are accepted: {e}"),
        )
    })
}
