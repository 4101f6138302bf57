//! A whole chain, new blocks, and branches, from a node's peer connection to the canister.

use super::world::World;

/// Blocks of the first synchronisation.
const BLOCKS: usize = 2_000;

/// Blocks that come one by one.
const LIVE_BLOCKS: usize = 20;

/// How deep the branches are that become the best one.
const DEPTHS: [usize; 8] = [1, 2, 3, 5, 10, 25, 50, 100];

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_s_chain_its_blocks_and_its_reorganisations_arrive_over_the_peer_protocol() {
    let mut world = World::new(61, &[]);
    world.grow(BLOCKS);
    let adapter = world.peer_of_the_node();
    let coins = world.assert_same_as_the_node();
    assert!(coins > BLOCKS, "{coins} coins");

    for _ in 0..LIVE_BLOCKS {
        world.grow(1);
        world.reach_tip();
    }
    world.assert_same_as_the_node();

    for depth in DEPTHS {
        world.reorganise(depth);
        world.assert_same_as_the_node();
    }
    World::stop(adapter);
}
