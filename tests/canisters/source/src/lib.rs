//! Serves loaded blocks through `bitcoin_get_successors` as the IC's Bitcoin integration does, with
//! faults on demand, and keeps the transactions it is handed. A stand-in for tests; it believes
//! whatever it is given.

pub mod blocks;
pub mod reply;
pub mod wire;
