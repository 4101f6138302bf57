//! The real `adapter` program against the real replica and canister: killed at any point, in pairs,
//! and with things missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bitcoin::Block;
use bitcoin::consensus::serialize;
use ic_ed25519::{PrivateKey, PrivateKeyFormat};
use millrace_candid::{Budgets, InitNetwork};
use millrace_tests::block_file::MAINNET_MAGIC;
use millrace_tests::coins::CoinSet;
use millrace_tests::process::Process;
use millrace_tests::setup::GENEROUS;
use millrace_tests::{adapter, artifacts};

use crate::chains::{last_hash, mainnet};
use crate::local_replica::Deployed;

const ADAPTER: [u8; 32] = [4; 32];
const OTHER_ADAPTER: [u8; 32] = [5; 32];

/// Blocks of the other tests: few enough to be quick.
const BLOCKS: usize = 1_500;

/// Kills before the adapter is left to finish.
const KILLS: u32 = 4;

/// How long a run of the adapter may take at most.
const PATIENCE: Duration = Duration::from_secs(240);

/// Blocks beyond what the canister's queue takes, so that the adapter has to wait for room: more than
/// are connected at [`ONE_STEP`] a heartbeat while it is killed.
const BEYOND_QUEUE: usize = 600;

/// So slow that the adapter meets a full queue and is killed in the middle of things.
const ONE_STEP: Budgets = Budgets {
    instructions_per_heartbeat: 1,
    stable_pages_per_heartbeat: 1,
};

/// The program, with nothing of the environment's settings.
pub fn adapter(folder: &Path) -> Command {
    adapter::command(&artifacts::binary("adapter", "millrace-adapter"), folder)
}

/// Writes a seed's key as a PEM file.
pub fn key(folder: &Path, seed: [u8; 32]) -> PathBuf {
    let key = PrivateKey::deserialize_raw_32(&seed);
    let path = folder.join(format!("adapter-{}.pem", seed[0]));
    let pem = key.serialize_pkcs8_pem(PrivateKeyFormat::Pkcs8v2);
    std::fs::write(&path, pem).expect("the folder is writable");
    path
}

/// Writes blocks as a framed file.
fn block_file(folder: &Path, blocks: &[Block]) -> PathBuf {
    let mut bytes = Vec::new();
    for block in blocks {
        let block = serialize(block);
        let length = u32::try_from(block.len()).expect("a small block");
        bytes.extend(MAINNET_MAGIC);
        bytes.extend(length.to_le_bytes());
        bytes.extend(block);
    }
    let path = folder.join("blocks.dat");
    std::fs::write(&path, bytes).expect("the folder is writable");
    path
}

fn run_once(deployed: &Deployed, seed: [u8; 32], blocks: &Path) -> Command {
    let mut command = adapter(deployed.folder.path());
    command
        .args([
            "run",
            "--once",
            "--replica-url",
            &deployed.replica.ready.url,
        ])
        .args(["--canister", &deployed.canister.to_text()])
        .arg("--identity-pem")
        .arg(key(deployed.folder.path(), seed))
        .arg("--blocks")
        .arg(blocks);
    command
}

