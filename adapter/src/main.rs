//! The `adapter` binary: arguments, wiring, exit code.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use millrace_adapter::cli::{Cli, Command, RunArgs, StatusArgs};
use millrace_adapter::config::{self, Settings};
use millrace_adapter::engine::EngineConfig;
use millrace_adapter::exit::Exit;
use millrace_adapter::logging;
use millrace_adapter::progress::{self, Reporter};
use millrace_adapter::run::{run, stop_signal};
use millrace_adapter::sink::Sink;
use millrace_adapter::sink::agent::AgentSink;
use millrace_adapter::source::file::FileSource;
use millrace_adapter::status::{self, StatusError};
use millrace_core::UnixSeconds;

/// An error that ends the process.
struct Failure {
    message: String,
    exit: Exit,
}

impl Failure {
    fn usage(error: impl std::fmt::Display) -> Self {
        Self {
            message: error.to_string(),
            exit: Exit::Usage,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
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
    let settings = config::run_settings(args.shared, &args.run).map_err(Failure::usage)?;
    let shared = &settings.shared;
    let bar = progress::bar(shared.progress, shared.log_format);
    logging::start(shared.log_format, &shared.log_level, &bar).map_err(Failure::usage)?;
    let sink = sink(shared)?;
    let caller = sink.caller().to_text();
    tracing::info!(
        canister = %shared.canister,
        replica_url = %shared.replica_url,
        network = %shared.network,
        blocks = %settings.blocks.display(),
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
        // Two adapters need different jitter; the process number is enough for that.
        seed: unix_now().get() ^ u64::from(std::process::id()).rotate_left(40),
    };
    let source = FileSource::new(&settings.blocks, shared.network);
    let outcome = run(engine, source, sink, Reporter::new(bar), stop_signal()).await;
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

async fn status_command(args: StatusArgs) -> Result<Exit, Failure> {
    let settings = config::settings(args.shared).map_err(Failure::usage)?;
    let sink = sink(&settings)?;
    let source = settings
        .blocks
        .as_ref()
        .map(|blocks| FileSource::new(blocks, settings.network));
    let status = status::gather(
        settings.canister.to_text(),
        settings.replica_url.to_string(),
        settings.network,
        &sink,
        source,
        unix_now(),
    )
    .await
    .map_err(|error| Failure {
        exit: match &error {
            StatusError::Source(_) => Exit::Source,
            StatusError::Sink(error) if error.is_transient() => Exit::Unreachable,
            StatusError::Sink(_) => Exit::Canister,
        },
        message: error.to_string(),
    })?;
    if args.json {
        println!("{:#}", status.to_json());
    } else {
        print!("{status}");
    }
    Ok(Exit::Done)
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

fn unix_now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixSeconds::new(since.unwrap_or_default().as_secs())
}
