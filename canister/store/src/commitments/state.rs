//! Where a commitment is, as it is stored.
//!
//! ```text
//! state, 2 KiB
//! offset size
//!      0    4  magic "MCMT", or zeros: there is none
//!      4    1  bit 0 there is a mark, bit 1 a block is in hand, bit 2 some of it is left
//!      5    3  reserved
//!      8    4  height of the newest stable block
//!     12   32  its hash
//!     44   36  the mark: transaction id, output index
//!     80  808  the commitment to the coins below it
//!    888   32  hash of the block in hand
//!    920   36  where its change goes on
//!    956  808  what is taken in of it
//!   1764    4  height from which on the history has every block, where there is no mark
//! ```

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use millrace_core::Height;
use millrace_core::commitment::{COMMITMENT_BYTES, Commitment};

use crate::StoreError;
use crate::record::{join, take};
use crate::runs::key::{OUTPOINT_KEY_BYTES, OutpointKey};

pub(super) const STATE_BYTES: usize = 2_048;

const MAGIC: [u8; 4] = *b"MCMT";

const HAS_MARK: u8 = 1;
const HAS_BLOCK: u8 = 2;
const HAS_MORE: u8 = 4;

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The newest stable block.
    pub block: BlockHash,
    /// Its height.
    pub height: Height,
    /// Coins below it are in; all are when there is none.
    pub mark: Option<OutpointKey>,
    pub set: Commitment,
    /// Height from which on the history has every block; of no meaning while there is a mark.
    pub since: Height,
    pub in_hand: Option<InHand>,
}

/// The block that may become stable next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InHand {
    pub block: BlockHash,
    /// Where its change goes on; `None` once it is all taken in.
    pub next: Option<OutpointKey>,
    /// What it does to coins below the mark.
    pub change: Commitment,
}

impl State {
    pub(super) fn encode(&self) -> [u8; STATE_BYTES] {
        let in_hand = self.in_hand.as_ref();
        let next = in_hand.and_then(|it| it.next);
        let mut flags = 0;
        for (flag, is_set) in [
            (HAS_MARK, self.mark.is_some()),
            (HAS_BLOCK, in_hand.is_some()),
            (HAS_MORE, next.is_some()),
        ] {
            if is_set {
                flags |= flag;
            }
        }
        let block = in_hand.map_or([0; 32], |it| it.block.to_byte_array());
        let change = in_hand.map_or([0; COMMITMENT_BYTES], |it| it.change.to_bytes());
        join(&[
            &MAGIC,
            &[flags, 0, 0, 0],
            &self.height.get().to_le_bytes(),
            self.block.as_byte_array(),
            &key_bytes(self.mark),
            &self.set.to_bytes(),
            &block,
            &key_bytes(next),
            &change,
            &self.since.get().to_le_bytes(),
        ])
    }

    /// Reads a state, or that there is none.
    pub(super) fn decode(bytes: &[u8; STATE_BYTES]) -> Result<Option<Self>, StoreError> {
        let mut rest = bytes.as_slice();
        let magic: [u8; 4] = take(&mut rest).unwrap_or_default();
        if magic == [0; 4] {
            return Ok(None);
        }
        let [flags, ..]: [u8; 4] = take(&mut rest).unwrap_or_default();
        if magic != MAGIC || flags & !(HAS_MARK | HAS_BLOCK | HAS_MORE) != 0 {
            let found = format!("it begins with {magic:02x?}, flags {flags:#04x}");
            return Err(StoreError::damaged("commitment", found));
        }
        let height = Height::new(u32::from_le_bytes(take(&mut rest).unwrap_or_default()));
        let block = BlockHash::from_byte_array(take(&mut rest).unwrap_or_default());
        let mark = OutpointKey::take(&mut rest).filter(|_| flags & HAS_MARK != 0);
        let set = commitment_of(&mut rest);
        let in_hand = InHand {
            block: BlockHash::from_byte_array(take(&mut rest).unwrap_or_default()),
            next: OutpointKey::take(&mut rest).filter(|_| flags & HAS_MORE != 0),
            change: commitment_of(&mut rest),
        };
        Ok(Some(Self {
            block,
            height,
            mark,
            set,
            since: Height::new(u32::from_le_bytes(take(&mut rest).unwrap_or_default())),
            in_hand: (flags & HAS_BLOCK != 0).then_some(in_hand),
        }))
    }
}

fn key_bytes(key: Option<OutpointKey>) -> [u8; OUTPOINT_KEY_BYTES] {
    key.map_or([0; OUTPOINT_KEY_BYTES], |key| key.to_bytes())
}

fn commitment_of(rest: &mut &[u8]) -> Commitment {
    let bytes = take::<COMMITMENT_BYTES>(rest);
    bytes.map_or_else(Commitment::default, |bytes| Commitment::from_bytes(&bytes))
}
