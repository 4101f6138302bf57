//! Addresses and the scripts they name.

use std::fmt;
use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::{Address, Script, ScriptBuf};

use crate::network::Network;

/// Longest address text looked at, in bytes. BIP173 allows 90 characters, base58 ones are shorter.
pub const MAX_ADDRESS_BYTES: usize = 90;

/// SHA-256 of an output script: the key under which a script's coins are found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScriptHash([u8; 32]);

impl ScriptHash {
    /// Returns the hash of `script`.
    pub fn of(script: &Script) -> Self {
        Self(sha256::Hash::hash(script.as_bytes()).to_byte_array())
    }

    /// Wraps a hash computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes in hashing order.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ScriptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ScriptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScriptHash({self})")
    }
}

/// Why an address names no script here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The text is no Bitcoin address.
    #[error("malformed address {address:?}: {reason}; check for typing errors")]
    Malformed {
        /// The text, cut to [`MAX_ADDRESS_BYTES`].
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address belongs to another network.
    #[error("address {address} does not belong to {expected}")]
    WrongNetwork {
        /// The address.
        address: String,
        /// The network it was checked against.
        expected: Network,
    },
}

/// Returns the script an address names on `network`.
///
/// P2PKH, P2SH and every witness version (BIP141, BIP350) are accepted. Test networks share
/// their base58 prefixes, so such addresses pass on all of them; bech32 ones must carry the
/// network's own prefix (`tb` for testnets and signet, `bcrt` for regtest).
///
/// # Errors
/// [`AddressError`] tells malformed text from another network's address.
pub fn script_of_address(address: &str, network: Network) -> Result<ScriptBuf, AddressError> {
    if address.len() > MAX_ADDRESS_BYTES {
        return Err(AddressError::Malformed {
            address: cut(address),
            reason: format!(
                "it has {} bytes, an address has at most {MAX_ADDRESS_BYTES}",
                address.len()
            ),
        });
    }
    let parsed = Address::<NetworkUnchecked>::from_str(address).map_err(|error| {
        AddressError::Malformed {
            address: address.to_owned(),
            reason: error.to_string(),
        }
    })?;
    if !parsed.is_valid_for_network(network.to_bitcoin()) {
        return Err(AddressError::WrongNetwork {
            address: address.to_owned(),
            expected: network,
        });
    }
    Ok(parsed.assume_checked().script_pubkey())
}

/// Returns the address that names `script` on `network`, or `None` when the script has no address
/// form (pay-to-pubkey, bare multisig, anything non-standard).
pub fn address_of_script(script: &Script, network: Network) -> Option<String> {
    Address::from_script(script, network.params())
        .ok()
        .map(|address| address.to_string())
}

/// Cuts text at a character boundary so that an error does not echo megabytes.
fn cut(text: &str) -> String {
    text.chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= MAX_ADDRESS_BYTES).then_some(c)
        })
        .collect()
}
