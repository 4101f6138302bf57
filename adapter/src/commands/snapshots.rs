//! `snapshot import` and `snapshot export`.

use bitcoin::BlockHash;
use millrace_adapter::cli::{ExportArgs, HeadersFrom, ImportArgs};
use millrace_adapter::config;
use millrace_adapter::exit::Exit;
use millrace_adapter::node::Node;
use millrace_adapter::snapshot::download::{Export, export};
use millrace_adapter::snapshot::headers::HeaderSource;
use millrace_adapter::snapshot::import::Plan;
use millrace_adapter::snapshot::pieces::Pieces;
use millrace_adapter::snapshot::upload::upload;
use millrace_adapter::snapshot::{self, FileError, open};
use millrace_adapter::source::file::FileSource;
use millrace_adapter::status;

use super::{Failure, meter, seed, sink, unix_now};

pub async fn import_command(args: ImportArgs) -> Result<Exit, Failure> {
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

pub async fn export_command(args: ExportArgs) -> Result<Exit, Failure> {
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
