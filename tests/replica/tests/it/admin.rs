//! Administration through the `pocket-ic` 16 client.

use crate::support::{
    builder, counter, get, inc, install_counter, number, refusal, replying, with_counter,
};
use candid::Principal;
use flate2::{Compression, write::GzEncoder};
use pocket_ic::common::rest::{BlobCompression, RawEffectivePrincipal};
use pocket_ic::{
    ErrorCode, IngressStatusResult, PocketIcState, RejectCode, SubnetBlockmakers, TickConfigs, Time,
};
use std::io::Write;
use std::time::Duration;

const T: u128 = 1_000_000_000_000;

fn user(n: u8) -> Principal {
    Principal::self_authenticating([n])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compresses");
    encoder.finish().expect("compresses")
}

#[test]
fn updates_change_the_state_and_queries_read_it() {
    let (pic, canister) = with_counter();
    assert_eq!(get(&pic, canister), 0);
    assert_eq!(inc(&pic, canister), 1);
    assert_eq!(inc(&pic, canister), 2);
    assert_eq!(get(&pic, canister), 2);
    let caller = pic.query_call(canister, user(1), "whoami", vec![]);
    assert_eq!(caller.expect("replied"), user(1).as_slice());
    let caller = pic.update_call(canister, user(2), "whoami_update", vec![]);
    assert_eq!(caller.expect("replied"), user(2).as_slice());
}

#[test]
fn rejections_carry_the_ics_codes_and_the_client_understands_them() {
    let (pic, canister) = with_counter();
    let anonymous = Principal::anonymous();
    let trap = pic
        .update_call(canister, anonymous, "boom", vec![])
        .expect_err("traps");
    assert_eq!(trap.error_code, ErrorCode::CanisterCalledTrap);
    assert_eq!(trap.reject_code, RejectCode::CanisterError);
    assert!(trap.certified);
    assert!(trap.reject_message.contains("boom"), "{trap}");
    assert_eq!(get(&pic, canister), 0, "the trap rolled back");

    let reject = pic
        .update_call(canister, anonymous, "reject", vec![])
        .expect_err("rejects");
    assert_eq!(reject.reject_code, RejectCode::CanisterReject);
    assert!(reject.reject_message.contains("go away"), "{reject}");

    let missing = pic
        .query_call(canister, anonymous, "nothing", vec![])
        .expect_err("no such method");
    assert_eq!(missing.error_code, ErrorCode::CanisterMethodNotFound);
    assert!(!missing.certified);
}

#[test]
fn a_message_can_be_submitted_and_awaited_separately_and_only_its_sender_sees_it() {
    let (pic, canister) = with_counter();
    let id = pic
        .submit_call(canister, user(1), "whoami_update", vec![])
        .expect("accepted");
    assert!(pic.ingress_status(id.clone()).is_none());
    pic.tick();
    let mine = pic.ingress_status_as(id.clone(), user(1));
    assert!(
        matches!(mine, IngressStatusResult::Success(Ok(_))),
        "{mine:?}"
    );
    let other = pic.ingress_status_as(id.clone(), user(2));
    assert!(
        matches!(other, IngressStatusResult::Forbidden(_)),
        "{other:?}"
    );
    let reply = pic.await_call(id).expect("replied");
    assert_eq!(reply, user(1).as_slice());
}

#[test]
fn a_module_above_two_megabytes_is_installed_in_chunks_and_gzip_is_undone() {
    let pic = builder().with_application_subnet().build();
    let canister = pic.create_canister();
    pic.add_cycles(canister, 100 * T);
    let filler = vec![7u8; 60_000];
    let mut wasm = replying(&[("canister_query filler", filler.as_slice())]);
    // A custom section takes the module above what one message may hold.
    let payload_size = 2_400_000;
    let name = b"padding";
    wasm.push(0);
    leb128::write::unsigned(&mut wasm, (1 + name.len() + payload_size) as u64).expect("written");
    wasm.push(u8::try_from(name.len()).expect("short"));
    wasm.extend_from_slice(name);
    wasm.resize(wasm.len() + payload_size, 0x55);
    pic.install_canister(canister, wasm.clone(), vec![], None);
    let reply = pic.query_call(canister, Principal::anonymous(), "filler", vec![]);
    assert_eq!(reply.expect("replied"), filler);

    pic.reinstall_canister(canister, gzip(&counter()), vec![], None)
        .expect("reinstalled");
    assert_eq!(inc(&pic, canister), 1);
}

