//! `get_status`, `get_chain_tips` and `get_fee_percentiles`.

use ic_stable_structures::Memory;
use millrace_candid as wire;
use millrace_candid::{
    ChainTip, ChainTipStatus, ChainTips, FeePercentiles, GetFeePercentilesArgs,
    GetFeePercentilesResult,
};
use millrace_core::tree::{BlockStatus, Node};

use crate::{App, convert};

/// Tips in one response, at most.
pub const MAX_TIPS: usize = 100;

impl<M: Memory> App<M> {
    /// Returns the canister's state; answered whatever the API's access is.
    pub fn get_status(&self) -> wire::Status {
        let store = &self.store;
        let (tip, height) = self.tip();
        let best_header = store.tree.best_header_tip();
        let (outbox_transactions, outbox_bytes) = store.outbox.kept();
        wire::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain: convert::chain(store.network()),
            tip: convert::block_id(tip, height),
            anchor: convert::block_id(store.tree.root_hash(), store.anchor_height()),
            best_header: convert::block_id(best_header, self.height(&best_header)),
            synced: self.is_synced(),
            syncing: convert::flag(self.config.is_syncing),
            api_access: convert::flag(self.config.access.is_api_enabled),
            utxos_length: store.view(&tip).map_or(0, |view| view.utxo_count()),
            unstable_blocks: convert::length(store.tree.len().saturating_sub(1)),
            queued_blocks: convert::length(store.queue.len()),
            pending_blocks: store.held().0,
            outbox_transactions: convert::length(outbox_transactions),
            outbox_bytes: outbox_bytes.get(),
        }
    }

    /// Returns the branches above the newest stable block. Costs O(unstable blocks).
    pub fn get_chain_tips(&self) -> ChainTips {
        let tree = &self.store.tree;
        let (best, _) = self.tip();
        let mut tips: Vec<&Node> = tree.tips().filter(|node| node.hash() != best).collect();
        tips.sort_by_key(|node| (std::cmp::Reverse(node.context().height()), node.hash()));
        // A best tip with children that are not connected is no end of a branch, but the chain's.
        let all: Vec<&Node> = tree.get(&best).into_iter().chain(tips).collect();
        let omitted = all.len().saturating_sub(MAX_TIPS);
        let described = all.into_iter().take(MAX_TIPS).map(|node| {
            let hash = node.hash();
            let off_best = tree
                .path(&hash)
                .take_while(|below| !tree.is_ancestor(&below.hash(), &best));
            ChainTip {
                block: convert::block_id(hash, node.context().height()),
                status: match node.status() {
                    BlockStatus::Connected if hash == best => ChainTipStatus::Active,
                    BlockStatus::Connected => ChainTipStatus::Connected,
                    BlockStatus::BodyHeld => ChainTipStatus::Held,
                    BlockStatus::HeaderOnly => ChainTipStatus::HeaderOnly,
                    BlockStatus::Invalid(_) => ChainTipStatus::Invalid,
                },
                branch_length: convert::length(off_best.count()),
            }
        });
        ChainTips {
            tips: described.collect(),
            omitted: convert::length(omitted),
        }
    }

    /// Returns what the newest transactions of a chain paid, as the official canister computes it.
    /// Reads and sorts up to 10,000 values.
    ///
    /// # Errors
    /// [`wire::ReadError`].
    pub fn get_fee_percentiles(&self, args: &GetFeePercentilesArgs) -> GetFeePercentilesResult {
        self.check_read(args.at_tip.is_some())?;
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let values = self.fee_percentiles_at(tip.hash);
        Ok(FeePercentiles {
            millisatoshi_per_vbyte: values.map_err(convert::store_error)?,
            tip: tip.to_wire(),
        })
    }
}
