//! Queries and composite queries.

use super::*;

#[test]
fn a_query_sees_a_certificate_of_the_certified_data() {
    let mut net = Net::application();
    let id = net.probe();
    net.update(id, "certify", b"root").expect("replied");
    assert_eq!(text(net.query(id, "certificate", b"")), "certified root");
    assert_eq!(text(net.update(id, "certificate", b"")), "");
}

#[test]
fn composite_queries_call_queries_of_other_canisters() {
    let mut net = Net::application();
    let (id, other) = (net.probe(), net.probe());
    net.update(other, "store", b"from afar").expect("replied");
    assert_eq!(
        text(net.query(id, "call_query", &call(other, "load", 0, b""))),
        "from afar"
    );
    let nested = call(
        other,
        "call_query",
        0,
        &call(id, "echo_query", 0, b"and back"),
    );
    assert_eq!(text(net.query(id, "call_query", &nested)), "and back");
    let missing = canister_id_from_number(0xFFFF_FFFF_FFE0_0000 + 999);
    let answer = text(net.query(id, "call_query", &call(missing, "load", 0, b"")));
    assert_eq!(answer, format!("rejected 3: Canister {missing} not found"));
    let answer = text(net.query(id, "call_query", &call(other, "no_such_query", 0, b"")));
    assert!(
        answer.starts_with("rejected 5: Error from Canister"),
        "{answer}"
    );
}

/// A canister tells by the certificate whether its answer is checked by consensus or by nobody: in
/// another canister's composite query it has none, as on the IC.
#[test]
fn only_the_canister_the_user_asks_sees_a_certificate() {
    let mut net = Net::application();
    let (id, other) = (net.probe(), net.probe());
    for id in [id, other] {
        net.update(id, "certify", b"root").expect("replied");
    }
    let certificate_of = |id| call(id, "certificate", 0, b"");
    assert_eq!(
        text(net.query(id, "call_query", &certificate_of(other))),
        ""
    );
    let own = net.query(id, "call_query", &certificate_of(id));
    assert_eq!(text(own), "certified root");
}

#[test]
fn a_composite_query_that_goes_too_deep_or_takes_too_long_fails() {
    let mut net = Net::application();
    let id = net.probe();
    let mut argument = call(id, "echo_query", 0, b"bottom");
    for _ in 0..5 {
        argument = call(id, "call_query", 0, &argument);
    }
    assert_eq!(text(net.query(id, "call_query", &argument)), "bottom");
    let deeper = call(id, "call_query", 0, &argument);
    let error = net.query(id, "call_query", &deeper).expect_err("too deep");
    assert_eq!(error.code, ErrorCode::QueryCallGraphTooDeep);

    let mut limits = LimitsConfig::default();
    limits.application.query_graph_instructions = 50_000_000;
    let mut net = Net::with_limits(&[SubnetKind::Application], limits);
    let id = net.probe();
    let error = net
        .query(id, "call_query", &call(id, "echo_query", 0, b""))
        .expect_err("too long");
    assert_eq!(
        error.code,
        ErrorCode::QueryCallGraphTotalInstructionLimitExceeded
    );
}

#[test]
fn queries_of_missing_things_say_so() {
    let mut net = Net::application();
    let (id, empty) = (net.probe(), net.create());
    let missing = canister_id_from_number(0xFFFF_FFFF_FFE0_0000 + 999);
    let cases = [
        (missing, "load", ErrorCode::CanisterNotFound),
        (
            canister_id_from_number(3),
            "load",
            ErrorCode::CanisterNotFound,
        ),
        (empty, "load", ErrorCode::CanisterWasmModuleNotFound),
        (id, "nothing", ErrorCode::CanisterMethodNotFound),
        (id, "silence", ErrorCode::CanisterMethodNotFound),
        (
            Principal::management_canister(),
            "nothing",
            ErrorCode::CanisterMethodNotFound,
        ),
    ];
    for (canister, method, code) in cases {
        assert_eq!(
            net.query(canister, method, b"").expect_err("refused").code,
            code,
            "{method}"
        );
    }
}

#[test]
fn queries_leave_no_trace_but_statistics() {
    let mut net = Net::application();
    let id = net.probe();
    let before = (
        net.cycles(&id),
        net.0.canister(&id).expect("exists").version(),
    );
    net.query(id, "store_in_query", b"x").expect("replied");
    assert_eq!(
        (
            net.cycles(&id),
            net.0.canister(&id).expect("exists").version()
        ),
        before
    );
    let statistics = net.subnet_mut(&id).canisters[&id].query_statistics;
    assert_eq!(
        (
            statistics.calls,
            statistics.request_bytes,
            statistics.response_bytes
        ),
        (1, 1, 1)
    );
    assert!(statistics.instructions > 0);
}

#[test]
fn a_composite_query_need_not_want_to_know_the_answer() {
    let mut net = Net::application();
    let id = net.create();
    // Both callbacks are the function index that stands for none.
    net.install(
        id,
        wasm(
            r#"(module
            (import "ic0" "canister_self_size" (func $self_size (result i32)))
            (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
            (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "ic0" "call_perform" (func $perform (result i32)))
            (memory 1)
            (data (i32.const 100) "none")
            (func (export "canister_composite_query ask")
                (call $self_copy (i32.const 0) (i32.const 0) (call $self_size))
                (call $call_new (i32.const 0) (call $self_size) (i32.const 100) (i32.const 4)
                    (i32.const -1) (i32.const 0) (i32.const -1) (i32.const 0))
                (drop (call $perform))))"#,
        ),
    );
    let error = net.query(id, "ask", b"").expect_err("never replies");
    assert_eq!(error.code, ErrorCode::CanisterDidNotReply, "{error}");
}
