//! Identities, conversions, and what the agent's errors mean.

use bitcoin::hashes::Hash;
use ic_agent::AgentError;
use ic_agent::agent::{RejectCode, RejectResponse};
use ic_agent::agent_error::HttpErrorPayload;
use millrace_candid as wire;
use millrace_core::{Height, Network};
use serde_bytes::ByteBuf;

use super::classify::{Call, classify};
use super::convert::{self, ConvertError};
use super::identity::{IdentityError, IdentitySource};
use super::*;
use crate::engine::{PartOutcome, RejectionKind};

/// Keys made for these tests with `openssl genpkey` and `openssl ecparam`; nothing is theirs.
const ED25519: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIPh6PEjVHK1Om3JyU/Bko4nw74euEV28MqxIvAo1UXMj
-----END PRIVATE KEY-----
";
const SECP256K1: &str = "\
-----BEGIN EC PARAMETERS-----
BgUrgQQACg==
-----END EC PARAMETERS-----
-----BEGIN EC PRIVATE KEY-----
MHQCAQEEIA41duKGeoVpJJdq0xePjyd5XGk3BS2GZyeMyarRwMEooAcGBSuBBAAK
oUQDQgAEzWpT8QCY36hqsSZqf5TR4qfJ+I1dNeRXMnoIzhlnayBQadhvfUhfnU/k
1Ara2rf54EIb+grMJKckMFauG5G3ug==
-----END EC PRIVATE KEY-----
";
const SECP256K1_PKCS8: &str = "\
-----BEGIN PRIVATE KEY-----
MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgDjV24oZ6hWkkl2rTF4+P
J3lcaTcFLYZnJ4zJqtHAwSihRANCAATNalPxAJjfqGqxJmp/lNHip8n4jV015Fcy
egjOGWdrIFBp2G99SF+dT+TUCtrat/ngQhv6CswkpyQwVq4bkbe6
-----END PRIVATE KEY-----
";
const P256: &str = "\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEICdKX6+PlfxpzTsr6Akxu1SnO4wFFiyk4uUjxFN/W1NVoAoGCCqGSM49
AwEHoUQDQgAEB5L2Mm60QJm2Um1CCc2hpzO5HjxmkkLRDaL14ZXCzyR5OMr2WG5/
G3XLLRM5bIt6nhezkEDM365ESqcPr2cOpQ==
-----END EC PRIVATE KEY-----
";

#[test]
fn keys_of_both_kinds_load_from_text_and_file() {
    let principal = |source: &IdentitySource| {
        let identity = source.load().expect("a supported key");
        identity.sender().expect("a principal").to_text()
    };
    let ed25519 = principal(&IdentitySource::from_setting(ED25519));
    let secp256k1 = principal(&IdentitySource::from_setting(SECP256K1));
    assert_ne!(ed25519, secp256k1);
    assert_eq!(
        principal(&IdentitySource::from_setting(SECP256K1_PKCS8)),
        secp256k1,
        "the same key in another container"
    );
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), ED25519).expect("writable");
    let path = file.path().display().to_string();
    assert_eq!(principal(&IdentitySource::from_setting(&path)), ed25519);
    assert_eq!(principal(&IdentitySource::Anonymous), "2vxsx-fae");
}

#[test]
fn what_is_no_usable_key_is_refused_without_showing_it() {
    let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIG\n-----END ENCRYPTED PRIVATE KEY-----";
    for text in [nonsense, encrypted, P256, "-----BEGIN"] {
        let source = IdentitySource::from_setting(text);
        assert!(!format!("{source:?}").contains("AAAA"));
        let Err(error) = source.load() else {
            panic!("{text} is no usable key");
        };
        assert!(matches!(error, IdentityError::NotAKey { .. }), "{error}");
        assert!(!error.to_string().contains("AAAA"), "{error}");
    }
    let Err(error) = IdentitySource::from_setting("/nonexistent.pem").load() else {
        panic!("there is no such file");
    };
    assert!(error.to_string().contains("/nonexistent.pem"), "{error}");
}

