//! Finds block records in a block file.
//!
//! A record is the network's magic, the block's size (u32 LE) and the block. Real files hold more
//! than records: zeros reserved in advance, a magic and size without a block from a crash, the
//! beginning of a block still being written, remains of older writes. Everything that is no record
//! is skipped up to the next magic whose header has proof of work.

use std::io::{self, Read, Seek};

use bitcoin::block::Header;
use millrace_core::Network;
use millrace_core::block::{HEADER_BYTES, MAX_BLOCK_BYTES, MIN_BLOCK_BYTES, decode_header};
use millrace_core::header::check_own_work;

use super::window::Window;

/// Bytes of magic and size.
pub const RECORD_HEAD_BYTES: u64 = 8;

/// Garbage skipped at a stretch before the rest of a file is given up. A damaged block is at most
/// 4 MB, so a file with more is no block file from there on.
pub const MAX_GARBAGE_BYTES: u64 = 32 * 1024 * 1024;

/// What is at a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record.
    Block {
        /// The block's header; its proof of work holds.
        header: Header,
        /// Where the block starts.
        offset: u64,
        /// Its size in bytes.
        size: u32,
    },
    /// Nothing but zeros reserved in advance, or nothing at all.
    End,
    /// A record that goes on beyond the end of the file.
    Cut {
        /// Bytes of it that are there.
        available: u64,
        /// Bytes it should have.
        expected: u64,
    },
    /// A record of another network, where one of ours was due.
    OtherNetwork(Network),
    /// More than [`MAX_GARBAGE_BYTES`] without a record.
    TooMuchGarbage,
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was found.
    pub found: Found,
    /// Where to look next; for an end or a cut-off record: where to look again once the file has
    /// changed, which is where a writer goes on.
    pub next: u64,
    /// Bytes skipped that were neither part of a record nor zero.
    pub garbage: u64,
}

/// Looks for the next record from `from` on. Costs one read of what is skipped.
///
/// # Errors
/// What the file system says.
pub fn next_record<R: Read + Seek>(
    file: &mut Window<R>,
    network: Network,
    from: u64,
    length: u64,
) -> io::Result<Step> {
    let mut at = from;
    let mut garbage = 0;
    // A record that seems to go on beyond the end, until one behind its beginning proves it to be
    // the remains of an interrupted write.
    let mut cut_off: Option<(Found, u64)> = None;
    loop {
        match record_at(file, network, at, length)? {
            Some(found @ Found::Block { offset, size, .. }) => {
                return Ok(Step {
                    found,
                    next: offset.saturating_add(u64::from(size)),
                    garbage,
                });
            }
            Some(Found::End) => {
                let (found, next) = cut_off.unwrap_or((Found::End, from));
                return Ok(Step {
                    found,
                    next,
                    garbage,
                });
            }
            Some(found @ Found::Cut { .. }) => {
                cut_off.get_or_insert((found, at));
            }
            Some(found) => {
                return Ok(Step {
                    found,
                    next: at,
                    garbage,
                });
            }
            None => {}
        }
        let gap = find_magic(file, network, at)?;
        at = gap.end;
        if cut_off.is_none() {
            garbage += gap.garbage;
        }
        if gap.garbage > MAX_GARBAGE_BYTES {
            return Ok(Step {
                found: Found::TooMuchGarbage,
                next: length,
                garbage,
            });
        }
    }
}

/// Returns what stands at `at`, or `None` if it is garbage.
fn record_at<R: Read + Seek>(
    file: &mut Window<R>,
    network: Network,
    at: u64,
    length: u64,
) -> io::Result<Option<Found>> {
    let head = file.plain(at, RECORD_HEAD_BYTES as usize)?;
    if head.is_empty() {
        return Ok(Some(Found::End));
    }
    let available = length.saturating_sub(at);
    let (Some(magic), Some(size)) = (head.first_chunk::<4>(), head.last_chunk::<4>()) else {
        return Ok(Some(cut(available, RECORD_HEAD_BYTES)));
    };
    if *magic != network.magic().to_bytes() {
        return other_network(file, network, at);
    }
    if head.len() < RECORD_HEAD_BYTES as usize {
        return Ok(Some(cut(available, RECORD_HEAD_BYTES)));
    }
    let size = u32::from_le_bytes(*size);
    if (size as usize) < MIN_BLOCK_BYTES || size as usize > MAX_BLOCK_BYTES {
        return Ok(None);
    }
    let offset = at + RECORD_HEAD_BYTES;
    let expected = RECORD_HEAD_BYTES + u64::from(size);
    let bytes = file.plain(offset, HEADER_BYTES)?;
    if bytes.len() < HEADER_BYTES {
        return Ok(Some(cut(available, expected)));
    }
    let Some(header) = decode_header(bytes) else {
        return Ok(None);
    };
    // Also what tells a magic and size left by a crash: another magic follows, no header.
    if check_own_work(&header, network).is_err() {
        return Ok(None);
    }
    if available < expected {
        return Ok(Some(cut(available, expected)));
    }
    Ok(Some(Found::Block {
        header,
        offset,
        size,
    }))
}

const fn cut(available: u64, expected: u64) -> Found {
    Found::Cut {
        available,
        expected,
    }
}

/// Returns the other network whose record stands at `at`, if one does.
fn other_network<R: Read + Seek>(
    file: &mut Window<R>,
    network: Network,
    at: u64,
) -> io::Result<Option<Found>> {
    let bytes = file.plain(at, RECORD_HEAD_BYTES as usize + HEADER_BYTES)?;
    let Some((head, header)) = bytes.split_at_checked(RECORD_HEAD_BYTES as usize) else {
        return Ok(None);
    };
    let Some(header) = decode_header(header) else {
        return Ok(None);
    };
    Ok(Network::ALL.into_iter().find_map(|other| {
        let is_other = other != network
            && head.starts_with(&other.magic().to_bytes())
            && check_own_work(&header, other).is_ok();
        is_other.then_some(Found::OtherNetwork(other))
    }))
}

/// Bytes between a place and the next magic.
struct Gap {
    /// Where the magic stands, or the end of the file.
    end: u64,
    /// How many of the bytes are not zero.
    garbage: u64,
}

/// Looks for the network's magic after `from`, to the end of the file or until
/// [`MAX_GARBAGE_BYTES`] are exceeded. Zeros as stored (space reserved in advance) and plain zeros
/// (written through the obfuscation) do not count as garbage.
fn find_magic<R: Read + Seek>(
    file: &mut Window<R>,
    network: Network,
    from: u64,
) -> io::Result<Gap> {
    let magic = network.magic().to_bytes();
    let is_garbage = |(stored, plain): &(&u8, &u8)| **stored != 0 && **plain != 0;
    // The byte at `from` itself is skipped: no record starts there.
    let mut at = from + 1;
    let mut garbage = {
        let (stored, plain) = file.both(from)?;
        stored.iter().zip(plain).take(1).filter(is_garbage).count() as u64
    };
    loop {
        let (stored, plain) = file.both(at)?;
        let found = plain.windows(magic.len()).position(|bytes| bytes == magic);
        // Without a magic the last three bytes stay: one may begin in them.
        let is_last = plain.len() < magic.len();
        let length = match found {
            Some(found) => found,
            None if is_last => plain.len(),
            None => plain.len() - magic.len() + 1,
        };
        let passed = stored.iter().zip(plain).take(length);
        garbage += passed.filter(is_garbage).count() as u64;
        at += length as u64;
        if found.is_some() || is_last || garbage > MAX_GARBAGE_BYTES {
            return Ok(Gap { end: at, garbage });
        }
    }
}
