//! Management calls that are answered from outside, through the consensus queue.
//!
//! A call waits under its callback id; an answer is put into the queue; the next round hands it on,
//! before it looks at any limit.

use crate::canister::grouped;
use crate::error::{ErrorCode, NetworkError, UserError};
use crate::management::{Outcome, decode};
use crate::message::ManagementCall;
use crate::network::Network;
use crate::run::Env;
use crate::subnet::Subnet;
use crate::topology::{CanisterId, SubnetId};
use ic_management_canister_types::HttpRequestArgs;
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

/// Management method of HTTPS outcalls.
const HTTP_REQUEST: &str = "http_request";
/// Largest response of an HTTPS outcall, and what is paid for when the call names no limit.
const HTTP_RESPONSE_BYTES_MAX: u64 = 2_000_000;
/// Longest URL of an HTTPS outcall.
const HTTP_URL_BYTES_MAX: usize = 8_192;

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

impl ConsensusCall {
    /// Returns the decoded argument of an HTTPS outcall; `None` for other methods.
    #[must_use]
    pub fn http_request(&self) -> Option<HttpRequestArgs> {
        if self.method != HTTP_REQUEST {
            return None;
        }
        millrace_vm::decode_candid(&self.payload).ok()
    }
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
    /// Takes in a call of `bitcoin_get_successors`.
    pub(crate) fn ask_for_blocks(&mut self, call: ManagementCall) -> Outcome {
        let caller = call.origin.caller();
        let privileged = PRIVILEGED_BITCOIN_CANISTERS
            .iter()
            .any(|id| caller.to_text() == *id);
        if !privileged {
            return refused(&call, "Permission denied.".to_owned());
        }
        self.ask_outside(call)
    }

    /// Takes in an HTTPS outcall, whose price is kept whatever the answer will be.
    pub(crate) fn ask_the_web(&mut self, mut call: ManagementCall) -> Outcome {
        let args: HttpRequestArgs = match decode(&call.payload) {
            Ok(args) => args,
            Err(error) => {
                return Outcome::Done {
                    result: Err(error),
                    refund: call.cycles,
                };
            }
        };
        let response_bytes = args.max_response_bytes.unwrap_or(HTTP_RESPONSE_BYTES_MAX);
        if response_bytes > HTTP_RESPONSE_BYTES_MAX {
            return refused(
                &call,
                format!(
                    "max_http_response_bytes expected to be in the range [0..{HTTP_RESPONSE_BYTES_MAX}], got {response_bytes}"
                ),
            );
        }
        if args.url.len() > HTTP_URL_BYTES_MAX {
            return refused(
                &call,
                format!("url size {} exceeds {HTTP_URL_BYTES_MAX}", args.url.len()),
            );
        }
        let fees = self.rules.fees.vm;
        let fee = fees
            .http_request(request_bytes(&args), response_bytes)
            .get();
        if call.cycles < fee {
            return refused(
                &call,
                format!(
                    "http_request request sent with {} cycles, but {} cycles are required.",
                    grouped(call.cycles),
                    grouped(fee)
                ),
            );
        }
        call.cycles -= fee;
        let consumed = match self.canisters.get_mut(&call.origin.caller()) {
            Some(canister) => &mut canister.consumed,
            None => &mut self.state.consumed_by_deleted,
        };
        *consumed = consumed.saturating_add(fee);
        self.ask_outside(call)
    }

    /// Keeps a call until an answer comes from outside, through the consensus queue.
    fn ask_outside(&mut self, call: ManagementCall) -> Outcome {
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

/// Returns the rejection of a call with all its cycles.
fn refused(call: &ManagementCall, reason: String) -> Outcome {
    Outcome::Done {
        result: Err(UserError::new(ErrorCode::CanisterRejectedMessage, reason)),
        refund: call.cycles,
    }
}

/// Returns the bytes of an outcall that are charged for.
fn request_bytes(args: &HttpRequestArgs) -> u64 {
    let headers: usize = args
        .headers
        .iter()
        .map(|header| header.name.len() + header.value.len())
        .sum();
    let body = args.body.as_ref().map_or(0, Vec::len);
    let transform = args.transform.as_ref().map_or(0, |transform| {
        transform.function.0.method.len() + transform.context.len()
    });
    (args.url.len() + headers + body + transform) as u64
}
