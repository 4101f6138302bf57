//! Pushes by the wrong people and in the wrong shape: refused by name, nothing lost, nothing changed.

use bitcoin::Block;
use bitcoin::hashes::Hash;
use candid::Principal;
use millrace_candid::{
    BlockPart, Budgets, FeedError, FeedStateArgs, Flag, InitNetwork, PartError, PartOutcome,
    SetConfigRequest,
};
use millrace_tests::mining::{BlockPlan, Miner, script};
use millrace_tests::setup::{GENEROUS, Setup, part, parts_of, pushed, stranger};
use serde_bytes::ByteBuf;

/// Budgets under which a heartbeat does one step and no more, so that what is pushed waits.
const ONE_STEP: Budgets = Budgets {
    instructions_per_heartbeat: 1,
    stable_pages_per_heartbeat: 1,
};

/// A regtest canister and a block it does not have yet.
fn with_block() -> (Setup, Block) {
    let mut miner = Miner::new();
    let tip = miner.mine(miner.tree.genesis(), BlockPlan::paying(&script(1)));
    (Setup::regtest(), miner.tree.block(tip).clone())
}

#[test]
fn only_adapters_may_push_or_ask_what_is_wanted() {
    let (setup, block) = with_block();
    let before = setup.snapshot(&[]);
    // A controller is no adapter unless it is named as one.
    for caller in [stranger(), Principal::anonymous(), setup.controller] {
        let refused = FeedError::NotAnAdapter { caller };
        assert_eq!(
            setup.feed_state_with(caller, Vec::new()),
            Err(refused.clone())
        );
        let pushed = setup
            .pic
            .update_call(
                setup.canister,
                caller,
                "push_blocks",
                candid::encode_one([part(&block)]).expect("parts encode"),
            )
            .map(|reply| {
                candid::decode_one::<millrace_candid::PushBlocksResult>(&reply)
                    .expect("the contract's type")
            });
        match pushed {
            Ok(receipt) => assert_eq!(receipt, Err(refused)),
            // Refused before execution, by inspect_message.
            Err(reject) => assert!(
                reject.reject_message.contains("rejected the message"),
                "{reject}"
            ),
        }
    }
    setup.pic.tick();
    assert_eq!(setup.snapshot(&[]), before);
}

#[test]
fn malformed_parts_are_refused_one_by_one_beside_good_ones() {
    let (setup, block) = with_block();
    let good = part(&block);
    let size = good.size;
    let cases: Vec<(&str, BlockPart, PartError)> = vec![
        (
            "a hash of 31 bytes",
            BlockPart {
                hash: ByteBuf::from([1; 31]),
                ..good.clone()
            },
            PartError::MalformedHash {
                given_bytes: 31,
                expected_bytes: 32,
            },
        ),
        (
            "no bytes",
            BlockPart {
                bytes: ByteBuf::new(),
                ..good.clone()
            },
            PartError::EmptyPart,
        ),
        (
            "more bytes than the block has",
            BlockPart {
                offset: 10,
                ..good.clone()
            },
            PartError::BeyondEnd {
                offset: 10,
                length: size,
                size,
            },
        ),
        (
            "another block's hash",
            BlockPart {
                hash: ByteBuf::from([1; 32]),
                ..good.clone()
            },
            PartError::HeaderHashMismatch {
                computed: good.hash.clone(),
            },
        ),
        (
            "a later part first",
            BlockPart {
                offset: 90,
                bytes: ByteBuf::from(&good.bytes[90..]),
                ..good.clone()
            },
            PartError::UnexpectedOffset {
                expected: 0,
                given: 90,
            },
        ),
    ];
    let before = setup.snapshot(&[]);
    for (name, part, wanted) in cases {
        assert_eq!(
            setup.push_part(part),
            PartOutcome::Rejected(wanted),
            "{name}"
        );
        assert_eq!(setup.snapshot(&[]), before, "{name}");
    }
    sizes_out_of_range(&setup, &good);
    assert_eq!(setup.snapshot(&[]), before);

    // Bad parts do not spoil the message.
    let empty = BlockPart {
        bytes: ByteBuf::new(),
        ..good.clone()
    };
    let nameless = BlockPart {
        hash: ByteBuf::new(),
        ..good.clone()
    };
    let receipt = setup
        .push_parts(setup.adapter, &[empty, good, nameless])
        .expect("the adapter may push");
    assert_eq!(
        receipt.outcomes,
        [
            PartOutcome::Rejected(PartError::EmptyPart),
            PartOutcome::Queued,
            PartOutcome::Rejected(PartError::MalformedHash {
                given_bytes: 0,
                expected_bytes: 32
            })
        ]
    );
    setup.tick_until_tip(block.block_hash());
}

