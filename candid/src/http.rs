//! The IC's HTTP gateway interface, as far as this canister uses it.

use candid::CandidType;
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// Name and value of a header.
pub type HttpHeader = (String, String);

/// A request as the gateway passes it on.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Path and query string.
    pub url: String,
    /// The HTTP method, upper case.
    pub method: String,
    /// The body, empty if there is none.
    pub body: ByteBuf,
    /// Headers in the order received.
    pub headers: Vec<HttpHeader>,
}

/// The answer to a request.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The body.
    pub body: ByteBuf,
    /// Headers.
    pub headers: Vec<HttpHeader>,
    /// The HTTP status.
    pub status_code: u16,
}
