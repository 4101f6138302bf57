//! What is stored of a commitment.

use ic_stable_structures::VectorMemory;
use millrace_core::commitment::{Committer, CountedCoin};

use super::*;

fn commitment(height: u32) -> Commitment {
    let mut committer = Committer::new(Commitment::default());
    committer.put(&CountedCoin {
        outpoint: bitcoin::OutPoint::null(),
        height: Height::new(height),
        coinbase: true,
        satoshi: 7,
        script: &[b"script"],
    });
    committer.finish()
}

fn hash(byte: u8) -> BlockHash {
    BlockHash::from_byte_array([byte; 32])
}

fn states() -> Vec<State> {
    let key = |byte| OutpointKey {
        txid: [byte; 32],
        vout: u32::MAX,
    };
    let in_hand = |next| InHand {
        block: hash(2),
        next,
        change: commitment(2),
    };
    let mut states = Vec::new();
    for mark in [None, Some(key(3))] {
        for in_hand in [None, Some(in_hand(None)), Some(in_hand(Some(key(4))))] {
            states.push(State {
                block: hash(1),
                height: Height::new(9),
                mark,
                set: commitment(1),
                since: Height::new(5),
                in_hand,
            });
        }
    }
    states
}

#[test]
fn a_state_is_read_as_it_was_written() {
    for state in states() {
        assert_eq!(State::decode(&state.encode()), Ok(Some(state)));
    }
    assert_eq!(State::decode(&[0; STATE_BYTES]), Ok(None));
}

#[test]
fn a_state_that_something_else_wrote_is_damaged() {
    let mut bytes = states()[0].encode();
    bytes[0] ^= 1;
    let error = State::decode(&bytes).unwrap_err();
    assert!(error.to_string().contains("it begins with"), "{error}");
    bytes[0] ^= 1;
    bytes[4] = 8;
    let error = State::decode(&bytes).unwrap_err();
    assert!(error.to_string().contains("flags 0x08"), "{error}");
}

#[test]
fn the_history_keeps_the_last_blocks_and_survives_reopening() {
    let memory = VectorMemory::default();
    let mut commitments = Commitments::open(memory.clone()).unwrap();
    assert_eq!(commitments.of_height(Height::ZERO), None);
    commitments.begin(hash(0), Height::ZERO).unwrap();
    let newest = HISTORY + 100;
    let name = |height: u32| hash(height.to_le_bytes()[0]);
    for height in 1..=newest {
        if let Some(state) = &mut commitments.state {
            state.in_hand = Some(InHand {
                block: name(height),
                next: None,
                change: Commitment::default(),
            });
        }
        commitments.retire(&name(height - 1), &name(height));
    }
    let reopened = Commitments::open(memory).unwrap();
    assert_eq!(reopened.state, commitments.state);
    let standing = reopened.standing(&name(newest));
    let (first, last) = (Height::new(101), Height::new(newest));
    assert_eq!(standing, Standing::Complete { first, last });
    for height in [first, last, Height::new(HISTORY)] {
        let kept = reopened.of_height(height).unwrap();
        assert_eq!((kept.height, kept.block), (height, name(height.get())));
    }
    assert_eq!(reopened.of_height(Height::new(100)), None);
    assert_eq!(reopened.of_height(last.next()), None);
}

#[test]
fn a_block_that_was_not_taken_in_leaves_the_commitment_behind() {
    let mut commitments = Commitments::open(VectorMemory::default()).unwrap();
    commitments.begin(hash(0), Height::ZERO).unwrap();
    commitments.retire(&hash(0), &hash(1));
    assert_eq!(commitments.standing(&hash(1)), Standing::None);
    commitments.begin(hash(1), Height::new(1)).unwrap();
    assert_eq!(
        commitments.standing(&hash(1)),
        Standing::CatchingUp { coins: 0 }
    );
    commitments.give_up();
    assert_eq!(commitments.standing(&hash(1)), Standing::None);
    assert!(commitments.is_given_up());
}
