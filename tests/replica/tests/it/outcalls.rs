//! Canister HTTP outcalls, answered by the unmodified `pocket-ic` 16 client.

use crate::support::{builder, refusal};
use candid::{Decode, Encode, Func, Nat, Principal};
use ic_management_canister_types::{
    HttpHeader, HttpRequestArgs, HttpRequestResult, TransformArgs, TransformContext, TransformFunc,
};
use pocket_ic::PocketIc;
use pocket_ic::common::rest::{
    CanisterHttpHeader, CanisterHttpMethod, CanisterHttpReject, CanisterHttpReplication,
    CanisterHttpReply, CanisterHttpRequest, CanisterHttpResponse, MockCanisterHttpResponse,
    MockFlexibleCanisterHttpResponse, RawMessageId,
};
use std::time::Duration;

/// More than any outcall here costs.
pub(crate) const CYCLES: u64 = 100_000_000_000;
/// Nodes that answer an outcall of an application subnet.
pub(crate) const NODES: usize = 13;

/// Returns an instance with a canister that makes any call it is told to.
pub(crate) fn with_caller() -> (PocketIc, Principal) {
    let pic = builder().with_application_subnet().build();
    let canister = pic.create_canister();
    pic.add_cycles(canister, 10_000_000_000_000);
    let module = wat::parse_str(include_str!("../../subnet/src/tests/probe.wat"));
    let module = module.expect("the module is well formed");
    pic.install_canister(canister, module, vec![], None);
    (pic, canister)
}

pub(crate) fn request() -> HttpRequestArgs {
    HttpRequestArgs {
        url: "https://example.org/price".to_owned(),
        headers: vec![HttpHeader {
            name: "accept".to_owned(),
            value: "text/plain".to_owned(),
        }],
        body: Some(b"question".to_vec()),
        max_response_bytes: Some(1_000),
        ..HttpRequestArgs::default()
    }
}

fn with_transform(canister: Principal, method: &str) -> HttpRequestArgs {
    HttpRequestArgs {
        transform: Some(TransformContext {
            function: TransformFunc(Func {
                principal: canister,
                method: method.to_owned(),
            }),
            context: b"context".to_vec(),
        }),
        ..request()
    }
}

/// Lets the canister make the outcall, which then waits for an answer.
fn make(pic: &PocketIc, canister: Principal, args: &HttpRequestArgs) -> RawMessageId {
    let argument = Encode!(args).expect("encodes");
    make_by(pic, canister, "http_request", &argument)
}

/// Lets the canister call a method of the management canister that makes an outcall.
pub(crate) fn make_by(
    pic: &PocketIc,
    canister: Principal,
    method: &str,
    argument: &[u8],
) -> RawMessageId {
    let message = pic
        .submit_call(
            canister,
            Principal::anonymous(),
            "call",
            management_call(method, argument, CYCLES),
        )
        .expect("accepted");
    pic.tick();
    pic.tick();
    message
}

/// Returns the argument with which the canister calls a method of the management canister.
pub(crate) fn management_call(method: &str, argument: &[u8], cycles: u64) -> Vec<u8> {
    let mut call = vec![0, u8::try_from(method.len()).expect("short")];
    call.extend_from_slice(method.as_bytes());
    call.extend_from_slice(&cycles.to_le_bytes());
    call.extend_from_slice(argument);
    call
}

pub(crate) fn only(pic: &PocketIc) -> CanisterHttpRequest {
    let mut waiting = pic.get_canister_http();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    waiting.remove(0)
}

pub(crate) fn reply(body: &[u8]) -> CanisterHttpResponse {
    CanisterHttpResponse::CanisterHttpReply(CanisterHttpReply {
        status: 200,
        headers: vec![CanisterHttpHeader {
            name: "server".to_owned(),
            value: "mock".to_owned(),
        }],
        body: body.to_vec(),
    })
}

