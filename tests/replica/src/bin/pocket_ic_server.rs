//! `pocket-ic-server`: started by `pocket-ic` clients (`POCKET_IC_BIN`) as they start the official one.

use clap::Parser;
use millrace_replica::pocketic::port_file::PortFile;
use millrace_replica::pocketic::routes;
use millrace_replica::pocketic::server::{Lifetime, Server};
use millrace_replica::pocketic::version::{self, VERSION_ENV};
use millrace_replica::program::{self, Log};
use millrace_subnet::{LimitsConfig, RoundOrder};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long the server waits for requests before it stops by itself.
const DEFAULT_TTL_S: u64 = 60;

/// Local replica for the pocket-ic clients, in place of the official PocketIC server.
#[derive(Parser)]
#[command(name = "pocket-ic-server", disable_version_flag = true)]
struct Args {
    /// Print the version that clients check, and exit. Set MILLRACE_POCKET_IC_VERSION=11 (or let the
    /// program's file name contain 11) for clients of version 11.
    #[arg(long, short = 'V')]
    version: bool,
    /// Address to listen on.
    #[arg(long, short = 'i', default_value = "127.0.0.1")]
    ip_addr: IpAddr,
    /// Port to listen on; 0 for any.
    #[arg(long, short = 'p', default_value_t = 0)]
    port: u16,
    /// File to write the port to. When it exists, another server runs and this one exits.
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// Seconds without a request after which the server stops.
    #[arg(long, default_value_t = DEFAULT_TTL_S)]
    ttl: u64,
    /// Seconds after which the server stops in any case.
    #[arg(long)]
    hard_ttl: Option<u64>,
    /// Log filter, for example `info` or `millrace_replica=debug`.
    #[arg(long, short = 'l', default_value = "warn")]
    log_levels: String,
    /// Limits of the execution environment, as TOML; the IC's by default.
    #[arg(long)]
    limits: Option<PathBuf>,
    /// Which program the subnets run: `ic`, or `before-april-2024`, which looks at the heap delta before it
    /// drains the consensus queue and crashes when a round leaves something in it.
    #[arg(long)]
    round_order: Option<RoundOrder>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.version {
        let program = std::env::args().next().unwrap_or_default();
        let from_env = std::env::var(VERSION_ENV).ok();
        println!(
            "pocket-ic-server {}",
            version::chosen(&program, from_env.as_deref())
        );
        return ExitCode::SUCCESS;
    }
    let log = Log {
        option: "--log-levels",
        filter: &args.log_levels.clone(),
    };
    let limits = args.limits.clone();
    program::run("pocket-ic-server", &log, limits.as_deref(), |limits| {
        serve(args, limits)
    })
}

async fn serve(args: Args, limits: LimitsConfig) -> Result<(), String> {
    let mut port_file = match &args.port_file {
        None => None,
        Some(path) => match PortFile::create(path) {
            Ok(Some(file)) => Some(file),
            // Another server serves this client already.
            Ok(None) => return Ok(()),
            Err(e) => {
                return Err(format!(
                    "cannot create the port file {}: {e}",
                    path.display()
                ));
            }
        },
    };
    let engine = millrace_replica::module_cache::engine().map_err(|e| e.to_string())?;
    let listener = TcpListener::bind((args.ip_addr, args.port))
        .await
        .map_err(|e| format!("cannot listen on {}:{}: {e}", args.ip_addr, args.port))?;
    let port = listener.local_addr().map_err(|e| e.to_string())?.port();
    if let Some(file) = &mut port_file {
        file.announce(port)
            .map_err(|e| format!("cannot write the port file: {e}"))?;
    }
    let limits = match args.round_order {
        None => limits,
        Some(order) => limits.with_round_order(order),
    };
    let server = Server::new(engine, limits);
    let router = routes::router(server.clone());
    let lifetime = Lifetime {
        idle: Some(Duration::from_secs(args.ttl)),
        total: args.hard_ttl.map(Duration::from_secs),
    };
    server
        .serve(
            listener,
            router,
            lifetime,
            millrace_replica::http::shutdown_signal(),
            // A client that looks now must start a server of its own, not wait for this one.
            move || drop(port_file),
        )
        .await
        .map_err(|e| e.to_string())
}
