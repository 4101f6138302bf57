//! Addresses and the scripts they name.

use std::fmt;
use std::str::FromStr;

use bitcoin::address::NetworkUnchecked;
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::{Address, Script, ScriptBuf};

use crate::causes::with_causes;
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

    /// Returns the hash of a script that is in pieces.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut engine = sha256::Hash::engine();
        for part in parts {
            engine.input(part);
        }
        Self(sha256::Hash::from_engine(engine).to_byte_array())
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

/// Bytes of a script key.
pub const SCRIPT_KEY_BYTES: usize = 20;

/// The first 20 bytes of the SHA-256 of an output script: long enough that nobody finds two
/// scripts with one key, and short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptKey(pub [u8; SCRIPT_KEY_BYTES]);

impl From<&ScriptHash> for ScriptKey {
    fn from(hash: &ScriptHash) -> Self {
        let head = hash.as_bytes().first_chunk();
        Self(head.copied().unwrap_or_default())
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
            reason: with_causes(&error),
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
#[cfg(test)]
pub(crate) fn address_of_script(script: &Script, network: Network) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fixtures::file;

    fn vectors(name: &str) -> Vec<Vec<Value>> {
        serde_json::from_slice(&file(name)).unwrap()
    }

    fn networks(chain: &str) -> &'static [Network] {
        match chain {
            "main" => &[Network::Mainnet],
            "test" => &[Network::Testnet3],
            "testnet4" => &[Network::Testnet4],
            "signet" => &[Network::Signet],
            "regtest" => &[Network::Regtest],
            other => panic!("unknown chain {other}"),
        }
    }

    #[test]
    fn published_addresses_name_their_scripts_and_back() {
        let mut checked = 0;
        for vector in vectors("bitcoin-core/key_io_valid.json") {
            if vector[2]["isPrivkey"] == true {
                continue;
            }
            let address = vector[0].as_str().unwrap();
            let script = ScriptBuf::from_hex(vector[1].as_str().unwrap()).unwrap();
            for network in networks(vector[2]["chain"].as_str().unwrap()) {
                assert_eq!(
                    script_of_address(address, *network).as_ref(),
                    Ok(&script),
                    "{address}"
                );
                let back = address_of_script(&script, *network).unwrap();
                assert_eq!(back, address);
                checked += 1;
            }
            let other = if vector[2]["chain"] == "main" {
                Network::Testnet4
            } else {
                Network::Mainnet
            };
            assert_eq!(
                script_of_address(address, other),
                Err(AddressError::WrongNetwork {
                    address: address.to_owned(),
                    expected: other
                })
            );
        }
        assert!(checked >= 40, "{checked}");
    }

    #[test]
    fn texts_that_are_no_address_are_malformed() {
        let invalid = vectors("bitcoin-core/key_io_invalid.json");
        assert!(invalid.len() >= 60);
        for vector in invalid {
            let text = vector[0].as_str().unwrap();
            for network in Network::ALL {
                assert!(
                    matches!(
                        script_of_address(text, network),
                        Err(AddressError::Malformed { .. })
                    ),
                    "{text} {network}"
                );
            }
        }
    }

    #[test]
    fn test_networks_share_base58_but_not_bech32() {
        let base58 = "mzK2FFDEhxqHcmrJw1ysqFkVyhUULo45hZ";
        for network in Network::ALL {
            assert_eq!(
                script_of_address(base58, network).is_ok(),
                network != Network::Mainnet,
                "{network}"
            );
        }
        let regtest = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
        let testnet = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
        for network in Network::ALL {
            let is_regtest = network == Network::Regtest;
            assert_eq!(script_of_address(regtest, network).is_ok(), is_regtest);
            assert_eq!(
                script_of_address(testnet, network).is_ok(),
                !is_regtest && network != Network::Mainnet
            );
        }
    }

    #[test]
    fn unknown_witness_versions_are_addresses() {
        // BIP350's example of version 16, a program of two bytes.
        let script = script_of_address("bc1sw50qgdz25j", Network::Mainnet).unwrap();
        assert_eq!(script.as_bytes(), [0x60, 2, 0x75, 0x1e]);
        assert_eq!(
            address_of_script(&script, Network::Mainnet).as_deref(),
            Some("bc1sw50qgdz25j")
        );
    }

    #[test]
    fn scripts_without_an_address_form_have_none() {
        let mut pay_to_pubkey = vec![0x41];
        pay_to_pubkey.extend([4; 65]);
        pay_to_pubkey.push(0xac);
        for script in [pay_to_pubkey, vec![], vec![0x6a]] {
            let script = ScriptBuf::from_bytes(script);
            assert_eq!(address_of_script(&script, Network::Mainnet), None);
        }
    }

    #[test]
    fn a_long_text_is_refused_without_echoing_it() {
        let long = "é".repeat(1_000_000);
        let Err(AddressError::Malformed { address, reason }) =
            script_of_address(&long, Network::Mainnet)
        else {
            panic!("it is malformed");
        };
        assert_eq!(address, "é".repeat(45));
        assert!(reason.contains("2000000"), "{reason}");
    }

    #[test]
    fn script_hashes_are_plain_sha256() {
        // SHA-256 of nothing.
        assert_eq!(
            ScriptHash::of(Script::new()).to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
