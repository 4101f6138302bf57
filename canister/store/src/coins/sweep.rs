//! Goes through the coins of a block's change, or of the whole stable set, in the order of outpoints, a
//! page at a time. A page needs nothing of the one before but where that ended, so that merges, and new
//! stable blocks, may come between two of them.

use bitcoin::{BlockHash, OutPoint};
use ic_stable_structures::Memory;

use super::resolve::Resolver;
use super::{Coins, Progress};
use crate::StoreError;
use crate::runs::change::ChangeRuns;
use crate::runs::coin_cursor::CoinCursor;
use crate::runs::coin_entry::PutCoin;
use crate::runs::key::OutpointKey;

/// Some of a block's change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangePage {
    /// New coins.
    pub puts: Vec<(OutpointKey, PutCoin)>,
    /// Coins that are gone, as they were before the block.
    pub gone: Vec<(OutpointKey, PutCoin)>,
    /// Where the change goes on; `None` after its last entry.
    pub next: Option<OutpointKey>,
}

/// Some of all coins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StablePage {
    /// Its coins.
    pub coins: Vec<(OutpointKey, PutCoin)>,
    /// Where it goes on; `None` after the last coin.
    pub next: Option<OutpointKey>,
}

impl<M: Memory> Coins<M> {
    /// Returns up to `limit` entries (at least one) of a complete unstable change, from `from` on and
    /// below `end`.
    ///
    /// Coins that are gone are looked up together: a filter and mostly one leaf for each.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such change or its parent's set cannot be read,
    /// [`StoreError::Damaged`] also when a coin that is gone was never there.
    pub fn change_page(
        &self,
        block: &BlockHash,
        from: &OutpointKey,
        end: Option<&OutpointKey>,
        limit: usize,
    ) -> Result<ChangePage, StoreError> {
        let missing = || StoreError::missing("complete change of block", block);
        let id = self.index.of_block(block).ok_or_else(missing)?;
        let node = self.index.find(id).ok_or_else(missing)?;
        let parent = self.manifest.get(id)?.parent;
        let mut cursor = CoinCursor::seek(&self.region, &node.runs.coins, from)?;
        let mut page = ChangePage::default();
        let mut gone: Vec<OutPoint> = Vec::new();
        for _ in 0..limit.max(1) {
            let entry = cursor.next(&self.region)?;
            let Some(entry) = entry.filter(|it| end.is_none_or(|end| it.outpoint < *end)) else {
                page.gone = self.coins_before(parent, gone)?;
                return Ok(page);
            };
            if entry.change.is_spend() {
                gone.push(OutPoint::from(&entry.outpoint));
            }
            if let Some(coin) = entry.change.coin() {
                page.puts.push((entry.outpoint, coin.clone()));
            }
        }
        page.gone = self.coins_before(parent, gone)?;
        page.next = cursor.peek(&self.region)?.map(|head| head.outpoint);
        Ok(page)
    }

    /// Looks up coins that must be there.
    fn coins_before(
        &self,
        tip: BlockHash,
        outpoints: Vec<OutPoint>,
    ) -> Result<Vec<(OutpointKey, PutCoin)>, StoreError> {
        let mut resolver = Resolver::<PutCoin>::keeping(tip, outpoints.into_iter());
        while resolver.step(self, usize::MAX)? == Progress::More {}
        let missing = |outpoint: &OutpointKey| {
            let outpoint = OutPoint::from(outpoint);
            StoreError::damaged(
                "change",
                format!("it spends {outpoint}, which is not there"),
            )
        };
        let answers = resolver.into_answers();
        answers
            .map(|(outpoint, coin)| {
                let coin = coin.ok_or_else(|| missing(&outpoint))?;
                Ok((outpoint, coin))
            })
            .collect()
    }

    /// Returns the coins of the stable set under up to `limit` outpoints (at least one) that some change
    /// names, from `from` on.
    ///
    /// Costs a seek in each stable change, some thousand instructions, and for each outpoint a look at
    /// where each of them stands.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn stable_page(&self, from: &OutpointKey, limit: usize) -> Result<StablePage, StoreError> {
        let newest_first = self.index.stable().iter().rev();
        let runs = newest_first.map(|node| &node.runs);
        page_of(&self.region, runs, from, [limit, usize::MAX, usize::MAX])
    }
}

/// Returns coins of changes, given newest first: under so many outpoints (at least one), so many, or until their
/// scripts have so many bytes, whichever comes first.
pub(super) fn page_of<'a, M: Memory>(
    region: &M,
    changes: impl Iterator<Item = &'a ChangeRuns>,
    from: &OutpointKey,
    [outpoints, coins, script_bytes]: [usize; 3],
) -> Result<StablePage, StoreError> {
    // Of two changes that name an outpoint, the first one knows.
    let mut cursors = changes
        .map(|runs| CoinCursor::seek(region, &runs.coins, from))
        .collect::<Result<Vec<_>, _>>()?;
    let mut page = StablePage::default();
    let mut left = script_bytes;
    for _ in 0..outpoints.max(1) {
        let Some((at, outpoint)) = first_of(&mut cursors, region)? else {
            return Ok(page);
        };
        for (other, cursor) in cursors.iter_mut().enumerate() {
            if other == at {
                let entry = cursor.next(region)?;
                let coin = entry.and_then(|entry| entry.change.coin().cloned());
                let script = coin.as_ref().and_then(|coin| coin.script.parts());
                let bytes = script.map_or(0, |parts| parts.iter().map(|part| part.len()).sum());
                left = left.saturating_sub(bytes);
                page.coins.extend(coin.map(|coin| (outpoint, coin)));
            } else if cursor.peek(region)?.map(|head| head.outpoint) == Some(outpoint) {
                cursor.advance();
            }
        }
        if left == 0 || page.coins.len() >= coins {
            break;
        }
    }
    page.next = first_of(&mut cursors, region)?.map(|(_, outpoint)| outpoint);
    Ok(page)
}

/// Returns the smallest outpoint that comes next in some run, and the first of the runs where it does.
fn first_of<M: Memory>(
    cursors: &mut [CoinCursor],
    region: &M,
) -> Result<Option<(usize, OutpointKey)>, StoreError> {
    let mut first: Option<(usize, OutpointKey)> = None;
    for (at, cursor) in cursors.iter_mut().enumerate() {
        if let Some(head) = cursor.peek(region)?
            && first.is_none_or(|(_, outpoint)| head.outpoint < outpoint)
        {
            first = Some((at, head.outpoint));
        }
    }
    Ok(first)
}
