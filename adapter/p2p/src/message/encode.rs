//! Messages to payloads.

use bitcoin::BlockHash;
use bitcoin::consensus::Encodable;
use bitcoin::hashes::Hash;
use bitcoin::p2p::message_blockdata::Inventory;
use millrace_core::block::encode_header;

use super::{MAX_PAYLOAD_BYTES, Message, Version, address};

/// The version that `getheaders` says its sender speaks; nobody reads it any more.
const GET_HEADERS_VERSION: u32 = 70_016;

impl Message {
    /// Returns the name that its payload travels under.
    pub fn command(&self) -> &str {
        match self {
            Self::Version(_) => "version",
            Self::Verack => "verack",
            Self::WtxidRelay => "wtxidrelay",
            Self::SendAddrV2 => "sendaddrv2",
            Self::SendHeaders => "sendheaders",
            Self::FeeFilter(_) => "feefilter",
            Self::Ping(_) => "ping",
            Self::Pong(_) => "pong",
            Self::GetHeaders { .. } => "getheaders",
            Self::Headers(_) => "headers",
            Self::Inv(_) => "inv",
            Self::GetData(_) => "getdata",
            Self::NotFound(_) => "notfound",
            Self::Block(_) => "block",
            Self::Tx(_) => "tx",
            Self::GetAddr => "getaddr",
            Self::Addr(_) => "addrv2",
            Self::Other { command, .. } => command,
        }
    }

    /// Writes its payload after what `out` holds. Bounds are the reader's question: nothing is cut.
    ///
    /// What [`Message::Other`] held is not known; as many zeros stand for it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Verack
            | Self::WtxidRelay
            | Self::SendAddrV2
            | Self::SendHeaders
            | Self::GetAddr => {}
            Self::Version(fields) => version(fields, out),
            Self::FeeFilter(number) | Self::Ping(number) | Self::Pong(number) => {
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::GetHeaders { locator, stop } => get_headers(locator, *stop, out),
            Self::Headers(headers) => {
                number(headers.len() as u64, out);
                for header in headers {
                    out.extend_from_slice(&encode_header(header));
                    // The number of transactions that follow.
                    out.push(0);
                }
            }
            Self::Inv(entries) | Self::GetData(entries) | Self::NotFound(entries) => {
                inventory(entries, out);
            }
            Self::Block(block) => out.extend_from_slice(&block.bytes),
            Self::Tx(transaction) => out.extend_from_slice(&transaction.bytes),
            Self::Addr(known) => {
                number(known.len() as u64, out);
                for known in known {
                    address::encode_v2(known, out);
                }
            }
            Self::Other { bytes, .. } => {
                out.resize(out.len() + (*bytes).min(MAX_PAYLOAD_BYTES), 0);
            }
        }
    }
}

/// Writes a number in Bitcoin's variable length.
pub(super) fn number(number: u64, out: &mut Vec<u8>) {
    let bytes = number.to_le_bytes();
    let (mark, length) = match number {
        0..=0xfc => (None, 1),
        0xfd..=0xffff => (Some(0xfd), 2),
        0x1_0000..=0xffff_ffff => (Some(0xfe), 4),
        _ => (Some(0xff), 8),
    };
    out.extend(mark);
    out.extend(bytes.iter().take(length));
}

/// Neither side needs to know how it is reached, so both addresses are left empty.
fn version(version: &Version, out: &mut Vec<u8>) {
    let nobody = [0; 26];
    out.extend_from_slice(&version.version.to_le_bytes());
    out.extend_from_slice(&version.services.to_le_bytes());
    out.extend_from_slice(&version.time.to_le_bytes());
    out.extend_from_slice(&nobody);
    out.extend_from_slice(&nobody);
    out.extend_from_slice(&version.nonce.to_le_bytes());
    number(version.user_agent.len() as u64, out);
    out.extend_from_slice(version.user_agent.as_bytes());
    out.extend_from_slice(&version.start_height.to_le_bytes());
    out.push(u8::from(version.relay));
}

fn get_headers(locator: &[BlockHash], stop: BlockHash, out: &mut Vec<u8>) {
    out.extend_from_slice(&GET_HEADERS_VERSION.to_le_bytes());
    number(locator.len() as u64, out);
    for hash in locator {
        out.extend_from_slice(hash.as_byte_array());
    }
    out.extend_from_slice(stop.as_byte_array());
}

fn inventory(entries: &[Inventory], out: &mut Vec<u8>) {
    number(entries.len() as u64, out);
    for entry in entries {
        // A vector takes whatever is written.
        let _ = entry.consensus_encode(out);
    }
}
