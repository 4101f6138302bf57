//! Peers that stall, lie, flood and vanish, beside honest ones.

use std::sync::atomic::Ordering;

use bitcoin::Network;
use millrace_tests::bitcoind::{LISTENING, Node};
use millrace_tests::scripted_peer::{Behaviour, ScriptedPeer};

use super::world::World;

const BLOCKS: usize = 1_200;

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_s_chain_arrives_whatever_other_peers_do() {
    let mut world = World::new(63, &[]);
    world.grow(BLOCKS);
    let other = Node::with("regtest", LISTENING);
    other.submit(&world.blocks);
    let genesis = bitcoin::constants::genesis_block(Network::Regtest);
    let best = world.best_chain();
    let chain: Vec<_> = std::iter::once(genesis).chain(best).collect();
    let scripted: Vec<ScriptedPeer> = [
        Behaviour::Stall,
        Behaviour::Lie,
        Behaviour::Lack,
        Behaviour::Garbage,
        Behaviour::Flood,
        Behaviour::Vanish,
        Behaviour::Honest,
    ]
    .map(|behaviour| ScriptedPeer::start(behaviour, chain.clone()))
    .into();
    let mut peers = vec![world.node.peer_address(), other.peer_address()];
    peers.extend(scripted.iter().map(|peer| peer.address.clone()));
    let peers = peers.join(",");
    // Two thirds of the chain's work: what the flood sends has less.
    let work = format!("{:x}", BLOCKS * 2 * 2 / 3);
    let adapter = world.adapter(
        "crowd",
        &[
            "--source",
            "p2p",
            "--only-peers",
            "--peers",
            &peers,
            "--minimum-chain-work",
            &work,
        ],
    );
    world.reach_tip();
    world.assert_same_as_the_node();
    // Each was met, and did what it does.
    for (peer, at) in scripted.iter().zip(0..) {
        let connections = peer.counts.connections.load(Ordering::Relaxed);
        assert!(connections > 0, "peer {at} was never connected to");
    }
    let stalled = scripted[0].counts.wanted.load(Ordering::Relaxed);
    let lied = scripted[1].counts.wanted.load(Ordering::Relaxed);
    assert!(stalled > 0 && lied > 0, "{stalled}, {lied}");

    // The nodes stop one after the other; blocks come from whoever is left.
    world.grow(3);
    world.reach_tip();
    drop(other);
    world.grow(3);
    world.reach_tip();
    world.assert_same_as_the_node();
    World::stop(adapter);
}
