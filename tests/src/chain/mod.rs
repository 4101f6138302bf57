//! Chains made up from a seed, block by block, for tests and benchmarks.
//!
//! [`MainnetLike`] makes blocks that look like mainnet's and keep every consensus rule that takes no
//! script execution; [`spendable`] makes blocks that Bitcoin Core accepts; [`mod@reference`] makes the chains the official canister's benchmarks are stated for.
//! The same plan gives the same bytes on every machine: arithmetic is on integers only.
//!
//! Memory is bounded by the coins that may still be spent ([`Plan::spendable_max`]), not by the
//! length of the chain: blocks are handed out and forgotten.

mod body;
mod coins;
mod mainnet_like;
mod owners;
mod random;
pub mod reference;
pub mod spendable;
mod spending;

#[cfg(test)]
mod mainnet_like_tests;
#[cfg(test)]
mod reference_tests;

pub use body::{Body, Growth};
pub use mainnet_like::{BlockFacts, Made, MainnetLike, Plan};
pub use owners::{Named, Owner, ScriptKind};
