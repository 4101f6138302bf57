//! Where an import is, as it is stored.
//!
//! ```text
//! offset size
//!      0    4  magic "MIMP", or zeros: there was none
//!      4    1  phase: 1 headers, 2 coins, 3 merging, 4 complete, 5 refused
//!      5    1  bit 0 the commitment is kept, bit 1 a coin was taken
//!      6    2  length of the reason
//!      8   32  hash of the base block
//!     40    8  number of coins of the set
//!     48   32  the expected hash of the set
//!     80  208  the last header that was taken
//!    288    8  where in the file the next coin begins
//!    296    8  coins taken
//!    304   32  transaction whose coins are being read
//!    336    8  how many of its coins are left
//!    344   36  the last coin's outpoint
//!    380  105  the hash of the coins taken
//!    485  808  the commitment to them
//!   1293  700  why the set was refused
//! ```

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid};
use millrace_core::commitment::{COMMITMENT_BYTES, Commitment};
use millrace_core::header::{HEADER_CONTEXT_BYTES, HeaderContext};
use millrace_core::snapshot::{Position, SERIALIZED_HASH_BYTES, SerializedHash};

use crate::StoreError;
use crate::record::{join, take};
use crate::runs::key::OutpointKey;

pub(super) const STATE_BYTES: usize = 2_048;

const MAGIC: [u8; 4] = *b"MIMP";

const KEEPS_COMMITMENT: u8 = 1;
const HAS_COINS: u8 = 2;

const REASON_BYTES: usize = 700;

const WHAT: &str = "state of an import";

/// What is wanted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Headers up to the base block.
    Headers,
    /// Coins.
    Coins,
    /// Merging what came.
    Merging,
    /// Nothing: the set is the stable one.
    Complete,
    /// Somebody who discards it.
    Refused,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Headers,
        Self::Coins,
        Self::Merging,
        Self::Complete,
        Self::Refused,
    ];
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Import {
    /// What is wanted next.
    pub phase: Phase,
    /// The base block.
    pub base: BlockHash,
    /// Number of coins of the set.
    pub coins: u64,
    /// What [`SerializedHash`] must give.
    pub expected: [u8; 32],
    /// The last header that was taken.
    pub header: HeaderContext,
    /// Where in the file the next coin begins.
    pub offset: u64,
    /// Coins taken.
    pub taken: u64,
    /// Where the next coin is in its transaction.
    pub position: Position,
    /// The last coin's outpoint.
    pub last: Option<OutpointKey>,
    /// The hash of the coins taken.
    pub hash: SerializedHash,
    /// The commitment to them, where one is kept.
    pub commitment: Option<Commitment>,
    /// Why the set was refused.
    pub reason: String,
}

impl Import {
    pub(super) fn encode(&self) -> [u8; STATE_BYTES] {
        let phase = Phase::ALL.iter().position(|phase| *phase == self.phase);
        let mut flags = 0;
        if self.commitment.is_some() {
            flags |= KEEPS_COMMITMENT;
        }
        if self.last.is_some() {
            flags |= HAS_COINS;
        }
        let last = self.last.unwrap_or(OutpointKey::FIRST);
        let commitment = self.commitment.as_ref();
        let commitment = commitment.map_or([0; COMMITMENT_BYTES], Commitment::to_bytes);
        let reason = self.reason.as_bytes();
        let reason = reason.get(..REASON_BYTES).unwrap_or(reason);
        join(&[
            &MAGIC,
            &[phase.map_or(0, |phase| phase as u8 + 1), flags],
            &(reason.len() as u16).to_le_bytes(),
            self.base.as_byte_array(),
            &self.coins.to_le_bytes(),
            &self.expected,
            &self.header.encode(),
            &self.offset.to_le_bytes(),
            &self.taken.to_le_bytes(),
            self.position.txid.as_byte_array(),
            &self.position.left.to_le_bytes(),
            &last.to_bytes(),
            &self.hash.to_bytes(),
            &commitment,
            reason,
        ])
    }

    /// Reads a state, or that there was none.
    pub(super) fn decode(bytes: &[u8; STATE_BYTES]) -> Result<Option<Self>, StoreError> {
        let mut rest = bytes.as_slice();
        let magic: [u8; 4] = take(&mut rest).unwrap_or_default();
        if magic == [0; 4] {
            return Ok(None);
        }
        let found = Self::read(&mut rest).filter(|_| magic == MAGIC);
        let damaged = || StoreError::damaged(WHAT, format!("it begins with {:02x?}", &magic));
        found.map(Some).ok_or_else(damaged)
    }

    fn read(rest: &mut &[u8]) -> Option<Self> {
        let [phase, flags]: [u8; 2] = take(rest)?;
        let phase = *Phase::ALL.get(usize::from(phase).checked_sub(1)?)?;
        if flags & !(KEEPS_COMMITMENT | HAS_COINS) != 0 {
            return None;
        }
        let reason_bytes = usize::from(u16::from_le_bytes(take(rest)?));
        let base = BlockHash::from_byte_array(take(rest)?);
        let coins = u64::from_le_bytes(take(rest)?);
        let expected = take(rest)?;
        let header: [u8; HEADER_CONTEXT_BYTES] = take(rest)?;
        let header = HeaderContext::decode(&header).ok()?;
        let offset = u64::from_le_bytes(take(rest)?);
        let taken = u64::from_le_bytes(take(rest)?);
        let position = Position {
            txid: Txid::from_byte_array(take(rest)?),
            left: u64::from_le_bytes(take(rest)?),
        };
        let last = OutpointKey::take(rest)?;
        let hash = SerializedHash::from_bytes(&take::<SERIALIZED_HASH_BYTES>(rest)?)?;
        let commitment = Commitment::from_bytes(&take::<COMMITMENT_BYTES>(rest)?);
        let reason = rest.get(..reason_bytes.min(REASON_BYTES))?;
        Some(Self {
            phase,
            base,
            coins,
            expected,
            header,
            offset,
            taken,
            position,
            last: (flags & HAS_COINS != 0).then_some(last),
            hash,
            commitment: (flags & KEEPS_COMMITMENT != 0).then_some(commitment),
            reason: String::from_utf8_lossy(reason).into_owned(),
        })
    }
}
