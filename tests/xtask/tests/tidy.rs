//! Rules of the repository that no compiler knows: sizes, layout, who may depend on whom, banned text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a Rust file without its tests.
const FILE_LINES_MAX: usize = 500;

/// Bytes of a file in git.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Recorded data that may be larger, one by one.
const LARGE_FIXTURES: [&str; 0] = [];

/// Besides hidden files. `rust-toolchain.toml` is not in the design, but rustup knows no hidden name for it.
const TOP_LEVEL: [&str; 13] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "adapter",
    "candid",
    "canister",
    "dfx.json",
    "icp.yaml",
    "rust-toolchain.toml",
    "tests",
];

/// Packages of the workspace and the packages of the workspace each may use. Development
/// dependencies are free: they are in nobody's product.
const MAY_USE: [(&str, &[&str]); 15] = [
    ("millrace-core", &[]),
    ("millrace-store", &["millrace-core"]),
    ("millrace-candid", &[]),
    (
        "millrace-canister",
        &["millrace-candid", "millrace-core", "millrace-store"],
    ),
    ("millrace-p2p", &["millrace-core"]),
    (
        "millrace-adapter",
        &["millrace-candid", "millrace-core", "millrace-p2p"],
    ),
    (
        "millrace-fuzz",
        &["millrace-adapter", "millrace-core", "millrace-p2p"],
    ),
    ("millrace-vm", &[]),
    ("millrace-subnet", &["millrace-vm"]),
    ("millrace-replica", &["millrace-subnet", "millrace-vm"]),
    ("xtask", &[]),
    (
        "millrace-tests",
        &[
            "millrace-adapter",
            "millrace-candid",
            "millrace-core",
            "millrace-replica",
            "millrace-store",
            "millrace-subnet",
            "millrace-vm",
        ],
    ),
    (
        "millrace-bench",
        &[
            "millrace-candid",
            "millrace-canister",
            "millrace-core",
            "millrace-replica",
            "millrace-source-canister",
            "millrace-store",
            "millrace-subnet",
            "millrace-tests",
        ],
    ),
    // The one test package that drives the canister's logic natively.
    (
        "millrace-sim",
        &[
            "millrace-candid",
            "millrace-canister",
            "millrace-core",
            "millrace-store",
        ],
    ),
    (
        "millrace-sim-wasm",
        &[
            "millrace-candid",
            "millrace-canister",
            "millrace-sim",
            "millrace-subnet",
            "millrace-vm",
        ],
    ),
];

/// Packages from outside that would break a boundary.
const MAY_NOT_USE: [(&str, &[&str]); 3] = [
    ("millrace-p2p", &["candid", "ic-agent", "rand", "tokio"]),
    (
        "millrace-core",
        &["candid", "ic-cdk", "ic-stable-structures", "rand", "tokio"],
    ),
    ("millrace-store", &["candid", "ic-cdk", "rand", "tokio"]),
];

/// What the adapter's decisions must not name.
const OUTSIDE_THE_ADAPTER: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "std::fs",
    "std::net",
    "std::thread",
    "tokio",
    "rand::",
];

/// Folders of pure code, and what must not be named in it: time, chance and the outside world come
/// in as arguments.
const PURE: [(&str, &[&str]); 5] = [
    (
        "canister/core/src",
        &[
            "SystemTime",
            "Instant::now",
            "std::fs",
            "std::net",
            "std::thread",
            "ic_cdk",
            "candid::",
        ],
    ),
    (
        "canister/store/src",
        &[
            "SystemTime",
            "Instant::now",
            "std::net",
            "std::thread",
            "ic_cdk",
            "candid::",
        ],
    ),
    ("adapter/p2p/src", OUTSIDE_THE_ADAPTER),
    ("adapter/src/engine", OUTSIDE_THE_ADAPTER),
    ("adapter/src/snapshot/import", OUTSIDE_THE_ADAPTER),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("this package lies in the repository")
}

