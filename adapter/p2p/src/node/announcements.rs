//! What peers say they have: blocks and transactions.

use bitcoin::BlockHash;
use bitcoin::p2p::message_blockdata::Inventory;

use super::Node;
use super::api::PeerId;
use crate::message::MAX_INVENTORY;
use crate::relay::RelayEvent;

impl Node {
    pub(super) fn on_inventory(&mut self, id: PeerId, inventory: Vec<Inventory>) {
        if inventory.len() > MAX_INVENTORY {
            let reason = format!("announced {} things at once", inventory.len());
            return self.misbehaved(id, reason);
        }
        let mut newest = None;
        let mut transactions = Vec::new();
        for item in inventory {
            match item {
                Inventory::Block(hash)
                | Inventory::CompactBlock(hash)
                | Inventory::WitnessBlock(hash) => newest = Some(hash),
                Inventory::Transaction(_)
                | Inventory::WTx(_)
                | Inventory::WitnessTransaction(_) => transactions.push(item),
                Inventory::Error | Inventory::Unknown { .. } => {}
            }
        }
        if !transactions.is_empty() {
            let inventory = transactions;
            self.relay(RelayEvent::Announced {
                peer: id,
                inventory,
            });
        }
        // The last one follows the others.
        if let Some(hash) = newest {
            self.on_block_announced(id, hash);
        }
    }

    fn on_block_announced(&mut self, id: PeerId, hash: BlockHash) {
        if self.headers.knows(hash) {
            return self.peer_has(id, hash);
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.chain.announced = Some(hash);
        if peer.chain.is_started && peer.chain.asked.is_none() && peer.chain.presync.is_none() {
            self.request_headers(id, None);
        }
    }
}
