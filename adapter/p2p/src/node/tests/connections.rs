//! Whom to connect to, and when.

use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::p2p::message_blockdata::Inventory;
use bitcoin::{Txid, Wtxid};

use super::chain::{START, genesis, mine_chain};
use super::rig::{Rig, closed, connects, nowhere, sent};
use super::stubs::{StubBook, address};
use crate::message::{KnownAddress, Message};
use crate::node::{
    Command, ConnectError, Event, Notice, PeerId, RelayCommand, RelayEvent, RelayOutcome,
    TransportVersion,
};

fn refused(peer: u64) -> Event {
    Event::ConnectFailed {
        peer: PeerId(peer),
        error: ConnectError::Unreachable {
            reason: "refused".to_owned(),
        },
    }
}

#[test]
fn version_1_is_tried_at_once_when_version_2_is_refused() {
    let mut rig = Rig::fixed(1);
    let commands = rig.on(Event::ConnectFailed {
        peer: PeerId(0),
        error: ConnectError::V2Refused {
            reason: "closed".to_owned(),
        },
    });
    assert_eq!(
        connects(&commands),
        [(1, address(0, 0), TransportVersion::V1)]
    );
    rig.on(refused(1));
    let commands = rig.pass(2);
    assert_eq!(
        connects(&commands),
        [(2, address(0, 0), TransportVersion::V2)]
    );
}

#[test]
fn configured_peers_are_tried_with_growing_pauses_and_never_banned() {
    let mut rig = Rig::fixed(1);
    let mut pauses = Vec::new();
    for peer in 0..14 {
        rig.on(refused(peer));
        let began = rig.elapsed;
        while connects(&rig.tick()).is_empty() {
            rig.elapsed = rig.node.wake_at();
        }
        pauses.push(rig.elapsed - began);
    }
    assert!(pauses[0] <= Duration::from_millis(1_500), "{pauses:?}");
    assert!(pauses[13] >= Duration::from_secs(150), "{pauses:?}");
    assert!(
        pauses
            .iter()
            .all(|pause| *pause <= Duration::from_secs(450))
    );
    rig.ready(14);
    let commands = rig.says(14, Message::Verack);
    assert!(closed(&commands, 14).is_some());
    assert!(rig.book.0.lock().unwrap().banned.is_empty());
}

#[test]
fn peers_of_the_book_that_misbehave_are_banned() {
    let book = StubBook::with([address(1, 1)]);
    let (mut rig, _) = Rig::with_book(book, |_| {});
    rig.ready(0);
    let commands = rig.says(0, Message::Verack);
    let day = Duration::from_secs(24 * 60 * 60);
    let is_told = commands.iter().any(|command| {
        matches!(command, Command::Notify(Notice::PeerBanned(_, time, _)) if *time == day)
    });
    assert!(is_told);
    assert_eq!(rig.book.0.lock().unwrap().banned[&address(1, 1)], day);
}

#[test]
fn eight_attempts_are_made_at_a_time_in_different_groups() {
    let addresses = (0..20).flat_map(|group| [address(group, 1), address(group, 2)]);
    let (mut rig, commands) = Rig::with_book(StubBook::with(addresses), |config| {
        config.outbound_peers = 12
    });
    let first: Vec<_> = connects(&commands)
        .iter()
        .map(|connect| connect.1)
        .collect();
    let expected: Vec<_> = (0..8).map(|group| address(group, 1)).collect();
    assert_eq!(first, expected);
    let commands = rig.ready(3);
    assert_eq!(connects(&commands).len(), 1);
    for peer in (0..13).filter(|peer| *peer != 3) {
        rig.ready(peer);
    }
    assert_eq!(rig.node.standing(rig.now()).peers.len(), 12);
    let commands = rig.pass(60);
    assert_eq!(connects(&commands), [], "full");
}

#[test]
fn a_feeler_is_sent_every_two_minutes_when_all_places_are_taken() {
    let addresses = (0..3).map(|group| address(group, 1));
    let (mut rig, _) = Rig::with_book(StubBook::with(addresses), |config| {
        config.outbound_peers = 1
    });
    rig.ready(0);
    rig.says(0, Message::Headers(Vec::new()));
    let commands = rig.pass(121);
    let feelers = connects(&commands);
    assert_eq!(feelers.len(), 1, "{feelers:?}");
    let commands = rig.ready(feelers[0].0);
    assert!(closed(&commands, feelers[0].0).is_some());
    assert_eq!(rig.book.0.lock().unwrap().succeeded.len(), 2);
}

