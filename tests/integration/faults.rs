//! What goes wrong around the canister: messages that end early, replies that are lost, upgrades, stops,
//! restarts, full memory, no cycles. Whatever it is, the canister answers as soon as it can again, nothing that
//! was accepted is lost, and the chain is reached.

use std::collections::BTreeSet;

use bitcoin::BlockHash;
use candid::Nat;
use millrace_candid::{
    BlockPart, BlockchainInfo, Budgets, InitConfig, InitNetwork, PartOutcome, PushBlocksResult,
};
use millrace_subnet::{Fault, FaultKind, MessageKind, RejectCode};
use millrace_tests::artifacts;
use millrace_tests::mining::{BlockPlan, Miner, pay, script};
use millrace_tests::setup::{
    BitcoinAdapter, Control, Setup, Usage, bitcoin_builder, controller_principal, hash_of, part,
    pushed,
};
use pocket_ic::PocketIcState;

/// Blocks that are pulled while things go wrong, a few in each answer.
const BLOCKS: u32 = 60;
const REPLY_BLOCKS: usize = 5;

/// Budgets under which connecting the blocks takes many heartbeats.
const TIGHT: Budgets = Budgets {
    instructions_per_heartbeat: 5_000_000,
    stable_pages_per_heartbeat: 100,
};

/// Seconds that pass in each round: lost replies are asked for again after minutes.
const ROUND_SECONDS: u64 = 30;

/// The same where heartbeats fail: rounds further apart than the watchdog's ten seconds look like more of them.
const BEAT_SECONDS: u64 = 5;

/// Rounds after which what has not happened never will.
const MAX_ROUNDS: u32 = 1_000;

/// Pulls a chain while faults strike, and checks the coins at its tip; returns how often they struck.
fn struck_while_pulling(round_seconds: u64, fault: impl FnOnce(&Setup) -> Fault) -> u64 {
    each_struck_while_pulling(round_seconds, |setup| vec![fault(setup)])
        .iter()
        .sum()
}

/// The same for several faults, one by one.
fn each_struck_while_pulling(
    round_seconds: u64,
    faults: impl FnOnce(&Setup) -> Vec<Fault>,
) -> Vec<u64> {
    let mut miner = Miner::new();
    let tip = miner.mine_many(miner.tree.genesis(), BLOCKS, &script(1));
    let setup = Setup::official(TIGHT);
    let control = Control::of(&setup.pic);
    let mut adapter = BitcoinAdapter::new(&setup, miner.chain(tip), 1, REPLY_BLOCKS);
    control
        .inject(&faults(&setup))
        .expect("the faults are valid");
    for _ in 0..MAX_ROUNDS {
        // A canister that is stopped does not answer.
        let info = setup.query::<BlockchainInfo>(setup.adapter, "get_blockchain_info", ());
        if info.is_ok_and(|info| hash_of(&info.block_hash) == tip) {
            break;
        }
        adapter.work(&control);
        setup.advance(round_seconds);
        control.tick().expect("no replica crashes");
    }
    setup.assert_equals(&miner.tree.coins_at(tip), None);
    let figures = control.figures(setup.subnet());
    assert_eq!(figures.consensus_items_left_total, 0);
    control
        .faults()
        .iter()
        .map(|status| status.struck)
        .collect()
}

/// A fault that strikes three times, with some rest before: when the watchdog's patience ends, after five
/// heartbeats in a row, what is in hand is given up until the next upgrade.
fn three(setup: &Setup, kind: FaultKind) -> Fault {
    Fault {
        skip: 4,
        times: 3,
        ..Fault::new(setup.canister, kind)
    }
}

#[test]
fn messages_that_end_early_only_cost_time() {
    if !artifacts::is_own_server() {
        return;
    }
    let kinds = [
        (MessageKind::Heartbeat, FaultKind::TrapAtSystemCall(4)),
        (
            MessageKind::Heartbeat,
            FaultKind::InstructionLimit(1_000_000),
        ),
        (MessageKind::ReplyCallback, FaultKind::TrapAtSystemCall(3)),
        (
            MessageKind::ReplyCallback,
            FaultKind::InstructionLimit(100_000),
        ),
    ];
    for (message, kind) in kinds {
        let struck = struck_while_pulling(BEAT_SECONDS, |setup| Fault {
            message: Some(message),
            skip: 1,
            ..three(setup, kind.clone())
        });
        assert_eq!(struck, 3, "{message:?} {kind:?}");
    }
}

#[test]
fn a_watchdog_that_traps_only_costs_time() {
    if !artifacts::is_own_server() {
        return;
    }
    let struck = each_struck_while_pulling(BEAT_SECONDS, |setup| {
        // The timer rings when no heartbeat ended for ten seconds, is off once it trapped, and is set again
        // by the next heartbeat.
        let held_back = [8, 16, 24].map(|skip| Fault {
            message: Some(MessageKind::Heartbeat),
            skip,
            ..three(setup, FaultKind::SkipTask)
        });
        let trap = Fault {
            message: Some(MessageKind::GlobalTimer),
            skip: 0,
            ..three(setup, FaultKind::TrapAtSystemCall(1))
        };
        held_back.into_iter().chain([trap]).collect()
    });
    assert_eq!(struck, [3, 3, 3, 3]);
}

