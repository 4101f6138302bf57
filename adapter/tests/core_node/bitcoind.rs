//! A Bitcoin Core on regtest: no peers, an empty data folder, killed when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use millrace_adapter::node::{Credentials, Node, NodeError, NodeSettings, parse_url};
use millrace_core::Network;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The environment variable that names another `bitcoind` than the one `cargo xtask bitcoind` builds.
const PROGRAM: &str = "BITCOIND_EXE";

/// How long the node may take to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// What every node is started with.
const USUAL_OPTIONS: [&str; 7] = [
    "-chain=regtest",
    "-connect=0",
    "-listen=0",
    "-dbcache=16",
    "-server=1",
    "-par=1",
    "-disablewallet=1",
];

pub struct Bitcoind {
    child: Child,
    arguments: Vec<String>,
    folder: TempDir,
    pub settings: NodeSettings,
    pub node: Node,
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

fn spawn(folder: &Path, arguments: &[String]) -> Child {
    let log = File::create(folder.join("log")).expect("a log");
    Command::new(program())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .expect("bitcoind starts")
}

impl Bitcoind {
    /// Starts a node with further options. The first call meets it starting: errors that pass are met, too.
    pub async fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the node");
        // Somebody could take the port in between; the node's log would say so.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound port").port();
        drop(listener);
        let mut arguments = vec![
            format!("-datadir={}", folder.path().display()),
            format!("-rpcport={port}"),
        ];
        arguments.extend(USUAL_OPTIONS.iter().chain(options).map(ToString::to_string));
        let child = spawn(folder.path(), &arguments);
        let settings = NodeSettings {
            url: parse_url(&format!("http://127.0.0.1:{port}/")).expect("a URL"),
            credentials: Credentials::Cookie(folder.path().join("regtest/.cookie")),
            is_named: true,
        };
        let node = Node::new(&settings).expect("a client");
        let mut started = Self {
            child,
            arguments,
            folder,
            settings,
            node,
        };
        started.wait().await;
        started
    }

    /// Stops the node in good order and starts it again, in the same folder and on the same port.
    pub async fn restart(&mut self) {
        self.call("stop", json!([])).await;
        let start = Instant::now();
        while self
            .child
            .try_wait()
            .expect("the system can tell")
            .is_none()
        {
            assert!(start.elapsed() < PATIENCE, "bitcoind does not stop");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.child = spawn(self.folder.path(), &self.arguments);
        self.wait().await;
    }

    async fn wait(&mut self) {
        let start = Instant::now();
        loop {
            let error = match self.node.chain(Network::Regtest).await {
                Ok(_) => return,
                Err(error) => error,
            };
            // Without its cookie it has not come far enough to be asked.
            let is_expected = error.is_transient() || matches!(error, NodeError::Cookie { .. });
            assert!(is_expected, "{error}");
            let ended = self.child.try_wait().expect("the system can tell");
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "bitcoind does not answer: {error}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The folder of the node.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Calls anything, not only what the adapter calls; each must succeed.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let cookie = std::fs::read_to_string(self.folder().join("regtest/.cookie"));
        let cookie = cookie.expect("a cookie");
        let (user, password) = cookie.split_once(':').expect("name and password");
        let request = json!({ "method": method, "params": params, "id": 0 });
        let response = reqwest::Client::new()
            .post(self.settings.url.clone())
            .basic_auth(user, Some(password))
            .json(&request)
            .send()
            .await
            .expect("an answer");
        let answer: Value = response.json().await.expect("JSON");
        assert!(
            answer["error"].is_null(),
            "{method} {params}: {}",
            answer["error"]
        );
        answer["result"].clone()
    }

    /// Mines blocks that pay to a script by its descriptor.
    pub async fn mine(&self, blocks: u32, descriptor: &str) {
        let info = self.call("getdescriptorinfo", json!([descriptor])).await;
        let checksum = info["checksum"].as_str().expect("a checksum");
        let descriptor = format!("{descriptor}#{checksum}");
        self.call("generatetodescriptor", json!([blocks, descriptor]))
            .await;
    }
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
