//! The runs, one after the other.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use millrace_tests::adapter;
use millrace_tests::bitcoind::Node;

use crate::chain::Chain;

/// What one run took.
pub struct Row {
    pub name: &'static str,
    pub elapsed: Duration,
    /// Processor time of the reader alone.
    pub processor: Duration,
}

/// See the module's documentation.
pub struct Contest<'a> {
    pub adapter: PathBuf,
    pub chain: &'a Chain,
    pub node: &'a Node,
}

impl Contest<'_> {
    /// Runs everybody.
    pub fn run(&self) -> Result<Vec<Row>> {
        let peer = self.node.peer_address();
        let (url, cookie) = self.node.access();
        let cookie = cookie.to_string_lossy().into_owned();
        let file = self.chain.file.to_string_lossy().into_owned();
        let p2p = ["--source", "p2p", "--only-peers", "--peers", &peer];
        Ok(vec![
            self.bitcoind()?,
            self.measure(
                "P2P, version 1",
                &[&p2p[..], &["--v2-transport=false"]].concat(),
            )?,
            self.measure("P2P, version 2 (BIP324)", &p2p)?,
            self.measure("REST", &["--source", "rest", "--rest-url", url])?,
            self.measure(
                "RPC",
                &[
                    "--source",
                    "rpc",
                    "--node-url",
                    url,
                    "--node-cookie",
                    &cookie,
                ],
            )?,
            self.measure("block files", &["--source", "blocks", "--blocks", &file])?,
        ])
    }

    /// Bitcoin Core itself, from an empty folder to the tip.
    fn bitcoind(&self) -> Result<Row> {
        eprintln!("bitcoind downloads the chain");
        let connect = format!("-connect={}", self.node.peer_address());
        let assumed = format!("-assumevalid={}", self.chain.assumed_valid);
        let start = Instant::now();
        let options = ["-listen=0", &connect, &assumed, "-dbcache=1000"];
        let reader = Node::with("regtest", &options);
        self.chain.wait_for(&reader)?;
        Ok(Row {
            name: "bitcoind",
            elapsed: start.elapsed(),
            processor: reader.processor_time(),
        })
    }

    /// The adapter's own measure of a source.
    fn measure(&self, name: &'static str, source: &[&str]) -> Result<Row> {
        eprintln!("adapter measure: {name}");
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let mut command: Command = adapter::command(&self.adapter, folder.path());
        command
            .args(["measure", "--network", "regtest", "--state-folder"])
            .arg(folder.path().join("state"))
            .args(source);
        let output = command.output().context("cannot start the adapter")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("{name}: the adapter ended with {}: {errors}", output.status);
        }
        let figure = |key: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            let value = line.with_context(|| format!("{name}: no {key} in {text}"))?;
            Ok(value.trim().parse()?)
        };
        let blocks = figure("blocks ")?;
        let bytes = figure("bytes ")?;
        if blocks != f64::from(self.chain.blocks) || bytes != self.chain.bytes as f64 {
            bail!("{name}: {blocks} blocks of {bytes} bytes were read, not the whole chain");
        }
        Ok(Row {
            name,
            elapsed: Duration::from_secs_f64(figure("seconds ")?),
            processor: Duration::from_secs_f64(figure("cpu_seconds ")?),
        })
    }
}
