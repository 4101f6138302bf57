//! Hosts and ports in settings.

use std::fmt;

use super::ConfigError;

/// Most characters of a host: a name of the DNS has at most 253.
const HOST_LENGTH_MAX: usize = 253;

/// A host with a port: an address, a name, or an onion service. Names are looked up when they are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// An IPv4 or IPv6 address without brackets, a name, or an onion service with `.onion`.
    pub host: String,
    /// The TCP port, never 0.
    pub port: u16,
}

impl HostPort {
    /// Reads `host`, `host:port`, `[IPv6]` or `[IPv6]:port`; an IPv6 address may stand alone. `name` is the
    /// setting, for errors.
    ///
    /// # Errors
    /// [`ConfigError::BadAddress`].
    pub fn parse(
        name: &'static str,
        text: &str,
        default_port: Option<u16>,
        example: &'static str,
    ) -> Result<Self, ConfigError> {
        let bad = |reason: String| ConfigError::BadAddress {
            name,
            text: text.to_owned(),
            reason,
            example,
        };
        let (host, port) = split(text.trim()).map_err(bad)?;
        check_host(host).map_err(bad)?;
        let port = match port {
            Some(port) => port
                .parse()
                .map_err(|_| bad(format!("port {port:?} is not 1 to 65535")))?,
            None => default_port.ok_or_else(|| bad("it has no port".to_owned()))?,
        };
        if port == 0 {
            return Err(bad("port 0 cannot be connected to".to_owned()));
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Returns whether the host is a name that the DNS must be asked for.
    pub fn is_name(&self) -> bool {
        !self.is_onion() && self.host.parse::<std::net::IpAddr>().is_err()
    }

    /// Returns whether the host is an onion service.
    pub fn is_onion(&self) -> bool {
        self.host.ends_with(".onion")
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Parts host and port.
fn split(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .ok_or_else(|| "the bracket is not closed".to_owned())?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("{host:?} in brackets is no IPv6 address"));
        }
        return match port.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if port.is_empty() => Ok((host, None)),
            None => Err(format!("{port:?} follows the bracket")),
        };
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    Ok(text
        .rsplit_once(':')
        .map_or((text, None), |(host, port)| (host, Some(port))))
}

fn check_host(host: &str) -> Result<(), String> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    if host.is_empty() {
        return Err("it has no host".to_owned());
    }
    let is_name = |character: char| character.is_ascii_alphanumeric() || "-._".contains(character);
    if let Some(odd) = host.chars().find(|character| !is_name(*character)) {
        return Err(format!("{odd:?} is in no host's name"));
    }
    if host.len() > HOST_LENGTH_MAX {
        return Err(format!("a name has at most {HOST_LENGTH_MAX} characters"));
    }
    if host
        .chars()
        .all(|character| character.is_ascii_digit() || character == '.')
    {
        return Err(format!("{host:?} is no IPv4 address"));
    }
    check_onion(host)
}

/// Checks what can be seen of an onion service without its key: version 3 has 56 digits of base 32.
fn check_onion(host: &str) -> Result<(), String> {
    const DIGITS: usize = 56;
    let lower = host.to_ascii_lowercase();
    let Some(digits) = lower.strip_suffix(".onion") else {
        return Ok(());
    };
    let is_digit = |character: char| matches!(character, 'a'..='z' | '2'..='7');
    if digits.len() == DIGITS && digits.chars().all(is_digit) {
        return Ok(());
    }
    Err("an onion service of version 3 has 56 letters and digits before .onion".to_owned())
}
