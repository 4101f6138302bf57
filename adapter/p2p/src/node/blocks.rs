//! Block download: whom to ask for which block, and what to do with what comes.

use std::collections::BTreeMap;
use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::p2p::message_blockdata::Inventory;
use millrace_core::Height;
use millrace_core::block::BlockError;

use super::Node;
use super::api::{CloseReason, Command, PeerId};
use super::download::{MAX_IN_FLIGHT, MAX_WANTED, Obstacle, WINDOW};
use super::handshake::serves_all_blocks;
use super::peer::{Peer, Request};
use crate::message::{Message, ReceivedBlock};

/// Blocks below its best one that a pruned peer serves (BIP159), less two for blocks found
/// meanwhile.
const PRUNED_BLOCKS: u32 = 288 - 2;
/// How long a peer is not asked again for a block that it said it does not have.
const LACK_PAUSE: Duration = Duration::from_secs(60);
/// Blocks that a peer said it does not have and that are remembered, at most.
const MAX_LACKS: usize = 1_024;
/// Blocks in a row that a peer may say it does not have.
const MAX_REFUSALS: u32 = 32;
/// Blocks in a row that may have to be fetched elsewhere before a peer has to go.
const MAX_OVERTAKEN: u32 = 16;
/// How long all blocks on their way from one peer may take, by its pace so far.
const DEPTH: Duration = Duration::from_secs(60);
/// How often it is tried again to find a peer for a block that nobody has.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Blocks on their way that may be asked for a second time, at most.
const MAX_SECOND_REQUESTS: usize = 64;

/// A peer that blocks can be asked of.
pub(super) struct Server {
    pub id: PeerId,
    best: BlockHash,
    height: Height,
    /// The height up to which its chain is ours.
    fork: Height,
    /// The lowest height it serves.
    lowest: u32,
    in_flight: usize,
    slots: usize,
    pace: Duration,
}

impl Server {
    pub fn has_free_slot(&self) -> bool {
        self.in_flight < self.slots
    }

    /// Returns how long another block would take, by its pace so far.
    fn wait(&self) -> Duration {
        let blocks = u32::try_from(self.in_flight + 1).unwrap_or(u32::MAX);
        self.pace.saturating_mul(blocks)
    }
}

impl Node {
    pub(super) fn on_want(&mut self, hashes: Vec<BlockHash>) {
        let start = hashes
            .first()
            .filter(|hash| self.headers.is_on_best_chain(**hash))
            .and_then(|hash| self.headers.height_of(*hash));
        for hash in hashes {
            if self.download.is_wanted(hash) {
                continue;
            }
            match self.judge_want(hash) {
                Err(reason) => self.commands.push(Command::CannotDeliver(hash, reason)),
                Ok(height) => self.want(hash, height),
            }
        }
        self.download.rebase(start, &self.headers);
    }

    fn judge_want(&self, hash: BlockHash) -> Result<Height, String> {
        let height = self
            .headers
            .height_of(hash)
            .ok_or_else(|| format!("block {hash} is on no chain the node knows"))?;
        if self.headers.is_refused(hash) {
            return Err(format!(
                "block {hash} breaks a rule, or follows one that does"
            ));
        }
        if self.download.wanted_count() >= MAX_WANTED {
            return Err(format!("{MAX_WANTED} blocks are wanted already"));
        }
        Ok(height)
    }

    fn want(&mut self, hash: BlockHash, height: Height) {
        match self.download.take_held(hash, height) {
            Some(bytes) => self.deliver(hash, height, bytes),
            None => self.download.want(hash, height),
        }
    }

    fn deliver(&mut self, hash: BlockHash, height: Height, bytes: Vec<u8>) {
        self.download.deliver(hash, height);
        self.download.relax();
        self.commands.push(Command::Deliver(hash, bytes));
    }

