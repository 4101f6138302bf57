//! The `adapter` binary: arguments, dispatch, exit code.

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use millrace_adapter::cli::{Cli, Command, SnapshotCommand};
use millrace_adapter::exit::Exit;

use commands::{
    broadcast_command, check_command, export_command, import_command, measure_command,
    peers_command, run_command, status_command, verify_command,
};

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
            Command::Measure(args) => measure_command(args).await,
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
