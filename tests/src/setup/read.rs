//! Typed reads, and the comparison of everything the canister answers with recomputed coins.

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, ScriptBuf};
use candid::Principal;
use millrace_candid::{
    Balance, BlockId, BlockchainInfo, Config, FeedState, GetBalanceArgs, GetBalanceResult,
    GetBlockHeadersArgs, GetBlockHeadersResult, GetStatusArgs, GetStatusResult, GetUtxosArgs,
    GetUtxosResult, HttpRequest, HttpResponse, Owner, Status, Utxo, UtxosFilter,
};
use serde_bytes::ByteBuf;

use super::Setup;
use crate::coins::CoinSet;
use crate::compare;

/// What bad input must leave as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    feed: Option<FeedState>,
    info: BlockchainInfo,
    config: Config,
    balances: Vec<Balance>,
}

impl Setup {
    /// `get_utxos_query`.
    pub fn get_utxos(&self, args: &GetUtxosArgs) -> GetUtxosResult {
        self.query(Principal::anonymous(), "get_utxos_query", (args,))
            .unwrap_or_else(|reject| panic!("get_utxos_query is rejected: {reject}"))
    }

    /// `get_status_query`, at the best tip.
    pub fn status(&self) -> Status {
        let args = (GetStatusArgs::default(),);
        let status: GetStatusResult = self
            .query(Principal::anonymous(), "get_status_query", args)
            .unwrap_or_else(|reject| panic!("get_status_query is rejected: {reject}"));
        status.expect("there is a best tip")
    }

    /// `get_balance_query`.
    pub fn get_balance(&self, args: &GetBalanceArgs) -> GetBalanceResult {
        self.query(Principal::anonymous(), "get_balance_query", (args,))
            .unwrap_or_else(|reject| panic!("get_balance_query is rejected: {reject}"))
    }

    /// `get_block_headers_query`.
    pub fn get_block_headers(&self, args: &GetBlockHeadersArgs) -> GetBlockHeadersResult {
        self.query(Principal::anonymous(), "get_block_headers_query", (args,))
            .unwrap_or_else(|reject| panic!("get_block_headers_query is rejected: {reject}"))
    }

    /// `get_blockchain_info`.
    pub fn info(&self) -> BlockchainInfo {
        self.query(Principal::anonymous(), "get_blockchain_info", ())
            .expect("anybody may ask")
    }

    /// `get_config`.
    pub fn config(&self) -> Config {
        self.query(Principal::anonymous(), "get_config", ())
            .expect("anybody may ask")
    }

    /// The block reads answer from.
    pub fn tip(&self) -> BlockHash {
        hash_of(&self.info().block_hash)
    }

    /// `http_request` with a GET.
    pub fn http_get(&self, url: &str) -> HttpResponse {
        let request = HttpRequest {
            url: url.to_owned(),
            method: "GET".to_owned(),
            body: ByteBuf::new(),
            headers: Vec::new(),
        };
        self.query(Principal::anonymous(), "http_request", (request,))
            .expect("anybody may ask")
    }

    /// The samples of `/metrics` by name with labels.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let response = self.http_get("/metrics");
        assert_eq!(response.status_code, 200, "/metrics is served");
        let text = String::from_utf8(response.body.into_vec()).expect("Prometheus text is UTF-8");
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(|line| {
                // "name{labels} value [timestamp]"; labels here hold no spaces.
                let mut words = line.split_whitespace();
                let name = words.next().expect("the line is not empty");
                let value = words.next().and_then(|value| value.parse().ok());
                let value = value.unwrap_or_else(|| panic!("no value in the line `{line}`"));
                (name.to_owned(), value)
            })
            .collect()
    }

    /// All coins of an owner at a tip (the best one when absent), page by page of `limit`.
    pub fn all_utxos(
        &self,
        owner: &Owner,
        at_tip: Option<BlockHash>,
        limit: Option<u32>,
    ) -> (Vec<Utxo>, BlockId) {
        let mut args = GetUtxosArgs {
            owner: owner.clone(),
            filter: None,
            at_tip: at_tip.map(|hash| ByteBuf::from(hash.to_byte_array())),
            limit,
        };
        let mut utxos = Vec::new();
        loop {
            let page = self
                .get_utxos(&args)
                .unwrap_or_else(|error| panic!("{args:?}: {error:?}"));
            utxos.extend(page.utxos);
            match page.next_page {
                None => return (utxos, page.tip),
                Some(next) => args.filter = Some(UtxosFilter::Page(next)),
            }
        }
    }

    /// The balance of an owner at a tip (the best one when absent).
    pub fn balance(&self, owner: &Owner, at_tip: Option<BlockHash>) -> Balance {
        let args = GetBalanceArgs {
            owner: owner.clone(),
            min_confirmations: None,
            at_tip: at_tip.map(|hash| ByteBuf::from(hash.to_byte_array())),
        };
        self.get_balance(&args)
            .unwrap_or_else(|error| panic!("{args:?}: {error:?}"))
    }

    /// Holds what the canister answers at `at_tip` (the best tip when absent) for every script of a
    /// chain against the recomputed coins, and returns how many scripts that were.
    pub fn assert_equals(&self, coins: &CoinSet, at_tip: Option<BlockHash>) -> usize {
        let owners = coins.by_script();
        let mut differences = Vec::new();
        for (script, expected) in &owners {
            let owner = compare::owner(script);
            let (utxos, _) = self.all_utxos(&owner, at_tip, None);
            let balance = self.balance(&owner, at_tip);
            differences.extend(compare::difference(script, expected, &utxos, &balance));
        }
        assert!(
            differences.is_empty(),
            "{} of {} scripts differ:\n{}",
            differences.len(),
            owners.len(),
            differences[..differences.len().min(5)].join("\n")
        );
        if at_tip.is_none() {
            assert_eq!(
                self.info().utxos_length,
                coins.len() as u64,
                "size of the UTXO set"
            );
        }
        owners.len()
    }

    /// Everything that must not change when input is refused, with these scripts' balances.
    pub fn snapshot(&self, scripts: &[ScriptBuf]) -> Snapshot {
        Snapshot {
            feed: self.feed_apart_from_refusals(),
            info: self.info(),
            config: self.config(),
            balances: scripts
                .iter()
                .map(|script| self.balance(&compare::owner(script), None))
                .collect(),
        }
    }
}

/// Reads a hash out of an answer.
pub fn hash_of(bytes: &[u8]) -> BlockHash {
    let bytes = bytes
        .try_into()
        .expect("the contract's hashes have 32 bytes");
    BlockHash::from_byte_array(bytes)
}
