//! Pulling from a scripted source: whole replies, pages, faults.

use std::collections::BTreeMap;

use super::setup::*;
use super::validation::core_blocks;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Block, BlockHash, Witness};
use millrace_candid::{
    BlockSelector, BlockValidation, GetBlockArgs, InitConfig, InitNetwork, RejectionKind,
};
use millrace_core::block::MAX_BLOCK_BYTES;
use millrace_core::sync::{FIRST_HOLD_SECONDS, MAX_BAD_COPIES};
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::blobs::BlobKey;
use millrace_store::cells::Counter;
use serde_bytes::ByteBuf;

use crate::pull::{
    Ask, GetSuccessorsComplete, GetSuccessorsPartial, GetSuccessorsRequest, GetSuccessorsResponse,
};

fn next_index(ask: &Ask, blocks: &[Vec<u8>]) -> usize {
    let GetSuccessorsRequest::Initial(initial) = &ask.request else {
        panic!("expected an initial request, got {:?}", ask.request);
    };
    let last = initial
        .processed_block_hashes
        .last()
        .unwrap_or(&initial.anchor);
    let last = BlockHash::from_slice(last).unwrap();
    blocks
        .iter()
        .position(|block| hash_of(block) == last)
        .map_or(0, |index| index + 1)
}

pub(super) fn complete(blocks: &[Vec<u8>], next: &[Vec<u8>]) -> Vec<u8> {
    let response = GetSuccessorsResponse::Complete(GetSuccessorsComplete {
        blocks: blocks
            .iter()
            .map(|block| ByteBuf::from(block.clone()))
            .collect(),
        next: next
            .iter()
            .map(|block| ByteBuf::from(&block[..80]))
            .collect(),
    });
    candid::encode_one(response).unwrap()
}

#[test]
fn pulled_blocks_give_the_naive_utxo_set() {
    let mut canister = Canister::new(pulling());
    let blocks = real_blocks();
    let blocks = &blocks[..1_000];
    while canister.tip().1 < 1_000 {
        if let Some(ask) = canister.heartbeat() {
            let start = next_index(&ask, blocks);
            let end = (start + 150).min(blocks.len());
            let next = &blocks[end..(end + 100).min(blocks.len())];
            let reply = complete(&blocks[start..end], next);
            canister.app.on_reply(&canister.world, ask.id, Ok(reply));
        }
    }
    canister.settle();
    canister.audit();
    canister.assert_equals(&Model::mainnet(blocks), None);
}

#[test]
fn a_block_in_pages_is_put_together_over_upgrades() {
    let mut canister = Canister::new(pulling());
    let block = &real_blocks()[0];
    let ask = canister.heartbeat().unwrap();
    let partial = GetSuccessorsResponse::Partial(GetSuccessorsPartial {
        partial_block: ByteBuf::from(&block[..100]),
        next: vec![],
        remaining_follow_ups: 2,
    });
    let reply = candid::encode_one(partial).unwrap();
    canister.app.on_reply(&canister.world, ask.id, Ok(reply));
    for (page, range) in [(0u8, 100..150), (1, 150..block.len())] {
        canister.upgrade();
        let ask = canister.heartbeat().unwrap();
        assert_eq!(ask.request, GetSuccessorsRequest::FollowUp(page));
        let reply = GetSuccessorsResponse::FollowUp(ByteBuf::from(&block[range]));
        let reply = candid::encode_one(reply).unwrap();
        canister.app.on_reply(&canister.world, ask.id, Ok(reply));
    }
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(block), 1));
    canister.audit();
}

