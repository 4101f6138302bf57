//! Tries freshly built programs: `bitcoind` must start on regtest and mine a block for `bitcoin-cli`.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process;

/// Seconds `bitcoin-cli` waits for the daemon to answer.
const START_PATIENCE_S: u32 = 120;

/// Anyone can spend from this script (`OP_TRUE`); no wallet is needed to mine to it.
const DESCRIPTOR: &str = "raw(51)";

/// Starts the `bitcoind` in `programs` on a chain of its own and has it mine a block.
///
/// # Errors
/// When it does not start, mine, or stop: the message ends with the daemon's log.
pub fn run(programs: &Path, folder: &Path) -> Result<()> {
    let data = folder.join("trial");
    remove(&data)?;
    fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    let outcome = mine_one_block(programs, &data).with_context(|| {
        let log = fs::read_to_string(data.join("regtest/debug.log")).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(5).collect();
        let last: Vec<_> = last.into_iter().rev().collect();
        format!(
            "the bitcoind built does not work; its log ends with\n{}",
            last.join("\n")
        )
    });
    let removed = remove(&data);
    outcome.and(removed)
}

fn mine_one_block(programs: &Path, data: &Path) -> Result<()> {
    let node = Node::start(programs, data)?;
    node.ask(&["generatetodescriptor", "1", DESCRIPTOR])?;
    let height = node.ask(&["getblockcount"])?;
    if height != "1" {
        bail!("mining one block led to height {height:?}, not 1");
    }
    node.stop()
}

/// A running daemon; killed when this goes, unless it was stopped.
struct Node {
    daemon: Child,
    client: PathBuf,
    options: [String; 3],
}

impl Node {
    fn start(programs: &Path, data: &Path) -> Result<Self> {
        let port = free_port()?;
        let options = [
            "-regtest".to_owned(),
            format!("-datadir={}", data.display()),
            format!("-rpcport={port}"),
        ];
        let mut command: Command = process::command(programs.join("bitcoind"));
        command
            .args(&options)
            .args(["-server", "-listen=0", "-dnsseed=0", "-dbcache=4"]);
        let daemon = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start bitcoind")?;
        Ok(Self {
            daemon,
            client: programs.join("bitcoin-cli"),
            options,
        })
    }

    /// Calls a method, waiting until the daemon answers.
    fn ask(&self, call: &[&str]) -> Result<String> {
        let mut client = process::command(&self.client);
        client
            .args(&self.options)
            .arg("-rpcwait")
            .arg(format!("-rpcwaittimeout={START_PATIENCE_S}"));
        Ok(process::output(client.args(call))?.trim().to_owned())
    }

    fn stop(mut self) -> Result<()> {
        self.ask(&["stop"])?;
        let status = self.daemon.wait().context("cannot wait for bitcoind")?;
        if !status.success() {
            bail!("bitcoind ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill, and otherwise nobody left to tell.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A port nobody listens on at the moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr().context("no free port")?.port())
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}
