//! Which subnet a message goes to.

use crate::error::{ErrorCode, RejectCode, UserError};
use crate::ingress::EffectivePrincipal;
use crate::message::Request;
use crate::topology::{CanisterId, SubnetId, SubnetKind, SubnetSpec};
use candid::{CandidType, Deserialize, Principal};
use millrace_vm::decode_candid;
use serde::Serialize;

/// Subnets and their ids.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Routing {
    pub(crate) subnets: Vec<SubnetSpec>,
}

/// The field most management methods name their canister by.
#[derive(CandidType, Deserialize)]
struct CanisterIdField {
    canister_id: Principal,
}

#[derive(CandidType, Deserialize)]
struct TargetCanisterField {
    target_canister: Principal,
}

#[derive(CandidType, Deserialize)]
struct SpecifiedIdField {
    specified_id: Option<Principal>,
}

#[derive(CandidType, Deserialize)]
struct SubnetIdField {
    subnet_id: Principal,
}

/// Where a management method is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On the subnet of the canister it names.
    Canister,
    /// On the subnet of the canister `install_chunked_code` installs.
    TargetCanister,
    /// On the caller's subnet.
    Own,
    /// On the subnet it names.
    Subnet,
}

fn place(method: &str) -> Option<Place> {
    Some(match method {
        "canister_info"
        | "canister_metadata"
        | "canister_status"
        | "clear_chunk_store"
        | "delete_canister"
        | "delete_canister_snapshot"
        | "deposit_cycles"
        | "fetch_canister_logs"
        | "install_code"
        | "list_canister_snapshots"
        | "load_canister_snapshot"
        | "provisional_top_up_canister"
        | "start_canister"
        | "stop_canister"
        | "stored_chunks"
        | "take_canister_snapshot"
        | "uninstall_code"
        | "update_settings"
        | "upload_chunk"
        | "read_canister_snapshot_metadata"
        | "read_canister_snapshot_data"
        | "upload_canister_snapshot_metadata"
        | "upload_canister_snapshot_data" => Place::Canister,
        "install_chunked_code" => Place::TargetCanister,
        "create_canister"
        | "provisional_create_canister_with_cycles"
        | "raw_rand"
        | "bitcoin_get_successors"
        | "bitcoin_send_transaction_internal"
        | "http_request"
        | "flexible_http_request" => Place::Own,
        "node_metrics_history" | "subnet_info" => Place::Subnet,
        _ => return None,
    })
}

impl Routing {
    pub(crate) fn subnet_of(&self, id: &CanisterId) -> Option<SubnetId> {
        let owns = |spec: &&SubnetSpec| spec.ranges.iter().any(|range| range.contains(id));
        self.subnets.iter().find(owns).map(|spec| spec.id)
    }

    pub(crate) fn has_subnet(&self, id: &SubnetId) -> bool {
        self.subnets.iter().any(|spec| spec.id == *id)
    }

    /// Returns the id that stands for "anywhere": of the first application subnet if there is one.
    pub(crate) fn default_effective_canister_id(&self) -> CanisterId {
        let preferred = [
            SubnetKind::Application,
            SubnetKind::VerifiedApplication,
            SubnetKind::System,
        ];
        preferred
            .iter()
            .find_map(|kind| self.subnets.iter().find(|spec| spec.kind == *kind))
            .or_else(|| self.subnets.first())
            .and_then(|spec| spec.ranges.first())
            .map_or_else(Principal::management_canister, |range| range.first())
    }

    /// Returns the subnet that answers a user's message.
    pub(crate) fn route(
        &self,
        canister_id: &CanisterId,
        method: &str,
        payload: &[u8],
        effective: EffectivePrincipal,
    ) -> Result<SubnetId, UserError> {
        let is_management = *canister_id == Principal::management_canister();
        let provisional = is_management && method == "provisional_create_canister_with_cycles";
        let id = match effective {
            EffectivePrincipal::SubnetId(id) if self.has_subnet(&id) => return Ok(id),
            EffectivePrincipal::SubnetId(id) => {
                return Err(UserError::new(
                    ErrorCode::SubnetNotFound,
                    format!("Subnet {id} does not exist."),
                ));
            }
            EffectivePrincipal::CanisterId(id)
                if provisional && id == Principal::management_canister() =>
            {
                self.default_effective_canister_id()
            }
            EffectivePrincipal::CanisterId(id) => id,
            EffectivePrincipal::None if provisional => {
                specified_id(payload).unwrap_or_else(|| self.default_effective_canister_id())
            }
            EffectivePrincipal::None if is_management => named_canister(method, payload)
                .unwrap_or_else(|| self.default_effective_canister_id()),
            EffectivePrincipal::None => *canister_id,
        };
        self.subnet_of(&id).ok_or_else(|| {
            UserError::new(
                ErrorCode::CanisterNotFound,
                format!("Canister {id} does not belong to any subnet."),
            )
        })
    }

    /// Returns the subnet a canister's request goes to.
    pub(crate) fn route_request(
        &self,
        own: &SubnetId,
        request: &Request,
    ) -> Result<SubnetId, (RejectCode, String)> {
        if self.has_subnet(&request.receiver) {
            return Ok(request.receiver);
        }
        if request.receiver != Principal::management_canister() {
            return self.subnet_of(&request.receiver).ok_or_else(|| {
                (
                    RejectCode::DestinationInvalid,
                    format!("No route to canister {}", request.receiver),
                )
            });
        }
        let unroutable = |reason: &str| {
            let method = &request.method;
            let text = format!("Unable to route management canister request {method}: {reason}");
            (RejectCode::DestinationInvalid, text)
        };
        let canister = |id: Principal| {
            self.subnet_of(&id)
                .ok_or_else(|| unroutable(&format!("SubnetNotFound(CanisterId({id}))")))
        };
        let undecodable = || unroutable("UserError(InvalidManagementPayload)");
        match place(&request.method) {
            None => Err(unroutable(&format!("MethodNotFound({:?})", request.method))),
            Some(Place::Own) => Ok(*own),
            Some(Place::Canister) => {
                let field = decode_candid::<CanisterIdField>(&request.payload);
                canister(field.map_err(|_| undecodable())?.canister_id)
            }
            Some(Place::TargetCanister) => {
                let field = decode_candid::<TargetCanisterField>(&request.payload);
                canister(field.map_err(|_| undecodable())?.target_canister)
            }
            Some(Place::Subnet) => {
                let field = decode_candid::<SubnetIdField>(&request.payload);
                let id = field.map_err(|_| undecodable())?.subnet_id;
                if self.has_subnet(&id) {
                    Ok(id)
                } else {
                    Err(unroutable(&format!("SubnetNotFound({id})")))
                }
            }
        }
    }
}

/// Returns the id a provisional creation asks for.
pub(crate) fn specified_id(payload: &[u8]) -> Option<CanisterId> {
    decode_candid::<SpecifiedIdField>(payload)
        .ok()?
        .specified_id
}

/// Returns the canister a management call is about, which its effective canister id must be.
pub(crate) fn named_canister(method: &str, payload: &[u8]) -> Option<CanisterId> {
    match place(method)? {
        Place::Canister => Some(decode_candid::<CanisterIdField>(payload).ok()?.canister_id),
        Place::TargetCanister => Some(
            decode_candid::<TargetCanisterField>(payload)
                .ok()?
                .target_canister,
        ),
        Place::Own | Place::Subnet => None,
    }
}
