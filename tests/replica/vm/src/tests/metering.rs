//! Instruction counts, each computed by hand from the IC's cost table.
//!
//! Entering a function costs 1; a block is charged as a whole when it starts.

use super::*;

/// Instructions of an update whose body is `body`, in a module with one heap page and a table.
fn cost(body: &str) -> u64 {
    let wat = format!(
        r#"(module
            (type $nullary (func))
            (import "ic0" "time" (func $time (result i64)))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
            (import "ic0" "is_controller" (func $is_controller (param i32 i32) (result i32)))
            (import "ic0" "debug_print" (func $print (param i32 i32)))
            (import "ic0" "stable64_size" (func $size (result i64)))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
            (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
            (memory 1)
            (table funcref (elem $callee))
            (data $passive "0123456789")
            (global $g (mut i32) (i32.const 0))
            (func $callee nop)
            (func (export "canister_update f") {body}))"#
    );
    let output = Canister::new(&wat).update("f");
    assert_eq!(output.result.as_ref().err(), None);
    output.usage.instructions.get()
}

#[test]
fn operators_cost_what_the_table_says() {
    for (name, body, expected) in [
        ("empty", "", 1),
        // entry 1, constants 1 + 1, add 1, drop 1
        ("straight line", "i32.const 1 i32.const 2 i32.add drop", 5),
        // entry 1, constants 2, division 10, drop 1
        (
            "integer division",
            "i64.const 1 i64.const 2 i64.div_u drop",
            14,
        ),
        // entry 1, constant 1, set 2, get 2, drop 1
        ("global", "i32.const 1 global.set $g global.get $g drop", 7),
        // entry 1, constants 2, store 1, constant 1, load 1, drop 1
        (
            "memory access",
            "i32.const 0 i32.const 1 i32.store i32.const 0 i32.load drop",
            7,
        ),
        // entry 1, call 5; callee: entry 1, nop 1
        ("call", "call $callee", 8),
        // entry 1, constant 1, call_indirect 10; callee 2
        (
            "call_indirect",
            "i32.const 0 call_indirect (type $nullary)",
            14,
        ),
        // entry 1, return_call 3; callee 2
        ("tail call", "return_call $callee", 6),
        // entry 1, ref.func 130, drop 1
        ("ref.func", "ref.func $callee drop", 132),
        // entry 1, null 1, is_null 5, drop 1
        ("ref.is_null", "ref.null func ref.is_null drop", 8),
        // entry 1, table.size 100, drop 1
        ("table.size", "table.size drop", 102),
        // entry 1, memory.size 20, drop 1
        ("memory.size", "memory.size drop", 22),
        // entry 1, constant 1, memory.grow 300, drop 1
        ("memory.grow", "i32.const 1 memory.grow drop", 303),
        // entry 1, data.drop 300
        ("data.drop", "data.drop $passive", 301),
    ] {
        assert_eq!(cost(body), expected, "{name}");
    }
}

#[test]
fn float_operators_cost_what_the_table_says() {
    for (name, body, expected) in [
        ("f32.abs", "f32.const 1 f32.abs drop", 4),
        ("f32.add", "f32.const 1 f32.const 1 f32.add drop", 6),
        ("f32.div", "f32.const 1 f32.const 1 f32.div drop", 7),
        ("f64.div", "f64.const 1 f64.const 1 f64.div drop", 9),
        ("f32.sqrt", "f32.const 1 f32.sqrt drop", 8),
        ("f64.sqrt", "f64.const 1 f64.sqrt drop", 11),
        ("f64.min", "f64.const 1 f64.const 1 f64.min drop", 22),
        (
            "f32.copysign",
            "f32.const 1 f32.const 1 f32.copysign drop",
            6,
        ),
        (
            "f64.copysign",
            "f64.const 1 f64.const 1 f64.copysign drop",
            7,
        ),
        ("f64.lt", "f64.const 1 f64.const 1 f64.lt drop", 7),
        ("convert signed", "i32.const 1 f64.convert_i32_s drop", 6),
        ("convert unsigned", "i32.const 1 f64.convert_i32_u drop", 19),
        ("trunc", "f64.const 1 i32.trunc_f64_s drop", 23),
        ("trunc_sat", "f64.const 1 i64.trunc_sat_f64_u drop", 23),
        ("promote", "f32.const 1 f64.promote_f32 drop", 4),
    ] {
        assert_eq!(cost(body), expected, "{name}");
    }
}

