//! Calls of the `pocket-ic` 16 client that no other test needs on its way.

use crate::support::{SERVER, builder, eventually, install_counter, number, refusal, with_counter};
use candid::Principal;
use ic_management_canister_types::LogVisibility;
use pocket_ic::{CanisterSettings, ErrorCode, PocketIc, Time};
use std::process::Command;

const SECOND_NS: u64 = 1_000_000_000;

fn stranger() -> Principal {
    Principal::self_authenticating(b"a stranger")
}

/// Set in the process that a test starts to have a server of its own.
const ALONE: &str = "MILLRACE_TEST_ALONE";

/// The client starts the server for this call itself, the one that `POCKET_IC_BIN` names: the test runs
/// once more in a process that has this variable, and a server where no other test's instances come
/// and go.
#[test]
fn instances_are_listed_by_whether_they_are_there() {
    if std::env::var_os(ALONE).is_some() {
        list_instances();
        return;
    }
    let this = "client_calls::instances_are_listed_by_whether_they_are_there";
    let program = std::env::current_exe().expect("a running program has a path");
    let output = Command::new(program)
        .args(["--exact", this])
        .env("POCKET_IC_BIN", SERVER)
        .env(ALONE, "1")
        // A server that outlives the process must not hold its output open.
        .env("POCKET_IC_MUTE_SERVER", "1")
        .output()
        .expect("this program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn list_instances() {
    let first = builder().with_application_subnet().build();
    let second = builder().with_application_subnet().build();
    assert_eq!(PocketIc::list_instances(), ["Available", "Available"]);
    drop(first);
    assert_eq!(PocketIc::list_instances(), ["Deleted", "Available"]);
    drop(second);
}

#[test]
fn the_certified_time_is_set_and_never_turned_back() {
    let (pic, canister) = with_counter();
    let later = pic.get_time().as_nanos_since_unix_epoch() + 60 * SECOND_NS;
    pic.set_certified_time(Time::from_nanos_since_unix_epoch(later));
    assert_eq!(pic.get_time().as_nanos_since_unix_epoch(), later);
    pic.tick();
    let seen = pic.query_call(canister, Principal::anonymous(), "time", vec![]);
    assert!(number(&seen.expect("replied")) >= later);

    let earlier = Time::from_nanos_since_unix_epoch(later - SECOND_NS);
    let refused = refusal(|| pic.set_certified_time(earlier));
    assert!(refused.contains("before the current time"), "{refused}");
    assert!(pic.get_time().as_nanos_since_unix_epoch() >= later);
}

#[test]
fn logs_are_for_controllers_until_the_settings_open_them_to_all() {
    let pic = builder().with_application_subnet().build();
    let canister = pic.create_canister();
    pic.add_cycles(canister, 10_000_000_000_000);
    let probe = wat::parse_str(include_str!("../../subnet/src/tests/probe.wat"));
    let probe = probe.expect("the module is well formed");
    pic.install_canister(canister, probe, vec![], None);
    let controller = Principal::anonymous();
    for line in [b"first".to_vec(), b"second".to_vec()] {
        pic.update_call(canister, controller, "print", line)
            .expect("replied");
    }
    let contents = |reader: Principal| -> Result<Vec<Vec<u8>>, ErrorCode> {
        let records = pic.fetch_canister_logs(canister, reader);
        let records = records.map_err(|reject| reject.error_code)?;
        let contents = records.into_iter().map(|record| record.content);
        Ok(contents.collect())
    };
    let printed = vec![b"first".to_vec(), b"second".to_vec()];
    assert_eq!(contents(controller), Ok(printed.clone()));
    let refused = Err(ErrorCode::CanisterRejectedMessage);
    assert_eq!(contents(stranger()), refused);

    let open = || CanisterSettings {
        log_visibility: Some(LogVisibility::Public),
        ..CanisterSettings::default()
    };
    let reject = pic
        .update_canister_settings(canister, Some(stranger()), open())
        .expect_err("no controller");
    assert_eq!(reject.error_code, ErrorCode::CanisterInvalidController);
    assert_eq!(contents(stranger()), refused);
    pic.update_canister_settings(canister, None, open())
        .expect("its controller may");
    assert_eq!(contents(stranger()), Ok(printed));
}

#[test]
fn an_uninstalled_canister_has_no_code_and_can_be_installed_anew() {
    let (pic, canister) = with_counter();
    let anonymous = Principal::anonymous();
    pic.update_call(canister, anonymous, "inc", vec![])
        .expect("replied");
    let reject = pic
        .uninstall_canister(canister, Some(stranger()))
        .expect_err("no controller");
    assert_eq!(reject.error_code, ErrorCode::CanisterInvalidController);
    pic.uninstall_canister(canister, None).expect("uninstalled");
    let status = pic.canister_status(canister, None).expect("status");
    assert_eq!(status.module_hash, None);
    let reject = pic
        .update_call(canister, anonymous, "inc", vec![])
        .expect_err("no code");
    assert_eq!(reject.error_code, ErrorCode::CanisterWasmModuleNotFound);

    pic.install_canister(canister, crate::support::counter(), vec![], None);
    let reply = pic.update_call(canister, anonymous, "inc", vec![]);
    assert_eq!(number(&reply.expect("replied")), 1, "nothing was kept");
}

#[test]
fn an_instance_created_with_progress_follows_the_clock_and_runs_rounds_itself() {
    let before = crate::support::wall_clock_ns();
    let pic = builder()
        .with_application_subnet()
        .with_auto_progress()
        .build();
    assert!(pic.auto_progress_enabled());
    let start = pic.get_time().as_nanos_since_unix_epoch();
    assert!(start >= before, "{start} is before {before}");
    eventually("time passing without a tick", || {
        pic.get_time().as_nanos_since_unix_epoch() > start
    });
    let canister = install_counter(&pic);
    let id = pic
        .submit_call(canister, Principal::anonymous(), "inc", vec![])
        .expect("accepted");
    eventually("a round without a tick", || {
        pic.ingress_status(id.clone()).is_some()
    });
}
