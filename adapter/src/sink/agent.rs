//! The sink for every replica that speaks the IC's HTTP interface: the IC itself, dfx and icp
//! networks, PocketIC, and this project's replica.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use candid::{CandidType, Decode, Encode, Principal};
use ic_agent::{Agent, AgentError, Identity};
use millrace_candid::{BlockPart, FeedError, FeedStateArgs, FeedStateResult, PushBlocksResult};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use url::Url;

use super::classify::{Call, classify};
use super::convert;
use super::{Sink, SinkError};
use crate::engine::{FeedView, Part, Receipt};

/// Largest ingress message of an application subnet, its signed envelope included.
pub const INGRESS_BYTES_MAX: u32 = 2 * 1024 * 1024;

/// Room left for the envelope around an argument: CBOR, names, public key, signature.
pub const ENVELOPE_BYTES: u32 = 4 * 1024;

/// How long a query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a push may take: longer than an ingress message lives in the IC's queues.
const PUSH_TIMEOUT: Duration = Duration::from_secs(6 * 60);

/// Hosts of the Internet Computer itself, whose root key is built in and never fetched.
const MAINNET_HOSTS: [&str; 4] = ["ic0.app", "icp0.io", "icp-api.io", "internetcomputer.org"];

/// Why a sink cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentSinkError {
    /// The URL cannot be used.
    #[error("replica URL {url:?} cannot be used: {reason}; give one like http://127.0.0.1:4943")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The root key of the Internet Computer must not be taken from whoever answers.
    #[error(
        "--fetch-root-key=true is refused for {host}, a host of the Internet Computer: whoever \
         sits on the line could forge its answers"
    )]
    RootKeyOfMainnet {
        /// The host.
        host: String,
    },
    /// The identity has no principal.
    #[error("identity cannot be used: {reason}")]
    BadIdentity {
        /// Why.
        reason: String,
    },
}

/// Returns whether a URL leads to the Internet Computer itself.
pub fn is_mainnet(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    MAINNET_HOSTS.iter().any(|known| {
        host == *known
            || host
                .strip_suffix(known)
                .is_some_and(|rest| rest.ends_with('.'))
    })
}

/// Reads a replica URL.
///
/// # Errors
/// [`AgentSinkError::BadUrl`].
pub fn parse_url(text: &str) -> Result<Url, AgentSinkError> {
    let bad = |reason: String| AgentSinkError::BadUrl {
        url: text.to_owned(),
        reason,
    };
    let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(format!(
            "scheme {} is neither http nor https",
            url.scheme()
        )));
    }
    Ok(url)
}

/// The sink; clones share one connection pool.
#[derive(Clone)]
pub struct AgentSink {
    shared: Arc<Shared>,
}

struct Shared {
    agent: Agent,
    caller: Principal,
    canister: Principal,
    canister_text: String,
    url: String,
    fetches_root_key: bool,
    root_key: OnceCell<()>,
}

