//! Block download rule by rule.

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::p2p::ServiceFlags;
use bitcoin::p2p::message_blockdata::Inventory;
use millrace_core::Height;
use millrace_core::block::BlockError;

use super::chain::{START, genesis, mine_chain};
use super::rig::{Rig, asked, block, closed, misbehaved, nowhere, sent, version};
use crate::message::{Message, Version};
use crate::node::{CloseReason, Command, Event};

/// Peers that all have the chain.
fn synced(peers: u8, blocks: u32) -> (Rig, Vec<Header>) {
    synced_with(peers, blocks, &version())
}

fn synced_with(peers: u8, blocks: u32, version: &Version) -> (Rig, Vec<Header>) {
    let headers = mine_chain(genesis(), blocks, START, 1);
    let mut rig = Rig::fixed(peers);
    for peer in 0..u64::from(peers) {
        rig.ready_with(peer, version.clone());
        rig.says(peer, Message::Headers(headers.clone()));
    }
    (rig, headers)
}

fn hashes(headers: &[Header]) -> Vec<BlockHash> {
    headers.iter().map(Header::block_hash).collect()
}

fn delivered(commands: &[Command]) -> Vec<BlockHash> {
    let hashes = commands.iter().filter_map(|command| match command {
        Command::Deliver(hash, _) => Some(*hash),
        _ => None,
    });
    hashes.collect()
}

#[test]
fn nothing_is_fetched_before_something_is_wanted() {
    let (mut rig, headers) = synced(1, 50);
    assert_eq!(asked(&rig.pass(60), 0), []);
    let all = hashes(&headers);
    let commands = rig.on(Event::Want(vec![all[9]]));
    assert_eq!(
        asked(&commands, 0),
        all[9..25],
        "16 at a time, from the wanted one on"
    );
    let commands = rig.says(0, block(&headers[10], 500, Ok(())));
    assert_eq!(delivered(&commands), []);
    assert_eq!(asked(&commands, 0), all[25..26]);
    let commands = rig.says(0, block(&headers[9], 500, Ok(())));
    assert_eq!(delivered(&commands), all[9..10]);
    let commands = rig.on(Event::Want(vec![all[10]]));
    assert_eq!(delivered(&commands), all[10..11], "it was at hand");
}

#[test]
fn what_cannot_be_delivered_is_said_at_once() {
    let (mut rig, headers) = synced(1, 5);
    let commands = rig.on(Event::Want(vec![nowhere()]));
    assert!(matches!(commands.as_slice(), [Command::CannotDeliver(hash, _)] if *hash == nowhere()));
    let all = hashes(&headers);
    rig.on(Event::Want(all.clone()));
    let verdict = Err(BlockError::BaseTooLarge {
        hash: all[2],
        bytes: 2_000_000,
    });
    let commands = rig.says(0, block(&headers[2], 500, verdict));
    let refused: Vec<BlockHash> = commands
        .iter()
        .filter_map(|command| match command {
            Command::CannotDeliver(hash, _) => Some(*hash),
            _ => None,
        })
        .collect();
    assert_eq!(refused, all[2..], "the bad block and those after it");
    assert_eq!(rig.node.headers().tip_height(), Height::new(2));
    assert_eq!(closed(&commands, 0), None, "the header had its work");
    let commands = rig.says(0, block(&headers[0], 500, Ok(())));
    assert_eq!(delivered(&commands), all[..1]);
}

#[test]
fn a_bad_copy_is_blamed_and_fetched_elsewhere() {
    let (mut rig, headers) = synced(2, 1);
    let all = hashes(&headers);
    let commands = rig.on(Event::Want(all.clone()));
    assert_eq!(asked(&commands, 0), all);
    let verdict = Err(BlockError::Mutated { hash: all[0] });
    let commands = rig.says(0, block(&headers[0], 500, verdict));
    assert!(misbehaved(&commands, 0));
    assert_eq!(asked(&commands, 1), all);
    let commands = rig.says(1, block(&headers[0], 500, Ok(())));
    assert_eq!(delivered(&commands), all);
}

