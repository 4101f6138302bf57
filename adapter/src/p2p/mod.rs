//! The shell of the peer-to-peer node: sockets, names, time and chance for a state machine.
//!
//! | module | does |
//! |---|---|
//! | `dial` | opens connections, through a SOCKS5 proxy where one is set |
//! | `connection` | one task for each connection: bytes to events and back |
//! | `driver` | drives the node: events in, commands out |
//! | `handle` | what the rest of the adapter asks of it |
//! | `seeds` | asks the network's DNS seeds |

mod connection;
mod dial;
mod driver;
mod handle;
mod inbox;
mod seeds;

use std::time::Duration;

use millrace_core::Network;
use millrace_p2p::address::PeerAddress;
use millrace_p2p::headers::HeaderTree;
use millrace_p2p::node::{Command, Event, Now, Standing};

pub use dial::Proxy;
pub use driver::start;
pub use handle::{P2pHandle, Running};
pub use seeds::{default_port, dns_seeds};

/// The state machine that decides what to say to which peer (`millrace_p2p::node::Node`).
pub trait NetworkNode: Send + 'static {
    /// Reacts to an event.
    fn on(&mut self, now: Now, event: Event) -> Vec<Command>;
    /// Returns when the next [`Event::Tick`] is due.
    fn wake_at(&self) -> Duration;
    /// Returns where it stands.
    fn standing(&self, now: Now) -> Standing;
    /// Returns the headers and the best chain.
    fn headers(&self) -> &HeaderTree;
}

/// What the shell must know.
#[derive(Clone, Debug)]
pub struct P2pSettings {
    /// The Bitcoin network.
    pub network: Network,
    /// Where connections go through, if not straight to the peer.
    pub proxy: Option<Proxy>,
    /// Names whose addresses are nodes of the network; see [`dns_seeds`].
    pub seeds: Vec<String>,
    /// How an address is written, `host:port`: for the log, and the name of an onion service for the
    /// proxy.
    pub name_of: fn(PeerAddress) -> String,
}