#[test]
fn no_fault_of_the_source_stops_the_next_question() {
    let mut canister = Canister::new(pulling());
    let blocks = real_blocks();
    // `variant { complete : record { bomb : vec null; blocks, next : vec blob } }` with 2^31 nulls.
    let mut bomb = b"DIDL\x05\x6b\x01".to_vec();
    let label = |bytes: &mut Vec<u8>, name: &str| {
        let hash = candid::idl_hash(name);
        candid::types::leb128::encode_nat(bytes, hash.into()).unwrap();
    };
    label(&mut bomb, "complete");
    bomb.extend(b"\x01\x6c\x03");
    let mut fields = [("bomb", 2u8), ("blocks", 3), ("next", 3)];
    fields.sort_by_key(|(name, _)| candid::idl_hash(name));
    for (name, kind) in fields {
        label(&mut bomb, name);
        bomb.push(kind);
    }
    bomb.extend(b"\x6d\x7f\x6d\x04\x6d\x7b\x01\x00\x00");
    for (name, _) in fields {
        let length: &[u8] = if name == "bomb" {
            b"\x80\x80\x80\x80\x08"
        } else {
            b"\x00"
        };
        bomb.extend(length);
    }
    let faults: [Result<Vec<u8>, String>; 6] = [
        Ok(bomb),
        Err("the source trapped".to_owned()),
        Ok(b"garbage".to_vec()),
        Ok(candid::encode_one("text").unwrap()),
        Ok(candid::encode_one(GetSuccessorsResponse::FollowUp(ByteBuf::from([1]))).unwrap()),
        Ok(complete(&[], &[vec![7; 80]])),
    ];
    for fault in faults {
        let digest = canister.app.store().digest();
        let ask = canister.heartbeat().expect("asks again");
        assert!(canister.heartbeat().is_none(), "one call in flight");
        canister.app.on_reply(&canister.world, ask.id, fault);
        canister.world.now.set(canister.world.now.get() + 100);
        assert_eq!(canister.app.store().digest(), digest);
    }
    assert_eq!(canister.app.store().counters.get(Counter::PullErrors), 5);
    let lost = canister.heartbeat().unwrap();
    canister.world.now.set(canister.world.now.get() + 1_000);
    assert!(
        canister.heartbeat().is_none(),
        "the lost call is given up first"
    );
    canister.world.now.set(canister.world.now.get() + 100);
    let ask = canister.heartbeat().unwrap();
    assert_ne!(ask.id, lost.id);
    let junk = vec![vec![1; 200], vec![0; 10], blocks[0].clone()];
    canister
        .app
        .on_reply(&canister.world, ask.id, Ok(complete(&junk, &[])));
    let late = Ok(complete(&blocks[1..2], &[]));
    canister.app.on_reply(&canister.world, lost.id, late);
    canister.settle();
    assert_eq!(
        canister.tip().1,
        1,
        "good blocks beside junk are taken, late answers are not"
    );
    canister.audit();
}

#[test]
fn a_reply_on_its_way_when_syncing_stops_is_taken() {
    let mut canister = Canister::new(pulling());
    let ask = canister.heartbeat().unwrap();
    let change = millrace_candid::SetConfigRequest {
        syncing: Some(millrace_candid::Flag::Disabled),
        ..millrace_candid::SetConfigRequest::default()
    };
    canister.app.set_config(change).unwrap();
    let blocks = real_blocks();
    let reply = Ok(complete(&blocks[..2], &[]));
    canister.app.on_reply(&canister.world, ask.id, reply);
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(&blocks[1]), 2));
    assert!(canister.heartbeat().is_none(), "nothing more is asked");
    canister.audit();
}

#[test]
fn a_pulled_block_given_up_in_the_queue_is_remembered_and_leaves_no_bytes() {
    let mut canister = Canister::new(pulling());
    let blocks = real_blocks();
    let ask = canister.heartbeat().unwrap();
    let reply = Ok(complete(&blocks[..1], &blocks[..3]));
    canister.app.on_reply(&canister.world, ask.id, reply);
    for _ in 0..PATIENCE {
        canister.watchdog();
    }
    let hash = hash_of(&blocks[0]);
    let status = canister.app.store().tree.get(&hash).unwrap().status();
    let quarantined = BlockStatus::Invalid(InvalidReason::Quarantined);
    assert_eq!(status, quarantined);
    let key = BlobKey::Block(hash);
    assert_eq!(canister.app.store().blobs.length(&key), None);
    canister.audit();
    // The next version may know better: the block's bytes are these alone.
    canister.upgrade();
    canister.world.now.set(canister.world.now.get() + 100);
    let ask = canister.heartbeat().unwrap();
    let reply = Ok(complete(&blocks[..3], &[]));
    canister.app.on_reply(&canister.world, ask.id, reply);
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(&blocks[2]), 3));
    canister.audit();
}

#[test]
fn nothing_is_asked_while_pull_or_syncing_is_off() {
    let mut canister = Canister::new(pushed());
    assert!(canister.heartbeat().is_none(), "adapters switch pull off");
    let mut canister = Canister::new(millrace_candid::InitConfig {
        syncing: Some(millrace_candid::Flag::Disabled),
        ..pulling()
    });
    assert!(canister.heartbeat().is_none());
}

/// A source as on the IC: it sends what follows the anchor and the processed blocks, nearest first,
/// as far as one reply holds it; a larger block comes alone and in pages.
struct Source {
    /// Parents before children.
    blocks: Vec<Vec<u8>>,
    reply_bytes: usize,
    /// The rest of the block that comes in pages.
    pages: Vec<Vec<u8>>,
    /// How often each block was sent.
    sent: BTreeMap<BlockHash, u32>,
}

