//! Headers first.

use bitcoin::p2p::message_blockdata::Inventory;
use millrace_core::{Height, UnixSeconds};

use super::chain::{START, genesis, mine_chain};
use super::rig::{Rig, asks_headers, closed, misbehaved, nowhere, sent};
use crate::message::Message;
use crate::node::{CloseReason, Command};

/// A clock two days ago: chains that end there are not recent.
const OLD: UnixSeconds = UnixSeconds::new(START.get() - 2 * 24 * 60 * 60);

#[test]
fn one_peer_is_asked_first_and_the_others_when_it_has_no_more() {
    let mut rig = Rig::fixed(3);
    assert!(asks_headers(&rig.ready(0), 0));
    assert!(!asks_headers(&rig.ready(1), 1));
    rig.ready(2);
    let headers = mine_chain(genesis(), 2_100, OLD, 1);
    let commands = rig.says(0, Message::Headers(headers[..2_000].to_vec()));
    assert!(asks_headers(&commands, 0) && !asks_headers(&commands, 1));
    assert!(commands.contains(&Command::ChainChanged {
        from: Height::new(1)
    }));
    let commands = rig.says(0, Message::Headers(headers[2_000..].to_vec()));
    assert!(!asks_headers(&commands, 0) && asks_headers(&commands, 1));
    assert_eq!(rig.node.headers().tip_height(), Height::new(2_100));
}

#[test]
fn another_peer_is_asked_after_two_seconds_without_progress() {
    let mut rig = Rig::fixed(2);
    rig.ready(0);
    rig.ready(1);
    assert!(!asks_headers(&rig.pass(1), 1));
    assert!(asks_headers(&rig.pass(1), 1));
    let commands = rig.pass(119);
    let reason = closed(&commands, 0);
    assert!(
        matches!(reason, Some(CloseReason::Slow { .. })),
        "{reason:?}"
    );
}

#[test]
fn announcements_are_followed() {
    let mut rig = Rig::fixed(1);
    rig.ready(0);
    let headers = mine_chain(genesis(), 5, START, 1);
    rig.says(0, Message::Headers(headers[..3].to_vec()));
    let hash = headers[3].block_hash();
    let commands = rig.says(0, Message::Inv(vec![Inventory::Block(hash)]));
    assert!(asks_headers(&commands, 0));
    let commands = rig.says(0, Message::Inv(vec![Inventory::Block(hash)]));
    assert!(!asks_headers(&commands, 0), "one question at a time");
    rig.says(0, Message::Headers(headers[3..4].to_vec()));
    let commands = rig.says(0, Message::Headers(headers[4..].to_vec()));
    assert_eq!(rig.node.headers().tip_height(), Height::new(5));
    assert!(!asks_headers(&commands, 0));
    let known = headers[0].block_hash();
    let commands = rig.says(0, Message::Inv(vec![Inventory::Block(known)]));
    assert!(!asks_headers(&commands, 0));
}

#[test]
fn headers_no_honest_peer_sends_end_the_connection() {
    let good = mine_chain(genesis(), 5, START, 1);
    let mut gap = good.clone();
    gap.remove(2);
    let mut worthless = good.clone();
    while worthless[4].target().is_met_by(worthless[4].block_hash()) {
        worthless[4].nonce += 1;
    }
    let too_old = mine_chain(genesis(), 5, UnixSeconds::new(1_000_000), 1);
    for (name, headers) in [
        ("a gap", gap),
        ("no work", worthless),
        ("old times", too_old),
    ] {
        let mut rig = Rig::fixed(1);
        rig.ready(0);
        let commands = rig.says(0, Message::Headers(headers));
        assert!(misbehaved(&commands, 0), "{name}: {commands:?}");
        assert!(rig.node.headers().len() <= 5, "{name}");
        assert_eq!(rig.node.headers().orphans(), 0, "{name}");
    }
}