#[test]
fn an_upgrade_keeps_stable_memory_and_a_reinstall_does_not() {
    let (pic, canister) = with_counter();
    inc(&pic, canister);
    pic.upgrade_canister(canister, counter(), vec![], None)
        .expect("upgraded");
    assert_eq!(get(&pic, canister), 1);
    pic.reinstall_canister(canister, counter(), vec![], None)
        .expect("reinstalled");
    assert_eq!(get(&pic, canister), 0);
}

#[test]
fn canisters_are_stopped_started_deleted_and_found() {
    let (pic, canister) = with_counter();
    let subnet = pic.topology().get_app_subnets()[0];
    assert_eq!(pic.get_subnet(canister), Some(subnet));
    assert_eq!(pic.get_controllers(canister), [Principal::anonymous()]);
    pic.stop_canister(canister, None).expect("stopped");
    let refused = pic
        .update_call(canister, Principal::anonymous(), "inc", vec![])
        .expect_err("stopped");
    assert_eq!(refused.error_code, ErrorCode::CanisterStopped);
    pic.start_canister(canister, None).expect("started");
    assert_eq!(inc(&pic, canister), 1);
    let status = pic.canister_status(canister, None).expect("status");
    assert!(status.module_hash.is_some());
    pic.set_controllers(canister, None, vec![user(1), user(2)])
        .expect("set");
    let mut controllers = pic.get_controllers(canister);
    controllers.sort();
    let mut expected = vec![user(1), user(2)];
    expected.sort();
    assert_eq!(controllers, expected);
    let refused = pic
        .stop_canister(canister, None)
        .expect_err("no controller");
    assert_eq!(refused.error_code, ErrorCode::CanisterInvalidController);
    pic.stop_canister(canister, Some(user(1))).expect("stopped");
    pic.delete_canister(canister, Some(user(1)))
        .expect("deleted");
    assert!(!pic.canister_exists(canister));
}

#[test]
fn cycles_are_added_and_read() {
    let (pic, canister) = with_counter();
    let before = pic.cycle_balance(canister);
    assert_eq!(pic.add_cycles(canister, 5 * T), before + 5 * T);
    assert_eq!(pic.cycle_balance(canister), before + 5 * T);
    let huge = u128::from(u64::MAX) * 3;
    assert_eq!(pic.add_cycles(canister, huge), before + 5 * T + huge);
}

#[test]
fn stable_memory_is_set_from_a_blob_and_read_back() {
    let (pic, canister) = with_counter();
    let mut contents = vec![0u8; 3 * 65_536];
    contents[..8].copy_from_slice(&41u64.to_le_bytes());
    contents[150_000] = 9;
    pic.set_stable_memory(canister, gzip(&contents), BlobCompression::Gzip);
    assert_eq!(pic.get_stable_memory(canister), contents);
    assert_eq!(inc(&pic, canister), 42);
    pic.set_stable_memory(canister, vec![1; 65_536], BlobCompression::NoCompression);
    assert_eq!(pic.get_stable_memory(canister), vec![1; 65_536]);
}

#[test]
fn time_moves_as_told_and_by_one_nanosecond_per_round_otherwise() {
    let (pic, canister) = with_counter();
    let start = pic.get_time().as_nanos_since_unix_epoch();
    pic.tick();
    assert_eq!(pic.get_time().as_nanos_since_unix_epoch(), start + 1);
    pic.advance_time(Duration::from_secs(60));
    let moved = start + 1 + 60_000_000_000;
    assert_eq!(pic.get_time().as_nanos_since_unix_epoch(), moved);
    pic.tick();
    let seen = pic.query_call(canister, Principal::anonymous(), "time", vec![]);
    assert_eq!(
        number(&seen.expect("replied")),
        pic.get_time().as_nanos_since_unix_epoch()
    );
    let from_config = builder()
        .with_application_subnet()
        .with_initial_time(Time::from_nanos_since_unix_epoch(1_700_000_000_000_000_000))
        .build();
    let time = from_config.get_time().as_nanos_since_unix_epoch();
    assert_eq!(time, 1_700_000_000_000_000_000);
}

