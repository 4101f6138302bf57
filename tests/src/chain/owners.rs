//! Who is paid: scripts of mainnet's kinds, a hot set of reused addresses, and owners whose number of
//! coins is given.

use bitcoin::opcodes::all::{OP_CHECKMULTISIG, OP_CHECKSIG, OP_PUSHNUM_1, OP_PUSHNUM_2};
use bitcoin::opcodes::{OP_0, OP_TRUE};
use bitcoin::script::Builder;
use bitcoin::{ScriptBuf, hashes::Hash};

use super::random::{Random, scrambled};

/// Owners from this number on are fresh ones, each used when it is first paid and reused by chance.
const FRESH: u64 = 1 << 32;

/// Owners from this number on are the hot set.
const HOT: u64 = 1 << 24;

/// Addresses of services, which are paid again and again: the first ones most.
const HOT_OWNERS: u64 = 4_000;

/// Outputs in a thousand that go to the hot set.
const HOT_PERMILLE: u64 = 180;

/// Outputs in a thousand that go to an owner who was paid before.
const REUSED_PERMILLE: u64 = 150;

/// How a script is spent, and how often mainnet uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScriptKind {
    /// Pay to witness public key hash.
    P2wpkh,
    /// Taproot.
    P2tr,
    /// Pay to script hash, of a P2WPKH.
    P2sh,
    /// Pay to public key hash.
    P2pkh,
    /// Pay to witness script hash, of two keys of three.
    P2wsh,
    /// A public key itself: no address.
    P2pk,
    /// One key of two, written out: no address.
    Multisig,
}

/// Kinds with their share in a thousand.
const MIX: [(ScriptKind, u64); 7] = [
    (ScriptKind::P2wpkh, 440),
    (ScriptKind::P2tr, 200),
    (ScriptKind::P2pkh, 170),
    (ScriptKind::P2sh, 130),
    (ScriptKind::P2wsh, 50),
    (ScriptKind::P2pk, 7),
    (ScriptKind::Multisig, 3),
];

/// Somebody who is paid. A number: script and kind follow from it and the chain's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u64);

impl Owner {
    /// One of the owners of [`super::Plan::named`], by position.
    pub const fn named(position: u32) -> Self {
        Self(position as u64)
    }

    /// An owner nobody ever pays.
    pub const fn nobody() -> Self {
        Self(HOT - 1)
    }

    /// The position in [`super::Plan::named`], if it is one of them.
    pub(super) fn position(self) -> Option<usize> {
        usize::try_from(self.0).ok().filter(|_| self.0 < HOT - 1)
    }

    /// The kind of the owner's script. Named owners and nobody have an address of the commonest kind.
    pub fn kind(self, seed: u64) -> ScriptKind {
        if self.0 < HOT {
            return ScriptKind::P2wpkh;
        }
        let mut left = scrambled(seed.rotate_left(17) ^ self.0) % 1_000;
        for (kind, permille) in MIX {
            if left < permille {
                return kind;
            }
            left -= permille;
        }
        ScriptKind::P2wpkh
    }

    /// The owner's script.
    pub fn script(self, seed: u64) -> ScriptBuf {
        let mut random = Random::of(seed, self.0);
        match self.kind(seed) {
            ScriptKind::P2wpkh => {
                ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_byte_array(random.bytes()))
            }
            ScriptKind::P2tr => Builder::new()
                .push_opcode(OP_PUSHNUM_1)
                .push_slice(random.bytes::<32>())
                .into_script(),
            ScriptKind::P2sh => {
                ScriptBuf::new_p2sh(&bitcoin::ScriptHash::from_byte_array(random.bytes()))
            }
            ScriptKind::P2pkh => {
                ScriptBuf::new_p2pkh(&bitcoin::PubkeyHash::from_byte_array(random.bytes()))
            }
            ScriptKind::P2wsh => {
                ScriptBuf::new_p2wsh(&bitcoin::WScriptHash::from_byte_array(random.bytes()))
            }
            ScriptKind::P2pk => Builder::new()
                .push_slice(public_key(&mut random))
                .push_opcode(OP_CHECKSIG)
                .into_script(),
            ScriptKind::Multisig => Builder::new()
                .push_opcode(OP_TRUE)
                .push_slice(public_key(&mut random))
                .push_slice(public_key(&mut random))
                .push_opcode(OP_PUSHNUM_2)
                .push_opcode(OP_CHECKMULTISIG)
                .into_script(),
        }
    }
}

/// Bytes that look like a compressed public key.
pub(super) fn public_key(random: &mut Random) -> [u8; 33] {
    let mut key = random.bytes::<33>();
    key[0] = 2 + (key[0] & 1);
    key
}

/// The script of two keys of three that a P2WSH input shows.
pub(super) fn two_of_three(random: &mut Random) -> ScriptBuf {
    let mut script = Builder::new().push_opcode(OP_PUSHNUM_2);
    for _ in 0..3 {
        script = script.push_slice(public_key(random));
    }
    script
        .push_int(3)
        .push_opcode(OP_CHECKMULTISIG)
        .into_script()
}

/// The script a nested P2WPKH input shows.
pub(super) fn nested(random: &mut Random) -> ScriptBuf {
    Builder::new()
        .push_opcode(OP_0)
        .push_slice(random.bytes::<20>())
        .into_script()
}

/// An owner with a given number of coins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Unspent outputs at the end of the plan. They grow with the chain; one in eight of those paid
    /// is spent again.
    pub utxos: u32,
}

/// Chooses whom an output goes to.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    fresh: u64,
}

impl Owners {
    /// The owner of the next output that is not a named owner's.
    pub(super) fn next(&mut self, random: &mut Random) -> Owner {
        if random.happens(HOT_PERMILLE) {
            return Owner(HOT + random.spread(HOT_OWNERS));
        }
        if self.fresh > 0 && random.happens(REUSED_PERMILLE) {
            // Mostly somebody paid lately, as wallets do that know one address.
            return Owner(FRESH + self.fresh - random.spread(self.fresh));
        }
        self.fresh += 1;
        Owner(FRESH + self.fresh - 1)
    }
}
