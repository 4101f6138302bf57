//! Counts signature operations the way Bitcoin Core bounds them, over scripts that may come in
//! pieces.
//!
//! The `bitcoin` crate has such counters too; they take a small number that stands before *any*
//! earlier opcode for the key count of a multisig, and count P2SH scripts behind input scripts
//! that are not only pushes. Consensus does neither.

use bitcoin::opcodes::all::{
    OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY, OP_CHECKSIG, OP_CHECKSIGVERIFY, OP_PUSHDATA1,
    OP_PUSHDATA2, OP_PUSHDATA4, OP_PUSHNUM_1, OP_PUSHNUM_16,
};

/// Keys assumed in a multisig whose count is not taken from the script.
const MAX_MULTISIG_KEYS: u32 = 20;

const CHECKSIG: u8 = OP_CHECKSIG.to_u8();
const CHECKSIGVERIFY: u8 = OP_CHECKSIGVERIFY.to_u8();
const CHECKMULTISIG: u8 = OP_CHECKMULTISIG.to_u8();
const CHECKMULTISIGVERIFY: u8 = OP_CHECKMULTISIGVERIFY.to_u8();
const PUSHDATA1: u8 = OP_PUSHDATA1.to_u8();
const PUSHDATA2: u8 = OP_PUSHDATA2.to_u8();
const PUSHDATA4: u8 = OP_PUSHDATA4.to_u8();
const PUSHNUM_1: u8 = OP_PUSHNUM_1.to_u8();
const PUSHNUM_16: u8 = OP_PUSHNUM_16.to_u8();

/// What the next byte of a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Opcode,
    /// A byte of a push's length, least significant first.
    Length {
        value: u32,
        shift: u32,
        missing: u8,
    },
    /// The first of so many bytes that are pushed.
    Pushed(u32),
}

/// Counts the operations of one script.
///
/// Counting ends at the first push that goes beyond the script's end, as in Bitcoin Core: nothing
/// follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SigopCounter {
    /// Whether the key count of a multisig is the small number right before it.
    is_accurate: bool,
    next: Next,
    last: u8,
    count: u32,
}

impl SigopCounter {
    pub(crate) const fn new(is_accurate: bool) -> Self {
        Self {
            is_accurate,
            next: Next::Opcode,
            last: 0,
            count: 0,
        }
    }

    /// Counts a whole script.
    pub(crate) fn count(script: &[u8], is_accurate: bool) -> u32 {
        let mut counter = Self::new(is_accurate);
        counter.push(script);
        counter.count
    }

    /// Takes the next piece of the script.
    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        while let Some((&byte, rest)) = piece.split_first() {
            match self.next {
                Next::Pushed(left) => {
                    let now = piece.len().min(left as usize);
                    self.pushes(left - now as u32);
                    piece = piece.get(now..).unwrap_or_default();
                    continue;
                }
                Next::Length {
                    value,
                    shift,
                    missing,
                } => {
                    let value = value | u32::from(byte) << shift;
                    if missing > 1 {
                        self.next = Next::Length {
                            value,
                            shift: shift + 8,
                            missing: missing - 1,
                        };
                    } else {
                        self.pushes(value);
                    }
                }
                Next::Opcode => self.opcode(byte),
            }
            piece = rest;
        }
    }

    /// Returns the operations counted so far.
    pub(crate) const fn total(&self) -> u32 {
        self.count
    }

    const fn pushes(&mut self, bytes: u32) {
        self.next = match bytes {
            0 => Next::Opcode,
            _ => Next::Pushed(bytes),
        };
    }

    const fn opcode(&mut self, opcode: u8) {
        match opcode {
            1..PUSHDATA1 => self.next = Next::Pushed(opcode as u32),
            PUSHDATA1 => self.length(1),
            PUSHDATA2 => self.length(2),
            PUSHDATA4 => self.length(4),
            CHECKSIG | CHECKSIGVERIFY => self.count = self.count.saturating_add(1),
            CHECKMULTISIG | CHECKMULTISIGVERIFY => {
                let keys = match self.last {
                    PUSHNUM_1..=PUSHNUM_16 if self.is_accurate => {
                        (self.last - PUSHNUM_1) as u32 + 1
                    }
                    _ => MAX_MULTISIG_KEYS,
                };
                self.count = self.count.saturating_add(keys);
            }
            _ => {}
        }
        self.last = opcode;
    }

    const fn length(&mut self, bytes: u8) {
        self.next = Next::Length {
            value: 0,
            shift: 0,
            missing: bytes,
        };
    }
}

/// Returns what the last instruction of a script of pushes pushes; `None` when the script does
/// anything else, or ends within a push. Small numbers are pushes of nothing here, as in Bitcoin
/// Core.
pub(crate) fn last_push(script: &[u8]) -> Option<&[u8]> {
    let mut last: &[u8] = &[];
    let mut rest = script;
    while let Some((&opcode, after)) = rest.split_first() {
        let (length, after) = match opcode {
            1..PUSHDATA1 => (u32::from(opcode), after),
            PUSHDATA1 => {
                let (length, after) = after.split_first()?;
                (u32::from(*length), after)
            }
            PUSHDATA2 => {
                let (length, after) = after.split_first_chunk()?;
                (u32::from(u16::from_le_bytes(*length)), after)
            }
            PUSHDATA4 => {
                let (length, after) = after.split_first_chunk()?;
                (u32::from_le_bytes(*length), after)
            }
            _ if opcode <= PUSHNUM_16 => (0, after),
            _ => return None,
        };
        (last, rest) = after.split_at_checked(length as usize)?;
    }
    Some(last)
}
