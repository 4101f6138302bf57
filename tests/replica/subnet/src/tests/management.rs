//! The management canister's methods, by users and by canisters.

use super::*;
use ic_management_canister_types::{
    CanisterInfoArgs, CanisterInfoResult, CanisterStatusResult, CanisterStatusType, ChangeDetails,
    ChunkHash, DeleteCanisterSnapshotArgs, EnvironmentVariable, FetchCanisterLogsResult,
    InstallChunkedCodeArgs, LoadCanisterSnapshotArgs, LogVisibility, ProvisionalTopUpCanisterArgs,
    Snapshot, TakeCanisterSnapshotArgs, UpdateSettingsArgs, UpgradeFlags, UploadChunkArgs,
    WasmMemoryPersistence,
};
use sha2::{Digest, Sha256};

fn status(net: &mut Net, id: CanisterId) -> CanisterStatusResult {
    let reply = net.manage("canister_status", &record(id)).expect("replied");
    candid::decode_one(&reply).expect("decodes")
}

fn upgrade(flags: UpgradeFlags) -> CanisterInstallMode {
    CanisterInstallMode::Upgrade(Some(flags))
}

#[test]
fn code_is_installed_once_and_replaced_by_reinstall_and_upgrade() {
    let mut net = Net::application();
    let id = net.create();
    net.install_as(id, CanisterInstallMode::Install, probe(), b"argument")
        .expect("installed");
    assert_eq!(text(net.query(id, "load", b"")), "argument");
    let again = net
        .install_as(id, CanisterInstallMode::Install, probe(), b"")
        .expect_err("refused");
    assert_eq!(again.code, ErrorCode::CanisterNonEmpty);

    net.update(id, "stable_store", b"kept").expect("replied");
    net.update(id, "certify", b"data").expect("replied");
    net.install_as(id, CanisterInstallMode::Upgrade(None), probe(), b"")
        .expect("upgraded");
    assert_eq!(text(net.query(id, "stable_load", b"")), "kept");
    assert_eq!(text(net.query(id, "load", b"")), "");
    assert_eq!(
        net.0.canister(&id).expect("exists").certified_data(),
        b"data"
    );

    net.install_as(id, CanisterInstallMode::Reinstall, probe(), b"")
        .expect("reinstalled");
    let gone = net
        .query(id, "stable_load", b"")
        .expect_err("no stable memory");
    assert_eq!(gone.code, ErrorCode::CanisterTrapped);
    assert_eq!(net.0.canister(&id).expect("exists").certified_data(), b"");
    let empty = net.create();
    let refused = net.install_as(empty, CanisterInstallMode::Upgrade(None), probe(), b"");
    assert_eq!(
        refused.expect_err("nothing to upgrade").code,
        ErrorCode::CanisterWasmModuleNotFound
    );
}