#[test]
fn the_topology_names_every_subnet_and_routes_creations() {
    let pic = builder()
        .with_nns_subnet()
        .with_bitcoin_subnet()
        .with_application_subnet()
        .with_benchmarking_application_subnet()
        .build();
    let topology = pic.topology();
    assert_eq!(topology.subnet_configs.len(), 4);
    let bitcoin = topology.get_bitcoin().expect("asked for");
    assert_eq!(topology.get_benchmarking_app_subnets().len(), 1);
    let on_bitcoin = pic.create_canister_on_subnet(None, None, bitcoin);
    assert_eq!(pic.get_subnet(on_bitcoin), Some(bitcoin));
    assert_eq!(topology.get_subnet(on_bitcoin), Some(bitcoin));
    let id = Principal::from_text("ghsi2-tqaaa-aaaan-aaaca-cai").expect("an id");
    assert_eq!(pic.create_canister_with_id(None, None, id), Ok(id));
    assert_eq!(pic.get_subnet(id), Some(bitcoin));
    let again = pic.create_canister_with_id(None, None, id);
    assert!(again.is_err(), "{again:?}");
    assert_eq!(pic.root_key().expect("there is an NNS").len(), 133);
}

#[test]
fn a_mainnet_id_without_a_subnet_gets_one() {
    let pic = builder().with_application_subnet().build();
    let id = Principal::from_text("ghsi2-tqaaa-aaaan-aaaca-cai").expect("an id");
    assert_eq!(pic.create_canister_with_id(None, None, id), Ok(id));
    let topology = pic.topology();
    assert_eq!(topology.subnet_configs.len(), 2);
    assert_eq!(topology.get_subnet(id), pic.get_subnet(id));
    assert!(pic.root_key().is_none(), "there is no NNS");
}

#[test]
fn a_bitcoin_subnet_alone_takes_canisters_without_a_destination() {
    let pic = builder().with_bitcoin_subnet().build();
    let canister = install_counter(&pic);
    let reply = pic.update_call_with_effective_principal(
        canister,
        RawEffectivePrincipal::None,
        Principal::anonymous(),
        "inc",
        vec![],
    );
    assert_eq!(number(&reply.expect("replied")), 1);
}

#[test]
fn a_subnet_can_be_deleted_unless_it_is_named_or_the_root() {
    let pic = builder()
        .with_nns_subnet()
        .with_application_subnet()
        .with_application_subnet()
        .build();
    let app = pic.topology().get_app_subnets()[1];
    pic.delete_subnet(app);
    assert_eq!(pic.topology().subnet_configs.len(), 2);
}

#[test]
fn instances_do_not_see_each_other_and_work_at_the_same_time() {
    std::thread::scope(|scope| {
        for rounds in 1..=4 {
            scope.spawn(move || {
                let (pic, canister) = with_counter();
                for expected in 1..=rounds {
                    assert_eq!(inc(&pic, canister), expected);
                }
                assert_eq!(get(&pic, canister), rounds);
            });
        }
    });
}

#[test]
fn concurrent_calls_to_one_instance_are_all_executed() {
    let (pic, canister) = with_counter();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| inc(&pic, canister));
        }
    });
    assert_eq!(get(&pic, canister), 8);
}

#[test]
fn a_state_folder_carries_an_instance_over_to_the_next() {
    let state = PocketIcState::new();
    let pic = builder()
        .with_application_subnet()
        .with_state(state)
        .build();
    let canister = install_counter(&pic);
    inc(&pic, canister);
    let subnet = pic.get_subnet(canister);
    let time = pic.get_time();
    let state = pic.drop_and_take_state().expect("was given one");

    let pic = builder()
        .with_application_subnet()
        .with_state(state)
        .build();
    assert_eq!(get(&pic, canister), 1);
    assert_eq!(pic.get_subnet(canister), subnet);
    assert!(pic.get_time() >= time);
    assert_eq!(inc(&pic, canister), 2);
}

#[test]
fn subnet_metrics_are_certified_and_count() {
    let (pic, canister) = with_counter();
    let subnet = pic.get_subnet(canister).expect("exists");
    let before = pic.get_subnet_metrics(subnet).expect("metrics");
    assert_eq!(before.num_canisters, 1);
    inc(&pic, canister);
    let after = pic.get_subnet_metrics(subnet).expect("metrics");
    assert!(after.update_transactions_total > before.update_transactions_total);
    assert!(pic.get_subnet_metrics(user(9)).is_none());
}

