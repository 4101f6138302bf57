//! Whole downloads on a simulated network.

use std::sync::Arc;
use std::time::Duration;

use millrace_core::header::ChainWork;

use super::world::{Behaviour, Chain, SimPeer, World};
use crate::address::PeerAddress;
use crate::node::chance::Chance;

const MB: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(3_600);

/// Honest peers with lines of 1 to 4 MB/s and latencies of 10 to 150 ms.
fn honest(count: u8, seed: u64) -> Vec<SimPeer> {
    let mut chance = Chance::new(seed);
    (0..count)
        .map(|number| {
            let latency = 10 + chance.below(140);
            let line = MB + chance.below(3 * MB);
            SimPeer::new(number + 1, latency, line, Behaviour::Honest)
        })
        .collect()
}

/// The least time a download can take: all honest lines busy with blocks from start to end, after
/// connecting, the handshake and the headers from the slowest. A line carries no more than 16 blocks
/// in a round trip.
fn ideal(chain: &Chain, peers: &[SimPeer]) -> Duration {
    let honest = peers
        .iter()
        .filter(|peer| matches!(peer.behaviour, Behaviour::Honest | Behaviour::Flaky(_)));
    let block = chain.bytes() as f64 / chain.sizes.len() as f64;
    let line = |peer: &SimPeer| {
        let most = 16.0 * block / (2.0 * peer.latency.as_secs_f64());
        most.min(peer.bytes_per_second as f64)
    };
    let lines: f64 = honest.clone().map(line).sum();
    let blocks = Duration::from_secs_f64(chain.bytes() as f64 / lines);
    let latency = honest.clone().map(|peer| peer.latency).max().unwrap();
    let slowest = honest.map(|peer| peer.bytes_per_second).min().unwrap();
    let headers = Duration::from_secs_f64(chain.headers.len() as f64 * 81.0 / slowest as f64);
    let rounds = 8 + 2 * (chain.headers.len() as u32 / 2_000);
    blocks + headers + latency * rounds
}

fn chain(seed: u64) -> Arc<Chain> {
    Chain::new(4_100, 2_000, 20_000, seed)
}

#[test]
fn honest_peers_are_used_to_the_full() {
    for (count, seed) in [(1, 11), (2, 12), (8, 13), (20, 14), (50, 15)] {
        let chain = chain(seed);
        let peers = honest(count, seed);
        let ideal = ideal(&chain, &peers);
        let mut world = World::new(seed, &chain, peers);
        let time = world.sync(LIMIT);
        println!("{count} peers: {time:?}, ideal {ideal:?}");
        assert!(
            time <= ideal * 2,
            "seed {seed}: {count} peers took {time:?}, the ideal is {ideal:?}"
        );
        assert_eq!(world.banned, [], "seed {seed}");
        assert!(
            world.fetched <= chain.bytes() * 21 / 20,
            "seed {seed}: fetched {} of {}",
            world.fetched,
            chain.bytes()
        );
    }
}

/// A bad peer that comes first in every order, and whose line is better than all others.
fn bad(number: u8, behaviour: Behaviour) -> SimPeer {
    let mut peer = SimPeer::new(100 + number, 1, 20 * MB, behaviour);
    peer.address = super::stubs::address(0, number);
    peer
}

/// Two seconds, and a round trip to begin again.
#[test]
fn one_bad_peer_costs_about_two_seconds() {
    let seed = 100;
    let chain = chain(seed);
    let good = World::new(seed, &chain, honest(8, seed)).sync(LIMIT);
    for behaviour in Behaviour::BAD {
        let mut peers = honest(8, seed);
        peers.push(bad(0, behaviour));
        let mut world = World::new(seed, &chain, peers);
        let time = world.sync(LIMIT);
        println!("{behaviour:?}: {good:?} without, {time:?} with");
        assert!(
            time <= good + Duration::from_millis(2_500),
            "seed {seed}: {behaviour:?} costs {:?}; gone: {:#?}",
            time - good,
            world.gone
        );
    }
}

#[test]
fn many_bad_peers_stop_nothing_and_honest_ones_are_never_banned() {
    for seed in [201, 202, 203] {
        let chain = chain(seed);
        let mut peers = honest(8, seed);
        let ideal = ideal(&chain, &peers);
        for (number, behaviour) in (0..).zip(Behaviour::BAD) {
            peers.push(bad(number, behaviour));
        }
        let bad_addresses: Vec<PeerAddress> =
            peers.iter().skip(8).map(|peer| peer.address).collect();
        let mut world = World::with(seed, &chain, peers, |config| config.outbound_peers = 25);
        world.book.is_grouped(false);
        let time = world.sync(LIMIT);
        println!("{time:?}, ideal {ideal:?}");
        for (address, reason) in &world.banned {
            let is_bad = bad_addresses.contains(address);
            assert!(is_bad, "seed {seed}: banned {address:?}: {reason}");
        }
        assert!(world.banned.len() >= 5, "seed {seed}: {:?}", world.banned);
        let stallers = 4 * Duration::from_secs(2);
        assert!(
            time <= ideal * 2 + stallers,
            "seed {seed}: {time:?}, ideal {ideal:?}, gone: {:#?}",
            world.gone
        );
    }
}

