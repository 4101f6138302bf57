//! Each kind of message: what it changes, what a trap undoes, who is answered.

use super::*;

#[test]
fn an_update_changes_the_heap_and_a_query_does_not() {
    let mut net = Net::application();
    let id = net.probe();
    net.update(id, "store", b"first").expect("replied");
    assert_eq!(text(net.query(id, "load", b"")), "first");
    assert_eq!(text(net.query(id, "store_in_query", b"second")), "second");
    assert_eq!(text(net.query(id, "load", b"")), "first");
    // Run as an update, a query still changes nothing.
    assert_eq!(text(net.update(id, "store_in_query", b"third")), "third");
    assert_eq!(text(net.query(id, "load", b"")), "first");
}

#[test]
fn a_trap_undoes_the_heap_and_the_calls_of_its_message() {
    let mut net = Net::application();
    let (id, other) = (net.probe(), net.probe());
    net.update(id, "store", b"kept").expect("replied");
    let error = net
        .update(id, "store_and_trap", b"lost")
        .expect_err("trapped");
    assert_eq!(error.code, ErrorCode::CanisterCalledTrap);
    assert!(error.message.contains("boom"), "{}", error.message);
    assert!(
        error
            .message
            .starts_with(&format!("Error from Canister {id}: ")),
        "{}",
        error.message
    );
    let version = net.0.canister(&id).expect("exists").version();
    let balance = net.cycles(&id);
    let error = net
        .update(
            id,
            "call_then_trap",
            &call(other, "store", 1_000, b"unsent"),
        )
        .expect_err("trapped");
    assert_eq!(error.code, ErrorCode::CanisterCalledTrap);
    net.ticks(3);
    assert_eq!(text(net.query(id, "load", b"")), "kept");
    assert_eq!(text(net.query(other, "load", b"")), "");
    assert_eq!(net.0.canister(&id).expect("exists").version(), version);
    // Only the ingress and the execution were paid for: far less than a call sets aside.
    assert!(
        balance - net.cycles(&id) < 100_000_000,
        "{}",
        balance - net.cycles(&id)
    );
}

#[test]
fn calls_reach_canisters_on_the_same_subnet_themselves_and_other_subnets() {
    let mut net = Net::new(&[SubnetKind::Application, SubnetKind::System]);
    let near = net.probe();
    let far_id = net.0.topology().subnets[1].id;
    let far = net.create_in(EffectivePrincipal::SubnetId(far_id), 0);
    net.install(far, probe());
    assert_ne!(net.0.subnet_of(&near), net.0.subnet_of(&far));
    let other = net.probe();
    for callee in [other, near, far] {
        assert_eq!(
            text(net.update(near, "call", &call(callee, "echo", 0, b"hello"))),
            "hello"
        );
    }
    assert_eq!(
        text(net.update(far, "call", &call(near, "echo", 0, b"back"))),
        "back"
    );
}

#[test]
fn a_rejected_call_tells_its_code_and_text() {
    let mut net = Net::application();
    let (id, other) = (net.probe(), net.probe());
    let empty = net.create();
    let missing = canister_id_from_number(0xFFFF_FFFF_FFE0_0000 + 999);
    let nowhere = canister_id_from_number(5);
    let cases = [
        (call(other, "refuse", 0, b"no"), "rejected 4: no".to_owned()),
        (
            call(other, "nothing", 0, b""),
            "rejected 5: Error from Canister".to_owned(),
        ),
        (
            call(other, "silence", 0, b""),
            format!("rejected 5: Canister {other} did not reply to the call"),
        ),
        (
            call(empty, "echo", 0, b""),
            format!(
                "rejected 5: Error from Canister {empty}: Attempted to execute a message, but the canister contains no Wasm module."
            ),
        ),
        (
            call(missing, "echo", 0, b""),
            format!("rejected 3: Canister {missing} not found"),
        ),
        (
            call(nowhere, "echo", 0, b""),
            format!("rejected 3: No route to canister {nowhere}"),
        ),
        (
            call(other, "call_query", 0, b""),
            "rejected 5: Composite query cannot be called in replicated mode".to_owned(),
        ),
        (
            call(Principal::management_canister(), "no_such_method", 0, b""),
            "rejected 3: Unable to route management canister request no_such_method: ".to_owned(),
        ),
    ];
    for (argument, expected) in cases {
        let answer = text(net.update(id, "call", &argument));
        assert!(
            answer.starts_with(&expected),
            "{answer} should start with {expected}"
        );
    }
}

