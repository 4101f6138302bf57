//! The argument of an HTTPS outcall: what it asks for, its bounds, and who performs it.

use crate::error::UserError;
use crate::management::decode;
use candid::{CandidType, Deserialize, Principal};
use ic_management_canister_types::{HttpHeader, TransformContext};

/// Management method of outcalls whose nodes' responses are delivered side by side.
pub(crate) const FLEXIBLE_HTTP_REQUEST: &str = "flexible_http_request";
/// Management method of outcalls with one response.
pub(crate) const HTTP_REQUEST: &str = "http_request";
/// Largest response of an HTTPS outcall, and what is paid for when the call names no limit.
const RESPONSE_BYTES_MAX: u64 = 2_000_000;
/// Longest URL of an HTTPS outcall.
const URL_BYTES_MAX: usize = 8_192;
/// Longest name and longest value of a header.
const HEADER_BYTES_MAX: usize = 8_192;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Most bytes of a request's headers together.
const HEADERS_BYTES_MAX: usize = 48 * 1_024;
/// Most bytes of a request's headers and body together.
const REQUEST_BYTES_MAX: usize = 2_000_000;

/// HTTP method of an outcall.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum OutcallMethod {
    /// `GET`
    #[serde(rename = "get")]
    Get,
    /// `HEAD`
    #[serde(rename = "head")]
    Head,
    /// `POST`
    #[serde(rename = "post")]
    Post,
    /// `PUT`
    #[serde(rename = "put")]
    Put,
    /// `DELETE`
    #[serde(rename = "delete")]
    Delete,
    /// `PATCH`
    #[serde(rename = "patch")]
    Patch,
}

impl OutcallMethod {
    /// Returns the method's name in HTTP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
        }
    }

    const fn changes_the_server(self) -> bool {
        matches!(self, Self::Put | Self::Delete | Self::Patch)
    }
}

/// How many nodes perform a flexible outcall, and how many responses its caller needs and takes.
#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct ReplicationCounts {
    /// Fewest responses of a result; at most `max_responses`.
    pub min_responses: u32,
    /// Most responses of a result; at most `total_requests`.
    pub max_responses: u32,
    /// Nodes that make the request; from 1 to the nodes of the subnet.
    pub total_requests: u32,
}

/// Who performs an outcall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Every node; two thirds of them must agree.
    Full,
    /// One node.
    Single,
    /// A committee, whose responses need not agree.
    Flexible(ReplicationCounts),
}

/// Argument of `http_request` and of `flexible_http_request`, which differ in who performs the outcall
/// only (interface spec, "IC method `http_request`").
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct OutcallArgs {
    /// Address.
    pub url: String,
    /// Largest response in bytes; 2,000,000 when absent.
    pub max_response_bytes: Option<u64>,
    /// HTTP method.
    pub method: OutcallMethod,
    /// Headers.
    pub headers: Vec<HttpHeader>,
    /// Body.
    pub body: Option<Vec<u8>>,
    /// Query of the caller that every node applies to its response.
    pub transform: Option<TransformContext>,
    is_replicated: Option<bool>,
    replication: Option<ReplicationCounts>,
}

impl OutcallArgs {
    /// Decodes and checks what `caller` asks for on a subnet of `nodes` nodes.
    pub(crate) fn check(
        method: &str,
        payload: &[u8],
        caller: &Principal,
        nodes: u32,
    ) -> Result<(Self, Replication), OutcallRefusal> {
        let args: Self = decode(payload).map_err(OutcallRefusal::Argument)?;
        args.check_bounds(caller).map_err(OutcallRefusal::Bounds)?;
        let replication = args
            .replication(method, nodes)
            .map_err(OutcallRefusal::Bounds)?;
        Ok((args, replication))
    }

