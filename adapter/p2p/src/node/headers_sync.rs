//! Headers first: whom to ask for headers, and what to do with them.
//!
//! While the tip is old one peer is asked at a time, so that the whole chain is not downloaded from
//! everybody; the next one is asked when that one has no more or takes longer than
//! [`PATIENCE`]. A tip of the last day makes everybody be asked.

use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use millrace_core::Height;
use millrace_core::header::{ChainWork, HeaderContext, HeaderError, check_own_work};

use super::Node;
use super::api::{CloseReason, Command, ConnectionKind, Notice, PeerId};
use super::chain::{Asked, Lag, claimed_work, is_ahead};
use super::locator::locator;
use super::presync::{Presync, PresyncError};
use crate::message::{MAX_HEADERS, Message};

/// How long the only peer asked may take before another one is asked as well.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How often peers are asked whether there is more while the tip is old: a node that is itself behind
/// (Bitcoin Core's initial block download) announces nothing.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// How long a peer may take to answer (Bitcoin Core's `HEADERS_RESPONSE_TIME`).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// What each expected header adds to [`ANSWER_TIMEOUT`].
const ANSWER_TIMEOUT_PER_HEADER: Duration = Duration::from_millis(1);
/// Headers a peer can make us expect by its word alone.
const MAX_EXPECTED: u32 = 10_000_000;
/// A tip of this age or younger needs no download of the whole chain.
const RECENT_SECONDS: u64 = 24 * 60 * 60;
/// Chains that show their work at once before others have to wait for [`PRESYNC_PAUSE`].
const MAX_PRESYNCS: usize = 3;
/// How long many chains may keep others from being asked.
const PRESYNC_PAUSE: Duration = Duration::from_secs(60);
/// Messages in a row whose headers follow nothing known, at most. An honest peer's next answer to a
/// locator always connects.
const MAX_UNCONNECTED: u32 = 10;
/// Full messages in a row without a new header after which a peer is not asked on.
const MAX_REPEATS: u32 = 20;
/// Headers of branches that a peer may send without making the best chain longer.
const MAX_SIDE_HEADERS: u32 = 10_000;
/// Chains without enough work that a peer may begin to show.
const MAX_PRESYNC_STARTS: u32 = 4;
/// Blocks below the tip from which on a branch needs as much work as the best chain has there.
const FREE_FORK_BLOCKS: u32 = 144;
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// What is known of the search for headers.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderSync {
    /// When a peer was last asked for the first time.
    started_at: Duration,
    /// When progress was last told.
    told_at: Option<Duration>,
    /// When the best chain last changed.
    pub tip_at: Duration,
}