#[test]
fn a_users_message_without_an_answer_is_rejected_when_its_last_callback_ran() {
    let mut net = Net::application();
    let (id, other) = (net.probe(), net.probe());
    for (method, argument) in [
        ("silence", Vec::new()),
        ("call_and_stay_silent", call(other, "echo", 0, b"")),
    ] {
        let error = net.update(id, method, &argument).expect_err("unanswered");
        assert_eq!(error.code, ErrorCode::CanisterDidNotReply);
        assert_eq!(
            error.message,
            format!("Canister {id} did not reply to the call")
        );
    }
}

#[test]
fn a_trapping_callback_is_undone_and_its_cleanup_kept() {
    let mut net = Net::application();
    let (id, other) = (net.probe(), net.probe());
    let error = net
        .update(
            id,
            "call_and_trap_in_callback",
            &call(other, "echo", 0, b""),
        )
        .expect_err("trapped");
    assert_eq!(error.code, ErrorCode::CanisterCalledTrap);
    assert_eq!(text(net.query(id, "load", b"")), "clean");
    let view = net.0.canister(&id).expect("exists");
    let kinds: Vec<_> = view
        .usage()
        .since(0)
        .map(|usage| (usage.kind, usage.succeeded))
        .collect();
    assert!(kinds.contains(&(MessageKind::ReplyCallback, false)));
    assert!(kinds.contains(&(MessageKind::Cleanup, true)));
}

#[test]
fn cycles_of_a_call_are_accepted_or_refunded() {
    let mut net = Net::system();
    let (id, other) = (net.probe(), net.probe());
    let (before, other_before) = (net.cycles(&id), net.cycles(&other));
    net.update(id, "call", &call(other, "accept_half", 1_000, b""))
        .expect("replied");
    assert_eq!(net.cycles(&id), before - 500);
    assert_eq!(net.cycles(&other), other_before + 500);
    net.update(id, "call", &call(other, "refuse", 1_000, b""))
        .expect("replied");
    assert_eq!(net.cycles(&id), before - 500);
}

#[test]
fn a_heartbeat_runs_every_round_and_takes_turns_with_messages() {
    let mut net = Net::system();
    let id = net.create();
    net.install(
        id,
        wasm(
            r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
                (memory 1)
                (func (export "canister_heartbeat")
                    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
                (func (export "canister_query count")
                    (call $append (i32.const 0) (i32.const 4)) (call $reply)))"#,
        ),
    );
    let count = |net: &mut Net| {
        u32::from_le_bytes(
            net.query(id, "count", b"")
                .expect("replied")
                .try_into()
                .expect("4 bytes"),
        )
    };
    let before = count(&mut net);
    net.ticks(5);
    assert_eq!(count(&mut net), before + 5);
}

#[test]
fn the_global_timer_fires_once_when_its_time_has_come() {
    let mut net = Net::application();
    let id = net.probe();
    let due_ns = net.0.time_ns() + 60_000_000_000;
    net.update(id, "set_timer", &due_ns.to_le_bytes())
        .expect("replied");
    net.ticks(3);
    assert_eq!(text(net.query(id, "load", b"")), "");
    net.pass_seconds(60);
    assert_eq!(text(net.query(id, "load", b"")), "timer");
    net.update(id, "store", b"reset").expect("replied");
    net.pass_seconds(60);
    assert_eq!(text(net.query(id, "load", b"")), "reset");
}

