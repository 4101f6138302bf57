//! Payloads against the protocol's documents and the `bitcoin` crate; blocks against the canister's
//! own scan.

mod blocks;
mod codec;

/// Reads a file of the project's fixtures.
fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
