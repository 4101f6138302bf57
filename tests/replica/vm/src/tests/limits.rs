//! Limits: instructions, stack, memory, pages, replies. Each traps in the IC's words.

use super::*;

const WAT: &str = r#"(module
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (memory 1)
    (func $deep (result i32) call $deep i32.const 1 i32.add)
    (func (export "canister_update spin") loop br 0 end)
    (func (export "canister_update overrun") i32.const 1 if nop nop nop nop nop nop nop nop end)
    (func (export "canister_update fill") i32.const 0 i32.const 1 i32.const 60000 memory.fill)
    (func (export "canister_update recurse") call $deep drop)
    (func (export "canister_update unreachable") unreachable)
    (func (export "canister_update divide") i32.const 1 i32.const 0 i32.div_u drop)
    (func (export "canister_update out_of_heap") i32.const 65536 i32.load drop)
    (func (export "canister_update grow_heap") (export "canister_query grow_heap_query")
        i32.const 0 i32.const 16 memory.grow i32.store
        i32.const 0 i32.const 4 call $append
        call $reply)
    (func (export "canister_update grow_stable")
        i32.const 0 i64.const 16 call $grow i64.store
        i32.const 0 i32.const 8 call $append
        call $reply)
    (func (export "canister_update write_three_pages")
        i64.const 1 call $grow drop
        i64.const 4000 i64.const 0 i64.const 4300 call $write)
    (func (export "canister_update read_three_pages")
        i64.const 1 call $grow drop
        i64.const 0 i64.const 4000 i64.const 4300 call $read)
    (func (export "canister_update read_beyond")
        i64.const 1 call $grow drop
        i64.const 0 i64.const 65530 i64.const 7 call $read)
    (func (export "canister_update write_from_beyond")
        i64.const 1 call $grow drop
        i64.const 0 i64.const 65530 i64.const 7 call $write)
    (func (export "canister_update reply_100")
        i32.const 0 i32.const 100 call $append
        call $reply))"#;

fn run(change: impl FnOnce(&mut Input), method: &str) -> Output {
    let mut message = update(method);
    change(&mut message);
    Canister::new(WAT).run(message)
}

#[test]
fn traps_of_wasm_code_are_named_as_on_the_ic() {
    for (method, reason) in [
        ("recurse", "stack overflow"),
        ("unreachable", "unreachable"),
        ("divide", "integer division by 0"),
        ("out_of_heap", "heap out of bounds"),
        ("read_beyond", "stable memory out of bounds"),
        ("write_from_beyond", "heap out of bounds"),
    ] {
        let output = run(|_| (), method);
        assert_eq!(trap(&output).kind, TrapKind::CanisterTrapped, "{method}");
        assert_eq!(trap(&output).message, format!("Canister trapped: {reason}"));
        assert_eq!(
            output.logs[0].content,
            format!("[TRAP]: {reason}").into_bytes()
        );
    }
}