fn rejected(code: RejectCode, text: &str, error_code: Option<&str>) -> AgentError {
    AgentError::CertifiedReject {
        reject: RejectResponse {
            reject_code: code,
            reject_message: text.to_owned(),
            error_code: error_code.map(str::to_owned),
        },
        operation: None,
    }
}

fn classified(error: &AgentError) -> SinkError {
    let call = Call {
        url: "http://replica",
        canister: "aaaaa-aa",
        method: "push_blocks",
    };
    classify(&call, error)
}

#[test]
fn rejections_are_told_apart_by_code_and_text() {
    use RejectCode::*;
    type IsExpected = fn(&SinkError) -> bool;
    let cases: [(RejectCode, &str, Option<&str>, IsExpected); 9] = [
        (
            DestinationInvalid,
            "Canister x not found",
            Some("IC0301"),
            |error| matches!(error, SinkError::NoCanister { .. }),
        ),
        (DestinationInvalid, "gone", None, |error| {
            matches!(error, SinkError::NoCanister { .. })
        }),
        (
            CanisterError,
            "contains no Wasm module",
            Some("IC0537"),
            |error| matches!(error, SinkError::NoCanister { .. }),
        ),
        (CanisterError, "no such method", Some("IC0536"), |error| {
            matches!(error, SinkError::NoMethod { .. })
        }),
        (
            CanisterError,
            "Canister x has no update method 'push_blocks'",
            None,
            |error| matches!(error, SinkError::NoMethod { method, .. } if method == "push_blocks"),
        ),
        (CanisterError, "Canister trapped", Some("IC0503"), |error| {
            matches!(error, SinkError::CanisterFailed { .. }) && error.is_transient()
        }),
        (
            CanisterError,
            "Canister is stopped",
            Some("IC0508"),
            |error| matches!(error, SinkError::CanisterFailed { .. }) && error.is_transient(),
        ),
        (SysTransient, "out of capacity", Some("IC0204"), |error| {
            matches!(error, SinkError::Unavailable { .. }) && error.is_transient()
        }),
        (SysFatal, "no", None, |error| {
            matches!(error, SinkError::BadRequest { .. })
        }),
    ];
    for (code, text, error_code, is_expected) in cases {
        let error = classified(&rejected(code, text, error_code));
        assert!(is_expected(&error), "{text}: {error:?}");
    }
}

#[test]
fn statuses_and_signatures_are_told_apart() {
    let http = |status| {
        classified(&AgentError::HttpError(HttpErrorPayload {
            status,
            content_type: None,
            content: b"words\nof the server".to_vec(),
        }))
    };
    for status in [408, 429, 500, 502, 503, 504] {
        assert!(http(status).is_transient(), "{status}");
    }
    for status in [400, 401, 403, 404, 413] {
        assert!(!http(status).is_transient(), "{status}");
    }
    assert!(http(404).to_string().contains("words of the server"));
    let untrusted = classified(&AgentError::CertificateVerificationFailed());
    assert!(matches!(untrusted, SinkError::Untrusted { .. }));
    assert!(!untrusted.is_transient());
    assert!(classified(&AgentError::TimeoutWaitingForResponse()).is_transient());
}

#[test]
fn a_long_reason_is_quoted_in_part() {
    let text = "è".repeat(10_000);
    let error = classified(&rejected(RejectCode::CanisterReject, &text, None));
    assert!(error.to_string().chars().count() < 500, "{error}");
}

fn block_id(byte: u8, height: u32) -> wire::BlockId {
    wire::BlockId {
        hash: ByteBuf::from([byte; 32]),
        height,
    }
}

fn state() -> wire::FeedState {
    wire::FeedState {
        chain: wire::Chain::Testnet4,
        syncing: wire::Flag::Disabled,
        anchor: block_id(1, 10),
        tip: block_id(2, 20),
        best_header: block_id(3, 30),
        common: Some(block_id(4, 15)),
        free_bytes: 5,
        free_blocks: 6,
        max_message_bytes: 7,
        max_parts: 8,
        max_block_bytes: 9,
        half_received: vec![wire::HalfReceived {
            hash: ByteBuf::from([5; 32]),
            size: 100,
            received: 40,
        }],
        pending_blocks: 11,
        recent_rejections: vec![wire::Rejection {
            hash: ByteBuf::from([6; 32]),
            height: Some(21),
            kind: Some(wire::RejectionKind::UnknownParent),
            reason: "an example".to_owned(),
        }],
    }
}

