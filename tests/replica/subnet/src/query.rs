//! Queries: one canister answers, nothing changes; composite queries call further queries.

use crate::error::{ErrorCode, RejectCode, UserError};
use crate::execute::NO_CALLBACK;
use crate::message::{Answer, Origin};
use crate::outcome::{no_module, query_result, response_result, trapped};
use crate::run::{Env, Round, Run, Scene, message_facts, pages, run_on, vm_limits};
use crate::subnet::Subnet;
use crate::topology::CanisterId;
use crate::usage::MessageKind;
use candid::Principal;
use millrace_vm as vm;
use std::collections::VecDeque;
use std::sync::Arc;

/// Instructions and depth of one call graph.
struct Budget {
    instructions_left: u64,
}

/// One query of a call graph.
struct QueryCall<'a> {
    caller: Principal,
    canister_id: CanisterId,
    /// The canister the user asked.
    root: CanisterId,
    method: &'a str,
    payload: &'a [u8],
    depth: u64,
    caller_info: Option<&'a vm::CallerInfo>,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(crate) struct User<'a> {
    pub(crate) principal: Principal,
    pub(crate) info: Option<&'a vm::CallerInfo>,
}

impl Subnet {
    /// Answers a user's query.
    pub(crate) fn query(
        &mut self,
        env: &Env,
        user: User<'_>,
        canister_id: CanisterId,
        method: &str,
        payload: &[u8],
    ) -> Result<Vec<u8>, UserError> {
        let mut budget = Budget {
            instructions_left: self.rules.limits.query_graph_instructions,
        };
        let call = QueryCall {
            caller: user.principal,
            canister_id,
            root: canister_id,
            method,
            payload,
            depth: 0,
            caller_info: user.info,
        };
        let before = self
            .canisters
            .get(&canister_id)
            .map_or(0, |c| c.usage.next_sequence());
        let result = self.evaluate(env, &call, &mut budget);
        let Some(canister) = self.canisters.get_mut(&canister_id) else {
            return result;
        };
        let instructions: u64 = canister
            .usage
            .since(before)
            .map(|usage| usage.instructions)
            .sum();
        let statistics = &mut canister.query_statistics;
        statistics.calls += 1;
        statistics.instructions += instructions;
        statistics.request_bytes += payload.len() as u64;
        statistics.response_bytes += result.as_ref().map_or(0, |bytes| bytes.len() as u64);
        result
    }

    fn evaluate(
        &mut self,
        env: &Env,
        call: &QueryCall<'_>,
        budget: &mut Budget,
    ) -> Result<Vec<u8>, UserError> {
        let id = call.canister_id;
        let canister = self.canisters.get(&id).ok_or_else(|| {
            UserError::new(
                ErrorCode::CanisterNotFound,
                format!("Canister {id} not found"),
            )
        })?;
        if let Some(error) = canister.not_running() {
            return Err(error);
        }
        if canister.balance < canister.freezing_balance(&self.rules.limits, &self.rules.fees) {
            return Err(UserError::new(
                ErrorCode::CanisterOutOfCycles,
                format!(
                    "Canister {id} is unable to process query calls because it's frozen. Please top up the canister with cycles and try again."
                ),
            ));
        }
        let code = canister.code.as_ref().ok_or_else(|| no_module(&id))?;
        let mut state = code.state.fork();
        if code
            .module()
            .exports()
            .composite_queries
            .contains(call.method)
        {
            return self.evaluate_composite(env, call, &mut state, budget);
        }
        let run = Run {
            entry: vm::EntryPoint::Query(call.method.to_owned()),
            mode: vm::Mode::NonReplicated,
            kind: MessageKind::Query,
            method: call.method.to_owned(),
            message: query_facts(call, call.payload.to_vec(), false, 0),
            limits: self.query_limits(&id, call.depth, budget),
            certificate: self.certificate(env, call),
        };
        let output = self.run_query(env, &id, &mut state, run, budget);
        query_result(&id, output.result)
    }

