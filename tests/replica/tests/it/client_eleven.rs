//! The `pocket-ic` 11 client.

use crate::support::{SERVER, counter, number};
use candid::Principal;
use pocket_ic_11::PocketIcBuilder;
use pocket_ic_11::common::rest::RawEffectivePrincipal;

#[test]
fn a_client_of_version_11_drives_the_server_under_its_own_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let server = dir.path().join("pocket-ic-server-11");
    std::os::unix::fs::symlink(SERVER, &server).expect("linked");
    let pic = PocketIcBuilder::new()
        .with_server_binary(server)
        .with_bitcoin_subnet()
        .with_application_subnet()
        .build();
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
