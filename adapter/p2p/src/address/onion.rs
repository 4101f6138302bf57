//! The text form of onion services, version 3 (Tor's `rend-spec-v3`, section 6):
//! `base32(key | checksum | version).onion`, with
//! `checksum = SHA3-256(".onion checksum" | key | version)[..2]`.

use sha3::{Digest, Sha3_256};

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const VERSION: u8 = 3;
const DECODED_BYTES: usize = 35;
/// Characters before `.onion`: eight for every five bytes.
pub(super) const ENCODED_LENGTH: usize = 56;

/// Why a name before `.onion` is no onion service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnionError {
    /// The name has the wrong length; 16 characters were Tor's former version 2.
    #[error("the name has {got} characters, a version 3 onion service has 56")]
    Length {
        /// Characters found.
        got: usize,
    },
    /// A character is not of base32.
    #[error("the character {got:?} is none of a to z and 2 to 7")]
    Character {
        /// The character.
        got: char,
    },
    /// The service is of another version.
    #[error("the service's version is {got}, only 3 is in use")]
    Version {
        /// The version found.
        got: u8,
    },
    /// A character was mistyped.
    #[error("the checksum does not match: a character is wrong")]
    Checksum,
}

fn checksum(key: &[u8; 32]) -> [u8; 2] {
    let digest = Sha3_256::new()
        .chain_update(b".onion checksum")
        .chain_update(key)
        .chain_update([VERSION])
        .finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

/// Returns the name before `.onion`.
pub(super) fn encode(key: &[u8; 32]) -> String {
    let [first, second] = checksum(key);
    let bytes = key.iter().chain([&first, &second, &VERSION]);
    let mut name = String::with_capacity(ENCODED_LENGTH);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            let digit = (bits >> held) & 31;
            name.extend(ALPHABET.get(digit as usize).map(|digit| char::from(*digit)));
        }
        bits &= (1 << held) - 1;
    }
    name
}

/// Reads the name before `.onion`, in either case of letters.
pub(super) fn decode(name: &str) -> Result<[u8; 32], OnionError> {
    let got = name.chars().count();
    if got != ENCODED_LENGTH {
        return Err(OnionError::Length { got });
    }
    let mut bytes = Vec::with_capacity(DECODED_BYTES);
    let (mut bits, mut held) = (0u32, 0u32);
    for character in name.chars() {
        let digit = digit_of(character).ok_or(OnionError::Character { got: character })?;
        bits = (bits << 5) | digit;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held).to_le_bytes()[0]);
        }
        bits &= (1 << held) - 1;
    }
    let (Some(key), Some([first, second, version])) =
        (bytes.first_chunk::<32>(), bytes.last_chunk::<3>())
    else {
        return Err(OnionError::Length { got });
    };
    if *version != VERSION {
        return Err(OnionError::Version { got: *version });
    }
    if [*first, *second] != checksum(key) {
        return Err(OnionError::Checksum);
    }
    Ok(*key)
}

fn digit_of(character: char) -> Option<u32> {
    match character.to_ascii_lowercase() {
        letter @ 'a'..='z' => Some(u32::from(letter) - u32::from('a')),
        number @ '2'..='7' => Some(u32::from(number) - u32::from('2') + 26),
        _ => None,
    }
}
