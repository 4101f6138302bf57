//! Outgoing calls: what they carry, what they cost, and when they cannot be sent.

use super::*;

/// `f` calls `method` of canister 6 with 1,000 cycles and replies what `call_perform` returned.
const WAT: &str = r#"(module
    (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_data_append" (func $data (param i32 i32)))
    (import "ic0" "call_on_cleanup" (func $cleanup (param i32 i32)))
    (import "ic0" "call_with_best_effort_response" (func $best_effort (param i32)))
    (import "ic0" "call_cycles_add128" (func $cycles (param i64 i64)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_cycles_accept128" (func $accept (param i64 i64 i32)))
    (import "ic0" "cycles_burn128" (func $burn (param i64 i64 i32)))
    (memory 1)
    (data (i32.const 0) "\06\06\06\06\06\06\06\06\06\06method")
    (func $new
        i32.const 0 i32.const 10 i32.const 10 i32.const 6
        i32.const 1 i32.const 11 i32.const 2 i32.const 22 call $call_new)
    (func (export "canister_update f")
        call $new
        i32.const 10 i32.const 3 call $data
        i32.const 13 i32.const 3 call $data
        i32.const 3 i32.const 33 call $cleanup
        i32.const 4000 call $best_effort
        i64.const 0 i64.const 1000 call $cycles
        i32.const 100 call $perform i32.store
        i32.const 100 i32.const 4 call $append
        call $reply)
    (func (export "canister_update abandoned")
        call $new
        i64.const 0 i64.const 1000 call $cycles
        call $new)
    (func (export "canister_update too_many_cycles")
        call $new
        i64.const 1 i64.const 0 call $cycles)
    (func (export "canister_update nothing_prepared") call $perform drop)
    (func (export "canister_update two_cleanups")
        call $new
        i32.const 3 i32.const 33 call $cleanup
        i32.const 3 i32.const 33 call $cleanup)
    (func (export "canister_update accept_and_burn")
        i64.const 0 i64.const 300 i32.const 0 call $accept
        i64.const 0 i64.const 300 i32.const 16 call $accept
        i64.const 0 i64.const 70 i32.const 32 call $burn
        i32.const 0 i32.const 48 call $append
        call $reply))"#;

/// At 13 nodes: 260,000 and 1,000 per byte of method and argument; 2 MiB of response at 1,000
/// per byte; 5 M and 40 G instructions at 1 for the callback.
const PREPAYMENT: CallPrepayment = CallPrepayment {
    request_transmission: Cycles(260_000 + 12 * 1_000),
    response_transmission: Cycles(2_097_152_000),
    response_execution: Cycles(40_005_000_000),
};

#[test]
fn a_performed_call_carries_what_was_put_into_it() {
    let output = Canister::new(WAT).update("f");
    assert_eq!(reply_data(&output), 0_u32.to_le_bytes());
    let effects = output.result.expect("it replied");
    let call = OutgoingCall {
        callee: principal(6),
        method: "method".to_owned(),
        payload: b"method".to_vec(),
        cycles: Cycles(1_000),
        prepayment: PREPAYMENT,
        on_reply: Callback { fun: 1, env: 11 },
        on_reject: Callback { fun: 2, env: 22 },
        on_cleanup: Some(Callback { fun: 3, env: 33 }),
        best_effort_timeout_seconds: Some(300),
    };
    assert_eq!(effects.calls, [call]);
    let start = update("f").facts.balance;
    assert_eq!(effects.balance, start - Cycles(1_000) - PREPAYMENT.total());
}

#[test]
fn calls_are_free_on_system_subnets() {
    let mut message = update("f");
    message.facts.fees = Fees::system(13);
    let effects = Canister::new(WAT).run(message).result.expect("it replied");
    assert_eq!(effects.calls[0].prepayment, CallPrepayment::default());
    assert_eq!(effects.balance, update("f").facts.balance - Cycles(1_000));
}

#[test]
fn fees_grow_with_the_subnet() {
    let mut message = update("f");
    message.facts.fees = Fees::application(26);
    let effects = Canister::new(WAT).run(message).result.expect("it replied");
    assert_eq!(
        effects.calls[0].prepayment.total(),
        Cycles(PREPAYMENT.total().get() * 2)
    );
}

#[test]
fn a_call_that_cannot_be_paid_is_refused_and_its_cycles_stay() {
    let mut message = update("f");
    // One cycle short: the freezing threshold must stay.
    message.facts.balance = Cycles(1_000 + 1_000 - 1) + PREPAYMENT.total();
    let balance = message.facts.balance;
    let output = Canister::new(WAT).run(message.clone());
    assert_eq!(reply_data(&output), 2_u32.to_le_bytes());
    let effects = output.result.expect("it replied");
    assert_eq!((effects.calls.len(), effects.balance), (0, balance));

    message.facts.balance += Cycles(1);
    let effects = Canister::new(WAT).run(message).result.expect("it replied");
    assert_eq!((effects.calls.len(), effects.balance), (1, Cycles(1_000)));
}

#[test]
fn a_full_queue_refuses_the_call() {
    let mut message = update("f");
    message.limits.output_slots.insert(principal(6), 0);
    let output = Canister::new(WAT).run(message);
    assert_eq!(reply_data(&output), 2_u32.to_le_bytes());
    let mut message = update("f");
    message.limits.callbacks = 0;
    let output = Canister::new(WAT).run(message);
    assert_eq!(reply_data(&output), 2_u32.to_le_bytes());
}

#[test]
fn an_abandoned_call_gives_its_cycles_back() {
    let effects = Canister::new(WAT)
        .update("abandoned")
        .result
        .expect("it does not trap");
    assert_eq!(
        (effects.calls.len(), effects.balance),
        (0, update("f").facts.balance)
    );
}

#[test]
fn wrong_use_is_a_contract_violation() {
    for (method, text) in [
        (
            "nothing_prepared",
            "ic0.call_perform called when no call is under construction.",
        ),
        (
            "two_cleanups",
            "ic0.call_on_cleanup can be called at most once between",
        ),
    ] {
        let output = Canister::new(WAT).update(method);
        assert_eq!(trap(&output).kind, TrapKind::CanisterContractViolation);
        assert!(
            trap(&output).message.contains(text),
            "{}",
            trap(&output).message
        );
    }
    let output = Canister::new(WAT).update("too_many_cycles");
    let text = format!("Canister {} is out of cycles", principal(1));
    assert_eq!(trap(&output).message, text);
}

#[test]
fn cycles_are_accepted_up_to_what_is_there_and_burned() {
    let output = Canister::new(WAT).update("accept_and_burn");
    let amounts: Vec<u128> = reply_data(&output)
        .chunks(16)
        .map(|bytes| u128::from_le_bytes(bytes.try_into().expect("sixteen bytes")))
        .collect();
    // 500 are available.
    assert_eq!(amounts, [300, 200, 70]);
    let effects = output.result.expect("it replied");
    assert_eq!(
        (effects.cycles_accepted, effects.cycles_burned),
        (Cycles(500), Cycles(70))
    );
    assert_eq!(effects.balance, update("f").facts.balance + Cycles(430));
}

#[test]
fn an_argument_beyond_the_limit_is_a_contract_violation() {
    let mut message = update("f");
    message.limits.call_payload_bytes = 11;
    let output = Canister::new(WAT).run(message);
    let text = "has a payload size of 12, which exceeds the allowed limit of 11.";
    assert!(
        trap(&output).message.ends_with(text),
        "{}",
        trap(&output).message
    );
}
