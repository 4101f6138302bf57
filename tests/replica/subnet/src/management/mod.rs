//! The management canister `aaaaa-aa` of one subnet: dispatch of its methods.

mod chunks;
mod errors;
mod install;
mod lifecycle;
mod metadata;
mod settings;
mod snapshot_files;
mod snapshots;
mod status;

pub(crate) use errors::see_documentation;
pub(crate) use metadata::query_management;
pub(crate) use snapshots::{Snapshot, SnapshotRecord};

use crate::error::{ErrorCode, UserError};
use crate::message::{ManagementCall, Origin};
use crate::run::Env;
use crate::subnet::Subnet;
use crate::topology::CanisterId;
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use ic_management_canister_types::{
    ChangeOrigin, FromCanisterRecord, FromUserRecord, ProvisionalTopUpCanisterArgs,
};
use serde::de::DeserializeOwned;

/// What a management call came to.
pub(crate) enum Outcome {
    /// Answered; `refund` of its cycles goes back.
    Done {
        result: Result<Vec<u8>, UserError>,
        refund: u128,
    },
    /// Answered later.
    Deferred,
}

/// What executing a management call used.
#[derive(Default)]
pub(crate) struct ManagementUsage {
    pub(crate) instructions: u64,
    pub(crate) heap_delta: u64,
}

type Reply = Result<Vec<u8>, UserError>;

/// The parts of a management call that handlers look at.
pub(super) struct Caller<'a> {
    pub(super) origin: &'a Origin,
    pub(super) principal: Principal,
    pub(super) cycles: u128,
}

impl Caller<'_> {
    pub(super) const fn is_user(&self) -> bool {
        matches!(self.origin, Origin::Ingress { .. })
    }

    /// Returns the caller as the canister history names it.
    pub(super) fn change_origin(&self, sender_canister_version: Option<u64>) -> ChangeOrigin {
        if self.is_user() {
            ChangeOrigin::FromUser(FromUserRecord {
                user_id: self.principal,
            })
        } else {
            ChangeOrigin::FromCanister(FromCanisterRecord {
                canister_id: self.principal,
                canister_version: sender_canister_version,
            })
        }
    }
}

pub(crate) fn decode<T: CandidType + DeserializeOwned>(payload: &[u8]) -> Result<T, UserError> {
    millrace_vm::decode_candid(payload).map_err(|error| {
        UserError::new(
            ErrorCode::InvalidManagementPayload,
            format!("Error decoding candid: {error:#}"),
        )
    })
}

pub(super) fn encode<T: ArgumentEncoder>(values: T) -> Vec<u8> {
    candid::encode_args(values).expect("management replies are plain Candid values")
}

/// Reads an amount of cycles.
pub(super) fn cycles_from(amount: &candid::Nat) -> Result<u128, UserError> {
    u128::try_from(&amount.0).map_err(|_| {
        UserError::new(
            ErrorCode::InvalidManagementPayload,
            format!("Error decoding candid: {amount} cycles do not fit 128 bits"),
        )
    })
}

/// Executes one management call and answers it unless its answer comes later.
pub(crate) fn execute_management_call(
    env: &Env,
    subnet: &mut Subnet,
    call: ManagementCall,
) -> ManagementUsage {
    let mut usage = ManagementUsage::default();
    let origin = call.origin.clone();
    match dispatch(env, subnet, call, &mut usage) {
        Outcome::Deferred => {
            if let Origin::Ingress { id, .. } = origin {
                subnet.set_ingress_state(env, id, crate::ingress::IngressState::Processing);
            }
        }
        Outcome::Done { result, refund } => subnet.respond(env, &origin, result, refund),
    }
    usage
}

