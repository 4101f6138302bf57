//! HTTP answers for everything that is refused: plain text for the IC interface, JSON for PocketIC.

use crate::authentication::envelope::AuthError;
use crate::instance::InstanceError;
use crate::instance::state_tree::ReadStateError;
use crate::pocketic::types::ApiErrorBody;
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_subnet::NetworkError;

/// An error of the IC HTTP interface: a status and a text for people.
#[derive(Debug)]
pub struct TextError {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong and what to do.
    pub message: String,
}

impl TextError {
    /// Returns an error with this status and text.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl IntoResponse for TextError {
    fn into_response(self) -> Response {
        (
            self.status,
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            self.message,
        )
            .into_response()
    }
}

impl From<AuthError> for TextError {
    fn from(error: AuthError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<ReadStateError> for TextError {
    fn from(error: ReadStateError) -> Self {
        let status = match error {
            ReadStateError::Forbidden(_) => StatusCode::FORBIDDEN,
            ReadStateError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ReadStateError::NotFound(_) => StatusCode::NOT_FOUND,
        };
        Self::new(status, error.to_string())
    }
}

impl From<InstanceError> for TextError {
    fn from(error: InstanceError) -> Self {
        Self::new(instance_status(&error), error.to_string())
    }
}

/// An error of the PocketIC protocol: a status and `{"message": …}`.
#[derive(Debug)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// What is wrong and what to do.
    pub message: String,
}

impl ApiError {
    /// Returns a refusal of the request as it is (HTTP 400).
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Returns an error with this status and message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ApiErrorBody {
            message: self.message,
        };
        (self.status, Json(body)).into_response()
    }
}

impl From<InstanceError> for ApiError {
    fn from(error: InstanceError) -> Self {
        Self::new(instance_status(&error), error.to_string())
    }
}

impl From<NetworkError> for ApiError {
    fn from(error: NetworkError) -> Self {
        InstanceError::Network(error).into()
    }
}

fn instance_status(error: &InstanceError) -> StatusCode {
    match error {
        InstanceError::Network(NetworkError::SavedState { .. } | NetworkError::Crashed(_))
        | InstanceError::StateDir(_)
        | InstanceError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        InstanceError::Network(_)
        | InstanceError::AutoProgressEnabled
        | InstanceError::Config(_) => StatusCode::BAD_REQUEST,
        InstanceError::Deleted => StatusCode::NOT_FOUND,
    }
}
