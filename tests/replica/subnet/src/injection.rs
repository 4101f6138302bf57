//! Carries faults out: what strikes replies and rounds. What strikes messages is carried out where they are
//! executed, in `run`.

use crate::error::NetworkError;
use crate::faults::{FAULTS_MAX, Fault, FaultError, FaultKind, FaultStatus};
use crate::ingress::MessageId;
use crate::message::{Answer, ManagementCall, Origin, Response};
use crate::network::Network;
use crate::subnet::Subnet;
use crate::topology::{CanisterId, SubnetId};
use candid::{CandidType, Principal};
use ic_management_canister_types::{CanisterIdRecord, CanisterInstallMode, InstallCodeArgs};
use serde::{Deserialize, Serialize};

/// A reply that a fault holds back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DelayedReply {
    /// First round that it may be delivered in.
    due_round: u64,
    response: Response,
}

impl Network {
    /// Adds faults to those that wait.
    ///
    /// # Errors
    /// [`NetworkError::CanisterNotFound`], [`NetworkError::Fault`]; none was added then.
    pub fn inject(&mut self, faults: Vec<Fault>) -> Result<(), NetworkError> {
        for fault in &faults {
            fault.check()?;
            self.canister(&fault.canister)?;
        }
        let waiting: usize = self.fault_lists().map(crate::faults::Faults::len).sum();
        let given = waiting.saturating_add(faults.len());
        if given > FAULTS_MAX {
            return Err(FaultError::TooMany { given }.into());
        }
        for fault in faults {
            self.canister_mut(&fault.canister)?.faults.push(fault);
        }
        Ok(())
    }

    /// Returns all faults with what became of them.
    #[must_use]
    pub fn faults(&self) -> Vec<FaultStatus> {
        self.fault_lists()
            .flat_map(|faults| faults.iter().cloned())
            .collect()
    }

    /// Forgets all faults. Replies that one of them delays arrive when they are due.
    pub fn clear_faults(&mut self) {
        for subnet in self.subnets.values_mut() {
            for canister in subnet.canisters.values_mut() {
                canister.faults.clear();
            }
            subnet.state.kept_in_queue = 0;
        }
    }

    /// Has the subnet's next `rounds` rounds leave the consensus queue as it is, which breaks the invariant
    /// that it is empty after every round.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn keep_consensus_queue(
        &mut self,
        subnet: &SubnetId,
        rounds: u64,
    ) -> Result<(), NetworkError> {
        let subnet = self
            .subnets
            .get_mut(subnet)
            .ok_or(NetworkError::SubnetNotFound(*subnet))?;
        subnet.state.kept_in_queue = rounds;
        Ok(())
    }

    fn fault_lists(&self) -> impl Iterator<Item = &crate::faults::Faults> {
        self.subnets
            .values()
            .flat_map(|subnet| subnet.canisters.values())
            .map(|canister| &canister.faults)
    }
}

impl Subnet {
    /// Lets a reply meet its fate. Returns it unless that is not to arrive now.
    pub(crate) fn meet_fate(&mut self, mut response: Response) -> Option<Response> {
        let round = self.state.round;
        let caller = self.canisters.get_mut(&response.originator);
        let fate = caller.and_then(|it| it.faults.of_reply(round, &response.respondent));
        match fate {
            Some(FaultKind::DropReply) => return None,
            Some(FaultKind::DelayReply(rounds)) => {
                self.hold_back(response, rounds);
                return None;
            }
            Some(FaultKind::DuplicateReply) => {
                let copy = Response {
                    refund: 0,
                    ..response.clone()
                };
                self.hold_back(copy, 1);
            }
            Some(FaultKind::RejectReply { code, message }) => {
                response.answer = Answer::Reject { code, message };
            }
            _ => {}
        }
        Some(response)
    }

    fn hold_back(&mut self, response: Response, rounds: u64) {
        let due_round = self.state.round.saturating_add(rounds);
        self.state.delayed_replies.push(DelayedReply {
            due_round,
            response,
        });
    }

    /// Delivers the replies that were held back until this round.
    pub(crate) fn deliver_delayed_replies(&mut self) {
        let round = self.state.round;
        let held = std::mem::take(&mut self.state.delayed_replies);
        let (due, later): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|reply| reply.due_round <= round);
        self.state.delayed_replies = later;
        for reply in due {
            self.queue_response(reply.response);
        }
    }

    /// Does to canisters what faults have planned for this round. Management calls are made in a
    /// controller's name, ahead of those that wait, and go through the round like others.
    pub(crate) fn begin_round_faults(&mut self) {
        let round = self.state.round;
        let mut calls = Vec::new();
        for canister in self.canisters.values_mut() {
            let id = canister.id;
            let controller = canister.settings.controllers.first().copied();
            let controller = controller.unwrap_or_else(Principal::management_canister);
            for kind in canister.faults.of_round(round) {
                let call = match kind {
                    FaultKind::SetCycles(cycles) => {
                        canister.balance = u128::from(cycles);
                        continue;
                    }
                    FaultKind::Stop => management_call(controller, "stop_canister", &named(id)),
                    FaultKind::Start => management_call(controller, "start_canister", &named(id)),
                    FaultKind::Upgrade(arg) => {
                        let Some(code) = &canister.code else {
                            continue;
                        };
                        let arguments = InstallCodeArgs {
                            mode: CanisterInstallMode::Upgrade(None),
                            canister_id: id,
                            wasm_module: code.uploaded.to_vec(),
                            arg,
                            sender_canister_version: None,
                        };
                        management_call(controller, "install_code", &arguments)
                    }
                    _ => continue,
                };
                calls.push(call);
            }
        }
        for call in calls.into_iter().rev() {
            self.state.management_queue.push_front(call);
        }
    }
}

const fn named(canister_id: CanisterId) -> CanisterIdRecord {
    CanisterIdRecord { canister_id }
}

/// Returns a call in the name of a controller. Nobody waits for its answer: no message has this id.
fn management_call<T: CandidType>(
    controller: Principal,
    method: &str,
    argument: &T,
) -> ManagementCall {
    ManagementCall {
        origin: Origin::Ingress {
            sender: controller,
            id: MessageId([0; 32]),
            caller_info: None,
        },
        method: method.to_owned(),
        payload: candid::encode_one(argument)
            .expect("management arguments are plain Candid values"),
        cycles: 0,
        expiry_ns: u64::MAX,
    }
}