pub(crate) fn mock(
    request: &CanisterHttpRequest,
    response: CanisterHttpResponse,
    additional_responses: Vec<CanisterHttpResponse>,
) -> MockCanisterHttpResponse {
    MockCanisterHttpResponse {
        subnet_id: request.subnet_id,
        request_id: request.request_id,
        response,
        additional_responses,
    }
}

/// Makes an outcall, answers it, and returns what the canister replied.
fn answered(
    args: impl FnOnce(Principal) -> HttpRequestArgs,
    response: CanisterHttpResponse,
    additional_responses: Vec<CanisterHttpResponse>,
) -> Vec<u8> {
    let (pic, canister) = with_caller();
    let message = make(&pic, canister, &args(canister));
    pic.mock_canister_http_response(mock(&only(&pic), response, additional_responses));
    assert!(pic.get_canister_http().is_empty(), "it is answered");
    pic.await_call(message).expect("replied")
}

pub(crate) fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).into_owned()
}

#[test]
fn a_waiting_outcall_is_listed_with_all_it_asks_for() {
    let (pic, canister) = with_caller();
    make(&pic, canister, &request());
    let waiting = only(&pic);
    let subnet = pic.topology().get_app_subnets()[0];
    assert_eq!(waiting.subnet_id, subnet);
    assert_eq!(waiting.http_method, CanisterHttpMethod::GET);
    assert_eq!(waiting.url, "https://example.org/price");
    assert_eq!(waiting.headers.len(), 1);
    assert_eq!(waiting.headers[0].value, "text/plain");
    assert_eq!(waiting.body, b"question");
    assert_eq!(waiting.max_response_bytes, Some(1_000));
    assert_eq!(
        waiting.replication,
        CanisterHttpReplication::FullyReplicated
    );
}

#[test]
fn the_mocked_response_reaches_the_canister() {
    let reply = answered(|_| request(), reply(b"42"), vec![]);
    let result = Decode!(&reply, HttpRequestResult).expect("a response");
    assert_eq!(result.status, Nat::from(200_u16));
    assert_eq!(result.headers[0].value, "mock");
    assert_eq!(result.body, b"42");
}

#[test]
fn the_transform_function_sees_response_and_context_and_its_reply_is_the_answer() {
    let reply = answered(
        |canister| with_transform(canister, "echo_query"),
        reply(b"42"),
        vec![],
    );
    let argument = Decode!(&reply, TransformArgs).expect("the echoed argument");
    assert_eq!(argument.context, b"context");
    assert_eq!(argument.response.body, b"42");
}

#[test]
fn a_transform_function_that_does_not_exist_rejects_the_outcall() {
    let reply = answered(
        |canister| with_transform(canister, "no such method"),
        reply(b"42"),
        vec![],
    );
    assert!(text(&reply).contains("no such method"), "{}", text(&reply));
}

#[test]
fn a_transform_function_of_another_canister_is_refused_at_once() {
    let (pic, canister) = with_caller();
    let args = with_transform(Principal::management_canister(), "echo_query");
    let message = make(&pic, canister, &args);
    assert!(pic.get_canister_http().is_empty());
    let reply = pic.await_call(message).expect("replied");
    assert!(
        text(&reply).contains("transform principal id"),
        "{}",
        text(&reply)
    );
}

#[test]
fn rejections_and_responses_that_are_too_large_reach_the_canister_as_rejections() {
    let refused = CanisterHttpResponse::CanisterHttpReject(CanisterHttpReject {
        reject_code: 2,
        message: "Connection refused".to_owned(),
    });
    let rejection = answered(|_| request(), refused, vec![]);
    assert!(
        text(&rejection).contains("Connection refused"),
        "{}",
        text(&rejection)
    );
    // The headers leave 990 bytes of the 1,000.
    let rejection = answered(|_| request(), reply(&[7; 991]), vec![]);
    let expected = "Http body exceeds size limit of 1000 bytes.";
    assert!(text(&rejection).contains(expected), "{}", text(&rejection));
    let accepted = answered(|_| request(), reply(&[7; 990]), vec![]);
    assert!(Decode!(&accepted, HttpRequestResult).is_ok());
}