impl Source {
    fn new(blocks: Vec<Vec<u8>>, reply_bytes: usize) -> Self {
        Self {
            blocks,
            reply_bytes,
            pages: vec![],
            sent: BTreeMap::new(),
        }
    }

    fn answer(&mut self, ask: &Ask) -> Vec<u8> {
        let initial = match &ask.request {
            GetSuccessorsRequest::Initial(initial) => initial,
            GetSuccessorsRequest::FollowUp(_) => {
                let page = ByteBuf::from(self.pages.remove(0));
                return candid::encode_one(GetSuccessorsResponse::FollowUp(page)).unwrap();
            }
        };
        let processed = [std::slice::from_ref(&initial.anchor)].concat();
        let mut known: Vec<BlockHash> = processed
            .iter()
            .chain(&initial.processed_block_hashes)
            .map(|hash| BlockHash::from_slice(hash).unwrap())
            .collect();
        let (mut blocks, mut bytes) = (vec![], 0);
        for block in &self.blocks {
            let parent = BlockHash::from_slice(&block[4..36]).unwrap();
            let is_next = known.contains(&parent) && !known.contains(&hash_of(block));
            if !is_next || (bytes > 0 && bytes + block.len() > self.reply_bytes) {
                continue;
            }
            bytes += block.len();
            *self.sent.entry(hash_of(block)).or_default() += 1;
            blocks.push(block.clone());
            known.push(hash_of(block));
            if bytes > self.reply_bytes {
                break;
            }
        }
        if bytes <= self.reply_bytes {
            return complete(&blocks, &[]);
        }
        let pages = blocks[0].chunks(self.reply_bytes);
        let mut pages: Vec<Vec<u8>> = pages.map(<[u8]>::to_vec).collect();
        let partial = GetSuccessorsPartial {
            partial_block: ByteBuf::from(pages.remove(0)),
            next: vec![],
            remaining_follow_ups: u8::try_from(pages.len()).unwrap(),
        };
        self.pages = pages;
        candid::encode_one(GetSuccessorsResponse::Partial(partial)).unwrap()
    }

    fn times_sent(&self, block: &[u8]) -> u32 {
        self.sent.get(&hash_of(block)).copied().unwrap_or(0)
    }

    /// Lets the canister ask and work until `block` is its tip.
    fn serve(&mut self, canister: &mut Canister, block: &[u8]) {
        for _ in 0..2_000 {
            if canister.tip().0 == hash_of(block) {
                return;
            }
            self.beat(canister);
        }
        panic!("{} never becomes the tip: {:?}", hash_of(block), self.sent);
    }

    fn beat(&mut self, canister: &mut Canister) {
        if let Some(ask) = canister.heartbeat() {
            let reply = self.answer(&ask);
            canister.app.on_reply(&canister.world, ask.id, Ok(reply));
        }
    }
}

/// A regtest canister that pulls and checks all consensus rules, later than every recorded block.
fn pulling_regtest() -> Canister {
    let canister = Canister::new(InitConfig {
        network: Some(InitNetwork::Regtest),
        block_validation: Some(BlockValidation::Consensus),
        ..pulling()
    });
    canister.world.now.set(4_000_000_000);
    canister
}

fn changed(block: &[u8], change: impl FnOnce(&mut Block)) -> Vec<u8> {
    let mut block = deserialize(block).unwrap();
    change(&mut block);
    serialize(&block)
}

/// Another good block beside the given one.
fn sibling(block: &[u8]) -> Vec<u8> {
    let mut block: Block = deserialize(block).unwrap();
    block.txdata[0].output[0].value -= Amount::ONE_SAT;
    remined(block)
}