fn start(deployed: &Deployed, seed: [u8; 32], blocks: &Path) -> Process {
    let log = deployed
        .folder
        .path()
        .join(format!("adapter-{}.log", seed[0]));
    Process::start("the adapter", &mut run_once(deployed, seed, blocks), &log)
        .expect("the adapter starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_the_adapter_ends_at_the_right_tip() {
    let deployed = Deployed::with_budgets(InitNetwork::Mainnet, &[ADAPTER], ONE_STEP).await;
    let capacity = deployed.feed_state(ADAPTER).await.free_blocks as usize;
    let chain = &mainnet()[..capacity + BEYOND_QUEUE];
    let blocks = block_file(deployed.folder.path(), chain);
    let mut height = 0;
    let mut kills_in_the_middle = 0;
    for _ in 0..KILLS {
        let mut adapter = start(&deployed, ADAPTER, &blocks);
        // Killed as soon as it has got anything done, wherever it is then.
        for _ in 0..600 {
            let now = deployed.info().await.height;
            if now > height {
                height = now;
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let ended = adapter.exit_status().expect("it is our child");
        assert_eq!(ended, None, "{}", adapter.log_end());
        adapter.kill().expect("a running adapter can be killed");
        let feed = deployed.feed_state(ADAPTER).await;
        let waiting = capacity - feed.free_blocks as usize;
        let delivered = feed.tip.height as usize + waiting;
        if (1..chain.len() - 1).contains(&delivered) {
            kills_in_the_middle += 1;
        }
    }
    assert!(
        kills_in_the_middle > 0,
        "of {KILLS} kills none came while blocks were still to be delivered"
    );
    deployed.set_budgets(GENEROUS).await;
    finish(start(&deployed, ADAPTER, &blocks)).await;
    deployed.reach(last_hash(chain)).await;
    let coins = CoinSet::of_chain(chain).expect("a valid chain");
    deployed.assert_equals(&coins).await;
    // There is nothing left to do, and it says so at once.
    finish(start(&deployed, ADAPTER, &blocks)).await;
    deployed
        .replica
        .stop()
        .expect("the replica stops in good order");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_adapters_at_once_end_at_the_right_tip() {
    let adapters = [ADAPTER, OTHER_ADAPTER];
    let deployed = Deployed::new(InitNetwork::Mainnet, &adapters).await;
    let blocks = block_file(deployed.folder.path(), &mainnet()[..BLOCKS]);
    let both = adapters.map(|seed| start(&deployed, seed, &blocks));
    for adapter in both {
        finish(adapter).await;
    }
    deployed.reach(last_hash(&mainnet()[..BLOCKS])).await;
    deployed
        .replica
        .stop()
        .expect("the replica stops in good order");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_nobody_authorised_stops_and_says_who_it_is() {
    let deployed = Deployed::new(InitNetwork::Mainnet, &[ADAPTER]).await;
    let blocks = block_file(deployed.folder.path(), &mainnet()[..BLOCKS]);
    let mut command = run_once(&deployed, OTHER_ADAPTER, &blocks);
    let output = output_of(move || command.output()).await;
    assert_eq!(output.status.code(), Some(4));
    let caller = crate::local_replica::principal(OTHER_ADAPTER).to_text();
    assert!(message(&output).contains(&caller), "{}", message(&output));

    // On the wrong network it stops too, and names both.
    let mut command = run_once(&deployed, ADAPTER, &blocks);
    command.args(["--network", "regtest"]);
    let output = output_of(move || command.output()).await;
    assert!(!output.status.success());
    for word in ["regtest", "mainnet"] {
        assert!(message(&output).contains(word), "{}", message(&output));
    }
    assert_eq!(deployed.info().await.height, 0);
    deployed
        .replica
        .stop()
        .expect("the replica stops in good order");
}

#[test]
fn an_unreadable_file_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("no-such-file.dat");
    let output = adapter(folder.path())
        .args(["run", "--once", "--canister", "aaaaa-aa", "--blocks"])
        .arg(&missing)
        .output()
        .expect("the adapter starts");
    assert_eq!(output.status.code(), Some(3), "{}", message(&output));
    assert!(
        message(&output).contains("no-such-file.dat"),
        "{}",
        message(&output)
    );
}

#[test]
fn an_unreachable_replica_is_named_when_patience_ends() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let blocks = block_file(folder.path(), &mainnet()[..BLOCKS]);
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("some port is free")
        .port();
    let url = format!("http://127.0.0.1:{port}");
    let output = adapter(folder.path())
        .args(["run", "--once", "--give-up-after", "1"])
        .args([
            "--canister",
            "rrkah-fqaaa-aaaaa-aaaaq-cai",
            "--replica-url",
            &url,
        ])
        .arg("--blocks")
        .arg(&blocks)
        .output()
        .expect("the adapter starts");
    assert_eq!(output.status.code(), Some(6), "{}", message(&output));
    assert!(message(&output).contains(&url), "{}", message(&output));
}

async fn finish(mut adapter: Process) {
    let ended = output_of(move || {
        let status = adapter.wait(PATIENCE);
        Ok((status, adapter.log_end()))
    });
    let (status, log) = ended.await;
    let status = status.expect("the adapter ends");
    assert!(status.success(), "{status}\n{log}");
}

/// Runs what blocks beside the agent's tasks.
pub async fn output_of<T: Send + 'static>(
    blocking: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> T {
    tokio::task::spawn_blocking(blocking)
        .await
        .expect("the task does not panic by itself")
        .expect("the adapter starts")
}

/// What a program wrote.
pub fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}
