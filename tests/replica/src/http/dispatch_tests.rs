use super::*;

#[test]
fn every_version_of_every_path_is_understood_and_others_are_refused() {
    let id = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 1, 1]);
    let canister = Scope::Canister(id);
    let subnet = Scope::Subnet(id);
    let cases = [
        ("v2/status".to_owned(), Some(Operation::Status)),
        (
            format!("v2/canister/{id}/call"),
            Some(Operation::Call(canister, CallMode::Asynchronous)),
        ),
        (
            format!("v3/canister/{id}/call"),
            Some(Operation::Call(canister, CallMode::Synchronous)),
        ),
        (
            format!("v4/canister/{id}/call"),
            Some(Operation::Call(canister, CallMode::Synchronous)),
        ),
        (
            format!("v4/subnet/{id}/call"),
            Some(Operation::Call(subnet, CallMode::Synchronous)),
        ),
        (
            format!("v2/canister/{id}/query"),
            Some(Operation::Query(canister)),
        ),
        (
            format!("v3/subnet/{id}/query"),
            Some(Operation::Query(subnet)),
        ),
        (
            format!("v3/canister/{id}/read_state"),
            Some(Operation::ReadState(canister)),
        ),
        (
            format!("v2/subnet/{id}/read_state"),
            Some(Operation::ReadState(subnet)),
        ),
        (format!("v1/canister/{id}/query"), None),
        (format!("v2/canister/{id}/delete"), None),
        ("v2/canister/not-a-principal/query".to_owned(), None),
        ("v2/canister".to_owned(), None),
        (String::new(), None),
    ];
    for (path, expected) in cases {
        assert_eq!(operation(&path).ok(), expected, "{path}");
    }
}
