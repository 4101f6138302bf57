//! `ic-agent` against the local replica with its default verification: a signed update, a query and
//! a read_state.

use candid::Principal;
use ic_agent::identity::AnonymousIdentity;
use ic_agent::{Agent, AgentError};
use millrace_candid::{BTC_DID, InitNetwork, PartOutcome, PushBlocksResult};
use millrace_tests::mining::{BlockPlan, Miner, script};
use millrace_tests::setup::part;
use millrace_tests::{artifacts, deployment};
use sha2::{Digest, Sha256};

use crate::local_replica::{DEVELOPER, Deployed, identity, principal};

const ADAPTER: [u8; 32] = [2; 32];

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_update_a_query_and_a_read_state_are_verified() {
    let deployed = Deployed::new(InitNetwork::Regtest, &[ADAPTER]).await;
    let mut miner = Miner::new();
    let tip = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(1)));
    let block = part(miner.tree.block(tip));

    // The update depends on who signed it.
    let ready = &deployed.replica.ready;
    let anonymous = deployment::agent(ready, AnonymousIdentity)
        .await
        .expect("answers");
    let adapter = deployment::agent(ready, identity(ADAPTER))
        .await
        .expect("answers");
    let pushed = push(&adapter, deployed.canister, &block)
        .await
        .expect("accepted");
    let receipt = pushed.expect("the adapter may push");
    assert_eq!(receipt.outcomes, [PartOutcome::Queued]);
    // Refused by inspect_message, before it costs the canister anything.
    let refused = push(&anonymous, deployed.canister, &block)
        .await
        .expect_err("nobody in particular is no adapter");
    assert!(
        matches!(
            &refused,
            AgentError::UncertifiedReject { reject, .. }
                if reject.reject_message == "Canister rejected the message"
        ),
        "{refused:?}"
    );
    deployed.reach(tip).await;

    let hash = adapter
        .read_state_canister_module_hash(deployed.canister)
        .await
        .expect("certified");
    assert_eq!(
        hash,
        Sha256::digest(artifacts::millrace_archive()).as_slice()
    );
    let controllers = adapter
        .read_state_canister_controllers(deployed.canister)
        .await
        .expect("certified");
    assert_eq!(controllers, [principal(DEVELOPER)]);
    let candid = adapter
        .read_state_canister_metadata(deployed.canister, "candid:service")
        .await
        .expect("certified");
    assert_eq!(candid, BTC_DID.as_bytes());

    a_foreign_root_key_is_believed_nowhere(&deployed).await;
    deployed
        .replica
        .stop()
        .expect("the replica stops in good order");
}

/// The verification is real: with another root key nothing is believed.
async fn a_foreign_root_key_is_believed_nowhere(deployed: &Deployed) {
    let distrustful = Agent::builder()
        .with_url(&deployed.replica.ready.url)
        .build()
        .expect("an agent with mainnet's root key");
    let error = distrustful
        .read_state_canister_module_hash(deployed.canister)
        .await
        .expect_err("signed by another key than mainnet's");
    assert!(
        matches!(error, AgentError::CertificateVerificationFailed()),
        "{error:?}"
    );
    distrustful
        .query(&deployed.canister, "get_blockchain_info")
        .with_arg(candid::encode_args(()).expect("nothing encodes"))
        .call()
        .await
        .expect_err("the node's key is not certified by mainnet's root key");
}

async fn push(
    agent: &Agent,
    canister: Principal,
    block: &millrace_candid::BlockPart,
) -> Result<PushBlocksResult, AgentError> {
    let reply = agent
        .update(&canister, "push_blocks")
        .with_arg(candid::encode_one([block]).expect("parts encode"))
        .call_and_wait()
        .await?;
    Ok(candid::decode_one(&reply).expect("the contract's type"))
}
