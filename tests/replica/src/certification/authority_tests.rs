use super::*;
use crate::certification::keys::raw_bls_key;
use ic_certification::LookupResult;

const NOW_NS: u64 = 1_700_000_000_000_000_000;

fn canister(n: u8) -> Principal {
    Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, n, 1, 1])
}

fn authority() -> (Authority, Arc<SubnetKeys>, Arc<SubnetKeys>) {
    let root = Arc::new(SubnetKeys::from_seed(&[1; 32]));
    let other = Arc::new(SubnetKeys::from_seed(&[2; 32]));
    let authority = Authority::new(root.clone());
    authority.set_subnet(root.clone(), vec![(canister(0), canister(9))]);
    authority.set_subnet(other.clone(), vec![(canister(10), canister(19))]);
    (authority, root, other)
}

fn check_signature(certificate: &Certificate, key_der: &[u8]) -> bool {
    let mut message = STATE_ROOT_DOMAIN.to_vec();
    message.extend_from_slice(&certificate.tree.digest());
    let key = raw_bls_key(key_der).expect("a wrapped key");
    ic_verify_bls_signature::verify_bls_signature(&certificate.signature, &message, key).is_ok()
}

fn decode(bytes: &[u8]) -> Certificate {
    serde_cbor::from_slice(bytes).expect("a certificate")
}

#[test]
fn the_root_subnet_signs_without_a_delegation() {
    let (authority, root, _) = authority();
    let bytes = authority
        .certify(root.subnet_id(), TreeBuilder::new(), NOW_NS)
        .expect("known subnet");
    let certificate = decode(&bytes);
    assert!(certificate.delegation.is_none());
    assert!(check_signature(&certificate, authority.root_key_der()));
    assert_eq!(
        certificate.tree.lookup_path([b"time"]),
        LookupResult::Found(&leb128(NOW_NS))
    );
}

#[test]
fn another_subnet_is_vouched_for_by_the_root_with_its_ranges() {
    let (authority, root, other) = authority();
    let bytes = authority
        .certify(other.subnet_id(), TreeBuilder::new(), NOW_NS)
        .expect("known subnet");
    let certificate = decode(&bytes);
    let delegation = certificate.delegation.clone().expect("not the root");
    let vouched = decode(&delegation.certificate);
    assert!(check_signature(&vouched, root.public_key_der()));
    let id = other.subnet_id();
    let key_path: [&[u8]; 3] = [b"subnet", id.as_slice(), b"public_key"];
    let LookupResult::Found(key) = vouched.tree.lookup_path(key_path) else {
        panic!("the delegation names the subnet's key");
    };
    assert!(check_signature(&certificate, key));
    let first = canister(10);
    let shard: [&[u8]; 3] = [b"canister_ranges", id.as_slice(), first.as_slice()];
    let LookupResult::Found(ranges) = vouched.tree.lookup_path(shard) else {
        panic!("the delegation names the ranges");
    };
    let ranges: Vec<CanisterRange> = serde_cbor::from_slice(ranges).expect("pairs");
    assert_eq!(ranges, vec![(canister(10), canister(19))]);
}

#[test]
fn a_delegation_is_renewed_when_time_has_moved_far() {
    let (authority, _, other) = authority();
    let delegation_at = |time_ns| {
        let bytes = authority
            .certify(other.subnet_id(), TreeBuilder::new(), time_ns)
            .expect("known subnet");
        decode(&bytes).delegation.expect("not the root").certificate
    };
    let first = delegation_at(NOW_NS);
    assert_eq!(first, delegation_at(NOW_NS + DELEGATION_MAX_AGE_NS));
    assert_ne!(first, delegation_at(NOW_NS + DELEGATION_MAX_AGE_NS + 1));
}

#[test]
fn an_unknown_or_removed_subnet_certifies_nothing() {
    let (authority, _, other) = authority();
    authority.remove_subnet(other.subnet_id());
    assert!(
        authority
            .certify(other.subnet_id(), TreeBuilder::new(), NOW_NS)
            .is_none()
    );
}
