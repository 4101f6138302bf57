//! Decides what to say to which peer.
//!
//! The node is a state machine: the shell reports events with the time, and carries out the commands
//! that come back.

mod api;

pub use api::{
    CloseReason, Command, ConnectError, ConnectionKind, Event, NodeConfig, Notice, Now, PeerId,
    PeerSummary, RelayOutcome, RelayTransaction, Standing, TransportVersion, WireError,
};
