//! Addresses as people write them.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use millrace_core::Network;

use super::{Host, OnionError, PeerAddress, default_port, onion};

/// Characters of an address, at most: the longest, an onion service with a port, has 68.
const MAX_TEXT_LENGTH: usize = 100;

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is none of the forms.
    #[error(
        "{text:?} is no address: write 192.0.2.1:8333, [2001:db8::1]:8333 or a .onion name, the port may be left out"
    )]
    Form {
        /// The beginning of the text.
        text: String,
    },
    /// What follows the colon is no port.
    #[error("{text:?} is no port of an address: write a number from 1 to 65535")]
    Port {
        /// The beginning of the text.
        text: String,
    },
    /// The name before `.onion` is no service.
    #[error("{text:?} is no onion service: {error}")]
    Onion {
        /// The beginning of the text.
        text: String,
        /// What is wrong.
        error: OnionError,
    },
}

impl PeerAddress {
    /// Reads `192.0.2.1:8333`, `[2001:db8::1]:8333`, `2001:db8::1` or `name.onion:8333`. Without a
    /// port, the network's own is meant.
    ///
    /// Names other than `.onion` are no addresses: who may resolve them is asked first.
    ///
    /// # Errors
    /// [`AddressError`] when the text is of another form.
    pub fn parse(text: &str, network: Network) -> Result<Self, AddressError> {
        if text.len() > MAX_TEXT_LENGTH {
            return Err(AddressError::Form {
                text: beginning(text),
            });
        }
        // An IPv6 address without brackets has colons of its own.
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok((IpAddr::V6(address), default_port(network)).into());
        }
        let (host, port) = split_port(text);
        let port = match port {
            None => default_port(network),
            Some(port) => parse_port(port)?,
        };
        parse_host(host, port)
    }
}

fn parse_host(host: &str, port: u16) -> Result<PeerAddress, AddressError> {
    let form = || AddressError::Form {
        text: beginning(host),
    };
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner
            .strip_suffix(']')
            .and_then(|inner| inner.parse::<Ipv6Addr>().ok())
            .ok_or_else(form)?;
        return Ok((IpAddr::V6(address), port).into());
    }
    if let Some(name) = strip_onion(host) {
        return match onion::decode(name) {
            Ok(key) => Ok(PeerAddress {
                host: Host::Onion(key),
                port,
            }),
            Err(error) => Err(AddressError::Onion {
                text: beginning(host),
                error,
            }),
        };
    }
    let address = host.parse().map_err(|_| form())?;
    Ok(PeerAddress {
        host: Host::V4(address),
        port,
    })
}

fn strip_onion(host: &str) -> Option<&str> {
    let at = host.len().checked_sub(".onion".len())?;
    let (name, suffix) = host.split_at_checked(at)?;
    suffix.eq_ignore_ascii_case(".onion").then_some(name)
}

/// Splits at the last colon that is not inside brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
    match text.parse() {
        Ok(port) if is_number && port != 0 => Ok(port),
        _ => Err(AddressError::Port {
            text: beginning(text),
        }),
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(MAX_TEXT_LENGTH).collect()
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::V4(address) => write!(f, "{address}:{port}"),
            Host::V6(address) => write!(f, "[{address}]:{port}"),
            Host::Onion(key) => write!(f, "{}.onion:{port}", onion::encode(key)),
        }
    }
}