#[test]
fn replies_that_are_lost_late_doubled_or_replaced_only_cost_time() {
    if !artifacts::is_own_server() {
        return;
    }
    let rejection = FaultKind::RejectReply {
        code: RejectCode::SysTransient,
        message: "no route".to_owned(),
    };
    for kind in [
        FaultKind::DropReply,
        FaultKind::DelayReply(20),
        FaultKind::DuplicateReply,
        rejection,
    ] {
        let struck = struck_while_pulling(ROUND_SECONDS, |setup| Fault {
            skip: 1,
            times: 3,
            ..Fault::new(setup.canister, kind.clone())
        });
        assert_eq!(struck, 3, "{kind:?}");
    }
}

#[test]
fn upgrades_in_the_middle_of_work_lose_nothing() {
    if !artifacts::is_own_server() {
        return;
    }
    let argument = candid::encode_one(millrace_candid::CanisterArg::Upgrade(None));
    let kind = FaultKind::Upgrade(argument.expect("contract types encode"));
    let struck = struck_while_pulling(ROUND_SECONDS, |setup| three(setup, kind));
    assert_eq!(struck, 3);
}

#[test]
fn a_replica_that_restarts_between_rounds_goes_on_with_what_was_under_way() {
    if !artifacts::is_own_server() {
        return;
    }
    let mut miner = Miner::new();
    let tip = miner.mine_many(miner.tree.genesis(), BLOCKS, &script(1));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = PocketIcState::new_from_path(folder.path().to_owned());
    let setup = Setup::official_in(bitcoin_builder().with_state(state).build(), TIGHT);
    let control = Control::of(&setup.pic);
    let mut adapter = BitcoinAdapter::new(&setup, miner.chain(tip), 1, REPLY_BLOCKS);
    let (mut restarts, mut caught) = (0, BTreeSet::new());
    for round in 0..MAX_ROUNDS {
        if setup.tip() == tip {
            break;
        }
        let answers = adapter.work(&control);
        if round % 5 == 4 || answers > 0 {
            let waiting = control.consensus_calls(setup.subnet()).len();
            let queued = control.figures(setup.subnet()).consensus_queue_items;
            control.restart().expect("the state is kept");
            restarts += 1;
            assert_eq!(control.consensus_calls(setup.subnet()).len(), waiting);
            assert_eq!(
                control.figures(setup.subnet()).consensus_queue_items,
                queued
            );
            caught.extend([
                (waiting > 0).then_some("a call"),
                (queued > 0).then_some("an answer"),
            ]);
        }
        setup.advance(1);
        control.tick().expect("no replica crashes");
    }
    assert!(restarts > 10, "{restarts} restarts");
    assert!(caught.contains(&Some("a call")) && caught.contains(&Some("an answer")));
    setup.assert_equals(&miner.tree.coins_at(tip), None);
}

#[test]
fn a_canister_that_is_stopped_goes_on_once_it_is_started() {
    if !artifacts::is_own_server() {
        return;
    }
    let struck = struck_while_pulling(ROUND_SECONDS, |setup| {
        let start = Fault {
            skip: 30,
            ..Fault::new(setup.canister, FaultKind::Start)
        };
        Control::of(&setup.pic)
            .inject(&[start])
            .expect("the fault is valid");
        Fault {
            skip: 9,
            ..Fault::new(setup.canister, FaultKind::Stop)
        }
    });
    assert_eq!(struck, 2);
}

/// Heartbeats and callbacks that find memory full.
const FULL_BEATS: u64 = 60;
const FULL_CALLBACKS: u64 = 3;

/// Coins of each block where memory must grow: some 30 KB of bytes, and more of changes.
const GROWING_COINS: u64 = 700;

/// Mines a chain for which memory must grow with each block. Returns its tip, too.
fn growing() -> (Miner, BlockHash) {
    let mut miner = Miner::new();
    let tip = (0..u64::from(BLOCKS)).fold(miner.tree.genesis(), |parent, block| {
        let coins = (0..GROWING_COINS).map(|coin| pay(&script(block + coin % 9), 5));
        let plan = BlockPlan {
            coinbase: coins.collect(),
            ..BlockPlan::default()
        };
        miner.mine(parent, plan)
    });
    (miner, tip)
}