impl Node {
    /// Asks the next peers, if it is time to.
    pub(super) fn ask_headers(&mut self) {
        while let Some(id) = self.next_to_start() {
            if self.next_start_at() > self.now.elapsed {
                return;
            }
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.chain.is_started = true;
            }
            self.sync.started_at = self.now.elapsed;
            self.request_headers(id, None);
        }
        let now = self.now.elapsed;
        let quiet: Vec<PeerId> = self
            .polls()
            .filter_map(|(due, id)| (due <= now).then_some(id))
            .collect();
        for id in quiet {
            self.request_headers(id, None);
        }
    }

    /// Returns the peers that are asked again, and when.
    fn polls(&self) -> impl Iterator<Item = (Duration, PeerId)> {
        let is_behind = !self.is_tip_recent();
        let quiet = self.ready_peers().filter(move |(_, peer)| {
            is_behind
                && peer.chain.is_started
                && peer.chain.asked.is_none()
                && peer.chain.presync.is_none()
        });
        quiet.map(|(id, peer)| (peer.chain.asked_at.saturating_add(POLL_INTERVAL), id))
    }

    fn next_to_start(&self) -> Option<PeerId> {
        self.ready_peers()
            .find(|(_, peer)| !peer.chain.is_started)
            .map(|(id, _)| id)
    }

    /// Returns when another peer may be asked for the first time.
    fn next_start_at(&self) -> Duration {
        if self.is_tip_recent() {
            return Duration::ZERO;
        }
        let mut at = Duration::ZERO;
        let mut presyncs = 0;
        for (_, peer) in self.ready_peers() {
            match (&peer.chain.asked, &peer.chain.presync) {
                (Some(_), Some(_)) => presyncs += 1,
                // Answers alone are no progress: the best chain must grow.
                (Some(_), None) => {
                    at = self.sync.started_at.max(self.sync.tip_at) + PATIENCE;
                }
                (None, _) => {}
            }
        }
        let pause = match presyncs {
            0 => return at,
            few if few < MAX_PRESYNCS => PATIENCE,
            _ => PRESYNC_PAUSE,
        };
        at.max(self.sync.started_at.saturating_add(pause))
    }

    /// Returns when [`Node::ask_headers`] is next worth a call.
    pub(super) fn headers_due(&self) -> Option<Duration> {
        let start = self.next_to_start().map(|_| self.next_start_at());
        let poll = self.polls().map(|(due, _)| due).min();
        [start, poll].into_iter().flatten().min()
    }

    pub(super) fn is_tip_recent(&self) -> bool {
        let age = self
            .now
            .unix
            .get()
            .saturating_sub(self.headers.tip_time().get());
        age <= RECENT_SECONDS
    }

    /// Asks a peer for what follows `from`, or for what follows the best chain's last block but
    /// one: then an answer that has nothing new still shows what the peer has.
    pub(super) fn request_headers(&mut self, id: PeerId, from: Option<BlockHash>) {
        let tip = self.headers.tip_height();
        let top = match from {
            None => tip.saturating_sub(Height::new(1)),
            Some(hash) => self.headers.fork_height(hash).unwrap_or(tip),
        };
        let mut hashes = locator(&self.headers, top);
        if let Some(from) = from.filter(|from| hashes.first() != Some(from)) {
            hashes.insert(0, from);
        }
        let now = self.now.elapsed;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let expected = peer
            .start_height
            .saturating_sub(top.get())
            .min(MAX_EXPECTED);
        let expected = expected.min(u32::try_from(MAX_HEADERS).unwrap_or(u32::MAX));
        let timeout = ANSWER_TIMEOUT + ANSWER_TIMEOUT_PER_HEADER.saturating_mul(expected);
        peer.chain.asked_at = now;
        peer.chain.asked = Some(Asked {
            at: now,
            deadline: now.saturating_add(timeout),
        });
        self.send(
            id,
            Message::GetHeaders {
                locator: hashes,
                stop: BlockHash::all_zeros(),
            },
        );
    }

    pub(super) fn on_headers(&mut self, id: PeerId, headers: &[Header]) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let was_asked = peer.chain.asked.take().is_some();
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            peer.chain.presync = None;
            return;
        };
        if let Err(reason) = self.check_row(headers) {
            return self.misbehaved(id, reason);
        }
        let is_full = headers.len() == MAX_HEADERS;
        let last_hash = last.block_hash();
        if self.headers.knows(last_hash) {
            return self.on_known_headers(id, last_hash, is_full && was_asked);
        }
        let continues = self.presync_of(id).map(|presync| presync.last_hash());
        if continues == Some(first.prev_blockhash) {
            return self.on_presync_headers(id, headers, is_full);
        }
        let Some(parent) = self.headers.context_of(first.prev_blockhash) else {
            return self.on_unconnected_headers(id, last_hash);
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.chain.unconnected = 0;
            peer.chain.presync = None;
        }
        let needed = self.needed_work();
        if claimed_work(parent.chain_work(), headers) >= needed {
            self.on_new_headers(id, headers, is_full);
            return self.check_side_headers(id);
        }
        if !is_full {
            return self.on_low_work(id);
        }
        self.start_presync(id, parent, needed);
        if self.peers.contains_key(&id) {
            self.on_presync_headers(id, headers, is_full);
        }
    }

    fn start_presync(&mut self, id: PeerId, parent: HeaderContext, needed: ChainWork) {
        let salt = (self.chance.next(), self.chance.next());
        let presync = Presync::new(self.config.network, parent, needed, self.now.unix, salt);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.chain.presync = Some(Box::new(presync));
        peer.chain.presyncs += 1;
        if peer.chain.presyncs > MAX_PRESYNC_STARTS {
            let reason = format!("showed {MAX_PRESYNC_STARTS} chains without enough work");
            self.close(id, CloseReason::Useless { reason });
        }
    }

    fn check_side_headers(&mut self, id: PeerId) {
        let peer = self.peers.get(&id);
        if peer.is_some_and(|peer| peer.chain.side_headers > MAX_SIDE_HEADERS) {
            let reason = format!("sent {MAX_SIDE_HEADERS} headers of branches that lead nowhere");
            self.close(id, CloseReason::Useless { reason });
        }
    }

    /// Checks what every header must fulfil whatever it follows.
    fn check_row(&self, headers: &[Header]) -> Result<(), String> {
        if headers.len() > MAX_HEADERS {
            return Err(format!(
                "sent {} headers at once, at most {MAX_HEADERS} are allowed",
                headers.len()
            ));
        }
        let mut previous: Option<BlockHash> = None;
        for header in headers {
            if previous.is_some_and(|previous| previous != header.prev_blockhash) {
                return Err("sent headers that do not follow one another".to_owned());
            }
            let hash = check_own_work(header, self.config.network)
                .map_err(|error| format!("sent a bad header: {error}"))?;
            previous = Some(hash);
        }
        Ok(())
    }

    fn on_known_headers(&mut self, id: PeerId, last: BlockHash, asks_on: bool) {
        self.peer_has(id, last);
        let is_on_best = self.headers.is_on_best_chain(last);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.chain.unconnected = 0;
        peer.chain.presync = None;
        if !asks_on {
            return;
        }
        peer.chain.repeats += 1;
        if peer.chain.repeats <= MAX_REPEATS {
            // On the best chain nothing up to its end can be new.
            self.request_headers(id, (!is_on_best).then_some(last));
        }
    }

    fn on_unconnected_headers(&mut self, id: PeerId, last: BlockHash) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.chain.unconnected += 1;
        peer.chain.announced = Some(last);
        if peer.chain.unconnected > MAX_UNCONNECTED {
            let reason = format!("sent headers that follow nothing known {MAX_UNCONNECTED} times");
            return self.misbehaved(id, reason);
        }
        if peer.chain.is_started {
            self.request_headers(id, None);
        }
    }

    fn on_presync_headers(&mut self, id: PeerId, headers: &[Header], is_full: bool) {
        let unix = self.now.unix;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(presync) = peer.chain.presync.as_mut() else {
            return;
        };
        let step = match presync.take(headers, is_full, unix) {
            Ok(step) => step,
            Err(error) => {
                peer.chain.presync = None;
                return self.on_presync_error(id, error);
            }
        };
        if step.ask_from.is_none() {
            peer.chain.presync = None;
            peer.chain.presyncs = 0;
        }
        if let Some(from) = step.ask_from {
            self.store_headers(id, &step.release);
            if self.peers.contains_key(&id) {
                self.request_headers(id, Some(from));
            }
            return;
        }
        self.on_new_headers(id, &step.release, is_full);
    }

    fn on_presync_error(&mut self, id: PeerId, error: PresyncError) {
        match error {
            PresyncError::Header(reason) if reason.is_transient() => {}
            PresyncError::LowWork { .. } => self.on_low_work(id),
            PresyncError::Header(_) => self.misbehaved(id, format!("sent a bad header: {error}")),
            PresyncError::Changed { .. } | PresyncError::TooLong { .. } => {
                self.misbehaved(id, error.to_string());
            }
        }
    }

    fn on_low_work(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.chain.is_low_work = true;
        }
    }

    fn on_new_headers(&mut self, id: PeerId, headers: &[Header], asks_on: bool) {
        self.store_headers(id, headers);
        let Some(last) = headers.last().map(Header::block_hash) else {
            return;
        };
        let is_stored = self.headers.knows(last);
        if asks_on && is_stored && self.peers.contains_key(&id) {
            self.request_headers(id, Some(last));
        }
    }

    /// Adds headers to the tree, up to the first that breaks a rule or is ahead of the clock.
    fn store_headers(&mut self, id: PeerId, headers: &[Header]) {
        let mut changed: Option<Height> = None;
        let mut bad: Option<HeaderError> = None;
        let mut last: Option<BlockHash> = None;
        let mut joined = 0;
        for header in headers {
            // Headers ahead of the clock would wait in the tree, and their children with them.
            if is_ahead(header, self.now.unix) {
                break;
            }
            let accepted = self
                .headers
                .accept(std::slice::from_ref(header), self.now.unix);
            if let Some(from) = accepted.changed_from {
                changed = Some(changed.map_or(from, |lowest| lowest.min(from)));
            }
            joined += accepted.joined;
            bad = accepted.refused.into_iter().next();
            if bad.is_some() {
                break;
            }
            last = Some(header.block_hash());
        }
        if let Some(last) = last {
            self.peer_has(id, last);
        }
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| joined > 0) {
            peer.chain.news_at = Some(self.now.elapsed);
            peer.chain.repeats = 0;
            peer.chain.is_low_work = false;
            let side = peer.chain.side_headers.saturating_add(joined);
            // Those of a chain that has shown its work were paid for.
            let is_free = changed.is_some() || peer.chain.presync.is_some();
            peer.chain.side_headers = if is_free { 0 } else { side };
        }
        if let Some(from) = changed {
            self.chain_changed(from);
            self.tell_progress(headers.len() < MAX_HEADERS);
        }
        if let Some(error) = bad {
            self.misbehaved(id, format!("sent a bad header: {error}"));
        }
    }

    fn tell_progress(&mut self, is_last: bool) {
        let now = self.now.elapsed;
        let is_due = self
            .sync
            .told_at
            .is_none_or(|told| told.saturating_add(PROGRESS_INTERVAL) <= now);
        if is_last || is_due {
            self.sync.told_at = Some(now);
            let height = self.headers.tip_height();
            self.notify(Notice::HeadersProgress { height });
        }
    }

    /// Reacts to a change of the best chain.
    pub(super) fn chain_changed(&mut self, from: Height) {
        self.commands.push(Command::ChainChanged { from });
        self.sync.tip_at = self.now.elapsed;
        self.download.chain_changed(from, &self.headers);
        // Blocks announced by others are known now, too.
        for peer in self.peers.values_mut() {
            let announced = peer.chain.announced;
            if let Some(context) = announced.and_then(|hash| self.headers.context_of(hash)) {
                peer.chain.announced = None;
                peer.chain.shows(&context);
            }
        }
    }

    /// Takes in that a peer has a known block.
    pub(super) fn peer_has(&mut self, id: PeerId, hash: BlockHash) {
        if let (Some(peer), Some(context)) =
            (self.peers.get_mut(&id), self.headers.context_of(hash))
            && peer.chain.shows(&context)
        {
            self.download.is_dirty = true;
        }
    }

    /// Returns the work at which a branch is believed: that of the network's minimum, and of our
    /// best chain a day below its tip, so that branches cheaper than that are not stored.
    fn needed_work(&self) -> ChainWork {
        let height = self.headers.tip_height();
        let free = height.saturating_sub(Height::new(FREE_FORK_BLOCKS));
        let work = self
            .headers
            .hash_at(free)
            .and_then(|hash| self.headers.context_of(hash))
            .map_or(ChainWork::ZERO, |context| context.chain_work());
        work.max(self.config.minimum_chain_work)
    }

    fn presync_of(&self, id: PeerId) -> Option<&Presync> {
        self.peers.get(&id)?.chain.presync.as_deref()
    }

    /// Ends connections that owe headers, and those whose chain stays behind.
    pub(super) fn check_chain(&mut self, id: PeerId) {
        let now = self.now.elapsed;
        let ours = self.headers.tip_work();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Some(asked) = peer.chain.asked.filter(|asked| now >= asked.deadline) {
            let is_alive = peer.heard_at > asked.at;
            if peer.kind == ConnectionKind::Fixed && is_alive {
                return self.request_headers(id, None);
            }
            let reason = format!("sent no headers for {} s", (now - asked.at).as_secs());
            return self.close(id, CloseReason::Slow { reason });
        }
        if peer.kind == ConnectionKind::Fixed || !peer.chain.is_started {
            return;
        }
        match peer.chain.lag(now, ours) {
            Lag::Tolerable => {}
            Lag::Ask => self.request_headers(id, None),
            Lag::Hopeless => {
                let reason = "its chain has less work than ours and does not catch up".to_owned();
                self.close(id, CloseReason::Useless { reason });
            }
        }
    }
}
