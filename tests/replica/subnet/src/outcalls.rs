//! HTTPS outcalls: what a call pays, what the nodes' responses come to, and when it times out.
//!
//! Nothing here talks to the web. A test answers an outcall in place of the subnet's nodes; an outcall
//! that nobody answers is rejected after [`OUTCALL_TIMEOUT_NS`], as on the IC.

use crate::canister::grouped;
use crate::consensus::{ConsensusResponse, OutsideCall, refused};
use crate::error::{NetworkError, RejectCode};
use crate::flexible;
use crate::management::Outcome;
use crate::message::{Answer, ManagementCall};
use crate::network::Network;
use crate::outcall_args::{
    FLEXIBLE_HTTP_REQUEST, HTTP_REQUEST, OutcallArgs, OutcallRefusal, Replication, headers_bytes,
};
use crate::query::User;
use crate::run::Env;
use crate::subnet::Subnet;
use crate::topology::{CanisterId, SubnetId};
use candid::Principal;
use ic_management_canister_types::{HttpRequestResult, TransformArgs};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Time after which an outcall is rejected, in ns of the subnet's clock.
const OUTCALL_TIMEOUT_NS: u64 = 60_000_000_000;
/// Bytes to which a node shortens the text of a rejection.
const REJECT_MESSAGE_BYTES_MAX: usize = 1_024;

/// An HTTPS outcall that nobody has answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOutcall {
    /// Identifies the outcall on its subnet, in [`Network::answer_http_outcall`] and
    /// [`Network::answer_flexible_outcall`].
    pub request_id: u64,
    /// Calling canister.
    pub canister: CanisterId,
    /// What it asks for.
    pub args: OutcallArgs,
    /// Who performs it.
    pub replication: Replication,
}

/// What a node reports about an outcall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAnswer {
    /// The server's response, before the canister's transform function.
    Reply(HttpRequestResult),
    /// There is none.
    Reject {
        /// Class of the failure.
        code: RejectCode,
        /// Why.
        message: String,
    },
}

impl Network {
    /// Returns the outcalls of a subnet that nobody has answered yet, oldest first.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn http_outcalls(&self, subnet: &SubnetId) -> Result<Vec<HttpOutcall>, NetworkError> {
        Ok(self.subnet(subnet)?.unanswered_outcalls().collect())
    }

    /// Answers an outcall for the nodes of its subnet: with one response that all of them report, or with
    /// one for each. The canister gets the response in the next round: the one that at least two thirds
    /// of the nodes agree on after the transform function, or a rejection. An outcall that is not
    /// replicated takes the first response.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`], [`NetworkError::UnknownConsensusCall`] also for an outcall that has
    /// been answered, [`NetworkError::OutcallIsFlexible`], [`NetworkError::OutcallResponses`].
    pub fn answer_http_outcall(
        &mut self,
        subnet: &SubnetId,
        request_id: u64,
        responses: Vec<HttpAnswer>,
    ) -> Result<(), NetworkError> {
        let subnet = self
            .subnets
            .get_mut(subnet)
            .ok_or(NetworkError::SubnetNotFound(*subnet))?;
        let outcall = subnet
            .unanswered_outcalls()
            .find(|outcall| outcall.request_id == request_id)
            .ok_or(NetworkError::UnknownConsensusCall(request_id))?;
        let reporting_max = match outcall.replication {
            Replication::Full => usize::MAX,
            Replication::Single => 1,
            Replication::Flexible(_) => return Err(NetworkError::OutcallIsFlexible(request_id)),
        };
        let nodes = subnet.rules.spec.kind.size();
        let given = responses.len();
        if given != 1 && given as u64 != nodes {
            return Err(NetworkError::OutcallResponses { given, nodes });
        }
        let contents: Vec<Answer> = responses
            .into_iter()
            .take(reporting_max)
            .map(|response| subnet.outcall_content(&self.env, &outcall, response))
            .collect();
        let answer = agreed(request_id, contents);
        subnet.push_consensus_response(request_id, answer);
        Ok(())
    }
}

