//! Flexible HTTP outcalls: the published Candid types on the canister's side, the unmodified `pocket-ic`
//! 16 client on the mocking side.

use crate::outcalls::{
    CYCLES, NODES, make_by, management_call, mock, only, reply, text, with_caller,
};
use crate::support::refusal;
use candid::{Decode, Encode, Func, Principal, Reserved};
use ic_management_canister_types_10::{
    FlexibleHttpGlobalError, FlexibleHttpRequestArgs, FlexibleHttpRequestErr,
    FlexibleHttpRequestResult, HttpMethod, ReplicationCounts, TransformContext, TransformFunc,
};
use pocket_ic::PocketIc;
use pocket_ic::common::rest::{
    CanisterHttpMethod, CanisterHttpPricingVersion, CanisterHttpReject, CanisterHttpReplication,
    CanisterHttpRequest, CanisterHttpResponse, MockFlexibleCanisterHttpResponse, RawMessageId,
};
use std::time::Duration;

const METHOD: &str = "flexible_http_request";

fn request(counts: Option<(u32, u32, u32)>) -> FlexibleHttpRequestArgs {
    FlexibleHttpRequestArgs {
        url: "https://example.org/price".to_owned(),
        replication: counts.map(|(min_responses, max_responses, total_requests)| {
            ReplicationCounts {
                min_responses,
                max_responses,
                total_requests,
            }
        }),
        ..FlexibleHttpRequestArgs::default()
    }
}

fn make(pic: &PocketIc, canister: Principal, args: &FlexibleHttpRequestArgs) -> RawMessageId {
    make_by(pic, canister, METHOD, &Encode!(args).expect("encodes"))
}

fn reject(message: &str) -> CanisterHttpResponse {
    CanisterHttpResponse::CanisterHttpReject(CanisterHttpReject {
        reject_code: 2,
        message: message.to_owned(),
    })
}

fn respond(pic: &PocketIc, request: &CanisterHttpRequest, responses: Vec<CanisterHttpResponse>) {
    pic.mock_flexible_canister_http_response(MockFlexibleCanisterHttpResponse {
        subnet_id: request.subnet_id,
        request_id: request.request_id,
        responses,
    });
}

fn outcome(pic: &PocketIc, message: RawMessageId) -> FlexibleHttpRequestResult {
    let reply = pic.await_call(message).expect("replied");
    Decode!(&reply, FlexibleHttpRequestResult)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&reply)))
}

/// Makes an outcall with these counts and answers it.
fn answered(
    counts: (u32, u32, u32),
    responses: Vec<CanisterHttpResponse>,
) -> FlexibleHttpRequestResult {
    let (pic, canister) = with_caller();
    let message = make(&pic, canister, &request(Some(counts)));
    respond(&pic, &only(&pic), responses);
    assert!(pic.get_canister_http().is_empty(), "it is answered");
    outcome(&pic, message)
}

fn bodies(result: FlexibleHttpRequestResult) -> Vec<Vec<u8>> {
    match result {
        FlexibleHttpRequestResult::Ok(replies) => {
            replies.into_iter().map(|reply| reply.body).collect()
        }
        FlexibleHttpRequestResult::Err(error) => panic!("{error:?}"),
    }
}

fn error(result: FlexibleHttpRequestResult) -> FlexibleHttpRequestErr {
    match result {
        FlexibleHttpRequestResult::Ok(replies) => panic!("{} replies", replies.len()),
        FlexibleHttpRequestResult::Err(error) => error,
    }
}

#[test]
fn a_waiting_outcall_is_listed_with_its_committee() {
    let (pic, canister) = with_caller();
    let args = FlexibleHttpRequestArgs {
        method: HttpMethod::PATCH,
        ..request(Some((2, 2, 2)))
    };
    make(&pic, canister, &args);
    let waiting = only(&pic);
    assert_eq!(waiting.http_method, CanisterHttpMethod::PATCH);
    assert_eq!(
        waiting.pricing_version,
        CanisterHttpPricingVersion::PayAsYouGo
    );
    assert_eq!(
        waiting.replication,
        CanisterHttpReplication::Flexible {
            total_requests: 2,
            min_responses: 2,
            max_responses: 2,
        }
    );
    let wrong_mock = refusal(|| {
        pic.mock_canister_http_response(mock(&waiting, reply(b"42"), vec![]));
    });
    assert!(wrong_mock.contains("is flexible"), "{wrong_mock}");
    let too_many = refusal(|| respond(&pic, &waiting, vec![reply(b"42"); 3]));
    assert!(too_many.contains("3 responses"), "{too_many}");
    respond(&pic, &waiting, vec![reply(b"42"); 2]);
    let twice = refusal(|| respond(&pic, &waiting, vec![reply(b"42"); 2]));
    assert!(twice.contains("no outcall"), "{twice}");
}

#[test]
fn differing_replies_are_delivered_smallest_first() {
    let replies = vec![reply(b"ccc"), reply(b"a"), reply(b"bb"), reject("late")];
    let delivered = bodies(answered((1, 2, 4), replies));
    assert_eq!(delivered, [b"a".to_vec(), b"bb".to_vec()]);
}