#[test]
fn seeds_are_asked_for_an_empty_book_and_when_nothing_connects() {
    let (mut rig, commands) = Rig::with(|_| {});
    assert!(commands.contains(&Command::FindSeeds));
    assert!(!rig.pass(59).contains(&Command::FindSeeds));
    assert!(rig.pass(1).contains(&Command::FindSeeds));
    let commands = rig.on(Event::SeedsFound(vec![address(4, 4)]));
    assert_eq!(connects(&commands).len(), 1);
    let (_, commands) = Rig::with(|config| config.only_fixed = true);
    assert!(!commands.contains(&Command::FindSeeds));
}

#[test]
fn addresses_are_taken_at_a_bounded_rate() {
    let (mut rig, _) = Rig::with_book(StubBook::with([address(1, 1)]), |_| {});
    let commands = rig.ready(0);
    assert!(sent(&commands, 0).contains(&&Message::GetAddr));
    let known = |first: u32, count: u32| {
        let known = (first..first + count).map(|number| KnownAddress {
            time: 0,
            services: 9,
            address: address(100 + (number / 256) as u8, (number % 256) as u8),
        });
        Message::Addr(known.collect())
    };
    rig.says(0, known(0, 1_000));
    rig.says(0, known(1_000, 1_000));
    assert_eq!(rig.book.0.lock().unwrap().addresses.len(), 1_001);
    rig.pass(50);
    rig.says(0, known(1_000, 1_000));
    assert_eq!(rig.book.0.lock().unwrap().addresses.len(), 1_006);
    let commands = rig.says(0, known(0, 1_001));
    assert!(closed(&commands, 0).is_some());
}

#[test]
fn transactions_go_through_relay() {
    let mut rig = Rig::fixed(1);
    rig.ready(0);
    let inventory = vec![Inventory::WTx(Wtxid::from_byte_array([1; 32]))];
    let both = vec![Inventory::Block(nowhere()), inventory[0]];
    rig.says(0, Message::Inv(both));
    let txid = Txid::from_byte_array([2; 32]);
    *rig.relay.answers.lock().unwrap() = vec![
        RelayCommand::Send(PeerId(0), Message::Inv(inventory.clone())),
        RelayCommand::Send(PeerId(5), Message::Inv(inventory.clone())),
        RelayCommand::Report(txid, RelayOutcome::Seen),
    ];
    let commands = rig.says(0, Message::GetData(inventory.clone()));
    assert_eq!(sent(&commands, 0), [&Message::Inv(inventory.clone())]);
    assert!(sent(&commands, 5).is_empty(), "nobody is there");
    assert!(commands.contains(&Command::Report(txid, RelayOutcome::Seen)));
    rig.says(0, Message::FeeFilter(1_000));
    rig.on(Event::Closed {
        peer: PeerId(0),
        reason: "reset".to_owned(),
    });
    let heard = rig.relay.heard.lock().unwrap();
    let names: Vec<&str> = heard
        .iter()
        .map(|event| match event {
            RelayEvent::PeerReady { .. } => "ready",
            RelayEvent::Announced { inventory, .. } if inventory.len() == 1 => "announced",
            RelayEvent::Wanted { .. } => "wanted",
            RelayEvent::FeeFilter { rate: 1_000, .. } => "fee filter",
            RelayEvent::PeerGone(_) => "gone",
            _ => "other",
        })
        .collect();
    assert_eq!(
        names,
        ["ready", "announced", "wanted", "fee filter", "gone"]
    );
}

#[test]
fn standing_says_who_is_there_and_why_nothing_moves() {
    let mut rig = Rig::fixed(1);
    let standing = rig.node.standing(rig.now());
    assert!(standing.waiting.unwrap().contains("no peer is connected"));
    rig.ready(0);
    let standing = rig.node.standing(rig.now());
    assert!(standing.waiting.unwrap().contains("waiting for headers"));
    let headers = mine_chain(genesis(), 3, START, 1);
    rig.says(0, Message::Headers(headers.clone()));
    assert_eq!(rig.node.standing(rig.now()).waiting, None);
    rig.on(Event::Want(vec![headers[1].block_hash()]));
    let standing = rig.node.standing(rig.now());
    assert!(standing.waiting.unwrap().contains("the block of height 2"));
    assert_eq!((standing.height.get(), standing.in_flight), (3, 2));
    let peer = &standing.peers[0];
    assert_eq!((peer.height.get(), peer.in_flight), (3, 2));
    assert_eq!(peer.user_agent, "/rig/");
}
