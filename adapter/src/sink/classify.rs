//! What an agent's error means for the next attempt.

use std::error::Error;

use ic_agent::AgentError;
use ic_agent::agent::{RejectCode, RejectResponse};

use super::SinkError;

/// Longest part of somebody else's text that is repeated in an error, in characters.
const QUOTE_CHARS: usize = 300;

/// Who was called, for messages.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The replica's URL.
    pub url: &'a str,
    /// The canister.
    pub canister: &'a str,
    /// The method.
    pub method: &'static str,
}

/// Maps an agent's error.
pub fn classify(call: &Call<'_>, error: &AgentError) -> SinkError {
    let url = call.url.to_owned();
    let canister = call.canister.to_owned();
    let reason = quote(&error.to_string());
    match error {
        AgentError::TransportError(_) => SinkError::Unreachable {
            url,
            reason: quote(&with_causes(error)),
        },
        AgentError::HttpError(payload) => {
            let reason = quote(&format!(
                "HTTP status {}: {}",
                payload.status,
                String::from_utf8_lossy(&payload.content).trim()
            ));
            // 408 and 429 ask for patience; other 4xx find fault with the request.
            match payload.status {
                408 | 425 | 429 | 500.. => SinkError::Unavailable { url, reason },
                _ => SinkError::BadRequest { url, reason },
            }
        }
        AgentError::CertifiedReject { reject, .. }
        | AgentError::UncertifiedReject { reject, .. } => rejected(call, reject),
        AgentError::CandidError(_) => SinkError::BadAnswer {
            canister,
            method: call.method,
            reason,
        },
        AgentError::CertificateVerificationFailed()
        | AgentError::QuerySignatureVerificationFailed
        | AgentError::CertificateNotAuthorized()
        | AgentError::CertificateHasTooManyDelegations
        | AgentError::MissingSignature
        | AgentError::MalformedSignature
        | AgentError::MalformedPublicKey
        | AgentError::TooManySignatures { .. }
        | AgentError::DerKeyLengthMismatch { .. }
        | AgentError::DerPrefixMismatch { .. } => SinkError::Untrusted { url, reason },
        AgentError::SigningError(_)
        | AgentError::InvalidReplicaUrl(_)
        | AgentError::UrlParseError(_)
        | AgentError::PrincipalError(_) => SinkError::BadRequest { url, reason },
        // Time-outs, and answers that make no sense: a proxy's error page, a replica starting up.
        _ => SinkError::Unavailable { url, reason },
    }
}

fn rejected(call: &Call<'_>, reject: &RejectResponse) -> SinkError {
    let canister = call.canister.to_owned();
    let text = &reject.reject_message;
    let reason = quote(text);
    // The codes of the IC's interface specification; some replicas leave them out.
    match reject.error_code.as_deref() {
        Some("IC0302" | "IC0536") => return no_method(call),
        Some("IC0301" | "IC0305" | "IC0537") => {
            return SinkError::NoCanister { canister, reason };
        }
        Some("IC0508" | "IC0509") => return SinkError::CanisterFailed { canister, reason },
        _ => {}
    }
    if text.contains("has no query method") || text.contains("has no update method") {
        return no_method(call);
    }
    match reject.reject_code {
        RejectCode::SysTransient => SinkError::Unavailable {
            url: call.url.to_owned(),
            reason,
        },
        RejectCode::DestinationInvalid => SinkError::NoCanister { canister, reason },
        RejectCode::SysFatal => SinkError::BadRequest {
            url: call.url.to_owned(),
            reason,
        },
        RejectCode::CanisterReject | RejectCode::CanisterError => {
            SinkError::CanisterFailed { canister, reason }
        }
    }
}

fn no_method(call: &Call<'_>) -> SinkError {
    SinkError::NoMethod {
        canister: call.canister.to_owned(),
        method: call.method.to_owned(),
    }
}

/// Returns an error's text with those of its causes, which carry the useful part.
fn with_causes(error: &AgentError) -> String {
    let mut text = error.to_string();
    let mut cause: Option<&dyn Error> = match error {
        AgentError::TransportError(ic_agent::agent_error::TransportError::Reqwest(error)) => {
            error.source()
        }
        _ => None,
    };
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Returns a text on one line and of bounded length.
fn quote(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(QUOTE_CHARS) {
        line.truncate(end);
        line.push('…');
    }
    line
}
