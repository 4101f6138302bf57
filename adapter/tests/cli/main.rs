//! The built binary with wrong input: a clear message and the documented exit code.

mod operating;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use millrace_core::Network;
use millrace_core::snapshot::Metadata;
use tempfile::TempDir;

const CANISTER: &str = "rwlgt-iiaaa-aaaaa-aaaaa-cai";

/// Runs the adapter in an empty directory, without the variables of whoever runs the tests.
fn adapter(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adapter"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MILLRACE_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(directory)
        .output()
        .expect("the binary starts")
}

/// Runs the adapter and checks its exit code and message.
fn assert_fails(arguments: &[&str], variables: &[(&str, &str)], code: i32, expected: &str) {
    let directory = TempDir::new().expect("a temporary directory");
    assert_fails_in(directory.path(), arguments, variables, code, expected);
}

fn assert_fails_in(
    directory: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
    code: i32,
    expected: &str,
) {
    let output = adapter(directory, arguments, variables);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert!(message.contains(expected), "{arguments:?}: {message}");
    assert!(!message.contains("panicked"), "{arguments:?}: {message}");
}

/// A URL at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("bound"))
}

#[test]
fn wrong_arguments_and_settings_exit_with_2() {
    let run = |flags: &[&'static str]| {
        [&["run", "--canister", CANISTER, "--blocks", "x"], flags].concat()
    };
    assert_fails(&["walk"], &[], 2, "walk");
    assert_fails(&run(&["--speed"]), &[], 2, "--speed");
    assert_fails(&run(&["--once", "--follow"]), &[], 2, "cannot be used with");
    assert_fails(&run(&["--network", "dogecoin"]), &[], 2, "dogecoin");
    assert_fails(&run(&["--config", "no.toml"]), &[], 2, "no.toml");
    assert_fails(&run(&["--log-level", "a=b=c"]), &[], 2, "log level");
    assert_fails(&run(&["--identity-pem", "no.pem"]), &[], 2, "no.pem");
    assert_fails(&["run", "--blocks", "x"], &[], 2, "--canister");
    assert_fails(&["status"], &[], 2, "MILLRACE_CANISTER");
    let mainnet = run(&[
        "--replica-url",
        "https://icp-api.io",
        "--fetch-root-key=true",
    ]);
    assert_fails(&mainnet, &[], 2, "icp-api.io");
}

#[test]
fn an_identity_that_is_no_key_exits_with_2_and_is_not_shown() {
    let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let directory = TempDir::new().expect("a temporary directory");
    let output = adapter(
        directory.path(),
        &["status", "--canister", CANISTER],
        &[("MILLRACE_IDENTITY_PEM", secret)],
    );
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("MILLRACE_IDENTITY_PEM is no private key"),
        "{message}"
    );
    assert!(!message.contains("c2VjcmV0"), "{message}");
}

#[test]
fn variables_lose_to_flags_and_win_over_the_file() {
    let directory = TempDir::new().expect("a temporary directory");
    let file = format!("canister = \"{CANISTER}\"\nblocks = \"from-file\"\n");
    fs::write(directory.path().join("adapter.toml"), file).expect("writable");
    let url = nobody();
    let base = ["run", "--once", "--replica-url", &url];
    let variable = [("MILLRACE_BLOCKS", "from-variable")];
    let check = |flags: &[&str], variables: &[(&str, &str)], expected: &str| {
        let arguments = [&base, flags].concat();
        assert_fails_in(directory.path(), &arguments, variables, 3, expected);
    };
    check(&[], &[], "cannot open from-file");
    check(&[], &variable, "cannot open from-variable");
    check(
        &["--blocks", "from-flag"],
        &variable,
        "cannot open from-flag",
    );
}

#[test]
fn an_unknown_key_in_the_default_file_exits_with_2_and_names_the_right_one() {
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(directory.path().join("adapter.toml"), "canistr = \"x\"\n").expect("writable");
    assert_fails_in(
        directory.path(),
        &["status"],
        &[],
        2,
        "did you mean `canister`?",
    );
}

#[test]
fn an_unusable_source_exits_with_3() {
    let directory = TempDir::new().expect("a temporary directory");
    let url = nobody();
    let cases: [(&str, Option<&[u8]>, &str); 3] = [
        ("missing.dat", None, "cannot open missing.dat"),
        ("noise.dat", Some(&[9; 4_000]), "holds no mainnet block"),
        (".", None, "no blk*.dat file"),
    ];
    for (blocks, content, expected) in cases {
        if let Some(content) = content {
            fs::write(directory.path().join(blocks), content).expect("writable");
        }
        let arguments = [
            "run",
            "--once",
            "--canister",
            CANISTER,
            "--blocks",
            blocks,
            "--replica-url",
            &url,
        ];
        assert_fails_in(directory.path(), &arguments, &[], 3, expected);
    }
}

#[test]
fn an_unreachable_replica_exits_with_6() {
    let blocks = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/blocktools/1M.dat")
        .display()
        .to_string();
    let url = nobody();
    let shared = [
        "--canister",
        CANISTER,
        "--blocks",
        &blocks,
        "--replica-url",
        &url,
    ];
    let run = [&["run", "--once", "--give-up-after", "1"][..], &shared].concat();
    assert_fails(&run, &[], 6, "gave up");
    let status = [&["status"][..], &shared].concat();
    assert_fails(&status, &[], 6, &format!("cannot reach {url}"));
}

