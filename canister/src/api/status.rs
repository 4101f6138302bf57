//! `get_status`, `get_chain_tips` and `get_fee_percentiles`.

use ic_stable_structures::Memory;
use millrace_candid as wire;
use millrace_candid::{
    ChainTip, ChainTipStatus, ChainTips, FeePercentiles, GetChainTipsArgs, GetChainTipsResult,
    GetFeePercentilesArgs, GetFeePercentilesResult, GetStatusArgs, GetStatusResult,
};
use millrace_core::tree::{BlockStatus, Node};
use millrace_store::cells::Counter;

use crate::{App, convert};

/// Tips in one response, at most.
pub const MAX_TIPS: usize = 100;

impl<M: Memory> App<M> {
    /// Returns the canister's state, and that of the chain that ends at the best or the given block;
    /// answered whatever the API's access is.
    ///
    /// # Errors
    /// [`wire::ReadError`] for a tip that cannot be read at.
    pub fn get_status(&self, args: &GetStatusArgs) -> GetStatusResult {
        let store = &self.store;
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let work = store
            .tree
            .get(&tip.hash)
            .map(|node| node.context().chain_work());
        let best_header = store.tree.best_header_tip();
        let (outbox_transactions, outbox_bytes) = store.outbox.kept();
        Ok(wire::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain: convert::chain(store.network()),
            tip: tip.to_wire(),
            chain_work: work.unwrap_or_default().to_string(),
            minimum_chain_work: convert::minimum_work(self.config.access.minimum_chain_work),
            anchor: convert::block_id(store.tree.root_hash(), store.anchor_height()),
            best_header: convert::block_id(best_header, self.height(&best_header)),
            synced: self.is_synced(),
            syncing: convert::flag(self.config.is_syncing),
            api_access: convert::flag(self.config.access.is_api_enabled),
            utxos_length: store.view(&tip.hash).map_or(0, |view| view.utxo_count()),
            unstable_blocks: convert::length(store.tree.len().saturating_sub(1)),
            queued_blocks: convert::length(store.queue.len()),
            pending_blocks: store.held().0,
            outbox_transactions: convert::length(outbox_transactions),
            outbox_bytes: outbox_bytes.get(),
            limits: self.limits_status(),
            utxo_set_commitment: self.commitment_standing(),
        })
    }

    fn limits_status(&self) -> wire::LimitsStatus {
        let count = |counter| self.store.counters.get(counter);
        let config = self.get_config();
        let (free_blocks, free_bytes) = self.free();
        wire::LimitsStatus {
            instructions_per_heartbeat: config.budgets.instructions_per_heartbeat,
            stable_pages_per_heartbeat: config.budgets.stable_pages_per_heartbeat,
            stable_pages_per_ten_minutes: config.stable_pages_per_ten_minutes,
            cycles_reserve: config.cycles_reserve,
            free_blocks,
            free_bytes: free_bytes.get(),
            last_heartbeat_instructions: self.last_beat.instructions,
            last_heartbeat_stable_pages: self.last_beat.pages_written.get(),
            stable_pages_in_ten_minutes: self.window.total(self.message_time).get(),
            low_on_cycles: self.is_low_on_cycles,
            low_on_memory: self.is_low_on_memory(),
            cautious: self.store.cells.watch().cautious > 0,
            instructions_hit: count(Counter::InstructionsHit),
            stable_pages_hit: count(Counter::PagesHit),
            ten_minutes_hit: count(Counter::WindowHit),
            low_on_cycles_heartbeats: count(Counter::LowOnCycles),
            memory_refusals: count(Counter::MemoryRefusals),
            no_room: count(Counter::PartsNoRoom).saturating_add(count(Counter::PulledNoRoom)),
        }
    }

    /// Returns the branches above the newest stable block, as seen from the chain that ends at the
    /// best or the given block: the ends of all branches, and that block first. Costs O(unstable
    /// blocks).
    ///
    /// # Errors
    /// [`wire::ReadError`] for a tip that cannot be read at.
    pub fn get_chain_tips(&self, args: &GetChainTipsArgs) -> GetChainTipsResult {
        let tree = &self.store.tree;
        let tip = self.read_tip(args.at_tip.as_ref())?;
        let mut tips: Vec<&Node> = tree.tips().filter(|node| node.hash() != tip.hash).collect();
        tips.sort_by_key(|node| (std::cmp::Reverse(node.context().height()), node.hash()));
        // A block with children that are not on its chain is no end of a branch, but the chain's.
        let all: Vec<&Node> = tree.get(&tip.hash).into_iter().chain(tips).collect();
        let omitted = all.len().saturating_sub(MAX_TIPS);
        let described = all.into_iter().take(MAX_TIPS).map(|node| {
            let hash = node.hash();
            let height = node.context().height();
            let fork = tree.common_ancestor(&hash, &tip.hash);
            let fork = fork.map_or(height, |node| node.context().height());
            ChainTip {
                block: convert::block_id(hash, height),
                status: match node.status() {
                    BlockStatus::Connected if hash == tip.hash => ChainTipStatus::Active,
                    BlockStatus::Connected => ChainTipStatus::Connected,
                    BlockStatus::BodyHeld => ChainTipStatus::Held,
                    BlockStatus::HeaderOnly => ChainTipStatus::HeaderOnly,
                    BlockStatus::Invalid(_) => ChainTipStatus::Invalid,
                },
                branch_length: height.saturating_sub(fork).get(),
            }
        });
        Ok(ChainTips {
            tips: described.collect(),
            omitted: convert::length(omitted),
            tip: tip.to_wire(),
        })
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
