//! The calls the adapter makes, with their results as types.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use millrace_core::{Height, Network};
use serde_json::{Value, json};

use super::answer::Asked;
use super::{Node, NodeError};

/// Headers fetched in one message.
pub const HEADERS_MAX: u32 = 2_000;

/// How long a call that looks something up may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a call that reads the whole set may take; an hour on a slow disk.
const WHOLE_SET_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// Satoshi in a bitcoin.
const BITCOIN: f64 = 100_000_000.0;

/// What a node says of its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeChain {
    /// Height of its best block.
    pub height: Height,
    /// Its best block.
    pub best: BlockHash,
}

/// What `gettxoutsetinfo muhash` says of a height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSummary {
    /// The height.
    pub height: Height,
    /// The block.
    pub block: BlockHash,
    /// Number of coins.
    pub outputs: u64,
    /// Sum of their amounts.
    pub satoshi: u64,
    /// Core's measure of size.
    pub bogosize: u64,
    /// MuHash3072, as printed.
    pub muhash: String,
}

/// What `dumptxoutset` says of the file it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dumped {
    /// Number of coins.
    pub coins: u64,
    /// The base block's hash.
    pub base: BlockHash,
    /// Height of the base block.
    pub height: Height,
    /// `hash_serialized_3`, as printed.
    pub hash_serialized: String,
}

impl Node {
    /// Asks for the node's best block.
    ///
    /// # Errors
    /// [`NodeError`]; [`NodeError::OtherNetwork`] where it is on another network than `expected`.
    pub async fn chain(&self, expected: Network) -> Result<NodeChain, NodeError> {
        const METHOD: &str = "getblockchaininfo";
        let answer = self.call(METHOD, json!([]), LOOK_UP_TIMEOUT).await?;
        let fields = self.fields(METHOD, &answer);
        let found: String = fields.parsed("chain")?;
        if found != chain_name(expected) {
            return Err(NodeError::OtherNetwork {
                url: self.url.to_string(),
                found,
                expected: chain_name(expected).to_owned(),
            });
        }
        Ok(NodeChain {
            height: fields.height("blocks")?,
            best: fields.parsed("bestblockhash")?,
        })
    }

    /// Asks for the height of a block of the node's best chain.
    ///
    /// # Errors
    /// [`NodeError`]; [`NodeError::NotOnChain`] where it is unknown or on another branch.
    pub async fn height_of(&self, hash: BlockHash) -> Result<Height, NodeError> {
        const METHOD: &str = "getblockheader";
        /// Bitcoin Core's code for a block it does not know.
        const NOT_FOUND: i64 = -5;
        let not_on_chain = || NodeError::NotOnChain {
            hash: hash.to_string(),
        };
        let arguments = json!([hash.to_string(), true]);
        let answer = match self.call(METHOD, arguments, LOOK_UP_TIMEOUT).await {
            Err(NodeError::Method {
                code: NOT_FOUND, ..
            }) => return Err(not_on_chain()),
            other => other?,
        };
        if answer.get("confirmations").and_then(Value::as_i64) < Some(0) {
            return Err(not_on_chain());
        }
        self.fields(METHOD, &answer).height("height")
    }

    /// Fetches `count` headers of the best chain, at most [`HEADERS_MAX`], from height `first` on.
    ///
    /// # Errors
    /// [`NodeError`]; [`NodeError::Method`] where the chain is shorter.
    pub async fn headers(&self, first: Height, count: u32) -> Result<Vec<Header>, NodeError> {
        const HASH: &str = "getblockhash";
        const HEADER: &str = "getblockheader";
        let heights = (first.get()..).take(count.min(HEADERS_MAX) as usize);
        let arguments: Vec<Value> = heights.map(|height| json!([height])).collect();
        let hashes = self.batch(HASH, &arguments, LOOK_UP_TIMEOUT).await?;
        let arguments: Vec<Value> = hashes.iter().map(|hash| json!([hash, false])).collect();
        let headers = self.batch(HEADER, &arguments, LOOK_UP_TIMEOUT).await?;
        let decoded = headers.iter().map(|header| {
            let text = header.as_str().unwrap_or_default();
            bitcoin::consensus::encode::deserialize_hex(text).map_err(|error| {
                self.asked(HEADER)
                    .bad_answer(format!("{error} in {text:?}"))
            })
        });
        decoded.collect()
    }

