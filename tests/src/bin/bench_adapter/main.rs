//! `bench-adapter`: how fast the adapter's sources are, beside a `bitcoind` that downloads the same chain.
//!
//! All runs read one chain from one node on this machine, one after the other. Seconds differ from machine to
//! machine and from run to run; the ratios in one run say something.

mod chain;
mod contest;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use millrace_tests::bitcoind::{LISTENING, Node};

/// Measures the adapter's sources.
#[derive(Parser)]
#[command(name = "bench-adapter", max_term_width = 100)]
struct Args {
    /// The `adapter` program, built for release
    #[arg(long)]
    adapter: PathBuf,
    /// Large blocks of the chain, 1.6 MB each
    #[arg(long, default_value_t = 400)]
    blocks: u32,
    /// Folder for the chain's block file, which is kept for the next run
    #[arg(long, default_value = "target/bench")]
    cache: PathBuf,
    /// File that the table is written to, besides standard output
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let chain = chain::prepare(&args.cache, args.blocks)?;
    eprintln!("loading {} blocks into a node", chain.blocks);
    let load = format!("-loadblock={}", chain.file.display());
    let options = [
        LISTENING,
        &["-rest=1", "-dbcache=1000", "-rpcthreads=8", &load],
    ]
    .concat();
    let node = Node::with("regtest", &options);
    chain.wait_for(&node)?;
    let contest = contest::Contest {
        adapter: args
            .adapter
            .canonicalize()
            .with_context(|| format!("no adapter at {}", args.adapter.display()))?,
        chain: &chain,
        node: &node,
    };
    let rows = contest.run()?;
    let text = report::table(&chain, &rows);
    print!("{text}");
    if let Some(path) = &args.results {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