#[test]
fn the_text_for_users_names_the_canister_and_says_what_to_do() {
    let output = run(|_| (), "unreachable");
    let text = trap(&output).user_message(&principal(1));
    let expected = format!(
        "Error from Canister {}: Canister trapped: unreachable.\nConsider gracefully handling failures",
        principal(1)
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn an_endless_loop_uses_up_exactly_its_limit() {
    let output = run(
        |message| message.limits.instructions = Instructions(1_000),
        "spin",
    );
    assert_eq!(
        trap(&output).kind,
        TrapKind::CanisterInstructionLimitExceeded
    );
    let text = "Canister exceeded the limit of 1000 instructions for single message execution.";
    assert_eq!(trap(&output).message, text);
    assert_eq!(output.usage.instructions, Instructions(1_000));
}

#[test]
fn the_limit_is_checked_where_code_can_repeat_and_before_bulk_operations() {
    // Entry costs 4, the block 8: over the limit inside a block that runs once is let pass.
    let output = run(
        |message| message.limits.instructions = Instructions(4),
        "overrun",
    );
    assert!(output.result.is_ok());
    assert_eq!(output.usage.instructions, Instructions(4));
    let output = run(
        |message| message.limits.instructions = Instructions(3),
        "overrun",
    );
    assert_eq!(
        trap(&output).kind,
        TrapKind::CanisterInstructionLimitExceeded
    );

    let output = run(
        |message| message.limits.instructions = Instructions(60_103),
        "fill",
    );
    assert_eq!(
        trap(&output).kind,
        TrapKind::CanisterInstructionLimitExceeded
    );
    assert_eq!(output.usage.heap_pages_dirtied, OsPages(0));
    let output = run(
        |message| message.limits.instructions = Instructions(60_104),
        "fill",
    );
    assert!(output.result.is_ok());
}

#[test]
fn a_limit_as_large_as_can_be_counts_like_any_other() {
    let usage = |limit| run(|m| m.limits.instructions = limit, "reply_100").usage;
    assert_eq!(
        usage(Instructions(u64::MAX)),
        usage(Limits::update().instructions)
    );
}

#[test]
fn heap_growth_beyond_the_canisters_own_limit_traps_in_updates_only() {
    let limit = |message: &mut Input| {
        message.facts.memory.wasm_memory_limit = Some(16 * WASM_PAGE_BYTES);
    };
    let output = run(limit, "grow_heap");
    assert_eq!(
        trap(&output).kind,
        TrapKind::CanisterWasmMemoryLimitExceeded
    );
    let text = "Canister exceeded its current Wasm memory limit of 1048576 bytes. The peak Wasm memory usage was 1114112 bytes.";
    assert!(trap(&output).message.starts_with(text));

    let mut message = query("grow_heap_query");
    limit(&mut message);
    assert_eq!(
        reply_data(&Canister::new(WAT).run(message)),
        1_u32.to_le_bytes()
    );
}

#[test]
fn growth_the_subnet_has_no_memory_for_fails() {
    let none_left = |message: &mut Input| message.facts.memory.growth_bytes_available = 0;
    let output = run(none_left, "grow_heap");
    assert_eq!(trap(&output).kind, TrapKind::CanisterOutOfMemory);
    assert_eq!(
        reply_data(&run(none_left, "grow_stable")),
        (-1_i64).to_le_bytes()
    );
}

#[test]
fn growth_the_canister_cannot_pay_for_traps() {
    let poor = |message: &mut Input| {
        message.facts.balance = Cycles(1_000_999);
        message.facts.freezing_threshold = Cycles(1_000_000);
        // 16 pages are a MiB.
        message.facts.memory.freezing_cycles_per_gib = Cycles(1_024_000);
    };
    for method in ["grow_heap", "grow_stable"] {
        let output = run(poor, method);
        assert_eq!(trap(&output).kind, TrapKind::InsufficientCyclesInMemoryGrow);
        let message = &trap(&output).message;
        let expected =
            "grow memory by 1048576 bytes due to insufficient cycles. At least 1 additional";
        assert!(message.contains(expected), "{message}");
        let enough = |message: &mut Input| {
            poor(message);
            message.facts.balance = Cycles(1_001_000);
        };
        assert_eq!(
            reply_data(&run(enough, method))[..4],
            (if method == "grow_heap" { 1_u32 } else { 0 }).to_le_bytes()
        );
        let reserved = |message: &mut Input| {
            poor(message);
            message.facts.memory.reserved_bytes_unused = 1 << 20;
        };
        assert!(run(reserved, method).result.is_ok());
    }
    let output = {
        let mut message = query("grow_heap_query");
        poor(&mut message);
        Canister::new(WAT).run(message)
    };
    assert_eq!(reply_data(&output), 1_u32.to_le_bytes());
}

#[test]
fn growth_beyond_the_largest_memory_returns_minus_one() {
    let output = run(
        |m| m.facts.memory.heap_bytes_max = 16 * WASM_PAGE_BYTES,
        "grow_heap",
    );
    assert_eq!(reply_data(&output), (-1_i32).to_le_bytes());
    let output = run(
        |m| m.facts.memory.stable_bytes_max = 15 * WASM_PAGE_BYTES,
        "grow_stable",
    );
    assert_eq!(reply_data(&output), (-1_i64).to_le_bytes());
    let output = run(
        |m| m.facts.memory.stable_bytes_max = 16 * WASM_PAGE_BYTES,
        "grow_stable",
    );
    assert_eq!(reply_data(&output), 0_i64.to_le_bytes());
}

#[test]
fn stable_pages_are_limited_per_message() {
    let output = run(
        |m| m.limits.stable_dirty_pages = OsPages(2),
        "write_three_pages",
    );
    assert_eq!(
        trap(&output).kind,
        TrapKind::CanisterMemoryAccessLimitExceeded
    );
    assert!(
        trap(&output)
            .message
            .contains("modified pages in the stable memory")
    );
    for method in ["write_three_pages", "read_three_pages"] {
        let output = run(|m| m.limits.stable_accessed_pages = OsPages(2), method);
        assert_eq!(
            trap(&output).kind,
            TrapKind::CanisterMemoryAccessLimitExceeded
        );
        assert!(
            trap(&output)
                .message
                .contains("accessed pages in the stable memory")
        );
        let output = run(|m| m.limits.stable_accessed_pages = OsPages(3), method);
        assert!(output.result.is_ok());
    }
}

#[test]
fn a_reply_beyond_the_limit_is_a_contract_violation() {
    let output = run(|message| message.limits.reply_bytes = 99, "reply_100");
    let text = "Canister violated contract: ic0.msg_reply_data_append: application payload size (100) cannot be larger than 99.";
    assert_eq!(trap(&output).message, text);
    assert!(
        run(|message| message.limits.reply_bytes = 100, "reply_100")
            .result
            .is_ok()
    );
}

#[test]
fn tables_grow_to_a_million_elements_and_no_further() {
    let mut canister = Canister::new(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (table $table 1 funcref)
            (func (export "canister_update grow")
                (i32.store (i32.const 0) (table.grow $table (ref.null func) (i32.const 999999)))
                (i32.store (i32.const 4) (table.grow $table (ref.null func) (i32.const 1)))
                (call $append (i32.const 0) (i32.const 8))
                (call $reply)))"#,
    );
    let reply = canister.reply("grow");
    assert_eq!(
        reply,
        [1_i32.to_le_bytes(), (-1_i32).to_le_bytes()].concat()
    );
}
