//! Answers of the Bitcoin adapter, whole and in pages.

use super::*;
use candid::Deserialize;
use serde_bytes::ByteBuf;

#[derive(CandidType, Deserialize, Debug, PartialEq)]
#[expect(non_camel_case_types, reason = "the names are Candid's")]
enum Response {
    complete {
        blocks: Vec<ByteBuf>,
        next: Vec<ByteBuf>,
    },
    partial {
        partial_block: ByteBuf,
        next: Vec<ByteBuf>,
        remaining_follow_ups: u8,
    },
    follow_up(ByteBuf),
}

fn answered(
    blocks: Vec<Vec<u8>>,
    next: Vec<Vec<u8>>,
) -> (Net, CanisterId, Result<Response, String>) {
    let (mut net, id, message) = waiting_for_blocks(LimitsConfig::default());
    let subnet = net.0.subnet_of(&id).expect("hosted");
    let callback = net.0.consensus_calls(&subnet).expect("subnet")[0].callback;
    let found = Successors { blocks, next };
    net.0
        .answer_with_blocks(&subnet, callback, found)
        .expect("waiting");
    let reply = net.finish(message).expect("the probe replies");
    let response = candid::decode_one(&reply);
    let response = response.map_err(|_| String::from_utf8(reply).expect("a rejection"));
    (net, id, response)
}

fn follow_up(net: &mut Net, id: CanisterId, page: u8) -> Vec<u8> {
    let argument = blocks_call(&SuccessorsRequest::follow_up(page));
    net.update(id, "call", &argument).expect("replied")
}

#[test]
fn blocks_that_fit_come_in_one_response() {
    let (_, _, response) = answered(vec![vec![1; 500], vec![2; 700]], vec![vec![3; 80]]);
    let expected = Response::complete {
        blocks: vec![ByteBuf::from(vec![1; 500]), ByteBuf::from(vec![2; 700])],
        next: vec![ByteBuf::from(vec![3; 80])],
    };
    assert_eq!(response, Ok(expected));
}

#[test]
fn a_large_block_comes_in_pages_of_which_follow_ups_are_answered_without_the_adapter() {
    let block: Vec<u8> = (0..4_500_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut net, id, response) = answered(vec![block.clone()], vec![vec![3; 80]]);
    let Ok(Response::partial {
        partial_block,
        remaining_follow_ups: 2,
        ..
    }) = response
    else {
        panic!("{:?}", response.map(|_| "another response"));
    };
    let mut whole = partial_block.into_vec();
    for page in [0, 1] {
        match candid::decode_one(&follow_up(&mut net, id, page)).expect("a page") {
            Response::follow_up(bytes) => whole.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    assert!(whole == block, "the pages are the block");
    let missing = String::from_utf8(follow_up(&mut net, id, 2)).expect("text");
    assert_eq!(missing, "rejected 4: Page not found.");
}

#[test]
fn a_page_that_was_never_kept_is_refused() {
    let (mut net, id, _) = waiting_for_blocks(LimitsConfig::default());
    let refusal = String::from_utf8(follow_up(&mut net, id, 0)).expect("text");
    assert_eq!(refusal, "rejected 4: Follow up request not found");
}

#[test]
fn blocks_that_do_not_fit_together_are_an_invalid_answer() {
    let (_, _, response) = answered(vec![vec![1; 1_500_000], vec![2; 1_500_000]], vec![]);
    let expected = "rejected 5: Received invalid response from adapter: NotOneBlock";
    assert_eq!(response, Err(expected.to_owned()));
}

#[test]
fn only_a_call_for_blocks_is_answered_with_blocks() {
    let mut net = Net::new(&[SubnetKind::Bitcoin]);
    let id = net.create_as(BITCOIN_CANISTER);
    net.install(id, probe());
    let argument = management_call("bitcoin_send_transaction_internal", 0, &());
    let message = net.submit(user(), id, "call", argument).expect("accepted");
    net.ticks(3);
    let subnet = net.0.subnet_of(&id).expect("hosted");
    let callback = net.0.consensus_calls(&subnet).expect("subnet")[0].callback;
    assert!(matches!(
        net.0
            .answer_with_blocks(&subnet, callback, Successors::default()),
        Err(NetworkError::NotAskedForBlocks(_))
    ));
    net.0
        .answer_consensus_call(&subnet, callback, Ok(b"sent".to_vec()))
        .expect("waiting");
    assert_eq!(text(net.finish(message)), "sent");
}
