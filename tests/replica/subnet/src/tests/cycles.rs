//! Cycles: charges, freezing, and that none appear or vanish.

use super::*;
use crate::canister::Status;
use crate::error::ErrorCode;
use crate::faults::{Fault, FaultKind};
use crate::message::CanisterMessage;
use proptest::prelude::*;

/// Returns every cycle of the network: in balances, set aside, travelling, and consumed.
fn total(net: &Net) -> u128 {
    let travelling = |message: &CanisterMessage| match message {
        CanisterMessage::Request(request) => request.cycles,
        CanisterMessage::Response(response) => response.refund,
    };
    net.0
        .subnets
        .values()
        .map(|subnet| {
            let state = &subnet.state;
            let canisters: u128 = subnet
                .canisters
                .values()
                .map(|canister| {
                    let stops: u128 = match &canister.status {
                        Status::Stopping(requests) => requests.iter().map(|r| r.cycles).sum(),
                        _ => 0,
                    };
                    canister.balance
                        + canister.consumed
                        + canister.contexts.cycles_held()
                        + canister.queues.messages().map(travelling).sum::<u128>()
                        + stops
                })
                .sum();
            canisters
                + state.consumed_by_deleted
                + state.outbox.iter().map(travelling).sum::<u128>()
                + state
                    .management_queue
                    .iter()
                    .map(|call| call.cycles)
                    .sum::<u128>()
                + state
                    .random_calls
                    .iter()
                    .map(|call| call.cycles)
                    .sum::<u128>()
                + state
                    .consensus_calls
                    .values()
                    .map(|waiting| waiting.call.cycles)
                    .sum::<u128>()
        })
        .sum()
}

/// Returns what must stay in the balance of a canister.
fn freezing_balance(net: &Net, id: &CanisterId) -> u128 {
    let subnets = net.0.subnets.values();
    let found = subnets.filter_map(|subnet| Some((subnet, subnet.canisters.get(id)?)));
    let mut balances = found.map(|(subnet, canister)| {
        canister.freezing_balance(&subnet.rules.limits, &subnet.rules.fees)
    });
    balances.next().expect("the canister is there")
}

#[test]
fn a_message_sees_what_its_canister_may_spend_and_memory_grows_no_further_than_that() {
    /// What an update takes in advance on 13 nodes: its base fee and its limit of instructions, after what
    /// its ingress costs.
    const PREPAID: u64 = 40_005_000_000 + 1_200_000;
    /// What a byte of ingress costs: of its method's name and its payload.
    const BYTE: u64 = 2_000;
    /// What a page of 64 KiB costs in 30 days.
    const PAGE: u64 = 20_091_796;
    let mut net = Net::application();
    let id = net.probe();
    let frozen = freezing_balance(&net, &id) as u64;
    assert!(frozen > 0);
    let give = |net: &mut Net, cycles: u64| {
        net.0.clear_faults();
        let fault = Fault {
            times: u64::MAX,
            ..Fault::new(id, FaultKind::SetCycles(cycles))
        };
        net.0.inject(vec![fault]).expect("it is valid");
    };
    give(&mut net, frozen + PREPAID + 6 * BYTE + 5_000);
    let liquid = net.update(id, "liquid", b"").expect("it is paid for");
    assert_eq!(liquid, 5_000_u128.to_le_bytes());
    give(&mut net, frozen + PREPAID + 16 * BYTE + PAGE - 100);
    let error = net
        .update(id, "stable_store", b"kept")
        .expect_err("a page more is too much");
    assert_eq!(error.code, ErrorCode::InsufficientCyclesInMemoryGrow);
    give(&mut net, frozen + PREPAID + 16 * BYTE + PAGE + 100);
    net.update(id, "stable_store", b"kept")
        .expect("it is paid for");
    let now = freezing_balance(&net, &id) as u64;
    assert!((now - frozen).abs_diff(PAGE) <= 100, "{now} after {frozen}");
}

#[test]
fn executing_costs_what_the_fee_table_says_and_nothing_on_a_system_subnet() {
    let mut net = Net::application();
    let id = net.probe();
    let before = net.cycles(&id);
    net.update(id, "store", b"12345").expect("replied");
    let usage = net
        .0
        .canister(&id)
        .expect("exists")
        .usage()
        .since(0)
        .last()
        .expect("ran")
        .clone();
    // Ingress: 1.2 M and 2,000 per byte of method and payload. Execution: 5 M and 1 per instruction.
    let expected = 1_200_000 + 2_000 * (5 + 5) + 5_000_000 + u128::from(usage.instructions);
    assert_eq!(before - net.cycles(&id), expected);

    let mut net = Net::system();
    let id = net.probe();
    let before = net.cycles(&id);
    net.update(id, "store", b"12345").expect("replied");
    assert_eq!(net.cycles(&id), before);
}

#[test]
fn memory_is_charged_over_time_and_a_bankrupt_canister_loses_its_code() {
    let mut net = Net::application();
    let id = net.probe();
    let before = net.cycles(&id);
    net.pass_seconds(1_000);
    let bytes =
        u128::from(net.subnet_mut(&id).canisters[&id].charged_bytes(&SubnetLimits::application()));
    let expected = bytes * 127_000 * 1_000 / (1 << 30);
    let charged = before - net.cycles(&id);
    assert!(
        charged.abs_diff(expected) <= expected / 100 + 1,
        "{charged} {expected}"
    );
    net.canister_mut(&id).balance = 10;
    net.pass_seconds(1_000_000);
    assert_eq!(net.cycles(&id), 0);
    assert_eq!(net.0.canister(&id).expect("exists").module_hash(), None);
    // The IC forgets the history of a canister that cannot pay for it, but not how long it was.
    let history = &net.subnet_mut(&id).canisters[&id].history;
    assert_eq!(history.latest(10), Vec::new());
    assert_eq!(history.total(), 2);
}

