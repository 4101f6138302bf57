//! Precedence of settings, and errors for wrong ones.

use clap::Parser;

use std::fs;

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
    run_settings(run_args(&all))
}

/// What every run needs.
fn with_needed(text: &str) -> String {
    format!("canister = \"{CANISTER}\"\nblocks = \"from-file\"\n{text}")
}

/// Keys whose value in the example is one, not the default.
const EXAMPLES: [&str; 7] = [
    "blocks",
    "canister",
    "identity_pem",
    "fetch_root_key",
    "state_folder",
    "node_cookie",
    "rest_url",
];

#[test]
fn the_example_names_every_key_and_says_each_default() {
    let text = include_str!("../../adapter.example.toml");
    let table: toml::Table = text.parse().expect("TOML");
    for key in KEYS {
        assert!(table.contains_key(key), "the example lacks {key}");
    }
    let bare = format!("canister = \"{CANISTER}\"");
    let mut compared = 0;
    for source in ["p2p", "rest", "rpc", "blocks"] {
        let flags = ["--source", source, "--blocks", "x"];
        let example = rows(&settings_of(text, &flags).expect("the example is valid"));
        let defaults = rows(&settings_of(&bare, &flags).expect("defaults are valid"));
        let names = |rows: &[(&'static str, String)]| -> Vec<&str> {
            rows.iter().map(|(name, _)| *name).collect()
        };
        assert_eq!(names(&example), names(&defaults));
        for (in_example, by_default) in example.iter().zip(&defaults) {
            if !EXAMPLES.contains(&in_example.0) {
                assert_eq!(in_example, by_default, "source {source}");
                compared += 1;
            }
        }
    }
    assert!(compared > KEYS.len(), "{compared} compared");
    let rest = settings_of(&bare, &["--source", "rest"]).expect("defaults");
    assert!(rows(&rest).contains(&("rest_url", "http://127.0.0.1:8332/".to_owned())));
    let p2p = settings_of(text, &[]).expect("the example");
    assert_eq!(p2p.source.name(), "p2p");
    assert_eq!(p2p.give_up_after, None);
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
        (
            format!("canister = \"{CANISTER}\"\nsource = \"blocks\""),
            &[],
            "--blocks",
        ),
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
fn the_source_is_the_one_named_nearest() {
    // In the file, as flags, and what is chosen: the nearest naming wins, a kind over a place.
    let cases: [(&str, &[&str], &str); 10] = [
        ("", &[], "p2p"),
        ("peers = [\"node.example\"]", &[], "p2p"),
        ("blocks = \"b\"", &[], "blocks b"),
        ("rest_url = \"http://n:1\"", &[], "rest http://n:1/"),
        (
            "source = \"rest\"\nblocks = \"b\"",
            &[],
            "rest http://127.0.0.1:8332/",
        ),
        ("source = \"p2p\"", &["--blocks", "b"], "blocks b"),
        (
            "blocks = \"b\"",
            &["--rest-url", "http://n:1"],
            "rest http://n:1/",
        ),
        (
            "blocks = \"b\"",
            &["--source", "rpc"],
            "rpc http://127.0.0.1:8332/",
        ),
        ("blocks = \"b\"", &["--source", "blocks"], "blocks b"),
        ("blocks = \"\"\nrest_url = \"\"", &[], "p2p"),
    ];
    for (text, flags, expected) in cases {
        let text = format!("canister = \"{CANISTER}\"\n{text}");
        let settings = settings_of(&text, flags).expect(expected);
        assert_eq!(settings.source.to_string(), expected, "{text} {flags:?}");
    }
}

fn p2p_of(flags: &[&str]) -> Result<P2pSettings, ConfigError> {
    let flags = [&["--canister", CANISTER, "--source", "p2p"], flags].concat();
    match settings_of("", &flags)?.source {
        SourceSettings::P2p(p2p) => Ok(p2p),
        other => panic!("{other}"),
    }
}

#[test]
fn peers_and_proxies_are_read_in_every_spelling() {
    let onion = format!("{}.onion", "a2".repeat(28));
    let cases = [
        ("203.0.113.7", "203.0.113.7:8333"),
        ("203.0.113.7:1", "203.0.113.7:1"),
        ("2001:db8::7", "[2001:db8::7]:8333"),
        ("[2001:db8::7]", "[2001:db8::7]:8333"),
        ("[2001:db8::7]:65535", "[2001:db8::7]:65535"),
        (" Node.Example:9 ", "node.example:9"),
    ];
    for (text, expected) in cases {
        let p2p = p2p_of(&["--peers", text]).expect(text);
        assert_eq!(p2p.peers[0].to_string(), expected);
    }
    let two = p2p_of(&[
        "--peers",
        "a.example,b.example,a.example:8333",
        "--only-peers",
    ]);
    let two = two.expect("two peers");
    assert_eq!((two.peers.len(), two.only_peers), (2, true));
    let tor = p2p_of(&["--proxy", "socks5://127.0.0.1:9050", "--peers", &onion]).expect("tor");
    assert!(tor.onion && tor.peers[0].is_onion());
    assert_eq!(tor.proxy.expect("set").to_string(), "127.0.0.1:9050");
    let plain = p2p_of(&["--proxy", "tor", "--onion=false"]).expect("a proxy alone");
    assert_eq!(plain.proxy.expect("set").to_string(), "tor:1080");
    assert!(!plain.onion);
    let regtest = p2p_of(&["--network", "regtest", "--peers", "127.0.0.1"]).expect("regtest");
    assert_eq!(regtest.peers[0].port, 18_444);
}

#[test]
fn wrong_peers_and_contradictions_are_errors_that_say_what_to_do() {
    let many: Vec<String> = (0..65).map(|number| format!("10.0.0.{number}")).collect();
    let many = many.join(",");
    let cases: [(&[&str], &str); 17] = [
        (&["--peers", "1.2.3.4:0"], "port 0"),
        (&["--peers", "1.2.3.4:70000"], "\"70000\" is not 1 to 65535"),
        (&["--peers", "1.2.3.400"], "no IPv4 address"),
        (&["--peers", "[::1"], "not closed"),
        (&["--peers", "[1.2.3.4]:1"], "no IPv6 address"),
        (&["--peers", "[::1]x"], "follows the bracket"),
        (&["--peers", "a b:1"], "' ' is in no host's name"),
        (&["--peers", "short.onion"], "56 letters"),
        (&["--peers", ":8333"], "has no host"),
        (&["--peers", &many], "the number of peers is 65"),
        (&["--only-peers"], "peers names none"),
        (&["--onion"], "set proxy"),
        (
            &["--proxy", "127.0.0.1:9050", "--peers", "node.example"],
            "give its address",
        ),
        (
            &["--outbound-peers", "0"],
            "outbound_peers is 0, it must be 1 to 32",
        ),
        (&["--block-memory-bytes", "1"], "block_memory_bytes is 1"),
        (&["--minimum-chain-work", "xyz"], "\"xyz\" is no work"),
        (&["--proxy", "http://127.0.0.1:9050"], "proxy"),
    ];
    for (flags, expected) in cases {
        let error = p2p_of(flags).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let both = format!("canister = \"{CANISTER}\"\nblocks = \"b\"\nrest_url = \"http://n\"");
    let error = settings_of(&both, &[])
        .expect_err("two sources")
        .to_string();
    assert!(error.contains("set source"), "{error}");
    for (flags, expected) in [
        (["--metrics-address", "localhost:1"], "metrics_address"),
        (["--healthy-lag-seconds", "0"], "at least 1"),
        (["--rest-connections", "33"], "1 to 32"),
    ] {
        let flags = [&["--source", "rest"][..], &flags].concat();
        let error = settings_of(&with_needed(""), &flags).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn the_minimum_chain_work_is_the_networks_unless_it_is_set() {
    let digits = |network: &str, flags: &[&str]| {
        let flags = [&["--network", network], flags].concat();
        p2p_of(&flags)
            .expect(network)
            .minimum_chain_work
            .to_string()
    };
    let padded = |digits: &str| format!("{digits:0>64}");
    assert_eq!(digits("mainnet", &[]), padded("1128750f82f4c366153a3a030"));
    assert_eq!(digits("testnet4", &[]), padded("9a0fe15d0177d086304"));
    assert_eq!(digits("signet", &[]), padded("b463ea0a4b8"));
    assert_eq!(digits("regtest", &[]), padded(""));
    assert_eq!(
        digits("mainnet", &["--minimum-chain-work", "0xFf"]),
        padded("ff")
    );
    assert_eq!(
        digits("signet", &["--minimum-chain-work", "0"]),
        padded("0")
    );
}

#[test]
fn state_goes_where_the_system_wants_it() {
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[], "/var/lib/millrace/signet"),
        (
            &[("HOME", "/home/a")],
            "/home/a/.local/state/millrace/signet",
        ),
        (&[("HOME", "")], "/var/lib/millrace/signet"),
        (
            &[("HOME", "/home/a"), ("XDG_STATE_HOME", "/x")],
            "/x/millrace/signet",
        ),
        (
            &[("HOME", "/home/a"), ("XDG_STATE_HOME", "relative")],
            "/home/a/.local/state/millrace/signet",
        ),
        (
            &[
                ("HOME", "/h"),
                ("STATE_DIRECTORY", "/var/lib/one:/var/lib/two"),
            ],
            "/var/lib/one/signet",
        ),
    ];
    for (variables, expected) in cases {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        };
        let folder = state::default_folder(variable, Network::Signet);
        assert_eq!(folder, Path::new(expected));
    }
    let named = settings_of(&with_needed(""), &["--state-folder", "here"]).expect("named");
    assert_eq!(named.state.folder, Path::new("here"));
}

#[test]
fn a_configuration_that_was_named_must_exist() {
    let args = run_args(&["--config", "/nonexistent/adapter.toml"]);
    let error = run_settings(args).expect_err("no such file");
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
