//! Drives the node: carries out its commands, and reports events, the clock and requests.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bitcoin::{BlockHash, Txid};
use millrace_core::{Height, UnixSeconds};
use millrace_p2p::address::PeerAddress;
use millrace_p2p::headers::HeaderTree;
use millrace_p2p::message::Message;
use millrace_p2p::node::{
    Command, ConnectError, Event, Notice, Now, PeerId, RelayOutcome, Standing, TransportVersion,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, block_in_place};
use tokio::time::{Instant as TokioInstant, sleep_until};

use super::connection::{self, Connection};
use super::dial::{Dialer, StreamName};
use super::handle::{Asker, P2pHandle, Request, Running};
use super::inbox::{Inbox, inbox};
use super::keeper::Keeper;
use super::{NetworkNode, P2pSettings, default_port, seeds};
use crate::source::{Discovery, MAX_HEADERS, SourceError};

/// Connections and attempts at a time, at most.
const CONNECTIONS_MAX: usize = 256;

/// Messages that wait to be sent to one peer, at most.
const OUTGOING_MAX: usize = 1_024;

/// Reports that wait to be read, at most.
const REPORTS_MAX: usize = 1_024;

/// How often the standing is renewed.
const STANDING_INTERVAL: Duration = Duration::from_secs(1);

/// Requests taken at a time, so that blocks asked for together are wanted together.
const REQUESTS_AT_ONCE: usize = 256;

/// Starts a node, and keeps what it finds out if there is where. Must be called within a runtime of
/// several threads.
pub fn start(node: impl NetworkNode, settings: P2pSettings, keeper: Option<Keeper>) -> Running {
    let (requests, asked) = mpsc::unbounded_channel();
    let (standing, standing_receiver) = watch::channel(Standing::default());
    let (reports, reports_receiver) = mpsc::channel(REPORTS_MAX);
    let (inbox, events) = inbox();
    let driver = Driver {
        node,
        dialer: Dialer {
            proxy: settings.proxy.clone(),
        },
        settings,
        keeper,
        started: Instant::now(),
        inbox,
        peers: HashMap::new(),
        wanted: Wanted::default(),
        looking: VecDeque::new(),
        follow_ups: VecDeque::new(),
        standing,
        standing_due: Duration::ZERO,
        reports,
        run: run_number(),
    };
    Running {
        handle: P2pHandle { requests },
        standing: standing_receiver,
        reports: reports_receiver,
        task: tokio::spawn(driver.run(asked, events)),
    }
}

struct Driver<N> {
    node: N,
    settings: P2pSettings,
    dialer: Dialer,
    keeper: Option<Keeper>,
    started: Instant,
    inbox: Inbox,
    peers: HashMap<PeerId, Peer>,
    wanted: Wanted,
    /// Who looks for headers while there are none yet.
    looking: VecDeque<(Vec<BlockHash>, oneshot::Sender<Discovery>)>,
    /// Events that follow from carrying commands out.
    follow_ups: VecDeque<Event>,
    standing: watch::Sender<Standing>,
    standing_due: Duration,
    reports: mpsc::Sender<(Txid, RelayOutcome)>,
    /// Tells this process's streams from others' at the proxy.
    run: u64,
}

/// A connection's task, which ends with this.
struct Peer {
    outgoing: mpsc::Sender<Message>,
    task: AbortHandle,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Blocks asked for, and who asked.
#[derive(Default)]
struct Wanted {
    order: VecDeque<BlockHash>,
    askers: HashMap<BlockHash, Vec<Asker>>,
}

impl<N: NetworkNode> Driver<N> {
    async fn run(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Request>,
        mut events: mpsc::Receiver<super::inbox::Waiting>,
    ) {
        let mut asked = Vec::new();
        self.react(Event::Tick);
        loop {
            self.answer_lookers();
            self.tell_standing();
            self.keep();
            let keep_at = self.keeper.as_ref().map_or(Duration::MAX, Keeper::due);
            let wake_at = self.node.wake_at().min(self.standing_due).min(keep_at);
            let wake_at = self.started.checked_add(wake_at);
            let wake_at = wake_at.unwrap_or_else(|| Instant::now() + STANDING_INTERVAL);
            tokio::select! {
                Some(waiting) = events.recv() => self.take(waiting.take()),
                count = requests.recv_many(&mut asked, REQUESTS_AT_ONCE) => {
                    if count == 0 || !self.answer(&mut asked) {
                        break;
                    }
                }
                () = sleep_until(TokioInstant::from_std(wake_at)) => self.react(Event::Tick),
            }
        }
        self.react(Event::Stop);
        if let Some(keeper) = &mut self.keeper {
            block_in_place(|| keeper.finish(&self.node));
        }
    }

