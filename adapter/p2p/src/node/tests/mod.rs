//! The node rule by rule, and on a simulated network.

mod blocks;
mod chain;
mod connections;
mod handshake;
mod headers;
mod parts;
mod presync;
mod rig;
mod simulation;
mod stubs;
mod world;
