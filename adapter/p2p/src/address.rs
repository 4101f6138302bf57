//! Where a peer can be reached, and which network it belongs to.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a connection is made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// The public key of a Tor onion service, version 3 (BIP155).
    Onion([u8; 32]),
}

/// Where a peer can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// The host.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
}

impl From<(IpAddr, u16)> for PeerAddress {
    /// Makes an IPv4 address of one that is written as IPv6 (`::ffff:0:0/96`).
    fn from((address, port): (IpAddr, u16)) -> Self {
        let host = match address.to_canonical() {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6(address),
        };
        Self { host, port }
    }
}
