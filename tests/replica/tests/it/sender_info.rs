//! What users attach about themselves: over the PocketIC protocol, which trusts it, and over the IC HTTP
//! interface, which verifies it (interface spec, "sender_info").

use crate::support::{builder, post_cbor};
use candid::Principal;
use ic_certification::{HashTree, fork, labeled, leaf};
use ic_transport_types::{Envelope, EnvelopeContent, QueryResponse, SenderInfo};
use pocket_ic::PocketIc;
use pocket_ic::common::rest::RawSenderInfo;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

const SEED: &[u8] = b"the user's seed";
const INFO: &[u8] = b"name: Alice";

/// Returns an instance with the canister that signs and the one that is called.
fn with_canisters() -> (PocketIc, Principal, Principal) {
    canisters_in(builder().with_application_subnet().build())
}

fn canisters_in(pic: PocketIc) -> (PocketIc, Principal, Principal) {
    let install = |module: Vec<u8>| {
        let canister = pic.create_canister();
        pic.add_cycles(canister, 10_000_000_000_000);
        pic.install_canister(canister, module, vec![], None);
        canister
    };
    let signer = wat::parse_str(include_str!("../../subnet/src/tests/probe.wat"));
    let signer = install(signer.expect("the module is well formed"));
    let called = install(telling());
    (pic, signer, called)
}

/// A canister whose methods reply what the caller attached, then the principal that vouches for it.
fn telling() -> Vec<u8> {
    wat::parse_str(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (import "ic0" "msg_caller_info_data_size" (func $data_size (result i32)))
        (import "ic0" "msg_caller_info_data_copy" (func $data_copy (param i32 i32 i32)))
        (import "ic0" "msg_caller_info_signer_size" (func $signer_size (result i32)))
        (import "ic0" "msg_caller_info_signer_copy" (func $signer_copy (param i32 i32 i32)))
        (memory 1)
        (func $tell
            (call $data_copy (i32.const 0) (i32.const 0) (call $data_size))
            (call $append (i32.const 0) (call $data_size))
            (call $signer_copy (i32.const 0) (i32.const 0) (call $signer_size))
            (call $append (i32.const 0) (call $signer_size))
            (call $reply))
        (func (export "canister_update tell") (call $tell))
        (func (export "canister_query ask") (call $tell)))"#,
    )
    .expect("the module is well formed")
}

fn told(signer: Principal) -> Vec<u8> {
    [INFO, signer.as_slice()].concat()
}

/// Returns the DER form of the key with which the canister signs for the user of the seed.
fn public_key(canister: Principal) -> Vec<u8> {
    const ALGORITHM: [u8; 14] = [
        0x30, 0x0c, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, 0x02,
    ];
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("short");
    let raw = [&[length(canister.as_slice())], canister.as_slice(), SEED].concat();
    let bits = [&[0x03, length(&raw) + 1, 0], raw.as_slice()].concat();
    let inner = [&ALGORITHM, bits.as_slice()].concat();
    [&[0x30, length(&inner)], inner.as_slice()].concat()
}

#[derive(Serialize)]
struct CanisterSignature {
    #[serde(with = "serde_bytes")]
    certificate: Vec<u8>,
    tree: HashTree,
}

/// Lets the canister sign a message, as canister signatures are made (interface spec, "Canister
/// signatures"): it certifies the tree that holds the message's hash.
fn sign(pic: &PocketIc, canister: Principal, message: &[u8]) -> Vec<u8> {
    let hash = |bytes: &[u8]| -> [u8; 32] { Sha256::digest(bytes).into() };
    let signed = labeled(hash(SEED), labeled(hash(message), leaf(b"")));
    let tree = fork(labeled(b"other", leaf(b"")), labeled(b"sig", signed));
    let anonymous = Principal::anonymous();
    pic.update_call(canister, anonymous, "certify", tree.digest().to_vec())
        .expect("certified");
    let certificate = pic.query_call(canister, anonymous, "certificate", vec![]);
    let signature = CanisterSignature {
        certificate: certificate.expect("replied"),
        tree,
    };
    let mut serializer = serde_cbor::Serializer::new(Vec::new());
    serializer.self_describe().expect("writes to memory");
    signature.serialize(&mut serializer).expect("encodes");
    serializer.into_inner()
}

fn with_domain(domain: &[u8], message: &[u8]) -> Vec<u8> {
    let length = u8::try_from(domain.len()).expect("short");
    [&[length], domain, message].concat()
}

fn sender_info(pic: &PocketIc, signer: Principal) -> SenderInfo {
    SenderInfo {
        info: INFO.to_vec(),
        signer: signer.as_slice().to_vec(),
        sig: sign(pic, signer, &with_domain(b"ic-sender-info", INFO)),
    }
}

