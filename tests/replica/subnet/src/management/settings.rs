//! Validating and applying canister settings.

use super::{Caller, Reply, decode, encode, errors};
use crate::canister::Canister;
use crate::error::{ErrorCode, UserError};
use crate::run::Env;
use crate::subnet::Subnet;
use candid::{Nat, Principal};
use ic_management_canister_types::{
    CanisterSettings, ChangeDetails, ControllersChangeRecord, LogVisibility, SnapshotVisibility,
    UpdateSettingsArgs,
};
use std::collections::{BTreeMap, BTreeSet};

const VIEWERS_MAX: usize = 10;
const COMPUTE_PERCENT_MAX: u64 = 100;
const MEMORY_ALLOCATION_MAX: u64 = 1 << 50;
const LOG_BYTES_MAX: u64 = 2 << 20;

impl Subnet {
    pub(super) fn update_settings(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        payload: &[u8],
    ) -> Reply {
        let args: UpdateSettingsArgs = decode(payload)?;
        self.controlled(&caller.principal, &args.canister_id)?;
        let mut canister = self
            .canisters
            .remove(&args.canister_id)
            .expect("looked up just before");
        let old = canister.settings.clone();
        let applied = self.apply_settings(&mut canister, &args.settings);
        match applied {
            Err(_) => canister.settings = old,
            Ok(()) => {
                canister.version += 1;
                canister.update_low_memory_hook(&self.rules.limits);
                if args.settings.controllers.is_some() {
                    let controllers = canister.settings.controllers.iter().copied().collect();
                    canister.history.record(
                        env.time_ns,
                        canister.version,
                        caller.change_origin(args.sender_canister_version),
                        ChangeDetails::ControllersChange(ControllersChangeRecord { controllers }),
                        self.rules.limits.history_entries,
                    );
                }
            }
        }
        self.canisters.insert(args.canister_id, canister);
        applied.map(|()| encode(()))
    }

    /// Sets what is given; on an error the settings are in an unspecified mixture of old and new.
    pub(super) fn apply_settings(
        &self,
        canister: &mut Canister,
        new: &CanisterSettings,
    ) -> Result<(), UserError> {
        let limits = &self.rules.limits;
        if let Some(controllers) = &new.controllers {
            canister.settings.controllers = self.controllers(controllers)?;
        }
        if let Some(seconds) = &new.freezing_threshold {
            canister.settings.freezing_threshold_s =
                number(seconds, "freezing_threshold", u64::MAX)?;
        }
        if let Some(cycles) = &new.reserved_cycles_limit {
            canister.settings.reserved_cycles_limit = super::cycles_from(cycles)?;
        }
        if let Some(visibility) = &new.log_visibility {
            if let LogVisibility::AllowedViewers(viewers) = visibility {
                check_viewers(viewers.len())?;
            }
            canister.settings.log_visibility = visibility.clone();
        }
        if let Some(visibility) = &new.snapshot_visibility {
            if let SnapshotVisibility::AllowedViewers(viewers) = visibility {
                check_viewers(viewers.len())?;
            }
            canister.settings.snapshot_visibility = visibility.clone();
        }
        if let Some(bytes) = &new.log_memory_limit {
            canister.settings.log_bytes = number(bytes, "log_memory_limit", LOG_BYTES_MAX)?;
        }
        if let Some(bytes) = &new.wasm_memory_limit {
            canister.settings.wasm_memory_limit =
                number(bytes, "wasm_memory_limit", limits.wasm_memory_bytes)?;
        }
        if let Some(bytes) = &new.wasm_memory_threshold {
            canister.settings.wasm_memory_threshold =
                number(bytes, "wasm_memory_threshold", u64::MAX)?;
        }
        if let Some(variables) = &new.environment_variables {
            let pairs = variables
                .iter()
                .map(|variable| (&variable.name, &variable.value));
            canister.settings.environment = self.environment(pairs)?;
        }
        self.apply_allocations(canister, new)
    }

    fn controllers(&self, controllers: &[Principal]) -> Result<BTreeSet<Principal>, UserError> {
        let limit = self.rules.limits.controllers;
        if controllers.len() as u64 > limit {
            return Err(UserError::new(
                ErrorCode::InvalidManagementPayload,
                format!(
                    "Error decoding candid: Deserialize error: The number of elements exceeds maximum allowed {limit}"
                ),
            ));
        }
        Ok(controllers.iter().copied().collect())
    }

