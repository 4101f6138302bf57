//! `replica`: one instance in real time for people, dfx, icp-cli and agents.

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use candid::Principal;
use clap::{Parser, ValueEnum};
use millrace_replica::http::gateway::{self, GatewayState};
use millrace_replica::instance::Instance;
use millrace_replica::pocketic::routes;
use millrace_replica::pocketic::server::{Lifetime, Server};
use millrace_replica::pocketic::types::{
    AutoProgressConfig, InitialTime, InstanceConfig, SubnetConfigSet, SubnetSpec, Topology,
};
use millrace_replica::program::{self, Log};
use millrace_subnet::{LimitsConfig, RoundOrder};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Local replica of the Internet Computer, for development and tests. It is not a node: keys are
/// public and nothing in it has any value.
#[derive(Parser)]
#[command(name = "replica", version)]
struct Args {
    /// Port of the IC HTTP interface, the gateway and the PocketIC routes; 0 for any.
    #[arg(long, default_value_t = 4943)]
    port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Folder that keeps canisters, memory and time across restarts. Without it nothing is kept.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Seconds between checkpoints of the state folder.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_interval: u64,
    /// Subnet to create; repeat for several. The first one is the root.
    #[arg(long, value_enum, default_values_t = [SubnetKind::Application])]
    subnet: Vec<SubnetKind>,
    /// Milliseconds between rounds; by default a tenth of a second, less while messages wait.
    #[arg(long)]
    round_interval_ms: Option<u64>,
    /// Limits of the execution environment as TOML; the IC's by default. A state folder keeps the
    /// limits it was made with.
    #[arg(long)]
    limits: Option<PathBuf>,
    /// Which program the subnets run: `ic`, or `before-april-2024`, which looks at the heap delta before it
    /// drains the consensus queue and crashes when a round leaves something in it.
    #[arg(long)]
    round_order: Option<RoundOrder>,
    /// File to write port, root key, default effective canister id and instance id to, as JSON, once
    /// the replica answers.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// Log filter, for example `info` or `millrace_replica=debug`.
    #[arg(long, default_value = "warn")]
    log: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SubnetKind {
    Application,
    VerifiedApplication,
    System,
    Bitcoin,
    Fiduciary,
    Ii,
    Nns,
    Sns,
}

/// What scripts learn about a running replica.
#[derive(Serialize)]
struct Ready {
    url: String,
    port: u16,
    root_key: String,
    default_effective_canister_id: String,
    instance_id: usize,
    pid: u32,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let log = Log {
        option: "--log",
        filter: &args.log.clone(),
    };
    let limits = args.limits.clone();
    program::run("replica", &log, limits.as_deref(), |limits| {
        serve(args, limits)
    })
}

async fn serve(args: Args, limits: LimitsConfig) -> Result<(), String> {
    let listener = TcpListener::bind((args.host, args.port)).await.map_err(|e| {
        format!(
            "cannot listen on {}:{}: {e}; choose another --port or stop the program that uses it",
            args.host, args.port
        )
    })?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let engine = millrace_replica::module_cache::engine().map_err(|e| e.to_string())?;
    let limits = match args.round_order {
        None => limits,
        Some(order) => limits.with_round_order(order),
    };
    let server = Server::new(engine, limits);
    let (instance_id, topology, _) = server
        .create_instance(instance_config(&args)?, true)
        .await
        .map_err(|e| e.message)?;
    let instance = server.instances.get(instance_id).map_err(|e| e.message)?;
    let ready = ready(address, &topology, instance_id, &instance);
    announce(&args, &ready)?;

    let state = GatewayState {
        instance: instance.clone(),
        domains: ["localhost".to_owned()].into(),
    };
    let router = routes::router(server.clone()).layer(from_fn_with_state(state, gateway_first));
    tokio::spawn(checkpoints(
        instance,
        Duration::from_secs(args.checkpoint_interval),
    ));
    server
        .serve(
            listener,
            router,
            Lifetime::default(),
            millrace_replica::http::shutdown_signal(),
            || {
                if let Some(path) = &args.ready_file {
                    let _ = std::fs::remove_file(path);
                }
            },
        )
        .await
        .map_err(|e| e.to_string())
}

/// Serves the IC interface, canisters' host names and `/_/` like a gateway; everything else goes to
/// the PocketIC routes.
async fn gateway_first(
    State(state): State<GatewayState>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let for_gateway = path.starts_with("/api/") || path.starts_with("/_/");
    let answer = match gateway::canister_of(&request, &state.domains) {
        Ok(None) if !for_gateway => return next.run(request).await,
        Ok(_) => gateway::answer(&state, request).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn checkpoints(instance: Arc<Instance>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        if let Err(error) = instance.checkpoint(false).await {
            tracing::error!(%error, "no checkpoint was written, the previous one stays in force");
        }
    }
}

fn instance_config(args: &Args) -> Result<InstanceConfig, String> {
    let mut set = SubnetConfigSet::default();
    for kind in &args.subnet {
        let spec = SubnetSpec::default();
        let named = match kind {
            SubnetKind::Application => {
                set.application.push(spec);
                continue;
            }
            SubnetKind::VerifiedApplication => {
                set.verified_application.push(spec);
                continue;
            }
            SubnetKind::System => {
                set.system.push(spec);
                continue;
            }
            SubnetKind::Bitcoin => &mut set.bitcoin,
            SubnetKind::Fiduciary => &mut set.fiduciary,
            SubnetKind::Ii => &mut set.ii,
            SubnetKind::Nns => &mut set.nns,
            SubnetKind::Sns => &mut set.sns,
        };
        if named.replace(spec).is_some() {
            let name = kind.to_possible_value();
            let name = name.as_ref().map_or("that", |name| name.get_name());
            return Err(format!(
                "--subnet {name} is given twice; there is one {name} subnet at most"
            ));
        }
    }
    Ok(InstanceConfig {
        subnet_config_set: set,
        state_dir: args.state_dir.clone(),
        initial_time: Some(InitialTime::AutoProgress(AutoProgressConfig {
            artificial_delay_ms: args.round_interval_ms,
        })),
        ..InstanceConfig::default()
    })
}

fn ready(
    address: SocketAddr,
    topology: &Topology,
    instance_id: usize,
    instance: &Instance,
) -> Ready {
    let default_id = Principal::from_slice(&topology.default_effective_canister_id.canister_id);
    let host = if address.ip().is_unspecified() {
        "127.0.0.1".to_owned()
    } else if address.is_ipv6() {
        format!("[{}]", address.ip())
    } else {
        address.ip().to_string()
    };
    Ready {
        url: format!("http://{host}:{}", address.port()),
        port: address.port(),
        root_key: hex::encode(instance.authority().root_key_der()),
        default_effective_canister_id: default_id.to_text(),
        instance_id,
        pid: std::process::id(),
    }
}

fn announce(args: &Args, ready: &Ready) -> Result<(), String> {
    if let Some(path) = &args.ready_file {
        write_ready_file(path, ready)
            .map_err(|e| format!("cannot write the ready file {}: {e}", path.display()))?;
    }
    println!("Local replica at {}", ready.url);
    println!("  root key                       {}", ready.root_key);
    println!(
        "  default effective canister id  {}",
        ready.default_effective_canister_id
    );
    match &args.state_dir {
        Some(dir) => println!("  state is kept in               {}", dir.display()),
        None => println!("  state is not kept; use --state-dir DIR to keep it across restarts"),
    }
    println!("Next:");
    println!(
        "  dfx: add {{\"local\": {{\"bind\": \"{}\"}}}} to networks, then dfx deploy",
        ready.url.trim_start_matches("http://")
    );
    println!(
        "  icp: --network {} --root-key <the root key above>",
        ready.url
    );
    println!(
        "  canister pages: http://<canister id>.localhost:{}/",
        ready.port
    );
    println!(
        "  usage of a canister: {}/instances/{}/millrace/usage/<canister id>",
        ready.url, ready.instance_id
    );
    println!("  stop with Ctrl-C");
    Ok(())
}

/// The file appears complete: scripts poll for it.
fn write_ready_file(path: &Path, ready: &Ready) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(ready)?;
    let temporary = path.with_extension("partial");
    std::fs::write(&temporary, text + "\n")?;
    std::fs::rename(&temporary, path)
}
