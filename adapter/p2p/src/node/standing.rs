//! Where the node stands, and why nothing moves.

use std::time::Duration;

use bitcoin::BlockHash;
use millrace_core::Height;

use super::Node;
use super::api::{Notice, Now, PeerSummary, Standing};
use super::chain::PeerChain;
use super::download::Obstacle;
use crate::address::PeerAddress;

/// How long nothing must have moved before the user is told.
const QUIET_TIME: Duration = Duration::from_secs(10);

/// Why nothing moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    NoPeers {
        attempts: usize,
        addresses: usize,
        last_failure: Option<(PeerAddress, String)>,
    },
    Headers {
        from: PeerAddress,
        since: Duration,
    },
    LowWork {
        height: Height,
    },
    Block {
        height: Height,
        from: PeerAddress,
        since: Duration,
    },
    Nobody {
        height: Height,
        block: BlockHash,
    },
    Consumer {
        blocks: usize,
        bytes: u64,
    },
}

impl Waiting {
    /// Returns whether both say the same but for numbers that change all the time.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NoPeers { .. }, Self::NoPeers { .. })
            | (Self::Consumer { .. }, Self::Consumer { .. }) => true,
            (one, other) => one == other,
        }
    }

    fn text(&self, now: Duration) -> String {
        let seconds = |since: &Duration| now.saturating_sub(*since).as_secs();
        match self {
            Self::NoPeers {
                attempts,
                addresses,
                last_failure,
            } => {
                let failure = last_failure
                    .as_ref()
                    .map_or_else(String::new, |(peer, reason)| {
                        format!("; the last attempt, at {peer:?}, failed: {reason}")
                    });
                format!(
                    "no peer is connected: {attempts} attempts are under way, {addresses} \
                     addresses are known{failure}"
                )
            }
            Self::Headers { from, since } => {
                format!(
                    "waiting for headers from {from:?} since {} s",
                    seconds(since)
                )
            }
            Self::LowWork { height } => format!(
                "no peer shows a chain with the network's minimum work; height {height} is \
                 believed"
            ),
            Self::Block {
                height,
                from,
                since,
            } => format!(
                "waiting for the block of height {height} from {from:?} since {} s",
                seconds(since)
            ),
            Self::Nobody { height, block } => {
                format!("no connected peer has block {block} of height {height}")
            }
            Self::Consumer { blocks, bytes } => {
                format!("the consumer is full: {blocks} blocks with {bytes} bytes wait for it")
            }
        }
    }
}

/// Since when something has been waited for, and whether the user knows.
#[derive(Clone, Debug, Default)]
pub(super) struct WaitWatch {
    reason: Option<(Waiting, Duration)>,
    is_told: bool,
}

impl Node {
    /// Returns where the node stands. Costs O(peers + blocks on their way).
    pub fn standing(&self, now: Now) -> Standing {
        let ready = self.ready_peers();
        let peers: Vec<PeerSummary> = ready
            .map(|(id, peer)| PeerSummary {
                peer: id,
                address: peer.address,
                kind: peer.kind,
                transport: peer.transport,
                user_agent: peer.user_agent.clone(),
                height: peer.chain.best_height.max(Height::new(peer.start_height)),
                connected_for: now.elapsed.saturating_sub(peer.stage_since),
                ping: peer.ping.best,
                in_flight: count(peer.serving.requests.len()),
                blocks: peer.serving.blocks,
                block_bytes: peer.serving.bytes,
            })
            .collect();
        Standing {
            height: self.headers.tip_height(),
            in_flight: peers.iter().map(|peer| peer.in_flight).sum(),
            peers,
            addresses: count(self.book.len()),
            banned: count(self.book.banned(now.unix)),
            blocks_held: count(self.download.held_count()),
            bytes_held: self.download.bytes_held,
            transactions: count(self.transactions.len()),
            waiting: self.waiting().map(|waiting| waiting.text(now.elapsed)),
        }
    }

    /// Returns whether a peer has shown all headers it has, on a chain with enough work: the best chain is
    /// as complete as could be found out so far.
    pub fn has_all_headers(&self) -> bool {
        let is_enough = self.headers.tip_work() >= self.config.minimum_chain_work;
        let is_done = |chain: &PeerChain| {
            chain.is_started
                && chain.asked.is_none()
                && chain.presync.is_none()
                && !chain.is_low_work
        };
        is_enough && self.ready_peers().any(|(_, peer)| is_done(&peer.chain))
    }

    /// Tells the user when nothing has moved for a while, and when it does again.
    pub(super) fn watch_waiting(&mut self) {
        let now = self.now.elapsed;
        let waiting = self.waiting();
        let is_same = match (&self.wait.reason, &waiting) {
            (Some((old, _)), Some(new)) => old.is_same(new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if !is_same {
            if waiting.is_none() && self.wait.is_told {
                self.notify(Notice::Waiting(None));
                self.wait.is_told = false;
            }
            self.wait.reason = waiting.map(|waiting| (waiting, now));
            return;
        }
        let Some((waiting, since)) = &self.wait.reason else {
            return;
        };
        if !self.wait.is_told && now.saturating_sub(*since) >= QUIET_TIME {
            let text = waiting.text(now);
            self.notify(Notice::Waiting(Some(text)));
            self.wait.is_told = true;
        }
    }

    /// Returns when [`Node::watch_waiting`] is next worth a call.
    pub(super) fn waiting_due(&self) -> Option<Duration> {
        let (_, since) = self.wait.reason.as_ref()?;
        (!self.wait.is_told).then(|| since.saturating_add(QUIET_TIME))
    }

    fn waiting(&self) -> Option<Waiting> {
        if self.ready_peers().next().is_none() {
            return Some(Waiting::NoPeers {
                attempts: self.peers.len(),
                addresses: self.book.len(),
                last_failure: self.connections.last_failure.clone(),
            });
        }
        self.waiting_for_block()
            .or_else(|| self.waiting_for_headers())
            .or_else(|| self.waiting_for_consumer())
    }

    fn waiting_for_block(&self) -> Option<Waiting> {
        let block = self.download.first_wanted()?;
        let height = self.headers.height_of(block)?;
        let owner = self.peers.values().find_map(|peer| {
            let request = peer.serving.requests.get(&block)?;
            Some(Waiting::Block {
                height,
                from: peer.address,
                since: request.asked_at,
            })
        });
        Some(owner.unwrap_or(Waiting::Nobody { height, block }))
    }

    fn waiting_for_headers(&self) -> Option<Waiting> {
        let asked = self
            .ready_peers()
            .filter_map(|(_, peer)| Some((peer.chain.asked?.at, peer.address)))
            .min();
        if let Some((since, from)) = asked {
            return Some(Waiting::Headers { from, since });
        }
        let height = self.headers.tip_height();
        let is_low = self.headers.tip_work() < self.config.minimum_chain_work
            && self.ready_peers().any(|(_, peer)| peer.chain.is_low_work);
        is_low.then_some(Waiting::LowWork { height })
    }

    fn waiting_for_consumer(&self) -> Option<Waiting> {
        let is_full = self.download.obstacle == Some(Obstacle::Budget)
            || self.download.obstacle == Some(Obstacle::Window);
        let blocks = self.download.held_count();
        (is_full && blocks > 0).then_some(Waiting::Consumer {
            blocks,
            bytes: self.download.bytes_held,
        })
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
