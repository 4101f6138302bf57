//! What takes coins into a commitment: the walk over the stable set, and blocks before they become stable.

use bitcoin::{BlockHash, OutPoint};
use ic_stable_structures::Memory;
use millrace_core::Network;
use millrace_core::commitment::{Commitment, Committer, CountedCoin, counts};

use super::{InHand, Standing};
use crate::coins::Progress;
use crate::runs::coin_entry::PutCoin;
use crate::runs::key::OutpointKey;
use crate::{Store, StoreError};

impl<M: Memory> Store<M> {
    /// Begins a commitment to the stable set unless there is one to it as it is.
    ///
    /// # Errors
    /// [`StoreError::OutOfMemory`]; nothing changes then.
    pub fn begin_commitment(&mut self) -> Result<(), StoreError> {
        let root = self.tree.root_hash();
        if self.commitments.standing(&root) != Standing::None {
            return Ok(());
        }
        let height = self.anchor_height();
        self.commitments.begin(root, height)
    }

    /// Takes up to `budget` further entries (at least one) of the change of a connected child of the root
    /// into the commitment. Some 50,000 instructions for each.
    ///
    /// After [`Progress::Done`] the block may become stable, and the commitment follows. Nothing is done
    /// where there is no commitment to follow.
    ///
    /// # Errors
    /// [`StoreError`]; the commitment is what it was.
    pub fn commit_step(
        &mut self,
        child: &BlockHash,
        budget: usize,
    ) -> Result<Progress, StoreError> {
        let root = self.tree.root_hash();
        let network = self.network();
        let Some(state) = self
            .commitments
            .state
            .as_mut()
            .filter(|it| it.block == root)
        else {
            return Ok(Progress::Done);
        };
        let in_hand = state.in_hand.as_ref().filter(|it| it.block == *child);
        let (from, before) = match in_hand {
            Some(InHand { next: None, .. }) => return Ok(Progress::Done),
            Some(InHand {
                next: Some(next),
                change,
                ..
            }) => (*next, change.clone()),
            None => (OutpointKey::FIRST, Commitment::default()),
        };
        let page = self
            .coins
            .change_page(child, &from, state.mark.as_ref(), budget)?;
        let mut committer = Committer::new(before);
        for (outpoint, coin) in &page.gone {
            count(network, outpoint, coin, |coin| committer.take(coin))?;
        }
        for (outpoint, coin) in &page.puts {
            count(network, outpoint, coin, |coin| committer.put(coin))?;
        }
        state.in_hand = Some(InHand {
            block: *child,
            next: page.next,
            change: committer.finish(),
        });
        self.commitments.save();
        Ok(match page.next {
            Some(_) => Progress::More,
            None => Progress::Done,
        })
    }

    /// Moves the mark over up to `budget` outpoints (at least one) of the stable set. Some 63,000
    /// instructions for each that has a coin. What is taken in of a block is dropped: it was as far
    /// as the mark.
    ///
    /// # Errors
    /// [`StoreError`]; the commitment is what it was.
    pub fn sweep_step(&mut self, budget: usize) -> Result<Progress, StoreError> {
        let root = self.tree.root_hash();
        let network = self.network();
        let state = self
            .commitments
            .state
            .as_mut()
            .filter(|it| it.block == root);
        let Some((state, mark)) = state.and_then(|state| state.mark.map(|mark| (state, mark)))
        else {
            return Ok(Progress::Done);
        };
        let page = self.coins.stable_page(&mark, budget)?;
        let mut committer = Committer::new(state.set.clone());
        for (outpoint, coin) in &page.coins {
            count(network, outpoint, coin, |coin| committer.put(coin))?;
        }
        state.set = committer.finish();
        state.mark = page.next;
        state.since = state.height;
        state.in_hand = None;
        self.commitments.save();
        if page.next.is_some() {
            return Ok(Progress::More);
        }
        self.commitments.note_height();
        Ok(Progress::Done)
    }
}

/// Gives a coin away as it is hashed, if it counts.
fn count(
    network: Network,
    outpoint: &OutpointKey,
    coin: &PutCoin,
    to: impl FnOnce(&CountedCoin<'_>),
) -> Result<(), StoreError> {
    if !counts(network, coin.height, coin.coinbase) {
        return Ok(());
    }
    let script = coin.script.parts();
    let script = script.ok_or_else(|| StoreError::damaged("coin", "its script is elsewhere"))?;
    to(&CountedCoin {
        outpoint: OutPoint::from(outpoint),
        height: coin.height,
        coinbase: coin.coinbase,
        satoshi: coin.value.to_sat(),
        script: &script,
    });
    Ok(())
}
