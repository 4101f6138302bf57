//! What is found in files, and what answers at the addresses of settings.

use std::fs;
use std::path::Path;

use clap::{CommandFactory, FromArgMatches};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::cli::{Cli, Command};
use crate::config::{Origin, run_settings};
use crate::node::Credentials;

const CANISTER: &str = "rwlgt-iiaaa-aaaaa-aaaaa-cai";

/// The settings of `check-config` with a file and flags.
fn given(folder: &Path, file: &str, flags: &[&str]) -> (RunSettings, Origins) {
    let config = folder.join("adapter.toml");
    fs::write(&config, file).expect("writable");
    let config_text = config.display().to_string();
    let base = [
        "adapter",
        "check-config",
        "--config",
        &config_text,
        "--canister",
        CANISTER,
    ];
    let arguments = base.iter().chain(flags);
    let matches = Cli::command()
        .try_get_matches_from(arguments)
        .expect("valid flags");
    let cli = Cli::from_arg_matches(&matches).expect("valid flags");
    let Command::CheckConfig(args) = cli.command else {
        panic!("`check-config` was given");
    };
    let (_, matches) = matches.subcommand().expect("one was given");
    let origins = Origins::read(matches, Some(&config)).expect("readable");
    (run_settings(args.run).expect("valid settings"), origins)
}

#[test]
fn each_setting_says_where_it_came_from() {
    let folder = TempDir::new().expect("a temporary directory");
    let file = "pushes_max = 2\nonce = true\nnetwork = \"signet\"\nnode_password = \"geheim\"\nnode_user = \"u\"";
    let flags = ["--source", "rpc", "--network", "regtest", "--follow"];
    let (settings, origins) = given(folder.path(), file, &flags);
    let expected = [
        ("network", Origin::Flag),
        ("source", Origin::Flag),
        ("once", Origin::Flag),
        ("pushes_max", Origin::File),
        ("node_password", Origin::File),
        ("witness_depth", Origin::Default),
    ];
    for (name, origin) in expected {
        assert_eq!(origins.of(name), origin, "{name}");
    }
    let table = table(&settings, &origins);
    assert!(
        table.contains("flag      network              regtest\n"),
        "{table}"
    );
    assert!(
        table.contains("file      pushes_max           2\n"),
        "{table}"
    );
    assert!(table.contains("node_password        (hidden)\n"), "{table}");
    assert!(!table.contains("geheim"), "{table}");
}

#[test]
fn what_the_source_does_not_use_is_named() {
    let folder = TempDir::new().expect("a temporary directory");
    let flags = [
        "--source",
        "p2p",
        "--rest-url",
        "http://node:1",
        "--blocks",
        "x",
    ];
    let state = folder.path().join("state").display().to_string();
    let flags = [&flags[..], &["--state-folder", &state]].concat();
    let (settings, origins) = given(folder.path(), "", &flags);
    let findings = check(&settings, &origins);
    let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let expected = "note  settings: set, but not used by this source: blocks, rest_url";
    assert!(all.iter().any(|line| line == expected), "{all:#?}");
    assert!(
        all.iter().any(|line| line.contains("will be made")),
        "{all:#?}"
    );
    assert_eq!(exit(&findings), Exit::Done);
    assert!(!folder.path().join("state").exists(), "nothing is written");
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_exit_code() {
    let folder = TempDir::new().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("empty")).expect("writable");
    fs::create_dir(path("full")).expect("writable");
    fs::write(path("full/blk00000.dat"), "x").expect("writable");
    fs::write(path("file"), "x").expect("writable");
    let cookie = |name: &str| Credentials::Cookie(path(name));
    let cases = [
        (files::blocks(&path("full")), None, "1 files"),
        (files::blocks(&path("file")), None, "one file"),
        (
            files::blocks(&path("empty")),
            Some(Exit::Source),
            "no blk*.dat",
        ),
        (
            files::blocks(&path("missing")),
            Some(Exit::Source),
            "check that it exists",
        ),
        (files::credentials(&cookie("file")), None, "file"),
        (
            files::credentials(&cookie("missing")),
            Some(Exit::Source),
            "is it running",
        ),
        (files::state(&path("empty")), None, "exists"),
        (files::state(&path("a/b/c")), None, "will be made"),
        (
            files::state(&path("file/below")),
            Some(Exit::Usage),
            "is no folder",
        ),
    ];
    for (finding, expected, words) in cases {
        let found = match &finding.verdict {
            Verdict::Bad(_, exit) => Some(*exit),
            Verdict::Good(_) | Verdict::Odd(_) => None,
        };
        assert_eq!(found, expected, "{finding}");
        assert!(finding.to_string().contains(words), "{finding}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_noted() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().expect("a temporary directory");
    let key = folder.path().join("key.pem");
    fs::write(&key, "x").expect("writable");
    let set = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode));
    set(0o640).expect("ours");
    let finding = files::secret(&key)
        .expect("readable by the group")
        .to_string();
    assert!(
        finding.contains("mode 640") && finding.contains("chmod 600"),
        "{finding}"
    );
    set(0o600).expect("ours");
    assert_eq!(files::secret(&key), None);
}

/// Answers one connection with bytes, after reading a little.
async fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut start = [0; 3];
            let _ = stream.read(&mut start).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

#[tokio::test]
async fn a_probe_says_who_answers_and_how() {
    const CHAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 32\r\nConnection: close\r\n\r\n{\"chain\":\"regtest\",\"blocks\":123}";
    const OFF: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let cases: [(&str, &'static [u8], bool, &str); 6] = [
        ("rest", CHAIN, true, "height 123"),
        ("rest", OFF, false, "start it with -rest=1"),
        (
            "rest",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
            false,
            "names no chain",
        ),
        ("proxy", &[5, 0], true, "speaks SOCKS5"),
        ("proxy", &[5, 255], false, "is it a SOCKS5 proxy?"),
        ("peer", b"", true, "accepts connections"),
    ];
    for (kind, answer, is_good, words) in cases {
        let address = answering(answer).await;
        let folder = TempDir::new().expect("a temporary directory");
        let url = format!("http://{address}");
        let named = match kind {
            "rest" => ["--rest-url", &url],
            "proxy" => ["--proxy", &address],
            _ => ["--peers", &address],
        };
        let flags = [&["--network", "regtest"], &named[..]].concat();
        let (settings, _) = given(folder.path(), "", &flags);
        let findings = probe::source(&settings).await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        let is_found_good = matches!(findings[0].verdict, Verdict::Good(_));
        assert_eq!(is_found_good, is_good, "{}", findings[0]);
        assert!(findings[0].to_string().contains(words), "{}", findings[0]);
    }
}
