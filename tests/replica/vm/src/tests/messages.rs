//! Entry points, callbacks, and what a message can ask about itself and its canister.

use super::*;

const WAT: &str = r#"(module
    (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
    (import "ic0" "msg_caller_copy" (func $caller (param i32 i32 i32)))
    (import "ic0" "msg_reject_code" (func $reject_code (result i32)))
    (import "ic0" "msg_reject_msg_copy" (func $reject_msg (param i32 i32 i32)))
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reject" (func $reject (param i32 i32)))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "accept_message" (func $accept))
    (import "ic0" "in_replicated_execution" (func $replicated (result i32)))
    (import "ic0" "env_var_name_copy" (func $env_name (param i32 i32 i32 i32)))
    (import "ic0" "env_var_value_copy" (func $env_value (param i32 i32 i32 i32 i32)))
    (import "ic0" "data_certificate_copy" (func $certificate (param i32 i32 i32)))
    (import "ic0" "is_controller" (func $is_controller (param i32 i32) (result i32)))
    (import "ic0" "cost_create_canister" (func $cost_create (param i32)))
    (import "ic0" "cost_sign_with_ecdsa" (func $cost_ecdsa (param i32 i32 i32 i32) (result i32)))
    (import "ic0" "cost_call" (func $cost_call (param i64 i64 i32)))
    (memory 1)
    (table 4 funcref)
    (elem (i32.const 1) $on_reply $on_reject $wrong_type)
    (data (i32.const 200) "\09\09\09\09\09\09\09\09\09\09")
    (data (i32.const 300) "test_key_1unknown")
    (func $on_reply (param i32)
        i32.const 0 local.get 0 i32.store
        i32.const 4 call $reject_code i32.store
        i32.const 0 i32.const 8 call $append
        call $reply)
    (func $on_reject (param i32)
        i32.const 0 call $reject_code i32.store
        i32.const 4 i32.const 0 i32.const 2 call $reject_msg
        i32.const 4 i32.const 2 call $reject)
    (func $wrong_type (result i32) i32.const 0)
    (func (export "canister_update caller")
        i32.const 0 i32.const 0 call $caller_size call $caller
        i32.const 0 call $caller_size call $append
        call $reply)
    (func (export "canister_update twice") call $reply call $reply)
    (func (export "canister_inspect_message") call $accept)
    (func (export "canister_query replicated")
        i32.const 0 call $replicated i32.store
        i32.const 0 i32.const 4 call $append
        call $reply)
    (func (export "canister_update environment")
        i32.const 0 i32.const 0 i32.const 0 i32.const 4 call $env_name
        i32.const 0 i32.const 4 i32.const 4 i32.const 0 i32.const 5 call $env_value
        i32.const 0 i32.const 9 call $append
        call $reply)
    (func (export "canister_update missing_environment")
        i32.const 1 i32.const 0 i32.const 0 i32.const 4 call $env_name)
    (func (export "canister_query certificate")
        i32.const 0 i32.const 4 i32.const 3 call $certificate
        i32.const 0 i32.const 3 call $append
        call $reply)
    (func (export "canister_update controllers")
        i32.const 0 i32.const 200 i32.const 10 call $is_controller i32.store8
        i32.const 1 i32.const 200 i32.const 9 call $is_controller i32.store8
        i32.const 0 i32.const 2 call $append
        call $reply)
    (func (export "canister_update costs")
        i32.const 0 call $cost_create
        i64.const 6 i64.const 6 i32.const 16 call $cost_call
        i32.const 48 i32.const 300 i32.const 10 i32.const 0 i32.const 32 call $cost_ecdsa i32.store8
        i32.const 49 i32.const 310 i32.const 7 i32.const 0 i32.const 32 call $cost_ecdsa i32.store8
        i32.const 50 i32.const 300 i32.const 10 i32.const 9 i32.const 32 call $cost_ecdsa i32.store8
        i32.const 0 i32.const 51 call $append
        call $reply)
    (func (export "canister_update beyond_the_heap") i32.const 65530 i32.const 0 i32.const 10 call $caller)
    (func (export "canister_update beyond_the_source") i32.const 0 i32.const 5 i32.const 10 call $caller))"#;

fn callback(entry: impl FnOnce(Callback) -> EntryPoint, fun: u32) -> Output {
    Canister::new(WAT).run(input(entry(Callback { fun, env: 77 }), Mode::Replicated))
}

