//! What an input shows to spend a coin: script and witness of the right size for its kind. Nobody runs
//! scripts here, so signatures are noise.

use bitcoin::script::{Builder, PushBytesBuf};
use bitcoin::{ScriptBuf, Witness};

use super::owners::{ScriptKind, nested, public_key, two_of_three};
use super::random::Random;

/// Bytes of a Schnorr signature, all that a taproot key path shows.
const SCHNORR_BYTES: usize = 64;

/// Bytes of a taproot control block for a script alone in its tree.
const CONTROL_BYTES: usize = 33;

/// The script and the witness of an input.
pub(super) fn unlocking(kind: ScriptKind, random: &mut Random) -> (ScriptBuf, Witness) {
    match kind {
        ScriptKind::P2wpkh => (ScriptBuf::new(), key_and_signature(random)),
        ScriptKind::P2tr => {
            let witness = Witness::from_slice(&[random.bytes::<SCHNORR_BYTES>()]);
            (ScriptBuf::new(), witness)
        }
        ScriptKind::P2sh => {
            let shown = Builder::new().push_slice(pushed(nested(random).into_bytes()));
            (shown.into_script(), key_and_signature(random))
        }
        ScriptKind::P2pkh => {
            let shown = Builder::new()
                .push_slice(pushed(signature(random)))
                .push_slice(public_key(random));
            (shown.into_script(), Witness::new())
        }
        ScriptKind::P2wsh => {
            let items = [
                Vec::new(),
                signature(random),
                signature(random),
                two_of_three(random).into_bytes(),
            ];
            (ScriptBuf::new(), Witness::from_slice(&items))
        }
        ScriptKind::P2pk => {
            let shown = Builder::new().push_slice(pushed(signature(random)));
            (shown.into_script(), Witness::new())
        }
        ScriptKind::Multisig => {
            let shown = Builder::new()
                .push_int(0)
                .push_slice(pushed(signature(random)));
            (shown.into_script(), Witness::new())
        }
    }
}

/// The witness of a taproot input that reveals a script of `bytes` bytes, as inscriptions do.
pub(super) fn revealing(bytes: usize, random: &mut Random) -> Witness {
    Witness::from_slice(&[
        random.vector(SCHNORR_BYTES),
        random.vector(bytes),
        random.vector(CONTROL_BYTES),
    ])
}

fn key_and_signature(random: &mut Random) -> Witness {
    Witness::from_slice(&[signature(random), public_key(random).to_vec()])
}

/// Bytes as long as a DER signature with its hash type: 71, or 72 half of the time.
fn signature(random: &mut Random) -> Vec<u8> {
    let length = 71 + random.index(2);
    let mut bytes = random.vector(length);
    bytes[0] = 0x30;
    bytes
}

fn pushed(bytes: Vec<u8>) -> PushBytesBuf {
    PushBytesBuf::try_from(bytes).expect("far below what a push may hold")
}
