//! Which blocks are pushed without their witness data.
//!
//! Witness data is about half of a block's bytes and in none of its ids, so the canister takes a block
//! without it, whichever rules it checks: what cannot be checked then is the witness commitment, which the
//! proof of work below many blocks vouches for. What it needs witness data for are the virtual sizes of
//! transactions near the tip, from which fee percentiles come.

use millrace_core::Height;
use millrace_core::block::BlockError;

use super::Engine;

/// The usual depth below the best header from which on blocks go without witness data. Fee percentiles
/// are taken from the blocks above the canister's anchor, which are 144 on mainnet; and a reorganisation
/// that deep has never been.
pub const WITNESS_DEPTH: u32 = 144;

/// How old blocks are made smaller.
#[derive(Clone, Copy, Debug)]
pub struct WitnessStripping {
    /// Blocks more than so many below the best header are stripped; see [`WITNESS_DEPTH`].
    pub depth: u32,
    /// Returns a serialised block without its witness data.
    pub strip: fn(&[u8]) -> Result<Vec<u8>, BlockError>,
}

impl Engine {
    /// Chooses anew which blocks are pushed in full. It is done only where a block is begun anew: all
    /// parts of one must come from the same bytes.
    pub(super) fn choose_witness_height(&mut self) {
        let Some(stripping) = self.config.witness else {
            return;
        };
        let at_canister = self.view.as_ref().map(|view| view.best_header.height);
        let best = self
            .headers
            .tip_height()
            .max(at_canister.unwrap_or_default());
        self.full_from = best.saturating_sub(Height::new(stripping.depth));
    }

    /// Returns a block's bytes as they are pushed. One that cannot be stripped is left as it is: the
    /// canister judges it.
    pub(super) fn in_pushed_form(&self, height: Height, bytes: Vec<u8>) -> Vec<u8> {
        match self.config.witness {
            Some(stripping) if height < self.full_from => {
                (stripping.strip)(&bytes).unwrap_or(bytes)
            }
            _ => bytes,
        }
    }
}
