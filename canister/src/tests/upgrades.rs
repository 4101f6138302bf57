//! Opening, refusing to open, and configuration.

use super::setup::*;
use crate::App;
use crate::config::{Config, MAX_ADAPTERS, MAX_INSTRUCTIONS, MAX_STABILITY_THRESHOLD};
use candid::Principal;
use ic_stable_structures::{Memory, VectorMemory};
use millrace_candid::{Budgets, InitConfig, SetConfigRequest};
use millrace_core::{Instructions, Pages};
use millrace_store::{OpenError, Store};

#[test]
fn foreign_newer_and_cut_memory_is_refused_untouched() {
    let healthy = VectorMemory::default();
    App::install(healthy.clone(), pushed()).unwrap();
    let altered = |at: usize, byte: u8| {
        let memory = VectorMemory::default();
        memory.grow(healthy.size());
        memory.write(0, &healthy.borrow());
        memory.write(at as u64, &[byte]);
        memory
    };
    let cut = VectorMemory::default();
    cut.grow(3);
    cut.write(0, &healthy.borrow()[..3 * 65_536]);
    let table: [(VectorMemory, &str); 7] = [
        (VectorMemory::default(), "stable memory is empty"),
        (altered(0, b'X'), "stable memory begins with"),
        (altered(8, 2), "stable memory has layout 2"),
        (
            altered(10, 99),
            "stable memory names the unknown network 99",
        ),
        (altered(66, 1), "damaged table of regions"),
        (altered(4_100, b'X'), "damaged table of regions"),
        (cut, "stable memory has 3 pages"),
    ];
    for (memory, expected) in table {
        let before = memory.borrow().clone();
        let error = App::open(memory.clone()).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(*memory.borrow(), before, "{expected}");
    }
    let error = Store::create(healthy, millrace_core::Network::Mainnet)
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::NotEmpty { .. }), "{error}");
}

#[test]
fn configuration_survives_and_bad_values_are_refused_by_name() {
    let mut canister = Canister::new(pushed());
    let before = canister.app.get_config();
    let budgets = |instructions_per_heartbeat, stable_pages_per_heartbeat| SetConfigRequest {
        budgets: Some(Budgets {
            instructions_per_heartbeat,
            stable_pages_per_heartbeat,
        }),
        ..SetConfigRequest::default()
    };
    let adapters = |adapters| SetConfigRequest {
        adapters: Some(adapters),
        ..SetConfigRequest::default()
    };
    let many = (0..65u8)
        .map(|n| Principal::self_authenticating([n; 32]))
        .collect();
    let table = [
        (
            SetConfigRequest {
                stability_threshold: Some(5_001u32.into()),
                ..SetConfigRequest::default()
            },
            "stability threshold too large: 5001, at most 5000 is allowed",
        ),
        (budgets(0, 1), "instructions_per_heartbeat is 0"),
        (
            budgets(u64::MAX, 1),
            "instructions_per_heartbeat is 18446744073709551615",
        ),
        (budgets(1, 0), "stable_pages_per_heartbeat is 0"),
        (
            adapters(vec![Principal::anonymous()]),
            "the anonymous principal cannot be an adapter",
        ),
        (adapters(many), "65 adapters given"),
    ];
    for (change, expected) in table {
        let error = canister.app.set_config(change).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(canister.app.get_config(), before);
    }
    canister.app.set_config(budgets(7, 9)).unwrap();
    let after = canister.app.get_config();
    canister.upgrade();
    assert_eq!(canister.app.get_config(), after);
    assert_eq!(after.budgets.instructions_per_heartbeat, 7);
}

#[test]
fn a_heartbeat_stops_at_either_budget() {
    let table = [(5 * TICK, 300_000), (30_000_000_000, 60)];
    for (instructions_per_heartbeat, stable_pages_per_heartbeat) in table {
        let mut canister = Canister::new(InitConfig {
            budgets: Some(Budgets {
                instructions_per_heartbeat,
                stable_pages_per_heartbeat,
            }),
            ..pushed()
        });
        let blocks = real_blocks();
        canister.push_parts(blocks[..500].iter().map(|block| whole(block)).collect());
        canister.heartbeat();
        let spent = canister.app.last_beat;
        // A step is at most one coin step's pages beyond the budget; the drain is not limited.
        assert!(canister.tip().1 < 500, "{spent:?}");
        canister.settle();
        assert_eq!(canister.tip().1, 500);
    }
}

#[test]
fn a_stored_configuration_beyond_todays_bounds_is_brought_within_them() {
    let beyond = Config {
        stability_threshold: MAX_STABILITY_THRESHOLD + 1,
        adapters: (0..=MAX_ADAPTERS as u8)
            .map(|n| Principal::self_authenticating([n; 32]))
            .chain([Principal::anonymous()])
            .collect(),
        instructions: Instructions::new(u64::MAX),
        pages: Pages::new(0),
        ..Config::default()
    };
    let network = millrace_core::Network::Mainnet;
    let read = Config::decode(&beyond.encode(network).unwrap(), network).unwrap();
    let mut adapters = beyond.adapters[..MAX_ADAPTERS].to_vec();
    adapters.sort();
    let expected = Config {
        stability_threshold: MAX_STABILITY_THRESHOLD,
        adapters,
        instructions: MAX_INSTRUCTIONS,
        pages: Pages::new(1),
        ..beyond
    };
    assert_eq!(read, expected);
    // What is within them stays as it is.
    let again = Config::decode(&expected.encode(network).unwrap(), network);
    assert_eq!(again, Ok(expected));
}
