//! The chain that everybody reads, in one framed file as Bitcoin Core writes them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bitcoin::consensus::serialize;
use bitcoin::{BlockHash, Network};
use millrace_tests::bitcoind::Node;
use millrace_tests::chain::spendable::{LARGE, PREPARING, SpendableChain};
use serde_json::json;

/// Empty blocks on top: Bitcoin Core checks scripts of the last two weeks, whatever is assumed valid.
const TAIL: u32 = 2_200;

/// How long a node may take to read everything.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// See the module's documentation.
pub struct Chain {
    pub file: PathBuf,
    /// Bytes of all blocks but the genesis block.
    pub bytes: u64,
    /// Blocks above the genesis block.
    pub blocks: u32,
    /// The last large block.
    pub assumed_valid: BlockHash,
    pub tip: BlockHash,
}

/// Makes the chain, and its file unless an earlier run left it.
pub fn prepare(folder: &Path, large: u32) -> Result<Chain> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let folder = folder
        .canonicalize()
        .context("the folder was just created")?;
    let file = folder.join(format!("spendable-{large}.dat"));
    let partial = folder.join(format!("spendable-{large}.dat.partial"));
    let mut writer = match file.exists() {
        true => None,
        false => Some(BufWriter::new(
            File::create(&partial)
                .with_context(|| format!("cannot write {}", partial.display()))?,
        )),
    };
    eprintln!("making a chain of {large} large blocks");
    let mut chain = SpendableChain::new();
    let genesis = bitcoin::constants::genesis_block(Network::Regtest);
    let (mut bytes, mut tip, mut assumed_valid) = (0, genesis.block_hash(), genesis.block_hash());
    let frame = |writer: &mut Option<BufWriter<File>>, block: &[u8]| -> Result<()> {
        let Some(writer) = writer else { return Ok(()) };
        writer.write_all(&Network::Regtest.magic().to_bytes())?;
        writer.write_all(&u32::try_from(block.len())?.to_le_bytes())?;
        writer.write_all(block)?;
        Ok(())
    };
    frame(&mut writer, &serialize(&genesis))?;
    let blocks = PREPARING + large + TAIL;
    for height in 1..=blocks {
        let is_tail = height > PREPARING + large;
        let block = chain.next_block(if is_tail { 0 } else { LARGE });
        tip = block.block_hash();
        if !is_tail {
            assumed_valid = tip;
        }
        let block = serialize(&block);
        bytes += block.len() as u64;
        frame(&mut writer, &block)?;
    }
    if let Some(writer) = writer {
        writer
            .into_inner()
            .context("cannot write the chain")?
            .sync_all()?;
        fs::rename(&partial, &file).context("cannot name the chain's file")?;
    }
    Ok(Chain {
        file,
        bytes,
        blocks,
        assumed_valid,
        tip,
    })
}

impl Chain {
    /// Waits until a node has the whole chain, and returns how long that took.
    pub fn wait_for(&self, node: &Node) -> Result<Duration> {
        let start = Instant::now();
        let tip = json!(self.tip.to_string());
        while node.call("getbestblockhash", &json!([])) != tip {
            if start.elapsed() > PATIENCE {
                let height = node.call("getblockcount", &json!([]));
                bail!("the node is at height {height} of {}", self.blocks);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(start.elapsed())
    }
}
