//! One subnet: canisters, queues and the messages that come in and go out between rounds.

use crate::canister::Canister;
use crate::consensus::{ConsensusResponse, OutsideCall};
use crate::crash::Crash;
use crate::error::{RejectCode, UserError};
use crate::fees::Fees;
use crate::ingress::{Ingress, IngressState, MessageId};
use crate::ingress_history::IngressHistory;
use crate::injection::DelayedReply;
use crate::limits::{LimitsConfig, SubnetLimits};
use crate::management::Snapshot;
use crate::message::{Answer, CanisterMessage, ManagementCall, Origin, Request, Response};
use crate::run::{Env, Rules};
use crate::topology::{CanisterId, SubnetId, SubnetSpec};
use candid::Principal;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// What a subnet keeps besides canisters.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct SubnetState {
    pub(crate) round: u64,
    /// Accepted from users, not yet inducted.
    pub(crate) pool: VecDeque<Ingress>,
    /// Bytes of the pool's messages.
    pub(crate) pool_bytes: u64,
    pub(crate) history: IngressHistory,
    pub(crate) management_queue: VecDeque<ManagementCall>,
    /// `raw_rand` calls, answered in the round after they came.
    pub(crate) random_calls: Vec<ManagementCall>,
    /// Answers from outside; every round empties it.
    pub(crate) consensus_queue: VecDeque<ConsensusResponse>,
    /// Management calls that wait for an answer from outside.
    pub(crate) consensus_calls: BTreeMap<u64, OutsideCall>,
    pub(crate) next_consensus_call: u64,
    /// Messages for other subnets and for the management canister, delivered before the next round.
    pub(crate) outbox: Vec<CanisterMessage>,
    /// Bytes dirtied since the last checkpoint.
    pub(crate) heap_delta: u64,
    pub(crate) rounds_skipped_by_heap_delta: u64,
    pub(crate) updates_executed: u64,
    /// Cycles consumed by canisters that no longer exist.
    pub(crate) consumed_by_deleted: u128,
    pub(crate) last_charge_ns: u64,
    /// Where the next search for a free canister id starts: range and number.
    pub(crate) next_canister: Option<(usize, u64)>,
    /// Random blocks drawn so far.
    pub(crate) random_blocks: u64,
    /// Pages of large blocks, by the canister that asks for them.
    #[serde(default)]
    pub(crate) block_pages: BTreeMap<CanisterId, Vec<serde_bytes::ByteBuf>>,
    /// Replies that faults hold back.
    #[serde(default)]
    pub(crate) delayed_replies: Vec<DelayedReply>,
    /// Rounds that still leave the consensus queue as it is: a fault.
    #[serde(default)]
    pub(crate) kept_in_queue: u64,
    /// Answers that rounds left in the consensus queue, each counted once per round.
    #[serde(default)]
    pub(crate) consensus_items_left: u64,
    /// Present once the replica has crashed.
    #[serde(default)]
    pub(crate) crash: Option<Crash>,
}

/// One subnet.
pub(crate) struct Subnet {
    pub(crate) rules: Rules,
    pub(crate) state: SubnetState,
    pub(crate) canisters: BTreeMap<CanisterId, Canister>,
    pub(crate) snapshots: BTreeMap<Vec<u8>, Snapshot>,
}

impl Subnet {
    pub(crate) fn new(spec: SubnetSpec, limits: &LimitsConfig, time_ns: u64) -> Self {
        let fees = Fees::of(&spec);
        let limits = limits.of(spec.kind.subnet_type(), spec.instructions);
        let state = SubnetState {
            last_charge_ns: time_ns,
            ..SubnetState::default()
        };
        Self {
            rules: Rules { spec, limits, fees },
            state,
            canisters: BTreeMap::new(),
            snapshots: BTreeMap::new(),
        }
    }

    pub(crate) fn id(&self) -> SubnetId {
        self.rules.spec.id
    }

    pub(crate) fn limits(&self) -> &SubnetLimits {
        &self.rules.limits
    }

    /// Returns the bytes all canisters occupy or reserve.
    pub(crate) fn memory_used(&self) -> u64 {
        self.canisters
            .values()
            .map(|canister| canister.charged_bytes(self.limits()))
            .sum()
    }

    /// Takes in a message that another subnet, or this one in an earlier round, sent here.
    pub(crate) fn receive(&mut self, message: CanisterMessage) {
        match message {
            CanisterMessage::Response(response) => self.receive_response(response),
            CanisterMessage::Request(request) => {
                let management = Principal::management_canister();
                if request.receiver == management || request.receiver == self.id() {
                    self.receive_management_call(request);
                } else if let Some(rejection) = self.receive_request(request) {
                    self.state.outbox.push(rejection);
                }
            }
        }
    }

