//! The blocks source that a pulling canister asks: answers honestly, late, falsely, or not at all.

use std::collections::BTreeSet;

use bitcoin::consensus::serialize;
use millrace_canister::pull::{
    GetSuccessorsComplete, GetSuccessorsInitial, GetSuccessorsPartial, GetSuccessorsRequest,
    GetSuccessorsResponse,
};
use serde_bytes::ByteBuf;

use crate::model::MAX_FUTURE;
use crate::run::{Checked, Failure, Run, require};
use crate::schedule::Answer;
use crate::subject::{Asked, Subject};

/// Headers of blocks to come in one answer.
const HEADERS: usize = 20;

/// What is wrong with the blocks of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goods {
    /// Nothing: the bytes are the blocks'.
    Genuine,
    /// Bytes differ.
    Damaged,
    /// Bytes follow.
    Padded,
}

/// What the source remembers.
#[derive(Default)]
pub(crate) struct Source {
    /// The call to answer.
    pub(crate) asked: Option<Asked>,
    /// Pages of a block that are not asked for yet, and the block.
    pages: Vec<Vec<u8>>,
    paged: usize,
    /// Whether it ever answered in a way that has later blocks of it held off, or answers were taken in part.
    is_doubtful: bool,
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
            return self.deliver(call, Ok(bytes), &[], Goods::Genuine);
        }
        let Some(asked) = self.source.asked.take() else {
            return Ok(());
        };
        self.coverage.note("answer", answer);
        let mut places = Vec::new();
        let response = match answer {
            Answer::Lost | Answer::Again => return Ok(()),
            Answer::Reject => {
                let refusal = Err("reject code 2: busy".to_owned());
                return self.deliver(asked.call, refusal, &[], Goods::Genuine);
            }
            Answer::Garbage => {
                return self.deliver(asked.call, Ok(vec![0x44; 40]), &[], Goods::Genuine);
            }
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
                GetSuccessorsRequest::Initial(initial) => {
                    let response;
                    (response, places) = self.initial(initial, answer)?;
                    response
                }
                GetSuccessorsRequest::FollowUp(page) => {
                    if usize::from(*page) + 1 == self.source.pages.len() {
                        places.push(self.source.paged);
                    }
                    self.follow_up(*page)
                }
            },
        };
        let goods = match (answer, &asked.request) {
            (Answer::Damaged(_), GetSuccessorsRequest::Initial(_)) => Goods::Damaged,
            (Answer::Padded(_), GetSuccessorsRequest::Initial(_)) => Goods::Padded,
            _ => Goods::Genuine,
        };
        let bytes = candid::encode_one(response).unwrap_or_default();
        self.source.last = Some((asked.call, bytes.clone()));
        self.source.is_doubtful |= goods != Goods::Genuine
            || matches!(answer, Answer::Anything(_))
            || places.iter().any(|place| self.is_too_new(*place));
        self.deliver(asked.call, Ok(bytes), &places, goods)
    }

    /// Delivers an answer with these blocks, and follows them as far as the length of the queue tells which
    /// were taken.
    fn deliver(
        &mut self,
        call: u64,
        answer: Result<Vec<u8>, String>,
        places: &[usize],
        goods: Goods,
    ) -> Checked {
        let before = if places.is_empty() {
            0
        } else {
            self.queue_length()?
        };
        if let Err(trap) = self.subject.reply(call, answer) {
            return self.excuse(&trap);
        }
        if places.is_empty() {
            return Ok(());
        }
        let rise = self.queue_length()?.saturating_sub(before) as usize;
        if rise == 0 {
            // The call was given up, or the blocks are known.
            return Ok(());
        }
        let is_there = |place: &&usize| self.queued.contains(place) || self.seen.has(**place);
        let new: Vec<usize> = places
            .iter()
            .filter(|place| !is_there(place))
            .copied()
            .collect();
        let is_clear = rise == new.len();
        self.coverage
            .note("pulled", if is_clear { "Followed" } else { "Unclear" });
        match goods {
            Goods::Damaged => self.damaged.extend(&new),
            Goods::Padded => self.padded.extend(&new),
            Goods::Genuine if is_clear => {
                for place in &new {
                    self.damaged.remove(place);
                    self.padded.remove(place);
                }
            }
            Goods::Genuine => {}
        }
        let must_be_clear = self.seen.is_complete
            && self.given_up.is_empty()
            && self.full_beats == 0
            && !self.has_strays
            && !self.source.is_doubtful;
        self.source.is_doubtful |= !is_clear;
        if is_clear {
            self.queued.extend(&new);
        }
        require(
            is_clear || !must_be_clear,
            "a reply's blocks are queued",
            || format!("{rise} blocks queued of {new:?}"),
        )
    }

    fn is_too_new(&self, place: usize) -> bool {
        let time = u64::from(self.model.at(place).block.header.time);
        time > self.subject.now() + MAX_FUTURE
    }

    fn follow_up(&mut self, page: u8) -> GetSuccessorsResponse {
        let page = self.source.pages.get(usize::from(page)).cloned();
        GetSuccessorsResponse::FollowUp(ByteBuf::from(page.unwrap_or_default()))
    }

    fn initial(
        &mut self,
        initial: &GetSuccessorsInitial,
        answer: Answer,
    ) -> Result<(GetSuccessorsResponse, Vec<usize>), Failure> {
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
        let count = match answer {
            Answer::Pages(_) => 1,
            Answer::Blocks(count)
            | Answer::Anything(count)
            | Answer::Damaged(count)
            | Answer::Padded(count) => usize::from(count),
            _ => 0,
        };
        let places: Vec<usize> = wanted.iter().take(count).copied().collect();
        let bytes = |place: &usize| self.model.at(*place).bytes.clone();
        let response = match answer {
            Answer::Pages(count) => {
                let Some(first) = places.first().copied() else {
                    return Ok((complete(Vec::new(), next), places));
                };
                let bytes = &self.model.at(first).bytes;
                let length = bytes.len().div_ceil(usize::from(count.max(1)));
                let mut pages: Vec<Vec<u8>> = bytes.chunks(length).map(<[u8]>::to_vec).collect();
                let partial_block = ByteBuf::from(pages.remove(0));
                self.source.pages = pages;
                self.source.paged = first;
                let is_whole = self.source.pages.is_empty();
                let partial = GetSuccessorsResponse::Partial(GetSuccessorsPartial {
                    partial_block,
                    next: next.into_iter().map(ByteBuf::from).collect(),
                    remaining_follow_ups: self.source.pages.len() as u8,
                });
                let brought = if is_whole { places } else { Vec::new() };
                return Ok((partial, brought));
            }
            Answer::Damaged(_) => {
                let bytes = places.iter().map(|place| {
                    let mut bytes = bytes(place);
                    let at = 80 + *place % (bytes.len() - 80);
                    bytes[at] ^= 1;
                    self.forms.entry(*place).or_default().push(bytes.clone());
                    bytes
                });
                complete(bytes.collect(), next)
            }
            Answer::Padded(_) => {
                let padded = places
                    .iter()
                    .map(|place| [&bytes(place)[..], &[0; 11]].concat());
                complete(padded.collect(), next)
            }
            _ => complete(places.iter().map(bytes).collect(), next),
        };
        Ok((response, places))
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