    /// Returns who performs the outcall.
    ///
    /// # Errors
    /// The IC's text when the counts contradict each other, or the HTTP method.
    pub(crate) fn replication(&self, method: &str, nodes: u32) -> Result<Replication, String> {
        if method != FLEXIBLE_HTTP_REQUEST {
            return match self.is_replicated {
                Some(false) => Ok(Replication::Single),
                _ if self.method.changes_the_server() => Err(
                    "The requested HTTP method is only allowed for non-replicated requests."
                        .to_owned(),
                ),
                _ => Ok(Replication::Full),
            };
        }
        let counts = self.replication.unwrap_or(ReplicationCounts {
            min_responses: nodes.saturating_mul(2) / 3 + 1,
            max_responses: nodes,
            total_requests: nodes,
        });
        let ReplicationCounts {
            min_responses: min,
            max_responses: max,
            total_requests: total,
        } = counts;
        if total < 1 {
            return Err(format!("total_requests ({total}) must be at least 1"));
        }
        if total > nodes {
            return Err(format!(
                "total_requests ({total}) must not exceed the number of available nodes ({nodes})"
            ));
        }
        if min > max {
            return Err(format!(
                "min_responses ({min}) must not exceed max_responses ({max})"
            ));
        }
        if max > total {
            return Err(format!(
                "max_responses ({max}) must not exceed total_requests ({total})"
            ));
        }
        if self.method.changes_the_server() && (min != max || max != total) {
            return Err(format!(
                "{} needs min_responses = max_responses = total_requests, got {min}, {max} and {total}",
                self.method.name()
            ));
        }
        Ok(Replication::Flexible(counts))
    }

    /// Returns the bytes a response may have.
    pub(crate) fn response_bytes_max(&self) -> u64 {
        self.max_response_bytes.unwrap_or(RESPONSE_BYTES_MAX)
    }

    /// Returns the bytes that are charged for.
    pub(crate) fn request_bytes(&self) -> u64 {
        let body = self.body.as_ref().map_or(0, Vec::len);
        let transform = self.transform.as_ref().map_or(0, |transform| {
            transform.function.0.method.len() + transform.context.len()
        });
        (self.url.len() + headers_bytes(&self.headers) + body + transform) as u64
    }

    fn check_bounds(&self, caller: &Principal) -> Result<(), String> {
        let response_bytes = self.response_bytes_max();
        if response_bytes > RESPONSE_BYTES_MAX {
            return Err(format!(
                "max_http_response_bytes expected to be in the range [0..{RESPONSE_BYTES_MAX}], got {response_bytes}"
            ));
        }
        at_most("url size", self.url.len(), URL_BYTES_MAX)?;
        if let Some(transform) = &self.transform
            && transform.function.0.principal != *caller
        {
            return Err(format!(
                "transform principal id expected to be {caller}, got {}",
                transform.function.0.principal
            ));
        }
        at_most(
            "number of all http headers",
            self.headers.len(),
            HEADERS_MAX,
        )?;
        for header in &self.headers {
            let represent = |what| format!("number of bytes to represent some http header {what}");
            at_most(&represent("name"), header.name.len(), HEADER_BYTES_MAX)?;
            at_most(&represent("value"), header.value.len(), HEADER_BYTES_MAX)?;
        }
        let headers = headers_bytes(&self.headers);
        at_most(
            "total number of bytes to represent all http header names and values",
            headers,
            HEADERS_BYTES_MAX,
        )?;
        at_most(
            "total number of bytes to represent all http header names and values and http body",
            headers + self.body.as_ref().map_or(0, Vec::len),
            REQUEST_BYTES_MAX,
        )
    }
}

/// Why an outcall is not made.
pub(crate) enum OutcallRefusal {
    /// The argument does not decode.
    Argument(UserError),
    /// It asks for too much, in the IC's words.
    Bounds(String),
}

/// Returns the bytes of names and values.
pub(crate) fn headers_bytes(headers: &[HttpHeader]) -> usize {
    headers
        .iter()
        .map(|header| header.name.len() + header.value.len())
        .sum()
}

fn at_most(what: &str, value: usize, max: usize) -> Result<(), String> {
    if value > max {
        return Err(format!("{what} {value} exceeds {max}"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "outcall_args_tests.rs"]
mod tests;
