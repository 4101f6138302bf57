//! Users' messages on their way in: the ingress filter, induction and expiry.

use crate::error::{ErrorCode, UserError};
use crate::ingress::{Ingress, IngressState, IngressStatus, MessageId};
use crate::message::{ManagementCall, Origin, QueuedIngress};
use crate::outcome::trapped;
use crate::routing::named_canister;
use crate::run::{Env, Round, Run, Scene, message_facts, run_throw_away, vm_limits};
use crate::subnet::Subnet;
use crate::topology::CanisterId;
use crate::usage::MessageKind;
use candid::Principal;
use millrace_vm as vm;

/// What an ingress message may ask of the management canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Anybody may call it.
    Anybody,
    /// Only controllers of the canister it names.
    Controllers,
    /// Only canisters may call it.
    Canisters,
}

fn access(method: &str) -> Option<Access> {
    Some(match method {
        "provisional_create_canister_with_cycles" | "provisional_top_up_canister" => {
            Access::Anybody
        }
        "canister_status"
        | "clear_chunk_store"
        | "delete_canister"
        | "delete_canister_snapshot"
        | "install_chunked_code"
        | "install_code"
        | "list_canister_snapshots"
        | "load_canister_snapshot"
        | "start_canister"
        | "stop_canister"
        | "stored_chunks"
        | "take_canister_snapshot"
        | "uninstall_code"
        | "update_settings"
        | "upload_chunk" => Access::Controllers,
        "bitcoin_get_balance"
        | "bitcoin_get_block_headers"
        | "bitcoin_get_current_fee_percentiles"
        | "bitcoin_get_successors"
        | "bitcoin_get_utxos"
        | "bitcoin_send_transaction"
        | "bitcoin_send_transaction_internal"
        | "canister_info"
        | "canister_metadata"
        | "create_canister"
        | "deposit_cycles"
        | "ecdsa_public_key"
        | "fetch_canister_logs"
        | "http_request"
        | "flexible_http_request"
        | "node_metrics_history"
        | "raw_rand"
        | "schnorr_public_key"
        | "sign_with_ecdsa"
        | "sign_with_schnorr"
        | "subnet_info"
        | "vetkd_derive_key"
        | "vetkd_public_key" => Access::Canisters,
        _ => return None,
    })
}