#[test]
fn without_counts_two_thirds_of_the_subnet_have_to_reply() {
    let (pic, canister) = with_caller();
    let message = make(&pic, canister, &request(None));
    let nodes = u32::try_from(NODES).expect("few");
    let waiting = only(&pic);
    assert_eq!(
        waiting.replication,
        CanisterHttpReplication::Flexible {
            total_requests: nodes,
            min_responses: 9,
            max_responses: nodes,
        }
    );
    respond(&pic, &waiting, vec![reply(b"42"); 9]);
    assert_eq!(bodies(outcome(&pic, message)).len(), 9);
}

#[test]
fn every_reply_goes_through_the_transform_function() {
    let (pic, canister) = with_caller();
    // A function that does not exist rejects for each node.
    let args = FlexibleHttpRequestArgs {
        transform: Some(TransformContext {
            function: TransformFunc(Func {
                principal: canister,
                method: "no such method".to_owned(),
            }),
            context: vec![],
        }),
        ..request(Some((2, 2, 2)))
    };
    let message = make(&pic, canister, &args);
    respond(&pic, &only(&pic), vec![reply(b"42"); 2]);
    let error = error(outcome(&pic, message));
    for detail in &error.node_details {
        let text = &detail.error.as_ref().expect("an error").message;
        assert!(text.contains("no such method"), "{text}");
    }
    assert_eq!(error.node_details.len(), 2);
}

#[test]
fn too_many_rejects_are_named_by_node() {
    let responses = vec![reject("Connection refused"), reply(b"42"), reject("Gone")];
    let error = error(answered((2, 3, 3), responses));
    assert_eq!(
        error.global_error,
        Some(FlexibleHttpGlobalError::TooManyRejects(Reserved))
    );
    assert_eq!(error.message, "Too many rejects: 2 responses are rejects");
    let mut said: Vec<(String, String)> = error
        .node_details
        .iter()
        .map(|detail| detail.error.clone().expect("an error"))
        .map(|error| (error.code, error.message))
        .collect();
    said.sort();
    let code = || "SysTransient".to_owned();
    assert_eq!(
        said,
        [
            (code(), "Connection refused".to_owned()),
            (code(), "Gone".to_owned())
        ]
    );
    assert_ne!(error.node_details[0].node_id, error.node_details[1].node_id);
}

#[test]
fn replies_that_fit_no_block_together_are_too_large() {
    let error = error(answered((2, 2, 2), vec![reply(&[7; 1_500_000]); 2]));
    assert_eq!(
        error.global_error,
        Some(FlexibleHttpGlobalError::ResponsesTooLarge(Reserved))
    );
}

#[test]
fn a_committee_that_decides_nothing_times_out() {
    let (pic, canister) = with_caller();
    let message = make(&pic, canister, &request(Some((3, 4, 4))));
    respond(&pic, &only(&pic), vec![reply(b"42"), reject("Gone")]);
    pic.tick();
    assert!(pic.get_canister_http().is_empty());
    pic.advance_time(Duration::from_secs(61));
    let error = error(outcome(&pic, message));
    assert_eq!(
        error.global_error,
        Some(FlexibleHttpGlobalError::Timeout(Reserved))
    );
    assert_eq!(error.message, "Flexible HTTP request timed out");
    assert!(error.node_details.is_empty());
}

#[test]
fn counts_the_subnet_cannot_serve_reject_the_call() {
    let (pic, canister) = with_caller();
    let message = make(&pic, canister, &request(Some((1, 1, 14))));
    let reply = pic.await_call(message).expect("replied");
    let expected = "total_requests (14) must not exceed the number of available nodes (13)";
    assert!(text(&reply).contains(expected), "{}", text(&reply));
}

#[test]
fn the_base_fee_is_needed_and_what_the_nodes_leave_comes_back() {
    let (pic, canister) = with_caller();
    let args = request(Some((2, 2, 2)));
    // 13 nodes, 25 bytes asked, 2 responses needed.
    let base: u64 = 13 * (1_000_000 + 50 * 25 + 90_000 * 13 + 2 * (2_000 * 13 + 100_000));
    let argument = Encode!(&args).expect("encodes");
    let call = management_call(METHOD, &argument, base - 1);
    let refused = pic
        .update_call(canister, Principal::anonymous(), "call", call)
        .expect("replied");
    assert!(text(&refused).contains("cycles are required"));

    let before = pic.cycle_balance(canister);
    let message = make(&pic, canister, &args);
    assert!(before - pic.cycle_balance(canister) >= u128::from(CYCLES));
    respond(&pic, &only(&pic), vec![reply(&[7; 1_000]); 2]);
    assert_eq!(bodies(outcome(&pic, message)).len(), 2);
    let paid = before - pic.cycle_balance(canister);
    // At least a thousand bytes received, passed on to 13 nodes, and put into a block, for each of two.
    let bytes = 2 * 1_000 * (50 + 50 * 13 + 13 * (600 + 10 * 13));
    assert!(paid > u128::from(base) + bytes, "{paid}");
    // Messages and longer headers take the rest; the payment was 100 B.
    assert!(paid < u128::from(base) + 2 * bytes + 100_000_000, "{paid}");
}
