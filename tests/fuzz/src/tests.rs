//! Every target with its seeds and mutations of them: a smoke test that needs no fuzzer.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Mutations of each target's seeds.
const MUTATIONS: usize = 1_500;

/// Targets that open files or sockets take less.
const SLOW_MUTATIONS: usize = 150;

fn mutated(bytes: &[u8], chance: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..chance.random_range(1..6) {
        let at = chance.random_range(0..=bytes.len());
        match chance.random_range(0..5) {
            0 => bytes.insert(at, chance.random()),
            1 => bytes.truncate(at),
            2 if at < bytes.len() => {
                bytes[at] = [0, 1, 0x7f, 0x80, 0xfd, 0xff][chance.random_range(0..6)]
            }
            3 => {
                let tail = bytes[at..].to_vec();
                bytes.extend(tail);
            }
            _ if at < bytes.len() => bytes[at] ^= 1 << chance.random_range(0..8),
            _ => bytes.push(chance.random()),
        }
    }
    bytes
}

#[test]
fn no_target_minds_its_seeds_or_mutations_of_them() {
    for target in TARGETS {
        let is_slow =
            ["rest", "rpc", "block_files", "state_folder", "config"].contains(&target.name);
        let mutations = if is_slow { SLOW_MUTATIONS } else { MUTATIONS };
        let seeds = seeds::of(target.name);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        for seed in &seeds {
            (target.run)(seed);
        }
        for number in 0..mutations {
            let seed = &seeds[number % seeds.len()];
            (target.run)(&mutated(seed, &mut chance));
        }
    }
}
