//! The `replica` program: state across restarts, and clients of every kind on its one port.

use crate::support::{REPLICA, Replica, get, inc, install_counter, replying, wall_clock_ns};
use candid::Principal;
use ic_agent::Agent;
use ic_agent::identity::BasicIdentity;
use std::path::Path;
use std::process::Command;

#[test]
fn canisters_memory_time_and_keys_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let state_dir = dir.path().join("state");
    let replica = Replica::start(&state_dir);
    let pic = replica.client();
    let canister = install_counter(&pic);
    assert_eq!(inc(&pic, canister), 1);
    assert_eq!(inc(&pic, canister), 2);
    let stable = pic.get_stable_memory(canister);
    let time = pic.get_time();
    let (root_key, default_id) = (
        replica.root_key.clone(),
        replica.default_effective_canister_id,
    );
    drop(pic);
    replica.terminate();

    let replica = Replica::start(&state_dir);
    assert_eq!(replica.root_key, root_key);
    assert_eq!(replica.default_effective_canister_id, default_id);
    let pic = replica.client();
    assert_eq!(get(&pic, canister), 2);
    assert_eq!(pic.get_stable_memory(canister), stable);
    assert!(pic.get_time() >= time);
    assert_eq!(inc(&pic, canister), 3);
}

#[test]
fn a_killed_replica_comes_back_at_its_last_checkpoint() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let state_dir = dir.path().join("state");
    let replica = Replica::start(&state_dir);
    let pic = replica.client();
    let canister = install_counter(&pic);
    assert_eq!(inc(&pic, canister), 1);
    let checkpoint = reqwest::blocking::Client::new()
        .post(format!("{}/instances/0/millrace/checkpoint", replica.url))
        .send()
        .expect("answers");
    assert_eq!(checkpoint.text().expect("text"), "true");
    assert_eq!(inc(&pic, canister), 2);
    drop(pic);
    replica.kill();
    // As if it had died while writing the next one.
    std::fs::create_dir(state_dir.join("partial-00000009")).expect("created");

    let replica = Replica::start(&state_dir);
    assert_eq!(get(&replica.client(), canister), 1);
    assert!(!state_dir.join("partial-00000009").exists());
}

#[test]
fn an_agent_creates_installs_and_calls_on_the_one_port() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let replica = Replica::start(&dir.path().join("state"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let canister = runtime.block_on(async {
        let agent = Agent::builder()
            .with_url(&replica.url)
            .with_identity(BasicIdentity::from_raw_key(&[1; 32]))
            .build()
            .expect("an agent");
        agent.fetch_root_key().await.expect("the root key");
        assert_eq!(hex::encode(agent.read_root_key()), replica.root_key);
        create_and_install(&agent, replica.default_effective_canister_id).await
    });
    let time = replica.client().get_time().as_nanos_since_unix_epoch();
    assert!(time.abs_diff(wall_clock_ns()) < 60_000_000_000);
    let page = reqwest::blocking::Client::new()
        .get(format!("{}/nothing?canisterId={canister}", replica.url))
        .send()
        .expect("answers");
    assert_eq!(page.status().as_u16(), 501);
    let deletion = reqwest::blocking::Client::new()
        .delete(format!("{}/instances/0/", replica.url))
        .send()
        .expect("answers");
    assert_eq!(deletion.status().as_u16(), 400);
}

#[derive(candid::CandidType, candid::Deserialize)]
struct CanisterIdRecord {
    canister_id: Principal,
}

#[derive(candid::CandidType)]
struct CreateArgs {
    amount: Option<candid::Nat>,
}

#[derive(candid::CandidType)]
#[expect(non_camel_case_types, reason = "Candid's name of the variant")]
enum Mode {
    install,
}

#[derive(candid::CandidType)]
struct InstallArgs {
    mode: Mode,
    canister_id: Principal,
    wasm_module: Vec<u8>,
    arg: Vec<u8>,
}

async fn create_and_install(agent: &Agent, effective: Principal) -> Principal {
    let management = Principal::management_canister();
    let created = agent
        .update(&management, "provisional_create_canister_with_cycles")
        .with_effective_canister_id(effective)
        .with_arg(crate::support::encode(&CreateArgs { amount: None }))
        .call_and_wait()
        .await
        .expect("created");
    let canister = candid::decode_one::<CanisterIdRecord>(&created)
        .expect("an id")
        .canister_id;
    let arg = crate::support::encode(&InstallArgs {
        mode: Mode::install,
        canister_id: canister,
        wasm_module: replying(&[("canister_query hello", b"world")]),
        arg: vec![],
    });
    agent
        .update(&management, "install_code")
        .with_effective_canister_id(canister)
        .with_arg(arg)
        .call_and_wait()
        .await
        .expect("installed");
    let reply = agent.query(&canister, "hello").call().await;
    assert_eq!(reply.expect("replied"), b"world");
    canister
}

fn fails_with(args: &[&str], state_dir: Option<&Path>, named: &str) {
    let mut command = Command::new(REPLICA);
    command.args(["--port", "0"]).args(args);
    if let Some(dir) = state_dir {
        command.arg("--state-dir").arg(dir);
    }
    let output = command.output().expect("runs");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(named), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_state_folder_that_cannot_be_used_is_explained() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).expect("created");
        std::fs::write(folder.join("current"), text).expect("written");
        folder
    };
    let newer = write(
        "newer",
        r#"{"format":"millrace-replica-state","version":2,"checkpoint":"checkpoint-00000001"}"#,
    );
    fails_with(&[], Some(&newer), "version 2");
    let damaged = write("damaged", "{\"format\":");
    fails_with(&[], Some(&damaged), "damaged");
    let in_use = dir.path().join("in-use");
    let _replica = Replica::start(&in_use);
    fails_with(&[], Some(&in_use), "in use by another replica");
}

#[test]
fn rounds_run_in_the_order_that_is_asked_for() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cases: [(&[&str], &str); 3] = [
        (&[], "ic"),
        (&["--round-order", "ic"], "ic"),
        (&["--round-order", "before-april-2024"], "before-april-2024"),
    ];
    for (index, (options, order)) in cases.into_iter().enumerate() {
        let replica = Replica::start_with(&dir.path().join(format!("state-{index}")), options);
        let url = format!("{}/instances/0/millrace/limits", replica.url);
        let answer = reqwest::blocking::get(&url).expect("answers");
        let text = answer.text().expect("text");
        let limits: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for kind in ["system", "application"] {
            assert_eq!(limits[kind]["round_order"], order, "{options:?}: {text}");
        }
    }
}

#[test]
fn bad_options_are_explained() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let limits = dir.path().join("limits.toml");
    std::fs::write(&limits, "[system]\nheap_detla = 1\n").expect("written");
    let limits = limits.to_str().expect("UTF-8");
    fails_with(&["--limits", limits], None, "heap_detla");
    fails_with(&["--subnet", "nns", "--subnet", "nns"], None, "nns");
    fails_with(&["--subnet", "mars"], None, "mars");
    fails_with(&["--checkpoint-interval", "0"], None, "checkpoint-interval");
    fails_with(&["--round-order", "newest"], None, "before-april-2024");
}
