//! The built binary with wrong input: a clear message and the documented exit code.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use millrace_adapter::exit::Exit;
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

/// Runs `check-config` in an empty directory.
fn check_config(flags: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let directory = TempDir::new().expect("a temporary directory");
    let state = directory.path().join("state").display().to_string();
    let base = ["check-config", "--state-folder", &state];
    let output = adapter(directory.path(), &[&base, flags].concat(), variables);
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code().expect("it ends by itself"), text)
}

#[test]
fn check_config_shows_where_settings_come_from_and_what_is_wrong() {
    let canister = ["--canister", CANISTER];
    let with = |flags: &[&'static str]| [&canister, flags].concat();
    let cases: [(Vec<&str>, i32, &[&str]); 6] = [
        (
            with(&[]),
            0,
            &[
                "default   network              mainnet",
                "default   source               p2p",
                "flag      canister             rwlgt-iiaaa-aaaaa-aaaaa-cai",
                "variable  outbound_peers       3",
                "note  identity_pem: none",
                "ok    state_folder:",
            ],
        ),
        (
            with(&["--blocks", "missing"]),
            3,
            &["ERROR blocks: missing cannot be read"],
        ),
        (
            with(&["--identity-pem", "no.pem"]),
            2,
            &["ERROR identity_pem: cannot read identity no.pem"],
        ),
        (with(&["--log-level", "a=b=c"]), 2, &["ERROR log_level"]),
        (
            with(&["--only-peers"]),
            2,
            &["only_peers is set, but peers names none"],
        ),
        (vec![], 2, &["the canister is not set"]),
    ];
    for (flags, code, expected) in cases {
        let (found, text) = check_config(&flags, &[("MILLRACE_OUTBOUND_PEERS", "3")]);
        assert_eq!(found, code, "{flags:?}: {text}");
        for line in expected {
            assert!(text.contains(line), "{flags:?} lacks {line:?}: {text}");
        }
    }
}

#[test]
fn check_config_asks_nobody_without_probe_and_names_who_is_silent_with_it() {
    let (replica, node) = (nobody(), nobody());
    let flags = [
        "--canister",
        CANISTER,
        "--replica-url",
        &replica,
        "--rest-url",
        &node,
    ];
    let (code, text) = check_config(&flags, &[]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = check_config(&[&flags[..], &["--probe"]].concat(), &[]);
    assert_eq!(code, 6, "{text}");
    assert!(text.contains(&format!("cannot reach {replica}")), "{text}");
    assert!(text.contains(&format!("ERROR node {node}")), "{text}");
}

#[test]
fn secrets_are_in_no_output() {
    let variables = [
        ("MILLRACE_NODE_USER", "someone"),
        ("MILLRACE_NODE_PASSWORD", "geheim"),
        (
            "MILLRACE_IDENTITY_PEM",
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
        ),
    ];
    let replica = "http://me:verborgen@127.0.0.1:4943";
    let flags = [
        "--canister",
        CANISTER,
        "--source",
        "rpc",
        "--replica-url",
        replica,
    ];
    let (code, text) = check_config(&flags, &variables);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("someone"), "{text}");
    for secret in ["geheim", "c2VjcmV0", "verborgen"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn peers_asks_the_running_adapter_or_says_how_to() {
    assert_fails(&["peers"], &[], 2, "MILLRACE_METRICS_ADDRESS");
    let address = nobody().trim_start_matches("http://").to_owned();
    let arguments = ["peers", "--metrics-address", &address];
    assert_fails(&arguments, &[], 6, "is `adapter run` running?");
}

#[test]
fn broadcast_checks_the_transaction_before_anything_else() {
    let shared = ["--canister", CANISTER];
    let nonsense = [&["broadcast", "00ff"][..], &shared].concat();
    assert_fails(&nonsense, &[], 2, "is no transaction");
    let missing = [&["broadcast", "no-such-file"][..], &shared].concat();
    assert_fails(&missing, &[], 2, "no-such-file");
    // One input, one output, both with empty scripts.
    let whole = format!(
        "0200000001{}0000000000ffffffff01e80300000000000000{}",
        "07".repeat(32),
        "00000000"
    );
    let url = nobody();
    let through = [
        "broadcast",
        &whole,
        "--through-canister",
        "--replica-url",
        &url,
    ];
    assert_fails(&[&through[..], &shared].concat(), &[], 6, "cannot reach");
}

#[test]
fn the_unit_restarts_unless_a_person_is_needed_and_names_settings_that_exist() {
    let unit = include_str!("../millrace-adapter.service");
    let value = |key: &str| {
        let mut found = unit
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let value = found.next().expect(key);
        assert_eq!(found.next(), None, "{key} stands once");
        value
    };
    let codes = [Exit::Usage, Exit::Canister, Exit::Refused].map(|exit| exit.code().to_string());
    assert_eq!(value("Restart"), "on-failure");
    assert_eq!(value("RestartPreventExitStatus"), codes.join(" "));
    assert_eq!(value("StateDirectory"), "millrace");
    let command: Vec<&str> = value("ExecStart").split(' ').collect();
    assert_eq!(&command[1..3], ["run", "--config"]);
    let directory = TempDir::new().expect("a temporary directory");
    let help = adapter(directory.path(), &["run", "--help"], &[]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let variables = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    for variable in variables {
        let (name, _) = variable.split_once('=').expect("name=value");
        assert!(help.contains(name), "{name}");
    }
}

/// Fetches a page of a running adapter.
#[cfg(unix)]
fn page(address: &str, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[cfg(unix)]
#[test]
fn a_running_adapter_serves_its_state_and_status_and_peers_read_it() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let directory = TempDir::new().expect("a temporary directory");
    let blocks = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/blocktools/1M.dat");
    let address = nobody().trim_start_matches("http://").to_owned();
    let replica = nobody();
    let mut child = Command::new(env!("CARGO_BIN_EXE_adapter"))
        .args(["run", "--canister", CANISTER, "--replica-url", &replica])
        .args(["--metrics-address", &address, "--blocks"])
        .arg(blocks)
        .current_dir(directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut lines = lines.map_while(Result::ok);
    // The canister is asked in vain first; then the state says so.
    assert!(
        lines.any(|line| line.contains("cannot reach")),
        "a failed call is logged"
    );
    let health = page(&address, "/healthz").expect("it listens");
    let metrics = page(&address, "/metrics").expect("it listens");
    let peers = adapter(
        directory.path(),
        &["peers", "--metrics-address", &address],
        &[],
    );
    let second = [
        "run",
        "--canister",
        CANISTER,
        "--blocks",
        "x",
        "--metrics-address",
        &address,
    ];
    let second = adapter(directory.path(), &second, &[]);
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(killed.expect("kill exists").success());
    child.wait().expect("the child ends");

    assert!(health.starts_with("HTTP/1.0 503"), "{health}");
    assert!(health.contains("not in sync since the start"), "{health}");
    assert!(
        metrics.contains("\nmillrace_adapter_waiting{reason=\"unreachable\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("source=\"blocks\""), "{metrics}");
    assert_eq!(
        String::from_utf8_lossy(&peers.stdout),
        "the adapter's source is blocks: it has no peers\n"
    );
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(
        message.contains("cannot listen at metrics_address"),
        "{message}"
    );
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