#[test]
fn a_failed_upgrade_leaves_everything_as_it_was() {
    let mut net = Net::application();
    let id = net.create();
    let stubborn = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
            (memory 1)
            (data (i32.const 0) "a")
            (func (export "canister_pre_upgrade")
                (i32.store8 (i32.const 0) (i32.const 98)) (drop (call $grow (i64.const 3))))
            (func (export "canister_query get") (call $append (i32.const 0) (i32.const 1)) (call $reply)))"#,
    );
    let failing = wasm(r#"(module (func (export "canister_post_upgrade") unreachable))"#);
    let trapping = wasm(r#"(module (func (export "canister_pre_upgrade") unreachable))"#);
    net.install(id, stubborn.clone());
    let error = net
        .install_as(id, CanisterInstallMode::Upgrade(None), failing, b"")
        .expect_err("post_upgrade trapped");
    assert_eq!(error.code, ErrorCode::CanisterTrapped);
    assert_eq!(text(net.query(id, "get", b"")), "a");
    assert_eq!(
        net.0
            .canister(&id)
            .expect("exists")
            .stable_memory()
            .expect("code"),
        b""
    );
    let hash: [u8; 32] = Sha256::digest(&stubborn).into();
    assert_eq!(
        net.0.canister(&id).expect("exists").module_hash(),
        Some(hash)
    );

    net.install_as(id, CanisterInstallMode::Upgrade(None), trapping, b"")
        .expect("upgraded");
    let refused = net.install_as(id, CanisterInstallMode::Upgrade(None), probe(), b"");
    assert_eq!(
        refused.expect_err("pre_upgrade trapped").code,
        ErrorCode::CanisterTrapped
    );
    let skip = UpgradeFlags {
        skip_pre_upgrade: Some(true),
        wasm_memory_persistence: None,
    };
    net.install_as(id, upgrade(skip), probe(), b"")
        .expect("upgraded");
    let keep = UpgradeFlags {
        skip_pre_upgrade: None,
        wasm_memory_persistence: Some(WasmMemoryPersistence::Keep),
    };
    let refused = net
        .install_as(id, upgrade(keep), probe(), b"")
        .expect_err("not supported");
    assert_eq!(refused.code, ErrorCode::CanisterContractViolation);
}

#[test]
fn modules_may_be_gzipped_and_bad_ones_are_refused() {
    use std::io::Write;
    let mut net = Net::application();
    let id = net.create();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&probe()).expect("memory");
    let zipped = encoder.finish().expect("memory");
    net.install(id, zipped.clone());
    let hash: [u8; 32] = Sha256::digest(&zipped).into();
    assert_eq!(
        net.0.canister(&id).expect("exists").module_hash(),
        Some(hash)
    );
    assert_eq!(text(net.update(id, "echo", b"works")), "works");
    for garbage in [
        &b"not wasm"[..],
        b"",
        &zipped[..zipped.len() / 2],
        b"\0asm\x01\0\0",
    ] {
        let mode = CanisterInstallMode::Reinstall;
        let error = net
            .install_as(id, mode, garbage.to_vec(), b"")
            .expect_err("refused");
        assert_eq!(
            error.code,
            ErrorCode::CanisterInvalidWasm,
            "{}",
            error.message
        );
    }
    assert_eq!(text(net.update(id, "echo", b"still")), "still");
}

#[test]
fn modules_are_installed_from_chunks() {
    let mut net = Net::application();
    let (store, target) = (net.create(), net.create());
    let module = probe();
    let mut hashes = Vec::new();
    for chunk in module.chunks(module.len() / 3 + 1) {
        let args = UploadChunkArgs {
            canister_id: store,
            chunk: chunk.to_vec(),
        };
        let reply = net.manage("upload_chunk", &args).expect("stored");
        let hash: ChunkHash = candid::decode_one(&reply).expect("decodes");
        assert_eq!(hash.hash, Sha256::digest(chunk).to_vec());
        hashes.push(hash);
    }
    let reply = net.manage("stored_chunks", &record(store)).expect("listed");
    let mut listed: Vec<ChunkHash> = candid::decode_one(&reply).expect("decodes");
    let mut expected = hashes.clone();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    let args = InstallChunkedCodeArgs {
        mode: CanisterInstallMode::Install,
        target_canister: target,
        store_canister: Some(store),
        chunk_hashes_list: hashes,
        wasm_module_hash: Sha256::digest(&module).to_vec(),
        arg: b"chunked".to_vec(),
        sender_canister_version: None,
    };
    let wrong = InstallChunkedCodeArgs {
        wasm_module_hash: vec![0; 32],
        ..args.clone()
    };
    let error = net
        .manage("install_chunked_code", &wrong)
        .expect_err("refused");
    assert!(
        error
            .message
            .starts_with("Error from Wasm chunk store: Wasm module hash"),
        "{}",
        error.message
    );
    net.manage("install_chunked_code", &args)
        .expect("installed");
    assert_eq!(text(net.query(target, "load", b"")), "chunked");
    net.manage("clear_chunk_store", &record(store))
        .expect("cleared");
    let reinstall = InstallChunkedCodeArgs {
        mode: CanisterInstallMode::Reinstall,
        ..args
    };
    let error = net
        .manage("install_chunked_code", &reinstall)
        .expect_err("chunks are gone");
    assert_eq!(error.code, ErrorCode::CanisterContractViolation);
    let large = UploadChunkArgs {
        canister_id: store,
        chunk: vec![0; (1 << 20) + 1],
    };
    assert!(net.manage("upload_chunk", &large).is_err());
}

