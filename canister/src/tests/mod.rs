//! The whole canister on a vector of bytes, fed with real blocks.

mod answers;
mod any_input;
mod at_tip;
mod bad_input;
mod chain;
mod commitment;
mod contract;
mod feeding;
mod floods;
mod inclusion;
mod limits;
mod memory;
mod minimum_work;
mod official;
mod pulling;
mod reads;
mod refusals;
mod regtest;
mod relay;
mod setup;
mod snapshot;
mod transactions;
mod trouble;
mod typed;
mod upgrades;
mod validation;