#[test]
fn what_a_peer_does_not_have_is_fetched_elsewhere() {
    let (mut rig, headers) = synced(2, 1);
    let all = hashes(&headers);
    rig.on(Event::Want(all.clone()));
    let missing = vec![Inventory::WitnessBlock(all[0])];
    let commands = rig.says(0, Message::NotFound(missing.clone()));
    assert_eq!(asked(&commands, 1), all);
    let commands = rig.says(1, Message::NotFound(missing));
    assert!(sent(&commands, 0).is_empty() && sent(&commands, 1).is_empty());
    let told = rig.pass(15);
    let told = told.iter().any(|command| {
        matches!(command, Command::Notify(notice) if format!("{notice:?}").contains("no connected peer"))
    });
    assert!(told);
    let commands = rig.pass(60);
    assert_eq!(asked(&commands, 0), all, "asked again after a minute");
}

#[test]
fn a_lost_connection_frees_its_blocks() {
    let (mut rig, headers) = synced(2, 16);
    let all = hashes(&headers);
    let commands = rig.on(Event::Want(all.clone()));
    let (first, second) = (asked(&commands, 0), asked(&commands, 1));
    assert_eq!((first.len(), second.len()), (8, 8));
    let commands = rig.on(Event::Closed {
        peer: crate::node::PeerId(0),
        reason: "reset".to_owned(),
    });
    assert_eq!(asked(&commands, 1), first);
    assert_eq!(rig.node.download.bytes_asked, 16 * 4_000_000);
}

#[test]
fn blocks_nobody_asked_for_are_dropped_and_counted() {
    let (mut rig, headers) = synced(1, 20);
    let commands = rig.says(0, block(&headers[0], 500, Ok(())));
    assert_eq!(commands, []);
    assert_eq!(rig.node.download.unsolicited, 1);
    assert_eq!(rig.node.download.held_count(), 0);
}

#[test]
fn pruned_peers_are_asked_for_recent_blocks_only() {
    let mut pruned = version();
    pruned.services = (ServiceFlags::NETWORK_LIMITED | ServiceFlags::WITNESS).to_u64();
    let (mut rig, headers) = synced_with(1, 400, &pruned);
    let all = hashes(&headers);
    let commands = rig.on(Event::Want(vec![all[112]]));
    assert_eq!(
        asked(&commands, 0).first(),
        Some(&all[113]),
        "height 114 is the lowest"
    );
    let commands = rig.on(Event::Want(vec![all[113]]));
    assert_eq!(delivered(&commands), [], "on its way already");
}

#[test]
fn the_only_peer_is_kept_as_long_as_it_says_anything() {
    let (mut rig, headers) = synced(1, 100);
    rig.on(Event::Want(hashes(&headers)));
    let commands = rig.pass(25 * 60);
    assert_eq!(closed(&commands, 0), None);
    assert!(
        asked(&commands, 0).len() >= 32,
        "asked again every ten minutes"
    );
    rig.answers_pings = false;
    let commands = rig.pass(30 * 60);
    assert!(matches!(
        closed(&commands, 0),
        Some(CloseReason::Slow { .. })
    ));
}

#[test]
fn at_the_end_of_the_chain_a_late_block_is_asked_for_twice() {
    let (mut rig, headers) = synced(2, 1);
    let all = hashes(&headers);
    rig.on(Event::Want(all.clone()));
    assert_eq!(asked(&rig.pass(1), 1), []);
    let commands = rig.pass(1);
    assert_eq!(asked(&commands, 1), all);
    assert_eq!(closed(&commands, 0), None, "it may just be slow");
    let commands = rig.says(1, block(&headers[0], 500, Ok(())));
    assert_eq!(delivered(&commands), all);
    assert_eq!(rig.node.download.bytes_asked, 0);
    let commands = rig.says(0, block(&headers[0], 500, Ok(())));
    assert_eq!(commands, [], "the late copy is neither used nor blamed");
}

#[test]
fn a_reorganisation_fetches_the_new_branch_and_drops_the_old() {
    let (mut rig, headers) = synced(1, 10);
    let all = hashes(&headers);
    rig.on(Event::Want(all[..1].to_vec()));
    for header in &headers {
        rig.says(0, block(header, 500, Ok(())));
    }
    assert_eq!(rig.node.download.held_count(), 9);
    let branch = mine_chain(all[4], 7, START, 2);
    let commands = rig.says(0, Message::Headers(branch.clone()));
    assert_eq!(asked(&commands, 0), hashes(&branch));
    assert_eq!(rig.node.download.held_count(), 4);
    let commands = rig.on(Event::Want(vec![all[6]]));
    assert_eq!(
        asked(&commands, 0),
        [all[6]],
        "a block beside the best chain"
    );
    let commands = rig.says(0, block(&headers[6], 500, Ok(())));
    assert_eq!(delivered(&commands), [all[6]]);
}
