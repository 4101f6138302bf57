//! The names of messages: twelve bytes in version 1, mostly one in version 2 (BIP324).

/// Bytes of a name on the wire, padded with zeros.
pub const NAME_BYTES: usize = 12;

/// The names with a short id: number 1 is the first (BIP324, "v2 Bitcoin P2P message structure").
const SHORT: [&str; 28] = [
    "addr",
    "block",
    "blocktxn",
    "cmpctblock",
    "feefilter",
    "filteradd",
    "filterclear",
    "filterload",
    "getblocks",
    "getblocktxn",
    "getdata",
    "getheaders",
    "headers",
    "inv",
    "mempool",
    "merkleblock",
    "notfound",
    "ping",
    "pong",
    "sendcmpct",
    "tx",
    "getcfilters",
    "cfilter",
    "getcfheaders",
    "cfheaders",
    "getcfcheckpt",
    "cfcheckpt",
    "addrv2",
];

/// Returns the short id of a name, if it has one.
pub fn short_id(name: &str) -> Option<u8> {
    let index = SHORT.iter().position(|short| *short == name)?;
    u8::try_from(index + 1).ok()
}

/// Returns the name of a short id; `None` for 0, which opens a full name, and for unassigned ones.
pub fn of_short_id(id: u8) -> Option<&'static str> {
    SHORT.get(usize::from(id).checked_sub(1)?).copied()
}

/// Returns a name as twelve bytes; a longer one is cut.
pub fn padded(name: &str) -> [u8; NAME_BYTES] {
    let mut bytes = [0; NAME_BYTES];
    for (slot, byte) in bytes.iter_mut().zip(name.bytes()) {
        *slot = byte;
    }
    bytes
}

/// Reads a padded name: printable ASCII, then only zeros. `None` if it is none.
pub fn of_padded(bytes: &[u8; NAME_BYTES]) -> Option<&str> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let (name, padding) = bytes.split_at_checked(end.unwrap_or(NAME_BYTES))?;
    let is_printable = name.iter().all(|byte| (0x20..0x7f).contains(byte));
    if !is_printable || padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    core::str::from_utf8(name).ok()
}
