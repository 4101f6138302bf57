//! `ic-agent` 0.49 with its defaults: certificates and query signatures are verified.

use crate::support::{
    builder, call_content, expiry, install_counter, number, post_cbor, signed_body, wall_clock_ns,
};
use candid::Principal;
use ic_agent::agent::EffectiveId;
use ic_agent::identity::{
    AnonymousIdentity, BasicIdentity, DelegatedIdentity, Delegation, Prime256v1Identity,
    Secp256k1Identity, SignedDelegation,
};
use ic_agent::{Agent, AgentError, Identity};
use ic_certification::{Certificate, HashTree, LookupResult};
use ic_transport_types::{
    EnvelopeContent, QueryResponse, ReadStateResponse, TransportCallResponse,
};
use pocket_ic::PocketIc;

fn live_counter() -> (PocketIc, Principal, String) {
    let mut pic = builder().with_application_subnet().build();
    let canister = install_counter(&pic);
    let url = pic.make_live(None).to_string();
    (pic, canister, url)
}

fn basic(seed: u8) -> BasicIdentity {
    BasicIdentity::from_raw_key(&[seed; 32])
}

fn delegated(targets: Option<Vec<Principal>>) -> DelegatedIdentity {
    let (from, to) = (basic(3), basic(4));
    let delegation = Delegation {
        pubkey: to.public_key().expect("has one"),
        expiration: wall_clock_ns() + 3_600_000_000_000,
        targets,
        permissions: None,
    };
    let signature = from.sign_delegation(&delegation).expect("signs");
    let chain = vec![SignedDelegation {
        delegation,
        signature: signature.signature.expect("signed"),
    }];
    let from_key = from.public_key().expect("has one");
    DelegatedIdentity::new(from_key, Box::new(to), chain).expect("a valid chain")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(future)
}

async fn agent(url: &str, identity: impl Identity + 'static) -> Agent {
    let agent = Agent::builder()
        .with_url(url)
        .with_identity(identity)
        .build()
        .expect("an agent");
    agent.fetch_root_key().await.expect("the root key");
    agent
}

/// One signed update, one query, and the reads an agent can make, all verified.
async fn exercise(url: &str, canister: Principal, identity: impl Identity + 'static) {
    let sender = identity.sender().expect("a sender");
    let agent = agent(url, identity).await;
    let reply = agent
        .update(&canister, "whoami_update")
        .call_and_wait()
        .await;
    assert_eq!(reply.expect("replied"), sender.as_slice());
    let reply = agent.query(&canister, "whoami").call().await;
    assert_eq!(reply.expect("replied"), sender.as_slice());
    let controllers = agent.read_state_canister_controllers(canister).await;
    assert_eq!(controllers.expect("readable"), [Principal::anonymous()]);
    let hash = agent.read_state_canister_module_hash(canister).await;
    assert_eq!(hash.expect("readable").len(), 32);
}

#[test]
fn every_kind_of_identity_calls_queries_and_reads() {
    let (_pic, canister, url) = live_counter();
    run(async {
        let p256 = p256::SecretKey::from_slice(&[5; 32]).expect("a scalar");
        let k256 = k256::SecretKey::from_slice(&[6; 32]).expect("a scalar");
        exercise(&url, canister, AnonymousIdentity).await;
        exercise(&url, canister, basic(1)).await;
        exercise(&url, canister, Prime256v1Identity::from_private_key(p256)).await;
        exercise(&url, canister, Secp256k1Identity::from_private_key(k256)).await;
        exercise(&url, canister, delegated(None)).await;
        exercise(&url, canister, delegated(Some(vec![canister]))).await;
    });
}

#[test]
fn a_subnet_that_is_not_the_root_is_verified_through_its_delegation() {
    let mut pic = builder()
        .with_nns_subnet()
        .with_application_subnet()
        .build();
    let app = pic.topology().get_app_subnets()[0];
    let nns = pic.topology().get_nns().expect("asked for");
    let on_app = pic.create_canister_on_subnet(None, None, app);
    pic.add_cycles(on_app, 10_000_000_000_000);
    pic.install_canister(on_app, crate::support::counter(), vec![], None);
    let on_nns = pic.create_canister_on_subnet(None, None, nns);
    pic.install_canister(on_nns, crate::support::counter(), vec![], None);
    let root_key = pic.root_key().expect("there is an NNS");
    let url = pic.make_live(None).to_string();
    run(async {
        for canister in [on_app, on_nns] {
            exercise(&url, canister, basic(1)).await;
        }
        let agent = agent(&url, basic(1)).await;
        assert_eq!(agent.read_root_key(), root_key);
        for id in [app, nns] {
            let subnet = agent.get_subnet_by_id(&id).await.expect("verified");
            assert_eq!(subnet.id(), id);
        }
    });
}

