//! The Wasm entry points.

use std::cell::RefCell;
use std::collections::HashMap;

use candid::Principal;
use ic_cdk::call::Call;
use millrace_source_canister::blocks::Blocks;
use millrace_source_canister::reply;
use millrace_source_canister::wire::{
    Calls, Fault, GetSuccessorsRequest, GetSuccessorsResponse, Options, SentTransaction,
};
use serde_bytes::ByteBuf;

#[derive(Default)]
struct State {
    blocks: Blocks,
    options: Options,
    calls: Calls,
    at_once: u32,
    /// The pages left of the large block each asker was given the beginning of.
    pages: HashMap<Principal, Vec<ByteBuf>>,
    sent: Vec<SentTransaction>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[ic_cdk::update]
fn load(blocks: Vec<ByteBuf>) -> u64 {
    STATE.with_borrow_mut(|state| {
        for block in blocks {
            state.blocks.insert(block.into_vec());
        }
        state.blocks.len() as u64
    })
}

#[ic_cdk::update]
fn load_dat(file: ByteBuf) -> u64 {
    STATE.with_borrow_mut(|state| {
        state.blocks.insert_framed(&file);
        state.blocks.len() as u64
    })
}

#[ic_cdk::update]
fn set_options(options: Options) {
    STATE.with_borrow_mut(|state| state.options = options);
}

#[ic_cdk::query]
fn calls() -> Calls {
    STATE.with_borrow(|state| state.calls.clone())
}

#[ic_cdk::update]
fn bitcoin_send_transaction_internal(sent: SentTransaction) {
    STATE.with_borrow_mut(|state| state.sent.push(sent));
}

#[ic_cdk::query]
fn sent() -> Vec<SentTransaction> {
    STATE.with_borrow(|state| state.sent.clone())
}

#[ic_cdk::update(manual_reply = true)]
async fn bitcoin_get_successors(
    request: GetSuccessorsRequest,
) -> std::marker::PhantomData<GetSuccessorsResponse> {
    let asker = ic_cdk::api::msg_caller();
    let (delay_rounds, fault) = STATE.with_borrow_mut(|state| state.begin(&request));
    for _ in 0..delay_rounds {
        // Each takes a round at least; what it answers does not matter.
        let _ = Call::unbounded_wait(Principal::management_canister(), "raw_rand").await;
    }
    let answer = STATE.with_borrow_mut(|state| {
        state.at_once = state.at_once.saturating_sub(1);
        match fault {
            None => Ok(state.answer(asker, &request)),
            Some(fault) => Err(fault),
        }
    });
    match answer {
        Ok(answer) => ic_cdk::api::msg_reply(encoded(&answer)),
        Err(Fault::Empty) => ic_cdk::api::msg_reply(encoded(&complete(Vec::new()))),
        Err(Fault::GarbageBlocks) => {
            let garbage = ByteBuf::from([0xa5; 300]);
            ic_cdk::api::msg_reply(encoded(&complete(vec![garbage, ByteBuf::new()])));
        }
        Err(Fault::GarbageReply) => ic_cdk::api::msg_reply(b"not candid"),
        Err(Fault::Reject) => ic_cdk::api::msg_reject("a fault on demand"),
        Err(Fault::UnaskedPage) => {
            let page = GetSuccessorsResponse::FollowUp(ByteBuf::from([1; 100]));
            ic_cdk::api::msg_reply(encoded(&page));
        }
    }
    std::marker::PhantomData
}

impl State {
    /// Counts the call and takes what it gets: a delay, and a fault while there are some left.
    fn begin(&mut self, request: &GetSuccessorsRequest) -> (u32, Option<Fault>) {
        match request {
            GetSuccessorsRequest::Initial(_) => self.calls.initial += 1,
            GetSuccessorsRequest::FollowUp(_) => self.calls.follow_up += 1,
        }
        self.at_once += 1;
        self.calls.at_once_max = self.calls.at_once_max.max(self.at_once);
        let left = self.options.fault_calls;
        self.options.fault_calls = left.saturating_sub(1);
        let fault = self.options.fault.filter(|_| left > 0);
        (self.options.delay_rounds, fault)
    }

    fn answer(
        &mut self,
        asker: Principal,
        request: &GetSuccessorsRequest,
    ) -> GetSuccessorsResponse {
        match request {
            GetSuccessorsRequest::Initial(initial) => {
                let (answer, pages) = reply::successors(&self.blocks, initial, &self.options);
                self.pages.insert(asker, pages);
                answer
            }
            GetSuccessorsRequest::FollowUp(page) => {
                let pages = self.pages.get(&asker);
                let page = pages.and_then(|pages| pages.get(usize::from(*page)));
                GetSuccessorsResponse::FollowUp(page.cloned().unwrap_or_default())
            }
        }
    }
}

fn complete(blocks: Vec<ByteBuf>) -> GetSuccessorsResponse {
    GetSuccessorsResponse::Complete {
        blocks,
        next: Vec::new(),
    }
}

fn encoded(answer: &GetSuccessorsResponse) -> Vec<u8> {
    candid::encode_one(answer).unwrap_or_else(|error| ic_cdk::trap(error.to_string()))
}

fn main() {}