#[test]
fn only_controllers_manage_a_canister() {
    let mut net = Net::application();
    let id = net.probe();
    for method in [
        "stop_canister",
        "delete_canister",
        "canister_status",
        "uninstall_code",
    ] {
        let error = net
            .manage_as(stranger(), method, &record(id))
            .expect_err("refused");
        assert_eq!(error.code, ErrorCode::CanisterInvalidController);
        assert_eq!(
            error.message,
            format!("Only controllers of canister {id} can call ic00 method {method}")
        );
    }
    let other = net.probe();
    let answer = text(net.update(
        other,
        "call",
        &management_call("stop_canister", 0, &record(id)),
    ));
    assert!(
        answer.starts_with(&format!(
            "rejected 5: Only the controllers of the canister {id} can control it.\n"
        )),
        "{answer}"
    );
    let unknown = net
        .manage("no_such_method", &record(id))
        .expect_err("refused");
    assert_eq!(
        unknown.message,
        "Management canister has no method 'no_such_method'"
    );
    let private = net.manage("raw_rand", &()).expect_err("refused");
    assert_eq!(
        private.message,
        "Only canisters can call ic00 method raw_rand"
    );
}

#[test]
fn a_stopped_canister_refuses_calls_until_it_is_started() {
    let mut net = Net::application();
    let (id, other) = (net.probe(), net.probe());
    net.manage("stop_canister", &record(id)).expect("stopped");
    assert_eq!(status(&mut net, id).status, CanisterStatusType::Stopped);
    let expected = format!("Canister {id} is stopped");
    assert_eq!(
        net.update(id, "echo", b"").expect_err("refused").message,
        expected
    );
    assert_eq!(
        net.query(id, "load", b"").expect_err("refused").code,
        ErrorCode::CanisterStopped
    );
    assert_eq!(
        text(net.update(other, "call", &call(id, "echo", 0, b""))),
        format!("rejected 5: {expected}")
    );
    net.manage("start_canister", &record(id)).expect("started");
    assert_eq!(text(net.update(id, "echo", b"back")), "back");
}

#[test]
fn stopping_waits_for_open_calls() {
    let mut net = Net::new(&[SubnetKind::Application, SubnetKind::Bitcoin]);
    let id = net.create_as(BITCOIN_CANISTER);
    net.install(id, probe());
    let unanswered = blocks_call(&SuccessorsRequest::initial(()));
    let message = net
        .submit(user(), id, "call", unanswered)
        .expect("accepted");
    net.ticks(3);
    let payload = candid::encode_one(record(id)).expect("encodes");
    let management = Principal::management_canister();
    let stop = net
        .submit(user(), management, "stop_canister", payload)
        .expect("accepted");
    net.ticks(3);
    assert_eq!(net.state_of(&stop), IngressState::Processing);
    assert_eq!(status(&mut net, id).status, CanisterStatusType::Stopping);
    let error = net.update(id, "echo", b"").expect_err("refused");
    assert_eq!(error.message, format!("Canister {id} is stopping"));
    net.answer_consensus_call(&id, b"blocks".to_vec());
    assert_eq!(text(net.finish(message)), "blocks");
    net.finish(stop).expect("stopped");
    assert_eq!(status(&mut net, id).status, CanisterStatusType::Stopped);
}

#[test]
fn a_stop_that_takes_too_long_or_is_cancelled_is_rejected() {
    let mut net = Net::new(&[SubnetKind::Bitcoin]);
    let id = net.create_as(BITCOIN_CANISTER);
    net.install(id, probe());
    let unanswered = blocks_call(&SuccessorsRequest::initial(()));
    net.submit(user(), id, "call", unanswered)
        .expect("accepted");
    net.ticks(3);
    let management = Principal::management_canister();
    let payload = candid::encode_one(record(id)).expect("encodes");
    let stop = net
        .submit(user(), management, "stop_canister", payload.clone())
        .expect("accepted");
    net.ticks(2);
    net.pass_seconds(301);
    let error = net.finish(stop).expect_err("timed out");
    assert_eq!(error.code, ErrorCode::StopCanisterRequestTimeout);
    let stop = net
        .submit(user(), management, "stop_canister", payload)
        .expect("accepted");
    net.ticks(2);
    net.manage("start_canister", &record(id)).expect("started");
    let error = net.finish(stop).expect_err("cancelled");
    assert_eq!(error.code, ErrorCode::CanisterStoppingCancelled);
}

#[test]
fn uninstalling_rejects_open_calls_and_drops_their_callbacks() {
    let mut net = Net::new(&[SubnetKind::Bitcoin]);
    let id = net.create_as(BITCOIN_CANISTER);
    net.install(id, probe());
    let unanswered = blocks_call(&SuccessorsRequest::initial(()));
    let message = net
        .submit(user(), id, "call", unanswered)
        .expect("accepted");
    net.ticks(3);
    net.manage("uninstall_code", &record(id))
        .expect("uninstalled");
    assert_eq!(
        net.finish(message).expect_err("rejected").message,
        "Canister has been uninstalled."
    );
    net.install(id, probe());
    let executed = net.0.canister(&id).expect("exists").usage().next_sequence();
    net.answer_consensus_call(&id, Vec::new());
    net.ticks(3);
    assert_eq!(
        net.0.canister(&id).expect("exists").usage().next_sequence(),
        executed
    );
    net.manage("stop_canister", &record(id))
        .expect("nothing is open any more");
}

