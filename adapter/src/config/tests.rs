//! Precedence of settings, and errors for wrong ones.

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command, NodeArgs, RunArgs};
use crate::node::Credentials;

const CANISTER: &str = "rwlgt-iiaaa-aaaaa-aaaaa-cai";

fn run_args(flags: &[&str]) -> RunArgs {
    let arguments = ["adapter", "run"].iter().chain(flags);
    match Cli::try_parse_from(arguments).expect("valid flags").command {
        Command::Run(args) => args,
        _ => panic!("`run` was given"),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("writable");
    file
}

fn settings_of(text: &str, flags: &[&str]) -> Result<RunSettings, ConfigError> {
    let file = file(text);
    let path = file.path().display().to_string();
    let mut all = vec!["--config", &path];
    all.extend(flags);
    let args = run_args(&all);
    run_settings(args.shared, &args.run)
}

/// What every run needs.
fn with_needed(text: &str) -> String {
    format!("canister = \"{CANISTER}\"\nblocks = \"from-file\"\n{text}")
}

#[test]
fn the_example_parses_and_names_every_key() {
    let text = include_str!("../../adapter.example.toml");
    let settings = settings_of(text, &[]).expect("the example is valid");
    assert_eq!(settings.blocks, Path::new("/var/lib/bitcoind/blocks"));
    assert_eq!(settings.until, Until::Stopped);
    assert_eq!(settings.give_up_after, None);
    let table: toml::Table = text.parse().expect("TOML");
    for key in KEYS {
        assert!(table.contains_key(key), "the example lacks {key}");
    }
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    struct Case {
        file: &'static str,
        flags: &'static [&'static str],
        expected: (Network, u32, Until, Option<u64>),
    }
    use Network::{Mainnet, Regtest, Signet};
    use Until::{Stopped, Synced};
    let case = |file, flags, expected| Case {
        file,
        flags,
        expected,
    };
    let cases = [
        case("", &[], (Mainnet, 4, Stopped, None)),
        case("network = \"signet\"", &[], (Signet, 4, Stopped, None)),
        case(
            "network = \"signet\"\npushes_max = 2",
            &["--network", "regtest"],
            (Regtest, 2, Stopped, None),
        ),
        case(
            "pushes_max = 2",
            &["--pushes-max", "7"],
            (Mainnet, 7, Stopped, None),
        ),
        case("once = true", &[], (Mainnet, 4, Synced, Some(120))),
        case("once = true", &["--follow"], (Mainnet, 4, Stopped, None)),
        case(
            "give_up_after = 9",
            &["--until-synced", "--give-up-after", "0"],
            (Mainnet, 4, Synced, None),
        ),
    ];
    for Case {
        file,
        flags,
        expected,
    } in cases
    {
        let settings = settings_of(&with_needed(file), flags).expect(file);
        let got = (
            settings.shared.network,
            settings.pushes_max,
            settings.until,
            settings.give_up_after.map(|limit| limit.as_secs()),
        );
        assert_eq!(got, expected, "{file} {flags:?}");
    }
}

#[test]
fn wrong_settings_are_errors_that_say_what_to_do() {
    let needed = with_needed("");
    let cases: [(String, &[&str], &str); 11] = [
        (String::new(), &[], "MILLRACE_CANISTER"),
        (format!("canister = \"{CANISTER}\""), &[], "--blocks"),
        (
            with_needed("replica-url = \"x\""),
            &[],
            "did you mean `replica_url`?",
        ),
        (
            with_needed("zzz = 1"),
            &[],
            "known keys are network, blocks",
        ),
        (with_needed("pushes_max = \"many\""), &[], "pushes_max"),
        (with_needed("network = \"dogecoin\""), &[], "dogecoin"),
        (with_needed("canister"), &[], "is wrong"),
        (
            needed.clone(),
            &["--pushes-max", "17"],
            "pushes_max is 17, it must be 1 to 16",
        ),
        (
            needed.clone(),
            &["--message-bytes-max", "9"],
            "message_bytes_max is 9",
        ),
        (
            needed.clone(),
            &["--canister", "nonsense"],
            "\"nonsense\" is no principal",
        ),
        (
            needed,
            &["--replica-url", "localhost:4943"],
            "neither http nor https",
        ),
    ];
    for (text, flags, expected) in cases {
        let error = settings_of(&text, flags).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_configuration_that_was_named_must_exist() {
    let args = run_args(&["--config", "/nonexistent/adapter.toml"]);
    let error = run_settings(args.shared, &args.run).expect_err("no such file");
    assert!(error.to_string().contains("/nonexistent/adapter.toml"));
}

#[test]
fn a_node_is_let_in_with_what_was_named_nearest() {
    let cookie = |path: &str| Credentials::Cookie(PathBuf::from(path));
    let password = |user: &str, password: &str| Credentials::Password {
        user: user.to_owned(),
        password: crate::sink::identity::SecretText::new(password.to_owned()),
    };
    let with = |user: &str, password: &str, cookie: &str| {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        NodeArgs {
            node_url: None,
            node_cookie: given(cookie).map(PathBuf::from),
            node_user: given(user),
            node_password: given(password),
        }
    };
    let in_file = "node_user = \"f\"\nnode_password = \"g\"\nnode_cookie = \"h\"";
    let cases = [
        (in_file, with("", "", ""), password("f", "g")),
        (in_file, with("a", "b", ""), password("a", "b")),
        (in_file, with("", "", "c"), cookie("c")),
        ("node_cookie = \"h\"", with("", "", ""), cookie("h")),
        ("node_user = \"\"", with("", "", "c"), cookie("c")),
    ];
    for (text, args, expected) in cases {
        let file = file(text);
        let settings = node_settings(args, Some(file.path()), Network::Signet).expect(text);
        assert_eq!(settings.credentials, expected, "{text}");
        assert_eq!(settings.url.as_str(), "http://127.0.0.1:38332/");
        assert!(settings.is_named);
    }
    let file = file("");
    let bare = node_settings(NodeArgs::default(), Some(file.path()), Network::Mainnet);
    assert!(!bare.expect("defaults").is_named);
    for args in [with("a", "", ""), with("", "b", "")] {
        let error = node_settings(args, Some(file.path()), Network::Mainnet).expect_err("half");
        assert!(error.to_string().contains("set both"), "{error}");
    }
}