    /// Runs a composite query and the queries it calls, until it answers or has nothing more to wait for.
    fn evaluate_composite(
        &mut self,
        env: &Env,
        call: &QueryCall<'_>,
        state: &mut vm::CanisterState,
        budget: &mut Budget,
    ) -> Result<Vec<u8>, UserError> {
        let id = call.canister_id;
        let run = Run {
            entry: vm::EntryPoint::CompositeQuery(call.method.to_owned()),
            mode: vm::Mode::Composite,
            kind: MessageKind::CompositeQuery,
            method: call.method.to_owned(),
            message: query_facts(call, call.payload.to_vec(), false, 0),
            limits: self.query_limits(&id, call.depth, budget),
            certificate: self.certificate(env, call),
        };
        let output = self.run_query(env, &id, state, run, budget);
        let mut used = output.usage.instructions.get();
        let mut last_trap = None;
        let mut waiting = VecDeque::new();
        let effects = output.result.map_err(|trap| trapped(&id, &trap))?;
        if let Some(response) = effects.response {
            return response_result(response);
        }
        waiting.extend(effects.calls);
        while let Some(outgoing) = waiting.pop_front() {
            let answer = self.answer_of(env, call, &outgoing, budget)?;
            let callback = match &answer {
                Answer::Reply(_) => outgoing.on_reply,
                Answer::Reject { .. } => outgoing.on_reject,
            };
            if callback.fun == NO_CALLBACK {
                continue;
            }
            let (result, instructions) =
                self.run_query_callback(env, call, state, &outgoing, answer, used, budget);
            used += instructions;
            match result {
                Err(trap) => last_trap = Some(trap),
                Ok(effects) => {
                    if let Some(response) = effects.response {
                        return response_result(response);
                    }
                    waiting.extend(effects.calls);
                }
            }
        }
        Err(last_trap.unwrap_or_else(|| crate::outcome::did_not_reply(&id)))
    }

    /// Evaluates a call of a composite query; only exhausted limits end the whole graph.
    fn answer_of(
        &mut self,
        env: &Env,
        call: &QueryCall<'_>,
        outgoing: &vm::OutgoingCall,
        budget: &mut Budget,
    ) -> Result<Answer, UserError> {
        if call.depth + 1 > self.rules.limits.query_call_depth {
            return Err(UserError::new(
                ErrorCode::QueryCallGraphTooDeep,
                "Composite query calls exceeded the maximum call depth.",
            ));
        }
        let overhead = self.rules.limits.query_call_overhead_instructions;
        budget.instructions_left = budget.instructions_left.saturating_sub(overhead);
        if budget.instructions_left == 0 {
            return Err(UserError::new(
                ErrorCode::QueryCallGraphTotalInstructionLimitExceeded,
                "Composite query calls exceeded the instruction limit.",
            ));
        }
        if !self.canisters.contains_key(&outgoing.callee) {
            return Ok(Answer::Reject {
                code: RejectCode::DestinationInvalid,
                message: format!("Canister {} not found", outgoing.callee),
            });
        }
        let inner = QueryCall {
            caller: call.canister_id,
            canister_id: outgoing.callee,
            root: call.root,
            method: &outgoing.method,
            payload: &outgoing.payload,
            depth: call.depth + 1,
            caller_info: None,
        };
        let result = self.evaluate(env, &inner, budget);
        match result {
            Err(error)
                if matches!(
                    error.code,
                    ErrorCode::QueryCallGraphTooDeep
                        | ErrorCode::QueryCallGraphTotalInstructionLimitExceeded
                ) =>
            {
                Err(error)
            }
            result => Ok(Answer::from(result)),
        }
    }