#[test]
fn rejections_reach_the_agent_with_code_and_text() {
    let (_pic, canister, url) = live_counter();
    run(async {
        let agent = agent(&url, basic(1)).await;
        let trap = agent.update(&canister, "boom").call_and_wait().await;
        let Err(AgentError::CertifiedReject { reject, .. }) = trap else {
            panic!("a trap is a certified rejection: {trap:?}");
        };
        assert_eq!(reject.error_code.as_deref(), Some("IC0503"));
        assert!(reject.reject_message.contains("boom"), "{reject:?}");

        let missing = agent.query(&canister, "nothing").call().await;
        let Err(AgentError::UncertifiedReject { reject, .. }) = missing else {
            panic!("a missing query method is an uncertified rejection: {missing:?}");
        };
        assert_eq!(reject.error_code.as_deref(), Some("IC0536"));

        let nobody = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
        let refused = agent.update(&nobody, "inc").call_and_wait().await;
        assert!(refused.is_err(), "{refused:?}");
    });
}

#[test]
fn certified_data_is_verifiable_from_the_certificate_a_query_gives() {
    let (_pic, canister, url) = live_counter();
    run(async {
        let agent = agent(&url, basic(1)).await;
        agent
            .update(&canister, "inc")
            .call_and_wait()
            .await
            .expect("replied");
        agent
            .update(&canister, "certify")
            .call_and_wait()
            .await
            .expect("replied");
        let bytes = agent
            .query(&canister, "certificate")
            .call()
            .await
            .expect("replied");
        let certificate: Certificate = serde_cbor::from_slice(&bytes).expect("a certificate");
        agent.verify(&certificate, canister).expect("verifies");
        let path: [&[u8]; 3] = [b"canister", canister.as_slice(), b"certified_data"];
        let found = certificate.tree.lookup_path(path);
        assert_eq!(found, LookupResult::Found(&1u64.to_le_bytes()));
    });
}

#[test]
fn a_tampered_certificate_does_not_verify() {
    let (_pic, canister, url) = live_counter();
    run(async {
        let agent = agent(&url, basic(1)).await;
        let paths = vec![vec![
            "canister".into(),
            canister.as_slice().into(),
            "controllers".into(),
        ]];
        let genuine = agent
            .read_state_raw(paths, canister)
            .await
            .expect("verified");
        agent.verify(&genuine, canister).expect("verifies");

        let mut tampered = genuine.clone();
        let other_time = ic_certification::label::<_, _, HashTree>(
            "time",
            ic_certification::leaf(vec![1, 2, 3]),
        );
        tampered.tree = ic_certification::fork(tampered.tree, other_time);
        assert!(agent.verify(&tampered, canister).is_err());

        let mut resigned = genuine;
        resigned.signature[10] ^= 1;
        assert!(
            agent
                .verify(&resigned, EffectiveId::Canister(canister))
                .is_err()
        );
    });
}

#[test]
fn a_query_signature_is_the_nodes_and_covers_the_answer() {
    let (_pic, canister, url) = live_counter();
    let content = EnvelopeContent::Query {
        ingress_expiry: expiry(),
        sender: Principal::anonymous(),
        canister_id: canister,
        method_name: "get".to_owned(),
        arg: vec![],
        nonce: None,
        sender_info: None,
    };
    let request_id = content.to_request_id();
    let body = signed_body(content, &AnonymousIdentity);
    let (status, answer) = post_cbor(&format!("{url}api/v3/canister/{canister}/query"), body);
    assert_eq!(status, 200);
    let mut response: QueryResponse = serde_cbor::from_slice(&answer).expect("a query response");
    let signature = response.signatures()[0].clone();
    let node = run(async {
        let agent = agent(&url, AnonymousIdentity).await;
        let subnet = agent
            .get_subnet_by_canister(&canister)
            .await
            .expect("verified");
        subnet
            .get_node_key(&signature.identity)
            .expect("the node is certified")
            .to_vec()
    });
    let key = ic_ed25519::PublicKey::deserialize_rfc8410_der(&node).expect("an Ed25519 key");
    let verify = |response: &QueryResponse| {
        key.verify_signature(
            &response.signable(request_id, signature.timestamp),
            &signature.signature,
        )
    };
    verify(&response).expect("genuine");
    if let QueryResponse::Replied { reply, .. } = &mut response {
        reply.arg[0] ^= 1;
    }
    verify(&response).expect_err("the answer was changed");
}

