//! Canisters over plain HTTP, through the gateway of an instance.

use crate::support::{builder, encode, replying};
use candid::types::value::{IDLField, IDLValue, VariantValue};
use candid::types::{Label, reference::Func};
use candid::{CandidType, IDLArgs, Principal};
use pocket_ic::PocketIc;
use pocket_ic::common::rest::InstanceHttpGatewayConfig;
use reqwest::blocking::{Client, Response};

#[derive(CandidType)]
struct HttpResponse {
    status_code: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    upgrade: Option<bool>,
}

fn response(status_code: u16, body: &str, upgrade: bool) -> Vec<u8> {
    encode(&HttpResponse {
        status_code,
        headers: vec![("x-millrace".into(), "yes".into())],
        body: body.as_bytes().to_vec(),
        upgrade: Some(upgrade),
    })
}

fn live(wasm: impl FnOnce(Principal) -> Vec<u8>) -> (PocketIc, Principal, u16) {
    let mut pic = builder().with_application_subnet().build();
    let canister = pic.create_canister();
    pic.add_cycles(canister, 10_000_000_000_000);
    pic.install_canister(canister, wasm(canister), vec![], None);
    let port = pic.make_live(None).port().expect("a port");
    (pic, canister, port)
}

fn get(port: u16, path: &str, host: Option<String>) -> Response {
    let mut request = Client::new().get(format!("http://127.0.0.1:{port}{path}"));
    if let Some(host) = host {
        request = request.header("host", host);
    }
    request.send().expect("the gateway answers")
}

#[test]
fn a_page_is_served_under_both_forms_of_its_address() {
    let page = response(404, "no such page", false);
    let (_pic, canister, port) = live(|_| replying(&[("canister_query http_request", &page)]));
    let by_host = get(
        port,
        "/metrics?x=1",
        Some(format!("{canister}.localhost:{port}")),
    );
    let by_query = get(port, &format!("/metrics?canisterId={canister}"), None);
    for answer in [by_host, by_query] {
        assert_eq!(answer.status().as_u16(), 404);
        assert_eq!(answer.headers()["x-millrace"], "yes");
        assert_eq!(answer.text().expect("text"), "no such page");
    }
}

#[test]
fn an_upgraded_request_runs_as_an_update() {
    let upgrade = response(200, "", true);
    let updated = response(201, "updated", false);
    let (_pic, canister, port) = live(|_| {
        replying(&[
            ("canister_query http_request", &upgrade),
            ("canister_update http_request_update", &updated),
        ])
    });
    let answer = get(port, &format!("/?canisterId={canister}"), None);
    assert_eq!(answer.status().as_u16(), 201);
    assert_eq!(answer.text().expect("text"), "updated");
}

fn field(name: &str, val: IDLValue) -> IDLField {
    IDLField {
        id: Label::Named(name.to_owned()),
        val,
    }
}

fn record(mut fields: Vec<IDLField>) -> IDLValue {
    fields.sort_by_key(|field| field.id.get_id());
    IDLValue::Record(fields)
}

/// A response whose rest comes from `stream` of `owner`, with a token the gateway cannot know.
fn streaming(owner: Principal) -> Vec<u8> {
    let callback = Func {
        principal: owner,
        method: "stream".into(),
    };
    let token = record(vec![field("page", IDLValue::Nat64(7))]);
    let strategy = record(vec![
        field(
            "callback",
            IDLValue::Func(callback.principal, callback.method),
        ),
        field("token", token),
    ]);
    let strategy = IDLValue::Variant(VariantValue(Box::new(field("Callback", strategy)), 0));
    let response = record(vec![
        field("status_code", IDLValue::Nat16(200)),
        field("headers", IDLValue::Vec(vec![])),
        field("body", IDLValue::Blob(b"first ".to_vec())),
        field("streaming_strategy", IDLValue::Opt(Box::new(strategy))),
    ]);
    IDLArgs::new(&[response]).to_bytes().expect("encodes")
}

#[derive(CandidType)]
struct Token {
    page: u64,
}

#[derive(CandidType)]
struct Chunk {
    body: Vec<u8>,
    token: Option<Token>,
}

