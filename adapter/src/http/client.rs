//! Asks a running adapter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

/// How long an adapter on this machine may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer, at most.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a running adapter did not tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("no adapter answers at metrics_address {address}: {reason}; is `adapter run` running?")]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// What the network says.
        reason: String,
    },
    /// Somebody else answers.
    #[error("what answers at metrics_address {address} is no adapter: {reason}")]
    NoAdapter {
        /// The address.
        address: SocketAddr,
        /// What it answered.
        reason: String,
    },
}

/// Fetches `/status` or `/peers` of the adapter that listens at an address. One that listens everywhere is asked
/// on this machine.
///
/// # Errors
/// [`ClientError`].
pub async fn fetch(address: SocketAddr, path: &str) -> Result<Value, ClientError> {
    let asked = SocketAddr::new(asked_at(address.ip()), address.port());
    let unreachable = |error: reqwest::Error| ClientError::Unreachable {
        address,
        reason: innermost(&error),
    };
    let no_adapter = |reason: String| ClientError::NoAdapter { address, reason };
    // A proxy of the environment is not meant for this.
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
    let client = client.build().map_err(unreachable)?;
    let request = client.get(format!("http://{asked}{path}"));
    let mut response = request.send().await.map_err(unreachable)?;
    if !response.status().is_success() {
        return Err(no_adapter(format!(
            "it answers {path} with {}",
            response.status()
        )));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(no_adapter(format!(
                "{path} has more than {ANSWER_BYTES_MAX} bytes"
            )));
        }
    }
    let value: Value =
        serde_json::from_slice(&body).map_err(|error| no_adapter(error.to_string()))?;
    match value.get("source") {
        Some(_) => Ok(value),
        None => Err(no_adapter(format!("{path} names no source"))),
    }
}

const fn asked_at(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    }
}

/// Returns the words of the error at the bottom, which name the reason; those above repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
