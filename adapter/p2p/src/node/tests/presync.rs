//! Chains that have to show their work first.

use millrace_core::Network;
use millrace_core::header::{ChainWork, HeaderContext, HeaderError};

use super::chain::{START, genesis, mine_chain};
use crate::node::presync::{BUFFER, Presync, PresyncError};

fn start(needed: &str) -> Presync {
    let network = Network::Regtest;
    let genesis = HeaderContext::genesis(network);
    let needed = ChainWork::from_hex(needed).unwrap();
    Presync::new(network, genesis, needed, START, (5, 6))
}

#[test]
fn a_chain_with_enough_work_is_let_through_the_second_time() {
    // A block counts 2, the genesis block as well: 4,999 blocks more are needed.
    let headers = mine_chain(genesis(), 6_000, START, 1);
    let mut presync = start("2710");
    let mut released = Vec::new();
    let mut next = 0;
    let mut rounds = 0;
    loop {
        let end = (next + 2_000).min(headers.len());
        let step = presync.take(&headers[next..end], true, START).unwrap();
        rounds += 1;
        released.extend(step.release);
        let Some(from) = step.ask_from else { break };
        next = headers
            .iter()
            .position(|header| header.block_hash() == from)
            .map_or(0, |position| position + 1);
        if rounds < 3 {
            assert!(released.is_empty());
        }
    }
    assert_eq!(rounds, 6);
    assert_eq!(released, headers);
}

#[test]
fn memory_is_bounded_by_the_bits_and_the_buffer() {
    let headers = mine_chain(genesis(), 20_000, START, 1);
    let mut presync = start("9000");
    let mut most_first = 0;
    for part in headers.chunks(2_000) {
        let step = presync.take(part, true, START).unwrap();
        most_first = most_first.max(presync.held_bytes());
        if step.ask_from == Some(genesis()) {
            break;
        }
    }
    assert!(
        most_first <= 8,
        "a bit for each 600 headers: {most_first} bytes"
    );
    let mut released = 0;
    for part in headers.chunks(2_000) {
        let step = presync.take(part, true, START).unwrap();
        released += step.release.len();
        assert!(presync.held_bytes() <= 8 + BUFFER * 80);
        if step.ask_from.is_none() {
            break;
        }
    }
    assert!(released >= 18_431, "{released}");
}

#[test]
fn another_chain_the_second_time_is_noticed() {
    let one = mine_chain(genesis(), 20_000, START, 1);
    let other = mine_chain(genesis(), 20_000, START, 2);
    let mut presync = start("9000");
    for part in one.chunks(2_000) {
        if presync.take(part, true, START).unwrap().ask_from == Some(genesis()) {
            break;
        }
    }
    let mut released = 0;
    let error = other.chunks(2_000).find_map(|part| {
        let step = presync.take(part, true, START);
        released += step.as_ref().map_or(0, |step| step.release.len());
        step.err()
    });
    assert!(
        matches!(error, Some(PresyncError::Changed { .. })),
        "{error:?}"
    );
    assert_eq!(released, 0);
}

#[test]
fn chains_that_end_too_early_or_break_a_rule_are_given_up() {
    let headers = mine_chain(genesis(), 2_000, START, 1);
    let mut presync = start("9000");
    let error = presync.take(&headers, false, START).unwrap_err();
    assert!(matches!(error, PresyncError::LowWork { .. }), "{error:?}");
    let mut headers = headers;
    headers[100].time = 1;
    let mut presync = start("9000");
    let error = presync.take(&headers, true, START).unwrap_err();
    assert!(
        matches!(
            error,
            PresyncError::Header(
                HeaderError::InsufficientWork { .. } | HeaderError::TimeTooOld { .. }
            )
        ),
        "{error:?}"
    );
}
