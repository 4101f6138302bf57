//! `dfx.json` and `icp.yaml` name what `cargo xtask wasm` makes, and the module carries its contract.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use yaml_rust2::{Yaml, YamlLoader};

const BUILD: &str = "cargo xtask wasm --package millrace-canister";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("this package lies in the repository")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(repository().join(name)).unwrap_or_else(|error| {
        panic!("cannot read {name}: {error}; if it is a module, `cargo xtask wasm` makes it")
    })
}

fn dfx() -> serde_json::Value {
    serde_json::from_slice(&read("dfx.json")).expect("dfx.json is JSON")
}

fn icp() -> Yaml {
    let text = String::from_utf8(read("icp.yaml")).expect("icp.yaml is UTF-8");
    YamlLoader::load_from_str(&text)
        .expect("icp.yaml is YAML")
        .remove(0)
}

#[test]
fn dfx_builds_installs_and_documents_the_canister() {
    let canister = &dfx()["canisters"]["millrace"];
    assert_eq!(canister["type"], "custom");
    assert_eq!(canister["build"], BUILD);
    assert_eq!(canister["candid"], "candid/btc.did");
    assert_eq!(canister["metadata"][0]["name"], "candid:service");
    assert_eq!(canister["metadata"][0]["path"], canister["candid"]);
    let module = read(canister["wasm"].as_str().expect("wasm is a path"));
    assert!(module.starts_with(b"\0asm"), "dfx installs a Wasm module");
}

#[test]
fn dfx_knows_the_local_replica_and_the_ic() {
    let networks = &dfx()["networks"];
    assert_eq!(networks["local"]["bind"], "127.0.0.1:4943");
    assert!(
        networks["ic"]["providers"][0]
            .as_str()
            .is_some_and(|url| url.starts_with("https://"))
    );
}

#[test]
fn icp_cli_builds_the_same_module_for_the_same_replica() {
    let manifest = icp();
    let canister = &manifest["canisters"][0];
    assert_eq!(canister["name"].as_str(), Some("millrace"));
    let commands = &canister["build"]["steps"][0]["commands"];
    assert_eq!(commands[0].as_str(), Some(BUILD));
    let copy: Vec<_> = commands[1]
        .as_str()
        .expect("the second step copies")
        .split_whitespace()
        .collect();
    let ["cp", archive, "\"$ICP_WASM_OUTPUT_PATH\""] = copy[..] else {
        panic!("not a copy of the module: {copy:?}")
    };
    assert!(
        read(archive).starts_with(&[0x1f, 0x8b]),
        "{archive} is a gzip archive"
    );
    // icp-cli tells installing from upgrading; dfx would pass the one `init_arg` to both.
    assert!(
        canister["init_args"]
            .as_str()
            .is_some_and(|args| args.contains("variant { init"))
    );
    assert_eq!(
        canister["upgrade_args"].as_str(),
        Some("(variant { upgrade })")
    );
    assert!(dfx()["canisters"]["millrace"]["init_arg"].is_null());
    assert_eq!(
        manifest["networks"][0]["url"].as_str(),
        Some("http://127.0.0.1:4943")
    );
}

#[test]
fn the_module_carries_the_contract_byte_for_byte() {
    let (module, contract) = (read("target/wasm/millrace.wasm"), read("candid/btc.did"));
    let name = b"icp:public candid:service";
    let section = [&name[..], &contract].concat();
    assert!(
        module.ends_with(&section),
        "the last section is candid:service with candid/btc.did in it"
    );
    assert_eq!(
        module
            .windows(name.len())
            .filter(|window| window == name)
            .count(),
        1,
        "there is one such section"
    );
}

#[test]
fn the_archive_holds_the_module() {
    let mut module = Vec::new();
    GzDecoder::new(&read("target/wasm/millrace.wasm.gz")[..])
        .read_to_end(&mut module)
        .expect("the archive is whole");
    assert!(
        module == read("target/wasm/millrace.wasm"),
        "archive and module differ: run `cargo xtask wasm`"
    );
}
