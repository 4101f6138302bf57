//! Which peer holds up the download, and what to do about it.

use std::time::Duration;

use super::Node;
use super::api::{CloseReason, ConnectionKind, PeerId};
use super::blocks::Server;
use super::download::{Obstacle, Stall};
use super::peer::Peer;

/// How long a peer may take for one block if nobody else downloads (Bitcoin Core's block interval times
/// `BLOCK_DOWNLOAD_TIMEOUT_BASE`), and half of it for every other peer that does.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(10 * 60);
impl Node {
    /// Starts, keeps or stops the clock of the peer that holds everything up: it owes the first
    /// wanted block, nothing more may be asked for before that comes, and another peer is idle.
    /// Without a wanted block it is the consumer who holds things up, and no clock runs.
    pub(super) fn look_for_staller(&mut self, servers: &[Server]) {
        let blocked = matches!(
            self.download.obstacle,
            Some(Obstacle::Window | Obstacle::Budget)
        );
        let first = self.download.first_wanted().filter(|_| blocked);
        let stall = first.and_then(|block| {
            let height = self.headers.height_of(block)?;
            let owners = self.peers.iter().filter_map(|(id, peer)| {
                let request = peer.serving.requests.get(&block)?;
                Some((request.asked_at, id))
            });
            let (_, peer) = owners.min()?;
            let other = servers.iter().any(|server| {
                server.id != *peer && server.has_free_slot() && self.serves(server, block, height)
            });
            let since = self.now.elapsed;
            other.then_some(Stall {
                peer: *peer,
                block,
                since,
            })
        });
        self.download.stall = match (self.download.stall, stall) {
            (Some(old), Some(new)) if (old.peer, old.block) == (new.peer, new.block) => Some(old),
            (_, new) => new,
        };
    }

    /// Ends the connection of the peer that holds everything up, once its time is over.
    pub(super) fn check_staller(&mut self) {
        let Some(stall) = self.download.stall else {
            return;
        };
        let held_up = self.now.elapsed.saturating_sub(stall.since);
        if held_up < self.download.stall_timeout {
            return;
        }
        self.download.stall = None;
        self.download.strain();
        let reason = format!(
            "held up the download for {:.1} s by not sending block {}",
            held_up.as_secs_f32(),
            stall.block
        );
        self.close(stall.peer, CloseReason::Slow { reason });
    }

    /// Ends a connection whose blocks take far too long.
    pub(super) fn check_blocks(&mut self, id: PeerId) {
        let now = self.now.elapsed;
        let others = self
            .ready_peers()
            .filter(|(other, peer)| *other != id && !peer.serving.requests.is_empty())
            .count();
        let is_alone = self.ready_peers().all(|(other, _)| other == id);
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if now < block_deadline(peer, others) {
            return;
        }
        let is_alive = peer.heard_at > peer.serving.downloading_since;
        if is_alone && is_alive && peer.kind == ConnectionKind::Fixed {
            // There is nobody else, so asking again is the best there is.
            return self.release_requests(id);
        }
        let waited = now.saturating_sub(peer.serving.downloading_since);
        let reason = format!("sent no block for {} s", waited.as_secs());
        self.close(id, CloseReason::Slow { reason });
    }

    /// Returns when [`Node::check_blocks`] is next worth a call.
    pub(super) fn blocks_due(&self) -> Option<Duration> {
        let downloading = self
            .ready_peers()
            .filter(|(_, peer)| !peer.serving.requests.is_empty());
        let others = downloading.clone().count().saturating_sub(1);
        downloading
            .map(|(_, peer)| block_deadline(peer, others))
            .min()
    }
}

fn block_deadline(peer: &Peer, others: usize) -> Duration {
    if peer.serving.requests.is_empty() {
        return Duration::MAX;
    }
    let halves = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(2);
    let timeout = (BLOCK_TIMEOUT / 2).saturating_mul(halves);
    peer.serving.downloading_since.saturating_add(timeout)
}
