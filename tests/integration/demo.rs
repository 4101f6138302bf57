//! The `demo` program: its first run ingests and verifies everything, the second one only asks.

use std::path::Path;
use std::process::Command;

use millrace_tests::artifacts;

/// Scripts that own coins in mainnet blocks 0 to 4521.
const EVERY_SCRIPT: &str = "4571 of 4571 scripts equal";

/// Says that the module was put onto the replica.
const INSTALLING: &str = "installing the module";
const UPGRADING: &str = "upgrading the canister";

/// Runs the demo on the state in `folder` and returns what it printed.
fn run(folder: &Path) -> String {
    let wasm = folder.join("millrace.wasm.gz");
    std::fs::write(&wasm, artifacts::millrace_archive()).expect("the folder is writable");
    let output = Command::new(artifacts::binary("demo", "millrace-tests"))
        .arg("--wasm")
        .arg(wasm)
        .arg("--replica")
        .arg(artifacts::binary("replica", "millrace-replica"))
        .arg("--adapter")
        .arg(artifacts::binary("adapter", "millrace-adapter"))
        .arg("--blocks")
        .arg(artifacts::mainnet_blocks())
        .args(["--state", "state"])
        .current_dir(folder)
        // An adapter that obeyed its caller's settings would fail with either.
        .env("MILLRACE_NETWORK", "regtest")
        .env("MILLRACE_PUSHES_MAX", "none")
        .output()
        .expect("the demo starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// What the canister answered: all between the tip and the verdict.
fn table(output: &str) -> &str {
    let (_, rest) = output.split_once("By address").expect(output);
    let (table, _) = rest.split_once("Compared with").expect(output);
    table
}

fn canister(output: &str) -> &str {
    let line = output.lines().find(|line| line.starts_with("canister "));
    line.expect(output)
}

#[test]
fn a_second_run_of_the_demo_installs_nothing_and_prints_the_same_table() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = "network = \"regtest\"\nno_such_setting = 1\n";
    std::fs::write(folder.path().join("adapter.toml"), settings).expect("the folder is writable");
    let first = run(folder.path());
    assert!(first.contains(EVERY_SCRIPT), "{first}");
    assert!(first.contains(INSTALLING), "{first}");

    let second = run(folder.path());
    assert!(second.contains(EVERY_SCRIPT), "{second}");
    for word in [INSTALLING, UPGRADING] {
        assert!(!second.contains(word), "{second}");
    }
    assert_eq!(canister(&second), canister(&first));
    assert_eq!(table(&second), table(&first));
}
