//! What an operator asks: settings, peers, a transaction, a running adapter.

use std::path::Path;
use std::process::Command;

use millrace_adapter::exit::Exit;
use tempfile::TempDir;

use crate::{CANISTER, adapter, assert_fails, nobody};

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
    let unit = include_str!("../../millrace-adapter.service");
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