/// A good header costs little on a test network, and any bytes can follow it.
#[test]
fn a_block_whose_copies_are_all_bad_does_not_keep_its_siblings_away() {
    let blocks = core_blocks();
    let good = sibling(&blocks[10]);
    let damaged = [
        changed(&good, |block| {
            block.txdata[0].input[0].witness = Witness::from_slice(&[[1; 32]]);
        }),
        changed(&good, |block| block.txdata.clear()),
        changed(&good, |block| {
            block.txdata.push(block.txdata[0].clone());
        }),
        [&good[..80], &[0xff; 300]].concat(),
        good[..good.len() - 1].to_vec(),
    ];
    let child = {
        let mut child: Block = deserialize(&blocks[11]).unwrap();
        child.header.prev_blockhash = hash_of(&good);
        remined(child)
    };
    for (case, bad) in damaged.into_iter().enumerate() {
        for reply_bytes in [100, 2_000] {
            let mut canister = pulling_regtest();
            assert_eq!(hash_of(&bad), hash_of(&good));
            let mut list = blocks[..10].to_vec();
            list.extend([bad.clone(), child.clone()]);
            list.extend_from_slice(&blocks[10..30]);
            let mut source = Source::new(list, reply_bytes);
            source.serve(&mut canister, &blocks[29]);
            assert_eq!(source.times_sent(&bad), MAX_BAD_COPIES, "{case}");
            assert!(source.times_sent(&child) <= MAX_BAD_COPIES + 1, "{case}");
            let rejected = canister.app.recent_rejections();
            let bad_copies = rejected
                .iter()
                .filter(|rejection| rejection.kind == Some(RejectionKind::DamagedBytes));
            assert_eq!(bad_copies.count() as u32, MAX_BAD_COPIES, "{case}");
            canister.audit();

            // After a time it is asked for again, and a good copy is as good as any.
            for block in &mut source.blocks {
                if hash_of(block) == hash_of(&good) {
                    block.clone_from(&good);
                }
            }
            let now = canister.world.now.get();
            canister.world.now.set(now + FIRST_HOLD_SECONDS);
            for _ in 0..50 {
                source.beat(&mut canister);
            }
            canister.settle();
            for block in [&good, &child] {
                let node = canister.app.store().tree.get(&hash_of(block)).unwrap();
                assert_eq!(node.status(), BlockStatus::Connected, "{case}");
            }
            canister.audit();
        }
    }
}

/// Its header is in no tree, so it is named beside those that are.
#[test]
fn a_block_that_comes_too_early_does_not_keep_its_siblings_away() {
    let blocks = core_blocks();
    let mut canister = pulling_regtest();
    let now = canister.world.now.get();
    let early: Block = deserialize(&sibling(&blocks[10])).unwrap();
    let early = {
        let mut early = early;
        early.header.time = u32::try_from(now).unwrap() + 3 * 3_600;
        remined(early)
    };
    let mut list = blocks[..10].to_vec();
    list.push(early.clone());
    list.extend_from_slice(&blocks[10..30]);
    let mut source = Source::new(list, 100);
    source.serve(&mut canister, &blocks[29]);
    assert_eq!(source.times_sent(&early), MAX_BAD_COPIES);
    let counters = &canister.app.store().counters;
    let refused = counters.get(Counter::RejectedTooNew);
    assert_eq!(refused, u64::from(MAX_BAD_COPIES));
    assert!(canister.app.store().tree.get(&hash_of(&early)).is_none());
    canister.world.now.set(now + 2 * 3_600);
    for _ in 0..50 {
        source.beat(&mut canister);
    }
    let node = canister.app.store().tree.get(&hash_of(&early));
    assert_eq!(node.unwrap().status(), BlockStatus::Connected);
    canister.audit();
}

#[test]
fn a_block_whose_header_is_bad_does_not_keep_its_siblings_away() {
    let blocks = core_blocks();
    let mut canister = pulling_regtest();
    let mut bad: Block = deserialize(&sibling(&blocks[10])).unwrap();
    bad.header.time = 1;
    let bad = remined(bad);
    let mut list = blocks[..10].to_vec();
    list.push(bad.clone());
    list.extend_from_slice(&blocks[10..30]);
    let mut source = Source::new(list, 100);
    source.serve(&mut canister, &blocks[29]);
    // Once to learn it, then until the source is told.
    assert_eq!(source.times_sent(&bad), 1 + MAX_BAD_COPIES);
    let counters = &canister.app.store().counters;
    assert_eq!(counters.get(Counter::RejectedHeader), 1);
    canister.audit();
}

/// What an adapter pushes must not keep the source's good copies away.
#[test]
fn bad_copies_that_are_pushed_do_not_hold_a_block_off() {
    let mut canister = Canister::new(InitConfig {
        network: Some(InitNetwork::Regtest),
        block_validation: Some(BlockValidation::Consensus),
        adapters: Some(vec![adapter()]),
        ..pulling()
    });
    canister.world.now.set(4_000_000_000);
    let blocks = core_blocks();
    let bad = changed(&blocks[0], |block| {
        block.txdata[0].input[0].witness = Witness::from_slice(&[[1; 32]]);
    });
    for _ in 0..=MAX_BAD_COPIES {
        canister.push_bytes(&bad);
        // The question on its way is given up, so that none keeps its answer.
        canister.settle();
        canister.world.now.set(canister.world.now.get() + 1_000);
    }
    let mut source = Source::new(blocks[..3].to_vec(), 2_000);
    source.serve(&mut canister, &blocks[2]);
    assert_eq!(source.times_sent(&blocks[0]), 1);
}

