//! Whether those answer that the settings name.

use std::future::Future;
use std::time::Duration;

use millrace_core::Network;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Finding;
use crate::config::{HostPort, P2pSettings, RestSettings, RunSettings, SourceSettings};
use crate::exit::Exit;
use crate::node::{Node, NodeSettings, chain_name};
use crate::sink::Sink;
use crate::sink::agent::AgentSink;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a node's answer, at most; Bitcoin Core's has some hundred.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// SOCKS version 5 with one method: no authentication (RFC 1928 section 3).
const SOCKS_GREETING: [u8; 3] = [5, 1, 0];
/// The answer that accepts it.
const SOCKS_ACCEPTED: [u8; 2] = [5, 0];

/// Asks the canister, the source and the proxy.
pub async fn probe(settings: &RunSettings, sink: &AgentSink) -> Vec<Finding> {
    let mut findings = vec![canister(settings, sink).await];
    findings.extend(source(settings).await);
    findings
}

/// Asks the source and the proxy.
pub(super) async fn source(settings: &RunSettings) -> Vec<Finding> {
    let network = settings.shared.network;
    match &settings.source {
        SourceSettings::P2p(p2p) => peers(p2p).await,
        SourceSettings::Rest(rest) => vec![rest_node(rest, network).await],
        SourceSettings::Rpc(node) => vec![rpc_node(node, network).await],
        // Files were looked at without the network.
        SourceSettings::Blocks(_) => Vec::new(),
    }
}

async fn canister(settings: &RunSettings, sink: &AgentSink) -> Finding {
    let what = format!("canister {}", settings.shared.canister);
    let network = settings.shared.network;
    let genesis = network.genesis_block().block_hash();
    match sink.feed_state(vec![genesis]).await {
        Err(error) => Finding::bad(what, &error, Exit::of_sink(&error)),
        Ok(view) if view.network != network => {
            let words = format!("it follows {}, not {network}; set network", view.network);
            Finding::bad(what, words, Exit::Canister)
        }
        Ok(view) if !view.is_syncing => Finding::odd(what, "answers, but has syncing disabled"),
        Ok(view) => Finding::good(
            what,
            format!("answers; it is at height {}", view.tip.height),
        ),
    }
}

async fn rpc_node(settings: &NodeSettings, network: Network) -> Finding {
    let what = format!("node {}", settings.url);
    let node = match Node::new(settings) {
        Ok(node) => node,
        Err(error) => return Finding::bad(what, error, Exit::Source),
    };
    match node.chain(network).await {
        Ok(chain) => Finding::good(what, format!("answers; it is at height {}", chain.height)),
        Err(error) => Finding::bad(what, error, Exit::Source),
    }
}

async fn rest_node(settings: &RestSettings, network: Network) -> Finding {
    let what = format!("node {}", settings.url);
    match chain_info(settings).await {
        Err(words) => Finding::bad(what, words, Exit::Source),
        Ok(info) => match info.get("chain").and_then(Value::as_str) {
            Some(chain) if chain == chain_name(network) => {
                let height = info
                    .get("blocks")
                    .and_then(Value::as_u64)
                    .unwrap_or_default();
                Finding::good(what, format!("answers; it is at height {height}"))
            }
            Some(chain) => {
                let words = format!("it is on {chain}, not {}; set network", chain_name(network));
                Finding::bad(what, words, Exit::Source)
            }
            None => Finding::bad(
                what,
                "its answer names no chain; is it Bitcoin Core?",
                Exit::Source,
            ),
        },
    }
}

async fn chain_info(settings: &RestSettings) -> Result<Value, String> {
    let base = settings.url.as_str().trim_end_matches('/');
    let client = reqwest::Client::builder().timeout(TIMEOUT).build();
    let client = client.map_err(|error| error.to_string())?;
    let request = client.get(format!("{base}/rest/chaininfo.json"));
    let mut response = request
        .send()
        .await
        .map_err(|error| format!("{error}; is it running?"))?;
    if !response.status().is_success() {
        let code = response.status();
        return Err(format!("it answers {code}; start it with -rest=1"));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.to_string())? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(format!("its answer has more than {ANSWER_BYTES_MAX} bytes"));
        }
    }
    serde_json::from_slice(&body).map_err(|error| format!("its answer is no JSON: {error}"))
}

async fn peers(settings: &P2pSettings) -> Vec<Finding> {
    if let Some(proxy) = &settings.proxy {
        return vec![socks(proxy).await];
    }
    if settings.peers.is_empty() {
        let words = "none is named; peers are found through the network's DNS seeds";
        return vec![Finding::good("peers", words)];
    }
    let mut findings = Vec::new();
    for peer in &settings.peers {
        let what = format!("peer {peer}");
        findings.push(match connect(peer).await {
            Ok(_) => Finding::good(what, "accepts connections"),
            Err(reason) => Finding::bad(what, reason, Exit::Source),
        });
    }
    findings
}

async fn socks(proxy: &HostPort) -> Finding {
    let what = format!("proxy {proxy}");
    let greet = async {
        let mut stream = connect(proxy).await?;
        let mut answer = [0; SOCKS_ACCEPTED.len()];
        let exchange = async {
            stream.write_all(&SOCKS_GREETING).await?;
            stream.read_exact(&mut answer).await
        };
        in_time(exchange).await?;
        if answer == SOCKS_ACCEPTED {
            return Ok(());
        }
        Err(format!(
            "it answers {answer:02x?} to a SOCKS5 greeting; is it a SOCKS5 proxy?"
        ))
    };
    match greet.await {
        Ok(()) => Finding::good(what, "speaks SOCKS5"),
        Err(reason) => Finding::bad(what, reason, Exit::Source),
    }
}

async fn connect(to: &HostPort) -> Result<TcpStream, String> {
    in_time(TcpStream::connect((to.host.as_str(), to.port))).await
}

async fn in_time<T>(work: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match timeout(TIMEOUT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer in {} s", TIMEOUT.as_secs())),
    }
}