impl Subnet {
    /// Takes in an HTTPS outcall. What it pays here is kept whatever the answer will be: all of a plain
    /// outcall's price, the base fee of a flexible one.
    pub(crate) fn ask_the_web(&mut self, env: &Env, mut call: ManagementCall) -> Outcome {
        let caller = call.origin.caller();
        let fees = self.rules.fees.vm;
        let checked = OutcallArgs::check(&call.method, &call.payload, &caller, fees.subnet_size);
        let (args, replication) = match checked {
            Ok(checked) => checked,
            Err(OutcallRefusal::Bounds(reason)) => return refused(&call, reason),
            Err(OutcallRefusal::Argument(error)) => {
                return Outcome::Done {
                    result: Err(error),
                    refund: call.cycles,
                };
            }
        };
        let bytes = args.request_bytes();
        let fee = match replication {
            Replication::Flexible(counts) => {
                fees.flexible_http_request(bytes, counts.min_responses)
            }
            Replication::Full | Replication::Single => {
                fees.http_request(bytes, args.response_bytes_max())
            }
        };
        let fee = fee.get();
        if call.cycles < fee {
            return refused(
                &call,
                format!(
                    "{} request sent with {} cycles, but {} cycles are required.",
                    call.method,
                    grouped(call.cycles),
                    grouped(fee)
                ),
            );
        }
        call.cycles -= fee;
        self.consume(&caller, fee);
        self.ask_outside(env, call)
    }

    /// Returns the outcalls for which nobody has given a response, oldest first.
    pub(crate) fn unanswered_outcalls(&self) -> impl Iterator<Item = HttpOutcall> {
        let nodes = self.rules.fees.vm.subnet_size;
        self.state
            .consensus_calls
            .iter()
            .filter(|(callback, waiting)| {
                let answered = |response: &ConsensusResponse| response.callback == **callback;
                is_outcall(&waiting.call)
                    && !waiting.undecided
                    && !self.state.consensus_queue.iter().any(answered)
            })
            .filter_map(move |(&request_id, waiting)| {
                let call = &waiting.call;
                let args: OutcallArgs = millrace_vm::decode_candid(&call.payload).ok()?;
                Some(HttpOutcall {
                    request_id,
                    canister: call.origin.caller(),
                    replication: args.replication(&call.method, nodes).ok()?,
                    args,
                })
            })
    }

    /// Returns whether an outcall's time-out has passed.
    pub(crate) fn has_expired_outcall(&self, env: &Env) -> bool {
        let calls = &self.state.consensus_calls;
        calls.values().any(|waiting| has_expired(waiting, env))
    }

    /// Rejects outcalls that have waited too long, whatever was answered since: a block that comes after
    /// the time-out holds no response.
    pub(crate) fn expire_outcalls(&mut self, env: &Env) {
        let calls = &self.state.consensus_calls;
        let expired: BTreeMap<u64, Answer> = calls
            .iter()
            .filter(|(_, waiting)| has_expired(waiting, env))
            .map(|(&callback, waiting)| (callback, timed_out(&waiting.call)))
            .collect();
        self.state
            .consensus_queue
            .retain(|response| !expired.contains_key(&response.callback));
        for (callback, answer) in expired {
            self.push_consensus_response(callback, answer);
        }
    }

