//! `bitcoin_get_successors` and `bitcoin_send_transaction_internal`: calls of the Bitcoin canisters for
//! the subnet's Bitcoin adapter.
//!
//! The adapter's answer to an initial request travels through the consensus queue. One that is too large
//! for a message holds a single block; it is cut into pages, the first of which goes through the queue.
//! Follow-ups ask for the others, and are answered at once from what the subnet keeps.

use crate::consensus::refused;
use crate::error::{NetworkError, RejectCode, UserError};
use crate::management::{Outcome, decode};
use crate::message::{Answer, ManagementCall};
use crate::network::Network;
use crate::run::Env;
use crate::subnet::Subnet;
use crate::topology::SubnetId;
use candid::{CandidType, Reserved};
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// Canisters that may call these methods.
const PRIVILEGED_BITCOIN_CANISTERS: [&str; 6] = [
    "g4xu7-jiaaa-aaaan-aaaaq-cai",
    "ghsi2-tqaaa-aaaan-aaaca-cai",
    "axowo-ciaaa-aaaad-acs7q-cai",
    "gsvzx-syaaa-aaaan-aaabq-cai",
    "gordg-fyaaa-aaaan-aaadq-cai",
    "bhuiy-ciaaa-aaaad-abwea-cai",
];

/// Bytes of blocks and headers in one response, at most; more is cut into pages of this size.
const PAGE_BYTES: usize = 2_000_000;

/// What the Bitcoin adapter found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Successors {
    /// Serialised blocks, parents first.
    pub blocks: Vec<Vec<u8>>,
    /// Serialised headers of blocks to come.
    pub next: Vec<Vec<u8>>,
}

#[derive(CandidType, Deserialize)]
enum SuccessorsRequest {
    #[serde(rename = "initial")]
    Initial(Reserved),
    #[serde(rename = "follow_up")]
    FollowUp(u8),
}

#[derive(CandidType, Deserialize)]
enum SuccessorsResponse {
    #[serde(rename = "complete")]
    Complete {
        blocks: Vec<ByteBuf>,
        next: Vec<ByteBuf>,
    },
    #[serde(rename = "partial")]
    Partial {
        partial_block: ByteBuf,
        next: Vec<ByteBuf>,
        remaining_follow_ups: u8,
    },
    #[serde(rename = "follow_up")]
    FollowUp(ByteBuf),
}

impl SuccessorsResponse {
    fn encode(&self) -> Vec<u8> {
        candid::encode_one(self).expect("a response is plain data")
    }
}

impl Network {
    /// Puts the Bitcoin adapter's answer to an initial request into the subnet's consensus queue, which the
    /// next round drains.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`], [`NetworkError::UnknownConsensusCall`],
    /// [`NetworkError::NotAskedForBlocks`].
    pub fn answer_with_blocks(
        &mut self,
        subnet: &SubnetId,
        callback: u64,
        found: Successors,
    ) -> Result<(), NetworkError> {
        let subnet = self
            .subnets
            .get_mut(subnet)
            .ok_or(NetworkError::SubnetNotFound(*subnet))?;
        let waiting = subnet.state.consensus_calls.get(&callback);
        let call = &waiting
            .ok_or(NetworkError::UnknownConsensusCall(callback))?
            .call;
        if call.method != "bitcoin_get_successors" {
            return Err(NetworkError::NotAskedForBlocks(callback));
        }
        let caller = call.origin.caller();
        let answer = match paginate(found) {
            None => Answer::Reject {
                code: RejectCode::CanisterError,
                message: "Received invalid response from adapter: NotOneBlock".to_owned(),
            },
            Some((first, pages)) => {
                // Pages of an earlier block are of no use any more.
                subnet.state.block_pages.insert(caller, pages);
                Answer::Reply(first.encode())
            }
        };
        subnet.push_consensus_response(callback, answer);
        Ok(())
    }
}

/// Returns the first response and the pages that follow it; nothing when several blocks do not fit one
/// response, or one does not fit 256.
fn paginate(found: Successors) -> Option<(SuccessorsResponse, Vec<ByteBuf>)> {
    let Successors { mut blocks, next } = found;
    let all = blocks.iter().chain(&next);
    let bytes: usize = all.map(Vec::len).sum();
    let next = next.into_iter().map(ByteBuf::from).collect();
    if bytes <= PAGE_BYTES {
        let blocks = blocks.into_iter().map(ByteBuf::from).collect();
        return Some((SuccessorsResponse::Complete { blocks, next }, Vec::new()));
    }
    let block = blocks.pop().filter(|_| blocks.is_empty())?;
    let mut pages = block.chunks(PAGE_BYTES).map(ByteBuf::from);
    let partial_block = pages.next()?;
    let pages: Vec<ByteBuf> = pages.collect();
    let remaining_follow_ups = u8::try_from(pages.len()).ok()?;
    let first = SuccessorsResponse::Partial {
        partial_block,
        next,
        remaining_follow_ups,
    };
    Some((first, pages))
}

impl Subnet {
    /// Takes in a call for the Bitcoin adapter.
    pub(crate) fn ask_the_bitcoin_adapter(&mut self, env: &Env, call: ManagementCall) -> Outcome {
        let caller = call.origin.caller().to_text();
        if !PRIVILEGED_BITCOIN_CANISTERS.contains(&caller.as_str()) {
            return refused(&call, "Permission denied.".to_owned());
        }
        if call.method != "bitcoin_get_successors" {
            return self.ask_outside(env, call);
        }
        match decode(&call.payload) {
            Ok(SuccessorsRequest::Initial(_)) => self.ask_outside(env, call),
            Ok(SuccessorsRequest::FollowUp(page)) => Outcome::Done {
                result: self.block_page(&call, page),
                refund: call.cycles,
            },
            Err(error) => Outcome::Done {
                result: Err(error),
                refund: call.cycles,
            },
        }
    }

    fn block_page(&self, call: &ManagementCall, page: u8) -> Result<Vec<u8>, UserError> {
        let refused =
            |text: &str| UserError::new(crate::error::ErrorCode::CanisterRejectedMessage, text);
        let pages = self.state.block_pages.get(&call.origin.caller());
        let pages = pages.ok_or_else(|| refused("Follow up request not found"))?;
        let page = pages.get(usize::from(page));
        let page = page.ok_or_else(|| refused("Page not found."))?;
        Ok(SuccessorsResponse::FollowUp(page.clone()).encode())
    }
}
