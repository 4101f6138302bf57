//! The adapter killed a hundred times on its way.

use std::time::{Duration, Instant};

use serde_json::json;

use super::world::World;

/// Blocks of the chain.
const BLOCKS: usize = 1_500;

const KILLS: u64 = 100;

/// What one start may fetch without handing it over: the window of blocks that are fetched ahead, at most all of
/// them. Small blocks make this the largest share there is.
const WINDOW: u64 = 1_024;

/// How long an adapter may take to do anything at all.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_s_chain_arrives_through_an_adapter_that_is_killed_a_hundred_times() {
    let mut world = World::new(62, &[]);
    world.grow(BLOCKS);
    let tip = world.runtime.block_on(world.deployed.info()).height;
    assert_eq!(tip, 0);
    let mut heights = vec![0];
    for kill in 0..KILLS {
        let adapter = world.peer_of_the_node();
        // Later and later after the start, so that every stage is met: before the first connection, among headers,
        // among blocks, in the middle of pushes.
        std::thread::sleep(Duration::from_millis(20 + 4 * kill));
        adapter.kill().expect("a running program can be killed");
        let height = world.runtime.block_on(world.deployed.info()).height;
        assert!(
            height >= heights[heights.len() - 1],
            "a block was lost: {heights:?}, {height}"
        );
        heights.push(height);
        if height as usize > BLOCKS / 2 && kill < KILLS - 20 {
            // So much that the rest of the kills still meets blocks on their way.
            world.grow(5);
        }
    }
    let adapter = world.peer_of_the_node();
    let start = Instant::now();
    world.reach_tip();
    assert!(start.elapsed() < 10 * PATIENCE);
    world.assert_same_as_the_node();
    World::stop(adapter);
    let moved = heights.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!(
        moved > 5,
        "hardly any kill met blocks on their way: {heights:?}"
    );

    // What the node sent: the chain once, and for each start at most one window more.
    let chain: usize = world.blocks.iter().map(bitcoin::Block::total_size).sum();
    let largest = world.blocks.iter().map(bitcoin::Block::total_size).max();
    let mean = chain as u64 / world.blocks.len() as u64;
    let sent = world.node.call("getnettotals", &json!([]))["totalbytessent"]
        .as_u64()
        .expect("a number");
    let bound = chain as u64 + (KILLS + 1) * (WINDOW * mean * 2 + 81 * 2 * BLOCKS as u64);
    assert!(
        sent < bound,
        "{sent} bytes sent, bound {bound}, largest block {largest:?}"
    );
}