#[test]
fn connections_that_break_again_and_again_cost_their_pauses_only() {
    let seed = 301;
    let chain = chain(seed);
    let mut peers = honest(8, seed);
    for peer in &mut peers[..4] {
        peer.behaviour = Behaviour::Flaky(50);
    }
    let steady: Vec<SimPeer> = honest(8, seed).split_off(4);
    let ideal = ideal(&chain, &steady);
    let mut world = World::new(seed, &chain, peers);
    let time = world.sync(LIMIT);
    assert!(time <= ideal * 2, "seed {seed}: {time:?}, ideal {ideal:?}");
    assert_eq!(world.banned, [], "seed {seed}");
    assert!(world.gone.len() >= 4, "seed {seed}: {:?}", world.gone);
}

#[test]
fn a_small_budget_is_kept_and_does_not_stop_the_download() {
    for (budget, seed) in [(4_000_000, 401), (5_000_000, 402), (1_000, 403)] {
        let chain = Chain::new(600, 5_000, 40_000, seed);
        let peers = honest(4, seed);
        // The world checks the budget after every step; one block is allowed always.
        let mut world = World::with(seed, &chain, peers, |config| {
            config.block_bytes_max = budget
        });
        world.budget = budget.max(4_000_000);
        world.book.is_grouped(false);
        world.sync(LIMIT);
        assert!(world.most_bytes > 0, "seed {seed}");
        assert_eq!(world.banned, [], "seed {seed}");
    }
}

#[test]
fn a_slow_consumer_is_nobodys_fault() {
    let seed = 501;
    let chain = Chain::new(400, 5_000, 40_000, seed);
    let mut world = World::with(seed, &chain, honest(4, seed), |config| {
        config.block_bytes_max = 1_000_000;
    });
    world.budget = 4_000_000;
    world.book.is_grouped(false);
    world.wants = 1;
    world.consumer_pause = Duration::from_millis(2_500);
    world.sync(LIMIT);
    assert_eq!(world.gone, [], "seed {seed}");
    let told = world
        .waited
        .iter()
        .any(|text| text.contains("consumer is full"));
    assert!(told, "seed {seed}: {:?}", world.waited);
}

#[test]
fn slow_lines_among_fast_ones_do_not_hold_up_the_download() {
    let seed = 601;
    let chain = chain(seed);
    let mut peers = honest(8, seed);
    let ideal = ideal(&chain, &peers);
    for number in 0..3 {
        let mut slow = bad(number, Behaviour::Honest);
        slow.bytes_per_second = 3_000;
        peers.push(slow);
    }
    let mut world = World::new(seed, &chain, peers);
    let time = world.sync(LIMIT);
    println!("{time:?}, ideal {ideal:?}");
    let stallers = Duration::from_secs(2 + 4 + 8);
    assert!(
        time <= ideal * 2 + stallers,
        "seed {seed}: {time:?}, ideal {ideal:?}"
    );
    assert_eq!(world.banned, [], "seed {seed}");
}

#[test]
fn a_flood_of_headers_without_work_is_not_stored() {
    for seed in [701, 702] {
        let chain = Chain::new(6_000, 100, 200, seed);
        let mut peers = honest(6, seed);
        for number in 0..4 {
            peers.push(bad(number, Behaviour::FloodsHeaders));
        }
        // A block of regtest counts 2: 4,608 blocks are needed, the floods have 4,000.
        let needed = ChainWork::from_hex("2400").unwrap();
        let mut world = World::with(seed, &chain, peers, |config| {
            config.minimum_chain_work = needed;
            config.outbound_peers = 10;
        });
        world.book.is_grouped(false);
        world.sync(LIMIT);
        assert_eq!(world.most_stored, 6_001, "seed {seed}");
        assert!(
            world.presync_bytes < 16_000_000,
            "seed {seed}: {}",
            world.presync_bytes
        );
        println!(
            "at most {} bytes of chains without work",
            world.presync_bytes
        );
    }
}

#[test]
fn one_seed_gives_one_run() {
    let run = |seed| {
        let chain = Chain::new(300, 5_000, 40_000, 1);
        let mut peers = honest(6, 1);
        peers.push(bad(0, Behaviour::Flaky(7)));
        peers.push(bad(1, Behaviour::BadBlocks));
        let mut world = World::with(seed, &chain, peers, |_| {});
        world.book.is_grouped(false);
        world.sync(LIMIT);
        world.digest
    };
    assert_eq!(run(801), run(801));
    assert_ne!(run(801), run(802));
}
