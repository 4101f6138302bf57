//! Keeps Bitcoin Core's commitment to the stable set: MuHash, number of coins, amount, bogosize; and what
//! it was after each of the last [`HISTORY`] stable blocks.
//!
//! Always true, at every pause: *it has the stable coins whose outpoints are below its mark, and no
//! others*. Begun at any time, the mark is at the smallest outpoint (at the genesis block, whose coins do not
//! count, there is none), and a walk over the stable set moves it
//! up, page by page, until there is none. A block that becomes stable is taken in first, as far as
//! it changes coins below the mark: its puts multiply, its spends, looked up before it, divide. That is a
//! change of its own until the block is stable, and is dropped should another one be stable instead.
//! So blocks never wait for the walk, nor the walk for blocks, and merges may come at any time.
//!
//! ```text
//! offset    0  state, 2 KiB: see [`state`]
//! offset 4096  history: the record of a height is at the height modulo 4,032
//! record, 1 KiB
//! offset size
//!      0    4  magic "MCMH"
//!      4    4  height
//!      8   32  hash of the block
//!     40  808  the commitment
//! ```
//!
//! Numbers are little endian. The region stays empty until a commitment is begun, and takes 4 MiB then.

mod audit;
mod state;
mod steps;

#[cfg(test)]
mod tests;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use ic_stable_structures::Memory;
use millrace_core::Height;
use millrace_core::commitment::{COMMITMENT_BYTES, Commitment};

use crate::StoreError;
use crate::layout::WASM_PAGE_BYTES;
use crate::record::{join, take};
use crate::runs::key::OutpointKey;

use state::{InHand, STATE_BYTES, State};

/// Stable blocks whose commitments are kept: two difficulty periods, some four weeks, in 4 MB.
pub const HISTORY: u32 = 4_032;

const HISTORY_START: u64 = 4_096;

const RECORD_BYTES: usize = 1_024;

const MAGIC: [u8; 4] = *b"MCMH";

/// What is kept of a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedBlock {
    /// The block's height.
    pub height: Height,
    /// The block.
    pub block: BlockHash,
    /// The commitment to the coins after it.
    pub commitment: Commitment,
}

/// How far a commitment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none to the stable set as it is.
    None,
    /// The walk over the stable set is under way.
    CatchingUp {
        /// Coins that it has.
        coins: u64,
    },
    /// It has all stable coins.
    Complete {
        /// The lowest height of which it is known.
        first: Height,
        /// The height of the newest stable block.
        last: Height,
    },
}

/// See the module's documentation.
pub struct Commitments<M: Memory> {
    region: M,
    state: Option<State>,
    /// Whether a fault gave it up until the store is opened again.
    is_given_up: bool,
}

impl<M: Memory> Commitments<M> {
    /// Reads the state, if there is one.
    pub(crate) fn open(region: M) -> Result<Self, StoreError> {
        let mut commitments = Self {
            region,
            state: None,
            is_given_up: false,
        };
        commitments.state = commitments.stored()?;
        Ok(commitments)
    }

    fn stored(&self) -> Result<Option<State>, StoreError> {
        if self.region.size() == 0 {
            return Ok(None);
        }
        let mut bytes = [0; STATE_BYTES];
        self.region.read(0, &mut bytes);
        State::decode(&bytes)
    }

    /// Returns how far it is, given the newest stable block.
    pub fn standing(&self, root: &BlockHash) -> Standing {
        match self.at(root) {
            None => Standing::None,
            Some(state) if state.mark.is_some() => Standing::CatchingUp {
                coins: u64::try_from(state.set.totals.outputs).unwrap_or_default(),
            },
            Some(state) => Standing::Complete {
                first: (state.since).max(state.height.saturating_sub(Height::new(HISTORY - 1))),
                last: state.height,
            },
        }
    }

    /// Returns whether a fault gave it up until the store is opened again.
    pub const fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// Gives it up until the store is opened again: going on would only repeat a fault.
    pub fn give_up(&mut self) {
        self.is_given_up = true;
        self.forget();
    }