fn dispatch(
    env: &Env,
    subnet: &mut Subnet,
    call: ManagementCall,
    usage: &mut ManagementUsage,
) -> Outcome {
    // Methods whose answer comes later, or that keep cycles, say so themselves.
    match call.method.as_str() {
        "stop_canister" => return subnet.stop_canister(env, call),
        "raw_rand"
        | "bitcoin_get_successors"
        | "bitcoin_send_transaction_internal"
        | "http_request"
        | "flexible_http_request"
            if matches!(call.origin, Origin::Ingress { .. }) =>
        {
            return done(Err(errors::not_for_users(&call.method)), &call);
        }
        "raw_rand" => {
            subnet.state.random_calls.push(call);
            return Outcome::Deferred;
        }
        "bitcoin_get_successors" | "bitcoin_send_transaction_internal" => {
            return subnet.ask_the_bitcoin_adapter(env, call);
        }
        "http_request" | "flexible_http_request" => return subnet.ask_the_web(env, call),
        "create_canister" => {
            let (result, refund) = subnet.create_canister(env, &call);
            return Outcome::Done { result, refund };
        }
        "deposit_cycles" => {
            let result = subnet.deposit_cycles(&call);
            let refund = if result.is_ok() { 0 } else { call.cycles };
            return Outcome::Done { result, refund };
        }
        _ => {}
    }
    let caller = Caller {
        origin: &call.origin,
        principal: call.origin.caller(),
        cycles: call.cycles,
    };
    let payload = &call.payload;
    let result = match call.method.as_str() {
        "provisional_create_canister_with_cycles" => {
            subnet.create_provisionally(env, &caller, payload)
        }
        "provisional_top_up_canister" => subnet.top_up_provisionally(payload),
        "install_code" => subnet.install_code(env, &caller, payload, usage),
        "install_chunked_code" => subnet.install_chunked_code(env, &caller, payload, usage),
        "uninstall_code" => subnet.uninstall_code(env, &caller, payload),
        "upload_chunk" => subnet.upload_chunk(&caller, payload, usage),
        "clear_chunk_store" => subnet.clear_chunk_store(&caller, payload),
        "stored_chunks" => subnet.stored_chunks(&caller, payload),
        "start_canister" => subnet.start_canister(env, &caller, payload),
        "delete_canister" => subnet.delete_canister(env, &caller, payload),
        "update_settings" => subnet.update_settings(env, &caller, payload),
        "canister_status" => subnet.canister_status(&caller.principal, payload),
        "canister_info" => subnet.canister_info(&caller, payload),
        "canister_metadata" => subnet.canister_metadata(&caller, payload),
        "fetch_canister_logs" => subnet.fetch_canister_logs_update(&caller, payload),
        "take_canister_snapshot" => subnet.take_snapshot(env, &caller, payload, usage),
        "load_canister_snapshot" => subnet.load_snapshot(env, &caller, payload, usage),
        "list_canister_snapshots" => subnet.list_snapshots(&caller, payload),
        "delete_canister_snapshot" => subnet.delete_snapshot(&caller, payload),
        "subnet_info" => subnet.subnet_info(&caller),
        method => Err(errors::unsupported(method)),
    };
    done(result, &call)
}

/// Returns the outcome of a method that keeps no cycles.
fn done(result: Reply, call: &ManagementCall) -> Outcome {
    Outcome::Done {
        result,
        refund: call.cycles,
    }
}

impl Subnet {
    fn deposit_cycles(&mut self, call: &ManagementCall) -> Reply {
        if matches!(call.origin, Origin::Ingress { .. }) {
            return Err(errors::not_for_users(&call.method));
        }
        let args: ic_management_canister_types::DepositCyclesArgs = decode(&call.payload)?;
        let canister = self.canister_mut(&args.canister_id)?;
        canister.balance = canister.balance.saturating_add(call.cycles);
        Ok(encode(()))
    }

    fn top_up_provisionally(&mut self, payload: &[u8]) -> Reply {
        let args: ProvisionalTopUpCanisterArgs = decode(payload)?;
        let amount = cycles_from(&args.amount)?;
        let canister = self.canister_mut(&args.canister_id)?;
        canister.balance = canister.balance.saturating_add(amount);
        Ok(encode(()))
    }

    pub(super) fn canister_mut(
        &mut self,
        id: &CanisterId,
    ) -> Result<&mut crate::canister::Canister, UserError> {
        self.canisters
            .get_mut(id)
            .ok_or_else(|| errors::not_found(id))
    }

    /// Returns the canister if the caller controls it.
    pub(super) fn controlled(
        &mut self,
        caller: &Principal,
        id: &CanisterId,
    ) -> Result<&mut crate::canister::Canister, UserError> {
        let canister = self.canister_mut(id)?;
        if canister.is_controller(caller) {
            Ok(canister)
        } else {
            Err(errors::invalid_controller(canister, caller))
        }
    }
}