impl AgentSink {
    /// Prepares calls; nothing is sent yet. Without `fetch_root_key` the root key is fetched
    /// from every host but the Internet Computer's.
    ///
    /// # Errors
    /// [`AgentSinkError`] for settings that cannot work.
    pub fn new(
        url: &Url,
        canister: Principal,
        identity: Box<dyn Identity>,
        fetch_root_key: Option<bool>,
    ) -> Result<Self, AgentSinkError> {
        let is_mainnet = is_mainnet(url);
        if is_mainnet && fetch_root_key == Some(true) {
            return Err(AgentSinkError::RootKeyOfMainnet {
                host: url.host_str().unwrap_or_default().to_owned(),
            });
        }
        let caller = identity
            .sender()
            .map_err(|reason| AgentSinkError::BadIdentity { reason })?;
        let agent = Agent::builder()
            .with_url(url.as_str())
            .with_boxed_identity(identity)
            .build()
            .map_err(|error| AgentSinkError::BadUrl {
                url: url.to_string(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            shared: Arc::new(Shared {
                agent,
                caller,
                canister,
                canister_text: canister.to_text(),
                url: url.to_string(),
                fetches_root_key: fetch_root_key.unwrap_or(!is_mainnet),
                root_key: OnceCell::new(),
            }),
        })
    }

    /// Returns the principal the adapter calls as.
    pub fn caller(&self) -> Principal {
        self.shared.caller
    }

    async fn call(
        &self,
        method: &'static str,
        limit: Duration,
        request: impl Future<Output = Result<Vec<u8>, AgentError>>,
    ) -> Result<Vec<u8>, SinkError> {
        let shared = &self.shared;
        let call = Call {
            url: &shared.url,
            canister: &shared.canister_text,
            method,
        };
        let work = async {
            if shared.fetches_root_key {
                let fetch = || shared.agent.fetch_root_key();
                shared.root_key.get_or_try_init(fetch).await?;
            }
            request.await
        };
        match timeout(limit, work).await {
            Ok(result) => result.map_err(|error| classify(&call, &error)),
            Err(_) => Err(SinkError::Unavailable {
                url: shared.url.clone(),
                reason: format!("{method} took longer than {} s", limit.as_secs()),
            }),
        }
    }

    pub(super) fn bad_answer(&self, method: &'static str, reason: String) -> SinkError {
        SinkError::BadAnswer {
            canister: self.shared.canister_text.clone(),
            method,
            reason,
        }
    }

    pub(super) fn not_an_adapter(&self, caller: Principal) -> SinkError {
        SinkError::NotAnAdapter {
            caller: caller.to_text(),
            canister: self.shared.canister_text.clone(),
        }
    }

    pub(super) fn canister_failed(&self, reason: String) -> SinkError {
        SinkError::CanisterFailed {
            canister: self.shared.canister_text.clone(),
            reason,
        }
    }

    fn refused(&self, method: &'static str, error: FeedError) -> SinkError {
        match error {
            FeedError::NotAnAdapter { caller } => self.not_an_adapter(caller),
            FeedError::SyncingDisabled => SinkError::SyncingDisabled {
                canister: self.shared.canister_text.clone(),
            },
            FeedError::Internal(reason) => self.canister_failed(reason),
            FeedError::TooManyParts { given, max } => self.bad_answer(
                method,
                format!("{given} parts refused, at most {max} allowed"),
            ),
            FeedError::LocatorTooLong { given, max } => self.bad_answer(
                method,
                format!("{given} locator entries refused, at most {max}"),
            ),
            FeedError::MalformedHash {
                given_bytes,
                expected_bytes,
            } => self.bad_answer(
                method,
                format!("hash of {given_bytes} bytes refused, expected {expected_bytes}"),
            ),
        }
    }
}

impl AgentSink {
    /// Makes a query call and decodes what it returns.
    ///
    /// # Errors
    /// [`SinkError`] says whether another attempt can help.
    pub(crate) async fn query<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        args: &impl CandidType,
    ) -> Result<T, SinkError> {
        let args = self.encoded(method, args)?;
        let shared = &self.shared;
        let query = shared.agent.query(&shared.canister, method).with_arg(args);
        let reply = self.call(method, QUERY_TIMEOUT, query.call()).await?;
        self.decoded(method, &reply)
    }

    /// Makes an update call and decodes what it returns.
    ///
    /// # Errors
    /// [`SinkError`] says whether another attempt can help; the call may have been carried out all the same.
    pub(crate) async fn update<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        args: &impl CandidType,
    ) -> Result<T, SinkError> {
        let args = self.encoded(method, args)?;
        let shared = &self.shared;
        let update = shared.agent.update(&shared.canister, method).with_arg(args);
        let reply = self
            .call(method, PUSH_TIMEOUT, update.call_and_wait())
            .await?;
        self.decoded(method, &reply)
    }

    fn encoded(&self, method: &'static str, args: &impl CandidType) -> Result<Vec<u8>, SinkError> {
        Encode!(args).map_err(|error| self.bad_answer(method, error.to_string()))
    }

    fn decoded<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        reply: &[u8],
    ) -> Result<T, SinkError> {
        Decode!(reply, T).map_err(|error| self.bad_answer(method, error.to_string()))
    }
}

impl Sink for AgentSink {
    async fn feed_state(&self, locator: Vec<BlockHash>) -> Result<FeedView, SinkError> {
        const METHOD: &str = "feed_state";
        let args = FeedStateArgs {
            locator: locator.into_iter().map(convert::hash_bytes).collect(),
        };
        let result: FeedStateResult = self.query(METHOD, &args).await?;
        let state = result.map_err(|error| self.refused(METHOD, error))?;
        convert::feed_view(state).map_err(|error| self.bad_answer(METHOD, error.to_string()))
    }

    async fn push(&self, parts: Vec<Part>) -> Result<Receipt, SinkError> {
        const METHOD: &str = "push_blocks";
        let parts: Vec<BlockPart> = parts.into_iter().map(convert::block_part).collect();
        let result: PushBlocksResult = self.update(METHOD, &parts).await?;
        let receipt = result.map_err(|error| self.refused(METHOD, error))?;
        convert::receipt(receipt).map_err(|error| self.bad_answer(METHOD, error.to_string()))
    }

    fn argument_bytes_max(&self) -> u32 {
        INGRESS_BYTES_MAX - ENVELOPE_BYTES
    }
}
