//! Requests no client would send.

use crate::support::{call_content, post_cbor, signed_body, with_counter};
use candid::Principal;
use ic_agent::identity::AnonymousIdentity;
use ic_transport_types::EnvelopeContent;

#[test]
fn garbage_on_the_ic_interface_is_refused_and_the_server_goes_on() {
    let (pic, canister) = with_counter();
    let url = format!("{}instances/{}/", pic.get_server_url(), pic.instance_id());
    let deep = [vec![0x81; 100_000], vec![0]].concat();
    let long_length = vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let bodies = [
        vec![],
        b"garbage".to_vec(),
        vec![0xff; 1_000],
        deep,
        long_length,
    ];
    for path in ["call", "query", "read_state"] {
        for version in ["v2", "v3", "v4"] {
            for body in &bodies {
                let url = format!("{url}api/{version}/canister/{canister}/{path}");
                let (status, answer) = post_cbor(&url, body.clone());
                let text = String::from_utf8_lossy(&answer).into_owned();
                assert_eq!(status, 400, "{url}: {text}");
                assert!(text.contains("could not parse body"), "{url}: {text}");
            }
        }
    }
    let reply = pic.query_call(canister, Principal::anonymous(), "get", vec![]);
    assert!(reply.is_ok());
}

#[test]
fn an_oversize_body_is_refused_by_size() {
    let (pic, canister) = with_counter();
    let url = format!(
        "{}instances/{}/api/v3/canister/{canister}/query",
        pic.get_server_url(),
        pic.instance_id()
    );
    let (status, answer) = post_cbor(&url, vec![0; 5 * 1024 * 1024 + 1]);
    let text = String::from_utf8_lossy(&answer).into_owned();
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("5242880"), "{text}");
}

#[test]
fn an_envelope_of_another_kind_or_for_another_canister_is_refused() {
    let (pic, canister) = with_counter();
    let base = format!(
        "{}instances/{}/api/v3/",
        pic.get_server_url(),
        pic.instance_id()
    );
    // The instance's clock is not the wall clock, and anonymous queries may carry any expiry.
    let query = |canister_id| EnvelopeContent::Query {
        ingress_expiry: 0,
        sender: Principal::anonymous(),
        canister_id,
        method_name: "get".to_owned(),
        arg: vec![],
        nonce: None,
        sender_info: None,
    };
    let management = Principal::management_canister();
    let nobody = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    let cases = [
        (
            format!("{base}canister/{canister}/query"),
            query(management),
            200,
            "",
        ),
        (
            format!("{base}canister/{nobody}/query"),
            query(canister),
            400,
            "does not match effective canister id",
        ),
        (
            format!("{base}canister/{nobody}/query"),
            query(nobody),
            400,
            "canister_not_found",
        ),
        (
            format!("{base}canister/{canister}/call"),
            query(canister),
            400,
            "call",
        ),
        (
            format!("{base}canister/{canister}/query"),
            call_content(Principal::anonymous(), canister, "inc"),
            400,
            "query",
        ),
        (
            format!("{base}canister/x-y-z/query"),
            query(canister),
            400,
            "x-y-z",
        ),
        (
            format!("{base}canister/{canister}/nothing"),
            query(canister),
            404,
            "nothing",
        ),
    ];
    for (url, content, expected, named) in cases {
        let (status, answer) = post_cbor(&url, signed_body(content, &AnonymousIdentity));
        let text = String::from_utf8_lossy(&answer).into_owned();
        if expected == 200 {
            assert_eq!(status, 200, "{url}: {text}");
        } else {
            // A call sent to the wrong place may fail on its expiry first: both are refusals.
            assert_eq!(status, expected, "{url}: {text}");
            assert!(
                text.contains(named) || text.contains("expiry"),
                "{url}: {text}"
            );
        }
    }
}

#[test]
fn paths_a_reader_may_not_see_are_refused_and_absent_ones_are_not() {
    let (pic, canister) = with_counter();
    let url = format!(
        "{}instances/{}/api/v3/canister/{canister}/read_state",
        pic.get_server_url(),
        pic.instance_id()
    );
    let other = Principal::from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xe0, 0, 0x99, 1, 1]);
    let cases: [(Vec<&[u8]>, u16); 9] = [
        (vec![b"time"], 200),
        (vec![b"subnet"], 200),
        (vec![b"canister", canister.as_slice(), b"module_hash"], 200),
        (
            vec![b"canister", canister.as_slice(), b"metadata", b"absent"],
            200,
        ),
        (vec![b"canister", other.as_slice(), b"module_hash"], 400),
        (
            vec![b"canister", canister.as_slice(), b"metadata", &[0xff]],
            400,
        ),
        (vec![b"canister", canister.as_slice(), b"secrets"], 404),
        (vec![b"streams"], 404),
        (vec![b"request_status", b"short"], 400),
    ];
    for (path, expected) in cases {
        let content = EnvelopeContent::ReadState {
            ingress_expiry: 0,
            sender: Principal::anonymous(),
            paths: vec![path.iter().map(|label| (*label).into()).collect()],
        };
        let (status, answer) = post_cbor(&url, signed_body(content, &AnonymousIdentity));
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, expected, "{path:?}: {text}");
    }
}

#[test]
fn unknown_routes_methods_and_blobs_are_answered_as_json() {
    let (pic, _) = with_counter();
    let url = pic.get_server_url();
    let client = reqwest::blocking::Client::new();
    for path in [
        "nowhere",
        "instances/0/read/nowhere",
        "blobstore/00",
        "read_graph/a/b",
    ] {
        let answer = client
            .get(url.join(path).expect("a URL"))
            .send()
            .expect("answers");
        assert_eq!(answer.status().as_u16(), 404, "{path}");
        let body: serde_json::Value = answer.json().expect("JSON");
        assert!(body["message"].is_string(), "{path}: {body}");
    }
    let wrong_method = client.delete(url.join("blobstore/").expect("a URL")).send();
    assert_eq!(wrong_method.expect("answers").status().as_u16(), 405);
    let bad_blob = client
        .post(url.join("blobstore/").expect("a URL"))
        .header("content-encoding", "br")
        .body("x")
        .send()
        .expect("answers");
    assert_eq!(bad_blob.status().as_u16(), 400);
}