fn sizes_out_of_range(setup: &Setup, good: &BlockPart) {
    let max = setup
        .feed_state()
        .expect("the adapter asks")
        .max_block_bytes;
    let with_size = |size| {
        setup.push_part(BlockPart {
            size,
            bytes: ByteBuf::from(&good.bytes[..40]),
            ..good.clone()
        })
    };
    assert_eq!(
        with_size(max + 1),
        PartOutcome::Rejected(PartError::BlockTooLarge { size: max + 1, max })
    );
    match with_size(60) {
        PartOutcome::Rejected(PartError::BlockTooSmall { size: 60, min }) => assert!(min > 60),
        other => panic!("a block of 60 bytes: {other:?}"),
    }
}

#[test]
fn chunks_out_of_order_are_told_where_to_go_on_and_repeated_ones_are_harmless() {
    let (setup, block) = with_block();
    let parts = parts_of(&block, 50);
    assert!(parts.len() >= 4, "the block is cut into several parts");
    assert_eq!(
        setup.push_part(parts[0].clone()),
        PartOutcome::Incomplete { received: 50 }
    );
    let gap = PartOutcome::Rejected(PartError::UnexpectedOffset {
        expected: 50,
        given: 100,
    });
    assert_eq!(setup.push_part(parts[2].clone()), gap);
    // What is there already is no error: its sender missed the receipt.
    assert_eq!(
        setup.push_part(parts[0].clone()),
        PartOutcome::Incomplete { received: 50 }
    );
    let resized = BlockPart {
        size: parts[1].size + 1,
        ..parts[1].clone()
    };
    assert_eq!(
        setup.push_part(resized),
        PartOutcome::Rejected(PartError::SizeChanged {
            first: parts[0].size,
            given: parts[0].size + 1
        })
    );
    for part in &parts[1..] {
        assert!(!matches!(
            setup.push_part(part.clone()),
            PartOutcome::Rejected(_)
        ));
    }
    setup.tick_until_tip(block.block_hash());
    assert_eq!(setup.push_part(parts[0].clone()), PartOutcome::Known);
}

#[test]
fn messages_beyond_the_bounds_are_refused_whole() {
    let (setup, block) = with_block();
    let before = setup.snapshot(&[]);
    let max = setup.feed_state().expect("the adapter asks").max_parts;
    let parts = vec![part(&block); max as usize + 1];
    assert_eq!(
        setup.push_parts(setup.adapter, &parts),
        Err(FeedError::TooManyParts {
            given: max + 1,
            max
        })
    );
    let hash = |bytes: usize| ByteBuf::from(vec![1; bytes]);
    let ask = |locator: Vec<ByteBuf>| {
        setup
            .query::<millrace_candid::FeedStateResult>(
                setup.adapter,
                "feed_state",
                (FeedStateArgs { locator },),
            )
            .expect("not a trap")
    };
    assert_eq!(
        ask(vec![hash(32); 65]),
        Err(FeedError::LocatorTooLong { given: 65, max: 64 })
    );
    assert_eq!(
        ask(vec![hash(32), hash(3)]),
        Err(FeedError::MalformedHash {
            given_bytes: 3,
            expected_bytes: 32
        })
    );
    assert_eq!(setup.snapshot(&[]), before);
}

#[test]
fn a_full_queue_says_no_room_and_takes_the_rest_later() {
    let mut miner = Miner::new();
    let genesis = miner.tree.genesis();
    let setup = Setup::regtest();
    let feed = setup.feed_state().expect("the adapter asks");
    let capacity = feed.free_blocks;
    // A round runs with every message: one step in each hardly drains what a message brings.
    set_budgets(&setup, ONE_STEP);
    let tip = miner.mine_many(genesis, capacity + feed.max_parts, &script(1));
    let chain = miner.chain(tip);
    let parts: Vec<BlockPart> = chain.iter().copied().map(part).collect();
    let mut outcomes = Vec::new();
    for message in parts.chunks(feed.max_parts as usize) {
        let receipt = setup
            .push_parts(setup.adapter, message)
            .expect("the adapter may push");
        outcomes.extend(receipt.outcomes);
    }
    let queued = outcomes
        .iter()
        .take_while(|outcome| **outcome == PartOutcome::Queued)
        .count();
    assert!(queued >= capacity as usize, "{queued} of {capacity}");
    assert!(queued < parts.len(), "the queue takes without end");
    assert!(
        outcomes[queued..]
            .iter()
            .all(|outcome| *outcome == PartOutcome::NoRoom),
        "a block has no room and a later one has"
    );

    set_budgets(&setup, GENEROUS);
    setup.push(chain.iter().copied());
    setup.tick_until_tip(tip);
    let feed = setup.feed_state().expect("the adapter asks");
    assert_eq!(
        feed.free_blocks, capacity,
        "an empty queue has its whole room"
    );
    assert_eq!(feed.recent_rejections, [], "no room is no rejection");
}