#[test]
fn what_is_not_supported_is_refused_with_a_message() {
    let (pic, _) = with_counter();
    let url = pic.get_server_url();
    let post = |path: &str, body: serde_json::Value| {
        let response = reqwest::blocking::Client::new()
            .post(url.join(path).expect("a URL"))
            .json(&body)
            .send()
            .expect("the server answers");
        let status = response.status().as_u16();
        let body: serde_json::Value = response.json().expect("JSON");
        (status, body.to_string())
    };
    let instance = format!("instances/{}", pic.instance_id());
    let missing = serde_json::json!({"canister_id": base64(user(1).as_slice())});
    let cases = [
        (
            "instances".to_owned(),
            serde_json::json!({"subnet_config_set": {}}),
            "at least one subnet",
        ),
        (
            "instances".to_owned(),
            serde_json::json!({"subnet_config_set": {"nns": {}}, "icp_features": {"registry": "DefaultConfig"}}),
            "registry",
        ),
        (
            format!("{instance}/update/canister_snapshot_download"),
            serde_json::json!({}),
            "sender",
        ),
        (
            format!("{instance}/update/mock_canister_http"),
            serde_json::json!({}),
            "subnet_id",
        ),
        (format!("{instance}/read/get_cycles"), missing, "not found"),
        (
            format!("{instance}/read/get_cycles"),
            serde_json::json!({"canister_id": "%"}),
            "get_cycles",
        ),
        (
            format!("{instance}/update/set_time"),
            serde_json::json!({"nanos_since_epoch": 5}),
            "before the current time",
        ),
        (
            "http_gateway".to_owned(),
            serde_json::json!({"forward_to": {"Replica": "http://x"}}),
            "not supported",
        ),
    ];
    for (path, body, named) in cases {
        let (status, message) = post(&path, body);
        assert_eq!(status, 400, "{path}: {message}");
        assert!(message.contains(named), "{path}: {message}");
    }
    let (status, message) = post("instances/987654/update/tick", serde_json::Value::Null);
    assert_eq!(status, 404, "{message}");
}

fn base64(bytes: &[u8]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine};
    BASE64_STANDARD.encode(bytes)
}

#[test]
fn usage_of_each_message_is_told_under_the_extension_route() {
    let (pic, canister) = with_counter();
    let url = pic.get_server_url().join(&format!(
        "instances/{}/millrace/usage/{canister}",
        pic.instance_id()
    ));
    let url = url.expect("a URL");
    let usage = |since: u64| -> serde_json::Value {
        let mut url = url.clone();
        url.set_query(Some(&format!("since={since}")));
        let response = reqwest::blocking::get(url).expect("answers");
        response.json().expect("JSON")
    };
    let next = usage(0)["next_sequence"].as_u64().expect("a number");
    inc(&pic, canister);
    inc(&pic, canister);
    let answer = usage(next);
    let records: Vec<_> = answer["records"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|record| record["method"] == "inc" && record["kind"] == "update")
        .collect();
    assert_eq!(records.len(), 2, "{answer}");
    assert_eq!(records[0]["instructions"], records[1]["instructions"]);
    assert_eq!(records[0]["stable_pages_dirtied"], 1);
    assert_eq!(records[0]["heap_pages_dirtied"], 1);
    assert_eq!(records[0]["succeeded"], true);
}

#[test]
fn the_block_maker_of_a_round_can_be_the_subnets_node_only() {
    let pic = builder().with_application_subnet().build();
    let subnet = pic.topology().get_app_subnets()[0];
    let tick = |blockmaker: Principal, failed_blockmakers: Vec<Principal>| {
        pic.tick_with_configs(TickConfigs {
            blockmakers: Some(vec![SubnetBlockmakers {
                subnet,
                blockmaker,
                failed_blockmakers,
            }]),
        });
    };
    let refused = refusal(|| tick(user(1), vec![]));
    let (_, named) = refused.split_once("its only node is ").expect(&refused);
    let named: String = named
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let node = Principal::from_text(&named).expect("the node's id");
    // Between two rounds time passes, so a round can be seen.
    pic.tick();
    let before = pic.get_time();
    tick(node, vec![]);
    assert!(pic.get_time() > before, "the round took place");
    let refused = refusal(|| tick(node, vec![user(1)]));
    assert!(refused.contains("after 1 others failed"), "{refused}");
}
