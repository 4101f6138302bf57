//! Relays through a Bitcoin Core node: `sendrawtransaction`, which says why a transaction is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::Txid;
use bitcoin::hex::DisplayHex;
use millrace_p2p::node::{RelayOutcome, RelayTransaction};

use crate::node::{Node, NodeError, Submitted};

/// How often a transaction that the node has is handed over again: the node announces it anew.
pub const REPEAT_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// How often one is tried whose inputs the node does not know: it may lag, or the parent may come.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(20);

/// Attempts until inputs that the node does not know are a reason to reject.
pub const ORPHAN_ATTEMPTS: u32 = 6;

struct Pending {
    bytes: String,
    due: Duration,
    orphan_attempts: u32,
    outcome: Option<RelayOutcome>,
}

/// Transactions handed to a node, at most [`super::desk::MAX_RELAYED`].
pub struct NodeRelay {
    node: Node,
    pending: BTreeMap<Txid, Pending>,
}

impl NodeRelay {
    /// Starts with nothing to relay.
    pub const fn new(node: Node) -> Self {
        Self {
            node,
            pending: BTreeMap::new(),
        }
    }

    /// Takes transactions over.
    pub fn add(&mut self, now: Duration, transactions: &[RelayTransaction]) {
        for added in transactions {
            self.pending.entry(added.txid).or_insert_with(|| Pending {
                bytes: added.bytes.to_lower_hex_string(),
                due: now,
                orphan_attempts: 0,
                outcome: None,
            });
        }
    }

    /// Forgets transactions.
    pub fn forget(&mut self, txids: &[Txid]) {
        for txid in txids {
            self.pending.remove(txid);
        }
    }

    /// Returns when [`NodeRelay::step`] has something to do.
    pub fn wake_at(&self) -> Duration {
        let due = self.pending.values().map(|pending| pending.due).min();
        due.unwrap_or(Duration::MAX)
    }

    /// Hands over one transaction that is due, and returns what is new about it. Costs one call.
    ///
    /// # Errors
    /// [`NodeError`] if the node cannot be asked; the transaction is tried again later.
    pub async fn step(&mut self, now: Duration) -> Result<Option<(Txid, RelayOutcome)>, NodeError> {
        // The one that has waited longest: a child that is tried again and again must not keep its
        // parent back.
        let longest = self
            .pending
            .iter_mut()
            .min_by_key(|(_, pending)| pending.due);
        let Some((txid, pending)) = longest.filter(|(_, pending)| pending.due <= now) else {
            return Ok(None);
        };
        pending.due = now.saturating_add(RETRY_INTERVAL);
        let outcome = match self.node.submit(&pending.bytes).await? {
            Submitted::Accepted => RelayOutcome::Announced { peers: 1 },
            // A block holds it: the canister will see that block.
            Submitted::AlreadyConfirmed => RelayOutcome::Seen,
            Submitted::MissingInputs { .. } if pending.orphan_attempts < ORPHAN_ATTEMPTS => {
                pending.orphan_attempts += 1;
                return Ok(None);
            }
            Submitted::MissingInputs { reason } | Submitted::Refused { reason } => {
                RelayOutcome::Rejected { reason }
            }
        };
        pending.orphan_attempts = 0;
        pending.due = now.saturating_add(REPEAT_INTERVAL);
        if pending.outcome.as_ref() == Some(&outcome) {
            return Ok(None);
        }
        pending.outcome = Some(outcome.clone());
        Ok(Some((*txid, outcome)))
    }
}