#[test]
fn help_documents_exit_codes_and_variables() {
    let directory = TempDir::new().expect("a temporary directory");
    let output = adapter(directory.path(), &["run", "--help"], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for expected in [
        "Exit codes:",
        "MILLRACE_REPLICA_URL",
        "--once",
        "--until-synced",
    ] {
        assert!(text.contains(expected), "{expected} is missing: {text}");
    }
}

/// A snapshot of mainnet without coins.
fn empty_snapshot() -> Vec<u8> {
    Metadata {
        network: Network::Mainnet,
        base: Network::Mainnet.genesis_block().block_hash(),
        coins: 0,
    }
    .encode()
    .to_vec()
}

#[test]
fn snapshots_and_their_settings_are_checked_before_anything_is_sent() {
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(directory.path().join("good.dat"), empty_snapshot()).expect("writable");
    fs::write(directory.path().join("noise.dat"), [9; 100]).expect("writable");
    let cases: [(&[&str], i32, &str); 10] = [
        (
            &["snapshot", "import", "missing.dat"],
            3,
            "missing.dat: cannot open",
        ),
        (
            &["snapshot", "import", "noise.dat"],
            3,
            "no `dumptxoutset` wrote it",
        ),
        (
            &["snapshot", "import", "good.dat", "--network", "signet"],
            3,
            "network magic",
        ),
        (
            &["snapshot", "import", "good.dat", "--hash", "abc"],
            2,
            "64 hexadecimal digits",
        ),
        (
            &["snapshot", "import", "good.dat", "--headers-from", "blocks"],
            2,
            "needs --blocks",
        ),
        (
            &["snapshot", "import", "good.dat", "--node-user", "x"],
            2,
            "without node_password",
        ),
        (
            &["snapshot", "import", "good.dat", "--node-url", "localhost"],
            2,
            "node URL",
        ),
        (&["snapshot", "export", "good.dat"], 2, "exists already"),
        (
            &["snapshot", "export", "new.dat", "--block", "abc"],
            2,
            "--block \"abc\" is no hash",
        ),
        (
            &["verify", "--snapshot", "good.dat", "--height", "3"],
            2,
            "name one with --node-url",
        ),
    ];
    for (arguments, code, expected) in cases {
        let url = nobody();
        let shared = ["--canister", CANISTER, "--replica-url", &url];
        let arguments = [arguments, &shared].concat();
        assert_fails_in(directory.path(), &arguments, &[], code, expected);
    }
}

#[test]
fn nobody_there_is_told_by_who_is_missing() {
    let directory = TempDir::new().expect("a temporary directory");
    fs::write(directory.path().join("good.dat"), empty_snapshot()).expect("writable");
    let (url, node) = (nobody(), nobody());
    let cookie = directory.path().join("cookie");
    fs::write(&cookie, "a:b").expect("writable");
    let cookie = cookie.display().to_string();
    let cases: [(&[&str], i32, &str); 2] = [
        (
            &["snapshot", "import", "good.dat", "--give-up-after", "1"],
            6,
            "gave up after",
        ),
        (
            &["verify", "--node-url", &node, "--node-cookie", &cookie],
            3,
            "cannot reach the node",
        ),
    ];
    for (arguments, code, expected) in cases {
        let shared = ["--canister", CANISTER, "--replica-url", &url];
        let arguments = [arguments, &shared].concat();
        assert_fails_in(directory.path(), &arguments, &[], code, expected);
    }
}

#[test]
fn help_of_snapshots_and_comparisons_names_what_they_take() {
    let directory = TempDir::new().expect("a temporary directory");
    let cases: [(&[&str], &[&str]); 3] = [
        (
            &["snapshot", "import", "--help"],
            &[
                "--hash",
                "--headers-from",
                "MILLRACE_NODE_URL",
                "Exit codes:",
            ],
        ),
        (&["snapshot", "export", "--help"], &["--block", "partial"]),
        (
            &["verify", "--help"],
            &[
                "--dump-folder",
                "--snapshot",
                "--height",
                "coinstatsindex",
                "  7  ",
            ],
        ),
    ];
    for (arguments, all) in cases {
        let output = adapter(directory.path(), arguments, &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0));
        for expected in all {
            assert!(text.contains(expected), "{expected} is missing: {text}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_termination_signal_ends_a_run_in_good_order() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let directory = TempDir::new().expect("a temporary directory");
    let blocks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/blocktools/1M.dat");
    let mut child = Command::new(env!("CARGO_BIN_EXE_adapter"))
        .args(["run", "--canister", CANISTER, "--log-format", "json"])
        .args(["--replica-url", &nobody()])
        .arg("--blocks")
        .arg(blocks)
        .current_dir(directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    // Every line is one JSON object; the signal comes while the replica is being retried.
    let mut seen = Vec::new();
    for line in lines.by_ref() {
        let line = line.expect("text");
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        seen.push(value["message"].as_str().unwrap_or_default().to_owned());
        if value["retry_in_ms"].is_u64() {
            break;
        }
    }
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .expect("kill exists");
    assert!(killed.success());
    seen.extend(lines.map(|line| line.expect("text")));
    let status = child.wait().expect("the child ends");
    assert_eq!(status.code(), Some(0), "{seen:#?}");
    assert!(
        seen.iter().any(|line| line.contains("stopping")),
        "{seen:#?}"
    );
}
