//! Modules: what is accepted, what is refused and in which words, what is known about them.

use std::io::Write;

use super::*;

fn prepare(wat: &str) -> Result<Arc<CanisterModule>, ModuleError> {
    engine().prepare(&wat::parse_str(wat).expect("the test's text is valid"))
}

fn refusal(wat: &str) -> String {
    prepare(wat)
        .expect_err("the module breaks a rule")
        .to_string()
}

#[test]
fn rules_of_the_ic_are_enforced_in_its_words() {
    let globals = "(global i32 (i32.const 0))".repeat(1_001);
    let functions = "(func)".repeat(50_001);
    let sections: String = (0..17)
        .map(|n| format!(r#"(@custom "icp:public s{n}" "x")"#))
        .collect();
    let methods: String = (0..1_001)
        .map(|n| format!(r#"(export "canister_query m{n}" (func 0))"#))
        .collect();
    let long = "n".repeat(20_001);
    for (wat, text) in [
        (
            r#"(module (import "ic0" "nothing" (func)))"#.to_owned(),
            "Module imports function 'nothing' from 'ic0' that is not exported by the runtime.",
        ),
        (
            r#"(module (import "env" "time" (func (result i64))))"#.to_owned(),
            r#"Module imports function "time" from "env", expected to be imported from one of ["ic0"] instead."#,
        ),
        (
            r#"(module (import "ic0" "time" (func (result i32))))"#.to_owned(),
            "Expected return type [I64] for 'time', got [I32].",
        ),
        (
            r#"(module (import "ic0" "g" (global i32)))"#.to_owned(),
            "Importing globals is not allowed.",
        ),
        (
            r#"(module (import "env" "memory" (memory 1)))"#.to_owned(),
            "Wasm module has an invalid import section.",
        ),
        (
            r#"(module (func (export "canister_nothing")))"#.to_owned(),
            "Exporting reserved function 'canister_nothing' with \"canister_\" prefix",
        ),
        (
            r#"(module (func (export "canister_start")))"#.to_owned(),
            "Exporting reserved symbol canister_start not allowed.",
        ),
        (
            r#"(module (func (export "canister_init") (param i32)))"#.to_owned(),
            "Expected input params [] for 'canister_init', got [I32].",
        ),
        (
            r#"(module (func (export "canister_query m") (export "canister_update m")))"#
                .to_owned(),
            "Duplicate function 'm' exported multiple times with different call types",
        ),
        (
            format!("(module (func) {methods})"),
            "or `canister_composite_query <name>` exceeds 1000.",
        ),
        (
            format!(r#"(module (func (export "canister_query {long}")))"#),
            "or `canister_composite_query <name>` exceeds 20000.",
        ),
        (
            format!("(module {globals})"),
            "Wasm module defined 1001 globals which exceeds the maximum number allowed 1000.",
        ),
        (
            format!("(module {functions})"),
            "Wasm module defined 50001 functions which exceeds the maximum number allowed 50000.",
        ),
        (
            format!("(module {sections})"),
            "Wasm module defined 17 custom sections which exceeds the maximum number allowed 16.",
        ),
        (
            r#"(module (@custom "icp:public" "x"))"#.to_owned(),
            "'icp:' section names must have a space after the public/private scope",
        ),
        (
            r#"(module (@custom "icp:hidden x" "x"))"#.to_owned(),
            "Custom section 'icp:hidden x' has no public/private scope defined.",
        ),
        (
            r#"(module (global (mut funcref) (ref.null func)))"#.to_owned(),
            "Unsupported global type",
        ),
        (
            r#"(module (memory 1) (data (i32.const 65535) "xx"))"#.to_owned(),
            "Wasm module has invalid data segment of 2 bytes at 65535",
        ),
        (
            r#"(module (memory i64 1))"#.to_owned(),
            "Wasmtime failed to validate wasm module",
        ),
        (
            r#"(module (memory 1) (memory 1))"#.to_owned(),
            "Wasmtime failed to validate wasm module",
        ),
        (
            r#"(module (memory 1 1 shared))"#.to_owned(),
            "Wasmtime failed to validate wasm module",
        ),
    ] {
        let error = refusal(&wat);
        assert!(error.contains(text), "expected {text:?}, got {error:?}");
    }
}

#[test]
fn what_a_module_exports_is_known() {
    let module = prepare(
        r#"(module
            (@custom "icp:public candid:service" "service : {}")
            (@custom "icp:private secret" "s")
            (@custom "name of nothing" "ignored")
            (func $f)
            (start $f)
            (export "canister_init" (func $f))
            (export "canister_heartbeat" (func $f))
            (export "canister_update u" (func $f))
            (export "canister_query q with spaces" (func $f))
            (export "canister_composite_query c" (func $f))
            (export "other" (func $f)))"#,
    )
    .expect("the module is valid");
    let names = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    let exports = module.exports();
    assert_eq!(names(&exports.updates), ["u"]);
    assert_eq!(names(&exports.queries), ["q with spaces"]);
    assert_eq!(names(&exports.composite_queries), ["c"]);
    assert!(exports.start && exports.init && exports.heartbeat);
    assert!(!exports.pre_upgrade && !exports.global_timer && !exports.inspect_message);
    let sections: Vec<_> = module
        .custom_sections()
        .iter()
        .map(|s| (s.public, s.name.as_str()))
        .collect();
    assert_eq!(sections, [(true, "candid:service"), (false, "secret")]);
    assert_eq!(module.custom_sections_bytes(), 14 + 12 + 6 + 1);
    // One function whose only operator is its end.
    assert_eq!(module.compile_instructions(), Instructions(6_000));
}

#[test]
fn compiling_costs_6000_per_operator() {
    let module = prepare("(module (global i32 (i32.const 0)) (func nop) (func nop nop))");
    // nop end, nop nop end, and two for the global.
    assert_eq!(
        module.expect("it is valid").compile_instructions(),
        Instructions(7 * 6_000)
    );
}

#[test]
fn simd_bulk_memory_tail_calls_and_multi_value_are_accepted() {
    let module = prepare(
        r#"(module
            (memory 1)
            (table 1 funcref)
            (table 2 funcref)
            (func $two (result i32 i64) i32.const 1 i64.const 2)
            (func $tail (result i32 i64) return_call $two)
            (func v128.const i64x2 0 0 drop i32.const 0 i32.const 0 i32.const 1 memory.fill))"#,
    );
    assert!(module.is_ok(), "{module:?}");
}

#[test]
fn preparing_twice_returns_the_same_module() {
    let wat = "(module (func (export \"canister_update again\")))";
    let (first, second) = (prepare(wat).expect("valid"), prepare(wat).expect("valid"));
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn a_compiled_module_is_found_in_the_cache_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = || EngineOptions {
        cache_dir: Some(dir.path().join("cache")),
        ..EngineOptions::default()
    };
    let wasm =
        wat::parse_str(r#"(module (func (export "canister_update f") nop))"#).expect("valid");
    let run = || {
        let engine = Engine::new(options()).expect("the directory is writable");
        let module = engine.prepare(&wasm).expect("the module is valid");
        let mut state = CanisterState::new(&module).expect("memory is available");
        execute(&engine, &mut state, update("f")).usage
    };
    let first = run();
    let files: Vec<_> = std::fs::read_dir(dir.path().join("cache"))
        .expect("it was created")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    assert_eq!(files.len(), 1);
    assert_eq!(run(), first);
    // A damaged file is not run but replaced.
    std::fs::write(&files[0], b"damaged").expect("it is writable");
    assert_eq!(run(), first);
    assert!(std::fs::metadata(&files[0]).expect("it is there").len() > 100);
}

#[test]
fn modules_may_be_compressed_but_not_without_bound() {
    let compress = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("vectors take everything");
        encoder.finish().expect("vectors take everything")
    };
    let wasm = wat::parse_str("(module)").expect("valid");
    assert_eq!(decode_module(&wasm).as_deref(), Ok(wasm.as_slice()));
    assert_eq!(
        decode_module(&compress(&wasm)).as_deref(),
        Ok(wasm.as_slice())
    );
    let mut bomb = wasm;
    bomb.resize(usize::try_from(MODULE_BYTES_MAX).expect("fits") + 1, 0);
    let error = decode_module(&compress(&bomb))
        .expect_err("too long")
        .to_string();
    assert!(error.contains("longer than 104857600 bytes"), "{error}");
    for (garbage, text) in [
        (b"".as_slice(), "unsupported canister module format"),
        (b"garbage", "unsupported canister module format"),
        (b"\x1f\x8b\x08garbage", "Failed to decode wasm module"),
        (&compress(b"not wasm"), "unsupported canister module format"),
    ] {
        let error = decode_module(garbage)
            .expect_err("not a module")
            .to_string();
        assert!(error.contains(text), "{error}");
    }
    assert!(engine().prepare(b"\0asm").is_err());
}