#[test]
fn every_field_of_the_state_arrives() {
    let view = convert::feed_view(state()).expect("a valid state");
    assert_eq!(view.network, Network::Testnet4);
    assert!(!view.is_syncing);
    assert_eq!(view.anchor.height, Height::new(10));
    assert_eq!(view.tip.hash, BlockHash::from_byte_array([2; 32]));
    assert_eq!(view.best_header.height, Height::new(30));
    assert_eq!(
        view.common.map(|common| common.height),
        Some(Height::new(15))
    );
    assert_eq!((view.free_bytes, view.free_blocks), (5, 6));
    assert_eq!(
        (view.message_bytes_max, view.parts_max, view.block_bytes_max),
        (7, 8, 9)
    );
    assert_eq!(view.half_received[0].received, 40);
    assert_eq!(view.pending_blocks, 11);
    assert_eq!(view.rejections[0].kind, RejectionKind::UnknownParent);
    assert_eq!(view.rejections[0].reason, "an example");
}

#[test]
fn refusals_that_are_not_the_blocks_fault_are_told_from_those_that_are() {
    use wire::RejectionKind as W;
    let cases = [
        (Some(W::UnknownParent), "unknown_parent", true),
        (Some(W::TooNew), "too_new", true),
        (Some(W::TreeFull), "tree_full", false),
        (Some(W::DamagedBytes), "damaged_bytes", false),
        (Some(W::InvalidHeader), "invalid_header", false),
        (Some(W::InvalidBlock), "invalid_block", false),
        (Some(W::InvalidAncestor), "invalid_ancestor", false),
        (Some(W::Quarantined), "quarantined", false),
        (None, "unknown", false),
    ];
    for (kind, name, is_transient) in cases {
        let mut state = state();
        state.recent_rejections[0].kind = kind;
        // Words decide nothing.
        state.recent_rejections[0].reason = "unknown parent; retry later".to_owned();
        let view = convert::feed_view(state).expect("a valid state");
        let found = view.rejections[0].kind;
        assert_eq!((found.name(), found.is_transient()), (name, is_transient));
    }
}

#[test]
fn hashes_of_other_lengths_are_refused_and_named() {
    let mut wrong_tip = state();
    wrong_tip.tip.hash = ByteBuf::from([0; 31]);
    let mut wrong_rejection = state();
    wrong_rejection.recent_rejections[0].hash = ByteBuf::new();
    let cases = [
        (wrong_tip, "tip", 31),
        (wrong_rejection, "recent_rejections", 0),
    ];
    for (state, field, length) in cases {
        let expected = ConvertError::HashLength { field, length };
        assert_eq!(convert::feed_view(state), Err(expected));
    }
}

#[test]
fn part_errors_say_where_to_go_on_or_that_the_block_is_lost() {
    use wire::PartError::*;
    let outcome_of = |error| {
        let receipt = wire::PushReceipt {
            outcomes: vec![wire::PartOutcome::Rejected(error)],
            free_bytes: 0,
            free_blocks: 0,
            tip: block_id(2, 20),
        };
        let receipt = convert::receipt(receipt).expect("a valid receipt");
        receipt.outcomes.into_iter().next().expect("one outcome")
    };
    assert_eq!(
        outcome_of(UnexpectedOffset {
            expected: 7,
            given: 9
        }),
        PartOutcome::ContinueAt { offset: 7 }
    );
    assert_eq!(
        outcome_of(SizeChanged { first: 7, given: 9 }),
        PartOutcome::ContinueAt { offset: 0 }
    );
    let reason = "merkle root".to_owned();
    let kind = Some(wire::RejectionKind::InvalidBlock);
    let PartOutcome::Refused { reason } = outcome_of(InvalidBlock { kind, reason }) else {
        panic!("an invalid block is refused");
    };
    assert!(reason.contains("merkle root"), "{reason}");
}
