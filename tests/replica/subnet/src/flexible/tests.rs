use super::result::Failure;
use super::*;

/// Plenty for any response here.
const ALLOWANCE: u128 = 1_000_000_000_000;

fn committee(min_responses: u32, max_responses: u32, total_requests: u32) -> Committee {
    Committee {
        counts: ReplicationCounts {
            min_responses,
            max_responses,
            total_requests,
        },
        fees: Fees::application(13),
        allowance: ALLOWANCE,
    }
}

fn response(content: Answer) -> NodeResponse {
    NodeResponse {
        node: Principal::management_canister(),
        content,
        spent: 1_000,
    }
}

fn reply(body_bytes: usize) -> NodeResponse {
    let result = HttpRequestResult {
        status: 200_u16.into(),
        headers: Vec::new(),
        body: vec![7; body_bytes],
    };
    response(Answer::Reply(candid::encode_one(result).expect("encodes")))
}

fn reject(message: &str) -> NodeResponse {
    response(Answer::Reject {
        code: RejectCode::SysTransient,
        message: message.to_owned(),
    })
}

fn sizes(decision: Option<Decision>) -> Vec<usize> {
    match decision.expect("decided").result {
        FlexibleResult::Ok(replies) => replies.iter().map(|reply| reply.body.len()).collect(),
        FlexibleResult::Err(failure) => panic!("{failure:?}"),
    }
}

fn failure(decision: Option<Decision>) -> Failure {
    match decision.expect("decided").result {
        FlexibleResult::Ok(replies) => panic!("{} replies", replies.len()),
        FlexibleResult::Err(failure) => failure,
    }
}

#[test]
fn the_smallest_replies_are_delivered_and_at_most_as_many_as_wanted() {
    let seen = vec![reply(3), reject("no"), reply(1), reply(2)];
    assert_eq!(sizes(committee(1, 2, 4).decide(seen.clone())), [1, 2]);
    assert_eq!(sizes(committee(3, 4, 4).decide(seen)), [1, 2, 3]);
}

#[test]
fn too_few_replies_decide_nothing_while_other_nodes_may_respond() {
    assert!(committee(3, 4, 4).decide(vec![reply(1)]).is_none());
    assert!(committee(3, 4, 4).decide(vec![]).is_none());
    // One reject is within the slack.
    assert!(committee(3, 4, 4).decide(vec![reject("no")]).is_none());
}

#[test]
fn more_rejects_than_the_slack_end_the_outcall() {
    let seen = vec![reject("a"), reply(1), reject("b"), reply(1)];
    let failure = failure(committee(3, 4, 4).decide(seen));
    assert_eq!(
        failure.global_error,
        Some(GlobalError::TooManyRejects(Reserved))
    );
    assert_eq!(failure.node_details.len(), 2);
    assert_eq!(failure.message, "Too many rejects: 2 responses are rejects");
}

#[test]
fn replies_beyond_the_needed_ones_are_left_out_of_a_full_block() {
    let seen = vec![reply(900_000), reply(900_000), reply(900_000)];
    assert_eq!(sizes(committee(1, 3, 3).decide(seen)).len(), 2);
}

#[test]
fn needed_replies_that_fit_no_block_end_the_outcall() {
    let seen = vec![reply(900_000); 3];
    let failure = failure(committee(3, 3, 3).decide(seen));
    assert_eq!(
        failure.global_error,
        Some(GlobalError::ResponsesTooLarge(Reserved))
    );
    assert_eq!(failure.node_details.len(), 3);
    let expected = "even the smallest 3 (= 3 min_responses - 0 unseen) of 3 OK responses";
    assert!(failure.message.contains(expected), "{}", failure.message);
    // A node that has not responded might still respond with little.
    let unseen = committee(3, 3, 4).decide(vec![reply(900_000); 3]);
    assert!(unseen.is_none());
}

#[test]
fn a_payment_that_covers_no_delivery_ends_the_outcall() {
    let bytes = content_bytes(&reply(100).content);
    // (600 + 10 per node) for each of 13 nodes and each byte in the block.
    let cost = u128::from(bytes + 181) * (600 + 10 * 13) * 13;
    let with = |allowance| {
        let poor = Committee {
            allowance,
            ..committee(1, 1, 1)
        };
        poor.decide(vec![reply(100)])
    };
    let enough = with(cost + 1_000).expect("decided");
    assert_eq!(enough.spent, cost + 1_000);
    assert_eq!(sizes(Some(enough)), [100]);
    let short = with(cost + 999).expect("decided");
    assert_eq!(short.spent, 1_000, "nothing is delivered");
    let failure = failure(Some(short));
    assert_eq!(
        failure.global_error,
        Some(GlobalError::OutOfCycles(Reserved))
    );
    assert!(
        failure.message.starts_with("Out of cycles: 1 of"),
        "{}",
        failure.message
    );
}

#[test]
fn a_reply_that_is_no_response_is_never_delivered() {
    let odd = response(Answer::Reply(b"no candid".to_vec()));
    assert!(committee(1, 1, 1).decide(vec![odd]).is_none());
}

#[test]
fn nodes_of_a_committee_have_ids_of_their_own() {
    let subnet = Principal::management_canister();
    assert_ne!(node_id(&subnet, 0), node_id(&subnet, 1));
}