#[test]
fn only_stopped_canisters_are_deleted_and_their_ids_not_reused() {
    let mut net = Net::application();
    let id = net.probe();
    let error = net
        .manage("delete_canister", &record(id))
        .expect_err("running");
    assert_eq!(error.code, ErrorCode::CanisterNotStopped);
    net.manage("stop_canister", &record(id)).expect("stopped");
    net.manage("delete_canister", &record(id)).expect("deleted");
    assert!(net.0.canister(&id).is_err());
    assert_eq!(
        net.update(id, "echo", b"").expect_err("gone").code,
        ErrorCode::CanisterNotFound
    );
    assert_ne!(net.create(), id);
}

#[test]
fn settings_are_set_checked_and_shown() {
    let mut net = Net::application();
    let id = net.probe();
    let new = settings(|settings| {
        settings.controllers = Some(vec![user(), id]);
        settings.freezing_threshold = Some(1_000_u32.into());
        settings.compute_allocation = Some(10_u32.into());
        settings.memory_allocation = Some((1_u64 << 20).into());
        settings.log_visibility = Some(LogVisibility::Public);
        settings.wasm_memory_limit = Some(5_000_000_u64.into());
        settings.environment_variables = Some(vec![EnvironmentVariable {
            name: "NETWORK".into(),
            value: "mainnet".into(),
        }]);
    });
    let args = UpdateSettingsArgs {
        canister_id: id,
        settings: new,
        sender_canister_version: None,
    };
    net.manage("update_settings", &args).expect("set");
    let shown = status(&mut net, id);
    assert_eq!(shown.settings.freezing_threshold, 1_000_u32);
    assert_eq!(shown.settings.compute_allocation, 10_u32);
    assert_eq!(shown.settings.memory_allocation, 1_u64 << 20);
    assert_eq!(shown.settings.environment_variables[0].value, "mainnet");
    let mut controllers = shown.settings.controllers;
    controllers.sort();
    let mut expected = vec![user(), id];
    expected.sort();
    assert_eq!(controllers, expected);

    let bad = [
        settings(|s| s.controllers = Some(vec![user(); 11])),
        settings(|s| s.compute_allocation = Some(101_u32.into())),
        settings(|s| s.freezing_threshold = Some((1_u128 << 64).into())),
        settings(|s| s.memory_allocation = Some((1_u128 << 60).into())),
        settings(|s| {
            s.environment_variables = Some(vec![EnvironmentVariable {
                name: "n".repeat(129),
                value: String::new(),
            }])
        }),
    ];
    let version = net.0.canister(&id).expect("exists").version();
    for settings in bad {
        let args = UpdateSettingsArgs {
            canister_id: id,
            settings,
            sender_canister_version: None,
        };
        net.manage("update_settings", &args).expect_err("refused");
    }
    assert_eq!(net.0.canister(&id).expect("exists").version(), version);
}

#[test]
fn canister_status_has_every_field_and_canister_info_the_history() {
    let mut net = Net::application();
    let (id, other) = (net.probe(), net.probe());
    net.update(id, "stable_store", b"x").expect("replied");
    let shown = status(&mut net, id);
    assert_eq!(shown.status, CanisterStatusType::Running);
    assert_eq!(shown.module_hash, Some(Sha256::digest(probe()).to_vec()));
    assert_eq!(shown.memory_metrics.stable_memory_size, 65_536_u32);
    assert_eq!(shown.memory_metrics.wasm_memory_size, 131_072_u32);
    assert!(shown.cycles > 0_u32);
    assert!(shown.idle_cycles_burned_per_day > 0_u32);

    let args = CanisterInfoArgs {
        canister_id: id,
        num_requested_changes: Some(10),
    };
    let reply = net.update(other, "call", &management_call("canister_info", 0, &args));
    let info: CanisterInfoResult = candid::decode_one(&reply.expect("replied")).expect("decodes");
    assert_eq!(info.total_num_changes, 2);
    assert!(matches!(
        info.recent_changes[0].details,
        Some(ChangeDetails::Creation(_))
    ));
    assert!(matches!(
        info.recent_changes[1].details,
        Some(ChangeDetails::CodeDeployment(_))
    ));
    assert_eq!(info.controllers, [user()]);
}