    pub(super) fn on_block(&mut self, id: PeerId, block: ReceivedBlock) {
        let now = self.now.elapsed;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(request) = peer.serving.requests.remove(&block.hash) else {
            self.download.unsolicited += 1;
            return;
        };
        let size = block.bytes.len() as u64;
        note_block(peer, &request, now, size);
        let height = request.height;
        self.download.request_over(block.hash, request.bytes);
        if self.download.stall.is_some_and(|stall| stall.peer == id) {
            self.download.stall = None;
        }
        if let Err(error) = &block.verdict {
            self.download.lost(height);
            return self.on_bad_block(id, block.hash, error);
        }
        self.download.learn_size(size);
        self.note_overtaken(block.hash);
        if !self.download.needs(block.hash, height, &self.headers) {
            return;
        }
        if self.download.is_wanted(block.hash) {
            self.deliver(block.hash, height, block.bytes);
            self.download.rebase(None, &self.headers);
        } else {
            self.download.hold(block.hash, height, block.bytes);
        }
    }

    fn on_bad_block(&mut self, id: PeerId, hash: BlockHash, error: &BlockError) {
        if !error.condemns_header() {
            return self.misbehaved(id, format!("sent a bad block: {error}"));
        }
        if let Some(from) = self.headers.refuse(hash) {
            self.chain_changed(from);
        }
        let refused: Vec<BlockHash> = self
            .download
            .wanted()
            .filter(|hash| self.headers.is_refused(*hash))
            .collect();
        for wanted in refused {
            self.download.forget_wanted(wanted);
            let reason = format!("it is, or follows, a bad block: {error}");
            self.commands.push(Command::CannotDeliver(wanted, reason));
        }
        self.download.rebase(None, &self.headers);
    }

    /// Notes which peers were too slow with a block that has come from elsewhere.
    fn note_overtaken(&mut self, hash: BlockHash) {
        if self.download.owners(hash) == 0 {
            return;
        }
        let mut slow = Vec::new();
        for (id, peer) in &mut self.peers {
            if let Some(request) = peer.serving.requests.get_mut(&hash) {
                // Nobody waits for these bytes any more, so they must not keep others waiting.
                let bytes = std::mem::take(&mut request.bytes);
                self.download.bytes_asked = self.download.bytes_asked.saturating_sub(bytes);
                peer.serving.overtaken += 1;
                if peer.serving.overtaken >= MAX_OVERTAKEN {
                    slow.push(*id);
                }
            }
        }
        for id in slow {
            let reason = format!("{MAX_OVERTAKEN} blocks had to be fetched elsewhere");
            self.close(id, CloseReason::Slow { reason });
        }
    }

    pub(super) fn on_not_found(&mut self, id: PeerId, inventory: &[Inventory]) {
        let until = self.now.elapsed.saturating_add(LACK_PAUSE);
        for item in inventory {
            let (Inventory::Block(hash) | Inventory::WitnessBlock(hash)) = item else {
                continue;
            };
            let Some(peer) = self.peers.get_mut(&id) else {
                return;
            };
            let Some(request) = peer.serving.requests.remove(hash) else {
                continue;
            };
            if peer.serving.lacks.len() >= MAX_LACKS {
                peer.serving.lacks.pop_first();
            }
            peer.serving.lacks.insert(*hash, until);
            peer.serving.refusals += 1;
            let refusals = peer.serving.refusals;
            self.download.request_over(*hash, request.bytes);
            self.download.lost(request.height);
            if refusals > MAX_REFUSALS {
                let reason = format!("does not have {refusals} blocks of its own chain");
                return self.close(id, CloseReason::Useless { reason });
            }
        }
    }

    /// Asks for all blocks that may be asked for now, and looks who holds everything up.
    pub(super) fn ask_blocks(&mut self) {
        let now = self.now.elapsed;
        if self.download.retry_at.is_some_and(|at| at <= now) {
            self.download.is_dirty = true;
        }
        if !self.download.is_dirty {
            return;
        }
        self.download.is_dirty = false;
        self.download.retry_at = None;
        let mut servers = self.servers();
        let mut asks = BTreeMap::new();
        self.ask_wanted(&mut servers, &mut asks);
        self.ask_ahead(&mut servers, &mut asks);
        match self.download.obstacle {
            Some(Obstacle::ChainEnd) => {
                self.ask_again(self.download.stall_timeout, &mut servers, &mut asks);
            }
            // The owner has to go after that time, so it is too late to ask another one then.
            Some(Obstacle::Window) => {
                self.ask_again(self.download.stall_timeout / 2, &mut servers, &mut asks);
            }
            Some(Obstacle::Budget) | None => {}
        }
        self.look_for_staller(&servers);
        for (id, hashes) in asks {
            let inventory = hashes.into_iter().map(Inventory::WitnessBlock).collect();
            self.send(id, Message::GetData(inventory));
        }
    }

