use super::*;

const NODES: u32 = 13;

fn args(method: OutcallMethod, counts: Option<(u32, u32, u32)>) -> OutcallArgs {
    OutcallArgs {
        url: "https://example.org/".to_owned(),
        max_response_bytes: None,
        method,
        headers: Vec::new(),
        body: None,
        transform: None,
        is_replicated: None,
        replication: counts.map(|(min_responses, max_responses, total_requests)| {
            ReplicationCounts {
                min_responses,
                max_responses,
                total_requests,
            }
        }),
    }
}

#[test]
fn a_committee_is_the_whole_subnet_unless_told_otherwise() {
    let counts = |(min_responses, max_responses, total_requests)| {
        Ok(Replication::Flexible(ReplicationCounts {
            min_responses,
            max_responses,
            total_requests,
        }))
    };
    let of = |asked| args(OutcallMethod::Get, asked).replication(FLEXIBLE_HTTP_REQUEST, NODES);
    assert_eq!(of(None), counts((9, 13, 13)));
    assert_eq!(of(Some((0, 0, 1))), counts((0, 0, 1)));
    assert_eq!(of(Some((13, 13, 13))), counts((13, 13, 13)));
}

#[test]
fn counts_that_contradict_each_other_are_refused() {
    for (asked, expected) in [
        ((0, 0, 0), "total_requests (0) must be at least 1"),
        (
            (1, 1, 14),
            "total_requests (14) must not exceed the number of available nodes (13)",
        ),
        (
            (3, 2, 4),
            "min_responses (3) must not exceed max_responses (2)",
        ),
        (
            (1, 3, 2),
            "max_responses (3) must not exceed total_requests (2)",
        ),
    ] {
        let refusal =
            args(OutcallMethod::Get, Some(asked)).replication(FLEXIBLE_HTTP_REQUEST, NODES);
        assert_eq!(refusal, Err(expected.to_owned()));
    }
}

#[test]
fn methods_that_change_the_server_need_a_known_number_of_requests() {
    for method in [
        OutcallMethod::Put,
        OutcallMethod::Delete,
        OutcallMethod::Patch,
    ] {
        let flexible = |counts| args(method, counts).replication(FLEXIBLE_HTTP_REQUEST, NODES);
        assert!(flexible(None).is_err());
        assert!(flexible(Some((1, 2, 2))).is_err());
        assert!(flexible(Some((2, 2, 2))).is_ok());
        let plain = |is_replicated| {
            let args = OutcallArgs {
                is_replicated,
                ..args(method, None)
            };
            args.replication(HTTP_REQUEST, NODES)
        };
        assert!(plain(None).is_err());
        assert_eq!(plain(Some(false)), Ok(Replication::Single));
    }
}

#[test]
fn headers_and_body_are_bounded() {
    let caller = Principal::management_canister();
    let header = |name: usize, value: usize| HttpHeader {
        name: "n".repeat(name),
        value: "v".repeat(value),
    };
    let with = |headers: Vec<HttpHeader>, body: usize| {
        let args = OutcallArgs {
            headers,
            body: Some(vec![0; body]),
            ..args(OutcallMethod::Get, None)
        };
        args.check_bounds(&caller)
    };
    assert_eq!(with(vec![header(8_192, 8_192); 3], 0), Ok(()));
    assert_eq!(with(vec![header(1, 1); 64], 2_000_000 - 128), Ok(()));
    for (refusal, expected) in [
        (with(vec![header(8_193, 0)], 0), "name 8193 exceeds 8192"),
        (with(vec![header(0, 8_193)], 0), "value 8193 exceeds 8192"),
        (with(vec![header(0, 0); 65], 0), "headers 65 exceeds 64"),
        (with(vec![header(7_000, 0); 8], 0), "56000 exceeds 49152"),
        (with(vec![], 2_000_001), "2000001 exceeds 2000000"),
    ] {
        let text = refusal.expect_err("too much");
        assert!(text.contains(expected), "{text}");
    }
}