#[test]
fn memory_that_cannot_grow_only_costs_time() {
    if !artifacts::is_own_server() {
        return;
    }
    let (miner, tip) = growing();
    let setup = Setup::official(TIGHT);
    let control = Control::of(&setup.pic);
    let mut adapter = BitcoinAdapter::new(&setup, miner.chain(tip), 1, REPLY_BLOCKS);
    let full = |message, times| Fault {
        message: Some(message),
        times,
        ..Fault::new(setup.canister, FaultKind::FullMemory)
    };
    let faults = [
        full(MessageKind::Heartbeat, FULL_BEATS),
        full(MessageKind::ReplyCallback, FULL_CALLBACKS),
    ];
    control.inject(&faults).expect("the faults are valid");
    let mut next = 0;
    for _ in 0..MAX_ROUNDS {
        if setup.tip() == tip {
            break;
        }
        adapter.work(&control);
        setup.advance(BEAT_SECONDS);
        control.tick().expect("no replica crashes");
        for record in setup.usage(next).unwrap_or_default() {
            next = record.sequence + 1;
            assert!(record.succeeded, "{record:?}");
        }
    }
    setup.assert_equals(&miner.tree.coins_at(tip), None);
    let struck: Vec<u64> = control.faults().iter().map(|it| it.struck).collect();
    assert_eq!(struck.first(), Some(&FULL_BEATS), "{struck:?}");
    let limits = setup.status().limits;
    assert!(limits.memory_refusals > 0, "{limits:?}");
}

/// Cycles that a message takes in advance on a subnet of 13 nodes, with some for its fees.
const PREPAID_CYCLES: u64 = 40_010_000_000;

/// Days that the freezing threshold covers.
const FREEZING_DAYS: u64 = 30;

#[test]
fn memory_that_cannot_be_paid_for_only_costs_time() {
    if !artifacts::is_own_server() {
        return;
    }
    let (miner, tip) = growing();
    let setup = Setup::new(InitConfig {
        // Nothing is kept: work goes on as long as a heartbeat can be paid.
        cycles_reserve: Some(Nat::from(0_u8)),
        ..pushed(InitNetwork::Regtest)
    });
    let control = Control::of(&setup.pic);
    let blocks: Vec<BlockPart> = miner.chain(tip).into_iter().map(part).collect();
    let mut waiting = blocks.iter();
    for round in 0..u64::from(3 * BLOCKS) {
        let status = setup
            .pic
            .canister_status(setup.canister, Some(controller_principal()));
        let status = status.expect("the controller may ask");
        let idle = u64::try_from(&status.idle_cycles_burned_per_day.0).expect("it is small");
        // From nothing to more than a first page must cost: some messages are not run, some find too little to
        // grow, some enough for a few pages.
        let spare = round % 12 * 300_000_000;
        let balance = FREEZING_DAYS * idle + PREPAID_CYCLES + spare;
        let poor = Fault {
            times: u64::MAX,
            ..Fault::new(setup.canister, FaultKind::SetCycles(balance))
        };
        control.clear_faults();
        control.inject(&[poor]).expect("the fault is valid");
        let Some(next) = waiting.as_slice().first() else {
            break;
        };
        let parts = std::slice::from_ref(next);
        let pushed = setup.update::<PushBlocksResult>(setup.adapter, "push_blocks", (parts,));
        // A push that is not run is refused by the system.
        if let Ok(receipt) = pushed {
            let outcomes = receipt.expect("the adapter may push").outcomes;
            match outcomes[..] {
                [PartOutcome::Queued] => drop(waiting.next()),
                [PartOutcome::NoRoom] => {}
                _ => panic!("{outcomes:?}"),
            }
        }
        control.tick().expect("no replica crashes");
    }
    let refused = |record: &&Usage| !record.succeeded;
    let records = setup.usage(0).expect("they are kept");
    let refused = records.iter().find(refused);
    assert!(refused.is_none(), "{refused:?}");
    let limits = setup.status().limits;
    assert!(limits.memory_refusals > 0, "{limits:?}");
    control.clear_faults();
    setup.pic.add_cycles(setup.canister, 1_000_000_000_000_000);
    setup.feed(miner.chain(tip));
    assert_eq!(setup.tip(), tip);
    setup.assert_equals(&miner.tree.coins_at(tip), None);
}

#[test]
fn blocks_accepted_before_cycles_run_out_are_connected_when_there_are_some_again() {
    if !artifacts::is_own_server() {
        return;
    }
    let mut miner = Miner::new();
    let tip = miner.mine_many(miner.tree.genesis(), BLOCKS, &script(1));
    let setup = Setup::regtest();
    let control = Control::of(&setup.pic);
    setup.push(miner.chain(tip));
    let broke = Fault::new(setup.canister, FaultKind::SetCycles(0));
    control.inject(&[broke]).expect("the fault is valid");
    for _ in 0..10 {
        control.tick().expect("no replica crashes");
    }
    let refused = setup.update::<BlockchainInfo>(setup.adapter, "get_blockchain_info", ());
    assert!(
        refused.is_err(),
        "the system refuses a canister that cannot pay"
    );
    setup.pic.add_cycles(setup.canister, 1_000_000_000_000_000);
    setup.settle();
    assert_eq!(setup.tip(), tip);
    setup.assert_equals(&miner.tree.coins_at(tip), None);
}