#[test]
fn a_replayed_request_is_executed_once_and_answered_alike() {
    let (pic, canister, url) = live_counter();
    let identity = basic(1);
    let content = call_content(identity.sender().expect("a sender"), canister, "inc");
    let body = signed_body(content, &identity);
    for path in ["v4", "v3", "v4"] {
        let (status, answer) = post_cbor(
            &format!("{url}api/{path}/canister/{canister}/call"),
            body.clone(),
        );
        assert_eq!(status, 200);
        let answer: TransportCallResponse = serde_cbor::from_slice(&answer).expect("an answer");
        assert!(
            matches!(answer, TransportCallResponse::Replied { .. }),
            "{answer:?}"
        );
    }
    let (status, _) = post_cbor(&format!("{url}api/v2/canister/{canister}/call"), body);
    assert_eq!(status, 202);
    let reply = pic.query_call(canister, Principal::anonymous(), "get", vec![]);
    assert_eq!(number(&reply.expect("replied")), 1);
}

#[test]
fn requests_out_of_time_or_with_a_wrong_signature_are_refused_and_not_executed() {
    let (pic, canister, url) = live_counter();
    let identity = basic(1);
    let call_url = format!("{url}api/v4/canister/{canister}/call");
    let sender = identity.sender().expect("a sender");
    let refused = |body: Vec<u8>, text: &str| {
        let (status, answer) = post_cbor(&call_url, body);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(status, 400, "{answer}");
        assert!(answer.contains(text), "{answer}");
    };
    for expiry in [
        wall_clock_ns() - 60_000_000_000,
        wall_clock_ns() + 900_000_000_000,
    ] {
        let mut content = call_content(sender, canister, "inc");
        if let EnvelopeContent::Call { ingress_expiry, .. } = &mut content {
            *ingress_expiry = expiry;
        }
        refused(signed_body(content, &identity), "Invalid request expiry: ");
    }
    let forged = signed_body(call_content(sender, canister, "inc"), &AnonymousIdentity);
    refused(forged, "Missing signature");
    let someone_else = signed_body(call_content(sender, canister, "inc"), &basic(2));
    refused(someone_else, "does not match the public key");
    let mut spoiled = signed_body(call_content(sender, canister, "inc"), &identity);
    let last = spoiled.len() - 1;
    spoiled[last] ^= 1;
    refused(spoiled, "Invalid signature");
    let elsewhere = signed_body(
        call_content(sender, Principal::management_canister(), "start_canister"),
        &delegated(Some(vec![canister])),
    );
    refused(elsewhere, "does not match the public key");
    let reply = pic.query_call(canister, Principal::anonymous(), "get", vec![]);
    assert_eq!(number(&reply.expect("replied")), 0);
}

#[test]
fn a_request_status_is_read_by_its_sender_only_and_an_unknown_one_is_absent() {
    let (_pic, canister, url) = live_counter();
    let identity = basic(1);
    let content = call_content(identity.sender().expect("a sender"), canister, "inc");
    let request_id = content.to_request_id();
    let body = signed_body(content, &identity);
    let (status, _) = post_cbor(&format!("{url}api/v4/canister/{canister}/call"), body);
    assert_eq!(status, 200);
    let read = |identity: &dyn Identity, id: &[u8]| {
        let content = EnvelopeContent::ReadState {
            ingress_expiry: expiry(),
            sender: identity.sender().expect("a sender"),
            paths: vec![vec!["request_status".into(), id.into()]],
        };
        let body = signed_body(content, identity);
        post_cbor(&format!("{url}api/v3/canister/{canister}/read_state"), body)
    };
    let lookup = |answer: &[u8], id: &[u8]| {
        let response: ReadStateResponse = serde_cbor::from_slice(answer).expect("an answer");
        let certificate: Certificate =
            serde_cbor::from_slice(&response.certificate).expect("a certificate");
        let path: [&[u8]; 3] = [b"request_status", id, b"status"];
        match certificate.tree.lookup_path(path) {
            LookupResult::Found(status) => Some(status.to_vec()),
            LookupResult::Absent => None,
            other => panic!("neither found nor absent: {other:?}"),
        }
    };
    let (status, answer) = read(&identity, request_id.as_slice());
    assert_eq!(status, 200);
    assert_eq!(
        lookup(&answer, request_id.as_slice()),
        Some(b"replied".to_vec())
    );
    let (status, answer) = read(&identity, &[7; 32]);
    assert_eq!(status, 200);
    assert_eq!(lookup(&answer, &[7; 32]), None);
    let (status, answer) = read(&basic(2), request_id.as_slice());
    assert_eq!(status, 403, "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn an_asynchronous_call_is_polled_to_its_answer() {
    let (_pic, canister, url) = live_counter();
    let identity = basic(1);
    let content = call_content(identity.sender().expect("a sender"), canister, "inc");
    let request_id = content.to_request_id();
    let body = signed_body(content, &identity);
    let (status, _) = post_cbor(&format!("{url}api/v2/canister/{canister}/call"), body);
    assert_eq!(status, 202);
    run(async {
        let agent = agent(&url, basic(1)).await;
        let (reply, _) = agent.wait(&request_id, canister).await.expect("replied");
        assert_eq!(number(&reply), 1);
    });
}