    /// Forgets it; what is kept of heights stays.
    pub fn forget(&mut self) {
        if self.state.take().is_some() {
            self.region.write(0, &[0; STATE_BYTES]);
        }
    }

    /// Returns what is kept of a height, or `None`.
    pub fn of_height(&self, height: Height) -> Option<CommittedBlock> {
        if self.region.size() == 0 {
            return None;
        }
        let mut bytes = [0; RECORD_BYTES];
        self.region.read(place_of(height), &mut bytes);
        let mut rest = bytes.as_slice();
        let magic: [u8; 4] = take(&mut rest)?;
        let found = Height::new(u32::from_le_bytes(take(&mut rest)?));
        (magic == MAGIC && found == height).then_some(())?;
        Some(CommittedBlock {
            height,
            block: BlockHash::from_byte_array(take(&mut rest)?),
            commitment: Commitment::from_bytes(&take::<COMMITMENT_BYTES>(&mut rest)?),
        })
    }

    /// Returns whether a block's change is taken in, so that the block may become stable.
    pub fn is_ready(&self, block: &BlockHash) -> bool {
        let in_hand = self.state.as_ref().and_then(|state| state.in_hand.as_ref());
        in_hand.is_some_and(|it| it.block == *block && it.next.is_none())
    }

    /// Begins anew with a commitment to all coins of a set that takes the place of the stable one.
    pub(crate) fn begin_with(
        &mut self,
        block: BlockHash,
        height: Height,
        set: Commitment,
    ) -> Result<(), StoreError> {
        self.begin(block, height)?;
        if let Some(state) = &mut self.state {
            state.set = set;
            state.mark = None;
        }
        self.save();
        self.note_height();
        Ok(())
    }

    /// Begins anew, with no coin, at the newest stable block. Of the genesis block's set none is wanting.
    fn begin(&mut self, block: BlockHash, height: Height) -> Result<(), StoreError> {
        let bytes = HISTORY_START + u64::from(HISTORY) * RECORD_BYTES as u64;
        let pages = bytes.div_ceil(WASM_PAGE_BYTES);
        let missing = pages.saturating_sub(self.region.size());
        if missing > 0 && self.region.grow(missing) < 0 {
            let pages = self.region.size();
            return Err(StoreError::OutOfMemory { pages });
        }
        self.state = Some(State {
            block,
            height,
            mark: (height > Height::ZERO).then_some(OutpointKey::FIRST),
            set: Commitment::default(),
            since: height,
            in_hand: None,
        });
        self.save();
        self.note_height();
        Ok(())
    }

    /// Returns the state if it is that of the newest stable block.
    fn at(&self, root: &BlockHash) -> Option<&State> {
        self.state.as_ref().filter(|state| state.block == *root)
    }

    /// Notes that a block became stable after `parent`.
    pub(crate) fn retire(&mut self, parent: &BlockHash, block: &BlockHash) {
        let Some(state) = self.state.as_mut().filter(|it| it.block == *parent) else {
            return;
        };
        let in_hand = state.in_hand.take();
        let Some(done) = in_hand.filter(|it| it.block == *block && it.next.is_none()) else {
            // It was not asked to follow: it stays behind, and is begun anew when it is.
            self.save();
            return;
        };
        state.set.combine(&done.change);
        state.block = *block;
        state.height = state.height.next();
        self.save();
        self.note_height();
    }

    /// Makes the state durable.
    fn save(&self) {
        if let Some(state) = &self.state {
            self.region.write(0, &state.encode());
        }
    }

    /// Keeps the commitment of the newest stable block, if it is complete.
    fn note_height(&self) {
        if let Some(state) = self.state.as_ref().filter(|it| it.mark.is_none()) {
            let record: [u8; RECORD_BYTES] = join(&[
                &MAGIC,
                &state.height.get().to_le_bytes(),
                state.block.as_byte_array(),
                &state.set.to_bytes(),
            ]);
            self.region.write(place_of(state.height), &record);
        }
    }
}

const fn place_of(height: Height) -> u64 {
    HISTORY_START + (height.get() % HISTORY) as u64 * RECORD_BYTES as u64
}
