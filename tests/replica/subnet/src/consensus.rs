//! Management calls that are answered from outside, through the consensus queue.
//!
//! A call waits under its callback id; an answer is put into the queue; the next round hands it on,
//! before it looks at any limit.

use crate::error::{ErrorCode, NetworkError, UserError};
use crate::management::Outcome;
use crate::message::ManagementCall;
use crate::network::Network;
use crate::run::Env;
use crate::subnet::Subnet;
use crate::topology::{CanisterId, SubnetId};
use serde::{Deserialize, Serialize};

/// Canisters that may call `bitcoin_get_successors` and `bitcoin_send_transaction_internal`.
const PRIVILEGED_BITCOIN_CANISTERS: [&str; 6] = [
    "g4xu7-jiaaa-aaaan-aaaaq-cai",
    "ghsi2-tqaaa-aaaan-aaaca-cai",
    "axowo-ciaaa-aaaad-acs7q-cai",
    "gsvzx-syaaa-aaaan-aaabq-cai",
    "gordg-fyaaa-aaaan-aaadq-cai",
    "bhuiy-ciaaa-aaaad-abwea-cai",
];

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

/// An answer from outside to a management call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsensusResponse {
    pub(crate) callback: u64,
    pub(crate) result: Result<serde_bytes::ByteBuf, UserError>,
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
            .map(|(&callback, call)| ConsensusCall {
                callback,
                sender: call.origin.caller(),
                method: call.method.clone(),
                payload: call.payload.clone(),
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
        subnet.push_consensus_response(callback, response);
        Ok(())
    }
}

impl Subnet {
    /// Keeps a call until an answer comes from outside, through the consensus queue.
    pub(crate) fn ask_outside(&mut self, call: ManagementCall) -> Outcome {
        let caller = call.origin.caller();
        let privileged = PRIVILEGED_BITCOIN_CANISTERS
            .iter()
            .any(|id| caller.to_text() == *id);
        if !privileged {
            let error = UserError::new(ErrorCode::CanisterRejectedMessage, "Permission denied.");
            return Outcome::Done {
                result: Err(error),
                refund: call.cycles,
            };
        }
        let callback = self.state.next_consensus_call;
        self.state.next_consensus_call += 1;
        self.state.consensus_calls.insert(callback, call);
        Outcome::Deferred
    }

    /// Hands every answer from outside to the call that waits for it, whatever the limits.
    pub(crate) fn drain_consensus_queue(&mut self, env: &Env) {
        while let Some(ConsensusResponse { callback, result }) =
            self.state.consensus_queue.pop_front()
        {
            let Some(call) = self.state.consensus_calls.remove(&callback) else {
                tracing::warn!(
                    callback,
                    "an answer from outside has no call that waits for it"
                );
                continue;
            };
            let result = result.map(serde_bytes::ByteBuf::into_vec);
            self.respond(env, &call.origin, result, call.cycles);
        }
    }

    /// Puts an answer from outside into the consensus queue.
    pub(crate) fn push_consensus_response(
        &mut self,
        callback: u64,
        result: Result<Vec<u8>, UserError>,
    ) {
        let result = result.map(serde_bytes::ByteBuf::from);
        self.state
            .consensus_queue
            .push_back(ConsensusResponse { callback, result });
    }
}
