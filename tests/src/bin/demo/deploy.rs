//! Makes sure that the demo's canister is there and runs the module given.

use anyhow::{Context, Result};
use ic_agent::AgentError;
use ic_management_canister_types::{CanisterInstallMode, UpgradeFlags};
use millrace_candid::{CanisterArg, Flag, InitConfig, InitNetwork};
use millrace_tests::deployment;
use millrace_tests::local_replica::Ready;
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::state::{Deployed, StateDir, principal};

/// Creates and installs the canister at first use; upgrades it when the module has changed.
///
/// # Errors
/// The replica refuses, or its state does not fit the demo's record.
pub async fn deploy(wasm: &[u8], state: &StateDir, ready: &Ready) -> Result<Client> {
    let (_, developer) = state.identity("developer")?;
    let agent = deployment::agent(ready, developer).await?;
    let canister = match state.deployed()?.canister {
        Some(canister) => canister,
        None => {
            let canister = deployment::create(&agent, ready).await?;
            state.remember(&Deployed {
                canister: Some(canister),
            })?;
            canister
        }
    };
    let hash: [u8; 32] = Sha256::digest(wasm).into();
    let installed = match agent.read_state_canister_module_hash(canister).await {
        Ok(hash) => Some(hash),
        Err(AgentError::LookupPathAbsent(_)) => None,
        Err(error) => {
            return Err(error).with_context(|| {
                format!(
                    "canister {canister} cannot be found on the replica; start over with --fresh"
                )
            });
        }
    };
    match installed {
        None => {
            println!("           installing the module given");
            let argument = init(state)?;
            let mode = CanisterInstallMode::Install;
            deployment::install(&agent, canister, wasm, mode, &argument).await?;
        }
        Some(installed) if installed == hash => {}
        Some(_) => {
            println!("           upgrading the canister to the module given");
            let mode = CanisterInstallMode::Upgrade(Some(UpgradeFlags {
                skip_pre_upgrade: None,
                wasm_memory_persistence: None,
            }));
            let argument = CanisterArg::Upgrade(None);
            deployment::install(&agent, canister, wasm, mode, &argument).await?;
        }
    }
    Ok(Client { agent, canister })
}

/// Mainnet, fed by the demo's own adapter.
fn init(state: &StateDir) -> Result<CanisterArg> {
    let (_, adapter) = state.identity("adapter")?;
    Ok(CanisterArg::Init(InitConfig {
        network: Some(InitNetwork::Mainnet),
        adapters: Some(vec![principal(&adapter)?]),
        pull: Some(Flag::Disabled),
        ..InitConfig::default()
    }))
}
