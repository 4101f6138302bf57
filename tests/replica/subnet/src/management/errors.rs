//! The management canister's errors in the IC's words.

use crate::canister::{Canister, grouped};
use crate::error::{ErrorCode, UserError};
use crate::topology::CanisterId;
use candid::Principal;

const EXECUTION_ERRORS: &str =
    "https://internetcomputer.org/docs/current/references/execution-errors";

/// Returns the sentence that ends an error's help.
pub(crate) fn see_documentation(section: &str) -> String {
    format!("See documentation: {EXECUTION_ERRORS}#{section}")
}

/// Returns an error whose text ends with help on a line of its own.
fn helped(code: ErrorCode, text: &str, suggestion: &str, section: &str) -> UserError {
    UserError::new(
        code,
        format!("{text}\n{suggestion} {}", see_documentation(section)),
    )
}

pub(super) fn not_found(id: &CanisterId) -> UserError {
    helped(
        ErrorCode::CanisterNotFound,
        &format!("Canister {id} not found."),
        "Check the ICP dashboard to ensure the canister exists.",
        "canister-not-found",
    )
}

pub(super) fn invalid_controller(canister: &Canister, caller: &Principal) -> UserError {
    let controllers: Vec<String> = canister
        .settings
        .controllers
        .iter()
        .map(Principal::to_text)
        .collect();
    helped(
        ErrorCode::CanisterInvalidController,
        &format!(
            "Only the controllers of the canister {} can control it.\nCanister's controllers: {}\nSender's ID: {caller}",
            canister.id,
            controllers.join(" ")
        ),
        "Execute this call from a controller of the target canister or add the current caller as a controller.",
        "invalid-controller",
    )
}

pub(super) fn not_for_users(method: &str) -> UserError {
    UserError::new(
        ErrorCode::CanisterContractViolation,
        format!("{method} cannot be called by a user."),
    )
}

/// Returns the rejection of methods that do not exist, or exist only on a real network.
pub(super) fn unsupported(method: &str) -> UserError {
    const NEEDS_A_NETWORK: [&str; 13] = [
        "ecdsa_public_key",
        "sign_with_ecdsa",
        "schnorr_public_key",
        "sign_with_schnorr",
        "vetkd_public_key",
        "vetkd_derive_key",
        "node_metrics_history",
        "bitcoin_get_balance",
        "bitcoin_get_utxos",
        "bitcoin_get_block_headers",
        "bitcoin_send_transaction",
        "bitcoin_get_current_fee_percentiles",
        "bitcoin_send_transaction_internal",
    ];
    if NEEDS_A_NETWORK.contains(&method) {
        return UserError::new(
            ErrorCode::CanisterRejectedMessage,
            format!("{method} API is not enabled on this subnet."),
        );
    }
    UserError::new(
        ErrorCode::CanisterMethodNotFound,
        format!("Management canister has no method '{method}'"),
    )
}

pub(super) fn creation_unpaid(sent: u128, required: u128) -> UserError {
    helped(
        ErrorCode::InsufficientCyclesForCreateCanister,
        &format!(
            "Creating a canister requires a fee of {} that is deducted from the canister's initial balance but only {} cycles were received with the create_canister request.",
            grouped(required),
            grouped(sent)
        ),
        "Try sending more cycles with the request.",
        "create-canister-not-enough-cycles",
    )
}

pub(super) fn id_exists(id: &CanisterId) -> UserError {
    UserError::new(
        ErrorCode::CanisterIdAlreadyExists,
        format!(
            "Unsuccessful canister creation: canister id {id} already exists.\nThis is an internal error on the IC. Please report it to IC devs on the forum: https://forum.dfinity.org"
        ),
    )
}

pub(super) fn id_not_hosted(id: &CanisterId, subnet: &Principal) -> UserError {
    UserError::new(
        ErrorCode::CanisterNotHostedBySubnet,
        format!(
            "Unsuccessful validation of specified ID: Specified CanisterId {id} is not hosted by subnet {subnet}."
        ),
    )
}

pub(super) fn out_of_ids() -> UserError {
    UserError::new(
        ErrorCode::SubnetOversubscribed,
        "Could not create canister. Subnet has surpassed its canister ID allocation.",
    )
}

pub(super) fn too_many_canisters(subnet: &Principal, limit: u64) -> UserError {
    helped(
        ErrorCode::MaxNumberOfCanistersReached,
        &format!(
            "Subnet {subnet} has reached the allowed canister limit of {limit} canisters. Retry creating the canister."
        ),
        "Try creating the canister on another subnet.",
        "maximum-number-of-canisters-reached",
    )
}

pub(super) fn delete_not_stopped(id: &CanisterId) -> UserError {
    helped(
        ErrorCode::CanisterNotStopped,
        &format!("Canister {id} must be stopped before it is deleted."),
        "Stop the canister before deleting it.",
        "delete-canister-not-stopped",
    )
}

pub(super) fn delete_self(id: &CanisterId) -> UserError {
    helped(
        ErrorCode::CanisterInvalidController,
        &format!("Canister {id} cannot delete itself."),
        "Delete the canister from one of its other controllers.",
        "delete-canister-self",
    )
}

pub(super) fn delete_queue_not_empty(id: &CanisterId) -> UserError {
    helped(
        ErrorCode::CanisterQueueNotEmpty,
        &format!(
            "Canister {id} has messages in its queues and cannot be deleted now. Please retry after some time."
        ),
        "Wait until the queues have been cleared to delete the canister and in the meantime stop the canister.",
        "delete-canister-queue-not-empty",
    )
}

