//! Reads: one endpoint per file. Every read answers at one connected block of the unstable tree
//! and names it.

mod balance;
mod batch;
mod blocks;
mod coins;
mod headers;
mod inclusion;
mod info;
mod status;
mod utxo_set;
mod utxos;

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_candid::{Owner, ReadError};
use millrace_core::Script;
use millrace_core::delta::MAX_SCRIPT_BYTES;
use millrace_core::script::{ScriptHash, script_of_address};
use millrace_core::tree::{BlockStatus, Node};
use millrace_core::{Height, Network};
use serde_bytes::ByteBuf;

use crate::{App, convert};

pub use batch::MAX_BATCH;
pub use blocks::MAX_RESPONSE_BYTES;
pub use coins::MAX_COINS;
pub use headers::MAX_HEADERS;
pub use status::MAX_TIPS;
pub use utxos::MAX_UTXOS;
pub(crate) use utxos::next_page;

/// A block that reads can answer at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadTip {
    pub(crate) hash: BlockHash,
    pub(crate) height: Height,
}

impl ReadTip {
    fn of(node: &Node) -> Self {
        Self {
            hash: node.hash(),
            height: node.context().height(),
        }
    }

    /// Returns how many blocks from `height` on are on the chain that ends here.
    pub(crate) const fn confirmations(self, height: Height) -> u32 {
        self.height.saturating_sub(height).get().saturating_add(1)
    }

    pub(crate) fn to_wire(self) -> millrace_candid::BlockId {
        convert::block_id(self.hash, self.height)
    }
}

impl<M: Memory> App<M> {
    /// Returns the block to answer at: the given one, or the best connected one.
    pub(crate) fn read_tip(&self, at_tip: Option<&ByteBuf>) -> Result<ReadTip, ReadError> {
        let hash = match at_tip {
            Some(bytes) => convert::block_hash(bytes).map_err(convert::malformed_hash)?,
            None => self.store.tree.best_tip(),
        };
        let node = self.store.tree.get(&hash);
        node.filter(|node| node.status() == BlockStatus::Connected)
            .map(ReadTip::of)
            .ok_or_else(|| ReadError::UnknownTip {
                hash: convert::hash(hash),
                min_height: self.store.anchor_height().get(),
            })
    }

    /// Returns the ancestor of `tip` (or `tip`) below which every block has at least
    /// `min_confirmations`, the tip itself having one. The set cannot be read below the root of
    /// the unstable tree: what was spent there is forgotten.
    fn confirmed(&self, tip: ReadTip, min_confirmations: u32) -> Result<ReadTip, ReadError> {
        let depth = min_confirmations.saturating_sub(1);
        let reach = tip.height.saturating_sub(self.store.anchor_height()).get();
        let too_large = ReadError::MinConfirmationsTooLarge {
            given: min_confirmations,
            max: reach.saturating_add(1),
        };
        if depth > reach {
            return Err(too_large);
        }
        let height = tip.height.saturating_sub(Height::new(depth));
        let node = self.store.tree.ancestor_at(&tip.hash, height);
        node.map(ReadTip::of).ok_or(too_large)
    }

    /// Returns the UTXO set at a block that [`App::read_tip`] or [`App::confirmed`] returned.
    fn view(
        &self,
        tip: ReadTip,
    ) -> Result<millrace_store::coins::View<'_, millrace_store::regions::RegionMemory<M>>, ReadError>
    {
        let view = self.store.view(&tip.hash);
        view.ok_or_else(|| ReadError::Internal(format!("no view at {}", tip.hash)))
    }
}

/// Returns the key under which an owner's coins are found.
fn script_hash(owner: &Owner, network: Network) -> Result<ScriptHash, ReadError> {
    match owner {
        Owner::Address(address) => {
            let script = script_of_address(address, network).map_err(convert::address_error)?;
            Ok(ScriptHash::of(&script))
        }
        Owner::Script(bytes) if bytes.len() > MAX_SCRIPT_BYTES => Err(ReadError::ScriptTooLong {
            given: convert::length(bytes.len()),
            max: MAX_SCRIPT_BYTES as u32,
        }),
        Owner::Script(bytes) => Ok(ScriptHash::of(Script::from_bytes(bytes))),
    }
}