    /// Returns what one node makes of a response: the transform function applied, the size checked.
    pub(crate) fn outcall_content(
        &mut self,
        env: &Env,
        outcall: &HttpOutcall,
        response: HttpAnswer,
    ) -> Answer {
        let result = match response {
            HttpAnswer::Reject { code, message } => return reject(code, &message),
            HttpAnswer::Reply(result) => result,
        };
        let limit = outcall.args.response_bytes_max();
        if let Err(text) = check_response(&result, limit) {
            return reject(RejectCode::SysFatal, &text);
        }
        let Some(transform) = &outcall.args.transform else {
            return match candid::encode_one(&result) {
                Ok(bytes) => Answer::Reply(bytes),
                Err(error) => reject(RejectCode::SysFatal, &error.to_string()),
            };
        };
        let argument = TransformArgs {
            response: result,
            context: transform.context.clone(),
        };
        let transformed = candid::encode_one(&argument)
            .map_err(|error| reject(RejectCode::SysFatal, &error.to_string()))
            .and_then(|payload| {
                let management = User {
                    principal: Principal::management_canister(),
                    info: None,
                };
                let method = &transform.function.0.method;
                self.query(env, management, outcall.canister, method, &payload)
                    .map_err(|error| reject(error.reject_code(), &error.message))
            });
        match transformed {
            Ok(bytes) if bytes.len() as u64 > limit => reject(
                RejectCode::SysFatal,
                &format!("Transformed http response exceeds limit: {limit}"),
            ),
            Ok(bytes) => Answer::Reply(bytes),
            Err(rejection) => rejection,
        }
    }
}

fn is_outcall(call: &ManagementCall) -> bool {
    [HTTP_REQUEST, FLEXIBLE_HTTP_REQUEST].contains(&call.method.as_str())
}

fn timed_out(call: &ManagementCall) -> Answer {
    if call.method == FLEXIBLE_HTTP_REQUEST {
        return flexible::timed_out();
    }
    reject(RejectCode::SysTransient, "Canister http request timed out")
}

fn has_expired(waiting: &OutsideCall, env: &Env) -> bool {
    is_outcall(&waiting.call) && waiting.since_ns.saturating_add(OUTCALL_TIMEOUT_NS) < env.time_ns
}

fn reject(code: RejectCode, message: &str) -> Answer {
    let end = message.floor_char_boundary(REJECT_MESSAGE_BYTES_MAX);
    Answer::Reject {
        code,
        message: message.get(..end).unwrap_or_default().to_owned(),
    }
}

/// Checks a response's size as a node does while it reads: headers first, the body with what they leave.
fn check_response(response: &HttpRequestResult, limit: u64) -> Result<(), String> {
    let headers = headers_bytes(&response.headers);
    let Some(left) = limit.checked_sub(headers as u64) else {
        return Err(format!(
            "Header size exceeds specified response size limit {limit}"
        ));
    };
    if response.body.len() as u64 > left {
        return Err(format!("Http body exceeds size limit of {limit} bytes."));
    }
    Ok(())
}

/// Returns the content that enough nodes agree on; a third of them may differ.
fn agreed(request_id: u64, contents: Vec<Answer>) -> Answer {
    let nodes = contents.len();
    let mut groups: BTreeMap<[u8; 32], (usize, Answer)> = BTreeMap::new();
    for content in contents {
        groups.entry(hash(&content)).or_insert((0, content)).0 += 1;
    }
    let mut groups: Vec<([u8; 32], (usize, Answer))> = groups.into_iter().collect();
    groups.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let faulty_max = nodes.saturating_sub(1) / 3;
    match groups.first() {
        Some((_, (count, content))) if *count >= nodes - faulty_max => content.clone(),
        _ => {
            let hashes: Vec<String> = groups
                .iter()
                .map(|(hash, (count, _))| format!("[{}: {count}]", hex::encode(hash)))
                .collect();
            // Longer than what a node says, and not shortened: it comes out of the block, not of a node.
            Answer::Reject {
                code: RejectCode::SysTransient,
                message: format!(
                    "No consensus could be reached. Replicas had different responses. Details: request_id: {request_id}, hashes: {}",
                    hashes.join(", ")
                ),
            }
        }
    }
}

fn hash(content: &Answer) -> [u8; 32] {
    let mut hasher = Sha256::new();
    match content {
        Answer::Reply(bytes) => {
            hasher.update([0]);
            hasher.update(bytes);
        }
        Answer::Reject { code, message } => {
            hasher.update([code.number()]);
            hasher.update(message);
        }
    }
    hasher.finalize().into()
}
