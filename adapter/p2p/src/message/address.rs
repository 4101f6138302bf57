//! Addresses in messages: `addr`, and `addrv2` of BIP155.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::PayloadError;
use super::reader::Reader;
use super::{KnownAddress, MAX_ADDRESSES};
use crate::address::{Host, PeerAddress};

/// Bytes of an address of any network (BIP155).
const MAX_ADDRESS_BYTES: usize = 512;

/// BIP155's numbers of networks.
const IPV4: u8 = 1;
const IPV6: u8 = 2;
const ONION: u8 = 4;
const I2P: u8 = 5;
const CJDNS: u8 = 6;

/// Prefixes of IPv6 addresses that stand for something else: an onion service of version 2, which
/// exist no more, and a name inside of Bitcoin Core.
const ONION_CAT: [u8; 6] = [0xfd, 0x87, 0xd8, 0x7e, 0xeb, 0x43];
const INTERNAL: [u8; 6] = [0xfd, 0x6b, 0x88, 0xc0, 0x87, 0x24];

/// Reads an `addr` payload.
pub(super) fn decode_v1(reader: &mut Reader<'_>) -> Result<Vec<KnownAddress>, PayloadError> {
    let count = reader.count(MAX_ADDRESSES, "number of addresses")?;
    let mut known = Vec::new();
    for _ in 0..count {
        let time = reader.u32("time of an address")?;
        let services = reader.u64("services of an address")?;
        let address = Ipv6Addr::from(reader.array("address")?);
        let port = u16::from_be_bytes(reader.array("port")?);
        keep(&mut known, time, services, usable(address), port);
    }
    Ok(known)
}

/// Reads an `addrv2` payload (BIP155).
pub(super) fn decode_v2(reader: &mut Reader<'_>) -> Result<Vec<KnownAddress>, PayloadError> {
    let count = reader.count(MAX_ADDRESSES, "number of addresses")?;
    let mut known = Vec::new();
    for _ in 0..count {
        let time = reader.u32("time of an address")?;
        let services = reader.number("services of an address")?;
        let host = host_v2(reader)?;
        let port = u16::from_be_bytes(reader.array("port")?);
        keep(&mut known, time, services, host, port);
    }
    Ok(known)
}

/// Reads network and address. Kinds that nobody here can connect to are `None`.
fn host_v2(reader: &mut Reader<'_>) -> Result<Option<Host>, PayloadError> {
    let [network] = reader.array("network of an address")?;
    let length = reader.count(MAX_ADDRESS_BYTES, "length of an address")?;
    let expected = match network {
        IPV4 => 4,
        IPV6 | CJDNS => 16,
        ONION | I2P => 32,
        // Networks of the future are passed over (BIP155).
        _ => length,
    };
    if length != expected {
        return Err(PayloadError::AddressLength {
            network,
            length: length as u64,
            expected: expected as u64,
        });
    }
    let bytes = reader.bytes(length, "address")?;
    Ok(match network {
        IPV4 => bytes
            .first_chunk::<4>()
            .and_then(|bytes| usable(Ipv4Addr::from(*bytes).to_ipv6_mapped())),
        IPV6 => bytes.first_chunk::<16>().and_then(|bytes| {
            let address = Ipv6Addr::from(*bytes);
            // IPv4 has a number of its own: such an address is to be passed over (BIP155).
            usable(address).filter(|host| matches!(host, Host::V6(_)))
        }),
        ONION => bytes.first_chunk().map(|key| Host::Onion(*key)),
        _ => None,
    })
}

/// Returns the host of an IPv6 address, or of the IPv4 address in it.
fn usable(address: Ipv6Addr) -> Option<Host> {
    let octets = address.octets();
    if octets.starts_with(&ONION_CAT) || octets.starts_with(&INTERNAL) {
        return None;
    }
    let PeerAddress { host, .. } = PeerAddress::from((IpAddr::V6(address), 0));
    let nowhere = match host {
        Host::V4(address) => address.is_unspecified() || address.is_broadcast(),
        Host::V6(address) => address.is_unspecified(),
        Host::Onion(_) => false,
    };
    (!nowhere).then_some(host)
}

fn keep(known: &mut Vec<KnownAddress>, time: u32, services: u64, host: Option<Host>, port: u16) {
    if let Some(host) = host.filter(|_| port != 0) {
        known.push(KnownAddress {
            time,
            services,
            address: PeerAddress { host, port },
        });
    }
}

/// Writes the entry of an `addrv2` payload (BIP155).
pub(super) fn encode_v2(known: &KnownAddress, out: &mut Vec<u8>) {
    out.extend_from_slice(&known.time.to_le_bytes());
    super::encode::number(known.services, out);
    match known.address.host {
        Host::V4(address) => {
            out.extend_from_slice(&[IPV4, 4]);
            out.extend_from_slice(&address.octets());
        }
        Host::V6(address) => {
            out.extend_from_slice(&[IPV6, 16]);
            out.extend_from_slice(&address.octets());
        }
        Host::Onion(key) => {
            out.extend_from_slice(&[ONION, 32]);
            out.extend_from_slice(&key);
        }
    }
    out.extend_from_slice(&known.address.port.to_be_bytes());
}