    fn servers(&self) -> Vec<Server> {
        self.ready_peers()
            .filter_map(|(id, peer)| {
                let best = peer.chain.best?;
                let fork = self.headers.fork_height(best)?;
                let lowest = if serves_all_blocks(peer.services) {
                    0
                } else {
                    peer.chain.best_height.get().saturating_sub(PRUNED_BLOCKS)
                };
                Some(Server {
                    id,
                    best,
                    height: peer.chain.best_height,
                    fork,
                    lowest,
                    in_flight: peer.serving.requests.len(),
                    slots: slots(peer.serving.pace),
                    pace: peer.serving.pace,
                })
            })
            .collect()
    }

    fn ask_wanted(&mut self, servers: &mut [Server], asks: &mut BTreeMap<PeerId, Vec<BlockHash>>) {
        let missing: Vec<BlockHash> = self
            .download
            .wanted()
            .take(WINDOW as usize)
            .filter(|hash| self.download.owners(*hash) == 0)
            .collect();
        for hash in missing {
            let Some(height) = self.headers.height_of(hash) else {
                continue;
            };
            self.download.make_room();
            if !self.download.admits() {
                return;
            }
            self.ask_best(hash, height, servers, asks);
        }
    }

    /// Asks for blocks of the window that are not wanted yet.
    fn ask_ahead(&mut self, servers: &mut [Server], asks: &mut BTreeMap<PeerId, Vec<BlockHash>>) {
        self.download.obstacle = None;
        let window = self.download.window();
        let mut has_gap = false;
        let start = self.download.cursor().get().max(window.start);
        for height in start..window.end {
            let height = Height::new(height);
            let Some(hash) = self.headers.hash_at(height) else {
                self.download.obstacle = Some(Obstacle::ChainEnd);
                return;
            };
            if self.download.is_missing(hash, height) {
                if !servers.iter().any(Server::has_free_slot) {
                    return;
                }
                if !self.download.admits() {
                    self.download.obstacle = Some(Obstacle::Budget);
                    return;
                }
                has_gap |= !self.ask_best(hash, height, servers, asks);
            }
            if !has_gap {
                self.download.advance_cursor(height.next());
            }
        }
        let next = self.headers.hash_at(Height::new(window.end));
        self.download.obstacle = Some(match next {
            Some(_) => Obstacle::Window,
            None => Obstacle::ChainEnd,
        });
    }

    /// While nothing else may be asked for: asks idle peers for blocks on their way from another
    /// one for longer than `patience`.
    fn ask_again(
        &mut self,
        patience: Duration,
        servers: &mut [Server],
        asks: &mut BTreeMap<PeerId, Vec<BlockHash>>,
    ) {
        if !servers.iter().any(Server::has_free_slot) {
            return;
        }
        let now = self.now.elapsed;
        let late: Vec<(Duration, PeerId, BlockHash, Height)> = self.single_requests();
        for (asked_at, owner, hash, height) in late {
            let due = asked_at.saturating_add(patience);
            if due > now {
                self.retry_no_later_than(due);
                continue;
            }
            if !self.download.admits() {
                return;
            }
            let other = best_server(servers, |server| {
                server.id != owner && self.serves(server, hash, height)
            });
            if let Some(server) = other {
                server.in_flight += 1;
                let id = server.id;
                self.note_request(id, hash, height, asks);
            }
        }
    }

    /// Returns the needed blocks on their way from one peer only, in the order of need.
    fn single_requests(&self) -> Vec<(Duration, PeerId, BlockHash, Height)> {
        let mut single: Vec<(Height, Duration, PeerId, BlockHash)> = Vec::new();
        for (id, peer) in self.ready_peers() {
            for (hash, request) in &peer.serving.requests {
                if self.download.owners(*hash) == 1
                    && self.download.needs(*hash, request.height, &self.headers)
                {
                    single.push((request.height, request.asked_at, id, *hash));
                }
            }
        }
        single.sort_unstable();
        single.truncate(MAX_SECOND_REQUESTS);
        single
            .into_iter()
            .map(|(height, asked_at, id, hash)| (asked_at, id, hash, height))
            .collect()
    }

