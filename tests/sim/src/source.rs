//! The blocks source that a pulling canister asks: answers honestly, late, falsely, or not at all.

use std::collections::BTreeSet;

use bitcoin::consensus::serialize;
use millrace_canister::pull::{
    GetSuccessorsComplete, GetSuccessorsInitial, GetSuccessorsPartial, GetSuccessorsRequest,
    GetSuccessorsResponse,
};
use serde_bytes::ByteBuf;

use crate::run::{Checked, Run};
use crate::schedule::Answer;
use crate::subject::{Asked, Subject};

/// Headers of blocks to come in one answer.
const HEADERS: usize = 20;

/// What the source remembers.
#[derive(Default)]
pub(crate) struct Source {
    /// The call to answer.
    pub(crate) asked: Option<Asked>,
    /// Pages of a block that are not asked for yet.
    pages: Vec<Vec<u8>>,
    /// The last answer that was given, and to which call.
    last: Option<(u64, Vec<u8>)>,
}

impl<S: Subject> Run<S> {
    /// Answers the call in flight, if there is one.
    pub(crate) fn answer(&mut self, answer: Answer) -> Checked {
        if answer == Answer::Again {
            let Some((call, bytes)) = self.source.last.clone() else {
                return Ok(());
            };
            self.coverage.note("answer", answer);
            return self.deliver(call, Ok(bytes));
        }
        let Some(asked) = self.source.asked.take() else {
            return Ok(());
        };
        self.coverage.note("answer", answer);
        let response = match answer {
            Answer::Lost | Answer::Again => return Ok(()),
            Answer::Reject => {
                return self.deliver(asked.call, Err("reject code 2: busy".to_owned()));
            }
            Answer::Garbage => return self.deliver(asked.call, Ok(vec![0x44; 40])),
            Answer::WrongKind => match asked.request {
                GetSuccessorsRequest::Initial(_) => {
                    GetSuccessorsResponse::FollowUp(ByteBuf::from([1; 100]))
                }
                GetSuccessorsRequest::FollowUp(_) => complete(Vec::new(), Vec::new()),
            },
            Answer::Malformed => match asked.request {
                GetSuccessorsRequest::Initial(_) => complete(Vec::new(), vec![vec![0; 79]]),
                GetSuccessorsRequest::FollowUp(_) => {
                    GetSuccessorsResponse::FollowUp(ByteBuf::new())
                }
            },
            _ => match &asked.request {
                GetSuccessorsRequest::Initial(initial) => self.initial(initial, answer)?,
                GetSuccessorsRequest::FollowUp(page) => self.follow_up(*page),
            },
        };
        let bytes = candid::encode_one(response).unwrap_or_default();
        self.source.last = Some((asked.call, bytes.clone()));
        self.deliver(asked.call, Ok(bytes))
    }

    fn deliver(&mut self, call: u64, answer: Result<Vec<u8>, String>) -> Checked {
        match self.subject.reply(call, answer) {
            Ok(()) => Ok(()),
            Err(trap) => self.excuse(&trap),
        }
    }

    fn follow_up(&mut self, page: u8) -> GetSuccessorsResponse {
        let page = self.source.pages.get(usize::from(page)).cloned();
        GetSuccessorsResponse::FollowUp(ByteBuf::from(page.unwrap_or_default()))
    }

    fn initial(
        &mut self,
        initial: &GetSuccessorsInitial,
        answer: Answer,
    ) -> Result<GetSuccessorsResponse, crate::run::Failure> {
        let anchor = self.named(&initial.anchor)?;
        let processed = initial.processed_block_hashes.iter();
        let processed: Result<BTreeSet<usize>, _> =
            processed.map(|hash| self.named(hash)).collect();
        let processed = processed?;
        let is_honest = !matches!(answer, Answer::Anything(_));
        let wanted = self.wanted(anchor, &processed, is_honest);
        let headers = wanted.iter().take(HEADERS);
        let next: Vec<Vec<u8>> = headers
            .map(|place| serialize(&self.model.at(*place).block.header))
            .collect();
        let blocks = |count: u8| wanted.iter().take(usize::from(count)).copied();
        Ok(match answer {
            Answer::Pages(count) => {
                let Some(first) = wanted.first().copied() else {
                    return Ok(complete(Vec::new(), next));
                };
                let bytes = &self.model.at(first).bytes;
                let length = bytes.len().div_ceil(usize::from(count.max(1)));
                let mut pages: Vec<Vec<u8>> = bytes.chunks(length).map(<[u8]>::to_vec).collect();
                let partial_block = ByteBuf::from(pages.remove(0));
                self.source.pages = pages;
                GetSuccessorsResponse::Partial(GetSuccessorsPartial {
                    partial_block,
                    next: next.into_iter().map(ByteBuf::from).collect(),
                    remaining_follow_ups: self.source.pages.len() as u8,
                })
            }
            Answer::Blocks(count) | Answer::Anything(count) => {
                let bytes = blocks(count).map(|place| self.model.at(place).bytes.clone());
                complete(bytes.collect(), next)
            }
            Answer::Damaged(count) => {
                let places: Vec<usize> = blocks(count).collect();
                self.damaged.extend(&places);
                let bytes = places.iter().map(|place| {
                    let mut bytes = self.model.at(*place).bytes.clone();
                    let at = 80 + *place % (bytes.len() - 80);
                    bytes[at] ^= 1;
                    self.forms.entry(*place).or_default().push(bytes.clone());
                    bytes
                });
                complete(bytes.collect(), next)
            }
            Answer::Padded(count) => {
                self.padded.extend(blocks(count));
                let bytes = blocks(count).map(|place| {
                    let mut bytes = self.model.at(place).bytes.clone();
                    bytes.extend([0; 11]);
                    bytes
                });
                complete(bytes.collect(), next)
            }
            _ => complete(Vec::new(), next),
        })
    }

    /// Returns what follows the blocks that the canister has, parents first.
    fn wanted(&self, anchor: usize, processed: &BTreeSet<usize>, is_honest: bool) -> Vec<usize> {
        let mut has: BTreeSet<usize> = processed.clone();
        has.insert(anchor);
        let mut wanted = Vec::new();
        for (place, block) in self.model.blocks().iter().enumerate() {
            let is_next = block.parent.is_some_and(|parent| has.contains(&parent));
            if is_next && !processed.contains(&place) && (block.is_valid || !is_honest) {
                has.insert(place);
                wanted.push(place);
            }
        }
        wanted
    }
}

fn complete(blocks: Vec<Vec<u8>>, next: Vec<Vec<u8>>) -> GetSuccessorsResponse {
    let wire = |list: Vec<Vec<u8>>| list.into_iter().map(ByteBuf::from).collect();
    GetSuccessorsResponse::Complete(GetSuccessorsComplete {
        blocks: wire(blocks),
        next: wire(next),
    })
}
