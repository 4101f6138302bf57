//! The whole canister on a vector of bytes, fed with real blocks.

mod any_input;
mod bad_input;
mod chain;
mod feeding;
mod pulling;
mod reads;
mod refusals;
mod setup;
mod trouble;
mod upgrades;
