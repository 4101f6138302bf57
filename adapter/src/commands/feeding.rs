//! `run`, `measure` and `broadcast`: commands that open a source.

use std::time::Instant;

use candid::Principal;
use millrace_adapter::broadcast;
use millrace_adapter::cli::{BroadcastArgs, RunArgs};
use millrace_adapter::config::{self, RunSettings};
use millrace_adapter::engine::{EngineConfig, Until, WitnessStripping};
use millrace_adapter::exit::Exit;
use millrace_adapter::http::{self, About, Observer, PeerTable};
use millrace_adapter::logging;
use millrace_adapter::measure::{NullSink, Speed, processor_time};
use millrace_adapter::open::{Observed, Opened, open};
use millrace_adapter::progress::{self, Reporter};
use millrace_adapter::relay::shell::{Relayer, relay};
use millrace_adapter::run::{run, stop_signal};
use millrace_adapter::sink::Sink;
use millrace_p2p::message::strip_witness;
use millrace_p2p::node::{RelayTransaction, Standing};
use tokio::sync::watch;

use super::{Failure, seed, sink, unix_now};

pub async fn run_command(args: RunArgs) -> Result<Exit, Failure> {
    let settings = config::run_settings(args).map_err(Failure::usage)?;
    let shared = &settings.shared;
    let bar = progress::bar(shared.progress, shared.log_format);
    logging::start(shared.log_format, &shared.log_level, &bar).map_err(Failure::usage)?;
    let sink = sink(shared)?;
    let caller = sink.caller().to_text();
    tracing::info!(
        canister = %shared.canister,
        replica_url = %shared.replica_url,
        network = %shared.network,
        source = %settings.source,
        caller,
        "adapter {} starts",
        env!("CARGO_PKG_VERSION"),
    );
    let engine = EngineConfig {
        network: shared.network,
        until: settings.until,
        pushes_max: settings.pushes_max,
        message_bytes_max: settings.message_bytes_max.min(sink.argument_bytes_max()),
        read_ahead_bytes: settings.read_ahead_bytes,
        give_up_after: settings.give_up_after,
        witness: Some(WitnessStripping {
            depth: settings.witness_depth,
            strip: strip_witness,
        }),
        seed: seed(),
    };
    let observer = observe(&settings).await?;
    let opened = open_source(&settings).await?;
    if let Some(standing) = opened.standing {
        tokio::spawn(show_peers(standing, observer.clone()));
    }
    let relaying = opened.relayer.map(|relayer| {
        let relayer = Observed {
            relayer,
            observer: observer.clone(),
        };
        tokio::spawn(relay(sink.clone(), relayer, seed()))
    });
    let reporter = Reporter::new(bar).observed_by(observer);
    let outcome = run(engine, opened.source, sink, reporter, stop_signal()).await;
    if let Some(relaying) = relaying {
        relaying.abort();
    }
    opened.closing.close().await;
    let exit = Exit::of(&outcome);
    if exit == Exit::Done {
        tracing::info!("{outcome}");
        return Ok(exit);
    }
    Err(Failure {
        message: outcome.to_string(),
        exit,
    })
}

/// Makes what tells where the run stands, and serves it if an address is set.
async fn observe(settings: &RunSettings) -> Result<Observer, Failure> {
    let observer = Observer::new(About {
        network: settings.shared.network,
        canister: settings.shared.canister.to_text(),
        replica_url: settings.shared.replica_url.to_string(),
        source: settings.source.name(),
        healthy_lag_blocks: settings.http.healthy_lag_blocks,
        healthy_lag: settings.http.healthy_lag,
    });
    if let Some(address) = settings.http.address {
        let listener = http::bind(address).await.map_err(Failure::usage)?;
        tracing::info!(%address, "serving /metrics, /healthz, /status and /peers");
        tokio::spawn(http::serve(listener, observer.clone()));
    }
    Ok(observer)
}

