//! `get_block_headers`.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use ic_stable_structures::Memory;
use millrace_candid::{
    BlockHeaders, GetBlockHeadersArgs, GetBlockHeadersResult, HeaderSelector, ReadError,
};
use millrace_core::Height;
use millrace_core::block::encode_header;
use millrace_core::tree::BlockStatus;
use serde_bytes::ByteBuf;

use super::ReadTip;
use crate::{App, convert};

/// Headers in one response, at most.
pub const MAX_HEADERS: u32 = 1_000;

impl<M: Memory> App<M> {
    /// Returns headers of the chain that ends at the best or the given block, stable ones
    /// included; or one by its hash, wherever it is. Those of condemned blocks are not known.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get_block_headers(&self, args: &GetBlockHeadersArgs) -> GetBlockHeadersResult {
        self.check_read(args.at_tip.is_some())?;
        self.headers_of(args, MAX_HEADERS)
    }

    /// As [`App::get_block_headers`], at most `limit` of them, for callers that were let in.
    pub(crate) fn headers_of(
        &self,
        args: &GetBlockHeadersArgs,
        limit: u32,
    ) -> GetBlockHeadersResult {
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let (first, last) = match &args.select {
            HeaderSelector::Range {
                start_height,
                end_height,
            } => header_range(*start_height, *end_height, tip.height.get(), limit)?,
            HeaderSelector::Hash(bytes) => {
                let hash = convert::block_hash(bytes).map_err(convert::malformed_hash)?;
                return self.header_named(hash, tip);
            }
        };
        Ok(BlockHeaders {
            headers: self.headers_between(tip, first, last)?,
            first_height: first,
            on_chain: true,
            tip: tip.to_wire(),
        })
    }

    fn header_named(&self, hash: BlockHash, tip: ReadTip) -> GetBlockHeadersResult {
        let unknown = || ReadError::UnknownBlock {
            hash: convert::hash(hash),
        };
        let (header, height) = match self.store.tree.get(&hash) {
            Some(node) if matches!(node.status(), BlockStatus::Invalid(_)) => {
                return Err(unknown());
            }
            Some(node) => (*node.context().header(), node.context().height()),
            None => {
                let height = self.store.headers.height(&hash).ok_or_else(unknown)?;
                let header = self.store.headers.header(height);
                let missing = || ReadError::Internal(format!("no header at height {height}"));
                (header.ok_or_else(missing)?, height)
            }
        };
        Ok(BlockHeaders {
            headers: vec![encode(&header)],
            first_height: height.get(),
            on_chain: self.height_on_chain(&hash, tip).is_some(),
            tip: tip.to_wire(),
        })
    }

    /// Returns the height of a block that is `tip` or below it.
    pub(super) fn height_on_chain(&self, hash: &BlockHash, tip: ReadTip) -> Option<Height> {
        if let Some(node) = self.store.tree.get(hash) {
            let is_below = self.store.tree.is_ancestor(hash, &tip.hash);
            return is_below.then(|| node.context().height());
        }
        self.store.headers.height(hash)
    }

    fn headers_between(
        &self,
        tip: ReadTip,
        first: u32,
        last: u32,
    ) -> Result<Vec<ByteBuf>, ReadError> {
        let anchor = self.store.anchor_height().get();
        let mut headers = Vec::new();
        for height in first..=last.min(anchor) {
            let header = self.store.headers.bytes(Height::new(height));
            let header = header
                .ok_or_else(|| ReadError::Internal(format!("no header at height {height}")))?;
            headers.push(ByteBuf::from(header));
        }
        if last > anchor {
            let first = first.max(anchor.saturating_add(1));
            let top = self.store.tree.ancestor_at(&tip.hash, Height::new(last));
            let top = top.map_or(tip.hash, |node| node.hash());
            let count = (last - first).saturating_add(1) as usize;
            let path = self.store.tree.path(&top).take(count);
            let mut unstable: Vec<_> = path.map(|node| encode(node.context().header())).collect();
            unstable.reverse();
            headers.append(&mut unstable);
        }
        Ok(headers)
    }
}

/// Returns the first and last height to answer with, at most `limit` of them.
fn header_range(
    start: u32,
    end: Option<u32>,
    tip: u32,
    limit: u32,
) -> Result<(u32, u32), ReadError> {
    if start > tip {
        return Err(ReadError::StartHeightDoesNotExist {
            requested: start,
            tip_height: tip,
        });
    }
    if let Some(end) = end {
        if end < start {
            return Err(ReadError::StartHeightLargerThanEndHeight {
                start_height: start,
                end_height: end,
            });
        }
        if end > tip {
            return Err(ReadError::EndHeightDoesNotExist {
                requested: end,
                tip_height: tip,
            });
        }
    }
    let limit = start.saturating_add(limit.saturating_sub(1));
    Ok((start, end.unwrap_or(tip).min(limit)))
}

fn encode(header: &Header) -> ByteBuf {
    ByteBuf::from(encode_header(header))
}