    /// Asks the peer that would bring a block first; returns whether there is one.
    fn ask_best(
        &mut self,
        hash: BlockHash,
        height: Height,
        servers: &mut [Server],
        asks: &mut BTreeMap<PeerId, Vec<BlockHash>>,
    ) -> bool {
        let mut found = best_server(servers, |server| self.serves(server, hash, height));
        if found.is_none() && !self.headers.is_on_best_chain(hash) {
            // Peers keep the blocks of branches that they have left.
            found = best_server(servers, |server| {
                server.height >= height && !self.lacks(server, hash, height)
            });
        }
        let Some(server) = found else {
            self.retry_no_later_than(self.now.elapsed.saturating_add(RETRY_INTERVAL));
            return false;
        };
        server.in_flight += 1;
        let id = server.id;
        self.note_request(id, hash, height, asks);
        true
    }

    fn note_request(
        &mut self,
        id: PeerId,
        hash: BlockHash,
        height: Height,
        asks: &mut BTreeMap<PeerId, Vec<BlockHash>>,
    ) {
        let now = self.now.elapsed;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.serving.requests.is_empty() {
            peer.serving.downloading_since = now;
        }
        let request = Request {
            height,
            asked_at: now,
            bytes: self.download.asked(hash),
        };
        peer.serving.requests.insert(hash, request);
        asks.entry(id).or_default().push(hash);
    }

    /// Returns whether a peer is known not to have a block.
    fn lacks(&self, server: &Server, hash: BlockHash, height: Height) -> bool {
        let now = self.now.elapsed;
        let said_so = self
            .peers
            .get(&server.id)
            .and_then(|peer| peer.serving.lacks.get(&hash))
            .is_some_and(|until| *until > now);
        said_so || height.get() < server.lowest
    }

    pub(super) fn serves(&self, server: &Server, hash: BlockHash, height: Height) -> bool {
        if self.lacks(server, hash, height) {
            return false;
        }
        if self.headers.is_on_best_chain(hash) {
            return server.fork >= height;
        }
        self.headers.contains(server.best, hash)
    }

    fn retry_no_later_than(&mut self, at: Duration) {
        let retry = &mut self.download.retry_at;
        *retry = Some(retry.map_or(at, |earlier| earlier.min(at)));
    }

    /// Frees what a peer was asked for, so that others can be asked.
    pub(super) fn release_requests(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        for (hash, request) in std::mem::take(&mut peer.serving.requests) {
            self.download.request_over(hash, request.bytes);
            self.download.lost(request.height);
        }
    }
}

fn note_block(peer: &mut Peer, request: &Request, now: Duration, bytes: u64) {
    let serving = &mut peer.serving;
    let began = serving
        .last_at
        .map_or(request.asked_at, |last| last.max(request.asked_at));
    let took = now.saturating_sub(began);
    serving.pace = match serving.last_at {
        None => took,
        Some(_) => (serving.pace * 7 + took) / 8,
    };
    serving.last_at = Some(now);
    serving.downloading_since = now;
    serving.refusals = 0;
    serving.overtaken = 0;
    serving.blocks += 1;
    serving.bytes = serving.bytes.saturating_add(bytes);
}

/// Returns how many blocks may be on their way from a peer: fewer from one that is so slow that
/// they would hold up the window.
fn slots(pace: Duration) -> usize {
    let blocks = DEPTH.as_millis().checked_div(pace.as_millis());
    blocks.map_or(MAX_IN_FLIGHT, |blocks| {
        usize::try_from(blocks)
            .unwrap_or(MAX_IN_FLIGHT)
            .clamp(1, MAX_IN_FLIGHT)
    })
}

fn best_server(servers: &mut [Server], serves: impl Fn(&Server) -> bool) -> Option<&mut Server> {
    servers
        .iter_mut()
        .filter(|server| server.has_free_slot() && serves(server))
        .min_by_key(|server| (server.wait(), server.in_flight, server.id))
}
