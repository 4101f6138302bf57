//! Finds what tests need but do not build: fixtures, canister modules and our other programs.
//!
//! Everything is looked for where cargo and `cargo xtask wasm` put it; a missing piece is a panic
//! that says which command makes it, never a skipped test.

use std::path::{Path, PathBuf};

/// The environment variable naming the folder of the canister modules.
const WASM_DIR: &str = "MILLRACE_WASM_DIR";

/// The environment variable naming the PocketIC server, as the `pocket-ic` crate defines it.
const SERVER: &str = "POCKET_IC_BIN";

/// The repository's top folder.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is a folder of the repository")
        .to_owned()
}

/// Mainnet blocks 0 to 4521.
pub fn mainnet_blocks() -> PathBuf {
    fixture("blocktools/1M.dat")
}

/// An alternate mainnet branch, heights 1 to 2016.
pub fn alternate_blocks() -> PathBuf {
    fixture("bitcoin-core/mainnet_alt_blocks_1_2016.dat")
}

/// What Bitcoin Core's `gettxoutsetinfo muhash` says of some heights of those.
pub fn mainnet_sets() -> PathBuf {
    fixture("bitcoin-core/mainnet_utxo_set_info.csv")
}

/// Hashes of what Bitcoin Core says of all heights of both chains.
pub fn set_listings() -> PathBuf {
    fixture("bitcoin-core/utxo_set_listings.csv")
}

/// Testnet3 blocks 1 to 4000.
pub fn testnet3_blocks() -> PathBuf {
    fixture("dfinity/testnet3_blocks_1_4000.dat")
}

/// What Bitcoin Core says of some heights of those.
pub fn testnet3_sets() -> PathBuf {
    fixture("bitcoin-core/testnet3_utxo_set_info.csv")
}

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures").join(name)
}

/// The canister's module, plain.
pub fn millrace_wasm() -> Vec<u8> {
    wasm("millrace.wasm")
}

/// The canister's module compressed, as it is installed: it fits into one ingress message.
pub fn millrace_archive() -> Vec<u8> {
    wasm("millrace.wasm.gz")
}

/// The module of the canister that serves blocks to a pulling canister.
pub fn source_wasm() -> Vec<u8> {
    wasm("millrace-source-canister.wasm.gz")
}

/// The module of the canister that calls Millrace as other people's canisters do.
pub fn client_wasm() -> Vec<u8> {
    wasm("millrace-client-canister.wasm.gz")
}

/// A block of testnet4, from 1 to 2.
pub fn testnet4_block(height: u32) -> PathBuf {
    fixture(&format!("coinlib-testnet4/testnet4_block_{height}.bin"))
}

fn wasm(name: &str) -> Vec<u8> {
    let folder = match std::env::var_os(WASM_DIR) {
        Some(folder) => repository().join(folder),
        None => repository().join("target/wasm"),
    };
    let path = folder.join(name);
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "cannot read {}: {error}; run `cargo xtask wasm` to build it, or name its folder in {WASM_DIR}",
            path.display()
        )
    })
}

/// The PocketIC server: the one `POCKET_IC_BIN` names, else ours.
pub fn pocket_ic_server() -> PathBuf {
    match std::env::var_os(SERVER) {
        Some(path) => {
            let path = repository().join(path);
            assert!(
                path.is_file(),
                "{SERVER} names {}, which is no file; unset it to use Millrace's own server",
                path.display()
            );
            path
        }
        None => binary("pocket-ic-server", "millrace-replica"),
    }
}

/// Whether [`pocket_ic_server`] is the one of this workspace, which can do more than the protocol asks.
pub fn is_own_server() -> bool {
    let file = |path: PathBuf| path.canonicalize().expect("an existing file has a path");
    file(pocket_ic_server()) == file(binary("pocket-ic-server", "millrace-replica"))
}

/// A program of this workspace, next to the program that asks.
///
/// `package` is the one that builds it.
pub fn binary(name: &str, package: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    // A test runs from target/<profile>/deps, a program from target/<profile>.
    let candidates = own.ancestors().skip(1).take(2).map(|folder| {
        folder
            .join(name)
            .with_extension(std::env::consts::EXE_EXTENSION)
    });
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "no program `{name}` beside {}; run `cargo build -p {package} --bins` (`cargo xtask test` does)",
                own.display()
            )
        })
}