fn padded(block: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = block.to_vec();
    bytes.resize(length, 0);
    bytes
}

/// The official canister passes over bytes after a block.
#[test]
fn bytes_after_a_pulled_block_are_cut_off_whole_and_in_pages() {
    let blocks = real_blocks();
    let block = &blocks[0];
    for length in [block.len() + 1, block.len() + 9_000, MAX_BLOCK_BYTES + 9] {
        for reply_bytes in [2_000_000, MAX_BLOCK_BYTES + 1_000] {
            let mut canister = Canister::new(pulling());
            let list = vec![padded(block, length), blocks[1].clone()];
            let mut source = Source::new(list, reply_bytes);
            source.serve(&mut canister, &blocks[1]);
            assert_eq!(source.times_sent(block), 1, "{length} {reply_bytes}");
            let held = canister.app.get_block(&GetBlockArgs {
                select: BlockSelector::Height(1),
                offset: None,
                max_bytes: None,
                at_tip: None,
            });
            let held = held.unwrap();
            assert_eq!(
                (held.size as usize, &held.bytes[..]),
                (block.len(), &block[..])
            );
            canister.audit();
        }
    }
}

#[test]
fn a_padded_block_that_waits_over_an_upgrade_is_fetched_again() {
    let blocks = real_blocks();
    let mut canister = Canister::new(pulling());
    let mut source = Source::new(vec![padded(&blocks[0], 5_000)], 100_000);
    let ask = canister.heartbeat().unwrap();
    let reply = source.answer(&ask);
    canister.app.on_reply(&canister.world, ask.id, Ok(reply));
    canister.upgrade();
    source.serve(&mut canister, &blocks[0]);
    assert_eq!(source.times_sent(&blocks[0]), 2);
    canister.audit();
}

#[test]
fn bytes_after_a_pushed_block_are_an_error() {
    let mut canister = Canister::new(pushed());
    let blocks = real_blocks();
    canister.push_bytes(&padded(&blocks[0], 5_000));
    canister.settle();
    assert_eq!(canister.tip().1, 0);
    let refused = canister.feed_state(vec![]).recent_rejections;
    assert_eq!(refused[0].kind, Some(RejectionKind::DamagedBytes));
}

#[test]
fn refused_headers_are_counted_by_reason_and_bad_ones_remembered() {
    let mut canister = Canister::new(pulling());
    let blocks = real_blocks();
    let changed = |change: &dyn Fn(&mut bitcoin::block::Header)| {
        let mut header = millrace_core::block::decode_header(&blocks[0]).unwrap();
        change(&mut header);
        serialize(&header)
    };
    let too_late = u32::try_from(NOW).unwrap() + 3 * 3_600;
    // Work is looked at before time, and only recorded blocks have some: one of these has enough.
    let next = [
        blocks[0].clone(),
        blocks[5].clone(),
        changed(&|header| header.nonce += 1),
        changed(&|header| header.time = too_late),
    ];
    let ask = canister.heartbeat().unwrap();
    let reply = Ok(complete(&[], &next));
    canister.app.on_reply(&canister.world, ask.id, reply);
    let count = |canister: &Canister, counter| canister.app.store().counters.get(counter);
    assert_eq!(count(&canister, Counter::PullHeadersRefused), 3);
    assert_eq!(count(&canister, Counter::RejectedUnknownParent), 1);
    assert_eq!(count(&canister, Counter::RejectedHeader), 2);
    let refused = canister.app.store().rejections.refused_len();
    assert_eq!(refused, 0, "without work they cost nothing to make");

    // A header with work that breaks a rule: the time is not after the median of those before it.
    let mut canister = pulling_regtest();
    let mut bad: Block = deserialize(&core_blocks()[0]).unwrap();
    bad.header.time = 1;
    let bad = remined(bad);
    for round in 1..=2 {
        canister.world.now.set(canister.world.now.get() + 100);
        let ask = canister.heartbeat().unwrap();
        let reply = Ok(complete(&[], std::slice::from_ref(&bad)));
        canister.app.on_reply(&canister.world, ask.id, reply);
        assert_eq!(count(&canister, Counter::PullHeadersRefused), round);
        assert_eq!(count(&canister, Counter::RejectedHeader), 1, "judged once");
        canister.upgrade();
    }
    let store = canister.app.store();
    assert!(store.rejections.refused(&hash_of(&bad)).is_some());
}