    fn keep(&mut self) {
        let now = self.started.elapsed();
        if let Some(keeper) = self.keeper.as_mut().filter(|keeper| keeper.due() <= now) {
            block_in_place(|| keeper.keep(now, &self.node));
        }
    }

    /// Takes an event of a connection. Those of closed ones may still be on their way.
    fn take(&mut self, event: Event) {
        let (peer, ends) = match &event {
            Event::Connected { peer, .. } | Event::Received { peer, .. } => (*peer, false),
            Event::ConnectFailed { peer, .. }
            | Event::Broken { peer, .. }
            | Event::Closed { peer, .. } => (*peer, true),
            _ => return self.react(event),
        };
        let is_known = match ends {
            true => self.peers.remove(&peer).is_some(),
            false => self.peers.contains_key(&peer),
        };
        if is_known {
            self.react(event);
        }
    }

    /// Reports an event to the node, and those that follow from its commands.
    fn react(&mut self, event: Event) {
        self.follow_ups.push_back(event);
        while let Some(event) = self.follow_ups.pop_front() {
            for command in self.node.on(self.now(), event) {
                self.carry_out(command);
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Connect {
                peer,
                address,
                transport,
            } => self.connect(peer, address, transport),
            Command::Send(peer, message) => self.send(peer, message),
            Command::Close(peer, reason) => {
                tracing::debug!("connection {} is closed: {reason}", peer.0);
                self.peers.remove(&peer);
            }
            Command::FindSeeds => self.find_seeds(),
            Command::Deliver(hash, bytes) => self.wanted.deliver(hash, bytes),
            Command::CannotDeliver(hash, reason) => {
                tracing::warn!("block {hash} cannot be fetched: {reason}");
                self.wanted.refuse(hash);
            }
            Command::ChainChanged { from } => {
                tracing::debug!("the best chain changed from height {from} on");
                if let Some(keeper) = &mut self.keeper {
                    keeper.chain_changed(from);
                }
            }
            Command::Report(txid, outcome) => {
                if self.reports.try_send((txid, outcome)).is_err() {
                    tracing::debug!("nobody reads what became of transaction {txid}");
                }
            }
            Command::Notify(notice) => tell(&notice),
        }
    }

    fn connect(&mut self, peer: PeerId, address: PeerAddress, version: TransportVersion) {
        if self.peers.len() >= CONNECTIONS_MAX {
            let reason = format!("{CONNECTIONS_MAX} connections are open, the most there may be");
            let error = ConnectError::Unreachable { reason };
            self.follow_ups
                .push_back(Event::ConnectFailed { peer, error });
            return;
        }
        let (outgoing, receiver) = mpsc::channel(OUTGOING_MAX);
        let connection = Connection {
            peer,
            address,
            version,
            network: self.settings.network,
            dialer: self.dialer.clone(),
            stream_name: StreamName(format!("millrace-{:x}-{}", self.run, peer.0)),
            inbox: self.inbox.clone(),
            outgoing: receiver,
        };
        let task = tokio::spawn(connection::run(connection)).abort_handle();
        self.peers.insert(peer, Peer { outgoing, task });
    }

    /// Queues a message. A peer that lets a thousand wait is not waited for.
    fn send(&mut self, peer: PeerId, message: Message) {
        let Some(connection) = self.peers.get(&peer) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = connection.outgoing.try_send(message) {
            self.peers.remove(&peer);
            let reason =
                format!("the peer does not take what it is sent: {OUTGOING_MAX} messages wait");
            self.follow_ups.push_back(Event::Closed { peer, reason });
        }
    }

    fn find_seeds(&self) {
        let inbox = self.inbox.clone();
        let settings = self.settings.clone();
        let port = default_port(settings.network);
        tokio::spawn(async move {
            let found = seeds::find(&settings.seeds, port, settings.proxy.as_ref()).await;
            // Without a driver nobody needs to know.
            let _ = inbox.send(Event::SeedsFound(found)).await;
        });
    }

    /// Answers requests; returns whether to go on.
    fn answer(&mut self, asked: &mut Vec<Request>) -> bool {
        let mut is_wanted = false;
        for request in asked.drain(..) {
            match request {
                Request::Discover(locator, asker) => self.looking.push_back((locator, asker)),
                Request::Read(hash, asker) => {
                    self.wanted.ask(hash, asker);
                    is_wanted = true;
                }
                Request::Relay(transactions) => {
                    self.follow_ups.push_back(Event::Relay(transactions));
                }
                Request::Forget(txids) => self.follow_ups.push_back(Event::Forget(txids)),
                Request::Stop => return false,
            }
        }
        // The whole list each time: the first block of it is where the node's window begins.
        let want = is_wanted.then(|| Event::Want(self.wanted.order.iter().copied().collect()));
        self.react(want.unwrap_or(Event::Tick));
        true
    }

    /// Answers those who look for headers, once there is something to say: new headers, or that no peer
    /// has more.
    fn answer_lookers(&mut self) {
        let is_complete = self.node.has_all_headers();
        for _ in 0..self.looking.len() {
            let Some((locator, asker)) = self.looking.pop_front() else {
                return;
            };
            let mut found = discover(self.node.headers(), &locator);
            if found.headers.is_empty() && !is_complete {
                // Whoever gave up does not wait any more.
                if !asker.is_closed() {
                    self.looking.push_back((locator, asker));
                }
                continue;
            }
            found.has_more |= !is_complete;
            let _ = asker.send(found);
        }
    }

    fn tell_standing(&mut self) {
        let now = self.now();
        if now.elapsed >= self.standing_due {
            self.standing_due = now.elapsed.saturating_add(STANDING_INTERVAL);
            self.standing.send_replace(self.node.standing(now));
        }
    }

    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        Now {
            elapsed: self.started.elapsed(),
            unix: UnixSeconds::new(unix.unwrap_or_default().as_secs()),
        }
    }
}

impl Wanted {
    fn ask(&mut self, hash: BlockHash, asker: Asker) {
        let askers = self.askers.entry(hash).or_default();
        if askers.is_empty() {
            self.order.push_back(hash);
        }
        askers.push(asker);
    }

