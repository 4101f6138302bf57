//! A deterministic simulator: one seed makes a schedule of blocks, deliveries, faults, upgrades and
//! readers, drives a canister with it and compares everything the canister says with a plain model.
//!
//! | module | does |
//! |---|---|
//! | [`schedule`] | what can happen |
//! | [`draw`] | the list of events a seed stands for |
//! | [`mine`], [`flaw`], `payment` | blocks of every kind, good and broken |
//! | [`model`] | what is true: all blocks, which are valid, the coins after each |
//! | [`subject`] | a canister as seen from outside |
//! | [`native`] | the canister's logic in this process |
//! | [`memory`] | stable memory that rolls back, counts and traps |
//! | [`run`] | one schedule from start to end |
//! | `push`, `outbox`, `source` | adapters and the blocks source |
//! | `read`, `lookup` | readers |
//! | `trouble` | faults and changes of the configuration |
//! | `seen`, `watch` | what the canister shows, and the checks after each heartbeat |
//! | `converge` | faults end: progress within a bound, all answers right |
//! | [`campaign`] | many seeds, in threads, with coverage |
//! | [`cli`] | the options of a campaign, and its report |
//! | [`minimise`] | the shortest schedule that still fails |
//! | [`mutations`] | bugs planted on purpose, each of which must be found |
//!
//! What the canister may do is stated by the checks, each with a name; a [`run::Failure`] carries it.

pub mod campaign;
pub mod cli;
mod converge;
pub mod coverage;
pub mod draw;
mod expected;
pub mod flaw;
mod lookup;
pub mod memory;
pub mod mine;
pub mod minimise;
pub mod model;
pub mod mutations;
pub mod native;
mod outbox;
mod payment;
mod push;
mod read;
pub mod run;
pub mod schedule;
mod seen;
mod source;
pub mod subject;
mod trouble;
mod watch;
