//! One round of a subnet, in the IC's order.
//!
//! Ingress is inducted; the consensus queue is drained completely; only then the heap delta is compared
//! with its limit, and a round above it ends there. Otherwise follow management calls, heartbeats,
//! timers and messages under the round's instruction limit, and the charges.
//!
//! The order of before April 2024, in which the heap delta comes first, is in [`crate::crash`].
//!
//! What is modelled of time slicing: a long message executes in one go and its effects are visible at
//! once, but the round is charged one slice and the canister stays busy for the rounds that the other
//! slices would have taken. What is not: the IC's accumulated priorities (canisters take turns) and its
//! four threads (their budgets are kept apart, their executions happen one after the other).
//! Not modelled either: whether the subnet has room for what an installation allocates, and whether the
//! balance stays above the freezing threshold of the memory it ends with.

use crate::canister::{Canister, LowMemoryHook, NextMethod, Status};
use crate::crash::RoundOrder;
use crate::error::RejectCode;
use crate::execute::{Task, execute_input, execute_task};
use crate::management::execute_management_call;
use crate::message::{Answer, CanisterMessage, ManagementCall, Response};
use crate::outcome::Step;
use crate::routing::named_canister;
use crate::run::{Env, Round, Scene};
use crate::subnet::Subnet;
use crate::topology::CanisterId;
use crate::usage::MessageKind;

/// Threads whose instruction budgets are counted apart.
const SCHEDULER_CORES: usize = 4;
/// Time between charges for memory and compute.
const CHARGE_INTERVAL_NS: u64 = 10_000_000_000;
/// Iterations of one round; each needs a message that the one before sent, so real rounds end earlier.
const ITERATIONS_MAX: usize = 1_000;

/// What is left of a round's limits.
struct Budget {
    cores: [i64; SCHEDULER_CORES],
    management: i64,
    /// Bytes dirtied in this round.
    heap_delta: u64,
    /// Bytes that each thread has dirtied in this iteration.
    iteration_heap_delta: [u64; SCHEDULER_CORES],
}

impl Budget {
    fn exhausted(&self) -> bool {
        self.cores.iter().all(|&left| left <= 0)
    }

    /// Ends an iteration: the round has as much left as its busiest thread, less what ending it costs.
    fn end_iteration(&mut self, overhead: u64) {
        let least = self.cores.iter().copied().min().unwrap_or(0);
        self.cores = [least - signed(overhead); SCHEDULER_CORES];
        self.iteration_heap_delta = [0; SCHEDULER_CORES];
    }
}

fn signed(instructions: u64) -> i64 {
    i64::try_from(instructions).unwrap_or(i64::MAX)
}

impl Subnet {
    /// Executes one round.
    pub(crate) fn execute_round(&mut self, env: &Env) {
        self.state.round += 1;
        let interval = self.rules.limits.checkpoint_interval_rounds.max(1);
        let is_checkpoint = self.state.round.is_multiple_of(interval);
        self.begin_round_faults();
        self.deliver_delayed_replies();
        self.expire_ingress(env);
        self.expire_calls(env);
        self.induct_ingress(env);
        self.expire_outcalls(env);
        let drains_first = self.rules.limits.round_order == RoundOrder::Ic;
        if drains_first {
            self.drain_consensus_queue();
        }
        let heap_delta_limit = self.heap_delta_limit(interval);
        if self.state.heap_delta >= heap_delta_limit {
            tracing::warn!(
                round = self.state.round,
                heap_delta = self.state.heap_delta,
                "heap delta is at its limit, so no messages are executed"
            );
            self.state.rounds_skipped_by_heap_delta += 1;
            self.check_consensus_queue(heap_delta_limit);
            self.finish_round(is_checkpoint);
            return;
        }
        if !drains_first {
            self.drain_consensus_queue();
        }
        self.answer_random_calls(env);
        self.inner_round(env);
        self.pay_debits();
        self.process_stopping_canisters(env);
        self.state.history.prune(env.time_ns);
        self.charge_for_resources(env);
        self.check_consensus_queue(heap_delta_limit);
        self.finish_round(is_checkpoint);
    }

    /// Returns the heap delta at which this round executes nothing: the closer the next checkpoint, the
    /// more of the capacity is available.
    fn heap_delta_limit(&self, interval: u64) -> u64 {
        let limits = &self.rules.limits;
        let capacity = limits.heap_delta_capacity;
        let reserve = limits.heap_delta_initial_reserve.min(capacity);
        // None in the round that ends with the checkpoint.
        let remaining = (interval - self.state.round % interval) % interval;
        let held_back =
            u128::from(capacity - reserve) * u128::from(remaining) / u128::from(interval);
        capacity - u64::try_from(held_back).unwrap_or(capacity)
    }