pub(super) fn not_empty(id: &CanisterId) -> UserError {
    helped(
        ErrorCode::CanisterNonEmpty,
        &format!(
            "Canister {id} cannot be installed because the canister is not empty. Try installing with mode='reinstall' instead."
        ),
        "Check that you want to overwrite the canister and, if so, use mode='reinstall'.",
        "canister-not-empty",
    )
}

pub(super) fn install_unpaid(reason: &UserError) -> UserError {
    helped(
        ErrorCode::CanisterOutOfCycles,
        &format!("Canister installation failed with `{}`.", reason.message),
        "Top up the canister with more cycles.",
        "install-code-not-enough-cycles",
    )
}

pub(super) fn install_rate_limited(id: &CanisterId) -> UserError {
    helped(
        ErrorCode::CanisterInstallCodeRateLimited,
        &format!(
            "Canister {id} is rate limited because it executed too many instructions in the previous install_code messages. Please retry installation after several minutes."
        ),
        "Retry the installation at a later time.",
        "install-code-rate-limited",
    )
}

pub(super) fn heap_delta_limited(id: &CanisterId, debit: u64, limit: u64) -> UserError {
    helped(
        ErrorCode::CanisterHeapDeltaRateLimited,
        &format!(
            "Canister {id} is heap delta rate limited: current delta debit is {debit}, but limit is {limit}."
        ),
        "Try waiting a few seconds before retrying the operation.",
        "canister-heap-delta-rate-limited",
    )
}

pub(super) fn invalid_settings(message: &str) -> UserError {
    UserError::new(
        ErrorCode::CanisterContractViolation,
        format!(
            "Could not validate the settings: {message} \nApply the described changes to make the settings valid. {}",
            see_documentation("invalid-settings")
        ),
    )
}

pub(super) fn memory_oversubscribed(requested: u64, available: u64) -> UserError {
    helped(
        ErrorCode::SubnetOversubscribed,
        &format!(
            "Canister requested {requested} B of memory but only {available} B are available in the subnet."
        ),
        "Try moving to another subnet.",
        "subnet-memory-capacity-oversubscribed",
    )
}

pub(super) fn compute_oversubscribed(requested: u64, available: u64) -> UserError {
    helped(
        ErrorCode::SubnetOversubscribed,
        &format!(
            "Canister requested a compute allocation of {requested}% which cannot be satisfied because the Subnet's remaining compute capacity is {available}%."
        ),
        "Try moving to another subnet.",
        "subnet-compute-capacity-oversubscribed",
    )
}

pub(super) fn allocation_unpaid(
    code: ErrorCode,
    what: &str,
    value: &str,
    missing: u128,
) -> UserError {
    let section = format!("insufficient-cycles-in-{}", what.replace(' ', "-"));
    helped(
        code,
        &format!(
            "Cannot increase {what} to {value} due to insufficient cycles. At least {} additional cycles are required.",
            grouped(missing)
        ),
        "Top up the canister with more cycles.",
        &section,
    )
}

pub(super) fn chunk_store(message: &str) -> UserError {
    helped(
        ErrorCode::CanisterContractViolation,
        &format!("Error from Wasm chunk store: {message}."),
        "Use the `stored_chunks` API to check which hashes are present or top up the canister if it is low on cycles.",
        "wasm-chunk-store-error",
    )
}

pub(super) fn snapshot_not_found(canister: &CanisterId, snapshot: &[u8]) -> UserError {
    helped(
        ErrorCode::CanisterSnapshotNotFound,
        &format!(
            "Could not find the snapshot ID {} for canister {canister}.",
            hex::encode(snapshot)
        ),
        "Use the `list_canister_snapshot` API to see which snapshots are present.",
        "canister-snapshot-not-found",
    )
}

pub(super) fn snapshot_of_empty(canister: &CanisterId) -> UserError {
    UserError::new(
        ErrorCode::CanisterRejectedMessage,
        format!("Failed to create snapshot for empty canister {canister}:"),
    )
}

pub(super) fn snapshot_not_owned(canister: &CanisterId, snapshot: &[u8]) -> UserError {
    helped(
        ErrorCode::CanisterRejectedMessage,
        &format!(
            "The snapshot {} does not belong to canister {canister}.",
            hex::encode(snapshot)
        ),
        "Use the `list_canister_snapshot` API to see which snapshots are present.",
        "canister-snapshot-invalid-ownership",
    )
}

pub(super) fn too_many_snapshots(canister: &CanisterId, limit: u64) -> UserError {
    UserError::new(
        ErrorCode::CanisterRejectedMessage,
        format!(
            "Canister {canister} has reached the maximum number of snapshots allowed: {limit}.\nConsider deleting an unnecessary snapshot of the specified canister before creating a new one. See documentation: canister-snapshot-limit-exceeded"
        ),
    )
}

pub(super) fn snapshot_unpaid(reason: &UserError) -> UserError {
    UserError::new(
        ErrorCode::CanisterOutOfCycles,
        format!(
            "Canister snapshotting failed with: `{}`\nTry sending more cycles with the request. See documentation: canister-snapshot-not-enough-cycles",
            reason.message
        ),
    )
}

pub(super) fn host(what: &str, error: &millrace_vm::StateError) -> UserError {
    UserError::new(
        ErrorCode::CanisterWasmEngineError,
        format!("the host failed to {what}: {error}"),
    )
}
