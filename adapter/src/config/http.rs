//! Settings of what is served over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::file::File;
use super::{ConfigError, given, in_range};
use crate::cli::HttpArgs;

/// Blocks the canister may be behind, unless set otherwise: as many as the official Bitcoin canister allows
/// itself before it counts as not synced.
const HEALTHY_LAG_BLOCKS: u32 = 2;

/// Seconds it may be further behind, unless set otherwise.
const HEALTHY_LAG_SECONDS: u64 = 300;

/// What a running adapter serves over HTTP, and when it calls itself healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where it listens; nowhere if absent.
    pub address: Option<SocketAddr>,
    /// Blocks the canister may be behind.
    pub healthy_lag_blocks: u32,
    /// How long it may be further behind, or say nothing.
    pub healthy_lag: Duration,
}

/// Merges the settings of what is served over HTTP.
///
/// # Errors
/// [`ConfigError`] names the setting and what to do.
pub fn http_settings(args: &HttpArgs, config: Option<&Path>) -> Result<HttpSettings, ConfigError> {
    merge(args, &File::load(config)?)
}

pub(super) fn merge(args: &HttpArgs, file: &File) -> Result<HttpSettings, ConfigError> {
    let address = args.metrics_address.clone();
    let address = given(address.or_else(|| file.metrics_address.clone()));
    let seconds = args.healthy_lag_seconds.or(file.healthy_lag_seconds);
    let seconds = seconds.unwrap_or(HEALTHY_LAG_SECONDS);
    in_range("healthy_lag_seconds", seconds, 1, u64::MAX)?;
    let blocks = args.healthy_lag_blocks.or(file.healthy_lag_blocks);
    Ok(HttpSettings {
        address: address.map(parse_address).transpose()?,
        healthy_lag_blocks: blocks.unwrap_or(HEALTHY_LAG_BLOCKS),
        healthy_lag: Duration::from_secs(seconds),
    })
}

fn parse_address(text: String) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::BadAddress {
        name: "metrics_address",
        text,
        reason: "it takes an IP address and a port".to_owned(),
        example: "127.0.0.1:9332, or [::]:9332 for every interface",
    })
}
