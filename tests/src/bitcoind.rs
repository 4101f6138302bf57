//! A Bitcoin Core of one's own: an index of the coins at every height, an empty data folder, no peers but those that
//! connect to it.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::Process;
use bitcoin::Block;
use bitcoin::consensus::encode::serialize_hex;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The environment variable that names another `bitcoind` than the one `cargo xtask bitcoind` builds.
const PROGRAM: &str = "BITCOIND_EXE";

/// How long the node may take to start, and its index to follow.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `gettxoutsetinfo muhash` says of a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSummary {
    /// The height.
    pub height: u32,
    /// The block, as printed.
    pub block: String,
    /// Number of coins.
    pub outputs: u64,
    /// Sum of their amounts.
    pub satoshi: u64,
    /// Core's measure of size.
    pub bogosize: u64,
    /// MuHash3072, as printed.
    pub muhash: String,
}

/// Options of a node that peers can connect to.
pub const LISTENING: &[&str] = &["-listen=1", "-listenonion=0", "-discover=0"];

/// A running node; killed when dropped.
pub struct Node {
    process: Option<Process>,
    folder: TempDir,
    /// What it is started with.
    arguments: Vec<String>,
    /// Where its peers connect to, if it listens.
    peer_port: u16,
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
        Self::with(chain, &["-coinstatsindex=1", "-listen=0"])
    }

    /// Starts a node with further options.
    pub fn with(chain: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the node");
        let (port, peer_port) = free_ports();
        let mut arguments = vec![
            format!("-datadir={}", folder.path().display()),
            format!("-chain={chain}"),
            format!("-rpcport={port}"),
        ];
        if options.contains(&"-listen=1") {
            arguments.push(format!("-bind=127.0.0.1:{peer_port}"));
        }
        // Further options may say otherwise: the last one counts.
        let common = ["-dbcache=16", "-server=1", "-par=1"];
        arguments.extend(common.map(str::to_owned));
        if !options.iter().any(|option| option.starts_with("-connect=")) {
            arguments.push("-connect=0".to_owned());
        }
        arguments.push("-printtoconsole=1".to_owned());
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        let mut node = Self {
            process: None,
            arguments,
            peer_port,
            url: format!("http://127.0.0.1:{port}/"),
            cookie: folder.path().join(match chain {
                "main" => ".cookie".to_owned(),
                "test" => "testnet3/.cookie".to_owned(),
                other => format!("{other}/.cookie"),
            }),
            folder,
            client: Client::new(),
        };
        node.run();
        node
    }

    /// Starts the program and waits until it answers.
    fn run(&mut self) {
        let mut command = Command::new(program());
        command.args(&self.arguments);
        let log = self.folder.path().join("log");
        let process = Process::start("bitcoind", &mut command, &log).expect("bitcoind starts");
        let process = self.process.insert(process);
        let start = Instant::now();
        loop {
            let ended = process.exit_status().expect("the system can tell");
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "bitcoind does not answer: {}",
                process.log_end()
            );
            let asked = Asked {
                client: &self.client,
                url: &self.url,
                cookie: &self.cookie,
            };
            if asked
                .call(&json!({"method": "getblockcount", "id": 0}))
                .is_some()
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the node in good order and starts it again with the same data, at the same ports.
    pub fn restart(&mut self) {
        self.stop();
        self.run();
    }

    /// Ends the node in good order.
    pub fn stop(&mut self) {
        let process = self.process.take().expect("a running node");
        process.stop(PATIENCE).expect("bitcoind ends when asked to");
    }

    /// Starts a stopped node.
    pub fn resume(&mut self) {
        assert!(self.process.is_none(), "the node runs");
        self.run();
    }

    /// Processor time that the node has used, all threads together.
    pub fn processor_time(&self) -> Duration {
        /// Clock ticks of a second, on every Linux.
        const TICKS: u64 = 100;
        let id = self.process.as_ref().expect("a running node").id();
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("a running process");
        // The name, in parentheses, may have spaces; user and system time are the 14th and 15th field.
        let (_, fields) = stat.rsplit_once(')').expect("proc(5)");
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = times
            .map(|time| time.parse::<u64>().expect("a number"))
            .sum();
        Duration::from_millis(ticks * 1_000 / TICKS)
    }

    /// Where peers connect to.
    pub fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port)
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
    pub fn sets(&self, heights: impl IntoIterator<Item = u32>) -> Vec<SetSummary> {
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

    fn set(&self, height: u32) -> SetSummary {
        let info = self.call("gettxoutsetinfo", &json!(["muhash", height]));
        let number = |name: &str| info[name].as_u64().unwrap_or_else(|| panic!("{info}"));
        let text = |name: &str| info[name].as_str().unwrap_or_else(|| panic!("{info}"));
        let amount = info["total_amount"].to_string();
        let amount = bitcoin::Amount::from_str_in(&amount, bitcoin::Denomination::Bitcoin);
        SetSummary {
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

    /// Calls a method, which must succeed.
    pub fn call(&self, method: &str, arguments: &Value) -> Value {
        let answer = self.ask(&json!({"method": method, "params": arguments, "id": 0}));
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// Calls a method, which must fail, and returns what the node says.
    pub fn refused(&self, method: &str, arguments: &Value) -> String {
        let answer = self.ask(&json!({"method": method, "params": arguments, "id": 0}));
        let message = answer["error"]["message"].as_str();
        message
            .unwrap_or_else(|| panic!("{method} succeeds: {answer}"))
            .to_owned()
    }

    /// Calls a method once for each of `arguments`, in messages of a thousand; each must succeed.
    pub fn call_many(&self, method: &str, arguments: &[Value]) -> Vec<Value> {
        let mut results = Vec::with_capacity(arguments.len());
        for arguments in arguments.chunks(1_000) {
            let calls: Vec<Value> = (0..)
                .zip(arguments)
                .map(|(id, params): (u32, _)| json!({"method": method, "params": params, "id": id}))
                .collect();
            let answers = self.ask(&Value::from(calls));
            let answers = answers.as_array().expect("an answer for each call");
            assert_eq!(answers.len(), arguments.len());
            for (id, answer) in answers.iter().enumerate() {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                assert_eq!(answer["id"], id, "in the order of the calls");
                results.push(answer["result"].clone());
            }
        }
        results
    }

    fn ask(&self, request: &Value) -> Value {
        let asked = Asked {
            client: &self.client,
            url: &self.url,
            cookie: &self.cookie,
        };
        asked.call(request).unwrap_or_else(|| {
            let folder = self.folder.path().display();
            let log = self.process.as_ref().map(Process::log_end);
            panic!("bitcoind ({folder}) does not answer {request}: {log:?}")
        })
    }
}

/// Two ports that nobody listens at. Somebody could take them in between; the node's log would say so.
fn free_ports() -> (u16, u16) {
    let bound = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    let [one, other] = bound.map(|listener| listener.local_addr().expect("a bound port").port());
    (one, other)
}

/// Whom to ask.
struct Asked<'a> {
    client: &'a Client,
    url: &'a str,
    cookie: &'a Path,
}

impl Asked<'_> {
    /// Returns the whole answer, or nothing when the node does not answer yet.
    fn call(&self, request: &Value) -> Option<Value> {
        let cookie = match std::fs::read_to_string(self.cookie) {
            Ok(cookie) => cookie,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("{}: {error}", self.cookie.display()),
        };
        let (user, password) = cookie.split_once(':')?;
        let response = self
            .client
            .post(self.url)
            .basic_auth(user, Some(password))
            .json(request)
            .send()
            .ok()?;
        let answer: Value = response.json().ok()?;
        // Still warming up.
        (answer["error"]["code"] != -28).then_some(answer)
    }
}
