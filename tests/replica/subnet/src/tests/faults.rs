//! Injected faults: each kind does what it says, once, where it was told to.

use super::*;

fn inject(net: &mut Net, fault: Fault) {
    net.0.inject(vec![fault]).expect("a valid fault");
}

fn struck(net: &Net) -> Vec<u64> {
    net.0.faults().iter().map(|status| status.struck).collect()
}

/// Returns a network with two probes, one of which calls the other.
fn caller_and_callee() -> (Net, CanisterId, CanisterId) {
    let mut net = Net::application();
    let (caller, callee) = (net.probe(), net.probe());
    (net, caller, callee)
}

#[test]
fn a_message_traps_at_the_chosen_system_call_and_is_rolled_back() {
    let mut net = Net::application();
    let id = net.probe();
    net.update(id, "store", b"before").expect("replied");
    // The second of its calls comes after the heap was written.
    let fault = Fault {
        method: Some("store".to_owned()),
        skip: 1,
        ..Fault::new(id, FaultKind::TrapAtSystemCall(3))
    };
    inject(&mut net, fault);
    net.update(id, "store", b"passed over").expect("replied");
    let error = net.update(id, "store", b"after").expect_err("trapped");
    assert_eq!(error.reject_code(), RejectCode::CanisterError, "{error:?}");
    assert_eq!(text(net.query(id, "load", b"")), "passed over");
    net.update(id, "store", b"again").expect("it struck once");
    assert_eq!(struck(&net), [1]);
}

#[test]
fn a_message_runs_out_of_instructions() {
    let mut net = Net::application();
    let id = net.probe();
    inject(&mut net, Fault::new(id, FaultKind::InstructionLimit(1_000)));
    let error = net.update(id, "spin", b"").expect_err("trapped");
    assert_eq!(error.code, ErrorCode::CanisterInstructionLimitExceeded);
    net.update(id, "spin", b"").expect("it struck once");
}

#[test]
fn memory_is_full_for_a_message() {
    let mut net = Net::application();
    let id = net.probe();
    inject(&mut net, Fault::new(id, FaultKind::FullMemory));
    // It does not look whether memory grew, and writes beyond its end.
    net.update(id, "stable_store", b"lost")
        .expect_err("trapped");
    net.update(id, "stable_store", b"kept")
        .expect("memory is there again");
    assert_eq!(text(net.query(id, "stable_load", b"")), "kept");
}

#[test]
fn a_heartbeat_or_a_timer_is_held_back() {
    let mut net = Net::system();
    let id = net.create();
    net.install(
        id,
        wasm(
            r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))
                (func (export "canister_update set") (drop (call $timer (i64.const 1))) (call $reply))
                (func (export "canister_global_timer"))
                (func (export "canister_heartbeat")))"#,
        ),
    );
    let ran = |net: &mut Net, kind: MessageKind| {
        let usage = net.0.canister(&id).expect("exists").usage();
        usage.since(0).filter(|record| record.kind == kind).count()
    };
    let hold = |message, times| Fault {
        message: Some(message),
        times,
        ..Fault::new(id, FaultKind::SkipTask)
    };
    inject(&mut net, hold(MessageKind::Heartbeat, u64::MAX));
    inject(&mut net, hold(MessageKind::GlobalTimer, 2));
    let beats = ran(&mut net, MessageKind::Heartbeat);
    net.update(id, "set", b"").expect("messages run");
    net.ticks(1);
    assert_eq!(ran(&mut net, MessageKind::GlobalTimer), 0);
    net.ticks(2);
    assert_eq!(ran(&mut net, MessageKind::GlobalTimer), 1, "it stayed due");
    assert_eq!(ran(&mut net, MessageKind::Heartbeat), beats);
    net.0.clear_faults();
    net.ticks(1);
    assert_eq!(ran(&mut net, MessageKind::Heartbeat), beats + 1);
}

#[test]
fn a_fault_waits_for_its_round() {
    let mut net = Net::application();
    let id = net.probe();
    let subnet = net.0.subnet_of(&id).expect("hosted");
    let from_round = net.0.subnet_metrics(&subnet).expect("subnet").rounds + 3;
    let fault = Fault {
        from_round,
        ..Fault::new(id, FaultKind::TrapAtSystemCall(1))
    };
    inject(&mut net, fault);
    net.update(id, "echo", b"").expect("too early");
    while net.0.subnet_metrics(&subnet).expect("subnet").rounds + 1 < from_round {
        net.tick();
    }
    net.update(id, "echo", b"").expect_err("trapped");
}

#[test]
fn a_reply_is_rejected_although_the_callee_did_its_work() {
    let (mut net, caller, callee) = caller_and_callee();
    let kind = FaultKind::RejectReply {
        code: RejectCode::SysTransient,
        message: "lost on the way".to_owned(),
    };
    inject(&mut net, Fault::new(caller, kind));
    let reply = net.update(caller, "call", &call(callee, "store", 0, b"done"));
    assert_eq!(text(reply), "rejected 2: lost on the way");
    assert_eq!(text(net.query(callee, "load", b"")), "done");
}

#[test]
fn a_reply_is_delayed() {
    let (mut net, caller, callee) = caller_and_callee();
    inject(&mut net, Fault::new(caller, FaultKind::DelayReply(7)));
    let argument = call(callee, "echo", 0, b"late");
    let message = net
        .submit(user(), caller, "call", argument)
        .expect("accepted");
    net.ticks(6);
    assert_eq!(net.state_of(&message), IngressState::Processing);
    net.ticks(3);
    assert_eq!(
        net.state_of(&message),
        IngressState::Replied(b"late".to_vec())
    );
}

