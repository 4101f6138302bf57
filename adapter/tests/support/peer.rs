//! A peer that does as a test says: it accepts connections of either version.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use millrace_core::Network;
use millrace_p2p::address::PeerAddress;
use millrace_p2p::message::{Message, Version};
use millrace_p2p::node::TransportVersion;
use millrace_p2p::transport::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Nothing here takes as long; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where a scripted peer listens.
pub struct Door {
    listener: TcpListener,
    pub address: PeerAddress,
}

impl Door {
    pub async fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let local: SocketAddr = listener.local_addr().expect("a bound port");
        let address = PeerAddress::from((local.ip(), local.port()));
        Self { listener, address }
    }

    /// Waits for a connection, and leaves its bytes alone.
    pub async fn raw(&self) -> TcpStream {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        accepted
            .expect("somebody connects")
            .expect("a connection")
            .0
    }

    /// Waits for a connection, and speaks whichever version the other side does.
    pub async fn peer(&self, network: Network) -> ScriptedPeer {
        let entropy = [self.address.port as u8; 32];
        ScriptedPeer {
            stream: self.raw().await,
            transport: Transport::accept(network, entropy),
            received: VecDeque::new(),
        }
    }
}

/// An accepted connection.
pub struct ScriptedPeer {
    pub stream: TcpStream,
    transport: Transport,
    received: VecDeque<Message>,
}

impl ScriptedPeer {
    /// Returns the next message, or `None` once the other side has closed the connection.
    pub async fn receive(&mut self) -> Option<Message> {
        let mut buffer = vec![0; 65_536];
        loop {
            if let Some(message) = self.received.pop_front() {
                return Some(message);
            }
            let count = timeout(PATIENCE, self.stream.read(&mut buffer)).await;
            let count = count.expect("the other side says something").unwrap_or(0);
            if count == 0 {
                return None;
            }
            let mut answer = Vec::new();
            let received = self.transport.receive(&buffer[..count], &mut answer);
            self.received.extend(received.expect("messages"));
            self.send_raw(&answer).await;
        }
    }

    pub async fn send(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        let sent = self.transport.send(message, &mut bytes);
        sent.expect("an open transport");
        self.send_raw(&bytes).await;
    }

    pub async fn send_raw(&mut self, bytes: &[u8]) {
        // The other side may be gone, which is for the test to find.
        let _ = self.stream.write_all(bytes).await;
    }

    pub fn version(&self) -> Option<TransportVersion> {
        self.transport.version()
    }
}

/// A version message as a node of so many blocks sends it.
pub fn hello(start_height: i32) -> Message {
    Message::Version(Version {
        version: 70_016,
        services: 1 | 8,
        time: 1_700_000_000,
        nonce: 1,
        user_agent: "/scripted/".to_owned(),
        start_height,
        relay: true,
    })
}
