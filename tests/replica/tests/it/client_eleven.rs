//! The `pocket-ic` 11 client.

use crate::outcalls::{CYCLES, management_call, request};
use crate::support::{SERVER, counter, number};
use candid::{Decode, Encode, Principal};
use ic_management_canister_types::HttpRequestResult;
use pocket_ic_11::common::rest::{
    CanisterHttpReply, CanisterHttpResponse, MockCanisterHttpResponse, RawEffectivePrincipal,
};
use pocket_ic_11::{PocketIc, PocketIcBuilder};

/// Returns an instance on a server whose name tells the client its version.
fn instance() -> PocketIc {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = dir.path().join("pocket-ic-server-11");
    std::os::unix::fs::symlink(SERVER, &server).expect("linked");
    PocketIcBuilder::new()
        .with_server_binary(server)
        .with_bitcoin_subnet()
        .with_application_subnet()
        .build()
}

#[test]
fn a_client_of_version_11_mocks_the_response_to_an_outcall() {
    let pic = instance();
    let canister = pic.create_canister();
    pic.add_cycles(canister, 10_000_000_000_000);
    let module = wat::parse_str(include_str!("../../subnet/src/tests/probe.wat"));
    pic.install_canister(canister, module.expect("well formed"), vec![], None);
    let argument = Encode!(&request()).expect("encodes");
    let call = management_call("http_request", &argument, CYCLES);
    let message = pic
        .submit_call(canister, Principal::anonymous(), "call", call)
        .expect("accepted");
    pic.tick();
    pic.tick();
    let waiting = pic.get_canister_http();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    assert_eq!(waiting[0].url, request().url);
    pic.mock_canister_http_response(MockCanisterHttpResponse {
        subnet_id: waiting[0].subnet_id,
        request_id: waiting[0].request_id,
        response: CanisterHttpResponse::CanisterHttpReply(CanisterHttpReply {
            status: 200,
            headers: vec![],
            body: b"42".to_vec(),
        }),
        additional_responses: vec![],
    });
    let reply = pic.await_call(message).expect("replied");
    let result = Decode!(&reply, HttpRequestResult).expect("a response");
    assert_eq!(result.body, b"42");
}

#[test]
fn a_client_of_version_11_drives_the_server_under_its_own_name() {
    let pic = instance();
    let anonymous = Principal::anonymous();
    let canister = pic.create_canister();
    pic.add_cycles(canister, 10_000_000_000_000);
    pic.install_canister(canister, counter(), vec![], None);
    let reply = pic.update_call(canister, anonymous, "inc", vec![]);
    assert_eq!(number(&reply.expect("replied")), 1);
    let reply = pic.update_call_with_effective_principal(
        canister,
        RawEffectivePrincipal::None,
        anonymous,
        "inc",
        vec![],
    );
    assert_eq!(number(&reply.expect("replied")), 2);
    pic.tick();
    let reply = pic.query_call(canister, anonymous, "get", vec![]);
    assert_eq!(number(&reply.expect("replied")), 2);
    let rejection = pic
        .update_call(canister, anonymous, "boom", vec![])
        .expect_err("traps");
    assert_eq!(
        rejection.error_code,
        pocket_ic_11::ErrorCode::CanisterCalledTrap
    );
    let status = pic.canister_status(canister, None).expect("status");
    assert!(status.module_hash.is_some());
    assert!(pic.topology().get_bitcoin().is_some());
    let id = Principal::from_text("ghsi2-tqaaa-aaaan-aaaca-cai").expect("an id");
    assert_eq!(pic.create_canister_with_id(None, None, id), Ok(id));
}