#[test]
fn a_streamed_body_is_followed_to_its_end_and_an_endless_one_is_cut_off() {
    let chunk = |more: bool| {
        encode(&Chunk {
            body: b"second".to_vec(),
            token: more.then_some(Token { page: 8 }),
        })
    };
    for (more, status) in [(false, 200), (true, 502)] {
        let (_pic, canister, port) = live(|id| {
            replying(&[
                ("canister_query http_request", &streaming(id)),
                ("canister_query stream", &chunk(more)),
            ])
        });
        let answer = get(port, &format!("/?canisterId={canister}"), None);
        assert_eq!(answer.status().as_u16(), status);
        let text = answer.text().expect("text");
        let expected = if more { "does not end" } else { "first second" };
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_served_gets_a_status_and_a_reason() {
    let (_pic, canister, port) = live(|_| {
        replying(&[
            ("canister_query http_request", b"not candid"),
            ("canister_query x", b""),
        ])
    });
    let absent = Principal::from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xe0, 0, 0x99, 1, 1]);
    let cases = [
        ("/".to_owned(), 400, "names no canister"),
        ("/?canisterId=junk".to_owned(), 400, "junk"),
        (format!("/?canisterId={canister}"), 502, "no HTTP response"),
        (format!("/?canisterId={absent}"), 404, "cannot answer"),
        ("/api/v9/status".to_owned(), 404, "v9"),
    ];
    for (path, status, named) in cases {
        let answer = get(port, &path, None);
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let text = answer.text().expect("text");
        assert!(text.contains(named), "{path}: {text}");
    }
    let too_large = Client::new()
        .post(format!("http://127.0.0.1:{port}/?canisterId={canister}"))
        .body(vec![0; 2_000_001])
        .send()
        .expect("the gateway answers");
    assert_eq!(too_large.status().as_u16(), 413);
}

#[test]
fn a_canister_without_http_request_says_so() {
    let (_pic, canister, port) = live(|_| replying(&[("canister_query x", b"")]));
    let answer = get(port, &format!("/?canisterId={canister}"), None);
    assert_eq!(answer.status().as_u16(), 501);
    let text = answer.text().expect("text");
    assert!(text.contains("http_request"), "{text}");
}

#[test]
fn gateways_are_listed_stopped_and_tell_the_topology() {
    let (mut pic, canister, port) = live(|_| replying(&[("canister_query x", b"")]));
    let url = format!("http://127.0.0.1:{port}/");
    let id = pocket_ic::get_default_effective_canister_id(url).expect("the topology");
    let subnet = pic.topology().get_subnet(id);
    assert_eq!(subnet, pic.get_subnet(canister));
    let listed = reqwest::blocking::get(pic.get_server_url().join("http_gateway").expect("a URL"));
    let listed: serde_json::Value = listed.expect("answers").json().expect("JSON");
    let ours = |listed: &serde_json::Value| {
        let gateways = listed.as_array().expect("a list");
        gateways.iter().any(|gateway| gateway["port"] == port)
    };
    assert!(ours(&listed), "{listed}");
    assert!(pic.auto_progress_enabled());
    pic.stop_live();
    assert!(!pic.auto_progress_enabled());
    let listed = reqwest::blocking::get(pic.get_server_url().join("http_gateway").expect("a URL"));
    assert!(!ours(&listed.expect("answers").json().expect("JSON")));
}

#[test]
fn an_instance_is_created_with_its_gateway_and_without_progress_of_its_own() {
    let pic = builder()
        .with_application_subnet()
        .with_http_gateway(InstanceHttpGatewayConfig {
            ip_addr: None,
            port: None,
            domains: None,
            https_config: None,
            domain_custom_provider_local_file: None,
        })
        .build();
    let port = pic.url().expect("it has a gateway").port().expect("a port");
    let canister = pic.create_canister();
    pic.add_cycles(canister, 10_000_000_000_000);
    let page = response(200, "hello", false);
    let module = replying(&[("canister_query http_request", &page)]);
    pic.install_canister(canister, module, vec![], None);
    let answer = get(port, &format!("/?canisterId={canister}"), None);
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.text().expect("text"), "hello");
    assert!(!pic.auto_progress_enabled());
}