#[test]
fn canisters_create_fund_and_manage_canisters() {
    let mut net = Net::application();
    let id = net.probe();
    let little = management_call("create_canister", 1_000, &creation(settings(|_| {})));
    let answer = text(net.update(id, "call", &little));
    assert!(
        answer.starts_with("rejected 4: Creating a canister requires a fee of 500_000_000_000 "),
        "{answer}"
    );
    let enough = management_call(
        "create_canister",
        2_000_000_000_000,
        &creation(settings(|_| {})),
    );
    let reply = net.update(id, "call", &enough).expect("replied");
    let created: CanisterIdRecord = candid::decode_one(&reply).expect("decodes");
    let child = created.canister_id;
    assert_eq!(net.cycles(&child), 1_500_000_000_000);
    assert_eq!(net.0.canister(&child).expect("exists").controllers(), [id]);
    net.update(
        id,
        "call",
        &management_call("deposit_cycles", 7, &record(child)),
    )
    .expect("replied");
    assert_eq!(net.cycles(&child), 1_500_000_000_007);
    let top_up = ProvisionalTopUpCanisterArgs {
        canister_id: child,
        amount: 3_u32.into(),
    };
    net.manage("provisional_top_up_canister", &top_up)
        .expect("topped up");
    assert_eq!(net.cycles(&child), 1_500_000_000_010);
}

#[test]
fn raw_rand_gives_different_bytes_each_time() {
    let mut net = Net::application();
    let id = net.probe();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let reply = net
            .update(id, "call", &management_call("raw_rand", 0, &()))
            .expect("replied");
        let bytes: Vec<u8> = candid::decode_one(&reply).expect("decodes");
        assert_eq!(bytes.len(), 32);
        assert!(seen.insert(bytes));
    }
}

#[test]
fn logs_are_kept_within_their_limit_and_shown_to_whom_the_settings_say() {
    let mut net = Net::application();
    let id = net.probe();
    let fetch = |net: &mut Net, sender: Principal| {
        net.0.query(Query {
            sender,
            canister_id: Principal::management_canister(),
            method: "fetch_canister_logs".into(),
            payload: candid::encode_one(record(id)).expect("encodes"),
            effective: EffectivePrincipal::CanisterId(id),
            caller_info: None,
        })
    };
    net.update(id, "print", b"hello").expect("replied");
    net.update(id, "store_and_trap", b"").expect_err("trapped");
    let logs: FetchCanisterLogsResult =
        candid::decode_one(&fetch(&mut net, user()).expect("replied")).expect("decodes");
    let lines = logs.canister_log_records;
    assert_eq!(lines[0].content, b"hello");
    assert!(String::from_utf8_lossy(&lines[1].content).contains("boom"));
    assert_eq!((lines[0].idx, lines[1].idx), (0, 1));
    let refused = fetch(&mut net, stranger()).expect_err("refused");
    assert_eq!(
        refused.message,
        format!(
            "Caller {} is not allowed to access canister logs",
            stranger()
        )
    );
    for _ in 0..10 {
        net.update(id, "print", &[b'x'; 1_000]).expect("replied");
    }
    let logs: FetchCanisterLogsResult =
        candid::decode_one(&fetch(&mut net, user()).expect("replied")).expect("decodes");
    let bytes: usize = logs
        .canister_log_records
        .iter()
        .map(|line| line.content.len())
        .sum();
    assert!(bytes <= 4_096, "{bytes}");
    assert_eq!(logs.canister_log_records.last().expect("kept").idx, 11);
}

