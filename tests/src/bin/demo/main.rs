//! `demo`: the whole of Millrace on real mainnet blocks, in one command.
//!
//! Starts the local replica, deploys the canister, feeds it with the adapter, asks it over Candid and
//! holds every answer against an independent recomputation. State is kept: the next run only asks.

mod client;
mod deploy;
mod examples;
mod feed;
mod state;
mod table;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use bitcoin::Block;
use clap::Parser;
use millrace_tests::block_file;
use millrace_tests::coins::CoinSet;
use millrace_tests::local_replica::LocalReplica;
use tokio::signal::unix::{SignalKind, signal};

use client::Client;
use state::StateDir;

/// Ingests real mainnet blocks into the canister on a local replica and checks every answer.
#[derive(Parser)]
#[command(name = "demo", max_term_width = 100)]
struct Args {
    /// Module of the canister, plain or gzip
    #[arg(long, default_value = "target/wasm/millrace.wasm.gz")]
    wasm: PathBuf,
    /// The `replica` program
    #[arg(long, default_value = "target/debug/replica")]
    replica: PathBuf,
    /// The `adapter` program
    #[arg(long, default_value = "target/debug/adapter")]
    adapter: PathBuf,
    /// File of framed mainnet blocks, in height order from genesis
    #[arg(long, default_value = "tests/fixtures/blocktools/1M.dat")]
    blocks: PathBuf,
    /// Folder for keys, logs and the replica's state
    #[arg(long, default_value = ".millrace/demo")]
    state: PathBuf,
    /// Port of the replica; 0 takes any free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Start from nothing: delete what an earlier run left
    #[arg(long)]
    fresh: bool,
    /// Leave the replica running at the end and print how to call the canister
    #[arg(long)]
    keep_running: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    for (program, package) in [
        (&args.replica, "millrace-replica"),
        (&args.adapter, "millrace-adapter"),
    ] {
        if !program.is_file() {
            bail!(
                "there is no program {}; run `cargo build -p {package} --bins`, or `cargo xtask demo`, which does",
                program.display()
            );
        }
    }
    let wasm = std::fs::read(&args.wasm).with_context(|| {
        format!(
            "cannot read the canister's module {}; run `cargo xtask wasm` to build it",
            args.wasm.display()
        )
    })?;
    let blocks = read_chain(&args.blocks)?;
    let state = StateDir::open(&args.state, args.fresh)?;

    let start = Instant::now();
    let replica =
        LocalReplica::start(&args.replica, args.port, state.path()).with_context(|| {
            format!(
                "the replica did not start; if its state in {} is damaged, start over with --fresh",
                state.path().display()
            )
        })?;
    println!("replica    {}", replica.ready.url);
    let outcome = tokio::select! {
        outcome = show(&args, &wasm, &blocks, &state, &replica, start) => outcome,
        () = stop_signal() => Err(anyhow::anyhow!(
            "interrupted; what was ingested is kept, the next run goes on from there"
        )),
    };
    match outcome {
        Ok(client) if args.keep_running => {
            leave_running(replica, &client);
            Ok(())
        }
        Ok(_) => {
            replica.stop()?;
            println!(
                "\nStopped. The state is kept in {}: the next run only asks (`--fresh` starts over).",
                args.state.display()
            );
            Ok(())
        }
        Err(error) => {
            // The first error matters more than one in clearing up.
            if let Err(second) = replica.stop() {
                eprintln!("demo: {second:#}");
            }
            Err(error)
        }
    }
}

/// Deploys, feeds, asks and checks.
async fn show(
    args: &Args,
    wasm: &[u8],
    blocks: &[Block],
    state: &StateDir,
    replica: &LocalReplica,
    start: Instant,
) -> Result<Client> {
    let client = deploy::deploy(wasm, state, &replica.ready).await?;
    println!("canister   {}", client.canister);
    feed::feed(args, state, &replica.ready, client.canister).await?;
    let tip = blocks.last().context("the chain has a genesis block")?;
    let info = client.wait_for_tip(tip.block_hash()).await?;
    println!(
        "tip        height {}, {}, {} coins, ready after {:.1} s\n",
        info.height,
        tip.block_hash(),
        info.utxos_length,
        start.elapsed().as_secs_f64()
    );
    let coins = CoinSet::of_chain(blocks)?;
    let owners = coins.by_script();
    let right = examples::show(&client, blocks, &owners).await?;
    verify::every_script(&client, &coins, &owners).await?;
    if !right {
        bail!(
            "an example above differs from the recomputation from {}",
            args.blocks.display()
        );
    }
    Ok(client)
}

/// Waits for Ctrl-C or a polite request to end, so that the replica is never left behind.
async fn stop_signal() {
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate => {}
    }
}

fn read_chain(path: &std::path::Path) -> Result<Vec<Block>> {
    let file = block_file::read_mainnet(path).context(
        "the recorded blocks cannot be used; pass a file of framed mainnet blocks as --blocks",
    )?;
    let mut blocks = file.blocks;
    let Some(first) = blocks.first() else {
        bail!("{} holds no block", path.display());
    };
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Bitcoin).block_hash();
    if first.block_hash() != genesis {
        bail!(
            "{} begins with block {}, not with mainnet's genesis block {genesis}",
            path.display(),
            first.block_hash()
        );
    }
    let linked = blocks
        .windows(2)
        .take_while(|pair| pair[1].header.prev_blockhash == pair[0].block_hash())
        .count();
    blocks.truncate(linked + 1);
    println!(
        "blocks     {} from {}, heights 0 to {linked}",
        blocks.len(),
        path.display()
    );
    Ok(blocks)
}

/// Ends the demo without ending the replica, and says how to go on by hand.
fn leave_running(replica: LocalReplica, client: &Client) {
    let (url, canister, id) = (&replica.ready.url, client.canister, replica.id());
    let argument =
        "(record { owner = variant { address = \"12higDjoCCNXSA95xZMWUdPvXNmkAduhWv\" } })";
    println!("\nThe replica goes on at {url}; `kill {id}` stops it and saves its state.");
    println!("Ask it yourself:");
    println!("  dfx canister --network {url} call --query {canister} get_utxos_query '{argument}'");
    println!(
        "  icp canister call --network {url} --root-key fetch {canister} get_balance '{argument}'"
    );
    println!("  curl '{url}/metrics?canisterId={canister}'");
    replica.detach();
}
