//! Sorted runs: the UTXO set as changes that are written once and merged later. [`crate::coins`]
//! decides what is written and merged when.
//!
//! `DESIGN.md` beside the sources has the terms, the layout, the invariants and the costs. Nothing
//! here keeps state of its own outside stable memory but writers and merges, which may be lost at
//! any time: what they have written is named by nobody yet, and is written again.
//!
//! | module | does |
//! |---|---|
//! | [`number`] | varints, signed numbers, compressed amounts |
//! | [`key`] | outpoints, script keys and places, and how they sort |
//! | [`script_form`] | short forms of output scripts |
//! | [`coin_entry`], [`script_entry`] | entries as leaves hold them |
//! | [`leaf`] | 2 KiB of entries |
//! | [`header`] | where the parts of a run are |
//! | [`extent`] | ranges of the region, written front to back |
//! | [`filter`] | blocked Bloom filters |
//! | [`run`] | a finished run: filter, fences, leaves |
//! | [`writer`], [`coin_writer`], [`script_writer`] | write a run |
//! | [`coin_cursor`], [`script_cursor`] | read one |
//! | [`change`] | both runs of a block |
//! | [`merge`] | several changes into one |
//! | [`checkpoint`] | what a merge remembers over an upgrade |
//! | [`read`] | coins, lists and balances over a list of changes |
//! | [`manifest`], [`superblock`] | what there is |
//! | [`allocator`] | what is free |
//! | [`audit`] | checks of all invariants |
pub mod allocator;
pub mod audit;
pub mod change;
pub mod checkpoint;
pub mod coin_cursor;
pub mod coin_entry;
pub mod coin_writer;
pub mod extent;
pub mod filter;
pub mod header;
pub mod key;
pub mod leaf;
pub mod manifest;
pub mod merge;
pub mod number;
pub mod piece;
pub mod read;
pub mod run;
pub mod script_cursor;
pub mod script_entry;
pub mod script_form;
mod script_merge;
pub mod script_writer;
pub mod superblock;
pub mod writer;

#[cfg(test)]
mod change_list;
#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod run_tests;