#[test]
fn callbacks_run_from_the_table_with_their_environment() {
    let data = reply_data(&callback(EntryPoint::ReplyCallback, 1));
    assert_eq!(data, [77, 0, 0, 0, 4, 0, 0, 0]);
    let effects = callback(EntryPoint::RejectCallback, 2)
        .result
        .expect("it does not trap");
    assert_eq!(effects.response, Some(Response::Reject("no".to_owned())));
}

#[test]
fn callbacks_that_are_not_there_are_reported() {
    for missing in [0, 4, u32::MAX] {
        let output = callback(EntryPoint::ReplyCallback, missing);
        assert_eq!(trap(&output).kind, TrapKind::CanisterFunctionNotFound);
        let text = format!("invoke a non-existent Wasm function {missing} from table 0");
        assert!(trap(&output).message.ends_with(&text));
    }
    let output = callback(EntryPoint::Cleanup, 3);
    assert!(
        trap(&output)
            .message
            .ends_with("function invocation does not match its signature")
    );
}

#[test]
fn missing_methods_are_reported() {
    let output = Canister::new(WAT).update("missing");
    assert_eq!(trap(&output).kind, TrapKind::CanisterMethodNotFound);
    assert_eq!(
        trap(&output).message,
        "Canister has no update method 'missing'."
    );
    let output = Canister::new(WAT).run(query("caller"));
    assert_eq!(
        trap(&output).message,
        "Canister has no query method 'caller'."
    );
    let output = Canister::new(WAT).run(input(EntryPoint::Heartbeat, Mode::Replicated));
    assert_eq!(
        trap(&output).message,
        "Canister has no system method 'canister_heartbeat'."
    );
}

#[test]
fn a_message_is_answered_once() {
    assert_eq!(Canister::new(WAT).reply("caller"), principal(3).as_slice());
    let output = Canister::new(WAT).update("twice");
    let text = "Canister violated contract: ic0.msg_reply: the call is already replied";
    assert_eq!(trap(&output).message, text);
    let mut answered = update("caller");
    answered.message.already_responded = true;
    assert!(Canister::new(WAT).run(answered).result.is_err());
}

#[test]
fn inspect_message_tells_whether_it_accepted() {
    let message = Input {
        limits: Limits::inspect(),
        ..input(EntryPoint::InspectMessage, Mode::NonReplicated)
    };
    assert!(
        Canister::new(WAT)
            .run(message)
            .result
            .expect("it does not trap")
            .message_accepted
    );
}

#[test]
fn a_query_knows_whether_it_is_replicated() {
    let mut canister = Canister::new(WAT);
    assert_eq!(
        reply_data(&canister.run(query("replicated"))),
        0_u32.to_le_bytes()
    );
    let replicated = Input {
        mode: Mode::Replicated,
        ..query("replicated")
    };
    assert_eq!(reply_data(&canister.run(replicated)), 1_u32.to_le_bytes());
}

#[test]
fn facts_are_told_as_given() {
    let mut canister = Canister::new(WAT);
    assert_eq!(canister.reply("environment"), b"NAMEvalue");
    // The tenth byte is missing: another principal.
    assert_eq!(canister.reply("controllers"), [1, 0]);
    let mut message = query("certificate");
    message.facts.data_certificate = Some(Arc::from(*b"certificate"));
    assert_eq!(reply_data(&canister.run(message)), b"ifi");
    let output = canister.update("missing_environment");
    let text =
        "Environment variable index 1 is out of bounds. The number of environment variables is 1.";
    assert_eq!(trap(&output).message, text);
}

#[test]
fn costs_are_those_of_the_subnet() {
    let data = Canister::new(WAT).reply("costs");
    let amount =
        |at: usize| u128::from_le_bytes(data[at..at + 16].try_into().expect("sixteen bytes"));
    assert_eq!(amount(0), 500_000_000_000);
    assert_eq!(amount(16), 272_000 + 2_097_152_000 + 40_005_000_000);
    assert_eq!(amount(32), 10_000_000_000);
    assert_eq!(data[48..], [0, 2, 1]);
}

#[test]
fn ranges_outside_heap_or_source_are_contract_violations() {
    for (method, text) in [
        (
            "beyond_the_heap",
            "ic0.msg_caller_copy heap: src=65530 + length=10 exceeds the slice size=65536",
        ),
        (
            "beyond_the_source",
            "ic0.msg_caller_copy id: src=5 + length=10 exceeds the slice size=10",
        ),
    ] {
        let output = Canister::new(WAT).update(method);
        assert_eq!(trap(&output).kind, TrapKind::CanisterContractViolation);
        assert_eq!(
            trap(&output).message,
            format!("Canister violated contract: {text}")
        );
    }
}
