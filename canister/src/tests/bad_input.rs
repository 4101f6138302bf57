//! Bad blocks and parts: each a typed refusal, and nothing else changes.

use super::setup::*;
use bitcoin::consensus::deserialize;
use bitcoin::{Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use millrace_candid::{BlockPart, InitConfig, InitNetwork, PartError, PartOutcome};
use millrace_core::tree::{BlockStatus, InvalidReason};
use millrace_store::cells::Counter;
use serde_bytes::ByteBuf;

fn rejected(outcome: PartOutcome) -> PartError {
    match outcome {
        PartOutcome::Rejected(error) => error,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn bad_parts_are_refused_one_by_one_and_change_nothing() {
    let mut canister = Canister::new(pushed());
    let blocks = real_blocks();
    canister.feed(&blocks[..10]);
    let good = whole(&blocks[10]);
    let wrong_hash = BlockPart {
        hash: whole(&blocks[11]).hash,
        ..good.clone()
    };
    let mut weak = blocks[10].clone();
    weak[76] ^= 1;
    let table = [
        (
            BlockPart {
                hash: ByteBuf::from([1; 31]),
                ..good.clone()
            },
            "MalformedHash",
        ),
        (
            BlockPart {
                bytes: ByteBuf::new(),
                ..good.clone()
            },
            "EmptyPart",
        ),
        (
            BlockPart {
                size: 4_000_001,
                ..good.clone()
            },
            "BlockTooLarge",
        ),
        (
            BlockPart {
                size: 80,
                ..good.clone()
            },
            "BlockTooSmall",
        ),
        (
            BlockPart {
                size: 100,
                ..good.clone()
            },
            "BeyondEnd",
        ),
        (
            BlockPart {
                offset: u32::MAX,
                ..good.clone()
            },
            "BeyondEnd",
        ),
        (
            BlockPart {
                size: 1_000,
                offset: 100,
                ..good.clone()
            },
            "UnexpectedOffset",
        ),
        (wrong_hash, "HeaderHashMismatch"),
        (whole(&weak), "InsufficientWork"),
    ];
    let digest = canister.app.store().digest();
    for (part, expected) in table {
        let receipt = canister.push_parts(vec![part]);
        let error = rejected(receipt.outcomes[0].clone());
        assert!(
            format!("{error:?}").starts_with(expected),
            "{error:?}, not {expected}"
        );
        assert_eq!(canister.app.store().digest(), digest, "{expected}");
    }
    canister.audit();
    assert_eq!(
        canister.push_bytes(&blocks[10]),
        PartOutcome::Queued,
        "siblings go on"
    );
}

#[test]
fn blocks_that_do_not_fit_the_chain_are_refused_and_not_remembered() {
    let mut canister = Canister::new(pushed());
    let blocks = real_blocks();
    canister.feed(&blocks[..10]);
    let before = canister.app.store().digest();
    assert_eq!(canister.push_bytes(&blocks[20]), PartOutcome::Queued);
    canister.settle();
    assert_eq!(canister.app.store().digest(), before);
    let state = canister.feed_state(vec![]);
    let rejection = &state.recent_rejections[0];
    assert!(rejection.reason.contains("unknown"), "{}", rejection.reason);
    canister.feed(&blocks[10..21]);
    assert_eq!(
        canister.tip().1,
        21,
        "the same block is welcome after its parents"
    );
}

#[test]
fn damaged_bodies_of_good_headers_are_wanted_again() {
    let blocks = real_blocks();
    let mut cut = blocks[0].clone();
    cut.truncate(150);
    let mut longer = blocks[0].clone();
    longer.push(0);
    let mut flipped = blocks[0].clone();
    flipped[120] ^= 1;
    for damaged in [cut, longer, flipped] {
        let mut canister = Canister::new(pushed());
        assert_eq!(canister.push_bytes(&damaged), PartOutcome::Queued);
        // Its child waits for it and goes with it.
        assert_eq!(canister.push_bytes(&blocks[1]), PartOutcome::Queued);
        canister.settle();
        assert_eq!(canister.tip().1, 0);
        assert_eq!(canister.app.store().held().0, 0);
        canister.audit();
        let counter = canister
            .app
            .store()
            .counters
            .get(Counter::RejectedDamagedBytes);
        assert_eq!(counter, 1);
        canister.feed(&blocks[..2]);
        assert_eq!(canister.tip().1, 2);
        canister.audit();
    }
}

fn regtest() -> Canister {
    Canister::new(InitConfig {
        network: Some(InitNetwork::Regtest),
        ..pushed()
    })
}

/// A regtest block on the genesis block that spends `inputs`.
fn block_spending(inputs: &[OutPoint], nonce: u32) -> Vec<u8> {
    let mut block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    block.header.prev_blockhash = block.block_hash();
    block.header.time += 600 + nonce;
    let input = |outpoint: &OutPoint| TxIn {
        previous_output: *outpoint,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    };
    if let Some(script) = block.txdata[0].input.first_mut() {
        script.script_sig = ScriptBuf::from_bytes(vec![4, nonce as u8, 1, 1, 1]);
    }
    let output = TxOut {
        value: Amount::from_sat(1),
        script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
    };
    for outpoint in inputs {
        block.txdata.push(Transaction {
            version: bitcoin::transaction::Version::ONE,
            lock_time: bitcoin::absolute::LockTime::ZERO,
            input: vec![input(outpoint)],
            output: vec![output.clone()],
        });
    }
    remined(block)
}

#[test]
fn spending_what_is_not_there_condemns_the_block_and_its_siblings_go_on() {
    let mut canister = regtest();
    let missing = OutPoint {
        txid: "11".repeat(32).parse().unwrap(),
        vout: 0,
    };
    let bad = block_spending(&[missing], 1);
    let good = block_spending(&[], 2);
    canister.push_bytes(&bad);
    canister.push_bytes(&good);
    canister.settle();
    assert_eq!(canister.tip(), (hash_of(&good), 1));
    let status = canister
        .app
        .store()
        .tree
        .get(&hash_of(&bad))
        .unwrap()
        .status();
    assert_eq!(status, BlockStatus::Invalid(InvalidReason::Coins));
    canister.audit();
    canister.upgrade();
    let again = rejected(canister.push_bytes(&bad));
    assert!(matches!(again, PartError::InvalidBlock { .. }), "{again:?}");
    let state = canister.feed_state(vec![]);
    assert!(state.recent_rejections[0].reason.contains("does not exist"));
}

#[test]
fn blocks_of_another_network_are_refused() {
    let mut canister = regtest();
    let digest = canister.app.store().digest();
    canister.push_bytes(&real_blocks()[0]);
    canister.settle();
    assert_eq!(canister.app.store().digest(), digest);
    assert_eq!(
        canister
            .app
            .store()
            .counters
            .get(Counter::RejectedUnknownParent),
        1
    );
    let block: Block = deserialize(&block_spending(&[], 3)).unwrap();
    let mut mainnet = Canister::new(pushed());
    let refused = rejected(mainnet.push_bytes(&bitcoin::consensus::serialize(&block)));
    assert!(
        matches!(refused, PartError::InsufficientWork { .. }),
        "{refused:?}"
    );
}
