//! Short forms of output scripts: what all scripts of a kind share is not stored.
//!
//! ```text
//! form 0  length varint, bytes       any script of up to 128 bytes
//!      1  20 bytes                   P2PKH
//!      2  20 bytes                   P2SH
//!      3  20 bytes                   P2WPKH
//!      4  32 bytes                   P2WSH
//!      5  32 bytes                   P2TR
//!      6  33 bytes                   P2PK, compressed key
//!      7  offset u64, length varint  in the run's overflow area
//! ```

use bitcoin::{Script, ScriptBuf};
use millrace_core::delta::MAX_SCRIPT_BYTES;
use millrace_core::scan::Lock;
use millrace_core::script::{ScriptHash, ScriptKey};

use super::number::{Input, put_varint};
use crate::StoreError;

/// Longest script inside a leaf, in bytes; longer ones go to the overflow area, so that no entry
/// leaves much of a leaf empty.
pub const MAX_INLINE_BYTES: usize = 128;

/// Longest encoded form in bytes: a length and an inline script.
pub const MAX_FORM_BYTES: usize = 2 + MAX_INLINE_BYTES;

/// A script as an entry holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptForm {
    /// Any other script, in full.
    Plain(ScriptBuf),
    /// Pay to a public key's hash.
    P2pkh([u8; 20]),
    /// Pay to a script's hash.
    P2sh([u8; 20]),
    /// BIP141, version 0, 20 bytes.
    P2wpkh([u8; 20]),
    /// BIP141, version 0, 32 bytes.
    P2wsh([u8; 32]),
    /// BIP341, version 1, 32 bytes.
    P2tr([u8; 32]),
    /// Pay to a compressed public key.
    P2pk([u8; 33]),
    /// A long script, elsewhere in the run.
    Overflow {
        /// Where it begins in the overflow area.
        offset: u64,
        /// Its length in bytes.
        length: u32,
    },
}

impl ScriptForm {
    /// Returns the shortest form of a script; never [`ScriptForm::Overflow`].
    pub fn of(script: &Script) -> Self {
        match script.as_bytes() {
            [0x76, 0xa9, 0x14, hash @ .., 0x88, 0xac] if hash.len() == 20 => {
                Self::P2pkh(fixed(hash))
            }
            [0xa9, 0x14, hash @ .., 0x87] if hash.len() == 20 => Self::P2sh(fixed(hash)),
            [0x00, 0x14, hash @ ..] if hash.len() == 20 => Self::P2wpkh(fixed(hash)),
            [0x00, 0x20, hash @ ..] if hash.len() == 32 => Self::P2wsh(fixed(hash)),
            [0x51, 0x20, key @ ..] if key.len() == 32 => Self::P2tr(fixed(key)),
            [0x21, key @ .., 0xac] if key.len() == 33 => Self::P2pk(fixed(key)),
            _ => Self::Plain(script.to_owned()),
        }
    }

    /// Returns the script, or `None` when it is in the overflow area.
    pub fn script(&self) -> Option<ScriptBuf> {
        self.parts()
            .map(|parts| ScriptBuf::from_bytes(parts.concat()))
    }

    /// Returns what spending the script counts by, and its key; `None` when it is in the overflow area.
    /// Costs a SHA-256.
    pub fn lock_and_key(&self) -> Option<(Lock, ScriptKey)> {
        let lock = match self {
            Self::Plain(script) => Lock::of(script.as_bytes()),
            Self::P2sh(_) => Lock::ScriptHash,
            Self::P2wpkh(_) => Lock::WitnessKeyHash,
            Self::P2wsh(_) => Lock::WitnessScriptHash,
            _ => Lock::Other,
        };
        let parts = self.parts()?;
        Some((lock, ScriptKey::from(&ScriptHash::of_parts(&parts))))
    }

    /// Returns the script in pieces, or `None` when it is in the overflow area.
    pub(crate) fn parts(&self) -> Option<[&[u8]; 3]> {
        Some(match self {
            Self::Plain(script) => [script.as_bytes(), &[], &[]],
            Self::P2pkh(hash) => [&[0x76, 0xa9, 0x14], hash, &[0x88, 0xac]],
            Self::P2sh(hash) => [&[0xa9, 0x14], hash, &[0x87]],
            Self::P2wpkh(hash) => [&[0x00, 0x14], hash, &[]],
            Self::P2wsh(hash) => [&[0x00, 0x20], hash, &[]],
            Self::P2tr(key) => [&[0x51, 0x20], key, &[]],
            Self::P2pk(key) => [&[0x21], key, &[0xac]],
            Self::Overflow { .. } => return None,
        })
    }

    /// Returns the bytes that do not fit a leaf; empty for nearly all scripts.
    pub fn overflow(&self) -> &[u8] {
        match self {
            Self::Plain(script) if script.len() > MAX_INLINE_BYTES => script.as_bytes(),
            _ => &[],
        }
    }

    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::Plain(_) => 0,
            Self::P2pkh(_) => 1,
            Self::P2sh(_) => 2,
            Self::P2wpkh(_) => 3,
            Self::P2wsh(_) => 4,
            Self::P2tr(_) => 5,
            Self::P2pk(_) => 6,
            Self::Overflow { .. } => 7,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(script) => {
                put_varint(out, script.len() as u64);
                out.extend_from_slice(script.as_bytes());
            }
            Self::P2pkh(hash) | Self::P2sh(hash) | Self::P2wpkh(hash) => {
                out.extend_from_slice(hash);
            }
            Self::P2wsh(hash) | Self::P2tr(hash) => out.extend_from_slice(hash),
            Self::P2pk(key) => out.extend_from_slice(key),
            Self::Overflow { offset, length } => {
                out.extend_from_slice(&offset.to_le_bytes());
                put_varint(out, u64::from(*length));
            }
        }
    }

    pub(super) const fn is_overflow(code: u8) -> bool {
        code == 7
    }

    pub(super) fn decode(code: u8, input: &mut Input<'_>) -> Result<Self, StoreError> {
        Ok(match code {
            0 => {
                let length = input.varint_u32()? as usize;
                if length > MAX_INLINE_BYTES {
                    return Err(input.damaged(format!("a script of {length} bytes in a leaf")));
                }
                Self::Plain(ScriptBuf::from_bytes(input.bytes(length)?.to_vec()))
            }
            1 => Self::P2pkh(input.array()?),
            2 => Self::P2sh(input.array()?),
            3 => Self::P2wpkh(input.array()?),
            4 => Self::P2wsh(input.array()?),
            5 => Self::P2tr(input.array()?),
            6 => Self::P2pk(input.array()?),
            7 => {
                let offset = u64::from_le_bytes(input.array()?);
                let length = input.varint_u32()?;
                if length as usize > MAX_SCRIPT_BYTES {
                    return Err(input.damaged(format!("a script of {length} bytes")));
                }
                Self::Overflow { offset, length }
            }
            other => return Err(input.damaged(format!("unknown script form {other}"))),
        })
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}