#[test]
fn inspect_message_lets_in_what_it_accepts() {
    let mut net = Net::application();
    let id = net.create();
    net.install(
        id,
        wasm(
            r#"(module
                (import "ic0" "msg_method_name_size" (func $size (result i32)))
                (import "ic0" "accept_message" (func $accept))
                (import "ic0" "msg_reply" (func $reply))
                (memory 1)
                (func (export "canister_inspect_message")
                    (if (i32.eq (call $size) (i32.const 4)) (then (call $accept))))
                (func (export "canister_update open") (call $reply))
                (func (export "canister_update closed") (call $reply)))"#,
        ),
    );
    net.update(id, "open", b"").expect("accepted");
    let error = net.update(id, "closed", b"").expect_err("refused");
    assert_eq!(error.code, ErrorCode::CanisterRejectedMessage);
    assert_eq!(error.message, "Canister rejected the message");
}

#[test]
fn low_wasm_memory_runs_its_hook_once() {
    let mut net = Net::system();
    let id = net.create();
    net.install(
        id,
        wasm(
            r#"(module
                (import "ic0" "msg_reply" (func $reply))
                (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
                (memory 1)
                (func (export "canister_on_low_wasm_memory")
                    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
                (func (export "canister_update grow")
                    (drop (memory.grow (i32.const 8))) (call $reply))
                (func (export "canister_query count")
                    (call $append (i32.const 0) (i32.const 1)) (call $reply)))"#,
        ),
    );
    let change = settings(|settings| {
        settings.wasm_memory_limit = Some(1_000_000_u64.into());
        settings.wasm_memory_threshold = Some(600_000_u64.into());
    });
    let args = ic_management_canister_types::UpdateSettingsArgs {
        canister_id: id,
        settings: change,
        sender_canister_version: None,
    };
    net.manage("update_settings", &args).expect("set");
    net.ticks(2);
    assert_eq!(net.query(id, "count", b"").expect("replied"), [0]);
    net.update(id, "grow", b"").expect("replied");
    net.ticks(3);
    assert_eq!(net.query(id, "count", b"").expect("replied"), [1]);
}

#[test]
fn a_best_effort_call_gives_up_at_its_deadline() {
    let mut net = Net::new(&[SubnetKind::Application, SubnetKind::Bitcoin]);
    let id = net.probe();
    let slow = net.create_as(BITCOIN_CANISTER);
    net.install(slow, probe());
    let unanswered = blocks_call(&SuccessorsRequest::initial(()));
    let message = net
        .submit(
            user(),
            id,
            "call_best_effort",
            call(slow, "call", 5_000, &unanswered),
        )
        .expect("accepted");
    net.ticks(5);
    assert_eq!(net.state_of(&message), IngressState::Processing);
    net.pass_seconds(12);
    assert_eq!(text(net.finish(message)), "rejected 6: Call has timed out.");
    // The late answer only brings the cycles back.
    let before = net.cycles(&id);
    net.answer_consensus_call(&slow, b"late".to_vec());
    net.ticks(5);
    assert_eq!(net.cycles(&id), before + 5_000);
}

#[test]
fn an_ingress_message_runs_once_and_not_after_its_expiry() {
    let mut net = Net::application();
    let id = net.probe();
    let ingress = Ingress {
        sender: user(),
        canister_id: id,
        method: "echo".into(),
        payload: b"once".to_vec(),
        effective: EffectivePrincipal::None,
        message_id: Some(MessageId([9; 32])),
        expiry_ns: Some(net.0.time_ns() + 1_000_000_000),
        caller_info: None,
    };
    let message = net.0.submit_ingress(ingress.clone()).expect("accepted");
    assert_eq!(text(net.finish(message)), "once");
    let executed = net.0.canister(&id).expect("exists").usage().next_sequence();
    assert_eq!(net.0.submit_ingress(ingress.clone()), Ok(message));
    net.ticks(3);
    assert_eq!(
        net.0.canister(&id).expect("exists").usage().next_sequence(),
        executed
    );

    let late = Ingress {
        message_id: Some(MessageId([8; 32])),
        ..ingress.clone()
    };
    let message = net.0.submit_ingress(late).expect("accepted");
    net.pass_seconds(2);
    let error = net.finish(message).expect_err("expired");
    assert_eq!(error.code, ErrorCode::IngressMessageTimeout);
    let stale = Ingress {
        message_id: Some(MessageId([7; 32])),
        ..ingress.clone()
    };
    let error = net.0.submit_ingress(stale).expect_err("refused");
    assert!(
        error.message.starts_with("Invalid request expiry: "),
        "{}",
        error.message
    );
    let far = net.0.time_ns() + 400_000_000_000;
    let early = Ingress {
        message_id: Some(MessageId([6; 32])),
        expiry_ns: Some(far),
        ..ingress
    };
    assert!(net.0.submit_ingress(early).is_err());
    net.pass_seconds(400);
    net.ticks(1);
    assert!(net.0.ingress_status(&MessageId([9; 32])).is_none());
}

#[test]
fn a_message_that_never_ends_hits_the_instruction_limit() {
    let mut limits = LimitsConfig::default();
    limits.application.message_instructions = 1_000_000;
    let mut net = Net::with_limits(&[SubnetKind::Application], limits);
    let id = net.probe();
    let error = net.update(id, "spin_for_ever", b"").expect_err("stopped");
    assert_eq!(error.code, ErrorCode::CanisterInstructionLimitExceeded);
    assert!(
        error.message.contains("1000000 instructions"),
        "{}",
        error.message
    );
}

#[test]
fn usage_is_recorded_per_message() {
    let mut net = Net::application();
    let id = net.probe();
    let from = net.0.canister(&id).expect("exists").usage().next_sequence();
    net.update(id, "dirty_pages", b"").expect("replied");
    net.update(id, "stable_store", b"abcd").expect("replied");
    assert_eq!(text(net.query(id, "stable_load", b"")), "abcd");
    let view = net.0.canister(&id).expect("exists");
    let records: Vec<_> = view.usage().since(from).collect();
    let figures: Vec<_> = records
        .iter()
        .map(|r| {
            (
                r.kind,
                r.method.as_str(),
                r.stable_pages_dirtied,
                r.stable_pages_read,
            )
        })
        .collect();
    assert_eq!(
        figures,
        [
            (MessageKind::Update, "dirty_pages", 0, 0),
            (MessageKind::Update, "stable_store", 1, 0),
            (MessageKind::Query, "stable_load", 0, 1),
        ]
    );
    assert_eq!(records[0].heap_pages_dirtied, 16);
    assert!(
        records
            .iter()
            .all(|record| record.instructions > 0 && record.succeeded)
    );
}

#[test]
fn a_message_is_executed_once_however_often_it_is_sent_before_it_expires() {
    let mut net = Net::application();
    let id = net.probe();
    let message = Ingress {
        sender: user(),
        canister_id: id,
        method: "store".into(),
        payload: b"first".to_vec(),
        effective: EffectivePrincipal::None,
        message_id: Some(MessageId([7; 32])),
        expiry_ns: Some(net.0.time_ns() + 330_000_000_000),
        caller_info: None,
    };
    let sent = net.0.submit_ingress(message.clone()).expect("accepted");
    net.finish(sent).expect("replied");
    net.update(id, "store", b"second").expect("replied");
    // The time for which answers are kept is over; the time in which the message is valid is not.
    net.pass_seconds(301);
    net.ticks(2);
    let again = net.0.submit_ingress(message.clone()).expect("known");
    assert_eq!(again, sent);
    net.ticks(2);
    assert_eq!(text(net.query(id, "load", b"")), "second");
    net.pass_seconds(30);
    net.ticks(2);
    let late = net.0.submit_ingress(message).expect_err("expired");
    assert_eq!(late.code, ErrorCode::IngressMessageTimeout);
}

#[test]
fn a_canister_sees_what_a_user_attached_about_itself() {
    let mut net = Net::application();
    let id = net.create();
    net.install(
        id,
        wasm(
            r#"(module
                (import "ic0" "msg_caller_info_data_size" (func $size (result i32)))
                (import "ic0" "msg_caller_info_data_copy" (func $copy (param i32 i32 i32)))
                (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
                (import "ic0" "msg_reply" (func $reply))
                (memory 1)
                (func $tell
                    (call $copy (i32.const 0) (i32.const 0) (call $size))
                    (call $append (i32.const 0) (call $size))
                    (call $reply))
                (func (export "canister_update tell") (call $tell))
                (func (export "canister_query ask") (call $tell)))"#,
        ),
    );
    for info in [None, Some(&b"attached"[..])] {
        let caller_info = info.map(|data| millrace_vm::CallerInfo {
            data: data.to_vec(),
            signer: stranger(),
        });
        let message = net
            .0
            .submit_ingress(Ingress {
                sender: user(),
                canister_id: id,
                method: "tell".into(),
                payload: Vec::new(),
                effective: EffectivePrincipal::None,
                message_id: None,
                expiry_ns: None,
                caller_info: caller_info.clone(),
            })
            .expect("accepted");
        let told = net.finish(message).expect("replied");
        assert_eq!(told, info.unwrap_or_default());
        let told = net.0.query(Query {
            sender: user(),
            canister_id: id,
            method: "ask".into(),
            payload: Vec::new(),
            effective: EffectivePrincipal::None,
            caller_info,
        });
        assert_eq!(told.expect("replied"), info.unwrap_or_default());
    }
}

#[test]
fn long_method_names_and_a_full_pool_are_refused() {
    let mut net = Net::application();
    let id = net.create();
    net.subnet_mut(&id).rules.limits.ingress_pool_bytes = 100;
    let name = "x".repeat(20_001);
    let error = net.submit(user(), id, &name, Vec::new()).expect_err("long");
    assert_eq!(error.code, ErrorCode::CanisterMethodNotFound);
    let error = net.query(id, &name, b"").expect_err("long");
    assert_eq!(error.code, ErrorCode::CanisterMethodNotFound);
    let top_up = |net: &mut Net, cycles: u8| {
        let args = ic_management_canister_types::ProvisionalTopUpCanisterArgs {
            canister_id: id,
            amount: cycles.into(),
        };
        let payload = candid::encode_one(&args).expect("encodes");
        let management = Principal::management_canister();
        net.submit(user(), management, "provisional_top_up_canister", payload)
    };
    top_up(&mut net, 1).expect("room");
    let error = top_up(&mut net, 2).expect_err("no room for two");
    assert_eq!(error.code, ErrorCode::IngressHistoryFull);
    net.ticks(1);
    top_up(&mut net, 3).expect("room again");
}

#[test]
fn inducted_messages_count_against_the_bytes_that_may_wait() {
    let mut net = Net::application();
    let id = net.probe();
    // The canister is kept busy, so that its messages wait in its queue.
    net.canister_mut(&id).slices_left = 3;
    net.subnet_mut(&id).rules.limits.ingress_pool_bytes = 100;
    let first = net.submit(user(), id, "echo", vec![1; 80]).expect("room");
    net.ticks(1);
    assert_eq!(net.subnet_mut(&id).state.pool_bytes, 0, "inducted");
    let error = net
        .submit(user(), id, "echo", vec![2; 80])
        .expect_err("full");
    assert_eq!(error.code, ErrorCode::IngressHistoryFull);
    net.finish(first).expect("replied");
    net.submit(user(), id, "echo", vec![2; 80])
        .expect("room again");
}