#[test]
fn headers_ahead_of_the_clock_are_neither_kept_nor_blamed() {
    let mut rig = Rig::fixed(1);
    rig.ready(0);
    let ahead = UnixSeconds::new(START.get() + 2 * 60 * 60 + 60);
    let headers = mine_chain(genesis(), 5, ahead, 1);
    let commands = rig.says(0, Message::Headers(headers));
    assert_eq!(closed(&commands, 0), None);
    assert_eq!(rig.node.headers().tip_height(), Height::new(4));
    assert_eq!(rig.node.headers().orphans(), 0);
}

#[test]
fn unconnected_headers_are_not_kept_and_end_the_connection_in_the_end() {
    let mut rig = Rig::fixed(1);
    rig.ready(0);
    let headers = mine_chain(nowhere(), 5, START, 1);
    for _ in 0..10 {
        let commands = rig.says(0, Message::Headers(headers.clone()));
        assert!(asks_headers(&commands, 0));
        assert_eq!(rig.node.headers().orphans(), 0);
    }
    assert!(misbehaved(&rig.says(0, Message::Headers(headers)), 0));
}

#[test]
fn branches_far_below_the_tip_need_work() {
    let mut rig = Rig::fixed(1);
    rig.ready(0);
    let headers = mine_chain(genesis(), 1_000, START, 1);
    rig.says(0, Message::Headers(headers.clone()));
    let cheap = mine_chain(headers[799].block_hash(), 20, START, 2);
    rig.says(0, Message::Headers(cheap));
    assert_eq!(rig.node.headers().len(), 1_001);
    let near = mine_chain(headers[899].block_hash(), 20, START, 3);
    rig.says(0, Message::Headers(near));
    assert_eq!(rig.node.headers().len(), 1_021);
    let heavier = mine_chain(headers[799].block_hash(), 201, START, 4);
    let commands = rig.says(0, Message::Headers(heavier));
    assert!(commands.contains(&Command::ChainChanged {
        from: Height::new(801)
    }));
}

#[test]
fn a_locator_is_bounded_and_ends_at_the_genesis_block() {
    let mut rig = Rig::fixed(2);
    rig.ready(0);
    let headers = mine_chain(genesis(), 1_900, START, 1);
    rig.says(0, Message::Headers(headers.clone()));
    let commands = rig.ready(1);
    let messages = sent(&commands, 1);
    let locator = messages.iter().find_map(|message| match message {
        Message::GetHeaders { locator, .. } => Some(locator),
        _ => None,
    });
    let locator = locator.unwrap();
    assert_eq!(locator[0], headers[1_898].block_hash(), "the tip's parent");
    assert_eq!(locator.last(), Some(&genesis()));
    assert!(locator.len() < 30, "{}", locator.len());
}

#[test]
fn a_chain_that_never_catches_up_costs_an_outbound_peer_its_place() {
    use super::stubs::{StubBook, address};
    let book = StubBook::with([address(1, 1), address(2, 2)]);
    let (mut rig, commands) = Rig::with_book(book, |config| config.outbound_peers = 2);
    assert_eq!(super::rig::connects(&commands).len(), 2);
    rig.ready(0);
    rig.ready(1);
    rig.says(0, Message::Headers(mine_chain(genesis(), 10, START, 1)));
    rig.says(1, Message::Headers(Vec::new()));
    assert!(closed(&rig.pass(20 * 60 - 1), 1).is_none());
    let commands = rig.pass(2);
    assert!(asks_headers(&commands, 1));
    rig.says(1, Message::Headers(Vec::new()));
    let commands = rig.pass(2 * 60);
    let reason = closed(&commands, 1);
    assert!(
        matches!(reason, Some(CloseReason::Useless { .. })),
        "{reason:?}"
    );
    assert!(closed(&commands, 0).is_none());
}

/// Bitcoin Core announces no block while it is itself in its initial download.
#[test]
fn a_peer_is_asked_again_and_again_while_the_tip_is_old() {
    let mut rig = Rig::fixed(1);
    assert!(asks_headers(&rig.ready(0), 0));
    rig.says(0, Message::Headers(Vec::new()));
    for _ in 0..3 {
        assert!(!asks_headers(&rig.pass(4), 0));
        assert!(asks_headers(&rig.pass(1), 0));
        rig.says(0, Message::Headers(Vec::new()));
    }
}
