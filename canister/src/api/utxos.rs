//! `get_utxos`.

use ic_stable_structures::Memory;
use millrace_candid::{GetUtxosArgs, GetUtxosResult, ReadError, UtxosFilter, UtxosPage};
use millrace_core::page::Page;
use millrace_store::coins::CoinPage;
use serde_bytes::ByteBuf;

use super::{ReadTip, script_hash};
use crate::{App, convert};

/// Coins in one response, at most.
pub const MAX_UTXOS: u32 = 1_000;

impl<M: Memory> App<M> {
    /// Returns one page of an owner's coins, newest first. What it costs depends on the page's
    /// limit and on the number of unstable blocks that touch the owner, not on how many coins there
    /// are or how many came and went; see [`millrace_store::coins::View::coins_of`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get_utxos(&self, args: &GetUtxosArgs) -> GetUtxosResult {
        let is_page = matches!(args.filter, Some(UtxosFilter::Page(_)));
        self.check_read(args.at_tip.is_some() || is_page)?;
        let (tip, page) = self.coins_page(args)?;
        Ok(UtxosPage {
            utxos: page.coins.iter().map(convert::utxo).collect(),
            tip: tip.to_wire(),
            next_page: next_page(tip, &page),
        })
    }

    /// As [`App::get_utxos`], for callers that were let in: the coins, and the block they are read at.
    pub(crate) fn coins_page(&self, args: &GetUtxosArgs) -> Result<(ReadTip, CoinPage), ReadError> {
        let limit = args.limit.unwrap_or(MAX_UTXOS);
        if !(1..=MAX_UTXOS).contains(&limit) {
            return Err(ReadError::LimitOutOfRange {
                given: limit,
                max: MAX_UTXOS,
            });
        }
        // The official canister looks at a page before the address, and at the address before
        // the confirmations.
        let page_start = match &args.filter {
            Some(UtxosFilter::Page(_)) => Some(self.utxos_start(args)?),
            _ => None,
        };
        let script = script_hash(&args.owner, self.store.network())?;
        let (tip, from) = match page_start {
            Some(start) => start,
            None => self.utxos_start(args)?,
        };
        let from = from.map(|page| (page.height, page.outpoint));
        let view = self.view(tip)?;
        let page = view
            .coins_of(&script, from, limit as usize)
            .map_err(convert::store_error)?;
        Ok((tip, page))
    }

    /// Returns the block to read at and where in the list to start.
    fn utxos_start(&self, args: &GetUtxosArgs) -> Result<(ReadTip, Option<Page>), ReadError> {
        let at_tip = args.at_tip.as_ref();
        match &args.filter {
            None => Ok((self.read_tip(at_tip)?, None)),
            Some(UtxosFilter::MinConfirmations(min)) => {
                let tip = self.read_tip(at_tip)?;
                Ok((self.confirmed(tip, *min)?, None))
            }
            Some(UtxosFilter::Page(bytes)) => {
                let page = Page::decode(bytes).map_err(|error| ReadError::MalformedPage {
                    reason: error.to_string(),
                })?;
                let page_tip = convert::hash(page.tip);
                if let Some(at_tip) = at_tip
                    && convert::block_hash(at_tip).map_err(convert::malformed_hash)? != page.tip
                {
                    return Err(ReadError::PageForOtherTip {
                        page_tip,
                        at_tip: at_tip.clone(),
                    });
                }
                Ok((self.read_tip(Some(&page_tip))?, Some(page)))
            }
        }
    }
}

/// Returns where the list that begins with a page goes on, as a caller is to ask for it.
pub(crate) fn next_page(tip: ReadTip, page: &CoinPage) -> Option<ByteBuf> {
    let (height, outpoint) = page.next?;
    let next = Page {
        tip: tip.hash,
        height,
        outpoint,
    };
    Some(ByteBuf::from(next.encode()))
}
