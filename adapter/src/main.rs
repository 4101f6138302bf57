//! The `adapter` binary: arguments, wiring, exit code.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::BlockHash;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use millrace_adapter::broadcast;
use millrace_adapter::check;
use millrace_adapter::cli::{
    BroadcastArgs, CheckArgs, Cli, Command, ExportArgs, HeadersFrom, ImportArgs, PeersArgs,
    RunArgs, SnapshotCommand, StatusArgs, VerifyArgs,
};
use millrace_adapter::config::{self, Origins, RunSettings, Settings, SourceSettings};
use millrace_adapter::engine::{EngineConfig, Outcome};
use millrace_adapter::exit::Exit;
use millrace_adapter::http::{self, About, Observer};
use millrace_adapter::logging;
use millrace_adapter::node::Node;
use millrace_adapter::peers;
use millrace_adapter::progress::{self, Reporter};
use millrace_adapter::run::{run, stop_signal};
use millrace_adapter::sink::Sink;
use millrace_adapter::sink::agent::AgentSink;
use millrace_adapter::snapshot::download::{Export, export};
use millrace_adapter::snapshot::headers::HeaderSource;
use millrace_adapter::snapshot::import::Plan;
use millrace_adapter::snapshot::meter::Meter;
use millrace_adapter::snapshot::pieces::Pieces;
use millrace_adapter::snapshot::upload::upload;
use millrace_adapter::snapshot::{self, FileError, open};
use millrace_adapter::source::file::FileSource;
use millrace_adapter::status::{self, StatusError};
use millrace_adapter::verify::{NodeOf, Verify, verify};
use millrace_core::{Height, UnixSeconds};

/// An error that ends the process.
struct Failure {
    message: String,
    exit: Exit,
}

impl Failure {
    fn usage(error: impl std::fmt::Display) -> Self {
        Self::new(error, Exit::Usage)
    }

    fn new(error: impl std::fmt::Display, exit: Exit) -> Self {
        Self {
            message: error.to_string(),
            exit,
        }
    }
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start threads: {error}");
            return Exit::Failed.into();
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run_command(args).await,
            Command::Status(args) => status_command(args).await,
            Command::CheckConfig(args) => check_command(args, &matches).await,
            Command::Peers(args) => peers_command(args).await,
            Command::Broadcast(args) => broadcast_command(args).await,
            Command::Snapshot(SnapshotCommand::Import(args)) => import_command(args).await,
            Command::Snapshot(SnapshotCommand::Export(args)) => export_command(args).await,
            Command::Verify(args) => verify_command(args).await,
        }
    });
    // Reads and calls that were abandoned need no farewell.
    runtime.shutdown_background();
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            failure.exit.into()
        }
    }
}

async fn run_command(args: RunArgs) -> Result<Exit, Failure> {
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
        witness: None,
        seed: seed(),
    };
    let observer = observe(&settings).await?;
    let reporter = Reporter::new(bar).observed_by(observer);
    let outcome = feed(engine, &settings.source, sink, reporter).await?;
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

/// Makes the source that is set, and feeds the canister from it.
async fn feed(
    engine: EngineConfig,
    source: &SourceSettings,
    sink: AgentSink,
    reporter: Reporter,
) -> Result<Outcome, Failure> {
    let network = engine.network;
    match source {
        SourceSettings::Blocks(path) => {
            let source = FileSource::new(path, network);
            Ok(run(engine, source, sink, reporter, stop_signal()).await)
        }
        SourceSettings::P2p(_) | SourceSettings::Rest(_) | SourceSettings::Rpc(_) => {
            Err(Failure::usage(format!(
                "source {source} is not part of this build; set --blocks"
            )))
        }
    }
}

async fn check_command(args: CheckArgs, matches: &ArgMatches) -> Result<Exit, Failure> {
    let config = args.run.shared.config.clone();
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    let origins = Origins::read(matches, config.as_deref()).map_err(Failure::usage)?;
    let settings = config::run_settings(args.run).map_err(Failure::usage)?;
    print!("{}", check::table(&settings, &origins));
    let mut findings = check::check(&settings, &origins);
    // With a key that does not load there is nobody to ask as.
    if args.probe
        && let Ok(sink) = sink(&settings.shared)
    {
        findings.extend(check::probe(&settings, &sink).await);
    }
    println!();
    for finding in &findings {
        println!("{finding}");
    }
    Ok(check::exit(&findings))
}