/// Signs the request with the canister's key and posts it; returns status and body.
fn post(
    pic: &PocketIc,
    signer: Principal,
    called: Principal,
    info: SenderInfo,
    update: bool,
) -> (u16, Vec<u8>) {
    let key = public_key(signer);
    let sender = Principal::self_authenticating(&key);
    let ingress_expiry = pic.get_time().as_nanos_since_unix_epoch() + 60_000_000_000;
    let content = if update {
        EnvelopeContent::Call {
            nonce: None,
            ingress_expiry,
            sender,
            canister_id: called,
            method_name: "tell".to_owned(),
            arg: vec![],
            sender_info: Some(info),
        }
    } else {
        EnvelopeContent::Query {
            nonce: None,
            ingress_expiry,
            sender,
            canister_id: called,
            method_name: "ask".to_owned(),
            arg: vec![],
            sender_info: Some(info),
        }
    };
    let message = with_domain(b"ic-request", content.to_request_id().as_slice());
    let body = Envelope {
        content: Cow::Owned(content),
        sender_pubkey: Some(key),
        sender_sig: Some(sign(pic, signer, &message)),
        sender_delegation: None,
    }
    .encode_bytes();
    let url = format!(
        "{}instances/{}/api/{}",
        pic.get_server_url(),
        pic.instance_id(),
        if update {
            format!("v2/canister/{called}/call")
        } else {
            format!("v3/canister/{called}/query")
        }
    );
    post_cbor(&url, body)
}

#[test]
fn information_that_the_senders_canister_has_signed_reaches_the_callee() {
    let (pic, signer, called) = with_canisters();
    let info = sender_info(&pic, signer);
    let (status, body) = post(&pic, signer, called, info.clone(), false);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let response: QueryResponse = serde_cbor::from_slice(&body).expect("a query response");
    match response {
        QueryResponse::Replied { reply, .. } => assert_eq!(reply.arg, told(signer)),
        QueryResponse::Rejected { reject, .. } => panic!("{reject:?}"),
    }
    let (status, body) = post(&pic, signer, called, info, true);
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
}

#[test]
fn information_that_nobody_vouches_for_is_refused_with_the_reason() {
    let (pic, signer, called) = with_canisters();
    let info = sender_info(&pic, signer);
    let changed = SenderInfo {
        info: b"name: Mallory".to_vec(),
        ..info.clone()
    };
    let of_another = SenderInfo {
        signer: called.as_slice().to_vec(),
        ..info
    };
    let cases = [
        (changed, "IC canister signature could not be verified"),
        (of_another, "is not the canister"),
    ];
    for (info, expected) in cases {
        for update in [false, true] {
            let (status, body) = post(&pic, signer, called, info.clone(), update);
            let text = String::from_utf8_lossy(&body).into_owned();
            assert_eq!(status, 400, "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }
}

#[test]
fn the_pocketic_protocol_passes_on_what_tests_attach() {
    let (pic, signer, called) = with_canisters();
    let info = || RawSenderInfo {
        info: INFO.to_vec(),
        signer: signer.as_slice().to_vec(),
    };
    let user = Principal::self_authenticating(b"a user");
    let reply = pic.update_call_with_sender_info(called, user, "tell", vec![], info());
    assert_eq!(reply.expect("replied"), told(signer));
    let reply = pic.query_call_with_sender_info(called, user, "ask", vec![], info());
    assert_eq!(reply.expect("replied"), told(signer));
}

#[test]
fn a_canister_signature_is_verified_for_the_client_and_a_forged_one_refused() {
    let network = builder().with_nns_subnet().with_application_subnet();
    let (pic, signer, other) = canisters_in(network.build());
    let root_key = pic.root_key().expect("there is an NNS");
    let message = b"pay Alice".to_vec();
    let signature = sign(&pic, signer, &message);
    let verify = |message: &[u8], signature: &[u8], signer: Principal, root_key: &[u8]| {
        pic.verify_canister_signature(
            message.to_vec(),
            signature.to_vec(),
            public_key(signer),
            root_key.to_vec(),
        )
    };
    assert_eq!(verify(&message, &signature, signer, &root_key), Ok(()));

    let mut foreign_key = root_key.clone();
    let last = foreign_key.last_mut().expect("133 bytes");
    *last ^= 1;
    let forged = [
        verify(b"pay Mallory", &signature, signer, &root_key),
        verify(&message, &signature, other, &root_key),
        verify(&message, b"no signature", signer, &root_key),
        verify(&message, &signature, signer, &foreign_key),
    ];
    for outcome in forged {
        let reason = outcome.expect_err("forged");
        assert!(!reason.is_empty());
    }
    let refused = verify(&message, &signature, signer, b"no key");
    let reason = refused.expect_err("no key");
    assert!(reason.contains("not a DER-encoded BLS key"), "{reason}");
}
