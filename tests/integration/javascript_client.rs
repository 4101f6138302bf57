//! `@icp-sdk/core` on Node against the local replica with its default verification: a signed update,
//! a query and a read_state.

use std::process::Command;

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use millrace_candid::{BTC_DID, InitNetwork};
use millrace_tests::artifacts;
use millrace_tests::mining::{BlockPlan, Miner, script};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::local_replica::{DEVELOPER, Deployed, principal};

const ADAPTER: [u8; 32] = [3; 32];

/// What `tests/js/client.mjs` prints.
#[derive(Debug, PartialEq, Deserialize)]
struct Report {
    caller: String,
    outcome: String,
    height: u32,
    tip: String,
    controllers: Vec<String>,
    module_hash: String,
    candid: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_update_a_query_and_a_read_state_are_verified() {
    let folder = artifacts::repository().join("tests/js");
    assert!(
        folder.join("node_modules/@icp-sdk/core").is_dir(),
        "the packages of {} are missing; run `npm ci` there (`cargo xtask test` does)",
        folder.display()
    );
    let deployed = Deployed::new(InitNetwork::Regtest, &[ADAPTER]).await;
    let mut miner = Miner::new();
    let tip = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(1)));
    let arguments = serde_json::json!({
        "url": deployed.replica.ready.url,
        "canister": deployed.canister.to_text(),
        "seed": hex::encode(ADAPTER),
        "hash": hex::encode(tip.to_byte_array()),
        "block": hex::encode(serialize(miner.tree.block(tip))),
    });
    let output = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg("client.mjs")
            .arg(arguments.to_string())
            .current_dir(folder)
            .output()
            .expect("cannot start `node`; install Node.js 20 (`cargo xtask test` does)")
    })
    .await
    .expect("the task does not panic by itself");
    assert!(
        output.status.success(),
        "client.mjs fails: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Report = serde_json::from_slice(&output.stdout).expect("client.mjs prints JSON");
    assert_eq!(
        report,
        Report {
            caller: principal(ADAPTER).to_text(),
            outcome: "queued".to_owned(),
            height: 1,
            tip: hex::encode(tip.to_byte_array()),
            controllers: vec![principal(DEVELOPER).to_text()],
            module_hash: hex::encode(Sha256::digest(artifacts::millrace_archive())),
            candid: BTC_DID.to_owned(),
        }
    );
    deployed
        .replica
        .stop()
        .expect("the replica stops in good order");
}
