//! The `replica` program with a canister on it, for tests of real clients and programs.

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use futures_util::{StreamExt, stream};
use ic_agent::Agent;
use ic_agent::identity::BasicIdentity;
use ic_management_canister_types::CanisterInstallMode;
use millrace_candid::{
    BlockchainInfo, Budgets, CanisterArg, FeedState, FeedStateArgs, FeedStateResult,
    GetBalanceArgs, GetBalanceResult, GetUtxosArgs, GetUtxosResult, InitConfig, InitNetwork,
    SetConfigRequest,
};
use millrace_tests::coins::CoinSet;
use millrace_tests::compare;
use millrace_tests::local_replica::LocalReplica;
use millrace_tests::setup::{GENEROUS, hash_of};
use millrace_tests::{artifacts, deployment};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// Looks for a tip this many times before it counts as never reached.
const TIP_ATTEMPTS: u32 = 1_200;

/// Between two looks.
const TIP_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// Queries under way at once.
const CONCURRENT: usize = 16;

/// Who controls the canister.
pub const DEVELOPER: [u8; 32] = [1; 32];

/// A replica of its own with one Millrace canister.
pub struct Deployed {
    pub replica: LocalReplica,
    pub agent: Agent,
    pub canister: Principal,
    pub folder: TempDir,
}

/// The identity of an Ed25519 key made from a seed.
pub fn identity(seed: [u8; 32]) -> BasicIdentity {
    BasicIdentity::from_raw_key(&seed)
}

/// The principal of [`identity`].
pub fn principal(seed: [u8; 32]) -> Principal {
    ic_agent::Identity::sender(&identity(seed)).expect("a key has a principal")
}

impl Deployed {
    /// Starts a replica and installs a canister that these seeds' principals may push to.
    pub async fn new(network: InitNetwork, adapters: &[[u8; 32]]) -> Self {
        Self::with_budgets(network, adapters, GENEROUS).await
    }

    /// Like [`Deployed::new`] with other budgets.
    pub async fn with_budgets(
        network: InitNetwork,
        adapters: &[[u8; 32]],
        budgets: Budgets,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = artifacts::binary("replica", "millrace-replica");
        let replica = LocalReplica::start(&program, 0, folder.path()).expect("the replica starts");
        let agent = deployment::agent(&replica.ready, identity(DEVELOPER))
            .await
            .expect("the replica answers");
        let canister = deployment::create(&agent, &replica.ready)
            .await
            .expect("the canister is created");
        let argument = CanisterArg::Init(InitConfig {
            network: Some(network),
            adapters: Some(adapters.iter().copied().map(principal).collect()),
            budgets: Some(budgets),
            ..InitConfig::default()
        });
        deployment::install(
            &agent,
            canister,
            &artifacts::millrace_archive(),
            CanisterInstallMode::Install,
            &argument,
        )
        .await
        .expect("the module installs");
        Self {
            replica,
            agent,
            canister,
            folder,
        }
    }

    /// `get_blockchain_info`.
    pub async fn info(&self) -> BlockchainInfo {
        query(&self.agent, self.canister, "get_blockchain_info", ()).await
    }

    /// What the canister tells an adapter that it lacks.
    pub async fn feed_state(&self, adapter: [u8; 32]) -> FeedState {
        let agent = deployment::agent(&self.replica.ready, identity(adapter))
            .await
            .expect("the replica answers");
        let args = FeedStateArgs {
            locator: Vec::new(),
        };
        let state: FeedStateResult = query(&agent, self.canister, "feed_state", (args,)).await;
        state.expect("the adapter may ask")
    }

    /// Changes what a heartbeat may spend.
    pub async fn set_budgets(&self, budgets: Budgets) {
        let request = SetConfigRequest {
            budgets: Some(budgets),
            ..SetConfigRequest::default()
        };
        self.agent
            .update(&self.canister, "set_config")
            .with_arg(candid::encode_one(request).expect("contract types encode"))
            .call_and_wait()
            .await
            .expect("its controller may");
    }

    /// Holds what the canister answers for every script against the recomputed coins.
    pub async fn assert_equals(&self, coins: &CoinSet) {
        let owners = coins.by_script();
        let differences: Vec<String> = stream::iter(&owners)
            .map(|(script, expected)| async move {
                let owner = compare::owner(script);
                let balance = GetBalanceArgs {
                    owner: owner.clone(),
                    min_confirmations: None,
                    at_tip: None,
                };
                let balance: GetBalanceResult =
                    query(&self.agent, self.canister, "get_balance_query", (balance,)).await;
                let balance = balance.expect("a known script");
                let utxos = GetUtxosArgs {
                    owner,
                    filter: None,
                    at_tip: None,
                    limit: None,
                };
                let utxos: GetUtxosResult =
                    query(&self.agent, self.canister, "get_utxos_query", (utxos,)).await;
                let utxos = utxos.expect("a known script");
                // Nobody has more coins than one page holds in the blocks of these tests.
                assert!(utxos.next_page.is_none(), "{script} has more than a page");
                compare::difference(script, expected, &utxos.utxos, &balance)
            })
            .buffer_unordered(CONCURRENT)
            .filter_map(std::future::ready)
            .collect()
            .await;
        assert!(
            differences.is_empty(),
            "{} of {} scripts differ, such as {}",
            differences.len(),
            owners.len(),
            differences[0]
        );
        assert_eq!(self.info().await.utxos_length, coins.len() as u64);
    }

    /// Waits until reads answer from `tip`.
    pub async fn reach(&self, tip: bitcoin::BlockHash) {
        for _ in 0..TIP_ATTEMPTS {
            if hash_of(&self.info().await.block_hash) == tip {
                return;
            }
            tokio::time::sleep(TIP_INTERVAL).await;
        }
        panic!("the canister does not reach {tip}: {:?}", self.info().await);
    }
}

pub async fn query<R: CandidType + DeserializeOwned>(
    agent: &Agent,
    canister: Principal,
    method: &str,
    arguments: impl ArgumentEncoder,
) -> R {
    let reply = agent
        .query(&canister, method)
        .with_arg(candid::utils::encode_args(arguments).expect("contract types encode"))
        .call()
        .await
        .unwrap_or_else(|error| panic!("{method} fails: {error}"));
    candid::decode_one(&reply).expect("the contract's type")
}