    fn receive_management_call(&mut self, request: Request) {
        self.state.management_queue.push_back(ManagementCall {
            origin: Origin::Canister {
                sender: request.sender,
                callback: request.callback,
                deadline_ns: request.deadline_ns,
            },
            method: request.method,
            payload: request.payload,
            cycles: request.cycles,
            expiry_ns: u64::MAX,
        });
    }

    /// Queues a request, or returns its rejection.
    pub(crate) fn receive_request(&mut self, request: Request) -> Option<CanisterMessage> {
        let receiver = request.receiver;
        let Some(canister) = self.canisters.get_mut(&receiver) else {
            let text = format!("Canister {receiver} not found");
            return Some(request.reject(RejectCode::DestinationInvalid, text));
        };
        if let Some(error) = canister.not_running() {
            return Some(request.reject(error.reject_code(), error.message));
        }
        canister.queues.push(CanisterMessage::Request(request));
        None
    }

    /// Queues a response, unless a fault has other plans with it.
    pub(crate) fn receive_response(&mut self, response: Response) {
        if let Some(response) = self.meet_fate(response) {
            self.queue_response(response);
        }
    }

    /// Queues a response; one for a canister that is gone takes its cycles along.
    pub(crate) fn queue_response(&mut self, response: Response) {
        if let Some(canister) = self.canisters.get_mut(&response.originator) {
            if canister.contexts.has_call(response.callback) {
                canister.queues.push(CanisterMessage::Response(response));
            } else {
                canister.balance = canister.balance.saturating_add(response.refund);
            }
        } else {
            self.state.consumed_by_deleted = self
                .state
                .consumed_by_deleted
                .saturating_add(response.refund);
        }
    }

    /// Hands a message to a canister of this subnet at once, or puts it into the outbox.
    ///
    /// Calls of the management canister travel like those to other subnets, as on the IC.
    pub(crate) fn deliver(&mut self, message: CanisterMessage) {
        let receiver = message.receiver();
        match message {
            CanisterMessage::Response(response) if self.canisters.contains_key(&receiver) => {
                self.receive_response(response);
            }
            CanisterMessage::Request(request) if self.canisters.contains_key(&receiver) => {
                if let Some(CanisterMessage::Response(rejection)) = self.receive_request(request) {
                    self.receive_response(rejection);
                }
            }
            other => self.state.outbox.push(other),
        }
    }

    /// Answers a management call.
    pub(crate) fn respond(
        &mut self,
        env: &Env,
        origin: &Origin,
        result: Result<Vec<u8>, UserError>,
        refund: u128,
    ) {
        match origin {
            Origin::Ingress { id, .. } => {
                let state = match result {
                    Ok(bytes) => IngressState::Replied(bytes),
                    Err(error) => IngressState::Rejected(error),
                };
                self.set_ingress_state(env, *id, state);
            }
            Origin::Canister { .. } | Origin::SystemTask => {
                self.answer_canister(origin, result.into(), refund);
            }
        }
    }

    /// Answers a management call that a canister made; nobody waits for the answer of another one.
    pub(crate) fn answer_canister(&mut self, origin: &Origin, answer: Answer, refund: u128) {
        let Origin::Canister {
            sender, callback, ..
        } = origin
        else {
            return;
        };
        let response = Response {
            originator: *sender,
            respondent: Principal::management_canister(),
            callback: *callback,
            answer,
            refund,
        };
        self.deliver(CanisterMessage::Response(response));
    }

    /// Records the progress of an ingress message; an answer stays for the history's time to live.
    pub(crate) fn set_ingress_state(&mut self, env: &Env, id: MessageId, state: IngressState) {
        self.state
            .history
            .set(id, state, env.time_ns, &self.rules.limits);
    }

    /// Returns 32 bytes of this subnet's reproducible randomness.
    pub(crate) fn random_bytes(&mut self) -> [u8; 32] {
        use rand::{RngCore, SeedableRng};
        let mut seed = self.rules.spec.seed;
        for (byte, label) in seed.iter_mut().zip(self.rules.spec.id.as_slice()) {
            *byte ^= label;
        }
        let mut generator = rand_chacha::ChaCha20Rng::from_seed(seed);
        generator.set_stream(self.state.random_blocks);
        self.state.random_blocks += 1;
        let mut bytes = [0; 32];
        generator.fill_bytes(&mut bytes);
        bytes
    }
}