    fn deliver(&mut self, hash: BlockHash, bytes: Vec<u8>) {
        let mut askers = self.take(hash).into_iter();
        let first = askers.next();
        for asker in askers {
            let _ = asker.send(Ok(bytes.clone()));
        }
        // Whoever gave up does not need the answer.
        let _ = first.map(|asker| asker.send(Ok(bytes)));
    }

    fn refuse(&mut self, hash: BlockHash) {
        for asker in self.take(hash) {
            let _ = asker.send(Err(SourceError::Unknown { hash }));
        }
    }

    fn take(&mut self, hash: BlockHash) -> Vec<Asker> {
        // Blocks come about in order, so it is near the front.
        if let Some(at) = self.order.iter().position(|other| *other == hash) {
            self.order.remove(at);
        }
        self.askers.remove(&hash).unwrap_or_default()
    }
}

/// Returns headers of the best chain behind the first block of a locator that is on it.
fn discover(headers: &HeaderTree, locator: &[BlockHash]) -> Discovery {
    let common = locator.iter().find(|hash| headers.is_on_best_chain(**hash));
    let common = common.and_then(|hash| headers.height_of(*hash));
    let first = common.map_or(0, Height::get).saturating_add(1);
    let heights = first..=headers.tip_height().get();
    let mut found = heights.map_while(|height| headers.header_at(Height::new(height)));
    Discovery {
        headers: found.by_ref().take(MAX_HEADERS).collect(),
        has_more: found.next().is_some(),
        remarks: Vec::new(),
    }
}

/// Returns a number that other processes at the same proxy do not have.
fn run_number() -> u64 {
    let mut bytes = [0; 8];
    // Without chance, two adapters at one proxy could share a path, which harms nothing.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn tell(notice: &Notice) {
    match notice {
        Notice::PeerReady(_, address, what) => {
            tracing::info!("connected to {}: {what}", address);
        }
        Notice::PeerGone(_, address, why) => {
            tracing::info!("disconnected from {}: {why}", address);
        }
        Notice::PeerBanned(address, time, why) => {
            let minutes = time.as_secs() / 60;
            tracing::warn!("{} is banned for {minutes} min: {why}", address);
        }
        Notice::HeadersProgress { height } => {
            tracing::info!("headers up to height {height}");
        }
        Notice::Waiting(Some(why)) => tracing::warn!("waiting: {why}"),
        Notice::Waiting(None) => tracing::info!("no longer waiting"),
    }
}