async fn open_source(settings: &RunSettings) -> Result<Opened, Failure> {
    let network = settings.shared.network;
    let opened = open(&settings.source, &settings.state, network, unix_now()).await;
    opened.map_err(|error| Failure::new(error, Exit::Source))
}

/// Shows the observer where the peer-to-peer node stands, as long as it runs.
async fn show_peers(mut standing: watch::Receiver<Standing>, observer: Observer) {
    while standing.changed().await.is_ok() {
        let table = PeerTable::new(&standing.borrow_and_update(), |peer| {
            peer.address.to_string()
        });
        observer.peers(table);
    }
}

/// `measure`: reads the whole source as for a canister that takes everything at once.
pub async fn measure_command(args: RunArgs) -> Result<Exit, Failure> {
    let mut args = args;
    // No canister is asked, but one is a part of the settings.
    args.shared.canister = Some(Principal::management_canister().to_text());
    let settings = config::run_settings(args).map_err(Failure::usage)?;
    let shared = &settings.shared;
    let bar = progress::bar(shared.progress, shared.log_format);
    logging::start(shared.log_format, &shared.log_level, &bar).map_err(Failure::usage)?;
    let network = shared.network;
    let opened = open(&settings.source, &settings.state, network, unix_now()).await;
    let opened = opened.map_err(|error| Failure::new(error, Exit::Source))?;
    let sink = NullSink::new(network, settings.message_bytes_max);
    let engine = EngineConfig {
        network,
        until: Until::Synced,
        pushes_max: settings.pushes_max,
        message_bytes_max: settings.message_bytes_max,
        read_ahead_bytes: settings.read_ahead_bytes,
        give_up_after: None,
        witness: None,
        seed: seed(),
    };
    let (started, processor) = (Instant::now(), processor_time());
    let reporter = Reporter::new(bar);
    let outcome = run(engine, opened.source, sink.clone(), reporter, stop_signal()).await;
    let speed = Speed {
        blocks: sink.taken().blocks,
        bytes: sink.taken().bytes,
        elapsed: started.elapsed(),
        processor: processor_time().saturating_sub(processor),
    };
    opened.closing.close().await;
    let exit = Exit::of(&outcome);
    if exit != Exit::Done {
        return Err(Failure::new(outcome, exit));
    }
    print!("{speed}");
    Ok(exit)
}

pub async fn broadcast_command(args: BroadcastArgs) -> Result<Exit, Failure> {
    let transaction = broadcast::read(&args.transaction).map_err(Failure::usage)?;
    let mut run = args.run;
    if !args.through_canister && run.shared.canister.is_none() {
        // None is asked, but one is a part of the settings.
        run.shared.canister = Some(Principal::management_canister().to_text());
    }
    let settings = config::run_settings(run).map_err(Failure::usage)?;
    if !args.through_canister {
        return send_directly(&settings, transaction).await;
    }
    let sink = sink(&settings.shared)?;
    let sent = broadcast::through_canister(&sink, &transaction).await;
    sent.map_err(|error| Failure::new(&error, error.exit()))?;
    println!("the canister has transaction {}", transaction.txid);
    Ok(Exit::Done)
}

/// Relays a transaction until enough peers have fetched it, or the node has taken it.
async fn send_directly(
    settings: &RunSettings,
    transaction: RelayTransaction,
) -> Result<Exit, Failure> {
    let txid = transaction.txid;
    let opened = open_source(settings).await?;
    let source = &settings.source;
    let mut relayer = opened.relayer.ok_or_else(|| {
        Failure::usage(format!(
            "source {source} takes no transactions: use --source p2p or rpc, or --through-canister"
        ))
    })?;
    relayer.add(vec![transaction]);
    let sent = broadcast::until_sent(&mut relayer, broadcast::enough_peers(source)).await;
    opened.closing.close().await;
    let sent = sent.map_err(|error| Failure::new(&error, error.exit()))?;
    println!("transaction {txid}: {sent}");
    Ok(Exit::Done)
}
