//! `adapter snapshot import`, `verify` and `snapshot export` between a real Bitcoin Core and the real canister: killed
//! at any point, and with a file that differs in one coin.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use millrace_candid::{Flag, InitNetwork, SetConfigRequest, SnapshotImport};
use millrace_core::Network;
use millrace_core::snapshot::{CoinReader, METADATA_BYTES, Metadata, Position};
use millrace_tests::mining::script;
use millrace_tests::process::Process;

use super::random::RandomChain;
use crate::adapter_process::{adapter, key, message, output_of};
use crate::local_replica::{DEVELOPER, Deployed, query};
use millrace_tests::bitcoind::Node;

/// Kills before the import is left to end.
const KILLS: u64 = 12;

/// Blocks with a transaction of [`OUTPUTS`] outputs each.
const FAN_OUTS: usize = 6;
const OUTPUTS: usize = 30_000;

/// How long the import may take once it is left alone.
const PATIENCE: Duration = Duration::from_secs(300);

fn command(deployed: &Deployed, node: &Node, words: &[&str], file: &Path) -> Command {
    let (url, cookie) = node.access();
    let mut command = adapter(deployed.folder.path());
    command.args(words).arg(file);
    command.args(["--network", "regtest", "--node-url", url, "--node-cookie"]);
    command.arg(cookie);
    connected(deployed, command)
}

/// Adds which canister to call, and as whom.
fn connected(deployed: &Deployed, mut command: Command) -> Command {
    command
        .args(["--replica-url", &deployed.replica.ready.url])
        .args(["--canister", &deployed.canister.to_text()])
        .arg("--identity-pem")
        .arg(key(deployed.folder.path(), DEVELOPER));
    command
}

async fn output(mut command: Command) -> Output {
    output_of(move || command.output()).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_s_snapshot_comes_through_an_adapter_that_is_killed_again_and_again() {
    let (node, dump, hash) = tokio::task::spawn_blocking(|| {
        let node = Node::start("regtest");
        let mut chain = RandomChain::new(11);
        node.submit(&chain.grow(130));
        let mut tag = 0;
        for _ in 0..FAN_OUTS {
            let block = chain.fan_out(OUTPUTS, || {
                tag += 1;
                script(tag)
            });
            node.submit([&block]);
        }
        let (dump, said) = node.dump();
        let hash = said["txoutset_hash"].as_str().expect("a hash").to_owned();
        (node, dump, hash)
    })
    .await
    .expect("the node dumps its coins");
    let deployed = Deployed::new(InitNetwork::Regtest, &[]).await;
    let change = SetConfigRequest {
        utxo_set_commitment: Some(Flag::Enabled),
        ..SetConfigRequest::default()
    };
    deployed
        .agent
        .update(&deployed.canister, "set_config")
        .with_arg(candid::encode_one(change).expect("contract types encode"))
        .call_and_wait()
        .await
        .expect("its controller may");
    let folder = deployed.folder.path().to_owned();
    let file = folder.join("core.dat");
    std::fs::write(&file, &dump).expect("the folder is writable");

    let words = ["snapshot", "import", "--hash", &hash];
    let mut kills_in_the_middle = 0;
    for turn in 0..KILLS {
        let mut import = command(&deployed, &node, &words, &file);
        let log = folder.join("import.log");
        let mut import = Process::start("the import", &mut import, &log).expect("it starts");
        // Each time a little later, so that it gets somewhere in the end.
        tokio::time::sleep(Duration::from_millis(700 + 300 * turn)).await;
        if import.exit_status().expect("it is our child").is_some() {
            break;
        }
        import.kill().expect("a running program can be killed");
        let standing: SnapshotImport = query(
            &deployed.agent,
            deployed.canister,
            "get_snapshot_import",
            (),
        )
        .await;
        kills_in_the_middle += usize::from(matches!(
            standing,
            SnapshotImport::Headers { .. } | SnapshotImport::Coins { .. }
        ));
    }
    assert!(kills_in_the_middle > 0, "it was never under way");
    let log = folder.join("import.log");
    let mut import = command(&deployed, &node, &words, &file);
    let mut import = Process::start("the import", &mut import, &log).expect("it starts");
    let ended = tokio::task::spawn_blocking(move || (import.wait(PATIENCE), import.log_end()));
    let (status, log) = ended.await.expect("it is waited for");
    assert!(status.expect("it ends").success(), "{log}");

    // The node and the canister say the same, by hash and coin by coin.
    let mut verify = adapter(&folder);
    let (url, cookie) = node.access();
    verify.args(["verify", "--network", "regtest", "--node-url", url]);
    verify.arg("--node-cookie").arg(cookie);
    let verified = output(connected(&deployed, verify)).await;
    assert_eq!(verified.status.code(), Some(0), "{}", message(&verified));
    let mut verify = adapter(&folder);
    verify.args(["verify", "--network", "regtest", "--snapshot"]);
    verify.arg(&file);
    let verified = output(connected(&deployed, verify)).await;
    assert_eq!(verified.status.code(), Some(0), "{}", message(&verified));

    let written = folder.join("canister.dat");
    let mut export = adapter(&folder);
    export.args(["snapshot", "export", "--network", "regtest"]);
    export.arg(&written);
    let exported = output(connected(&deployed, export)).await;
    assert_eq!(exported.status.code(), Some(0), "{}", message(&exported));
    let exported = std::fs::read(&written).expect("it was written");
    assert!(exported == dump, "not what Bitcoin Core dumps");

    // One coin of the file is another one: the difference is named.
    let (changed, outpoint) = with_another_amount(&dump);
    let other = folder.join("other.dat");
    std::fs::write(&other, changed).expect("the folder is writable");
    let mut verify = adapter(&folder);
    verify.args(["verify", "--network", "regtest", "--snapshot"]);
    verify.arg(&other);
    let differs = output(connected(&deployed, verify)).await;
    assert_eq!(differs.status.code(), Some(7), "{}", message(&differs));
    assert!(
        message(&differs).contains(&outpoint),
        "{}",
        message(&differs)
    );
    deployed
        .replica
        .stop()
        .expect("the replica stops in good order");
}

/// Changes the amount of a coin in the middle of a dump; returns its outpoint, too.
fn with_another_amount(dump: &[u8]) -> (Vec<u8>, String) {
    let metadata = Metadata::decode(dump, Network::Regtest).expect("Core's own metadata");
    let body = &dump[METADATA_BYTES..];
    let mut reader = CoinReader::new(body, Position::start());
    for _ in 0..metadata.coins / 2 {
        reader.next_coin().expect("Core's own coins");
    }
    let begin = reader.consumed();
    let coin = reader.next_coin().expect("Core's own coins");
    let coin = coin.expect("a coin in the middle");
    // Whatever byte it is that makes only the amount another one.
    for at in begin..reader.consumed() {
        let mut changed = dump.to_vec();
        changed[METADATA_BYTES + at] ^= 1;
        let mut again = CoinReader::new(&changed[METADATA_BYTES..], Position::start());
        let mut coins = std::iter::from_fn(|| again.next_coin().ok().flatten());
        let found = coins.nth(metadata.coins as usize / 2);
        let is_it = found.is_some_and(|found| {
            (found.outpoint, &found.script, found.height)
                == (coin.outpoint, &coin.script, coin.height)
                && found.satoshi != coin.satoshi
        });
        if is_it && coins.count() as u64 == metadata.coins - metadata.coins / 2 - 1 {
            return (changed, coin.outpoint.to_string());
        }
    }
    panic!("no byte changes the amount of {coin:?}");
}
