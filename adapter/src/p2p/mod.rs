//! The shell of the peer-to-peer node: sockets, names, time and chance for a state machine.
//!
//! | module | does |
//! |---|---|
//! | [`begin()`] | starts it with what the settings and an earlier run say |
//! | `keeper` | keeps what it finds out |
//! | `dial` | opens connections, through a SOCKS5 proxy where one is set |
//! | `connection` | one task for each connection: bytes to events and back |
//! | `driver` | drives the node: events in, commands out |
//! | `handle` | what the rest of the adapter asks of it |
//! | `seeds` | asks the network's DNS seeds |

mod begin;
mod connection;
mod dial;
mod driver;
mod handle;
mod inbox;
mod keeper;
mod seeds;

use std::time::Duration;

use millrace_core::Network;
use millrace_p2p::headers::HeaderTree;
use millrace_p2p::node::{Command, Event, Node, Now, Standing};

pub use begin::{BeginError, begin};
pub use dial::Proxy;
pub use driver::start;
pub use handle::{P2pHandle, Running};
pub use keeper::Keeper;
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
    /// Returns whether some peer has shown all headers it has; see [`Node::has_all_headers`].
    fn has_all_headers(&self) -> bool;
    /// Returns the address book as bytes, to be kept for another run.
    fn encoded_book(&self) -> Vec<u8>;
}

impl NetworkNode for Node {
    fn on(&mut self, now: Now, event: Event) -> Vec<Command> {
        Self::on(self, now, event)
    }

    fn wake_at(&self) -> Duration {
        Self::wake_at(self)
    }

    fn standing(&self, now: Now) -> Standing {
        Self::standing(self, now)
    }

    fn headers(&self) -> &HeaderTree {
        Self::headers(self)
    }

    fn has_all_headers(&self) -> bool {
        Self::has_all_headers(self)
    }

    fn encoded_book(&self) -> Vec<u8> {
        self.book().encode()
    }
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
}
