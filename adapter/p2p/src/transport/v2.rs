//! Version 2 after its handshake: encrypted packets (BIP324).
//!
//! ```text
//! packet    3  length of the contents, encrypted
//!           1  header: the highest bit marks a decoy      \
//!           n  contents: a name of 1 or 13 bytes, payload  > encrypted
//!          16  authentication tag                         /
//! ```

use bip324::{CipherSession, NUM_HEADER_BYTES, NUM_LENGTH_BYTES, OutboundCipher, PacketType, Role};
use millrace_core::Network;

use super::handshake::Handshake;
use super::v1::move_up_to;
use super::{broken, not_open, too_long};
use crate::message::{MAX_PAYLOAD_BYTES, Message, command, decode};
use crate::node::WireError;

const TAG_BYTES: usize = 16;
/// Bytes of a packet after its length, at most: the longest message with its full name.
const MAX_PACKET_BYTES: usize =
    NUM_HEADER_BYTES + 1 + command::NAME_BYTES + MAX_PAYLOAD_BYTES + TAG_BYTES;

/// The bit of a packet's header that marks a decoy; the others have no meaning yet.
const DECOY_BIT: u8 = 0x80;

/// Bytes of a packet that memory is taken for before any of it arrived.
const FIRST_BYTES: usize = 64 * 1024;

/// A connection of version 2.
pub struct V2 {
    stage: Stage,
}

enum Stage {
    Handshake(Box<Handshake>),
    Open(Box<Session>),
}

impl V2 {
    pub(super) fn start(
        network: Network,
        role: Role,
        entropy: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<Self, WireError> {
        let magic = network.magic().to_bytes();
        let handshake = Handshake::start(magic, role, &entropy, out)?;
        Ok(Self {
            stage: Stage::Handshake(Box::new(handshake)),
        })
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Vec<Message>, WireError> {
        let handshake = match &mut self.stage {
            Stage::Open(session) => return session.receive(bytes),
            Stage::Handshake(handshake) => handshake,
        };
        let Some(finished) = handshake.receive(bytes, out)? else {
            return Ok(Vec::new());
        };
        let mut session = Box::new(Session::new(finished.session));
        let messages = session.receive(&finished.rest);
        self.stage = Stage::Open(session);
        messages
    }

    pub(super) fn send(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), WireError> {
        match &mut self.stage {
            Stage::Open(session) => session.send(message, out),
            Stage::Handshake(_) => Err(not_open()),
        }
    }
}

/// An established connection.
struct Session {
    cipher: Box<CipherSession>,
    /// The part of a length that arrived.
    length: Vec<u8>,
    /// The packet whose length is known.
    open: Option<Packet>,
}

/// A packet that arrives.
struct Packet {
    length: usize,
    bytes: Vec<u8>,
}

impl Session {
    fn new(cipher: Box<CipherSession>) -> Self {
        Self {
            cipher,
            length: Vec::with_capacity(NUM_LENGTH_BYTES),
            open: None,
        }
    }

    fn receive(&mut self, mut bytes: &[u8]) -> Result<Vec<Message>, WireError> {
        let mut messages = Vec::new();
        loop {
            let mut packet = match self.open.take() {
                Some(packet) => packet,
                None => match self.begin(&mut bytes)? {
                    Some(packet) => packet,
                    None => return Ok(messages),
                },
            };
            if !packet.take(&mut bytes) {
                self.open = Some(packet);
                return Ok(messages);
            }
            messages.extend(self.finish(packet.bytes)?);
        }
    }

    /// Takes the rest of a length; `None` if more must arrive.
    fn begin(&mut self, bytes: &mut &[u8]) -> Result<Option<Packet>, WireError> {
        move_up_to(NUM_LENGTH_BYTES, bytes, &mut self.length);
        let Some(length) = self.length.first_chunk::<NUM_LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = self.cipher.inbound().decrypt_packet_len(*length);
        self.length.clear();
        if length > MAX_PACKET_BYTES {
            return Err(broken(format!(
                "packet has {length} bytes, at most {MAX_PACKET_BYTES} are allowed"
            )));
        }
        Ok(Some(Packet {
            length,
            bytes: Vec::with_capacity(length.min(FIRST_BYTES)),
        }))
    }

    /// Returns the message of a packet; `None` for a decoy.
    fn finish(&mut self, mut packet: Vec<u8>) -> Result<Option<Message>, WireError> {
        let decrypted = self.cipher.inbound().decrypt_in_place(&mut packet, None);
        let (_, plain) = decrypted.map_err(|error| broken(error.to_string()))?;
        let length = plain.len();
        let (header, contents) = plain.split_first().ok_or_else(no_name)?;
        if header & DECOY_BIT != 0 {
            return Ok(None);
        }
        let (name, rest) = match contents.split_first().ok_or_else(no_name)? {
            (0, rest) => {
                let (name, rest) = rest.split_first_chunk().ok_or_else(no_name)?;
                (
                    command::of_padded(name).ok_or_else(no_name)?.to_owned(),
                    rest,
                )
            }
            (id, rest) => {
                let name = command::of_short_id(*id);
                (
                    name.map_or_else(|| format!("short id {id}"), str::to_owned),
                    rest,
                )
            }
        };
        let payload_at = length - rest.len();
        if rest.len() > MAX_PAYLOAD_BYTES {
            return Err(too_long(&name, rest.len()));
        }
        packet.truncate(length);
        packet.drain(..payload_at);
        let message = decode(&name, packet).map_err(|error| error.of_command(&name))?;
        Ok(Some(message))
    }

    fn send(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<(), WireError> {
        let name = message.command();
        let mut contents = Vec::new();
        match command::short_id(name) {
            Some(id) => contents.push(id),
            None => {
                contents.push(0);
                contents.extend_from_slice(&command::padded(name));
            }
        }
        let payload_at = contents.len();
        message.encode(&mut contents);
        let length = contents.len() - payload_at;
        if length > MAX_PAYLOAD_BYTES {
            return Err(too_long(name, length));
        }
        let start = out.len();
        out.resize(
            start + OutboundCipher::encryption_buffer_len(contents.len()),
            0,
        );
        let room = out.get_mut(start..).unwrap_or_default();
        let outbound = self.cipher.outbound();
        let encrypted = outbound.encrypt(&contents, room, PacketType::Genuine, None);
        encrypted.map_err(|error| broken(error.to_string()))
    }
}

impl Packet {
    /// Takes what belongs to the packet; returns whether it is complete.
    fn take(&mut self, bytes: &mut &[u8]) -> bool {
        let before = self.bytes.len();
        if before > 0 {
            // The other side means it: from here on there is no second copy.
            self.bytes.reserve_exact(self.length - before);
        }
        move_up_to(self.length, bytes, &mut self.bytes);
        self.bytes.len() == self.length
    }
}

fn no_name() -> WireError {
    broken("packet has no name of a message".to_owned())
}
