//! A client for Bitcoin Core's JSON-RPC interface: batches, with bounds on time and size.

mod answer;
mod calls;
mod settings;

#[cfg(test)]
mod tests;

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use answer::{Asked, quote, results};

pub use calls::{Dumped, HEADERS_MAX, NodeChain, SetSummary, chain_name};
pub use settings::{Credentials, NodeSettings, default_cookie, default_url, parse_url};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer: 2,000 headers take 0.5 MB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why a node brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The URL cannot be used.
    #[error("node URL {url:?} cannot be used: {reason}; give one like http://127.0.0.1:8332")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cookie cannot be read.
    #[error(
        "cannot read the node's cookie {path}: {reason}; is the node running? Name the file with \
         --node-cookie, or set --node-user and --node-password"
    )]
    Cookie {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// Nobody answers there. Transient.
    #[error(
        "cannot reach the node at {url}: {reason}; is it running, with server=1, and --node-url right?"
    )]
    Unreachable {
        /// The URL.
        url: String,
        /// What the network says.
        reason: String,
    },
    /// No answer in time, or none for now. Transient.
    #[error("the node at {url} did not answer {method}: {reason}")]
    Unavailable {
        /// The URL.
        url: String,
        /// The method.
        method: &'static str,
        /// What it says.
        reason: String,
    },
    /// The node is starting. Transient.
    #[error("the node at {url} is starting: {reason}")]
    WarmingUp {
        /// The URL.
        url: String,
        /// How far it is.
        reason: String,
    },
    /// The node does not let us in.
    #[error("the node at {url} refuses {shown} (HTTP status {status}): check it, and rpcallowip")]
    Unauthorized {
        /// The URL.
        url: String,
        /// What it was shown.
        shown: String,
        /// 401 or 403.
        status: u16,
    },
    /// The call failed.
    #[error("the node refuses {method}: {message} (code {code})")]
    Method {
        /// The method.
        method: &'static str,
        /// Bitcoin Core's error code.
        code: i64,
        /// Its words.
        message: String,
    },
    /// The answer is larger than any should be.
    #[error("the node's answer to {method} has more than {max} bytes")]
    TooLarge {
        /// The method.
        method: &'static str,
        /// The bound.
        max: usize,
    },
    /// The answer is none of Bitcoin Core's.
    #[error("{url} answers {method} unlike Bitcoin Core: {reason}; check --node-url")]
    BadAnswer {
        /// The URL.
        url: String,
        /// The method.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The node follows another network.
    #[error("the node at {url} is on {found}, not on {expected}: check --node-url and --network")]
    OtherNetwork {
        /// The URL.
        url: String,
        /// The network that it names.
        found: String,
        /// The network asked for.
        expected: String,
    },
    /// The block is not on the node's best chain.
    #[error("block {hash} is not on the node's best chain: is the node synced?")]
    NotOnChain {
        /// The block.
        hash: String,
    },
}

impl NodeError {
    /// Returns whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Unavailable { .. } | Self::WarmingUp { .. }
        )
    }
}

/// A node; clones share one connection pool.
#[derive(Clone, Debug)]
pub struct Node {
    client: Client,
    url: Url,
    credentials: Credentials,
}

impl Node {
    /// Prepares calls; nothing is sent yet.
    ///
    /// # Errors
    /// [`NodeError::BadUrl`], where the system has no means for secure connections.
    pub fn new(settings: &NodeSettings) -> Result<Self, NodeError> {
        // No proxy and no redirect: the password goes to the node named and to nobody else.
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .build();
        let client = client.map_err(|error| NodeError::BadUrl {
            url: settings.url.to_string(),
            reason: with_causes(&error),
        })?;
        Ok(Self {
            client,
            url: settings.url.clone(),
            credentials: settings.credentials.clone(),
        })
    }

    /// Returns the node's URL.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Calls a method once for each of `arguments`, in one message, and returns the results.
    ///
    /// # Errors
    /// [`NodeError`]: of the message, or of the first call that fails.
    async fn batch(
        &self,
        method: &'static str,
        arguments: &[Value],
        limit: Duration,
    ) -> Result<Vec<Value>, NodeError> {
        let calls: Vec<Value> = (0_u64..)
            .zip(arguments)
            .map(|(id, params)| {
                json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
            })
            .collect();
        let asked = Asked {
            url: self.url.as_str(),
            method,
        };
        let (user, password) = self.credentials.read()?;
        let request = self.client.post(self.url.clone());
        let request = request.basic_auth(user, Some(password)).timeout(limit);
        let response = request.json(&calls).send().await;
        let response = response.map_err(|error| not_sent(asked, &error))?;
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(NodeError::Unauthorized {
                url: self.url.to_string(),
                shown: self.credentials.describe(),
                status: status.as_u16(),
            });
        }
        let body = body(asked, response).await?;
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            let text = quote(&String::from_utf8_lossy(&body));
            return Err(NodeError::Unavailable {
                url: self.url.to_string(),
                method,
                reason: format!("HTTP status {status}: {text}"),
            });
        }
        results(asked, &body, calls.len())
    }

    async fn call(
        &self,
        method: &'static str,
        arguments: Value,
        limit: Duration,
    ) -> Result<Value, NodeError> {
        let results = self.batch(method, &[arguments], limit).await?;
        Ok(results.into_iter().next().unwrap_or_default())
    }
}

async fn body(asked: Asked<'_>, mut response: Response) -> Result<Vec<u8>, NodeError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| not_sent(asked, &error))?
    {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(NodeError::TooLarge {
                method: asked.method,
                max: ANSWER_BYTES_MAX,
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn not_sent(asked: Asked<'_>, error: &reqwest::Error) -> NodeError {
    let url = asked.url.to_owned();
    let reason = with_causes(error);
    if error.is_connect() {
        return NodeError::Unreachable { url, reason };
    }
    NodeError::Unavailable {
        url,
        method: asked.method,
        reason,
    }
}

/// Returns an error's text with those of its causes, which carry the useful part.
fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    quote(&text)
}
