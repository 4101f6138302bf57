//! Deleting a subnet: what it still owes to canisters of other subnets is answered, so that none of them
//! waits for ever.

use crate::canister::{Canister, Status};
use crate::error::{NetworkError, RejectCode};
use crate::message::{Answer, CanisterMessage, Origin, Response};
use crate::network::Network;
use crate::subnet::Subnet;
use crate::topology::{CanisterId, SubnetId};
use candid::Principal;

impl Network {
    /// Removes a subnet with all its canisters. Calls that other subnets' canisters made to them are
    /// rejected; calls that were on their way are rejected when they do not find it.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn delete_subnet(&mut self, id: &SubnetId) -> Result<(), NetworkError> {
        let subnet = self
            .subnets
            .remove(id)
            .ok_or(NetworkError::SubnetNotFound(*id))?;
        self.env.routing.subnets.retain(|spec| spec.id != *id);
        for response in subnet.last_answers() {
            let home = self.env.routing.subnet_of(&response.originator);
            if let Some(home) = home.and_then(|home| self.subnets.get_mut(&home)) {
                home.receive_response(response);
            }
        }
        Ok(())
    }
}

impl Subnet {
    /// Returns the answers on their way out, and rejections of every call that was not answered.
    fn last_answers(self) -> Vec<Response> {
        let mut answers = Answers {
            subnet: self.id(),
            responses: Vec::new(),
        };
        let state = self.state;
        for message in state.outbox {
            if let CanisterMessage::Response(response) = message {
                answers.responses.push(response);
            }
        }
        let management = Principal::management_canister();
        let waiting = state.consensus_calls.into_values();
        let calls = state
            .management_queue
            .into_iter()
            .chain(state.random_calls)
            .chain(waiting.map(|waiting| waiting.call));
        for call in calls {
            answers.reject(management, &call.origin, call.cycles);
        }
        for canister in self.canisters.values() {
            answers.reject_calls_of(canister);
        }
        answers.responses
    }
}

struct Answers {
    subnet: SubnetId,
    responses: Vec<Response>,
}

impl Answers {
    fn reject_calls_of(&mut self, canister: &Canister) {
        for request in canister.queues.requests() {
            let origin = Origin::Canister {
                sender: request.sender,
                callback: request.callback,
                deadline_ns: request.deadline_ns,
            };
            self.reject(canister.id, &origin, request.cycles);
        }
        for context in canister.contexts.iter() {
            if !context.responded {
                self.reject(canister.id, &context.origin, context.cycles);
            }
        }
        if let Status::Stopping(requests) = &canister.status {
            let management = Principal::management_canister();
            for request in requests {
                self.reject(management, &request.origin, request.cycles);
            }
        }
    }

    fn reject(&mut self, respondent: CanisterId, origin: &Origin, refund: u128) {
        let Origin::Canister {
            sender, callback, ..
        } = origin
        else {
            return;
        };
        self.responses.push(Response {
            originator: *sender,
            respondent,
            callback: *callback,
            answer: Answer::Reject {
                code: RejectCode::DestinationInvalid,
                message: format!("subnet {} was deleted", self.subnet),
            },
            refund,
        });
    }
}
