//! Creating, starting, stopping and deleting canisters.

use super::{Caller, Outcome, Reply, cycles_from, decode, encode, errors};
use crate::canister::{Canister, Status, StopRequest};
use crate::error::{ErrorCode, UserError};
use crate::ingress::IngressState;
use crate::message::{CanisterMessage, ManagementCall, Origin};
use crate::run::Env;
use crate::subnet::Subnet;
use crate::topology::{CanisterId, canister_id_from_number};
use candid::Principal;
use ic_management_canister_types::{
    CanisterIdRecord, CanisterSettings, ChangeDetails, CreateCanisterArgs, CreationRecord,
    ProvisionalCreateCanisterWithCyclesArgs,
};

/// A canister to be created.
struct Creation {
    id: Option<CanisterId>,
    balance: u128,
    fee: u128,
    settings: Option<CanisterSettings>,
    sender_canister_version: Option<u64>,
}

impl Subnet {
    /// Creates a canister with a call's cycles; returns the answer and the refund.
    pub(super) fn create_canister(&mut self, env: &Env, call: &ManagementCall) -> (Reply, u128) {
        if matches!(call.origin, Origin::Ingress { .. }) {
            return (Err(errors::not_for_users(&call.method)), call.cycles);
        }
        let caller = Caller {
            origin: &call.origin,
            principal: call.origin.caller(),
            cycles: call.cycles,
        };
        let fee = self.rules.fees.creation();
        if call.cycles < fee {
            return (Err(errors::creation_unpaid(call.cycles, fee)), call.cycles);
        }
        let args = if call.payload.is_empty() {
            Ok(CreateCanisterArgs::default())
        } else {
            decode::<CreateCanisterArgs>(&call.payload)
        };
        let created = args.and_then(|args| {
            let creation = Creation {
                id: None,
                balance: call.cycles - fee,
                fee,
                settings: args.settings,
                sender_canister_version: args.sender_canister_version,
            };
            self.create(env, &caller, creation)
        });
        let refund = if created.is_ok() { 0 } else { caller.cycles };
        (created, refund)
    }

    /// Creates a canister with cycles out of nowhere, for tests and local development.
    pub(super) fn create_provisionally(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        payload: &[u8],
    ) -> Reply {
        let args: ProvisionalCreateCanisterWithCyclesArgs = decode(payload)?;
        let balance = match &args.amount {
            Some(amount) => cycles_from(amount)?,
            None => self.rules.limits.provisional_cycles,
        };
        let creation = Creation {
            id: args.specified_id,
            balance,
            fee: 0,
            settings: args.settings,
            sender_canister_version: args.sender_canister_version,
        };
        self.create(env, caller, creation)
    }

    fn create(&mut self, env: &Env, caller: &Caller<'_>, creation: Creation) -> Reply {
        let limit = self.rules.limits.canisters;
        if self.canisters.len() as u64 >= limit {
            return Err(errors::too_many_canisters(&self.id(), limit));
        }
        let id = match creation.id {
            Some(id) => self.check_specified_id(id)?,
            None => self.free_id().ok_or_else(errors::out_of_ids)?,
        };
        let mut canister = Canister::new(id, caller.principal, &self.rules.limits);
        canister.balance = creation.balance;
        canister.consumed = creation.fee;
        if let Some(settings) = &creation.settings {
            self.apply_settings(&mut canister, settings)?;
        }
        let record = CreationRecord {
            controllers: canister.settings.controllers.iter().copied().collect(),
            environment_variables_hash: None,
        };
        canister.history.record(
            env.time_ns,
            canister.version,
            caller.change_origin(creation.sender_canister_version),
            ChangeDetails::Creation(record),
            self.rules.limits.history_entries,
        );
        self.canisters.insert(id, canister);
        Ok(encode((CanisterIdRecord { canister_id: id },)))
    }

    fn check_specified_id(&self, id: CanisterId) -> Result<CanisterId, UserError> {
        if !self
            .rules
            .spec
            .ranges
            .iter()
            .any(|range| range.contains(&id))
        {
            return Err(errors::id_not_hosted(&id, &self.id()));
        }
        if self.canisters.contains_key(&id) {
            return Err(errors::id_exists(&id));
        }
        Ok(id)
    }

    /// Returns the next id of the subnet's ranges that was never given out.
    ///
    /// The search goes on from where the last one ended, so ids of deleted canisters are not reused.
    fn free_id(&mut self) -> Option<CanisterId> {
        let (first_range, mut number) = match self.state.next_canister {
            Some(position) => position,
            None => (0, self.rules.spec.ranges.first()?.first_number()),
        };
        for (index, range) in self.rules.spec.ranges.iter().enumerate().skip(first_range) {
            if index > first_range {
                number = range.first_number();
            }
            while number <= range.last_number() {
                let id = canister_id_from_number(number);
                number += 1;
                if !self.canisters.contains_key(&id) {
                    self.state.next_canister = Some((index, number));
                    return Some(id);
                }
            }
        }
        None
    }

