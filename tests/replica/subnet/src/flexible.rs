//! Flexible HTTPS outcalls: what the responses of a committee's nodes come to, and what they cost.
//!
//! Priced are the bytes: asked, received by each node, passed on, and put into a block. A node's time and
//! the instructions of a transform function cost nothing here, and a node that spends more than its share
//! of the payment does not reject for that: the outcall as a whole runs out of cycles.

mod result;

use crate::canister::grouped;
use crate::error::{NetworkError, RejectCode};
use crate::message::Answer;
use crate::network::Network;
use crate::outcall_args::{Replication, ReplicationCounts, headers_bytes};
use crate::outcalls::HttpAnswer;
use crate::topology::SubnetId;
use candid::{Principal, Reserved};
use ic_management_canister_types::HttpRequestResult;
use millrace_vm::{FLEXIBLE_RESPONSE_PROOF_BYTES, Fees};
use result::{FlexibleResult, GlobalError, NodeDetail};

/// Bytes a block has for responses to outcalls.
const BLOCK_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// What one node of the committee reports.
#[derive(Clone, Debug)]
struct NodeResponse {
    node: Principal,
    content: Answer,
    /// Cycles the node took to get the response and pass it on.
    spent: u128,
}

/// What is known about a flexible outcall when its responses are looked at.
struct Committee {
    counts: ReplicationCounts,
    fees: Fees,
    /// Cycles each node may spend.
    allowance: u128,
}

/// How a flexible outcall ends.
#[derive(Debug)]
struct Decision {
    result: FlexibleResult,
    /// Cycles that all of it took, without the base fee.
    spent: u128,
}

impl Network {
    /// Answers a flexible outcall with the responses of as many nodes of its committee; the other nodes
    /// never respond. The canister gets the result in the next round. When the responses decide nothing,
    /// the outcall is listed no more and times out.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`], [`NetworkError::UnknownConsensusCall`] also for an outcall that has
    /// been answered, [`NetworkError::OutcallIsNotFlexible`], [`NetworkError::CommitteeResponses`].
    pub fn answer_flexible_outcall(
        &mut self,
        subnet_id: &SubnetId,
        request_id: u64,
        responses: Vec<HttpAnswer>,
    ) -> Result<(), NetworkError> {
        let subnet = self
            .subnets
            .get_mut(subnet_id)
            .ok_or(NetworkError::SubnetNotFound(*subnet_id))?;
        let outcall = subnet
            .unanswered_outcalls()
            .find(|outcall| outcall.request_id == request_id)
            .ok_or(NetworkError::UnknownConsensusCall(request_id))?;
        let Replication::Flexible(counts) = outcall.replication else {
            return Err(NetworkError::OutcallIsNotFlexible(request_id));
        };
        let (given, committee) = (responses.len(), counts.total_requests);
        if given as u64 > u64::from(committee) {
            return Err(NetworkError::CommitteeResponses { given, committee });
        }
        let fees = subnet.rules.fees.vm;
        let mut seen = Vec::with_capacity(given);
        for (node, response) in (0..committee).zip(responses) {
            let raw_bytes = match &response {
                HttpAnswer::Reply(reply) => headers_bytes(&reply.headers) + reply.body.len(),
                HttpAnswer::Reject { .. } => 0,
            };
            let content = subnet.outcall_content(&self.env, &outcall, response);
            let spent = fees.flexible_http_node(raw_bytes as u64, content_bytes(&content));
            seen.push(NodeResponse {
                node: node_id(subnet_id, node),
                content,
                spent: spent.get(),
            });
        }
        let Some(waiting) = subnet.state.consensus_calls.get_mut(&request_id) else {
            return Err(NetworkError::UnknownConsensusCall(request_id));
        };
        let committee = Committee {
            counts,
            fees,
            allowance: waiting.call.cycles / u128::from(counts.total_requests.max(1)),
        };
        match committee.decide(seen) {
            None => waiting.undecided = true,
            Some(decision) => {
                let answer = decision.result.encode();
                subnet.push_paid_response(request_id, answer, decision.spent);
            }
        }
        Ok(())
    }
}