#[test]
fn simd_operators_cost_what_the_table_says() {
    let v = "v128.const i64x2 1 2";
    for (operator, operands, expected) in [
        ("i64x2.add", 2, 1),
        ("i64x2.mul", 2, 4),
        ("i32x4.mul", 2, 2),
        ("i8x16.popcnt", 1, 3),
        ("i8x16.lt_u", 2, 2),
        ("i8x16.lt_s", 2, 1),
        ("f32x4.div", 2, 10),
        ("f64x2.div", 2, 12),
        ("f64x2.sqrt", 1, 14),
        ("f64x2.max", 2, 5),
        ("f64x2.min", 2, 4),
        ("i32x4.extmul_low_i16x8_s", 2, 2),
        ("i16x8.extmul_low_i8x16_s", 2, 1),
        ("i16x8.extmul_high_i8x16_u", 2, 2),
        ("i32x4.trunc_sat_f32x4_u", 1, 4),
        ("i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", 2, 3),
    ] {
        let body = format!("{} {operator} drop", vec![v; operands].join(" "));
        // entry 1, one per constant, the operator, drop 1
        assert_eq!(
            cost(&body),
            1 + operands as u64 + expected + 1,
            "{operator}"
        );
    }
}

#[test]
fn only_the_taken_branch_is_charged() {
    let branches = |condition: u32| {
        cost(&format!(
            "i32.const {condition} if i32.const 7 drop else nop nop nop end"
        ))
    };
    // entry 1, constant 1, if 2; then: constant 1, drop 1
    assert_eq!(branches(1), 6);
    // entry 1, constant 1, if 2; else: three nops
    assert_eq!(branches(0), 7);
}

#[test]
fn a_loop_is_charged_per_iteration() {
    let body = "(local $i i32)
        i32.const 10 local.set $i
        loop local.get $i i32.const 1 i32.sub local.tee $i br_if 0 end";
    // entry 1, constant 1, set 1; ten times: get 1, constant 1, sub 1, tee 1, br_if 2
    assert_eq!(cost(body), 3 + 10 * 6);
}

#[test]
fn a_branch_table_charges_the_blocks_it_falls_into() {
    let target = |index: u32| {
        cost(&format!(
            "block block block i32.const {index} br_table 0 1 2 end nop end nop nop end"
        ))
    };
    // entry 1, constant 1, br_table 2; then one nop, then two
    assert_eq!([target(0), target(1), target(2)], [7, 6, 4]);
}

#[test]
fn a_block_is_charged_whole_even_if_it_returns_early() {
    // entry 1, nop 1, return 1; what follows is another block, never reached
    assert_eq!(cost("nop return nop nop"), 3);
}

#[test]
fn bulk_operations_also_cost_their_size() {
    // entry 1, three constants, fill 100, 4096 bytes
    assert_eq!(
        cost("i32.const 0 i32.const 7 i32.const 4096 memory.fill"),
        4_200
    );
    assert_eq!(
        cost("i32.const 0 i32.const 7 i32.const 100 memory.copy"),
        204
    );
    assert_eq!(
        cost("i32.const 0 i32.const 0 i32.const 10 memory.init $passive"),
        114
    );
    // entry 1, three constants, copy 100, 1 element
    assert_eq!(cost("i32.const 0 i32.const 0 i32.const 1 table.copy"), 105);
}

