//! A node that does as a test says, on the real shell.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_adapter::p2p::{NetworkNode, P2pSettings, Running, start};
use millrace_core::{Network, UnixSeconds};
use millrace_p2p::address::PeerAddress;
use millrace_p2p::headers::HeaderTree;
use millrace_p2p::message::Message;
use millrace_p2p::node::{Command, Event, Now, PeerId, Standing, TransportVersion};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::peer::PATIENCE;

struct Scripted {
    events: mpsc::UnboundedSender<Event>,
    commands: Arc<Mutex<VecDeque<Command>>>,
    headers: HeaderTree,
}

impl NetworkNode for Scripted {
    fn on(&mut self, now: Now, event: Event) -> Vec<Command> {
        if let Event::Received { message, .. } = &event
            && let Message::Headers(headers) = message
        {
            let now = now.unix.max(UnixSeconds::new(2_000_000_000));
            self.headers.accept(headers, now);
        }
        let _ = self.events.send(event);
        self.commands.lock().unwrap().drain(..).collect()
    }

    fn wake_at(&self) -> Duration {
        Duration::MAX
    }

    fn standing(&self, _: Now) -> Standing {
        Standing {
            height: self.headers.tip_height(),
            ..Standing::default()
        }
    }

    fn headers(&self) -> &HeaderTree {
        &self.headers
    }

    fn has_all_headers(&self) -> bool {
        true
    }

    fn encoded_book(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// The shell with a scripted node in it.
pub struct Script {
    pub running: Running,
    events: mpsc::UnboundedReceiver<Event>,
    commands: Arc<Mutex<VecDeque<Command>>>,
    peers: u64,
}

pub fn settings(network: Network) -> P2pSettings {
    P2pSettings {
        network,
        proxy: None,
        seeds: Vec::new(),
    }
}

/// Settings with names to ask for nodes.
pub fn with_seeds(network: Network, seeds: &[&str]) -> P2pSettings {
    P2pSettings {
        seeds: seeds.iter().map(|&seed| seed.to_owned()).collect(),
        ..settings(network)
    }
}

impl Script {
    pub fn start(settings: P2pSettings) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let commands = Arc::new(Mutex::new(VecDeque::new()));
        let node = Scripted {
            events: sender,
            commands: Arc::clone(&commands),
            headers: HeaderTree::new(settings.network),
        };
        let running = start(node, settings, None);
        Self {
            running,
            events,
            commands,
            peers: 0,
        }
    }

    /// Has the node ask for something.
    pub fn command(&self, command: Command) {
        self.commands.lock().unwrap().push_back(command);
        // Any event makes the shell carry out what waits.
        self.running.handle.forget(Vec::new());
    }

    pub fn connect(&mut self, address: PeerAddress, transport: TransportVersion) -> PeerId {
        self.peers += 1;
        let peer = PeerId(self.peers);
        self.command(Command::Connect {
            peer,
            address,
            transport,
        });
        peer
    }

    pub fn send(&self, peer: PeerId, message: Message) {
        self.command(Command::Send(peer, message));
    }

    /// Returns the next event that is about more than time.
    pub async fn event(&mut self) -> Event {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await;
            let event = event.expect("an event").expect("a node");
            if !matches!(event, Event::Tick | Event::Forget(_)) {
                return event;
            }
        }
    }

    pub async fn connected(&mut self) -> (PeerId, TransportVersion) {
        match self.event().await {
            Event::Connected { peer, transport } => (peer, transport),
            event => panic!("{event:?}"),
        }
    }

    pub async fn message(&mut self) -> Message {
        match self.event().await {
            Event::Received { message, .. } => message,
            event => panic!("{event:?}"),
        }
    }

    /// Returns the first message that `choose` takes.
    pub async fn first<T>(&mut self, mut choose: impl FnMut(Message) -> Option<T>) -> T {
        loop {
            if let Some(chosen) = choose(self.message().await) {
                return chosen;
            }
        }
    }
}
