//! Which addresses are likely to be in one hand.

use super::{Host, PeerAddress};

/// A part of the address space that one operator is likely to hold as a whole.
///
/// Connections go to different groups, and the address book gives each a bounded share, so that
/// many addresses of one provider weigh little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkGroup {
    /// The first 16 bits of an IPv4 address.
    V4([u8; 2]),
    /// The first 32 bits of an IPv6 address.
    V6([u8; 4]),
    /// The first 4 bits of an onion service's key. Keys cost nothing, so all onion services
    /// together are given no more than sixteen groups.
    Onion(u8),
}

impl PeerAddress {
    /// Returns the group that the host belongs to; ports make no difference.
    pub const fn group(&self) -> NetworkGroup {
        match self.host {
            Host::V4(address) => {
                let [first, second, _, _] = address.octets();
                NetworkGroup::V4([first, second])
            }
            Host::V6(address) => {
                let [first, second, third, fourth, ..] = address.octets();
                NetworkGroup::V6([first, second, third, fourth])
            }
            Host::Onion([first, ..]) => NetworkGroup::Onion(first >> 4),
        }
    }
}

impl NetworkGroup {
    /// Returns a form of five bytes that differs between groups: the kind, and its bits.
    pub const fn to_bytes(self) -> [u8; 5] {
        match self {
            Self::V4([first, second]) => [4, first, second, 0, 0],
            Self::V6([first, second, third, fourth]) => [6, first, second, third, fourth],
            Self::Onion(bits) => [7, bits, 0, 0, 0],
        }
    }

    /// Reads what [`Self::to_bytes`] writes; `None` for anything else.
    pub const fn from_bytes(bytes: [u8; 5]) -> Option<Self> {
        match bytes {
            [4, first, second, 0, 0] => Some(Self::V4([first, second])),
            [6, first, second, third, fourth] => Some(Self::V6([first, second, third, fourth])),
            [7, bits @ 0..=15, 0, 0, 0] => Some(Self::Onion(bits)),
            _ => None,
        }
    }
}
