//! Bitcoin's peer-to-peer network as state machines: no sockets, no clock, no chance.
//!
//! | module | does |
//! |---|---|
//! | [`headers`] | judges headers and knows the best chain |
//! | [`address`] | where a peer can be reached, and which network it belongs to |
//! | [`message`] | the messages of the protocol, and their bytes |
//! | [`transport`] | bytes of a connection to messages and back: version 1, and BIP324's version 2 |
//! | [`book`] | the address book: whom to connect to next |
//! | [`relay`] | announces and serves transactions until they are confirmed |
//! | [`node`] | decides what to say to which peer: headers, blocks, connections, transactions |
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod address;
pub mod book;
mod chance;
pub mod headers;
pub mod message;
pub mod node;
pub mod relay;
pub mod transport;
