use super::*;
use candid::Encode;

fn canister(n: u8) -> Principal {
    Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, n, 1, 1])
}

/// Name, scope of the URL, target, method, argument, and whether the request is accepted.
type Case<'a> = (&'a str, Scope, Principal, &'a str, &'a [u8], bool);

#[test]
fn the_url_must_name_the_canister_the_request_is_about() {
    let management = Principal::management_canister();
    let about_one = Encode!(&AboutCanister {
        canister_id: canister(1)
    })
    .expect("encodes");
    let target_one = Encode!(&AboutTarget {
        target_canister: canister(1)
    })
    .expect("encodes");
    let cases: [Case; 9] = [
        (
            "own canister",
            Scope::Canister(canister(1)),
            canister(1),
            "get",
            &[],
            true,
        ),
        (
            "other canister",
            Scope::Canister(canister(2)),
            canister(1),
            "get",
            &[],
            false,
        ),
        (
            "management, same id",
            Scope::Canister(canister(1)),
            management,
            "start_canister",
            &about_one,
            true,
        ),
        (
            "management, other id",
            Scope::Canister(canister(2)),
            management,
            "start_canister",
            &about_one,
            false,
        ),
        (
            "chunked install",
            Scope::Canister(canister(2)),
            management,
            "install_chunked_code",
            &target_one,
            false,
        ),
        (
            "creation",
            Scope::Canister(canister(2)),
            management,
            "provisional_create_canister_with_cycles",
            &[],
            true,
        ),
        (
            "undecodable",
            Scope::Canister(canister(2)),
            management,
            "start_canister",
            b"junk",
            true,
        ),
        (
            "management by subnet",
            Scope::Subnet(canister(9)),
            management,
            "raw_rand",
            &[],
            true,
        ),
        (
            "canister by subnet",
            Scope::Subnet(canister(9)),
            canister(1),
            "get",
            &[],
            false,
        ),
    ];
    for (name, scope, canister_id, method, arg, accepted) in cases {
        assert_eq!(
            check(scope, canister_id, method, arg).is_ok(),
            accepted,
            "{name}"
        );
    }
}