    /// Gives up best-effort calls whose deadline passed, on both of their ends.
    fn expire_calls(&mut self, env: &Env) {
        const TIMED_OUT: &str = "Call has timed out.";
        let mut responses = Vec::new();
        for canister in self.canisters.values_mut() {
            for request in canister.queues.expire_requests(env.time_ns) {
                responses.push(request.reject(RejectCode::SysUnknown, TIMED_OUT));
            }
            for (callback, callee) in canister.contexts.expire(env.time_ns) {
                responses.push(CanisterMessage::Response(Response {
                    originator: canister.id,
                    respondent: callee,
                    callback,
                    answer: Answer::Reject {
                        code: RejectCode::SysUnknown,
                        message: TIMED_OUT.to_owned(),
                    },
                    refund: 0,
                }));
            }
        }
        for response in responses {
            self.deliver(response);
        }
    }

    fn answer_random_calls(&mut self, env: &Env) {
        for call in std::mem::take(&mut self.state.random_calls) {
            let bytes = self.random_bytes().to_vec();
            let reply = candid::encode_one(bytes).expect("bytes are a plain Candid value");
            self.respond(env, &call.origin, Ok(reply), call.cycles);
        }
    }

    fn inner_round(&mut self, env: &Env) {
        let limits = &self.rules.limits;
        let longest_slice = limits
            .slice_instructions
            .max(limits.install_slice_instructions);
        let start = signed(limits.round_instructions) - signed(longest_slice) + 1;
        let management = limits.round_instructions / limits.subnet_message_fraction.max(1);
        let mut budget = Budget {
            cores: [start; SCHEDULER_CORES],
            management: signed(management),
            heap_delta: 0,
            iteration_heap_delta: [0; SCHEDULER_CORES],
        };
        for iteration in 0..ITERATIONS_MAX {
            self.execute_management_calls(env, &mut budget);
            if budget.exhausted() {
                break;
            }
            let executed = self.execute_canisters(env, &mut budget, iteration == 0);
            let overhead = self.rules.limits.iteration_overhead_instructions;
            budget.end_iteration(overhead.saturating_mul(self.canisters.len() as u64));
            if !executed || budget.heap_delta >= self.rules.limits.heap_delta_iteration {
                break;
            }
        }
        self.state.heap_delta = self.state.heap_delta.saturating_add(budget.heap_delta);
    }

    fn execute_management_calls(&mut self, env: &Env, budget: &mut Budget) {
        let mut postponed = Vec::new();
        while budget.management > 0 {
            let Some(call) = self.state.management_queue.pop_front() else {
                break;
            };
            if self.is_busy(&call) {
                postponed.push(call);
                continue;
            }
            let usage = execute_management_call(env, self, call);
            let charged = usage
                .instructions
                .min(self.rules.limits.install_slice_instructions);
            budget.management -= signed(charged);
            budget.heap_delta = budget.heap_delta.saturating_add(usage.heap_delta);
        }
        for call in postponed.into_iter().rev() {
            self.state.management_queue.push_front(call);
        }
    }

    /// Returns whether the call is about a canister that a long execution still occupies.
    fn is_busy(&self, call: &ManagementCall) -> bool {
        if self.canisters.values().all(|it| it.slices_left == 0) {
            return false;
        }
        let named = named_canister(&call.method, &call.payload);
        named
            .and_then(|id| self.canisters.get(&id))
            .is_some_and(|canister| canister.slices_left > 0)
    }

    /// Lets every canister with work execute; returns whether any did.
    fn execute_canisters(&mut self, env: &Env, budget: &mut Budget, first: bool) -> bool {
        let schedule: Vec<CanisterId> = self
            .canisters
            .values()
            .filter(|canister| canister.has_work(env.time_ns))
            .map(|canister| canister.id)
            .collect();
        if schedule.is_empty() {
            return false;
        }
        // Who is first changes every round, so that an exhausted budget does not always hit the same.
        let rotation = usize::try_from(self.state.round % schedule.len() as u64).unwrap_or(0);
        let mut steps = Vec::new();
        for (position, id) in schedule
            .iter()
            .cycle()
            .skip(rotation)
            .take(schedule.len())
            .enumerate()
        {
            let core = position % SCHEDULER_CORES;
            if budget.cores[core] > 0 {
                self.execute_canister(env, id, budget, core, first, &mut steps);
            }
        }
        let executed = !steps.is_empty();
        // What was sent arrives in the next iteration, whoever was first in this one.
        for step in steps {
            self.take_over(env, step);
        }
        executed
    }