impl Subnet {
    /// Checks a message as the IC does before it lets it in, and keeps it for the next round.
    pub(crate) fn admit(
        &mut self,
        env: &Env,
        id: MessageId,
        ingress: Ingress,
    ) -> Result<(), UserError> {
        let limits = &self.rules.limits;
        let bytes = ingress_bytes(&ingress);
        if bytes > limits.ingress_bytes {
            return Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                format!(
                    "Request {id} is too large. Message byte size {bytes} is larger than the max allowed {}.",
                    limits.ingress_bytes
                ),
            ));
        }
        let waiting = self.waiting_ingress_bytes();
        if waiting.saturating_add(bytes) > limits.ingress_pool_bytes {
            return Err(UserError::new(
                ErrorCode::IngressHistoryFull,
                format!(
                    "messages of {waiting} bytes wait to be executed already, and the limit is {}; retry after some rounds",
                    limits.ingress_pool_bytes
                ),
            ));
        }
        if ingress.canister_id == Principal::management_canister() {
            self.filter_management(&ingress)?;
        } else {
            self.filter_canister(env, &ingress)?;
        }
        let status = IngressStatus {
            sender: ingress.sender,
            receiver: ingress.canister_id,
            subnet: self.id(),
            state: IngressState::Received,
        };
        // Without an expiry a message could be sent again for ever.
        let expiry_ns = ingress.expiry_ns.unwrap_or(u64::MAX);
        self.state
            .history
            .insert(id, status, expiry_ns, env.time_ns, &self.rules.limits)?;
        self.state.pool_bytes += bytes;
        self.state.pool.push_back(ingress);
        Ok(())
    }

    /// Returns the bytes of users' messages that have not started: accepted or already inducted.
    fn waiting_ingress_bytes(&self) -> u64 {
        let queued: u64 = self
            .canisters
            .values()
            .map(|canister| canister.queues.ingress_bytes())
            .sum();
        let management: u64 = self
            .state
            .management_queue
            .iter()
            .filter(|call| matches!(call.origin, Origin::Ingress { .. }))
            .map(|call| (call.method.len() + call.payload.len()) as u64)
            .sum();
        self.state.pool_bytes + queued + management
    }

    fn filter_management(&self, ingress: &Ingress) -> Result<(), UserError> {
        let method = &ingress.method;
        match access(method) {
            None => Err(UserError::new(
                ErrorCode::CanisterMethodNotFound,
                format!("Management canister has no method '{method}'"),
            )),
            Some(Access::Canisters) => Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                format!("Only canisters can call ic00 method {method}"),
            )),
            Some(Access::Anybody) => Ok(()),
            Some(Access::Controllers) => {
                let id = named_canister(method, &ingress.payload).ok_or_else(|| {
                    UserError::new(
                        ErrorCode::InvalidManagementPayload,
                        format!(
                            "Error decoding candid: the argument of {method} names no canister"
                        ),
                    )
                })?;
                let canister = self.canisters.get(&id).ok_or_else(|| not_found(&id))?;
                if !canister.is_controller(&ingress.sender) {
                    return Err(UserError::new(
                        ErrorCode::CanisterInvalidController,
                        format!("Only controllers of canister {id} can call ic00 method {method}"),
                    ));
                }
                self.check_payment(&id, ingress)
            }
        }
    }

    fn filter_canister(&mut self, env: &Env, ingress: &Ingress) -> Result<(), UserError> {
        let id = ingress.canister_id;
        let canister = self.canisters.get(&id).ok_or_else(|| not_found(&id))?;
        if let Some(error) = canister.not_running() {
            return Err(error);
        }
        self.check_payment(&id, ingress)?;
        let canister = self.canisters.get_mut(&id).ok_or_else(|| not_found(&id))?;
        if canister.queues.ingress_len() >= self.rules.limits.ingress_queue {
            return Err(UserError::new(
                ErrorCode::CanisterQueueFull,
                format!("Canister {id} input queue is full"),
            ));
        }
        let Some(code) = &canister.code else {
            return Err(UserError::new(
                ErrorCode::CanisterWasmModuleNotFound,
                "Requested canister has no wasm module",
            ));
        };
        if !code.module().exports().inspect_message {
            return Ok(());
        }
        let mut message = message_facts(
            &Origin::Ingress {
                sender: ingress.sender,
                id: MessageId([0; 32]),
                caller_info: ingress.caller_info.clone(),
            },
            ingress.payload.clone(),
            0,
            false,
            0,
        );
        message.method_name.clone_from(&ingress.method);
        let run = Run {
            entry: vm::EntryPoint::InspectMessage,
            mode: vm::Mode::NonReplicated,
            kind: MessageKind::InspectMessage,
            method: ingress.method.clone(),
            message,
            limits: vm_limits(
                &self.rules,
                canister,
                self.rules.limits.inspect_instructions,
            ),
            certificate: None,
        };
        let round = Round {
            number: self.state.round,
            memory_available: u64::MAX,
        };
        let output = run_throw_away(
            Scene {
                env,
                rules: &self.rules,
                round,
            },
            canister,
            run,
        );
        match output.result {
            Err(trap) => Err(trapped(&id, &trap)),
            Ok(effects) if effects.message_accepted => Ok(()),
            Ok(_) => Err(UserError::new(
                ErrorCode::CanisterRejectedMessage,
                "Canister rejected the message",
            )),
        }
    }

    /// Checks that the canister could pay for taking the message in now.
    fn check_payment(&self, id: &CanisterId, ingress: &Ingress) -> Result<(), UserError> {
        let canister = self.canisters.get(id).ok_or_else(|| not_found(id))?;
        let price = self.rules.fees.ingress(ingress_bytes(ingress));
        let needed =
            price.saturating_add(canister.freezing_balance(&self.rules.limits, &self.rules.fees));
        if price > 0 && canister.balance < needed {
            let missing = needed - canister.balance;
            let reveal = canister.is_controller(&ingress.sender);
            return Err(crate::canister::out_of_cycles(id, missing, reveal));
        }
        Ok(())
    }

    /// Moves accepted messages into the queues, as many as one block holds.
    pub(crate) fn induct_ingress(&mut self, env: &Env) {
        let (mut messages, mut bytes) = (0_u64, 0_u64);
        while let Some(next) = self.state.pool.front() {
            let next_bytes = ingress_bytes(next);
            messages += 1;
            bytes += next_bytes;
            let full = messages > self.rules.limits.ingress_round_messages
                || (messages > 1 && bytes > self.rules.limits.ingress_round_bytes);
            if full {
                return;
            }
            let Some(ingress) = self.state.pool.pop_front() else {
                return;
            };
            self.state.pool_bytes = self.state.pool_bytes.saturating_sub(next_bytes);
            let id = ingress
                .message_id
                .expect("admission gives every message its id");
            if let Err(error) = self.induct(env, id, ingress) {
                self.set_ingress_state(env, id, IngressState::Rejected(error));
            }
        }
    }

    fn induct(&mut self, env: &Env, id: MessageId, ingress: Ingress) -> Result<(), UserError> {
        let expiry_ns = ingress.expiry_ns.unwrap_or(u64::MAX);
        if expiry_ns < env.time_ns {
            return Err(timed_out());
        }
        let is_management = ingress.canister_id == Principal::management_canister();
        let payer = if is_management {
            named_canister(&ingress.method, &ingress.payload)
                .filter(|_| access(&ingress.method) == Some(Access::Controllers))
        } else {
            Some(ingress.canister_id)
        };
        if let Some(payer) = payer {
            let price = self.rules.fees.ingress(ingress_bytes(&ingress));
            let canister = self
                .canisters
                .get_mut(&payer)
                .ok_or_else(|| not_found(&payer))?;
            let reveal = canister.is_controller(&ingress.sender);
            canister.withdraw(price, &self.rules.limits, &self.rules.fees, reveal)?;
            canister.consumed = canister.consumed.saturating_add(price);
        }
        if is_management {
            self.state.management_queue.push_back(ManagementCall {
                origin: Origin::Ingress {
                    sender: ingress.sender,
                    id,
                    caller_info: ingress.caller_info,
                },
                method: ingress.method,
                payload: ingress.payload,
                cycles: 0,
                expiry_ns,
            });
            return Ok(());
        }
        let target = ingress.canister_id;
        let canister = self
            .canisters
            .get_mut(&target)
            .ok_or_else(|| not_found(&target))?;
        if let Some(error) = canister.not_running() {
            return Err(error);
        }
        canister.queues.push_ingress(QueuedIngress {
            id,
            sender: ingress.sender,
            caller_info: ingress.caller_info,
            method: ingress.method,
            payload: ingress.payload,
            expiry_ns,
        });
        Ok(())
    }

    /// Rejects messages that expired before they started.
    pub(crate) fn expire_ingress(&mut self, env: &Env) {
        let mut expired = Vec::new();
        for canister in self.canisters.values_mut() {
            expired.extend(
                canister
                    .queues
                    .expire_ingress(env.time_ns)
                    .into_iter()
                    .map(|m| m.id),
            );
        }
        self.state
            .management_queue
            .retain(|call| match call.origin {
                Origin::Ingress { id, .. } if call.expiry_ns < env.time_ns => {
                    expired.push(id);
                    false
                }
                _ => true,
            });
        for id in expired {
            self.set_ingress_state(env, id, IngressState::Rejected(timed_out()));
        }
    }
}

/// Longest method name: what the IC lets a module export.
const METHOD_NAME_BYTES_MAX: usize = 20_000;

/// Refuses method names that no module could export, before anything keeps them.
pub(crate) fn check_method_name(method: &str) -> Result<(), UserError> {
    if method.len() <= METHOD_NAME_BYTES_MAX {
        return Ok(());
    }
    Err(UserError::new(
        ErrorCode::CanisterMethodNotFound,
        format!(
            "the method name has {} bytes, more than the limit of {METHOD_NAME_BYTES_MAX}",
            method.len()
        ),
    ))
}

fn not_found(id: &CanisterId) -> UserError {
    UserError::new(
        ErrorCode::CanisterNotFound,
        format!("Canister {id} not found"),
    )
}

fn timed_out() -> UserError {
    UserError::new(
        ErrorCode::IngressMessageTimeout,
        "Ingress message timed out.",
    )
}

/// Returns the bytes that taking a message in is charged for.
fn ingress_bytes(ingress: &Ingress) -> u64 {
    (ingress.method.len() + ingress.payload.len()) as u64
}
