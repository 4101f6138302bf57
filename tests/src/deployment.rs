//! Deploys through `ic-agent` as a developer's tool does: creates a canister, installs a module.

use anyhow::{Context, Result};
use candid::{Encode, Principal};
use ic_agent::{Agent, Identity};
use ic_management_canister_types::{
    CanisterInstallMode, CreateCanisterResult, InstallCodeArgs,
    ProvisionalCreateCanisterWithCyclesArgs,
};
use millrace_candid::CanisterArg;

use crate::local_replica::Ready;

/// Cycles no canister here uses up.
const CYCLES: u128 = 1_000_000_000_000_000;

/// An agent that trusts this replica's root key and verifies everything.
///
/// # Errors
/// The replica does not answer.
pub async fn agent(ready: &Ready, identity: impl Identity + 'static) -> Result<Agent> {
    let agent = Agent::builder()
        .with_url(&ready.url)
        .with_identity(identity)
        .build()
        .context("cannot make an agent")?;
    agent
        .fetch_root_key()
        .await
        .with_context(|| format!("the replica at {} does not answer", ready.url))?;
    Ok(agent)
}

/// Creates an empty canister with plenty of cycles, controlled by the agent's identity.
///
/// # Errors
/// The replica refuses.
pub async fn create(agent: &Agent, ready: &Ready) -> Result<Principal> {
    let arguments = ProvisionalCreateCanisterWithCyclesArgs {
        amount: Some(CYCLES.into()),
        ..ProvisionalCreateCanisterWithCyclesArgs::default()
    };
    let reply = agent
        .update(
            &Principal::management_canister(),
            "provisional_create_canister_with_cycles",
        )
        .with_effective_canister_id(ready.default_effective_canister_id)
        .with_arg(Encode!(&arguments).context("management types encode")?)
        .call_and_wait()
        .await
        .context("the canister cannot be created")?;
    let created: CreateCanisterResult =
        candid::decode_one(&reply).context("the replica's reply names no canister")?;
    Ok(created.canister_id)
}

/// Installs or upgrades the module.
///
/// # Errors
/// The replica or the canister refuses.
pub async fn install(
    agent: &Agent,
    canister: Principal,
    wasm: &[u8],
    mode: CanisterInstallMode,
    argument: &CanisterArg,
) -> Result<()> {
    let arguments = InstallCodeArgs {
        mode,
        canister_id: canister,
        wasm_module: wasm.to_vec(),
        arg: Encode!(argument).context("contract types encode")?,
        sender_canister_version: None,
    };
    agent
        .update(&Principal::management_canister(), "install_code")
        .with_effective_canister_id(canister)
        .with_arg(Encode!(&arguments).context("management types encode")?)
        .call_and_wait()
        .await
        .context("the module cannot be installed")?;
    Ok(())
}