    fn execute_canister(
        &mut self,
        env: &Env,
        id: &CanisterId,
        budget: &mut Budget,
        core: usize,
        first: bool,
        steps: &mut Vec<Step>,
    ) {
        let Some(mut canister) = self.canisters.remove(id) else {
            return;
        };
        let heap_delta_rate = self.rules.limits.heap_delta_rate;
        if canister.slices_left > 0 {
            if first {
                canister.slices_left -= 1;
                budget.cores[core] -= signed(self.rules.limits.slice_instructions);
            }
            self.canisters.insert(*id, canister);
            return;
        }
        if canister.heap_delta_debit >= heap_delta_rate {
            self.canisters.insert(*id, canister);
            return;
        }
        budget.cores[core] -= signed(self.rules.limits.canister_overhead_instructions);
        let memory_available = self
            .rules
            .limits
            .subnet_memory_bytes
            .saturating_sub(self.memory_used() + canister.charged_bytes(&self.rules.limits));
        let round = Round {
            number: self.state.round,
            memory_available,
        };
        let scene = Scene {
            env,
            rules: &self.rules,
            round,
        };
        if first {
            for task in tasks(&mut canister, env.time_ns, self.state.round) {
                let step = execute_task(scene, &mut canister, task);
                self.account(&mut canister, &step, budget, core);
                steps.push(step);
            }
        }
        while budget.cores[core] > 0
            && budget.iteration_heap_delta[core] < self.rules.limits.heap_delta_iteration
            && canister.slices_left == 0
        {
            let Some(input) = canister.queues.pop() else {
                break;
            };
            let step = execute_input(scene, &mut canister, input);
            self.state.updates_executed += u64::from(step.executed);
            self.account(&mut canister, &step, budget, core);
            steps.push(step);
        }
        self.canisters.insert(*id, canister);
    }

    /// Charges the round for an execution; of a long one only a slice.
    fn account(&self, canister: &mut Canister, step: &Step, budget: &mut Budget, core: usize) {
        let limits = &self.rules.limits;
        let charged = step.instructions.min(limits.slice_instructions);
        budget.cores[core] -= signed(charged);
        budget.cores[core] -= signed(limits.execution_overhead_instructions);
        for dirtied in [
            &mut budget.heap_delta,
            &mut budget.iteration_heap_delta[core],
        ] {
            *dirtied = dirtied.saturating_add(step.heap_delta);
        }
        canister.heap_delta_debit = canister.heap_delta_debit.saturating_add(step.heap_delta);
    }

    /// Delivers what an execution sent and answered.
    fn take_over(&mut self, env: &Env, step: Step) {
        for (id, state) in step.ingress {
            self.set_ingress_state(env, id, state);
        }
        for message in step.messages {
            self.deliver(message);
        }
    }

    /// Lets a round's worth of each canister's debits go.
    fn pay_debits(&mut self) {
        let limits = &self.rules.limits;
        for canister in self.canisters.values_mut() {
            canister.heap_delta_debit = canister
                .heap_delta_debit
                .saturating_sub(limits.heap_delta_rate);
            canister.install_debit = canister
                .install_debit
                .saturating_sub(limits.install_rate_instructions);
        }
    }

    /// Charges for memory and compute; a canister that cannot pay loses its code.
    fn charge_for_resources(&mut self, env: &Env) {
        let elapsed_ns = env.time_ns.saturating_sub(self.state.last_charge_ns);
        if elapsed_ns < CHARGE_INTERVAL_NS {
            return;
        }
        self.state.last_charge_ns = env.time_ns;
        let mut bankrupt = Vec::new();
        for canister in self.canisters.values_mut() {
            let bytes = canister.charged_bytes(&self.rules.limits);
            let price =
                self.rules
                    .fees
                    .holding(bytes, canister.settings.compute_percent, elapsed_ns);
            let paid = price.min(canister.balance);
            canister.balance -= paid;
            canister.consumed = canister.consumed.saturating_add(paid);
            if paid < price {
                canister.settings.compute_percent = 0;
                canister.settings.memory_allocation = 0;
                bankrupt.push(canister.id);
            }
        }
        for id in bankrupt {
            tracing::info!(canister = %id, "uninstalling a canister because it ran out of cycles");
            self.uninstall(env, &id);
            // As on the IC: the history costs memory too, which nobody pays any more.
            if let Some(canister) = self.canisters.get_mut(&id) {
                canister.history.clear();
            }
        }
    }

    fn finish_round(&mut self, is_checkpoint: bool) {
        if is_checkpoint {
            self.state.heap_delta = 0;
        }
    }
}

/// Returns the tasks a canister runs this round, before its messages.
fn tasks(canister: &mut Canister, now_ns: u64, round: u64) -> Vec<Task> {
    let mut tasks = Vec::new();
    if canister.status != Status::Running {
        return tasks;
    }
    if canister.low_memory_hook == LowMemoryHook::Ready {
        tasks.push(Task::LowWasmMemory);
    }
    let runs_heartbeat =
        canister.has_heartbeat() && !canister.faults.of_task(round, MessageKind::Heartbeat);
    let runs_timer =
        canister.timer_due(now_ns) && !canister.faults.of_task(round, MessageKind::GlobalTimer);
    let heartbeat = runs_heartbeat.then_some(Task::Heartbeat);
    let timer = runs_timer.then_some(Task::GlobalTimer);
    // One full turn at most: heartbeats and timers go together, messages get every other turn.
    for _ in 0..3 {
        let method = canister.next_method;
        canister.next_method = method.following();
        match method {
            NextMethod::Message if !canister.queues.is_empty() => return tasks,
            NextMethod::Heartbeat if heartbeat.is_some() => {
                tasks.extend(heartbeat.into_iter().chain(timer));
                return tasks;
            }
            NextMethod::GlobalTimer if timer.is_some() => {
                tasks.extend(timer.into_iter().chain(heartbeat));
                return tasks;
            }
            _ => {}
        }
    }
    tasks
}
