//! `check-config`, `peers`, `status` and `verify`: commands that change nothing.

use clap::ArgMatches;
use millrace_adapter::check;
use millrace_adapter::cli::{CheckArgs, PeersArgs, StatusArgs, VerifyArgs};
use millrace_adapter::config::{self, Origins};
use millrace_adapter::exit::Exit;
use millrace_adapter::http;
use millrace_adapter::node::Node;
use millrace_adapter::peers;
use millrace_adapter::source::file::FileSource;
use millrace_adapter::status::{self, StatusError};
use millrace_adapter::verify::{NodeOf, Verify, verify};
use millrace_core::Height;

use super::{Failure, meter, sink, unix_now};

pub async fn check_command(args: CheckArgs, matches: &ArgMatches) -> Result<Exit, Failure> {
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

pub async fn peers_command(args: PeersArgs) -> Result<Exit, Failure> {
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

pub async fn status_command(args: StatusArgs) -> Result<Exit, Failure> {
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

pub async fn verify_command(args: VerifyArgs) -> Result<Exit, Failure> {
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