/// Returns the files git tracks, or would track, that are there.
fn files() -> Vec<String> {
    let mut git = Command::new("git");
    git.current_dir(repository()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let output = git.output().expect("git is installed");
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).expect("file names of the repository are UTF-8");
    let names: BTreeSet<_> = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let files: Vec<_> = names
        .into_iter()
        .filter(|name| repository().join(name).is_file())
        .collect();
    assert!(!files.is_empty(), "git lists no file");
    files
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    files()
        .into_iter()
        .filter(|name| name.ends_with(".rs"))
        .map(|name| {
            let text = read(&name);
            (name, text)
        })
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the lines before a test module that ends the file.
fn without_tests(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<_> = text.lines().collect();
    let opens = |pair: &[&str]| {
        pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    };
    let end = lines.windows(2).position(opens).unwrap_or(lines.len());
    lines.into_iter().take(end)
}

/// Returns the Rust files whose whole content is tests or support for them: by their name, or because
/// a file declares them under `#[cfg(test)]`.
fn test_files() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, text) in rust_files() {
        let path = Path::new(&name);
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a Rust file has a name");
        let in_src = name.split_once("/src/").map_or("", |(_, inside)| inside);
        if stem == "tests"
            || stem.ends_with("_tests")
            || in_src.split('/').any(|folder| folder == "tests")
        {
            found.insert(name.clone());
        }
        let parent = path.parent().expect("a file has a folder");
        let folder = if ["lib", "main", "mod"].contains(&stem) {
            parent.to_owned()
        } else {
            parent.join(stem)
        };
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            if let Some(module) = pair[1]
                .strip_suffix(';')
                .and_then(|line| line.split_once("mod "))
            {
                found.insert(
                    folder
                        .join(module.1)
                        .with_extension("rs")
                        .to_string_lossy()
                        .into_owned(),
                );
            }
        }
    }
    found
}

fn assert_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn rust_files_stay_short() {
    let tests = test_files();
    let offences: Vec<_> = rust_files()
        .filter(|(name, _)| !tests.contains(name))
        .map(|(name, text)| (name, without_tests(&text).count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert_none(
        &format!("at most {FILE_LINES_MAX} lines besides tests: split it by topic"),
        &offences,
    );
}

#[test]
fn rust_files_open_with_their_one_job() {
    /// Attributes for the whole file may come first.
    const HEAD_LINES: usize = 12;
    let tests = test_files();
    let is_opened = |text: &str| {
        text.lines()
            .take(HEAD_LINES)
            .any(|line| line.starts_with("//!"))
    };
    let offences: Vec<_> = rust_files()
        .filter(|(name, text)| !tests.contains(name) && !is_opened(text))
        .map(|(name, _)| name)
        .collect();
    assert_none(
        "the file opens with what it is for, as `//! ...`",
        &offences,
    );
}

#[test]
fn file_names_say_a_topic() {
    let offences: Vec<_> = files()
        .into_iter()
        .filter(|name| name.ends_with("/utils.rs") || name.ends_with("/common.rs"))
        .collect();
    assert_none("no utils.rs or common.rs: name the topic", &offences);
}

#[test]
fn the_top_level_holds_only_what_the_design_lists() {
    let found: BTreeSet<_> = files()
        .iter()
        .filter_map(|name| name.split('/').next().map(str::to_owned))
        .collect();
    let offences: Vec<_> = found
        .into_iter()
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()))
        .collect();
    assert_none("not in the list of top-level entries", &offences);
}

#[test]
fn large_files_are_not_in_git() {
    let size = |name: &str| {
        fs::metadata(repository().join(name))
            .expect("a listed file is there")
            .len()
    };
    let offences: Vec<_> = files()
        .into_iter()
        .filter(|name| !LARGE_FIXTURES.contains(&name.as_str()) && size(name) > FILE_BYTES_MAX)
        .map(|name| format!("{name}: {} bytes", size(&name)))
        .collect();
    assert_none(
        &format!("over {FILE_BYTES_MAX} bytes: cut it, or list it here with a reason"),
        &offences,
    );
}

#[test]
fn fixtures_are_listed_with_their_source() {
    const FOLDER: &str = "tests/fixtures/";
    const LIST: &str = "tests/fixtures/README.md";
    let list = read(LIST);
    let offences: Vec<_> = files()
        .into_iter()
        .filter(|name| name.starts_with(FOLDER) && name != LIST)
        .filter(|name| !list.contains(&format!("| {} |", &name[FOLDER.len()..])))
        .collect();
    assert_none(&format!("no row in {LIST}"), &offences);
}