#[test]
fn two_thirds_of_the_nodes_have_to_agree() {
    // Of thirteen nodes, four may be faulty.
    let others = |agreeing: usize| {
        let mut others = vec![reply(b"42"); agreeing - 1];
        others.resize(NODES - 1, reply(b"41"));
        others
    };
    let agreed = answered(|_| request(), reply(b"42"), others(9));
    let result = Decode!(&agreed, HttpRequestResult).expect("a response");
    assert_eq!(result.body, b"42");
    let divided = answered(|_| request(), reply(b"42"), others(8));
    let expected = "No consensus could be reached. Replicas had different responses.";
    assert!(text(&divided).contains(expected), "{}", text(&divided));
    // A transform function removes what differs: `load` replies the canister's own, empty text.
    let transformed = answered(
        |canister| with_transform(canister, "load"),
        reply(b"42"),
        others(8),
    );
    assert_eq!(text(&transformed), "");
}

#[test]
fn an_outcall_that_is_not_replicated_takes_one_nodes_response() {
    let alone = HttpRequestArgs {
        is_replicated: Some(false),
        ..request()
    };
    let (pic, canister) = with_caller();
    let message = make(&pic, canister, &alone);
    let waiting = only(&pic);
    assert_eq!(waiting.replication, CanisterHttpReplication::NonReplicated);
    let others = vec![reply(b"41"); NODES - 1];
    pic.mock_canister_http_response(mock(&waiting, reply(b"42"), others));
    let reply = pic.await_call(message).expect("replied");
    let result = Decode!(&reply, HttpRequestResult).expect("a response");
    assert_eq!(result.body, b"42");
}

#[test]
fn an_outcall_that_nobody_answers_times_out() {
    let (pic, canister) = with_caller();
    let message = make(&pic, canister, &request());
    pic.advance_time(Duration::from_secs(59));
    pic.tick();
    only(&pic);
    pic.advance_time(Duration::from_secs(2));
    pic.tick();
    assert!(pic.get_canister_http().is_empty());
    let reply = pic.await_call(message).expect("replied");
    let expected = "Canister http request timed out";
    assert!(text(&reply).contains(expected), "{}", text(&reply));
}

#[test]
fn a_response_that_arrives_after_the_time_out_is_too_late() {
    let (pic, canister) = with_caller();
    let message = make(&pic, canister, &request());
    pic.mock_canister_http_response(mock(&only(&pic), reply(b"42"), vec![]));
    pic.advance_time(Duration::from_secs(61));
    let reply = pic.await_call(message).expect("replied");
    let expected = "Canister http request timed out";
    assert!(text(&reply).contains(expected), "{}", text(&reply));
}

#[test]
fn answers_that_fit_no_outcall_are_refused() {
    let (pic, canister) = with_caller();
    make(&pic, canister, &request());
    let waiting = only(&pic);
    let too_few = refusal(|| {
        let others = vec![reply(b"42")];
        pic.mock_canister_http_response(mock(&waiting, reply(b"42"), others));
    });
    let expected = "InvalidMockCanisterHttpResponses((2, 13))";
    assert!(too_few.contains(expected), "{too_few}");
    let bad_code = refusal(|| {
        let rejection = CanisterHttpResponse::CanisterHttpReject(CanisterHttpReject {
            reject_code: 7,
            message: String::new(),
        });
        pic.mock_canister_http_response(mock(&waiting, rejection, vec![]));
    });
    assert!(bad_code.contains("reject code 7"), "{bad_code}");
    let flexible = refusal(|| {
        pic.mock_flexible_canister_http_response(MockFlexibleCanisterHttpResponse {
            subnet_id: waiting.subnet_id,
            request_id: waiting.request_id,
            responses: vec![],
        });
    });
    assert!(flexible.contains("not flexible"), "{flexible}");
    pic.mock_canister_http_response(mock(&waiting, reply(b"42"), vec![]));
    let twice = refusal(|| {
        pic.mock_canister_http_response(mock(&waiting, reply(b"42"), vec![]));
    });
    assert!(twice.contains("no outcall"), "{twice}");
}