#[test]
fn a_reply_is_dropped_and_its_call_stays_open() {
    let (mut net, caller, callee) = caller_and_callee();
    let stranger = Fault {
        callee: Some(caller),
        ..Fault::new(caller, FaultKind::DropReply)
    };
    inject(&mut net, stranger);
    inject(&mut net, Fault::new(caller, FaultKind::DropReply));
    let argument = call(callee, "echo", 0, b"lost");
    let message = net
        .submit(user(), caller, "call", argument.clone())
        .expect("accepted");
    net.ticks(50);
    assert_eq!(net.state_of(&message), IngressState::Processing);
    assert_eq!(text(net.update(caller, "call", &argument)), "lost");
    assert_eq!(struck(&net), [0, 1]);
}

#[test]
fn a_reply_that_comes_twice_is_executed_once_and_pays_once() {
    let (mut net, caller, callee) = caller_and_callee();
    inject(&mut net, Fault::new(caller, FaultKind::DuplicateReply));
    let argument = call(callee, "echo", 5_000_000_000, b"once");
    let before = net.cycles(&caller);
    assert_eq!(text(net.update(caller, "call", &argument)), "once");
    net.ticks(5);
    assert!(net.cycles(&caller) < before, "no cycles were made");
    let callbacks = net.0.canister(&caller).expect("exists").usage().since(0);
    let callbacks = callbacks.filter(|record| record.kind == MessageKind::ReplyCallback);
    assert_eq!(callbacks.count(), 1);
}

#[test]
fn a_canister_is_upgraded_stopped_and_started_in_chosen_rounds() {
    let mut net = Net::application();
    let id = net.probe();
    net.update(id, "store", b"on the heap").expect("replied");
    let version = net.0.canister(&id).expect("exists").version();
    inject(&mut net, Fault::new(id, FaultKind::Upgrade(Vec::new())));
    net.ticks(2);
    assert!(net.0.canister(&id).expect("exists").version() > version);
    assert_eq!(
        text(net.query(id, "load", b"")),
        "",
        "an upgrade clears the heap"
    );
    inject(&mut net, Fault::new(id, FaultKind::Stop));
    let start = Fault {
        skip: 4,
        ..Fault::new(id, FaultKind::Start)
    };
    inject(&mut net, start);
    net.ticks(2);
    let error = net.update(id, "echo", b"").expect_err("stopped");
    assert_eq!(error.code, ErrorCode::CanisterStopped);
    net.ticks(4);
    net.update(id, "echo", b"").expect("started");
}

#[test]
fn cycles_go_and_come() {
    let mut net = Net::application();
    let id = net.probe();
    inject(&mut net, Fault::new(id, FaultKind::SetCycles(0)));
    net.tick();
    assert_eq!(net.cycles(&id), 0);
    let error = net
        .update(id, "echo", b"")
        .expect_err("nothing to pay with");
    assert_eq!(error.code, ErrorCode::CanisterOutOfCycles);
}

#[test]
fn faults_that_cannot_be_are_refused_by_name_and_none_of_the_list_is_added() {
    let mut net = Net::application();
    let id = net.probe();
    let good = Fault::new(id, FaultKind::DropReply);
    let mut refused = |bad: Fault, named: &str| {
        let error = net.0.inject(vec![good.clone(), bad]).expect_err(named);
        assert!(error.to_string().contains(named), "{error}");
        assert_eq!(net.0.faults(), []);
    };
    let fault = |kind| Fault::new(id, kind);
    refused(fault(FaultKind::TrapAtSystemCall(0)), "trap_at_system_call");
    refused(fault(FaultKind::DelayReply(0)), "0 rounds");
    refused(
        fault(FaultKind::DelayReply(u64::MAX)),
        "18446744073709551615",
    );
    refused(
        Fault {
            times: 0,
            ..fault(FaultKind::Stop)
        },
        "times",
    );
    refused(
        Fault {
            method: Some("echo".to_owned()),
            ..fault(FaultKind::Stop)
        },
        "method",
    );
    refused(
        Fault {
            callee: Some(id),
            ..fault(FaultKind::FullMemory)
        },
        "callee",
    );
    refused(
        Fault::new(stranger(), FaultKind::Stop),
        &stranger().to_text(),
    );
    let many = vec![good; FAULTS_MAX + 1];
    let error = net.0.inject(many).expect_err("too many").to_string();
    assert!(error.contains("10001"), "{error}");
}

#[test]
fn faults_and_delayed_replies_are_saved() {
    let (mut net, caller, callee) = caller_and_callee();
    inject(&mut net, Fault::new(caller, FaultKind::DelayReply(5)));
    let argument = call(callee, "echo", 0, b"late");
    let message = net
        .submit(user(), caller, "call", argument)
        .expect("accepted");
    net.ticks(2);
    let dir = tempfile::tempdir().expect("a folder");
    net.0.save(dir.path()).expect("saved");
    let loaded = Network::load(dir.path(), engine(), Arc::new(PlainCertifier));
    let mut copy = Net(loaded.expect("loaded"));
    assert_eq!(copy.0.faults(), net.0.faults());
    assert_eq!(text(copy.finish(message)), "late");
}
