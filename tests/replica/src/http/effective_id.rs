//! The rule that a request's URL must name the canister (or subnet) the request is about
//! (interface spec, "Effective canister id").

use super::errors::TextError;
use crate::instance::state_tree::Scope;
use axum::http::StatusCode;
use candid::{CandidType, Deserialize, Principal};
use millrace_vm::decode_candid;

/// Management methods that any canister id of the wanted subnet may be effective for.
const FREE_METHODS: [&str; 4] = [
    "provisional_create_canister_with_cycles",
    "create_canister",
    "raw_rand",
    "list_canisters",
];

#[derive(CandidType, Deserialize)]
struct AboutCanister {
    canister_id: Principal,
}

#[derive(CandidType, Deserialize)]
struct AboutTarget {
    target_canister: Principal,
}

/// Checks that the request to `method` of `canister_id` belongs under the URL's `scope`.
///
/// # Errors
/// HTTP 400 naming both ids.
pub fn check(
    scope: Scope,
    canister_id: Principal,
    method: &str,
    arg: &[u8],
) -> Result<(), TextError> {
    let to_management = canister_id == Principal::management_canister();
    let effective = match scope {
        Scope::Canister(id) => id,
        Scope::Subnet(_) if to_management => return Ok(()),
        Scope::Subnet(id) => {
            return Err(mismatch(format!(
                "a request to canister {canister_id} cannot be sent to subnet {id}: only the \
                 management canister is addressed by subnet"
            )));
        }
    };
    let about = if to_management {
        management_target(method, arg)
    } else {
        Some(canister_id)
    };
    match about {
        Some(id) if id != effective => Err(mismatch(format!(
            "Specified CanisterId {id} does not match effective canister id in URL {effective}"
        ))),
        _ => Ok(()),
    }
}

/// Returns the canister a management call is about, when its method and argument say so. What cannot
/// be decoded is left to the management canister, which names the error.
fn management_target(method: &str, arg: &[u8]) -> Option<Principal> {
    if FREE_METHODS.contains(&method) {
        return None;
    }
    if method == "install_chunked_code" {
        return decode_candid::<AboutTarget>(arg)
            .ok()
            .map(|about| about.target_canister);
    }
    decode_candid::<AboutCanister>(arg)
        .ok()
        .map(|about| about.canister_id)
}

fn mismatch(message: String) -> TextError {
    TextError::new(StatusCode::BAD_REQUEST, message)
}

#[cfg(test)]
#[path = "effective_id_tests.rs"]
mod tests;
