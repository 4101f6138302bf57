//! Management calls that are answered from outside, through the consensus queue.
//!
//! A call waits under its callback id; an answer is put into the queue; the next round hands it on,
//! before it looks at any limit.

use crate::error::{ErrorCode, NetworkError, UserError};
use crate::management::Outcome;
use crate::message::{Answer, ManagementCall};
use crate::network::Network;
use crate::run::Env;
use crate::subnet::Subnet;
use crate::topology::{CanisterId, SubnetId};
use serde::{Deserialize, Serialize};

/// A management call that waits for a response from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusCall {
    /// Identifies the call in [`Network::answer_consensus_call`].
    pub callback: u64,
    /// Calling canister.
    pub sender: CanisterId,
    /// Management method.
    pub method: String,
    /// Argument.
    pub payload: Vec<u8>,
}

/// A management call that waits, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutsideCall {
    pub(crate) call: ManagementCall,
    pub(crate) since_ns: u64,
    /// Whether responses came that decide nothing: only time ends the call then.
    #[serde(default)]
    pub(crate) undecided: bool,
}

/// An answer from outside to a management call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsensusResponse {
    pub(crate) callback: u64,
    pub(crate) answer: Answer,
    /// Cycles of the call's payment that answering took; the rest goes back.
    #[serde(default)]
    pub(crate) spent: u128,
}

impl Network {
    /// Returns the management calls of a subnet that wait for a response from outside.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn consensus_calls(&self, subnet: &SubnetId) -> Result<Vec<ConsensusCall>, NetworkError> {
        let calls = &self.subnet(subnet)?.state.consensus_calls;
        Ok(calls
            .iter()
            .map(|(&callback, waiting)| ConsensusCall {
                callback,
                sender: waiting.call.origin.caller(),
                method: waiting.call.method.clone(),
                payload: waiting.call.payload.clone(),
            })
            .collect())
    }

    /// Puts a response into the subnet's consensus queue, which the next round drains.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`], [`NetworkError::UnknownConsensusCall`].
    pub fn answer_consensus_call(
        &mut self,
        subnet: &SubnetId,
        callback: u64,
        response: Result<Vec<u8>, UserError>,
    ) -> Result<(), NetworkError> {
        let subnet = self
            .subnets
            .get_mut(subnet)
            .ok_or(NetworkError::SubnetNotFound(*subnet))?;
        if !subnet.state.consensus_calls.contains_key(&callback) {
            return Err(NetworkError::UnknownConsensusCall(callback));
        }
        subnet.push_consensus_response(callback, response.into());
        Ok(())
    }
}

impl Subnet {
    /// Keeps a call until an answer comes from outside, through the consensus queue.
    pub(crate) fn ask_outside(&mut self, env: &Env, call: ManagementCall) -> Outcome {
        let callback = self.state.next_consensus_call;
        self.state.next_consensus_call += 1;
        let since_ns = env.time_ns;
        let waiting = OutsideCall {
            call,
            since_ns,
            undecided: false,
        };
        self.state.consensus_calls.insert(callback, waiting);
        Outcome::Deferred
    }

    /// Hands every answer from outside to the call that waits for it, whatever the limits.
    pub(crate) fn drain_consensus_queue(&mut self) {
        if self.state.kept_in_queue > 0 {
            // A fault breaks the invariant by force.
            self.state.kept_in_queue -= 1;
            return;
        }
        while let Some(response) = self.state.consensus_queue.pop_front() {
            let callback = response.callback;
            let Some(OutsideCall { call, .. }) = self.state.consensus_calls.remove(&callback)
            else {
                tracing::warn!(
                    callback,
                    "an answer from outside has no call that waits for it"
                );
                continue;
            };
            let spent = response.spent.min(call.cycles);
            self.consume(&call.origin.caller(), spent);
            self.answer_canister(&call.origin, response.answer, call.cycles - spent);
        }
    }

    /// Puts an answer from outside into the consensus queue.
    pub(crate) fn push_consensus_response(&mut self, callback: u64, answer: Answer) {
        self.push_paid_response(callback, answer, 0);
    }

    /// Puts an answer into the consensus queue that takes cycles of the call's payment.
    pub(crate) fn push_paid_response(&mut self, callback: u64, answer: Answer, spent: u128) {
        self.state.consensus_queue.push_back(ConsensusResponse {
            callback,
            answer,
            spent,
        });
    }

    /// Counts cycles that a call sent along as consumed by its caller.
    pub(crate) fn consume(&mut self, caller: &CanisterId, cycles: u128) {
        let consumed = match self.canisters.get_mut(caller) {
            Some(canister) => &mut canister.consumed,
            None => &mut self.state.consumed_by_deleted,
        };
        *consumed = consumed.saturating_add(cycles);
    }
}

/// Returns the rejection of a call with all its cycles.
pub(crate) fn refused(call: &ManagementCall, reason: String) -> Outcome {
    Outcome::Done {
        result: Err(UserError::new(ErrorCode::CanisterRejectedMessage, reason)),
        refund: call.cycles,
    }
}
