//! Which pages are counted and copied, how large memories behave, forks, saving and loading.

use super::*;
use crate::memory::heap::HeapTracking;

const WAT: &str = r#"(module
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (memory 16)
    (global $g (mut i32) (i32.const 5))
    (func (export "canister_update write_three_heap_pages")
        i32.const 4096 i32.const 0 i32.store
        i32.const 8192 i32.const 1 i32.store
        i32.const 8196 i32.const 2 i32.store
        i32.const 20000 i32.const 3 i32.store8)
    (func (export "canister_update read_heap")
        i32.const 0 i32.load drop
        i32.const 40960 i32.load drop)
    (func (export "canister_update copy_argument") i32.const 30000 i32.const 0 i32.const 7 call $arg)
    (func (export "canister_update grow_4_gib") i64.const 65536 call $grow drop)
    (func (export "canister_update grow_64_kib") i64.const 1 call $grow drop)
    (func (export "canister_update touch_stable")
        i64.const 4096 i64.const 0 i64.const 10 call $write
        i64.const 4100 i64.const 0 i64.const 10 call $write
        i64.const 0 i64.const 0 i64.const 10 call $read
        i64.const 0 i64.const 4096 i64.const 10 call $read
        i64.const 0 i64.const 12000 i64.const 500 call $read)
    (func (export "canister_update put")
        i32.const 0 i32.const 0 i32.const 4 call $arg
        i64.const 0 i64.const 0 i64.const 4 call $write
        i32.const 0 i32.load global.set $g)
    (func (export "canister_query get") (export "canister_update get_in_update")
        i32.const 4 global.get $g i32.store
        i64.const 8 i64.const 0 i64.const 4 call $read
        i32.const 0 i32.const 12 call $append
        call $reply))"#;

fn put(bytes: &[u8; 4]) -> Input {
    let mut message = update("put");
    message.message.payload = Arc::from(*bytes);
    message
}

fn get(state: &mut CanisterState) -> Vec<u8> {
    reply_data(&execute(engine(), state, query("get")))
}

#[test]
fn heap_pages_count_when_written_even_with_the_same_bytes() {
    let mut canister = Canister::new(WAT);
    // Page 1 gets the zeros it had, page 2 twice, page 4 once.
    for _ in 0..2 {
        let usage = canister.update("write_three_heap_pages").usage;
        assert_eq!(
            (usage.heap_pages_dirtied, usage.pages_committed),
            (OsPages(3), OsPages(3))
        );
    }
    assert_eq!(
        canister.update("read_heap").usage.heap_pages_dirtied,
        OsPages(0)
    );
    assert_eq!(
        canister.update("copy_argument").usage.heap_pages_dirtied,
        OsPages(1)
    );
}

#[test]
fn stable_pages_are_counted_once_however_often_they_are_touched() {
    let mut canister = Canister::new(WAT);
    assert!(canister.update("grow_64_kib").result.is_ok());
    let usage = canister.update("touch_stable").usage;
    assert_eq!(usage.stable_pages_dirtied, OsPages(1));
    // Pages 0, 1, and 2 to 3 for bytes 12,000 to 12,499.
    assert_eq!(usage.stable_pages_read, OsPages(4));
    assert_eq!(usage.stable_pages_accessed, OsPages(4));
}

#[test]
fn a_message_over_gigabytes_of_stable_memory_copies_only_what_it_writes() {
    let mut large = Canister::new(WAT);
    assert!(large.update("grow_4_gib").result.is_ok());
    let mut small = Canister::new(WAT);
    assert!(small.update("grow_64_kib").result.is_ok());
    assert_eq!(large.state.stable_bytes(), 4 << 30);
    for method in ["touch_stable", "grow_64_kib", "touch_stable"] {
        let (large, small) = (large.update(method), small.update(method));
        assert!(large.result.is_ok());
        assert_eq!(large.usage, small.usage);
        assert!(large.usage.pages_committed <= OsPages(2));
    }
    // Neither a copy nor a query needs the memory either.
    let mut fork = large.state.fork();
    assert_eq!(get(&mut fork).len(), 12);
}

#[test]
fn forks_and_their_origin_do_not_see_each_other() {
    let mut canister = Canister::new(WAT);
    assert!(canister.update("grow_64_kib").result.is_ok());
    canister.run(put(b"main"));
    let mut fork = canister.state.fork();
    execute(engine(), &mut fork, put(b"fork"));
    assert_eq!(get(&mut canister.state), b"mainmainmain");
    assert_eq!(get(&mut fork), b"forkforkfork");

    let mut second = fork.fork();
    canister.run(put(b"MAIN"));
    execute(engine(), &mut second, put(b"2222"));
    assert_eq!(get(&mut canister.state), b"MAINMAINMAIN");
    assert_eq!(get(&mut fork), b"forkforkfork");
    assert_eq!(get(&mut second), b"222222222222");

    drop(fork);
    canister.run(put(b"last"));
    assert_eq!(get(&mut second), b"222222222222");
    drop(second);
    canister.run(put(b"alone"[..4].try_into().expect("four bytes")));
    assert_eq!(get(&mut canister.state), b"alonalonalon");
    assert_eq!(
        canister.state.read_stable(0, 5).expect("in bounds"),
        b"alon\0"
    );
}

