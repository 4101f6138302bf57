//! Payloads to messages.
//!
//! Bytes after the last field of a payload are passed over, as Bitcoin Core does: later versions of
//! the protocol may append fields. Blocks and transactions are kept whole, so there they count as
//! wrong.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::p2p::message_blockdata::Inventory;
use millrace_core::block::{HEADER_BYTES, decode_header};

use super::error::PayloadError;
use super::reader::Reader;
use super::walk::Walker;
use super::{
    MAX_HEADERS, MAX_INVENTORY, MAX_LOCATOR, MAX_USER_AGENT_BYTES, Message, RawTransaction,
    ReceivedBlock, Version, address,
};

/// Bytes of services, address and port in a `version` message.
const VERSION_ADDRESS_BYTES: usize = 26;
/// Bytes of an inventory entry.
const INVENTORY_BYTES: usize = 36;

/// Reads a payload of a command. A command not known here becomes [`Message::Other`].
///
/// Costs at most one copy of the payload; a block also what [`ReceivedBlock::of`] costs. Allocates no
/// more than a small multiple of the payload's length.
///
/// # Errors
/// [`PayloadError`] when the payload breaks the command's format or a bound of [`super`].
pub fn decode(command: &str, payload: Vec<u8>) -> Result<Message, PayloadError> {
    let mut reader = Reader::new(&payload);
    let reader = &mut reader;
    Ok(match command {
        "version" => Message::Version(version(reader)?),
        "verack" => Message::Verack,
        "wtxidrelay" => Message::WtxidRelay,
        "sendaddrv2" => Message::SendAddrV2,
        "sendheaders" => Message::SendHeaders,
        "getaddr" => Message::GetAddr,
        "feefilter" => Message::FeeFilter(reader.u64("fee rate")?),
        "ping" => Message::Ping(reader.u64("nonce")?),
        "pong" => Message::Pong(reader.u64("nonce")?),
        "getheaders" => get_headers(reader)?,
        "headers" => Message::Headers(headers(reader)?),
        "inv" => Message::Inv(inventory(reader)?),
        "getdata" => Message::GetData(inventory(reader)?),
        "notfound" => Message::NotFound(inventory(reader)?),
        "addr" => Message::Addr(address::decode_v1(reader)?),
        "addrv2" => Message::Addr(address::decode_v2(reader)?),
        "block" => Message::Block(Box::new(ReceivedBlock::of(payload)?)),
        "tx" => Message::Tx(RawTransaction::of(payload)?),
        _ => Message::Other {
            command: command.to_owned(),
            bytes: payload.len(),
        },
    })
}

/// Fields after the first address came one after another over the years; what an old node leaves out
/// has the value that it had then.
fn version(reader: &mut Reader<'_>) -> Result<Version, PayloadError> {
    let number = i32::from_le_bytes(reader.array("protocol version")?);
    let mut version = Version {
        // A negative one is older than any.
        version: u32::try_from(number).unwrap_or_default(),
        services: reader.u64("services")?,
        time: i64::from_le_bytes(reader.array("time")?),
        nonce: 0,
        user_agent: String::new(),
        start_height: 0,
        relay: true,
    };
    reader.bytes(VERSION_ADDRESS_BYTES, "receiver's address")?;
    if !reader.is_empty() {
        reader.bytes(VERSION_ADDRESS_BYTES, "sender's address")?;
        version.nonce = reader.u64("nonce")?;
    }
    if !reader.is_empty() {
        let length = reader.count(MAX_USER_AGENT_BYTES, "length of the user agent")?;
        version.user_agent = printable(reader.bytes(length, "user agent")?);
    }
    if !reader.is_empty() {
        version.start_height = i32::from_le_bytes(reader.array("height")?);
    }
    if !reader.is_empty() {
        let [relay] = reader.array("relay flag")?;
        version.relay = relay != 0;
    }
    Ok(version)
}

/// Leaves out whatever could play tricks in a terminal or a log.
fn printable(bytes: &[u8]) -> String {
    let kept = bytes.iter().filter(|byte| (0x20..0x7f).contains(*byte));
    kept.map(|byte| char::from(*byte)).collect()
}

fn get_headers(reader: &mut Reader<'_>) -> Result<Message, PayloadError> {
    reader.u32("protocol version")?;
    let count = reader.count(MAX_LOCATOR, "number of locator hashes")?;
    let mut locator = Vec::with_capacity(count);
    for _ in 0..count {
        locator.push(BlockHash::from_byte_array(reader.array("locator hash")?));
    }
    let stop = BlockHash::from_byte_array(reader.array("stop hash")?);
    Ok(Message::GetHeaders { locator, stop })
}

fn headers(reader: &mut Reader<'_>) -> Result<Vec<Header>, PayloadError> {
    let count = reader.count(MAX_HEADERS, "number of headers")?;
    let mut headers = Vec::with_capacity(count);
    for index in 0..count {
        let bytes = reader.bytes(HEADER_BYTES, "header")?;
        let header = decode_header(bytes).ok_or(PayloadError::Ends {
            field: "header",
            length: bytes.len(),
        })?;
        let count = reader.number("number of transactions")?;
        if count != 0 {
            return Err(PayloadError::HeaderWithTransactions { index, count });
        }
        headers.push(header);
    }
    Ok(headers)
}

fn inventory(reader: &mut Reader<'_>) -> Result<Vec<Inventory>, PayloadError> {
    let count = reader.count(MAX_INVENTORY, "number of entries")?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let bytes = reader.bytes(INVENTORY_BYTES, "entry")?;
        let entry = bitcoin::consensus::deserialize(bytes);
        entries.push(entry.map_err(|_| PayloadError::Ends {
            field: "entry",
            length: bytes.len(),
        })?);
    }
    Ok(entries)
}

impl RawTransaction {
    /// Takes a transaction's consensus serialisation, with witness data if it has any. Costs two
    /// double SHA-256 of it.
    ///
    /// # Errors
    /// [`PayloadError`] when the bytes are no transaction, or more than one.
    pub fn of(bytes: Vec<u8>) -> Result<Self, PayloadError> {
        let error = |reason: String| PayloadError::Transaction { reason };
        let mut walker = Walker::new(&bytes, 0);
        let transaction = walker
            .transaction()
            .map_err(|reason| error(reason.to_string()))?;
        let used = transaction.bytes.len();
        if used != bytes.len() {
            return Err(error(format!(
                "transaction ends after {used} bytes, {} more follow",
                bytes.len() - used
            )));
        }
        Ok(Self {
            txid: transaction.txid(),
            wtxid: transaction.wtxid(),
            bytes,
        })
    }
}
