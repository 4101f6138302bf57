//! The handshake of version 2 (BIP324): keys and garbage, then a first packet each way.
//!
//! The crate's handshake borrows the garbage of both sides, so it cannot wait for bytes beside the
//! buffer that holds them. It depends on nothing but key, garbage and what arrived: where it would have
//! to wait, it is dropped, and done again from the start once enough arrived.

use bip324::{
    CipherSession, GarbageResult, Initialized, NUM_LENGTH_BYTES, Role, SentKey, SentVersion,
    VersionResult,
};
use bitcoin::secp256k1::Secp256k1;

use super::{broken, derived};
use crate::node::WireError;

/// Bytes of garbage after a key, at most (BIP324).
pub const MAX_GARBAGE_BYTES: usize = 4_095;
/// Packets during the handshake, at most: decoys and the version. BIP324 has no bound; each costs a
/// repetition of the handshake.
pub const MAX_HANDSHAKE_PACKETS: usize = 16;
/// Bytes of a packet during the handshake, at most. BIP324 has no bound, and leaves the version packet
/// empty.
pub const MAX_HANDSHAKE_PACKET_BYTES: usize = 16 * 1_024;

const KEY_BYTES: usize = 64;

/// A handshake under way.
pub(super) struct Handshake {
    magic: [u8; 4],
    role: Role,
    secret: [u8; 32],
    garbage: Vec<u8>,
    /// Everything that arrived.
    input: Vec<u8>,
    /// Bytes of input before which nothing can be done.
    least: usize,
    stage: Stage,
}

enum Stage {
    /// The other side's key is awaited.
    Key,
    /// The end of its garbage is awaited.
    Garbage(Box<bip324::Handshake<SentVersion>>),
    /// Its version packet is awaited.
    Version,
}

/// What comes of a handshake.
pub(super) struct Finished {
    pub(super) session: Box<CipherSession>,
    /// Bytes that arrived and follow the handshake.
    pub(super) rest: Vec<u8>,
}

/// How far the input goes.
enum Reached {
    /// So many bytes are needed.
    Needs(usize),
    /// The handshake is over after so many bytes.
    End(Box<CipherSession>, usize),
}

/// Gives the key out that was made before.
struct Fixed([u8; 32]);

impl bip324::FillBytes for Fixed {
    fn fill_bytes(&mut self, dest: &mut [u8; 32]) {
        *dest = self.0;
    }
}

impl Handshake {
    /// Writes key and garbage to `out`.
    pub(super) fn start(
        magic: [u8; 4],
        role: Role,
        entropy: &[u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<Self, WireError> {
        let handshake = Self {
            magic,
            role,
            secret: derived(entropy, "secret key", 0),
            garbage: garbage(entropy),
            input: Vec::new(),
            least: KEY_BYTES,
            stage: Stage::Key,
        };
        handshake.send_key(out)?;
        Ok(handshake)
    }

    /// Takes what arrived. At the end returns what came of it.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Finished>, WireError> {
        self.input.extend_from_slice(bytes);
        while self.input.len() >= self.least {
            match core::mem::replace(&mut self.stage, Stage::Version) {
                Stage::Key => self.stage = Stage::Garbage(Box::new(self.send_version(out)?)),
                Stage::Garbage(sent) => {
                    let garbage = self.input.get(KEY_BYTES..).unwrap_or_default();
                    let result = sent.receive_garbage(garbage).map_err(failed)?;
                    if let GarbageResult::NeedMoreData(sent) = result {
                        self.least = self.input.len() + 1;
                        self.stage = Stage::Garbage(Box::new(sent));
                    }
                }
                Stage::Version => match self.repeat()? {
                    Reached::Needs(least) => self.least = least,
                    Reached::End(session, used) => {
                        let rest = self.input.split_off(used.min(self.input.len()));
                        return Ok(Some(Finished { session, rest }));
                    }
                },
            }
        }
        Ok(None)
    }

    fn send_key(&self, out: &mut Vec<u8>) -> Result<bip324::Handshake<SentKey<'_>>, WireError> {
        let curve = Secp256k1::signing_only();
        let mut secret = Fixed(self.secret);
        let start = bip324::Handshake::<Initialized>::new_with_rng(
            self.magic,
            self.role,
            &mut secret,
            &curve,
        );
        let garbage = Some(self.garbage.as_slice());
        let length = bip324::Handshake::<Initialized>::send_key_len(garbage);
        let room = room(out, length);
        start
            .map_err(failed)?
            .send_key(garbage, room)
            .map_err(failed)
    }

