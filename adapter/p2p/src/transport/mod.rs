//! Bytes of a connection to messages and back: version 1 in the clear, version 2 encrypted (BIP324).
//!
//! A transport is told what arrived and says what to write; sockets are its owner's. Both roles are
//! here: an adapter only connects, the peers of its tests accept.

mod handshake;
mod v1;
mod v2;

#[cfg(test)]
mod tests;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use millrace_core::Network;

use crate::message::{Message, command};
use crate::node::{TransportVersion, WireError};

pub use handshake::{MAX_GARBAGE_BYTES, MAX_HANDSHAKE_PACKET_BYTES, MAX_HANDSHAKE_PACKETS};
pub use v1::V1;
pub use v2::V2;

/// Bytes by which a connection of version 1 is known: magic and the name of its first message (BIP324,
/// "Overview and design").
const PREFIX_BYTES: usize = 4 + command::NAME_BYTES;

/// A connection's bytes.
///
/// Holds at most one message of [`crate::message::MAX_PAYLOAD_BYTES`], and during the handshake little
/// more than [`MAX_GARBAGE_BYTES`] and [`MAX_HANDSHAKE_PACKET_BYTES`], besides what one call brings.
pub enum Transport {
    /// Version 1.
    V1(V1),
    /// Version 2.
    V2(Box<V2>),
    /// An accepted connection whose first bytes are awaited.
    Undecided(Undecided),
}

/// An accepted connection that has not shown its version.
pub struct Undecided {
    network: Network,
    entropy: [u8; 32],
    prefix: Vec<u8>,
}

impl Transport {
    /// Starts a connection to another node, and writes its first bytes to `out`, if there are any.
    ///
    /// Version 2 makes its secret key and its garbage of `entropy`, which must be fresh, and known to
    /// nobody.
    ///
    /// # Errors
    /// [`WireError`] if no key can be made of the entropy, which practically never happens.
    pub fn connect(
        network: Network,
        version: TransportVersion,
        entropy: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<Self, WireError> {
        Ok(match version {
            TransportVersion::V1 => Self::V1(V1::new(network)),
            TransportVersion::V2 => Self::V2(Box::new(V2::start(
                network,
                bip324::Role::Initiator,
                entropy,
                out,
            )?)),
        })
    }

    /// Takes a connection of another node, whichever version it speaks. `entropy` as in
    /// [`Self::connect`].
    pub const fn accept(network: Network, entropy: [u8; 32]) -> Self {
        Self::Undecided(Undecided {
            network,
            entropy,
            prefix: Vec::new(),
        })
    }

    /// Returns the version, once it is known.
    pub const fn version(&self) -> Option<TransportVersion> {
        match self {
            Self::V1(_) => Some(TransportVersion::V1),
            Self::V2(_) => Some(TransportVersion::V2),
            Self::Undecided(_) => None,
        }
    }

    /// Returns whether the handshake of the transport is over: messages can be sent.
    pub const fn is_open(&self) -> bool {
        match self {
            Self::V1(_) => true,
            Self::V2(v2) => v2.is_open(),
            Self::Undecided(_) => false,
        }
    }

    /// Takes bytes that arrived, in pieces of any size; returns the messages they complete, and writes
    /// to `out` what the handshake answers.
    ///
    /// Costs a SHA-256 or a decryption of the bytes, and what [`crate::message::decode`] costs.
    ///
    /// # Errors
    /// [`WireError`]: the connection cannot go on, and messages of the same call are lost.
    pub fn receive(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Vec<Message>, WireError> {
        match self {
            Self::V1(v1) => v1.receive(bytes),
            Self::V2(v2) => v2.receive(bytes, out),
            Self::Undecided(undecided) => {
                undecided.prefix.extend_from_slice(bytes);
                let Some(mut decided) = undecided.decide(out)? else {
                    return Ok(Vec::new());
                };
                let prefix = core::mem::take(&mut undecided.prefix);
                let messages = decided.receive(&prefix, out);
                *self = decided;
                messages
            }
        }
    }

    /// Writes a message to `out`.
    ///
    /// # Errors
    /// [`WireError`] when the handshake is not over, or the message is longer than
    /// [`crate::message::MAX_PAYLOAD_BYTES`].
    pub fn send(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::V1(v1) => v1.send(message, out),
            Self::V2(v2) => v2.send(message, out),
            Self::Undecided(_) => Err(not_open()),
        }
    }
}

impl Undecided {
    /// Decides as soon as the bytes at hand differ from version 1's, or are all of its prefix.
    fn decide(&self, out: &mut Vec<u8>) -> Result<Option<Transport>, WireError> {
        let magic = self.network.magic().to_bytes();
        let expected = magic.iter().copied().chain(command::padded("version"));
        let is_like_v1 = expected.zip(&self.prefix).all(|(a, b)| a == *b);
        if !is_like_v1 {
            let role = bip324::Role::Responder;
            let v2 = V2::start(self.network, role, self.entropy, out)?;
            return Ok(Some(Transport::V2(Box::new(v2))));
        }
        let is_whole = self.prefix.len() >= PREFIX_BYTES;
        Ok(is_whole.then(|| Transport::V1(V1::new(self.network))))
    }
}

/// Returns 32 bytes that follow from entropy for one purpose.
fn derived(entropy: &[u8; 32], purpose: &str, number: u32) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    engine.input(purpose.as_bytes());
    engine.input(&number.to_le_bytes());
    engine.input(entropy);
    sha256::Hash::from_engine(engine).to_byte_array()
}

const fn broken(reason: String) -> WireError {
    WireError::Broken { reason }
}

fn not_open() -> WireError {
    broken("the handshake of the transport is not over".to_owned())
}

fn too_long(command: &str, length: usize) -> WireError {
    let most = crate::message::MAX_PAYLOAD_BYTES;
    broken(format!(
        "{command} message has {length} bytes, at most {most} are allowed"
    ))
}