impl Committee {
    /// Returns how the outcall ends with these responses, or `None` when they decide nothing.
    fn decide(&self, seen: Vec<NodeResponse>) -> Option<Decision> {
        let spent: u128 = seen.iter().map(|response| response.spent).sum();
        let seen_count = seen.len();
        let (mut replies, mut rejects): (Vec<_>, Vec<_>) = seen
            .into_iter()
            .partition(|response| matches!(response.content, Answer::Reply(_)));
        // The smallest come first, as they are what fits and what costs least.
        let by_size = |response: &NodeResponse| (content_bytes(&response.content), response.spent);
        replies.sort_by_key(by_size);
        rejects.sort_by_key(by_size);
        let min = self.counts.min_responses as usize;
        let slack = (self.counts.total_requests as usize).saturating_sub(min);
        let funds = self.allowance.saturating_mul(seen_count as u128);
        let left = funds.checked_sub(spent);
        if replies.len() >= min {
            let max = self.counts.max_responses as usize;
            if let Some(count) = left.and_then(|left| self.select(&replies, min, max, left)) {
                replies.truncate(count);
                return Some(Decision {
                    spent: spent.saturating_add(self.delivery(&replies)),
                    result: FlexibleResult::Ok(decoded(&replies)?),
                });
            }
        } else if rejects.len() > slack
            && let Some(count) =
                left.and_then(|left| self.select(&rejects, slack + 1, rejects.len(), left))
        {
            rejects.truncate(count);
            return Some(Decision {
                spent: spent.saturating_add(self.delivery(&rejects)),
                result: too_many_rejects(&rejects),
            });
        }
        let result = self
            .too_large(&replies, &rejects)
            .or_else(|| self.out_of_cycles(&replies, &rejects))?;
        Some(Decision { result, spent })
    }

    /// Returns how many of the candidates are delivered: as many as fit into a block and are paid for.
    fn select(
        &self,
        candidates: &[NodeResponse],
        min: usize,
        max: usize,
        left: u128,
    ) -> Option<usize> {
        (min..=max.min(candidates.len())).rev().find(|&count| {
            candidates.get(..count).is_some_and(|selected| {
                in_block(selected) < BLOCK_BYTES_MAX && self.delivery(selected) <= left
            })
        })
    }

    /// Returns the price of putting these responses into a block.
    fn delivery(&self, responses: &[NodeResponse]) -> u128 {
        self.delivery_of(responses.len(), contents_bytes(responses))
    }

    fn delivery_of(&self, count: usize, bytes: u64) -> u128 {
        let extra = count.saturating_sub(self.counts.min_responses as usize);
        self.fees
            .flexible_http_delivery(count as u64, bytes, extra as u64)
            .get()
    }

    fn unseen(&self, replies: &[NodeResponse], rejects: &[NodeResponse]) -> usize {
        (self.counts.total_requests as usize).saturating_sub(replies.len() + rejects.len())
    }

    fn too_large(
        &self,
        replies: &[NodeResponse],
        rejects: &[NodeResponse],
    ) -> Option<FlexibleResult> {
        let unseen = self.unseen(replies, rejects);
        let needed = (self.counts.min_responses as usize).saturating_sub(unseen);
        let smallest = replies.get(..needed)?;
        if in_block(smallest) <= BLOCK_BYTES_MAX {
            return None;
        }
        let sizes: Vec<String> = smallest
            .iter()
            .map(|reply| content_bytes(&reply.content).to_string())
            .collect();
        let message = format!(
            "Responses too large: need at least {min} OK responses to fit within {BLOCK_BYTES_MAX} bytes, but even the smallest {needed} (= {min} min_responses - {unseen} unseen) of {ok} OK responses have sizes [{sizes}] bytes ({ok} ok + {reject} reject + {unseen} unseen = {total} total_requests)",
            min = self.counts.min_responses,
            ok = replies.len(),
            reject = rejects.len(),
            total = self.counts.total_requests,
            sizes = sizes.join(", "),
        );
        let bytes = |response: &NodeResponse| format!("{} bytes", content_bytes(&response.content));
        Some(FlexibleResult::error(
            GlobalError::ResponsesTooLarge(Reserved),
            seen_details(replies, rejects, bytes),
            message,
        ))
    }

