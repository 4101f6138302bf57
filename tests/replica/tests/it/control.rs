//! The routes that make things go wrong: what they refuse, and that refused ones change nothing.

use crate::support::{inc, with_counter};
use pocket_ic::PocketIc;
use reqwest::blocking::Client;
use serde_json::{Value, json};

fn url(pic: &PocketIc, path: &str) -> String {
    format!(
        "{}instances/{}/millrace/{path}",
        pic.get_server_url(),
        pic.instance_id()
    )
}

fn get(pic: &PocketIc, path: &str) -> Value {
    let answer = Client::new().get(url(pic, path)).send().expect("answers");
    assert!(answer.status().is_success(), "{path}: {answer:?}");
    answer.json().expect("JSON")
}

/// Posts, and returns the status and what the server says.
fn post(pic: &PocketIc, path: &str, body: &Value) -> (u16, String) {
    let request = Client::new().post(url(pic, path)).json(body);
    let answer = request.send().expect("answers");
    let status = answer.status().as_u16();
    let body: Value = answer.json().expect("JSON");
    (
        status,
        body["message"].as_str().unwrap_or_default().to_owned(),
    )
}

/// Requires that a request is refused with a text that has this in it.
fn assert_refused(pic: &PocketIc, path: &str, body: &Value, part: &str) {
    let (status, message) = post(pic, path, body);
    assert!(
        (400..500).contains(&status),
        "{path} {body}: {status} {message}"
    );
    assert!(message.contains(part), "{path} {body}: {message}");
}

#[test]
fn faults_strike_are_listed_and_are_forgotten_and_bad_ones_are_refused() {
    let (pic, canister) = with_counter();
    let fault = json!({
        "canister": canister.to_text(), "kind": {"trap_at_system_call": 1}, "method": "inc", "skip": 1
    });
    assert_eq!(post(&pic, "faults", &json!([fault])).0, 200);
    assert_eq!(inc(&pic, canister), 1, "the first one passes");
    let sender = candid::Principal::anonymous();
    let struck = pic.update_call(canister, sender, "inc", vec![]);
    assert!(struck.is_err(), "{struck:?}");
    let listed = get(&pic, "faults");
    assert_eq!(listed[0]["struck"], 1, "{listed}");
    assert_eq!(inc(&pic, canister), 2, "once only");
    let forgotten = Client::new().delete(url(&pic, "faults")).send();
    assert_eq!(forgotten.expect("answers").status().as_u16(), 200);
    assert_eq!(get(&pic, "faults"), json!([]));
    for (fault, part) in [
        (
            json!({"canister": "no-principal", "kind": "full_memory"}),
            "valid Base32",
        ),
        (
            json!({"canister": canister.to_text(), "kind": "meteor"}),
            "meteor",
        ),
        (
            json!({"canister": canister.to_text(), "kind": "drop_reply", "often": 2}),
            "often",
        ),
    ] {
        assert_refused(&pic, "faults", &json!([fault]), part);
    }
    assert_eq!(get(&pic, "faults"), json!([]), "nothing was injected");
}

#[test]
fn limits_change_from_the_next_round_on_and_unknown_ones_are_refused_by_name() {
    let (pic, canister) = with_counter();
    let before = get(&pic, "limits");
    for (limits, part) in [
        (
            json!({"application": {"heap_delta_capacty": 5}}),
            "heap_delta_capacty",
        ),
        (json!({"moon": {}}), "moon"),
        (
            json!({"application": {"heap_delta_capacity": "many"}}),
            "many",
        ),
    ] {
        assert_refused(&pic, "limits", &limits, part);
    }
    assert_eq!(get(&pic, "limits"), before);
    let few = json!({"application": {"message_instructions": 1}});
    assert_eq!(post(&pic, "limits", &few).0, 200);
    let sender = candid::Principal::anonymous();
    let refused = pic.update_call(canister, sender, "inc", vec![]);
    assert!(refused.is_err(), "one instruction is not enough");
    let message_instructions = &before["application"]["message_instructions"];
    let again = json!({"application": {"message_instructions": message_instructions}});
    assert_eq!(post(&pic, "limits", &again).0, 200);
    assert_eq!(get(&pic, "limits"), before);
    assert_eq!(inc(&pic, canister), 1);
}

#[test]
fn answers_from_outside_that_nobody_waits_for_or_that_say_two_things_are_refused() {
    let (pic, canister) = with_counter();
    let subnet = pic.get_subnet(canister).expect("it is on a subnet");
    let path = format!("consensus/{subnet}");
    assert_eq!(get(&pic, &path), json!([]));
    for (answer, part) in [
        (json!({"callback": 7, "reply": ""}), "7"),
        (json!({"callback": 7, "blocks": []}), "7"),
        (json!({"callback": 7}), "exactly one of"),
        (
            json!({"callback": 7, "reply": "", "reject": "no"}),
            "exactly one of",
        ),
        (json!({"callback": 7, "reply": "*"}), "reply is not base64"),
        (
            json!({"callback": 7, "blocks": ["*"]}),
            "blocks is not base64",
        ),
    ] {
        assert_refused(&pic, &path, &answer, part);
    }
    assert_refused(&pic, &format!("{path}/keep/few"), &Value::Null, "few");
    assert_refused(&pic, "consensus/aaaaa-aa/keep/1", &Value::Null, "aaaaa-aa");
}

#[test]
fn an_instance_that_keeps_no_state_is_not_restarted() {
    let (pic, canister) = with_counter();
    assert_eq!(inc(&pic, canister), 1);
    assert_refused(&pic, "restart", &Value::Null, "state folder");
    assert_eq!(inc(&pic, canister), 2);
}
