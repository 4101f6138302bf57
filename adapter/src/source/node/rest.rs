//! Bitcoin Core's REST interface, which a node has with `rest=1`: binary and without credentials.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use millrace_core::Height;
use millrace_core::block::{HEADER_BYTES, MAX_BLOCK_BYTES, decode_header};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::Url;

use super::{CONNECTIONS, HEADERS_MAX, NodeInterface};
use crate::node::ChainState;
use crate::source::SourceError;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take as a whole: a block on a slow disk and line.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a text: a chain's description has 1 KB, and each soft fork and warning adds to it.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Longest part of a node's text that is repeated in an error, in characters.
const QUOTE_CHARS: usize = 200;

/// A node's REST interface and how much it may be asked at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestSettings {
    /// The node's URL, without `/rest`.
    pub url: Url,
    /// Blocks fetched at a time, each on a connection of its own; at least 1. [`CONNECTIONS`] is enough
    /// for a node on the same machine, which has 16 threads for all who ask it.
    pub connections: u32,
}

impl RestSettings {
    /// Fetches [`CONNECTIONS`] blocks at a time from a node.
    pub const fn new(url: Url) -> Self {
        Self {
            url,
            connections: CONNECTIONS,
        }
    }
}

/// A client of a node's REST interface.
#[derive(Clone, Debug)]
pub struct Rest {
    client: Client,
    base: Url,
    connections: u32,
    fetching: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct ChainInfo {
    chain: String,
    blocks: u32,
    headers: u32,
    bestblockhash: String,
    initialblockdownload: bool,
}

impl Rest {
    /// Prepares requests; nothing is sent yet.
    ///
    /// # Errors
    /// [`SourceError::BadAnswer`], where the system has no means for connections or the URL none for
    /// paths.
    pub fn new(settings: &RestSettings) -> Result<Self, SourceError> {
        let bad = |reason: String| SourceError::BadAnswer {
            url: settings.url.to_string(),
            asked: "anything".to_owned(),
            reason,
        };
        let connections = settings.connections.max(1);
        // Neither a proxy nor a redirect: blocks come from the node named or not at all.
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .pool_max_idle_per_host(connections as usize + 1)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| bad(with_causes(&error)))?;
        let mut base = settings.url.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self {
            client,
            base,
            connections,
            fetching: Arc::new(Semaphore::new(connections as usize)),
        })
    }

    /// Fetches a path below the base; returns the status and the body, which is a text unless the status
    /// is 200.
    async fn get(
        &self,
        path: &str,
        bytes_max: usize,
    ) -> Result<(StatusCode, Vec<u8>), SourceError> {
        let url = self.base.join(path).map_err(|error| {
            let reason = format!("{error}; give a URL like http://127.0.0.1:8332");
            self.bad_answer(path, reason)
        })?;
        let response = self.client.get(url).send().await;
        let response = response.map_err(|error| self.unavailable(with_causes(&error)))?;
        let status = response.status();
        let bytes_max = match status {
            StatusCode::OK => bytes_max,
            _ => TEXT_BYTES_MAX,
        };
        let body = self.body(path, response, bytes_max).await?;
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(self.unavailable(format!("status {status}: {}", quote(&body))));
        }
        Ok((status, body))
    }

    /// Reads a body; a node that sends more than there can be is not read to the end.
    async fn body(
        &self,
        path: &str,
        mut response: Response,
        bytes_max: usize,
    ) -> Result<Vec<u8>, SourceError> {
        let announced = response.content_length().unwrap_or(0);
        let too_large = || self.bad_answer(path, format!("it has more than {bytes_max} bytes"));
        if announced > bytes_max as u64 {
            return Err(too_large());
        }
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        loop {
            let chunk = response.chunk().await;
            match chunk.map_err(|error| self.unavailable(with_causes(&error)))? {
                Some(chunk) if body.len() + chunk.len() > bytes_max => return Err(too_large()),
                Some(chunk) => body.extend_from_slice(&chunk),
                None => return Ok(body),
            }
        }
    }

    fn unavailable(&self, reason: String) -> SourceError {
        SourceError::Unavailable {
            url: self.base.to_string(),
            reason: format!("{reason}; is it running, with rest=1, and the URL right?"),
        }
    }

    fn bad_answer(&self, path: &str, reason: String) -> SourceError {
        SourceError::BadAnswer {
            url: self.base.to_string(),
            asked: path.to_owned(),
            reason,
        }
    }

    /// Builds the error for a block that the node does not give.
    fn no_block(&self, hash: BlockHash, body: &[u8]) -> SourceError {
        let text = quote(body);
        if text.contains("pruned") {
            let url = self.base.to_string();
            return SourceError::Pruned { url, hash };
        }
        if text.contains("not available") {
            return self.unavailable(text);
        }
        SourceError::Unknown { hash }
    }
}

impl NodeInterface for Rest {
    fn url(&self) -> &str {
        self.base.as_str()
    }

    fn reads_max(&self) -> usize {
        // One block is checked while the connection fetches the next.
        self.connections as usize * 2
    }

    async fn standing(&self) -> Result<ChainState, SourceError> {
        const PATH: &str = "rest/chaininfo.json";
        let (status, body) = self.get(PATH, TEXT_BYTES_MAX).await?;
        if status != StatusCode::OK {
            let reason = format!("status {status}; start the node with rest=1");
            return Err(self.bad_answer(PATH, reason));
        }
        let bad = |reason: String| self.bad_answer(PATH, format!("{reason} in {:?}", quote(&body)));
        let info: ChainInfo =
            serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
        let best = info.bestblockhash.parse::<BlockHash>();
        Ok(ChainState {
            chain: info.chain,
            height: Height::new(info.blocks),
            headers: Height::new(info.headers),
            best: best.map_err(|error| bad(error.to_string()))?,
            is_catching_up: info.initialblockdownload,
        })
    }

    async fn headers_from(
        &self,
        first: BlockHash,
        _standing: &ChainState,
    ) -> Result<Vec<Header>, SourceError> {
        let path = format!("rest/headers/{first}.bin?count={HEADERS_MAX}");
        let bytes_max = HEADERS_MAX as usize * HEADER_BYTES;
        let (status, body) = self.get(&path, bytes_max).await?;
        match status {
            StatusCode::OK => {}
            // Unknown to the node, as a block of another branch is.
            StatusCode::NOT_FOUND => return Ok(Vec::new()),
            _ => {
                let reason = format!("status {status}: {}", quote(&body));
                return Err(self.bad_answer(&path, reason));
            }
        }
        let headers: Option<Vec<Header>> = body.chunks(HEADER_BYTES).map(decode_header).collect();
        headers.ok_or_else(|| {
            let reason = format!("{} bytes are no whole number of headers", body.len());
            self.bad_answer(&path, reason)
        })
    }

    async fn block(&self, hash: BlockHash) -> Result<Vec<u8>, SourceError> {
        // The semaphore is never closed; without a permit there would only be one request more.
        let _permit = self.fetching.acquire().await;
        let path = format!("rest/block/{hash}.bin");
        let (status, body) = self.get(&path, MAX_BLOCK_BYTES).await?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::NOT_FOUND => Err(self.no_block(hash, &body)),
            _ => {
                let reason = format!("status {status}: {}", quote(&body));
                Err(self.bad_answer(&path, reason))
            }
        }
    }
}

/// Returns a node's text on one line and of bounded length.
fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(QUOTE_CHARS).collect()
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
    quote(text.as_bytes())
}