#[test]
fn a_frozen_canister_takes_no_messages_and_answers_no_queries() {
    let mut net = Net::application();
    let id = net.probe();
    net.canister_mut(&id).balance = 1_000;
    let error = net.update(id, "echo", b"").expect_err("frozen");
    assert_eq!(error.code, ErrorCode::CanisterOutOfCycles);
    assert!(
        error
            .message
            .starts_with(&format!("Canister {id} is out of cycles: ")),
        "{}",
        error.message
    );
    let message = net
        .submit(stranger(), id, "echo", Vec::new())
        .expect_err("frozen");
    assert_eq!(message.message, format!("Canister {id} is out of cycles"));
    let error = net.query(id, "load", b"").expect_err("frozen");
    assert!(
        error.message.contains("because it's frozen"),
        "{}",
        error.message
    );
}

#[test]
fn a_canister_of_ordinary_means_can_do_everything_on_a_benchmarking_subnet() {
    let mut spec = subnet_spec(SubnetKind::Application, 0);
    spec.instructions = InstructionConfig::Benchmarking;
    let mut net = Net::with_specs(vec![spec], LimitsConfig::default());
    let (id, other) = (net.probe(), net.probe());
    let heartbeat = net.create();
    net.install(
        heartbeat,
        wasm(r#"(module (func (export "canister_heartbeat")))"#),
    );
    net.update(id, "store", b"stored").expect("replied");
    assert_eq!(text(net.update(id, "echo_query", b"asked")), "asked");
    assert_eq!(
        text(net.update(id, "call", &call(other, "echo", 0, b"called"))),
        "called"
    );
    net.install_as(id, CanisterInstallMode::Upgrade(None), probe(), b"")
        .expect("upgraded");
    let beats = net.0.canister(&heartbeat).expect("exists");
    assert!(
        beats
            .usage()
            .since(0)
            .any(|usage| usage.kind == MessageKind::Heartbeat)
    );
    // What is not used comes back, as everywhere.
    assert!(net.cycles(&id) > 99 * TRILLION, "{}", net.cycles(&id));
}

#[derive(Clone, Debug)]
enum Step {
    Call {
        from: usize,
        to: usize,
        method: &'static str,
        cycles: u64,
    },
    Tick,
    PassSeconds(u64),
    Stop(usize),
    Start(usize),
    Uninstall(usize),
    Reinstall(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let method = prop::sample::select(vec![
        "accept",
        "accept_half",
        "refuse",
        "silence",
        "echo",
        "no_such_method",
        "store_and_trap",
    ]);
    prop_oneof![
        6 => (0..3_usize, 0..3_usize, method, 0..1_000_000_000_u64)
            .prop_map(|(from, to, method, cycles)| Step::Call { from, to, method, cycles }),
        3 => Just(Step::Tick),
        1 => (1..400_u64).prop_map(Step::PassSeconds),
        1 => (0..3_usize).prop_map(Step::Stop),
        2 => (0..3_usize).prop_map(Step::Start),
        1 => (0..3_usize).prop_map(Step::Uninstall),
        1 => (0..3_usize).prop_map(Step::Reinstall),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_cycles_appear_or_vanish(steps in prop::collection::vec(step(), 1..40)) {
        let mut net = Net::new(&[SubnetKind::Application, SubnetKind::System]);
        let far = EffectivePrincipal::SubnetId(net.0.topology().subnets[1].id);
        let far = net.create_in(far, 100 * TRILLION);
        net.install(far, probe());
        let canisters = [net.probe(), net.probe(), far];
        let methods = ["call", "call_best_effort", "call_and_trap_in_callback", "call_and_stay_silent"];
        let management = Principal::management_canister();
        let before = total(&net);
        for (index, step) in steps.into_iter().enumerate() {
            let manage = |net: &mut Net, method: &str, id: usize| {
                let payload = candid::encode_one(record(canisters[id])).expect("encodes");
                // Refusals are part of the game.
                let _ = net.submit(user(), management, method, payload);
            };
            match step {
                Step::Call { from, to, method, cycles } => {
                    let argument = call(canisters[to], method, cycles, b"x");
                    let _ = net.submit(user(), canisters[from], methods[index % 4], argument);
                }
                Step::Tick => net.tick(),
                Step::PassSeconds(seconds) => net.pass_seconds(seconds),
                Step::Stop(id) => manage(&mut net, "stop_canister", id),
                Step::Start(id) => manage(&mut net, "start_canister", id),
                Step::Uninstall(id) => manage(&mut net, "uninstall_code", id),
                Step::Reinstall(id) => {
                    let _ = net.install_as(canisters[id], CanisterInstallMode::Reinstall, probe(), b"");
                }
            }
            prop_assert_eq!(total(&net), before);
        }
        for _ in 0..10 {
            net.tick();
            prop_assert_eq!(total(&net), before);
        }
    }
}
