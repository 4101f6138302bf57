//! Where a peer can be reached, and which network it belongs to.

mod group;
mod onion;
mod text;

#[cfg(test)]
pub(crate) mod tests;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bitcoin::p2p::address::AddrV2;
use millrace_core::Network;

pub use group::NetworkGroup;
pub use onion::OnionError;
pub use text::AddressError;

/// Ports below this belong to other services by convention (RFC 6335). Gossip that names one may
/// be meant to make nodes knock at a third party's door.
pub const MIN_GOSSIPED_PORT: u16 = 1_024;

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

/// Returns the port that nodes of a network listen on unless told otherwise.
pub const fn default_port(network: Network) -> u16 {
    match network {
        Network::Mainnet => 8_333,
        Network::Testnet3 => 18_333,
        Network::Testnet4 => 48_333,
        Network::Signet => 38_333,
        Network::Regtest => 18_444,
    }
}

impl PeerAddress {
    /// Reads an address of gossip (BIP155). `None` for the kinds nobody here can connect to: Tor's
    /// former version 2, I2P, CJDNS and kinds not known.
    pub fn from_addr_v2(address: &AddrV2, port: u16) -> Option<Self> {
        match address {
            AddrV2::Ipv4(address) => Some((IpAddr::V4(*address), port).into()),
            AddrV2::Ipv6(address) => Some((IpAddr::V6(*address), port).into()),
            AddrV2::TorV3(key) => Some(Self {
                host: Host::Onion(*key),
                port,
            }),
            AddrV2::TorV2(_) | AddrV2::I2p(_) | AddrV2::Cjdns(_) | AddrV2::Unknown(..) => None,
        }
    }

    /// Returns the host in the form of BIP155.
    pub const fn to_addr_v2(&self) -> AddrV2 {
        match self.host {
            Host::V4(address) => AddrV2::Ipv4(address),
            Host::V6(address) => AddrV2::Ipv6(address),
            Host::Onion(key) => AddrV2::TorV3(key),
        }
    }

    /// Returns whether the host is an onion service, which takes a Tor proxy to reach.
    pub const fn is_onion(&self) -> bool {
        matches!(self.host, Host::Onion(_))
    }

    /// Returns whether an address that a stranger told of may be connected to.
    ///
    /// The host must be one of the public internet, or an onion service, and the port at least
    /// [`MIN_GOSSIPED_PORT`]. On regtest, whose nodes live on one machine, every host but the
    /// meaningless ones will do. Addresses that the user configured need not be asked about.
    pub fn may_be_dialled(&self, network: Network) -> bool {
        if network == Network::Regtest {
            return self.port != 0 && !is_meaningless(self.host);
        }
        self.port >= MIN_GOSSIPED_PORT && is_public(self.host)
    }
}

/// Returns whether no connection to the host can exist, anywhere.
const fn is_meaningless(host: Host) -> bool {
    match host {
        Host::V4(address) => {
            address.is_unspecified() || address.is_multicast() || address.is_broadcast()
        }
        Host::V6(address) => address.is_unspecified() || address.is_multicast(),
        Host::Onion(_) => false,
    }
}

const fn is_public(host: Host) -> bool {
    match host {
        Host::V4(address) => is_public_v4(address),
        Host::V6(address) => is_public_v6(address),
        Host::Onion(_) => true,
    }
}

/// Leaves out the special-purpose blocks of IANA's registry (RFC 6890 and its successors).
const fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    !matches!(
        (first, second, third),
        // This network, private, loopback, link local.
        (0 | 10 | 127, _, _) | (172, 16..=31, _) | (192, 168, _) | (169, 254, _)
        // Carrier-grade translation, benchmarks.
        | (100, 64..=127, _) | (198, 18..=19, _)
        // Protocol assignments, former 6to4 relays.
        | (192, 0, 0) | (192, 88, 99)
        // Documentation.
        | (192, 0, 2) | (198, 51, 100) | (203, 0, 113)
        // Multicast, reserved, broadcast.
        | (224..=255, _, _)
    )
}

/// Takes global unicast (`2000::/3`, RFC 4291) without the special-purpose blocks in it.
///
/// 6to4 and Teredo are among those: both carry an IPv4 address, so whoever has one of those would
/// own whole IPv6 prefixes, and both are retired.
const fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    !matches!(
        (first, second),
        // Outside 2000::/3: loopback, mapped, translated, local, link local, multicast.
        (0..=0x1fff | 0x4000..=0xffff, _)
        // Protocol assignments: Teredo, benchmarks, ORCHID.
        | (0x2001, 0..=0x01ff)
        // Documentation.
        | (0x2001, 0x0db8) | (0x3fff, 0..=0x0fff)
        // 6to4.
        | (0x2002, _)
    )
}