async fn peers_command(args: PeersArgs) -> Result<Exit, Failure> {
    let settings =
        config::http_settings(&args.http, args.config.as_deref()).map_err(Failure::usage)?;
    let address = settings.address.ok_or_else(|| {
        Failure::usage(
            "a running adapter is asked at its metrics_address: set it for `run`, and here by \
             --metrics-address, MILLRACE_METRICS_ADDRESS, or `metrics_address` in the same configuration \
             file",
        )
    })?;
    let answer = http::fetch(address, "/peers").await;
    let answer = answer.map_err(|error| Failure::new(error, Exit::Unreachable))?;
    if args.json {
        println!("{answer:#}");
    } else {
        print!("{}", peers::table(&answer));
    }
    Ok(Exit::Done)
}

async fn broadcast_command(args: BroadcastArgs) -> Result<Exit, Failure> {
    let transaction = broadcast::read(&args.transaction).map_err(Failure::usage)?;
    let settings = config::run_settings(args.run).map_err(Failure::usage)?;
    if !args.through_canister {
        return Err(Failure::usage(
            "this build reaches no Bitcoin peers; use --through-canister",
        ));
    }
    let sink = sink(&settings.shared)?;
    let sent = broadcast::through_canister(&sink, &transaction).await;
    sent.map_err(|error| Failure::new(&error, error.exit()))?;
    println!("the canister has transaction {}", transaction.txid);
    Ok(Exit::Done)
}

async fn status_command(args: StatusArgs) -> Result<Exit, Failure> {
    let config = args.shared.config.clone();
    let http = config::http_settings(&args.http, config.as_deref()).map_err(Failure::usage)?;
    let settings = config::settings(args.shared).map_err(Failure::usage)?;
    let running = match http.address {
        Some(address) => Some(http::fetch(address, "/status").await),
        None => None,
    };
    let sink = sink(&settings)?;
    let source = settings
        .blocks
        .as_ref()
        .map(|blocks| FileSource::new(blocks, settings.network));
    let mut status = status::gather(
        settings.canister.to_text(),
        settings.replica_url.to_string(),
        settings.network,
        &sink,
        source,
        unix_now(),
    )
    .await
    .map_err(|error| {
        let exit = match &error {
            StatusError::Source(_) => Exit::Source,
            StatusError::Sink(error) => Exit::of_sink(error),
        };
        Failure::new(error, exit)
    })?;
    status.running = running;
    if args.json {
        println!("{:#}", status.to_json());
    } else {
        print!("{status}");
    }
    Ok(Exit::Done)
}

async fn import_command(args: ImportArgs) -> Result<Exit, Failure> {
    let config = args.shared.config.clone();
    let settings = config::settings(args.shared).map_err(Failure::usage)?;
    let node = config::node_settings(args.node, config.as_deref(), settings.network);
    let node = node.map_err(Failure::usage)?;
    let limit = config::give_up_after(args.give_up_after, config.as_deref());
    let give_up_after = limit.map_err(Failure::usage)?;
    let hash = args.hash.as_deref().map(snapshot::printed_hash).transpose();
    let hash_serialized = hash.map_err(Failure::usage)?;
    let mut meter = meter(&settings)?;
    let unusable = |error: FileError| {
        let path = args.file.display();
        Failure::new(format!("{path}: {error}"), Exit::Source)
    };
    let file = open(&args.file).map_err(unusable)?;
    let pieces = Pieces::new(file, settings.network).map_err(unusable)?;
    let plan = Plan {
        metadata: *pieces.metadata(),
        hash_serialized,
        give_up_after,
        seed: seed(),
    };
    let sink = sink(&settings)?;
    let from = args.headers_from.unwrap_or(match &settings.blocks {
        Some(_) => HeadersFrom::Blocks,
        None => HeadersFrom::Node,
    });
    let headers = match (from, &settings.blocks) {
        (HeadersFrom::Node, _) => HeaderSource::Node(Node::new(&node).map_err(Failure::usage)?),
        (HeadersFrom::Blocks, Some(blocks)) => {
            tracing::info!("reading headers from {}", blocks.display());
            let source = FileSource::new(blocks, settings.network);
            let tree = status::read_headers(source, settings.network, unix_now()).await;
            HeaderSource::Files {
                tree: Box::new(tree.map_err(|error| Failure::new(error, Exit::Source))?),
                name: blocks.display().to_string(),
            }
        }
        (HeadersFrom::Blocks, None) => {
            return Err(Failure::usage("--headers-from blocks needs --blocks"));
        }
    };
    tracing::info!(
        canister = %settings.canister,
        base = %plan.metadata.base,
        coins = plan.metadata.coins,
        caller = sink.caller().to_text(),
        "importing {}",
        args.file.display(),
    );
    let imported = upload(plan, pieces, &headers, &sink, &mut meter).await;
    let base = imported.map_err(|error| Failure::new(&error, error.exit()))?;
    println!(
        "the canister has the coins after block {} at height {}",
        base.hash, base.height
    );
    Ok(Exit::Done)
}

