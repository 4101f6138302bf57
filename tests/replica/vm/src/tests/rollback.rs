//! A trap undoes everything a message did; success keeps everything.

use super::*;

/// `change` touches every kind of state, `change_and_trap` traps after it, `get` reports.
const WAT: &str = r#"(module
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_size" (func $size (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
    (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))
    (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "debug_print" (func $print (param i32 i32)))
    (import "ic0" "trap" (func $trap (param i32 i32)))
    (memory 1)
    (global $g (mut i64) (i64.const 11))
    (global $f (mut f32) (f32.const 1.5))
    (data (i32.const 100) "reason")
    (func $change
        i32.const 0 i32.const 42 i32.store
        i64.const 12 global.set $g
        f32.const 2.5 global.set $f
        i32.const 1 memory.grow drop
        i32.const 70000 i32.const 9 i32.store
        i64.const 3 call $grow drop
        i64.const 10 i64.const 100 i64.const 6 call $write
        i32.const 100 i32.const 6 call $certify
        i64.const 77 call $timer drop
        i32.const 100 i32.const 2 i32.const 100 i32.const 6
        i32.const 0 i32.const 0 i32.const 0 i32.const 0 call $call_new
        call $perform drop
        i32.const 100 i32.const 6 call $print)
    (func (export "canister_update change") call $change)
    (func (export "canister_update change_and_trap")
        call $change
        i32.const 100 i32.const 6 call $trap)
    (func (export "canister_update get")
        i32.const 8 global.get $g i64.store
        i32.const 16 global.get $f f32.store
        i32.const 20 memory.size i32.store
        i32.const 24 call $size i64.store
        call $size i64.const 0 i64.ne
        if i64.const 32 i64.const 10 i64.const 6 call $read end
        i32.const 0 i32.const 38 call $append
        call $reply))"#;

fn report(
    heap: u32,
    global: u64,
    float: f32,
    heap_pages: u32,
    stable_pages: u64,
    text: &[u8; 6],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(heap.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(global.to_le_bytes());
    bytes.extend(float.to_le_bytes());
    bytes.extend(heap_pages.to_le_bytes());
    bytes.extend(stable_pages.to_le_bytes());
    bytes.extend(text);
    bytes
}

#[test]
fn a_trap_undoes_heap_globals_stable_memory_and_effects() {
    let mut canister = Canister::new(WAT);
    let output = canister.update("change_and_trap");
    let trap = trap(&output);
    assert_eq!(trap.kind, TrapKind::CanisterCalledTrap);
    assert_eq!(
        trap.message,
        "Canister called `ic0.trap` with message: 'reason'"
    );
    assert_eq!(canister.reply("get"), report(0, 11, 1.5, 1, 0, &[0; 6]));
    assert_eq!(canister.state.stable_size_pages(), 0);
    assert_eq!(output.usage.pages_committed, OsPages(0));
}

#[test]
fn usage_and_logs_survive_a_trap() {
    let output = Canister::new(WAT).update("change_and_trap");
    assert!(output.usage.instructions > Instructions(10_000));
    assert_eq!(output.usage.heap_pages_dirtied, OsPages(2));
    assert_eq!(output.usage.stable_pages_dirtied, OsPages(1));
    assert_eq!(output.usage.system_calls, 8);
    let lines: Vec<&[u8]> = output
        .logs
        .iter()
        .map(|record| record.content.as_slice())
        .collect();
    assert_eq!(lines, [b"reason".as_slice(), b"[TRAP]: reason"]);
}

#[test]
fn success_keeps_heap_globals_stable_memory_and_effects() {
    let mut canister = Canister::new(WAT);
    let effects = canister.update("change").result.expect("it does not trap");
    assert_eq!(
        effects.certified_data.as_deref(),
        Some(b"reason".as_slice())
    );
    assert_eq!(effects.global_timer_ns, Some(77));
    assert_eq!(effects.calls.len(), 1);
    assert_eq!(effects.memory_growth_bytes, 4 * WASM_PAGE_BYTES);
    assert_eq!(canister.reply("get"), report(42, 12, 2.5, 2, 3, b"reason"));
    assert_eq!(
        canister.state.read_stable(10, 6).expect("in bounds"),
        b"reason"
    );
}

#[test]
fn a_trap_after_success_goes_back_to_the_success() {
    let mut canister = Canister::new(WAT);
    assert!(canister.update("change").result.is_ok());
    assert!(canister.update("change_and_trap").result.is_err());
    assert_eq!(canister.reply("get"), report(42, 12, 2.5, 2, 3, b"reason"));
}

#[test]
fn an_injected_fault_traps_at_exactly_the_nth_system_call() {
    for n in 1..=7 {
        let mut canister = Canister::new(WAT);
        let fault = Some(Fault::TrapAtSystemCall(n));
        let output = canister.run(Input {
            fault,
            ..update("change")
        });
        assert_eq!(trap(&output).kind, TrapKind::CanisterTrapped);
        assert!(
            trap(&output)
                .message
                .contains(&format!("injected fault at system call {n} ("))
        );
        assert_eq!(output.usage.system_calls, n);
        assert_eq!(canister.reply("get"), report(0, 11, 1.5, 1, 0, &[0; 6]));
    }
    let fault = Some(Fault::TrapAtSystemCall(8));
    assert!(
        Canister::new(WAT)
            .run(Input {
                fault,
                ..update("change")
            })
            .result
            .is_ok()
    );
}

#[test]
fn tables_are_fresh_in_every_message() {
    let mut canister = Canister::new(
        r#"(module
            (type $nullary (func))
            (table 2 funcref)
            (elem (i32.const 0) $first)
            (elem declare func $first)
            (func $first)
            (func (export "canister_update set") i32.const 1 ref.func $first table.set 0)
            (func (export "canister_update call") i32.const 1 call_indirect (type $nullary)))"#,
    );
    assert!(canister.update("set").result.is_ok());
    assert!(canister.update("call").result.is_err());
}
