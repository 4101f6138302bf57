//! Nodes that restart, prune, and are themselves behind.

use std::time::Duration;

use millrace_tests::bitcoind::{LISTENING, Node};
use serde_json::json;

use super::world::World;

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_restarts_and_the_adapter_goes_on() {
    let mut world = World::new(64, &[]);
    world.grow(300);
    let adapter = world.peer_of_the_node();
    world.reach_tip();
    for _ in 0..3 {
        world.node.restart();
        world.grow(5);
        world.reach_tip();
    }
    // It is gone for a while, and back with a branch.
    world.node.stop();
    std::thread::sleep(Duration::from_secs(3));
    world.node.resume();
    world.reorganise(4);
    world.assert_same_as_the_node();
    World::stop(adapter);
}

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_in_initial_download_is_followed_as_it_goes() {
    let mut world = World::new(65, &[]);
    // Blocks of 2011: the node takes itself for one that is far behind.
    world.grow(200);
    let info = world.node.call("getblockchaininfo", &json!([]));
    assert_eq!(info["initialblockdownload"], true);
    let adapter = world.peer_of_the_node();
    world.reach_tip();
    world.grow(50);
    world.assert_same_as_the_node();
    World::stop(adapter);
}

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_that_pruned_gives_what_it_has() {
    let mut world = World::new(66, &[]);
    world.grow(900);
    // A second node, from which old blocks are gone, and a first one which has them.
    let pruned = Node::with(
        "regtest",
        &[LISTENING, &["-prune=1", "-fastprune"]].concat(),
    );
    pruned.submit(&world.blocks);
    let height = pruned.call("pruneblockchain", &json!([600])).as_u64();
    assert!(
        height.is_some_and(|height| height > 0),
        "nothing was pruned: {height:?}"
    );
    let address = pruned.peer_address();
    let both = format!("{address},{}", world.node.peer_address());
    let adapter = world.adapter(
        "pruned",
        &["--source", "p2p", "--only-peers", "--peers", &both],
    );
    world.reach_tip();
    world.assert_same_as_the_node();
    // New blocks come from the pruned node alone.
    world.node.stop();
    let made = world.chain.grow(5);
    pruned.submit(&made);
    world.blocks.extend(made);
    world.reach_tip();
    world.node.resume();
    World::stop(adapter);
}