fn set_budgets(setup: &Setup, budgets: Budgets) {
    let request = SetConfigRequest {
        budgets: Some(budgets),
        ..SetConfigRequest::default()
    };
    setup
        .update::<()>(setup.controller, "set_config", (request,))
        .expect("a controller may");
}

#[test]
fn switching_syncing_off_refuses_blocks_and_on_takes_them_again() {
    let (setup, block) = with_block();
    let switch = |syncing| {
        let request = SetConfigRequest {
            syncing: Some(syncing),
            ..SetConfigRequest::default()
        };
        setup
            .update::<()>(setup.controller, "set_config", (request,))
            .expect("a controller may");
    };
    switch(Flag::Disabled);
    assert_eq!(
        setup.push_parts(setup.adapter, &[part(&block)]),
        Err(FeedError::SyncingDisabled)
    );
    assert_eq!(setup.info().height, 0);
    switch(Flag::Enabled);
    setup.feed([&block]);
    assert_eq!(setup.tip(), block.block_hash());
}

#[test]
fn the_configuration_is_for_controllers_and_bad_values_are_named() {
    let setup = Setup::regtest();
    let before = setup.config();
    let change = SetConfigRequest {
        adapters: Some(vec![stranger()]),
        ..SetConfigRequest::default()
    };
    for caller in [stranger(), setup.adapter, Principal::anonymous()] {
        let reject = setup
            .update::<()>(caller, "set_config", (change.clone(),))
            .expect_err("not a controller");
        assert!(
            reject
                .reject_message
                .contains("Only controllers can call set_config"),
            "{reject}"
        );
    }
    let zero_budget = SetConfigRequest {
        budgets: Some(Budgets {
            instructions_per_heartbeat: 0,
            stable_pages_per_heartbeat: 0,
        }),
        ..SetConfigRequest::default()
    };
    let huge_threshold = SetConfigRequest {
        stability_threshold: Some(u128::MAX.into()),
        ..SetConfigRequest::default()
    };
    for (request, word) in [
        (zero_budget, "instructions_per_heartbeat"),
        (huge_threshold, "stability"),
    ] {
        let reject = setup
            .update::<()>(setup.controller, "set_config", (request,))
            .expect_err("a bad value");
        assert!(reject.reject_message.contains(word), "{reject}");
    }
    assert_eq!(setup.config(), before);

    setup
        .update::<()>(setup.controller, "set_config", (change,))
        .expect("a controller may");
    assert_eq!(setup.config().adapters, [stranger()]);
    assert_eq!(
        setup.feed_state(),
        Err(FeedError::NotAnAdapter {
            caller: setup.adapter
        })
    );
}

#[test]
fn another_networks_blocks_are_refused_by_their_work_or_their_parent() {
    let setup = Setup::new(pushed(InitNetwork::Mainnet));
    let before = setup.snapshot(&[]);
    // Regtest's proof of work is none on mainnet.
    let (_, regtest_block) = with_block();
    let outcome = setup.push_part(part(&regtest_block));
    assert!(
        matches!(&outcome, PartOutcome::Rejected(PartError::InsufficientWork { reason }) if !reason.is_empty()),
        "{outcome:?}"
    );
    // Testnet3's genesis has mainnet's difficulty, and a parent nobody knows: its own hash is new.
    let testnet = bitcoin::constants::genesis_block(bitcoin::Network::Testnet);
    let outcome = setup.push_part(part(&testnet));
    assert!(!matches!(outcome, PartOutcome::Known), "{outcome:?}");
    setup.settle();
    assert_eq!(setup.snapshot(&[]), before);
    let rejections = setup
        .feed_state()
        .expect("the adapter asks")
        .recent_rejections;
    assert!(
        rejections
            .iter()
            .any(|rejection| rejection.hash.as_slice() == testnet.block_hash().to_byte_array()),
        "{rejections:?}"
    );
}