#[test]
fn leftovers_and_registry_hosts_are_not_committed() {
    // Written in halves, so that this file does not offend itself.
    let code = [
        ("dbg", "!("),
        ("todo", "!("),
        ("unimplemented", "!("),
        ("TO", "DO"),
        ("FIX", "ME"),
        ("XX", "X:"),
    ];
    let hosts = [
        ("registry.npm", "js.org"),
        ("static.crat", "es.io"),
        ("index.crat", "es.io"),
        ("files.python", "hosted.org"),
        ("deb.deb", "ian.org"),
    ];
    let join = |halves: &[(&str, &str)]| {
        halves
            .iter()
            .map(|(a, b)| format!("{a}{b}"))
            .collect::<Vec<_>>()
    };
    let (code, hosts) = (join(&code), join(&hosts));
    let mut offences = Vec::new();
    for name in files() {
        // Recorded data is not text we wrote.
        let Ok(text) = fs::read_to_string(repository().join(&name)) else {
            continue;
        };
        if name.starts_with("tests/fixtures/") {
            continue;
        }
        let banned = if name.ends_with(".rs") {
            [code.clone(), hosts.clone()].concat()
        } else {
            hosts.clone()
        };
        for (index, line) in text.lines().enumerate() {
            offences.extend(
                banned
                    .iter()
                    .filter(|word| line.contains(*word))
                    .map(|word| format!("{name}:{}: {word}", index + 1)),
            );
        }
    }
    assert_none("banned text", &offences);
}

#[test]
fn packages_depend_in_one_direction() {
    let mut offences = Vec::new();
    for name in files().iter().filter(|name| name.ends_with("Cargo.toml")) {
        let manifest: toml::Table = read(name)
            .parse()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let Some(package) = manifest
            .get("package")
            .and_then(|package| package["name"].as_str())
        else {
            continue;
        };
        let used = dependencies(&manifest);
        let ours = used.iter().filter(|dependency| is_ours(dependency));
        // Test canisters stand for other people's: they may know the interface, not the inside.
        let allowed = match MAY_USE.iter().find(|(candidate, _)| *candidate == package) {
            Some((_, allowed)) => *allowed,
            None if name.starts_with("tests/canisters/") => &["millrace-candid"][..],
            None => panic!("{name}: package {package} is not in the table of who may use whom"),
        };
        offences.extend(
            ours.filter(|used| !allowed.contains(&used.as_str()))
                .map(|used| format!("{package} uses {used}")),
        );
        let forbidden = MAY_NOT_USE
            .iter()
            .find(|(candidate, _)| *candidate == package)
            .map_or(&[][..], |(_, list)| list);
        offences.extend(
            used.iter()
                .filter(|used| forbidden.contains(&used.as_str()))
                .map(|used| format!("{package} uses {used}")),
        );
    }
    assert_none("dependencies against the design", &offences);
}

fn is_ours(dependency: &str) -> bool {
    MAY_USE.iter().any(|(package, _)| *package == dependency)
}

/// Returns the names of normal and build dependencies, for any target.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let targets = manifest
        .get("target")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flat_map(toml::Table::values);
    let tables = targets.filter_map(toml::Value::as_table).chain([manifest]);
    let lists =
        tables.flat_map(|table| ["dependencies", "build-dependencies"].map(|key| table.get(key)));
    lists
        .flatten()
        .filter_map(toml::Value::as_table)
        .flat_map(|list| list.keys().cloned())
        .collect()
}

#[test]
fn pure_code_names_no_clock_chance_or_outside() {
    let tests = test_files();
    let mut offences = Vec::new();
    for (folder, banned) in PURE {
        let folder = format!("{folder}/");
        for (name, text) in
            rust_files().filter(|(name, _)| name.starts_with(&folder) && !tests.contains(name))
        {
            for (index, line) in without_tests(&text).enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                offences.extend(
                    banned
                        .iter()
                        .filter(|word| code.contains(*word))
                        .map(|word| format!("{name}:{}: {word}", index + 1)),
                );
            }
        }
    }
    assert_none("this belongs in a shell around the pure code", &offences);
}
