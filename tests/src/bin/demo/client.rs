//! Asks the canister over Candid through `ic-agent`, with every answer's signature verified.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use ic_agent::Agent;
use millrace_candid::{
    Balance, BlockchainInfo, GetBalanceArgs, GetBalanceResult, GetUtxosArgs, GetUtxosResult, Owner,
    Utxo, UtxosFilter,
};
use serde::de::DeserializeOwned;

/// Looks at the tip once per interval, this many times, after the adapter has finished.
const TIP_ATTEMPTS: u32 = 300;
const TIP_INTERVAL: Duration = Duration::from_millis(100);

/// The canister behind an agent.
pub struct Client {
    /// The agent, with the replica's root key.
    pub agent: Agent,
    /// The canister.
    pub canister: Principal,
}

impl Client {
    /// All coins of an owner, page by page.
    ///
    /// # Errors
    /// The call fails or the canister refuses.
    pub async fn utxos(&self, owner: &Owner) -> Result<Vec<Utxo>> {
        let mut utxos = Vec::new();
        let mut filter = None;
        loop {
            let args = GetUtxosArgs {
                owner: owner.clone(),
                filter,
                at_tip: None,
                limit: None,
            };
            let page: GetUtxosResult = self.query("get_utxos_query", (args,)).await?;
            let page = page.map_err(|error| anyhow!("get_utxos_query of {owner:?}: {error:?}"))?;
            utxos.extend(page.utxos);
            match page.next_page {
                None => return Ok(utxos),
                Some(next) => filter = Some(UtxosFilter::Page(next)),
            }
        }
    }

    /// The balance of an owner.
    ///
    /// # Errors
    /// The call fails or the canister refuses.
    pub async fn balance(&self, owner: &Owner) -> Result<Balance> {
        let args = GetBalanceArgs {
            owner: owner.clone(),
            min_confirmations: None,
            at_tip: None,
        };
        let balance: GetBalanceResult = self.query("get_balance_query", (args,)).await?;
        balance.map_err(|error| anyhow!("get_balance_query of {owner:?}: {error:?}"))
    }

    /// What the canister says about its chain, once its tip is `tip`.
    ///
    /// # Errors
    /// The call fails, or the tip stays another.
    pub async fn wait_for_tip(&self, tip: BlockHash) -> Result<BlockchainInfo> {
        let wanted = tip.to_byte_array();
        let mut height = 0;
        for _ in 0..TIP_ATTEMPTS {
            let info: BlockchainInfo = self.query("get_blockchain_info", ()).await?;
            if info.block_hash.as_slice() == wanted {
                return Ok(info);
            }
            height = info.height;
            tokio::time::sleep(TIP_INTERVAL).await;
        }
        bail!("the canister stays at height {height} and does not reach block {tip}")
    }

    async fn query<R: CandidType + DeserializeOwned>(
        &self,
        method: &str,
        arguments: impl ArgumentEncoder,
    ) -> Result<R> {
        let argument =
            candid::utils::encode_args(arguments).context("contract types always encode")?;
        let reply = self
            .agent
            .query(&self.canister, method)
            .with_arg(argument)
            .call()
            .await
            .with_context(|| format!("{method} fails"))?;
        candid::decode_one(&reply)
            .with_context(|| format!("the answer of {method} does not fit candid/btc.did"))
    }
}