    /// Writes the end of the garbage and the version packet to `out`.
    fn send_version(&self, out: &mut Vec<u8>) -> Result<bip324::Handshake<SentVersion>, WireError> {
        let key = self.input.first_chunk::<KEY_BYTES>();
        let key = *key.ok_or_else(|| broken("the key is not whole".to_owned()))?;
        let sent = self.send_key(&mut Vec::new())?;
        let received = sent.receive_key(key).map_err(failed)?;
        let length = bip324::Handshake::<bip324::ReceivedKey<'_>>::send_version_len(None);
        received
            .send_version(room(out, length), None)
            .map_err(failed)
    }

    /// Does the handshake again as far as the input goes.
    fn repeat(&self) -> Result<Reached, WireError> {
        let sent = self.send_version(&mut Vec::new())?;
        let after_key = self.input.get(KEY_BYTES..).unwrap_or_default();
        let found = sent.receive_garbage(after_key).map_err(failed)?;
        let GarbageResult::FoundGarbage {
            mut handshake,
            consumed_bytes,
        } = found
        else {
            return Ok(Reached::Needs(self.input.len() + 1));
        };
        let mut at = KEY_BYTES + consumed_bytes;
        for _ in 0..MAX_HANDSHAKE_PACKETS {
            let rest = self.input.get(at..).unwrap_or_default();
            let Some((length, rest)) = rest.split_first_chunk::<NUM_LENGTH_BYTES>() else {
                return Ok(Reached::Needs(at + NUM_LENGTH_BYTES));
            };
            let length = handshake.decrypt_packet_len(*length).map_err(failed)?;
            if length > MAX_HANDSHAKE_PACKET_BYTES {
                return Err(broken(format!(
                    "encrypted handshake has a packet of {length} bytes, at most \
                     {MAX_HANDSHAKE_PACKET_BYTES} are allowed"
                )));
            }
            at += NUM_LENGTH_BYTES + length;
            let Some(packet) = rest.get(..length) else {
                return Ok(Reached::Needs(at));
            };
            match handshake
                .receive_version(&mut packet.to_vec())
                .map_err(failed)?
            {
                VersionResult::Complete { cipher } => {
                    return Ok(Reached::End(Box::new(cipher), at));
                }
                VersionResult::Decoy(next) => handshake = next,
            }
        }
        Err(broken(format!(
            "encrypted handshake has more than {MAX_HANDSHAKE_PACKETS} packets"
        )))
    }
}

/// Makes garbage of a random length, so that the first packets do not tell what they are.
fn garbage(entropy: &[u8; 32]) -> Vec<u8> {
    let [low, high, ..] = derived(entropy, "garbage length", 0);
    let length = usize::from(u16::from_le_bytes([low, high])) % (MAX_GARBAGE_BYTES + 1);
    let numbers = 0..=(MAX_GARBAGE_BYTES / 32) as u32;
    let bytes = numbers.flat_map(|number| derived(entropy, "garbage", number));
    bytes.take(length).collect()
}

/// Returns room for so many bytes at the end of `out`.
fn room(out: &mut Vec<u8>, length: usize) -> &mut [u8] {
    let start = out.len();
    out.resize(start + length, 0);
    out.get_mut(start..).unwrap_or_default()
}

fn failed(error: bip324::Error) -> WireError {
    broken(format!("encrypted handshake failed: {error}"))
}
