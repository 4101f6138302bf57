//! Checks that a commitment has the coins it says it has.

use bitcoin::hashes::{HashEngine, sha256};
use ic_stable_structures::Memory;
use millrace_core::commitment::{Totals, counts};

use super::Commitments;
use super::state::State;
use crate::runs::key::OutpointKey;
use crate::{Store, StoreError};

/// Outpoints looked at between two seeks.
const PAGE: usize = 4_096;

impl<M: Memory> Store<M> {
    /// A commitment to the stable set as it is has the sums of the coins below its mark, and its stored
    /// form says the same. (Its hash is for tests that recompute it: that costs a thousand times as much.)
    pub(crate) fn audit_commitment(&self) -> Result<(), StoreError> {
        let broken = |detail: String| Err(StoreError::damaged("commitment", detail));
        if self.commitments.stored()? != self.commitments.state {
            return broken("its stored form is another one".to_owned());
        }
        let root = self.tree.root_hash();
        let Some(state) = self.commitments.at(&root) else {
            return Ok(());
        };
        if state.height != self.anchor_height() {
            return broken(format!("it says that {root} has height {}", state.height));
        }
        let found = self.totals_below(state)?;
        if found != state.set.totals {
            return broken(format!(
                "it has {:?}, the coins {found:?}",
                state.set.totals
            ));
        }
        let is_next = |hash| {
            let node = self.tree.get(hash);
            node.is_none_or(|node| node.context().header().prev_blockhash == root)
        };
        match &state.in_hand {
            Some(it) if !is_next(&it.block) => broken(format!("{} is no next block", it.block)),
            _ => Ok(()),
        }
    }

    fn totals_below(&self, state: &State) -> Result<Totals, StoreError> {
        let mut totals = Totals::default();
        let mut next = Some(OutpointKey::FIRST);
        while let Some(from) = next {
            let page = self.coins.stable_page(&from, PAGE)?;
            for (outpoint, coin) in &page.coins {
                let is_below = state.mark.is_none_or(|mark| *outpoint < mark);
                if is_below && counts(self.network(), coin.height, coin.coinbase) {
                    let parts = coin.script.parts().unwrap_or_default();
                    let script: usize = parts.iter().map(|part| part.len()).sum();
                    totals.outputs += 1;
                    totals.satoshi += i128::from(coin.value.to_sat());
                    totals.bogosize += 50 + script as i128;
                }
            }
            next = page.next;
        }
        Ok(totals)
    }
}

impl<M: Memory> Commitments<M> {
    /// Adds its content to a digest.
    pub(crate) fn digest(&self, engine: &mut sha256::HashEngine) {
        let Some(state) = &self.state else {
            return;
        };
        engine.input(&state.encode());
        if let Some(kept) = self.of_height(state.height) {
            engine.input(&kept.commitment.to_bytes());
        }
    }
}