#[test]
fn snapshots_bring_back_code_and_memories() {
    let mut net = Net::application();
    let id = net.probe();
    net.update(id, "store", b"before").expect("replied");
    net.update(id, "stable_store", b"old!").expect("replied");
    net.manage("stop_canister", &record(id)).expect("stopped");
    let take = TakeCanisterSnapshotArgs {
        canister_id: id,
        replace_snapshot: None,
        uninstall_code: None,
        sender_canister_version: None,
    };
    let reply = net.manage("take_canister_snapshot", &take).expect("taken");
    let taken: Snapshot = candid::decode_one(&reply).expect("decodes");
    net.manage("start_canister", &record(id)).expect("started");
    net.update(id, "store", b"after").expect("replied");
    net.update(id, "stable_store", b"new!").expect("replied");
    let load = LoadCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id: taken.id.clone(),
        sender_canister_version: None,
    };
    net.manage("load_canister_snapshot", &load).expect("loaded");
    assert_eq!(text(net.query(id, "load", b"")), "before");
    assert_eq!(text(net.query(id, "stable_load", b"")), "old!");
    let reply = net
        .manage("list_canister_snapshots", &record(id))
        .expect("listed");
    let listed: Vec<Snapshot> = candid::decode_one(&reply).expect("decodes");
    assert_eq!(listed, std::slice::from_ref(&taken));
    let delete = DeleteCanisterSnapshotArgs {
        canister_id: id,
        snapshot_id: taken.id,
    };
    net.manage("delete_canister_snapshot", &delete)
        .expect("deleted");
    let error = net
        .manage("load_canister_snapshot", &load)
        .expect_err("gone");
    assert_eq!(error.code, ErrorCode::CanisterSnapshotNotFound);
}

#[test]
fn a_canister_without_cycles_is_refused_politely() {
    let mut net = Net::application();
    let poor = net.create_in(EffectivePrincipal::None, 0);
    let error = net
        .install_as(poor, CanisterInstallMode::Install, probe(), b"")
        .expect_err("poor");
    assert_eq!(error.code, ErrorCode::CanisterOutOfCycles);
    assert!(
        error
            .message
            .contains("is out of cycles: please top up the canister with at least "),
        "{}",
        error.message
    );
    net.0.add_cycles(&poor, 10 * TRILLION).expect("exists");
    net.install(poor, probe());
}

#[test]
fn garbage_arguments_are_refused() {
    let mut net = Net::application();
    let id = net.probe();
    let management = Principal::management_canister();
    for method in [
        "install_code",
        "update_settings",
        "provisional_create_canister_with_cycles",
    ] {
        let result = net
            .submit_to(
                user(),
                management,
                method,
                b"DIDL\xff".to_vec(),
                EffectivePrincipal::CanisterId(id),
            )
            .and_then(|message| net.finish(message));
        let error = result.expect_err("refused");
        assert_eq!(
            error.code,
            ErrorCode::InvalidManagementPayload,
            "{method}: {}",
            error.message
        );
    }
}

#[test]
fn a_timer_set_before_an_upgrade_does_not_survive_it() {
    let mut net = Net::application();
    let id = net.create();
    let module = |hook: &str| {
        wasm(&format!(
            r#"(module
                (import "ic0" "global_timer_set" (func $set (param i64) (result i64)))
                (func $arm (drop (call $set (i64.const 1))))
                (func (export "canister_global_timer"))
                (func (export "{hook}") (call $arm)))"#
        ))
    };
    let timers = |net: &Net| {
        let canister = net.0.canister(&id).expect("exists");
        canister
            .usage()
            .since(0)
            .filter(|usage| usage.kind == MessageKind::GlobalTimer)
            .count()
    };
    net.install(id, module("canister_pre_upgrade"));
    net.install_as(id, CanisterInstallMode::Upgrade(None), probe(), b"")
        .expect("upgraded");
    net.ticks(2);
    assert_eq!(timers(&net), 0);
    net.install_as(
        id,
        CanisterInstallMode::Upgrade(None),
        module("canister_post_upgrade"),
        b"",
    )
    .expect("upgraded");
    net.ticks(2);
    assert_eq!(timers(&net), 1);
}

#[test]
fn code_is_installed_twice_in_one_round_where_the_rate_is_not_limited() {
    for (kind, both) in [(SubnetKind::System, true), (SubnetKind::Application, false)] {
        let mut net = Net::new(&[kind]);
        let id = net.create();
        let messages: Vec<MessageId> = (0..2)
            .map(|_| {
                let args = InstallCodeArgs {
                    mode: CanisterInstallMode::Reinstall,
                    canister_id: id,
                    wasm_module: probe(),
                    arg: Vec::new(),
                    sender_canister_version: None,
                };
                let payload = candid::encode_one(&args).expect("encodes");
                let management = Principal::management_canister();
                net.submit(user(), management, "install_code", payload)
                    .expect("accepted")
            })
            .collect();
        let first = net.finish(messages[0]);
        let second = net.finish(messages[1]);
        assert!(first.is_ok(), "{first:?}");
        assert_eq!(second.is_ok(), both, "{second:?}");
    }
}