#[test]
fn system_calls_cost_their_overhead_and_bytes() {
    for (name, body, expected) in [
        // entry 1, call 5, overhead 500, drop 1
        ("time", "call $time drop", 507),
        // entry 1, constants 2, call 5, overhead 1000, ten bytes, drop 1
        (
            "is_controller",
            "i32.const 0 i32.const 10 call $is_controller drop",
            1_019,
        ),
        // entry 1, constants 3, call 5, overhead 500, seven bytes
        (
            "msg_arg_data_copy",
            "i32.const 0 i32.const 0 i32.const 7 call $arg",
            516,
        ),
        // entry 1, constants 2, call 5, overhead 500, 50 per byte sent
        (
            "msg_reply_data_append",
            "i32.const 0 i32.const 10 call $append",
            1_008,
        ),
        ("msg_reply", "call $reply", 506),
        // entry 1, constants 2, call 5, overhead 100, 2 per byte kept, 50 per byte sent
        ("debug_print", "i32.const 0 i32.const 10 call $print", 628),
    ] {
        assert_eq!(cost(body), expected, "{name}");
    }
}

#[test]
fn stable_memory_costs_bytes_and_newly_dirty_pages() {
    // entry 1, constant 1, call 5, overhead 100, drop 1
    let grow = "i64.const 1 call $grow drop";
    assert_eq!(cost(grow), 108);
    // entry 1, call 5, drop 1: asking for the size is free
    assert_eq!(cost("call $size drop"), 7);
    // constants 3, call 5, overhead 20, bytes 5000, two pages of 1000
    let write = "i64.const 0 i64.const 0 i64.const 5000 call $write";
    assert_eq!(cost(&format!("{grow} {write}")), 108 + 7_028);
    // again: the pages are dirty already
    assert_eq!(
        cost(&format!("{grow} {write} {write}")),
        108 + 7_028 + 5_028
    );
    // constants 3, call 5, overhead 20, ten bytes; reading makes nothing dirty
    let read = "i64.const 0 i64.const 0 i64.const 10 call $read";
    assert_eq!(cost(&format!("{grow} {read}")), 108 + 38);
    // no bytes: nothing is checked, not even the end of memory
    assert_eq!(
        cost("i64.const -1 i64.const -1 i64.const 0 call $write"),
        1 + 3 + 5 + 20
    );
}

#[test]
fn the_performance_counter_is_right_to_the_instruction() {
    let wat = r#"(module
        (import "ic0" "performance_counter" (func $counter (param i32) (result i64)))
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (memory 1)
        (func (export "canister_update f")
            i32.const 0 i32.const 0 call $counter i64.store
            block end
            i32.const 8 i32.const 0 call $counter i64.store
            i32.const 16 i32.const 1 call $counter i64.store
            i32.const 0 i32.const 24 call $append
            call $reply))"#;
    let output = Canister::new(wat).update("f");
    let values: Vec<u64> = reply_data(&output)
        .chunks(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        .collect();
    // First block: entry 1, constants 2, call 5, store 1; and the call's own 200.
    let first = 9 + 200;
    // Second block: twice (constants 2, call 5, store 1), constants 2, call 5, call 5.
    let second = first + 28 + 200;
    let third = second + 200;
    assert_eq!(values, [first, second, 1_000_000 + third]);
    // 24 bytes appended at 50, overheads 500 and 500.
    assert_eq!(
        output.usage.instructions,
        Instructions(third + 500 + 1_200 + 500)
    );
}

#[test]
fn the_same_message_costs_the_same_every_time() {
    let wat = r#"(module
        (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
        (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
        (memory 4)
        (func (export "canister_update f") (local $i i32)
            i64.const 2 call $grow drop
            i32.const 200 local.set $i
            loop
                local.get $i i32.const 1000 i32.mul local.get $i i32.store
                i64.const 7 local.get $i i64.extend_i32_u i64.const 500 call $write
                local.get $i i32.const 1 i32.sub local.tee $i br_if 0
            end))"#;
    let outputs: Vec<Output> = (0..3).map(|_| Canister::new(wat).update("f")).collect();
    assert!(outputs[0].result.is_ok());
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[1], outputs[2]);
}