    /// Nodes that have not responded are taken to spend nothing and to respond with nothing.
    fn out_of_cycles(
        &self,
        replies: &[NodeResponse],
        rejects: &[NodeResponse],
    ) -> Option<FlexibleResult> {
        let total = self.counts.total_requests as usize;
        let min = self.counts.min_responses as usize;
        let unseen = self.unseen(replies, rejects);
        let cheapest = |known: &[NodeResponse], count: usize| {
            let smallest = known.get(..count.saturating_sub(unseen))?;
            Some(self.delivery_of(count, contents_bytes(smallest)))
        };
        let rejects_needed = total.saturating_sub(min) + 1;
        let costs = [cheapest(replies, min), cheapest(rejects, rejects_needed)];
        let cost = costs.into_iter().flatten().min()?;
        let spent: u128 = replies.iter().chain(rejects).map(|node| node.spent).sum();
        let funds = self.allowance.saturating_mul(total as u128);
        let left = funds.saturating_sub(spent);
        if left >= cost {
            return None;
        }
        let message = format!(
            "Out of cycles: {} of the assigned replicas reported a collective spend of {} cycles, leaving {} cycles of the attached payment (after base fee deduction). Delivering a response would cost at least {} cycles.",
            replies.len() + rejects.len(),
            grouped(spent),
            grouped(left),
            grouped(cost),
        );
        let cycles = |response: &NodeResponse| format!("{} cycles spent", grouped(response.spent));
        Some(FlexibleResult::error(
            GlobalError::OutOfCycles(Reserved),
            seen_details(replies, rejects, cycles),
            message,
        ))
    }
}

/// Returns the reply to a flexible outcall that has waited too long.
pub(crate) fn timed_out() -> Answer {
    FlexibleResult::error(
        GlobalError::Timeout(Reserved),
        Vec::new(),
        "Flexible HTTP request timed out".to_owned(),
    )
    .encode()
}

fn too_many_rejects(rejects: &[NodeResponse]) -> FlexibleResult {
    let details = rejects.iter().map(|response| match &response.content {
        Answer::Reject { code, message } => {
            NodeDetail::new(response.node, code.name(), message.clone())
        }
        Answer::Reply(_) => NodeDetail::new(response.node, "ok", String::new()),
    });
    FlexibleResult::error(
        GlobalError::TooManyRejects(Reserved),
        details.collect(),
        format!("Too many rejects: {} responses are rejects", rejects.len()),
    )
}

fn seen_details(
    replies: &[NodeResponse],
    rejects: &[NodeResponse],
    message: impl Fn(&NodeResponse) -> String,
) -> Vec<NodeDetail> {
    let detail =
        |code, response: &NodeResponse| NodeDetail::new(response.node, code, message(response));
    let replies = replies.iter().map(|response| detail("ok", response));
    let rejects = rejects.iter().map(|response| detail("reject", response));
    replies.chain(rejects).collect()
}

/// Returns the responses as values; `None` when a transform function replied something else, which no
/// node can deliver.
fn decoded(replies: &[NodeResponse]) -> Option<Vec<HttpRequestResult>> {
    let value = |response: &NodeResponse| match &response.content {
        Answer::Reply(bytes) => millrace_vm::decode_candid(bytes).ok(),
        Answer::Reject { .. } => None,
    };
    replies.iter().map(value).collect()
}

/// Returns the bytes that are gossiped and priced: of a rejection, its text and one for its code.
fn content_bytes(content: &Answer) -> u64 {
    match content {
        Answer::Reply(_) => content.bytes(),
        Answer::Reject { .. } => content.bytes() + 1,
    }
}

fn contents_bytes(responses: &[NodeResponse]) -> u64 {
    let bytes = responses.iter().map(|node| content_bytes(&node.content));
    bytes.sum()
}

/// Returns the bytes these responses take of a block.
fn in_block(responses: &[NodeResponse]) -> u64 {
    contents_bytes(responses) + FLEXIBLE_RESPONSE_PROOF_BYTES * responses.len() as u64
}

/// Returns the id of a node of the committee. Subnets have one node here, so these stand for nodes that
/// do not exist; they are the same in every run.
fn node_id(subnet: &SubnetId, index: u32) -> Principal {
    Principal::self_authenticating([subnet.as_slice(), &index.to_be_bytes()].concat())
}

fn cannot_encode(error: &candid::Error) -> Answer {
    Answer::Reject {
        code: RejectCode::SysFatal,
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
