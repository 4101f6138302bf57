//! Version 1: each message follows a header of 24 bytes.
//!
//! ```text
//! offset  size  field
//!      0     4  magic of the network
//!      4    12  name, padded with zeros
//!     16     4  length of the payload, little-endian
//!     20     4  first bytes of the payload's double SHA-256
//! ```

use bitcoin::hashes::{Hash, HashEngine, sha256d};
use millrace_core::Network;

use super::{broken, too_long};
use crate::message::{MAX_PAYLOAD_BYTES, Message, command, decode};
use crate::node::WireError;

const HEADER_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 4;

/// Bytes of a payload that memory is taken for before any of it arrived.
const FIRST_BYTES: usize = 64 * 1024;

/// A connection of version 1.
pub struct V1 {
    magic: [u8; 4],
    /// The part of a header that arrived.
    header: Vec<u8>,
    /// The message whose header is complete.
    open: Option<Open>,
}

/// A message of which the payload arrives.
struct Open {
    command: String,
    length: usize,
    checksum: [u8; CHECKSUM_BYTES],
    payload: Vec<u8>,
    /// Hashes the payload as it arrives, while it is in the processor's cache.
    engine: bitcoin::hashes::sha256::HashEngine,
}

impl V1 {
    pub(super) fn new(network: Network) -> Self {
        Self {
            magic: network.magic().to_bytes(),
            header: Vec::with_capacity(HEADER_BYTES),
            open: None,
        }
    }

    pub(super) fn receive(&mut self, mut bytes: &[u8]) -> Result<Vec<Message>, WireError> {
        let mut messages = Vec::new();
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => match self.begin(&mut bytes)? {
                    Some(open) => open,
                    None => return Ok(messages),
                },
            };
            if !open.take(&mut bytes) {
                self.open = Some(open);
                return Ok(messages);
            }
            messages.push(open.finish()?);
        }
    }

    /// Takes the rest of a header; `None` if more must arrive.
    fn begin(&mut self, bytes: &mut &[u8]) -> Result<Option<Open>, WireError> {
        move_up_to(HEADER_BYTES, bytes, &mut self.header);
        let Some(header) = self.header.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let open = read_header(header, self.magic)?;
        self.header.clear();
        Ok(Some(open))
    }

    /// Returns for how many bytes memory is taken.
    #[cfg(test)]
    pub(super) fn bytes_held(&self) -> usize {
        let open = self.open.as_ref().map(|open| open.payload.capacity());
        self.header.capacity() + open.unwrap_or_default()
    }

    pub(super) fn send(&self, message: &Message, out: &mut Vec<u8>) -> Result<(), WireError> {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        message.encode(out);
        let (before, payload) = out.split_at_mut(start + HEADER_BYTES);
        let length = payload.len();
        if length > MAX_PAYLOAD_BYTES {
            out.truncate(start);
            return Err(too_long(message.command(), length));
        }
        let hash = sha256d::Hash::hash(payload).to_byte_array();
        let checksum = hash.first_chunk::<CHECKSUM_BYTES>();
        let header = [
            &self.magic[..],
            &command::padded(message.command()),
            &(length as u32).to_le_bytes(),
            checksum.map_or(&[], |checksum| &checksum[..]),
        ];
        let slots = before.iter_mut().skip(start);
        for (slot, byte) in slots.zip(header.into_iter().flatten()) {
            *slot = *byte;
        }
        Ok(())
    }
}

fn read_header(header: &[u8; HEADER_BYTES], magic: [u8; 4]) -> Result<Open, WireError> {
    let [a, b, c, d, rest @ ..] = header;
    let [name @ .., l0, l1, l2, l3, c0, c1, c2, c3] = rest;
    let got = [*a, *b, *c, *d];
    if got != magic {
        let [got, magic] = [got, magic].map(u32::from_be_bytes);
        return Err(broken(format!(
            "message has magic {got:08x}, this network's is {magic:08x}"
        )));
    }
    let command = command::of_padded(name)
        .ok_or_else(|| broken(format!("{name:?} is no name of a message")))?;
    let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
    if length > MAX_PAYLOAD_BYTES {
        return Err(too_long(command, length));
    }
    Ok(Open {
        command: command.to_owned(),
        length,
        checksum: [*c0, *c1, *c2, *c3],
        payload: Vec::with_capacity(length.min(FIRST_BYTES)),
        engine: sha256d::Hash::engine(),
    })
}

impl Open {
    /// Takes what belongs to the payload; returns whether it is complete.
    fn take(&mut self, bytes: &mut &[u8]) -> bool {
        let before = self.payload.len();
        if before > 0 {
            // The other side means it: from here on there is no second copy.
            self.payload.reserve_exact(self.length - before);
        }
        move_up_to(self.length, bytes, &mut self.payload);
        self.engine
            .input(self.payload.get(before..).unwrap_or_default());
        self.payload.len() == self.length
    }

    fn finish(self) -> Result<Message, WireError> {
        let hash = sha256d::Hash::from_engine(self.engine).to_byte_array();
        if !hash.starts_with(&self.checksum) {
            let checksum = u32::from_be_bytes(self.checksum);
            return Err(broken(format!(
                "{} message of {} bytes does not hash to its checksum {checksum:08x}",
                self.command, self.length
            )));
        }
        let message = decode(&self.command, self.payload);
        message.map_err(|error| error.of_command(&self.command))
    }
}

/// Moves bytes from the front of `from` until `to` has `length` of them.
pub(super) fn move_up_to(length: usize, from: &mut &[u8], to: &mut Vec<u8>) {
    let missing = length.saturating_sub(to.len());
    let (now, later) = from.split_at(missing.min(from.len()));
    to.extend_from_slice(now);
    *from = later;
}
