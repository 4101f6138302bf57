//! Logs, module metadata and subnet information; and the methods that may be called as queries.

use super::{Caller, Reply, decode, encode, errors};
use crate::canister::Canister;
use crate::error::{ErrorCode, UserError};
use crate::subnet::Subnet;
use candid::Principal;
use ic_management_canister_types::{
    CanisterMetadataArgs, CanisterMetadataResult, FetchCanisterLogsArgs, FetchCanisterLogsResult,
    LogVisibility, SubnetInfoResult,
};

/// Answers a query call of the management canister.
pub(crate) fn query_management(
    subnet: &mut Subnet,
    sender: &Principal,
    method: &str,
    payload: &[u8],
) -> Reply {
    match method {
        "fetch_canister_logs" => subnet.fetch_canister_logs(sender, payload),
        "canister_status" => subnet.canister_status(sender, payload),
        "list_canister_snapshots" => {
            let origin = crate::message::Origin::SystemTask;
            let caller = Caller {
                origin: &origin,
                principal: *sender,
                cycles: 0,
            };
            subnet.list_snapshots(&caller, payload)
        }
        method => Err(UserError::new(
            ErrorCode::CanisterMethodNotFound,
            format!("Query method {method} not found."),
        )),
    }
}

impl Subnet {
    fn fetch_canister_logs(&mut self, caller: &Principal, payload: &[u8]) -> Reply {
        let args: FetchCanisterLogsArgs = decode(payload)?;
        let canister = self.canister_mut(&args.canister_id)?;
        if !may_read_logs(canister, caller) {
            return Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                format!("Caller {caller} is not allowed to access canister logs"),
            ));
        }
        let canister_log_records = canister.log.select(args.filter.as_ref());
        Ok(encode((FetchCanisterLogsResult {
            canister_log_records,
        },)))
    }

    /// Serves canisters; users read logs by query.
    pub(super) fn fetch_canister_logs_update(
        &mut self,
        caller: &Caller<'_>,
        payload: &[u8],
    ) -> Reply {
        if caller.is_user() {
            return Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                "fetch_canister_logs API is only accessible to users in non-replicated mode",
            ));
        }
        self.fetch_canister_logs(&caller.principal, payload)
    }

    pub(super) fn canister_metadata(&mut self, caller: &Caller<'_>, payload: &[u8]) -> Reply {
        if caller.is_user() {
            return Err(errors::not_for_users("canister_metadata"));
        }
        let args: CanisterMetadataArgs = decode(payload)?;
        let canister = self.canister_mut(&args.canister_id)?;
        let is_controller = canister.is_controller(&caller.principal);
        let Some(code) = &canister.code else {
            return Err(missing_metadata(&format!(
                "The canister {} has no Wasm module and hence no metadata.",
                args.canister_id
            )));
        };
        let section = code
            .module()
            .custom_sections()
            .iter()
            .find(|section| section.name == args.name);
        match section {
            Some(section) if section.public || is_controller => {
                Ok(encode((CanisterMetadataResult {
                    value: section.content.clone(),
                },)))
            }
            _ => Err(missing_metadata(&format!(
                "The canister {} has no metadata section with the name {}.",
                args.canister_id, args.name
            ))),
        }
    }

    pub(super) fn subnet_info(&mut self, caller: &Caller<'_>) -> Reply {
        if caller.is_user() {
            return Err(errors::not_for_users("subnet_info"));
        }
        let replica_version = concat!("millrace-", env!("CARGO_PKG_VERSION")).to_owned();
        Ok(encode((SubnetInfoResult {
            replica_version,
            registry_version: 1,
        },)))
    }
}

fn missing_metadata(text: &str) -> UserError {
    UserError::new(ErrorCode::CanisterRejectedMessage, text)
}

fn may_read_logs(canister: &Canister, caller: &Principal) -> bool {
    match &canister.settings.log_visibility {
        LogVisibility::Public => true,
        LogVisibility::Controllers => canister.is_controller(caller),
        LogVisibility::AllowedViewers(viewers) => {
            viewers.contains(caller) || canister.is_controller(caller)
        }
    }
}