    pub(super) fn start_canister(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        payload: &[u8],
    ) -> Reply {
        let args: CanisterIdRecord = decode(payload)?;
        let canister = self.controlled(&caller.principal, &args.canister_id)?;
        canister.version += 1;
        let id = canister.id;
        let status = std::mem::take(&mut canister.status);
        if let Status::Stopping(requests) = status {
            for request in requests {
                let error = UserError::new(
                    ErrorCode::CanisterStoppingCancelled,
                    format!("Canister {id}'s stop request was cancelled."),
                );
                self.respond(env, &request.origin, Err(error), request.cycles);
            }
        }
        Ok(encode(()))
    }

    /// Stops a canister, at once when it has no open call contexts.
    pub(super) fn stop_canister(&mut self, env: &Env, call: ManagementCall) -> Outcome {
        let caller = call.origin.caller();
        let canister = decode::<CanisterIdRecord>(&call.payload)
            .and_then(|args| self.controlled(&caller, &args.canister_id));
        let canister = match canister {
            Ok(canister) => canister,
            Err(error) => {
                return Outcome::Done {
                    result: Err(error),
                    refund: call.cycles,
                };
            }
        };
        let request = StopRequest {
            origin: call.origin,
            cycles: call.cycles,
            since_ns: env.time_ns,
        };
        match &mut canister.status {
            Status::Stopped => {
                return Outcome::Done {
                    result: Ok(encode(())),
                    refund: request.cycles,
                };
            }
            Status::Stopping(requests) => requests.push(request),
            Status::Running => canister.status = Status::Stopping(vec![request]),
        }
        canister.version += 1;
        Outcome::Deferred
    }

    /// Completes stops that wait for nothing more, and gives up those that waited too long.
    pub(crate) fn process_stopping_canisters(&mut self, env: &Env) {
        let timeout_ns = self.rules.limits.stop_timeout_ns;
        let mut answers = Vec::new();
        for canister in self.canisters.values_mut() {
            let Status::Stopping(requests) = &mut canister.status else {
                continue;
            };
            if canister.contexts.is_empty() {
                answers.extend(requests.drain(..).map(|request| (request, Ok(encode(())))));
                canister.status = Status::Stopped;
                canister.version += 1;
                continue;
            }
            let timed_out = |request: &mut StopRequest| {
                request.since_ns.saturating_add(timeout_ns) <= env.time_ns
            };
            for request in requests.extract_if(.., timed_out) {
                let error = UserError::new(
                    ErrorCode::StopCanisterRequestTimeout,
                    "Stop canister request timed out",
                );
                answers.push((request, Err(error)));
            }
        }
        for (request, result) in answers {
            self.respond(env, &request.origin, result, request.cycles);
        }
    }

    pub(super) fn delete_canister(
        &mut self,
        env: &Env,
        caller: &Caller<'_>,
        payload: &[u8],
    ) -> Reply {
        let args: CanisterIdRecord = decode(payload)?;
        let id = args.canister_id;
        if caller.principal == id {
            return Err(errors::delete_self(&id));
        }
        let canister = self.controlled(&caller.principal, &id)?;
        if canister.status != Status::Stopped {
            return Err(errors::delete_not_stopped(&id));
        }
        if canister.queues.has_canister_messages() {
            return Err(errors::delete_queue_not_empty(&id));
        }
        if let Some(mut canister) = self.canisters.remove(&id) {
            for message in canister.queues.drain_ingress() {
                let error = errors::not_found(&id);
                self.set_ingress_state(env, message.id, IngressState::Rejected(error));
            }
            // What is left of its balance is lost with it.
            self.state.consumed_by_deleted = self
                .state
                .consumed_by_deleted
                .saturating_add(canister.consumed)
                .saturating_add(canister.balance);
        }
        self.snapshots
            .retain(|_, snapshot| snapshot.record.canister_id != id);
        Ok(encode(()))
    }

    /// Removes a canister's code and memories and rejects what it has not answered.
    pub(crate) fn uninstall(&mut self, env: &Env, id: &CanisterId) {
        let Some(canister) = self.canisters.get_mut(id) else {
            return;
        };
        canister.code = None;
        canister.certified_data.clear();
        canister.global_timer_ns = 0;
        canister.low_memory_hook = crate::canister::LowMemoryHook::default();
        canister.chunks.chunks.clear();
        canister.log.clear();
        canister.version += 1;
        let mut unanswered: Vec<(Origin, u128)> = Vec::new();
        for context in canister.contexts.iter_mut() {
            context.deleted = true;
            if !context.responded {
                context.responded = true;
                unanswered.push((context.origin.clone(), std::mem::take(&mut context.cycles)));
            }
        }
        canister.contexts.drop_done();
        for (origin, refund) in unanswered {
            let error = UserError::new(
                ErrorCode::CanisterRejectedMessage,
                "Canister has been uninstalled.",
            );
            self.respond_as(env, *id, &origin, Err(error), refund);
        }
    }

    /// Answers a call of a canister in the canister's name.
    fn respond_as(
        &mut self,
        env: &Env,
        respondent: Principal,
        origin: &Origin,
        result: Result<Vec<u8>, UserError>,
        refund: u128,
    ) {
        let mut step = crate::outcome::Step::default();
        step.answer(origin, respondent, result, refund);
        for (id, state) in step.ingress {
            self.set_ingress_state(env, id, state);
        }
        for message in step.messages {
            debug_assert!(matches!(message, CanisterMessage::Response(_)));
            self.deliver(message);
        }
    }
}
