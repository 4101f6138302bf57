//! `get_blockchain_info`.

use candid::Nat;
use ic_stable_structures::Memory;
use millrace_candid::BlockchainInfo;

use crate::{App, convert};

impl<M: Memory> App<M> {
    /// Returns the official interface's summary of the best connected chain.
    pub fn get_blockchain_info(&self) -> BlockchainInfo {
        let (tip, height) = self.tip();
        let node = self.store.tree.get(&tip);
        BlockchainInfo {
            height: height.get(),
            block_hash: convert::hash(tip),
            timestamp: node.map_or(0, |node| node.context().header().time),
            difficulty: Nat::from(node.map_or(0, |node| node.difficulty())),
            utxos_length: self.store.view(&tip).map_or(0, |view| view.utxo_count()),
        }
    }
}
