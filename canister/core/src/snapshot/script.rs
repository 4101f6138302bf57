//! Scripts as Bitcoin Core compresses them: the five usual forms of its early days by what is special about
//! them, all others as they are.

use bitcoin::opcodes::all::{
    OP_CHECKSIG, OP_DUP, OP_EQUAL, OP_EQUALVERIFY, OP_HASH160, OP_PUSHBYTES_20, OP_PUSHBYTES_33,
    OP_PUSHBYTES_65,
};
use bitcoin::secp256k1::PublicKey;

use super::MAX_SCRIPT_BYTES;
use super::number::{Bytes, NumberError, put_varint};

/// Forms that have a number of their own; a script of `n` bytes has the number `n` plus this.
const FORMS: u64 = 6;

const HASH_BYTES: usize = 20;
const KEY_BYTES: usize = 32;

/// Why a script is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScriptError {
    /// A number in it is none, or the bytes end in the middle of it.
    Number(NumberError),
    /// It has so many bytes.
    TooLong(u64),
    /// Its key is not on the curve.
    NoKey,
}

impl From<NumberError> for ScriptError {
    fn from(error: NumberError) -> Self {
        Self::Number(error)
    }
}

/// Reads a script. A key that was written uncompressed costs a square root, some 100,000 instructions.
pub(super) fn read(bytes: &mut Bytes<'_>) -> Result<Vec<u8>, ScriptError> {
    let number = bytes.varint()?;
    match number {
        0 => {
            let hash = bytes.array::<HASH_BYTES>()?;
            let before = [OP_DUP, OP_HASH160, OP_PUSHBYTES_20].map(|op| op.to_u8());
            let after = [OP_EQUALVERIFY, OP_CHECKSIG].map(|op| op.to_u8());
            Ok([&before[..], &hash, &after].concat())
        }
        1 => {
            let hash = bytes.array::<HASH_BYTES>()?;
            let before = [OP_HASH160, OP_PUSHBYTES_20].map(|op| op.to_u8());
            Ok([&before[..], &hash, &[OP_EQUAL.to_u8()]].concat())
        }
        2 | 3 => {
            let key = bytes.array::<KEY_BYTES>()?;
            let before = [OP_PUSHBYTES_33.to_u8(), number as u8];
            Ok([&before[..], &key, &[OP_CHECKSIG.to_u8()]].concat())
        }
        4 | 5 => {
            let x = bytes.array::<KEY_BYTES>()?;
            let key = PublicKey::from_slice(&[&[number as u8 - 2][..], &x].concat());
            let key = key
                .map_err(|_| ScriptError::NoKey)?
                .serialize_uncompressed();
            let (before, after) = ([OP_PUSHBYTES_65.to_u8()], [OP_CHECKSIG.to_u8()]);
            Ok([&before[..], &key, &after].concat())
        }
        _ => {
            let length = number - FORMS;
            let short = usize::try_from(length).ok();
            let short = short.filter(|length| *length <= MAX_SCRIPT_BYTES);
            let length = short.ok_or(ScriptError::TooLong(length))?;
            Ok(bytes.take(length)?.to_vec())
        }
    }
}

/// Appends a script.
pub(super) fn write(out: &mut Vec<u8>, script: &[u8]) {
    const DUP: u8 = OP_DUP.to_u8();
    const HASH160: u8 = OP_HASH160.to_u8();
    const PUSH_20: u8 = OP_PUSHBYTES_20.to_u8();
    const PUSH_33: u8 = OP_PUSHBYTES_33.to_u8();
    const PUSH_65: u8 = OP_PUSHBYTES_65.to_u8();
    const EQUAL: u8 = OP_EQUAL.to_u8();
    const EQUALVERIFY: u8 = OP_EQUALVERIFY.to_u8();
    const CHECKSIG: u8 = OP_CHECKSIG.to_u8();
    match script {
        [DUP, HASH160, PUSH_20, hash @ .., EQUALVERIFY, CHECKSIG] if hash.len() == HASH_BYTES => {
            out.push(0);
            out.extend_from_slice(hash);
        }
        [HASH160, PUSH_20, hash @ .., EQUAL] if hash.len() == HASH_BYTES => {
            out.push(1);
            out.extend_from_slice(hash);
        }
        [PUSH_33, form @ (2 | 3), key @ .., CHECKSIG] if key.len() == KEY_BYTES => {
            out.push(*form);
            out.extend_from_slice(key);
        }
        [PUSH_65, 4, key @ .., CHECKSIG] if is_whole_key(script) => {
            let (x, y) = key.split_at(KEY_BYTES);
            out.push(4 | y.last().map_or(0, |last| last & 1));
            out.extend_from_slice(x);
        }
        other => {
            put_varint(out, other.len() as u64 + FORMS);
            out.extend_from_slice(other);
        }
    }
}

/// Returns whether a script pays to an uncompressed key that is on the curve.
fn is_whole_key(script: &[u8]) -> bool {
    let key = script.get(1..66).filter(|_| script.len() == 67);
    key.is_some_and(|key| PublicKey::from_slice(key).is_ok())
}