    /// Runs the callback of an answered call, and its clean-up when it traps.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one execution, used once"
    )]
    fn run_query_callback(
        &mut self,
        env: &Env,
        call: &QueryCall<'_>,
        state: &mut vm::CanisterState,
        outgoing: &vm::OutgoingCall,
        answer: Answer,
        used: u64,
        budget: &mut Budget,
    ) -> (Result<vm::Effects, UserError>, u64) {
        let id = call.canister_id;
        let (entry, kind, payload, rejection) = match answer {
            Answer::Reply(bytes) => (
                vm::EntryPoint::ReplyCallback(outgoing.on_reply),
                MessageKind::ReplyCallback,
                bytes,
                None,
            ),
            Answer::Reject { code, message } => (
                vm::EntryPoint::RejectCallback(outgoing.on_reject),
                MessageKind::RejectCallback,
                Vec::new(),
                Some(vm::Rejection {
                    code: u32::from(code.number()),
                    message,
                }),
            ),
        };
        let mut message = query_facts(call, payload, false, used);
        message.rejection = rejection;
        let mut run = Run {
            entry,
            mode: vm::Mode::Composite,
            kind,
            method: String::new(),
            message,
            limits: self.query_limits(&id, call.depth, budget),
            certificate: None,
        };
        let cleanup_message = run.message.clone();
        let output = self.run_query(env, &id, state, run, budget);
        let mut instructions = output.usage.instructions.get();
        let trap = match output.result {
            Ok(effects) => return (Ok(effects), instructions),
            Err(trap) => trapped(&id, &trap),
        };
        if let Some(cleanup) = outgoing.on_cleanup {
            run = Run {
                entry: vm::EntryPoint::Cleanup(cleanup),
                mode: vm::Mode::Composite,
                kind: MessageKind::Cleanup,
                method: String::new(),
                message: vm::MessageFacts {
                    payload: Arc::from([]),
                    rejection: None,
                    ..cleanup_message
                },
                limits: self.query_limits(&id, call.depth, budget),
                certificate: None,
            };
            let output = self.run_query(env, &id, state, run, budget);
            instructions += output.usage.instructions.get();
        }
        (Err(trap), instructions)
    }

    fn run_query(
        &mut self,
        env: &Env,
        id: &CanisterId,
        state: &mut vm::CanisterState,
        run: Run,
        budget: &mut Budget,
    ) -> vm::Output {
        let round = Round {
            number: self.state.round,
            memory_available: u64::MAX,
        };
        let canister = self
            .canisters
            .get_mut(id)
            .expect("callers look the canister up");
        let output = run_on(
            Scene {
                env,
                rules: &self.rules,
                round,
            },
            canister,
            state,
            run,
        );
        budget.instructions_left = budget
            .instructions_left
            .saturating_sub(output.usage.instructions.get());
        output
    }

    fn query_limits(&self, id: &CanisterId, depth: u64, budget: &Budget) -> vm::Limits {
        let limits = &self.rules.limits;
        let canister = self
            .canisters
            .get(id)
            .expect("callers look the canister up");
        let instructions = limits
            .query_instructions
            .min(budget.instructions_left.max(1));
        let mut vm_limits = vm_limits(&self.rules, canister, instructions);
        vm_limits.stable_dirty_pages = pages(limits.query_stable_bytes);
        vm_limits.stable_accessed_pages = pages(limits.query_stable_bytes);
        if depth == 0 {
            vm_limits.reply_bytes = limits.query_reply_bytes;
        }
        vm_limits
    }

    /// Returns the certificate a query sees. Only the canister the user asked has one: what another
    /// says in the same call graph reaches nobody who could check a certificate of it.
    fn certificate(&self, env: &Env, call: &QueryCall<'_>) -> Option<Arc<[u8]>> {
        let id = call.canister_id;
        if id != call.root {
            return None;
        }
        let canister = self.canisters.get(&id)?;
        env.certifier
            .data_certificate(&self.id(), &id, &canister.certified_data, env.time_ns)
            .map(Arc::from)
    }
}

fn query_facts(
    call: &QueryCall<'_>,
    payload: Vec<u8>,
    responded: bool,
    used: u64,
) -> vm::MessageFacts {
    let origin = Origin::Canister {
        sender: call.caller,
        callback: 0,
        deadline_ns: None,
    };
    vm::MessageFacts {
        caller_info: call.caller_info.cloned(),
        ..message_facts(&origin, payload, 0, responded, used)
    }
}