    fn environment<'a>(
        &self,
        variables: impl Iterator<Item = (&'a String, &'a String)>,
    ) -> Result<BTreeMap<String, String>, UserError> {
        let invalid = |text: String| UserError::new(ErrorCode::InvalidManagementPayload, text);
        let limits = &self.rules.limits;
        let mut environment = BTreeMap::new();
        let mut count = 0_u64;
        for (name, value) in variables {
            count += 1;
            if name.len() as u64 > limits.environment_variable_bytes {
                return Err(invalid(format!(
                    "Environment variable name \"{name}\" exceeds the maximum allowed length of {}.",
                    limits.environment_variable_bytes
                )));
            }
            if value.len() as u64 > limits.environment_variable_bytes {
                return Err(invalid(format!(
                    "Environment variable value \"{value}\" exceeds the maximum allowed length of {}.",
                    limits.environment_variable_bytes
                )));
            }
            if environment.insert(name.clone(), value.clone()).is_some() {
                return Err(errors::invalid_settings(&format!(
                    "Environment variable \"{name}\" is given more than once."
                )));
            }
        }
        if count > limits.environment_variables {
            return Err(invalid(format!(
                "Too many environment variables: {count} (max: {})",
                limits.environment_variables
            )));
        }
        Ok(environment)
    }

    /// Reserves compute and memory, which the subnet must have and the canister must afford.
    fn apply_allocations(
        &self,
        canister: &mut Canister,
        new: &CanisterSettings,
    ) -> Result<(), UserError> {
        let (limits, fees) = (&self.rules.limits, &self.rules.fees);
        if let Some(percent) = &new.compute_allocation {
            let percent = u64::try_from(&percent.0).unwrap_or(u64::MAX);
            if percent > COMPUTE_PERCENT_MAX {
                return Err(UserError::new(
                    ErrorCode::CanisterContractViolation,
                    format!(
                        "ComputeAllocation expected to be in the range [0..{COMPUTE_PERCENT_MAX}], got {percent}"
                    ),
                ));
            }
            let reserved: u64 = self
                .canisters
                .values()
                .map(|c| c.settings.compute_percent)
                .sum();
            let available = limits.compute_capacity_percent.saturating_sub(reserved);
            if percent > canister.settings.compute_percent && percent > available {
                return Err(errors::compute_oversubscribed(percent, available));
            }
            let grown = percent > canister.settings.compute_percent;
            canister.settings.compute_percent = percent;
            let needed = canister.freezing_balance(limits, fees);
            if grown && canister.balance < needed {
                return Err(errors::allocation_unpaid(
                    ErrorCode::InsufficientCyclesInComputeAllocation,
                    "compute allocation",
                    &format!("{percent}%"),
                    needed - canister.balance,
                ));
            }
        }
        if let Some(bytes) = &new.memory_allocation {
            let bytes = number(bytes, "memory_allocation", MEMORY_ALLOCATION_MAX)?;
            let available = limits
                .subnet_memory_bytes
                .saturating_sub(self.memory_used());
            let grown = bytes.saturating_sub(canister.charged_bytes(limits));
            if grown > available {
                return Err(errors::memory_oversubscribed(grown, available));
            }
            canister.settings.memory_allocation = bytes;
            let needed = canister.freezing_balance(limits, fees);
            if grown > 0 && canister.balance < needed {
                return Err(errors::allocation_unpaid(
                    ErrorCode::InsufficientCyclesInMemoryAllocation,
                    "memory allocation",
                    &bytes.to_string(),
                    needed - canister.balance,
                ));
            }
        }
        Ok(())
    }
}

/// Reads a number of at most `max`.
fn number(value: &Nat, setting: &str, max: u64) -> Result<u64, UserError> {
    match u64::try_from(&value.0) {
        Ok(number) if number <= max => Ok(number),
        _ => Err(UserError::new(
            ErrorCode::CanisterContractViolation,
            format!("{setting} expected to be in the range of [0..{max}], got {value}"),
        )),
    }
}

fn check_viewers(count: usize) -> Result<(), UserError> {
    if count > VIEWERS_MAX {
        return Err(UserError::new(
            ErrorCode::InvalidManagementPayload,
            format!(
                "Error decoding candid: Deserialize error: The number of elements exceeds maximum allowed {VIEWERS_MAX}"
            ),
        ));
    }
    Ok(())
}