    /// Asks for the set at a height. Below the tip it takes `-coinstatsindex`; without that index, the set
    /// at the tip takes some minutes.
    ///
    /// # Errors
    /// [`NodeError`]; see [`NodeError::is_without_index`].
    pub async fn set_at(&self, height: Height) -> Result<SetSummary, NodeError> {
        self.set(json!(["muhash", height.get()])).await
    }

    /// Asks for the set at the node's best block.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn set_at_tip(&self) -> Result<SetSummary, NodeError> {
        self.set(json!(["muhash"])).await
    }

    async fn set(&self, arguments: Value) -> Result<SetSummary, NodeError> {
        const METHOD: &str = "gettxoutsetinfo";
        let answer = self.call(METHOD, arguments, WHOLE_SET_TIMEOUT).await?;
        let fields = self.fields(METHOD, &answer);
        let amount = answer.get("total_amount").and_then(Value::as_f64);
        let amount = amount.ok_or_else(|| fields.missing("total_amount"))?;
        Ok(SetSummary {
            height: fields.height("height")?,
            block: fields.parsed("bestblock")?,
            outputs: fields.number("txouts")?,
            // All bitcoin there can be are 51 bits of satoshi, so the nearest integer is the one meant.
            satoshi: (amount * BITCOIN).round() as u64,
            bogosize: fields.number("bogosize")?,
            muhash: fields.parsed("muhash")?,
        })
    }

    /// Lets the node write the set at its best block into a file of its own machine, which must not exist.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn dump(&self, path: &Path) -> Result<Dumped, NodeError> {
        const METHOD: &str = "dumptxoutset";
        let arguments = json!([path.display().to_string(), "latest"]);
        let answer = self.call(METHOD, arguments, WHOLE_SET_TIMEOUT).await?;
        let fields = self.fields(METHOD, &answer);
        Ok(Dumped {
            coins: fields.number("coins_written")?,
            base: fields.parsed("base_hash")?,
            height: fields.height("base_height")?,
            hash_serialized: fields.parsed("txoutset_hash")?,
        })
    }

    fn asked(&self, method: &'static str) -> Asked<'_> {
        Asked {
            url: self.url.as_str(),
            method,
        }
    }

    fn fields<'a>(&'a self, method: &'static str, answer: &'a Value) -> Fields<'a> {
        Fields {
            asked: self.asked(method),
            answer,
        }
    }
}

impl NodeError {
    /// Returns whether the node lacks the index it takes to speak of a height below its tip, or has not
    /// got so far with it.
    pub fn is_without_index(&self) -> bool {
        matches!(self, Self::Method { message, .. } if message.contains("coinstatsindex"))
    }
}

/// The name `getblockchaininfo` has for a network.
/// Returns what Bitcoin Core calls a network.
pub const fn chain_name(network: Network) -> &'static str {
    match network {
        Network::Mainnet => "main",
        Network::Testnet3 => "test",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    }
}

/// The fields of an answer.
#[derive(Clone, Copy)]
struct Fields<'a> {
    asked: Asked<'a>,
    answer: &'a Value,
}

impl Fields<'_> {
    fn missing(&self, name: &str) -> NodeError {
        self.asked
            .bad_answer(format!("{name} is missing or of another kind"))
    }

    fn number(&self, name: &str) -> Result<u64, NodeError> {
        let number = self.answer.get(name).and_then(Value::as_u64);
        number.ok_or_else(|| self.missing(name))
    }

    fn height(&self, name: &str) -> Result<Height, NodeError> {
        let height = u32::try_from(self.number(name)?).ok();
        height.map(Height::new).ok_or_else(|| self.missing(name))
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<T, NodeError> {
        let text = self.answer.get(name).and_then(Value::as_str);
        let parsed = text.and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| self.missing(name))
    }
}