#[test]
fn an_upgrade_keeps_stable_memory_and_the_heap_only_when_asked() {
    let mut canister = Canister::new(WAT);
    assert!(canister.update("grow_64_kib").result.is_ok());
    canister.run(put(b"data"));
    let module = Arc::clone(canister.state.module());
    let mut fresh = canister
        .state
        .upgrade(&module, false)
        .expect("memory is available");
    assert_eq!(get(&mut fresh), b"\0\0\0\0\x05\0\0\0data");
    let mut kept = canister
        .state
        .upgrade(&module, true)
        .expect("memory is available");
    assert_eq!(get(&mut kept), b"data\x05\0\0\0data");
    // The old state is still usable, for when post_upgrade traps.
    assert_eq!(get(&mut canister.state), b"datadatadata");
}

#[test]
fn a_saved_state_loads_equal() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut canister = Canister::new(WAT);
    assert!(canister.update("grow_4_gib").result.is_ok());
    canister.run(put(b"save"));
    let fork = canister.state.fork();
    canister.run(put(b"SAVE"));
    canister
        .state
        .save(dir.path())
        .expect("the directory is writable");
    drop(fork);
    let module = Arc::clone(canister.state.module());
    let mut loaded = CanisterState::load(dir.path(), &module).expect("it was saved");
    assert_eq!(get(&mut loaded), b"SAVESAVESAVE");
    assert_eq!(loaded.stable_bytes(), 4 << 30);
    let again = execute(engine(), &mut loaded, update("touch_stable"));
    assert_eq!(again, canister.update("touch_stable"));

    let other = module_with_one_more_function();
    let error = CanisterState::load(dir.path(), &other).expect_err("another module's state");
    assert!(
        error.to_string().contains("it belongs to another module"),
        "{error}"
    );
    let nothing = dir.path().join("nothing");
    let error = CanisterState::load(&nothing, &module).expect_err("nothing was saved");
    assert!(
        error.to_string().starts_with("cannot load state from"),
        "{error}"
    );
}

fn module_with_one_more_function() -> Arc<CanisterModule> {
    module(&WAT.replace("(memory 16)", "(memory 16) (func)"))
}

#[test]
fn stable_memory_can_be_replaced_read_and_written_from_outside() {
    let mut canister = Canister::new(WAT);
    canister
        .state
        .set_stable(&[7; 70_000])
        .expect("memory is available");
    assert_eq!(canister.state.stable_size_pages(), 2);
    canister
        .state
        .write_stable(69_999, b"89")
        .expect("in bounds");
    assert_eq!(
        canister.state.read_stable(69_998, 4).expect("in bounds"),
        b"\x0789\0"
    );
    let error = canister
        .state
        .read_stable(131_072, 1)
        .expect_err("beyond the end");
    assert_eq!(
        error.to_string(),
        "stable memory has 131072 bytes; 131072 + 1 is beyond its end"
    );
    assert!(canister.state.write_stable(u64::MAX, b"1").is_err());
    let mut fork = canister.state.fork();
    fork.write_stable(4_090, b"across a page")
        .expect("in bounds");
    assert_eq!(
        fork.read_stable(4_089, 14).expect("in bounds"),
        b"\x07across a page"
    );
    assert_eq!(
        canister.state.read_stable(4_090, 2).expect("in bounds"),
        [7, 7]
    );
}

#[test]
fn comparing_finds_changed_pages_where_the_kernel_does_not_tell() {
    let options = EngineOptions {
        heap_tracking: HeapTracking::Compare,
        ..EngineOptions::default()
    };
    let engine = Engine::new(options).expect("defaults are valid");
    let wasm = wat::parse_str(WAT).expect("the test's text is valid");
    let module = engine.prepare(&wasm).expect("the test's module is valid");
    let mut state = CanisterState::new(&module).expect("memory is available");
    execute(&engine, &mut state, update("grow_64_kib"));
    let usage = execute(&engine, &mut state, put(b"same")).usage;
    assert_eq!(usage.heap_pages_dirtied, OsPages(1));
    // The same bytes again go unnoticed: the known limit of this fallback.
    let usage = execute(&engine, &mut state, put(b"same")).usage;
    assert_eq!(usage.heap_pages_dirtied, OsPages(0));
    assert_eq!(
        reply_data(&execute(&engine, &mut state, query("get"))),
        b"samesamesame"
    );
}

#[test]
fn scattered_overlays_are_flattened_and_nothing_is_lost() {
    let wat = r#"(module
        (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
        (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
        (memory 1)
        (data (i32.const 0) "x")
        (func (export "canister_update f") (local $page i64)
            i64.const 1024 call $grow drop
            loop
                local.get $page i64.const 4096 i64.mul i64.const 0 i64.const 1 call $write
                local.get $page i64.const 2 i64.add local.tee $page
                i64.const 16384 i64.lt_u br_if 0
            end))"#;
    let canister = Canister::new(wat);
    let mut fork = canister.state.fork();
    let output = execute(engine(), &mut fork, update("f"));
    // Every other page of 64 MiB: more runs than an overlay may have.
    assert_eq!(output.usage.stable_pages_dirtied, OsPages(8_192));
    for page in [0, 2, 8_190, 16_382] {
        assert_eq!(fork.read_stable(page * 4_096, 1).expect("in bounds"), b"x");
        assert_eq!(
            fork.read_stable((page + 1) * 4_096, 1).expect("in bounds"),
            b"\0"
        );
    }
}
