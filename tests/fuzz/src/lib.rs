//! What the adapter reads from others, fed with whatever a fuzzer thinks of.
//!
//! Each target is a function of bytes that must neither panic nor loop, and asserts what must hold besides. With
//! the feature `programs` each has a program for LLVM's libFuzzer; `cargo xtask fuzz` builds them with coverage and
//! runs them. Without it `cargo test` feeds every target with its seeds and some thousand mutations of them.

mod files;
mod messages;
mod peers;
mod replies;
pub mod seeds;
mod settings;

#[cfg(test)]
mod tests;

pub use files::{address_book, block_files, header_file, state_folder};
pub use messages::{block, message, transport_v1, transport_v2};
pub use peers::node;
pub use replies::{rest, rpc};
pub use settings::config;

/// A target.
pub struct Target {
    /// Its name, and that of its program after `fuzz_`.
    pub name: &'static str,
    /// What it does with bytes.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 12] = [
    Target {
        name: "message",
        run: message,
    },
    Target {
        name: "transport_v1",
        run: transport_v1,
    },
    Target {
        name: "transport_v2",
        run: transport_v2,
    },
    Target {
        name: "block",
        run: block,
    },
    Target {
        name: "node",
        run: node,
    },
    Target {
        name: "address_book",
        run: address_book,
    },
    Target {
        name: "header_file",
        run: header_file,
    },
    Target {
        name: "state_folder",
        run: state_folder,
    },
    Target {
        name: "block_files",
        run: block_files,
    },
    Target {
        name: "rest",
        run: rest,
    },
    Target {
        name: "rpc",
        run: rpc,
    },
    Target {
        name: "config",
        run: config,
    },
];