async fn export_command(args: ExportArgs) -> Result<Exit, Failure> {
    let settings = config::settings(args.shared).map_err(Failure::usage)?;
    let block = args.block.as_deref().map(|text| {
        let block = text.parse::<BlockHash>();
        block.map_err(|error| Failure::usage(format!("--block {text:?} is no hash: {error}")))
    });
    let block = block.transpose()?;
    let mut meter = meter(&settings)?;
    let what = Export {
        file: &args.file,
        network: settings.network,
        block,
    };
    let written = export(&what, &sink(&settings)?, &mut meter).await;
    let written = written.map_err(|error| Failure::new(&error, error.exit()))?;
    println!("coins            {}", written.coins);
    println!("base block       {}", written.base);
    println!("hash_serialized  {}", written.hash_serialized);
    Ok(Exit::Done)
}

async fn verify_command(args: VerifyArgs) -> Result<Exit, Failure> {
    let config = args.shared.config.clone();
    let settings = config::settings(args.shared).map_err(Failure::usage)?;
    let node = config::node_settings(args.node, config.as_deref(), settings.network);
    let node = node.map_err(Failure::usage)?;
    let mut meter = meter(&settings)?;
    let is_file_alone = args.snapshot.is_some() && !node.is_named;
    if is_file_alone && args.height.is_some() {
        return Err(Failure::usage(
            "--height is compared with a node: name one with --node-url, or leave --height out",
        ));
    }
    let node = if is_file_alone {
        None
    } else {
        Some(NodeOf {
            node: Node::new(&node).map_err(Failure::usage)?,
            network: settings.network,
        })
    };
    let what = Verify {
        network: settings.network,
        height: args.height.map(Height::new),
        snapshot: args.snapshot.as_deref(),
        dump_folder: args.dump_folder.as_deref(),
    };
    let verdict = verify(&what, node.as_ref(), &sink(&settings)?, &mut meter).await;
    let verdict = verdict.map_err(|error| Failure::new(&error, error.exit()))?;
    print!("{verdict}");
    Ok(verdict.exit())
}

/// Starts logging around a progress line of a long job.
fn meter(settings: &Settings) -> Result<Meter, Failure> {
    let bar = progress::bar(settings.progress, settings.log_format);
    logging::start(settings.log_format, &settings.log_level, &bar).map_err(Failure::usage)?;
    Ok(Meter::new(bar))
}

fn sink(settings: &Settings) -> Result<AgentSink, Failure> {
    let identity = settings.identity.load().map_err(Failure::usage)?;
    AgentSink::new(
        &settings.replica_url,
        settings.canister,
        identity,
        settings.fetch_root_key,
    )
    .map_err(Failure::usage)
}

/// Returns a seed for jitter. Two adapters need different ones; the process number is enough for that.
fn seed() -> u64 {
    unix_now().get() ^ u64::from(std::process::id()).rotate_left(40)
}

fn unix_now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixSeconds::new(since.unwrap_or_default().as_secs())
}
