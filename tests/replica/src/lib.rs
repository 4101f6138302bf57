//! A local replica of the Internet Computer for tests and development: the PocketIC REST protocol
//! and the IC HTTP interface over [`millrace_subnet`].
//!
//! - [`pocketic`]: instances, administration and blobs for `pocket-ic` clients; the binary
//!   `pocket-ic-server`.
//! - [`http`]: status, call, query and read_state for agents, and canisters' own pages; the binary
//!   `replica` serves one instance in real time.
//! - [`instance`]: a network with its queue of operations, clock, signing keys and state folder.
//! - [`certification`] and [`authentication`]: what is signed for clients, and by them.
//!
//! It is a tool and not a node: there is no consensus, keys come from public seeds, and nothing here
//! protects anything of value.

pub mod authentication;
pub mod certification;
pub mod http;
pub mod instance;
pub mod module_cache;
pub mod pocketic;
pub mod program;
