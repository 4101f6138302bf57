//! A Millrace canister in the place of the official one, and a stand-in for the Bitcoin adapter of its
//! subnet: answers to `bitcoin_get_successors` travel through the consensus queue, as on the IC.

use std::collections::{BTreeSet, VecDeque};

use bitcoin::{Block, BlockHash};
use candid::Principal;
use millrace_candid::{Budgets, Flag, InitConfig, InitNetwork};
use millrace_source_canister::wire::GetSuccessorsRequest;
use pocket_ic::PocketIc;

use super::{Control, Setup, bitcoin_instance, hash_of, pushed};

/// The official canister's id on testnets and regtest.
pub const BITCOIN_TESTNET_CANISTER: &str = "g4xu7-jiaaa-aaaan-aaaaq-cai";

/// Answers the canister's calls for blocks from one chain.
pub struct BitcoinAdapter {
    subnet: Principal,
    /// Blocks above genesis, lowest first.
    chain: Vec<Block>,
    /// Rounds between a call and its answer.
    latency_rounds: u64,
    /// Blocks in one answer, at most.
    reply_blocks: usize,
    /// Answers on their way: the round in which they are due, callback, and what is answered.
    answers: VecDeque<(u64, u64, Vec<usize>)>,
    seen: BTreeSet<u64>,
    round: u64,
}

impl Setup {
    /// A regtest canister on the Bitcoin subnet that asks the subnet's adapter for blocks.
    pub fn official(budgets: Budgets) -> Self {
        Self::official_in(bitcoin_instance(), budgets)
    }

    /// The same in this instance, which has a Bitcoin subnet.
    pub fn official_in(pic: PocketIc, budgets: Budgets) -> Self {
        let id = Principal::from_text(BITCOIN_TESTNET_CANISTER).expect("a principal");
        let config = InitConfig {
            pull: Some(Flag::Enabled),
            budgets: Some(budgets),
            // Its adapter is for reading the feed state; nothing is pushed.
            ..pushed(InitNetwork::Regtest)
        };
        Self::with_id(pic, id, config)
    }

    /// The subnet of the canister.
    pub fn subnet(&self) -> Principal {
        let subnet = self.pic.get_subnet(self.canister);
        subnet.expect("the canister is on a subnet")
    }
}

impl BitcoinAdapter {
    /// An adapter that knows this chain.
    pub fn new<'a>(
        setup: &Setup,
        chain: impl IntoIterator<Item = &'a Block>,
        latency_rounds: u64,
        reply_blocks: usize,
    ) -> Self {
        Self {
            subnet: setup.subnet(),
            chain: chain.into_iter().cloned().collect(),
            latency_rounds,
            reply_blocks,
            answers: VecDeque::new(),
            seen: BTreeSet::new(),
            round: 0,
        }
    }

    /// Does what the adapter does between two rounds: notes new calls, and puts answers that are due into
    /// the consensus queue. Returns how many it put there.
    pub fn work(&mut self, control: &Control) -> usize {
        self.round += 1;
        for call in control.consensus_calls(self.subnet) {
            if call.method == "bitcoin_get_successors" && self.seen.insert(call.callback) {
                let found = self.successors(&call.payload);
                let due_round = self.round + self.latency_rounds;
                self.answers.push_back((due_round, call.callback, found));
            }
        }
        let mut put = 0;
        while let Some((due_round, _, _)) = self.answers.front()
            && *due_round <= self.round
        {
            let (_, callback, found) = self.answers.pop_front().expect("there is a first");
            let blocks: Vec<&Block> = found.iter().map(|at| &self.chain[*at]).collect();
            control
                .answer_with_blocks(self.subnet, callback, &blocks)
                .unwrap_or_else(|error| panic!("callback {callback}: {error}"));
            put += 1;
        }
        put
    }

    /// The next blocks that the asker lacks, by their place in the chain.
    fn successors(&self, request: &[u8]) -> Vec<usize> {
        let request = candid::decode_one(request).expect("the contract's request");
        let GetSuccessorsRequest::Initial(initial) = request else {
            panic!("follow-ups are not for the adapter");
        };
        let mut has: BTreeSet<BlockHash> = initial
            .processed_block_hashes
            .iter()
            .map(|hash| hash_of(hash))
            .collect();
        let anchor = hash_of(&initial.anchor);
        has.insert(anchor);
        let start = self
            .chain
            .iter()
            .position(|block| block.header.prev_blockhash == anchor)
            .unwrap_or(self.chain.len());
        let missing =
            (start..self.chain.len()).filter(|at| !has.contains(&self.chain[*at].block_hash()));
        missing.take(self.reply_blocks).collect()
    }
}
