//! A Bitcoin Core of one's own: no peers, an index of the coins at every height, an empty data folder.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bitcoin::Block;
use bitcoin::consensus::encode::serialize_hex;
use millrace_tests::process::Process;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Expected;

/// The environment variable that names another `bitcoind` than the one `cargo xtask bitcoind` builds.
const PROGRAM: &str = "BITCOIND_EXE";

/// How long the node may take to start, and its index to follow.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Node {
    process: Process,
    folder: TempDir,
    url: String,
    cookie: PathBuf,
    client: Client,
}

fn program() -> PathBuf {
    if let Some(chosen) = std::env::var_os(PROGRAM) {
        return PathBuf::from(chosen);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache")
    });
    let path = cache.join("millrace/bitcoind-31.99/bin/bitcoind");
    assert!(
        path.is_file(),
        "no {}: run `cargo xtask bitcoind`, or name a bitcoind in {PROGRAM}",
        path.display()
    );
    path
}

impl Node {
    /// Starts a node on `chain`, named as Bitcoin Core's `-chain` takes it.
    pub fn start(chain: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the node");
        // Somebody could take the port in between; the node's log would say so.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        drop(listener);
        let mut command = Command::new(program());
        command
            .arg(format!("-datadir={}", folder.path().display()))
            .arg(format!("-chain={chain}"))
            .arg(format!("-rpcport={port}"))
            .args([
                "-coinstatsindex=1",
                "-connect=0",
                "-listen=0",
                "-dbcache=16",
            ])
            .args(["-server=1", "-par=1", "-printtoconsole=1"]);
        let log = folder.path().join("log");
        let process = Process::start("bitcoind", &mut command, &log).expect("bitcoind starts");
        let mut node = Self {
            process,
            url: format!("http://127.0.0.1:{port}/"),
            cookie: folder.path().join(match chain {
                "main" => ".cookie".to_owned(),
                "test" => "testnet3/.cookie".to_owned(),
                other => format!("{other}/.cookie"),
            }),
            folder,
            client: Client::new(),
        };
        let start = Instant::now();
        while node.try_call("getblockcount", &json!([])).is_none() {
            let ended = node.process.exit_status().expect("the system can tell");
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "bitcoind does not answer: {}",
                node.process.log_end()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        node
    }

    /// Hands blocks over; each must be good.
    pub fn submit<'a>(&self, blocks: impl IntoIterator<Item = &'a Block>) {
        for block in blocks {
            let verdict = self.call("submitblock", &json!([serialize_hex(block)]));
            // A block that ties with the best one is good, too.
            let is_good = verdict.is_null() || verdict == "inconclusive";
            assert!(is_good, "{}: {verdict}", block.block_hash());
        }
    }

    /// The hash of the best block.
    pub fn tip(&self) -> String {
        let hash = self.call("getbestblockhash", &json!([]));
        hash.as_str().expect("a hash").to_owned()
    }

    /// What `gettxoutsetinfo muhash` says of each height, once the index got so far.
    pub fn sets(&self, heights: impl IntoIterator<Item = u32>) -> Vec<Expected> {
        let start = Instant::now();
        let best = self.call("getblockcount", &json!([]));
        loop {
            let info = self.call("getindexinfo", &json!([]));
            if info["coinstatsindex"]["best_block_height"] == best {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "the index stays behind: {info}");
            std::thread::sleep(Duration::from_millis(20));
        }
        heights.into_iter().map(|height| self.set(height)).collect()
    }

    fn set(&self, height: u32) -> Expected {
        let info = self.call("gettxoutsetinfo", &json!(["muhash", height]));
        let number = |name: &str| info[name].as_u64().unwrap_or_else(|| panic!("{info}"));
        let text = |name: &str| info[name].as_str().unwrap_or_else(|| panic!("{info}"));
        let amount = info["total_amount"].to_string();
        let amount = bitcoin::Amount::from_str_in(&amount, bitcoin::Denomination::Bitcoin);
        Expected {
            height,
            block: text("bestblock").to_owned(),
            outputs: number("txouts"),
            satoshi: amount.expect("an amount in bitcoin").to_sat(),
            bogosize: number("bogosize"),
            muhash: text("muhash").to_owned(),
        }
    }

    /// What `dumptxoutset` writes of the set at the best block, and what it says of that.
    pub fn dump(&self) -> (Vec<u8>, Value) {
        let path = self.folder.path().join("utxo.dat");
        let said = self.call("dumptxoutset", &json!([path, "latest"]));
        let bytes = std::fs::read(&path).expect("the node wrote it");
        std::fs::remove_file(&path).expect("our folder");
        (bytes, said)
    }

    /// Where it answers, and the file with the password for that.
    pub fn access(&self) -> (&str, &Path) {
        (&self.url, &self.cookie)
    }

    /// The headers of the best chain from height 1 on.
    pub fn headers(&self) -> Vec<Vec<u8>> {
        let best = self.call("getblockcount", &json!([])).as_u64();
        let header = |height: u64| {
            let hash = self.call("getblockhash", &json!([height]));
            let header = self.call("getblockheader", &json!([hash, false]));
            hex::decode(header.as_str().expect("a header")).expect("hexadecimal digits")
        };
        (1..=best.expect("a height")).map(header).collect()
    }

    fn call(&self, method: &str, arguments: &Value) -> Value {
        self.try_call(method, arguments).unwrap_or_else(|| {
            let folder = self.folder.path().display();
            panic!(
                "bitcoind ({folder}) does not answer {method}: {}",
                self.process.log_end()
            )
        })
    }

    /// Returns the result, or nothing when the node does not answer yet.
    fn try_call(&self, method: &str, arguments: &Value) -> Option<Value> {
        let cookie = match std::fs::read_to_string(&self.cookie) {
            Ok(cookie) => cookie,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("{}: {error}", self.cookie.display()),
        };
        let (user, password) = cookie.split_once(':')?;
        let request = json!({"method": method, "params": arguments, "id": 0});
        let response = self
            .client
            .post(&self.url)
            .basic_auth(user, Some(password))
            .json(&request)
            .send()
            .ok()?;
        let answer: Value = response.json().ok()?;
        // Still warming up.
        if answer["error"]["code"] == -28 {
            return None;
        }
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        Some(answer["result"].clone())
    }
}
