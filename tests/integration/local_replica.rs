//! The `replica` program with a canister on it, for tests of real clients and programs.

use candid::Principal;
use ic_agent::Agent;
use ic_agent::identity::BasicIdentity;
use ic_management_canister_types::CanisterInstallMode;
use millrace_candid::{BlockchainInfo, Budgets, CanisterArg, InitConfig, InitNetwork};
use millrace_tests::local_replica::LocalReplica;
use millrace_tests::setup::{GENEROUS, hash_of};
use millrace_tests::{artifacts, deployment};
use tempfile::TempDir;

/// Looks for a tip this many times before it counts as never reached.
const TIP_ATTEMPTS: u32 = 1_200;

/// Between two looks.
const TIP_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

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
        let reply = self
            .agent
            .query(&self.canister, "get_blockchain_info")
            .with_arg(candid::encode_args(()).expect("nothing encodes"))
            .call()
            .await
            .expect("anybody may ask");
        candid::decode_one(&reply).expect("the contract's type")
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
