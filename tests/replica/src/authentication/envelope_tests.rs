use super::*;
use ic_transport_types::Delegation;
use k256::ecdsa::signature::Signer;
use k256::pkcs8::EncodePublicKey;
use std::borrow::Cow;

const NOW_NS: u64 = 1_700_000_000_000_000_000;
const MINUTE_NS: u64 = 60 * 1_000_000_000;

/// A key pair of one of the algorithms senders use.
enum Key {
    Ed25519(ic_ed25519::PrivateKey),
    Secp256k1(k256::ecdsa::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl Key {
    fn ed25519(seed: u8) -> Self {
        Self::Ed25519(ic_ed25519::PrivateKey::deserialize_raw_32(&[seed; 32]))
    }

    fn all() -> Vec<(&'static str, Self)> {
        let secp256k1 = k256::ecdsa::SigningKey::from_slice(&[7; 32]).expect("a scalar");
        let p256 = p256::ecdsa::SigningKey::from_slice(&[9; 32]).expect("a scalar");
        vec![
            ("Ed25519", Self::ed25519(1)),
            ("secp256k1", Self::Secp256k1(secp256k1)),
            ("P-256", Self::P256(p256)),
        ]
    }

    fn public_der(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.public_key().serialize_rfc8410_der(),
            Self::Secp256k1(key) => key
                .verifying_key()
                .to_public_key_der()
                .expect("encodes")
                .into_vec(),
            Self::P256(key) => key
                .verifying_key()
                .to_public_key_der()
                .expect("encodes")
                .into_vec(),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign_message(message).to_vec(),
            Self::Secp256k1(key) => {
                let signature: k256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
        }
    }

    fn sender(&self) -> Principal {
        Principal::self_authenticating(self.public_der())
    }
}

fn target() -> Principal {
    Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1])
}

fn call(sender: Principal, ingress_expiry: u64) -> EnvelopeContent {
    EnvelopeContent::Call {
        nonce: Some(vec![1, 2, 3]),
        ingress_expiry,
        sender,
        canister_id: target(),
        method_name: "set".to_owned(),
        arg: b"DIDL\0\0".to_vec(),
        sender_info: None,
    }
}

fn signed(
    content: EnvelopeContent,
    first: &Key,
    last: &Key,
    chain: Vec<SignedDelegation>,
) -> Envelope<'static> {
    let mut message = REQUEST_DOMAIN.to_vec();
    message.extend_from_slice(content.to_request_id().as_slice());
    Envelope {
        content: Cow::Owned(content),
        sender_pubkey: Some(first.public_der()),
        sender_sig: Some(last.sign(&message)),
        sender_delegation: (!chain.is_empty()).then_some(chain),
    }
}

fn delegate(from: &Key, to: &Key, change: impl FnOnce(&mut Delegation)) -> SignedDelegation {
    let mut delegation = Delegation {
        pubkey: to.public_der(),
        expiration: NOW_NS + MINUTE_NS,
        targets: None,
        permissions: None,
    };
    change(&mut delegation);
    let signature = from.sign(&delegation.signable());
    SignedDelegation {
        delegation,
        signature,
    }
}

fn check(envelope: &Envelope<'_>) -> Result<(), AuthError> {
    let validator = Validator {
        now_ns: NOW_NS,
        root_key_raw: &[],
        enabled: true,
    };
    // Through the wire form, as every request comes.
    validator
        .check(&decode(&envelope.encode_bytes(), "a request")?)
        .map(|_| ())
}

#[test]
fn a_request_signed_with_any_supported_algorithm_is_accepted_and_a_changed_one_refused() {
    for (name, key) in Key::all() {
        let envelope = signed(call(key.sender(), NOW_NS + MINUTE_NS), &key, &key, vec![]);
        assert_eq!(check(&envelope), Ok(()), "{name}");

        let mut changed = envelope.clone();
        if let EnvelopeContent::Call { method_name, .. } = changed.content.to_mut() {
            method_name.push('x');
        }
        assert!(
            matches!(check(&changed), Err(AuthError::Signature(_))),
            "{name}"
        );

        let mut forged = envelope.clone();
        forged.sender_sig = Some(vec![0; 64]);
        assert!(
            matches!(check(&forged), Err(AuthError::Signature(_))),
            "{name}"
        );

        let mut short = envelope;
        short.sender_sig = Some(vec![1; 5]);
        assert!(
            matches!(check(&short), Err(AuthError::Signature(_))),
            "{name}"
        );
    }
}

#[test]
fn a_high_s_signature_is_accepted_as_on_the_ic() {
    let key = k256::ecdsa::SigningKey::from_slice(&[7; 32]).expect("a scalar");
    let key = Key::Secp256k1(key);
    let mut envelope = signed(call(key.sender(), NOW_NS + MINUTE_NS), &key, &key, vec![]);
    let low = k256::ecdsa::Signature::from_slice(&envelope.sender_sig.clone().expect("signed"))
        .expect("a signature");
    let (r, s) = low.split_scalars();
    let high =
        k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).expect("a signature");
    envelope.sender_sig = Some(high.to_bytes().to_vec());
    assert_eq!(check(&envelope), Ok(()));
}

#[test]
fn the_sender_must_be_the_principal_of_the_key() {
    let (key, other) = (Key::ed25519(1), Key::ed25519(2));
    let envelope = signed(call(other.sender(), NOW_NS + MINUTE_NS), &key, &key, vec![]);
    assert!(matches!(
        check(&envelope),
        Err(AuthError::SenderMismatch { .. })
    ));

    let mut unsigned = signed(call(key.sender(), NOW_NS + MINUTE_NS), &key, &key, vec![]);
    unsigned.sender_sig = None;
    assert_eq!(
        check(&unsigned),
        Err(AuthError::MissingSignature(key.sender()))
    );
}

#[test]
fn an_anonymous_request_is_accepted_without_a_signature_only() {
    let mut envelope = Envelope {
        content: Cow::Owned(call(Principal::anonymous(), NOW_NS + MINUTE_NS)),
        sender_pubkey: None,
        sender_sig: None,
        sender_delegation: None,
    };
    assert_eq!(check(&envelope), Ok(()));
    envelope.sender_sig = Some(vec![0; 64]);
    assert_eq!(check(&envelope), Err(AuthError::AnonymousSignature));
}

#[test]
fn the_expiry_must_lie_between_now_and_five_and_a_half_minutes_from_now() {
    let key = Key::ed25519(1);
    let latest = NOW_NS + 330 * 1_000_000_000;
    for (expiry, accepted) in [
        (NOW_NS - 1, false),
        (NOW_NS, true),
        (latest, true),
        (latest + 1, false),
    ] {
        let result = check(&signed(call(key.sender(), expiry), &key, &key, vec![]));
        assert_eq!(result.is_ok(), accepted, "{expiry}: {result:?}");
        if let Err(error) = result {
            assert!(
                error
                    .to_string()
                    .starts_with("Invalid request expiry: Specified ingress_expiry")
            );
        }
    }
}

#[test]
fn a_delegation_chain_is_followed_from_the_sender_to_the_signing_key() {
    let (root, middle, session) = (Key::ed25519(1), Key::ed25519(2), Key::ed25519(3));
    let content = || call(root.sender(), NOW_NS + MINUTE_NS);
    let chain = || {
        vec![
            delegate(&root, &middle, |_| {}),
            delegate(&middle, &session, |d| d.targets = Some(vec![target()])),
        ]
    };
    assert_eq!(check(&signed(content(), &root, &session, chain())), Ok(()));

    let wrong_signer = signed(content(), &root, &middle, chain());
    assert!(matches!(check(&wrong_signer), Err(AuthError::Signature(_))));

    let mut broken = chain();
    broken.swap(0, 1);
    let broken = signed(content(), &root, &session, broken);
    assert!(matches!(check(&broken), Err(AuthError::Signature(_))));
}

#[test]
fn a_delegation_outside_its_time_targets_permissions_or_bounds_is_refused() {
    let (root, session) = (Key::ed25519(1), Key::ed25519(2));
    let attempt = |change: &dyn Fn(&mut Delegation)| {
        let chain = vec![delegate(&root, &session, |d| change(d))];
        check(&signed(
            call(root.sender(), NOW_NS + MINUTE_NS),
            &root,
            &session,
            chain,
        ))
    };
    let expired = attempt(&|d| d.expiration = NOW_NS - 1);
    assert!(
        matches!(expired, Err(AuthError::DelegationExpired { .. })),
        "{expired:?}"
    );
    let elsewhere = attempt(&|d| d.targets = Some(vec![Principal::management_canister()]));
    assert!(
        matches!(elsewhere, Err(AuthError::Delegation(_))),
        "{elsewhere:?}"
    );
    let too_many = attempt(&|d| d.targets = Some(vec![target(); 1_001]));
    assert!(
        matches!(too_many, Err(AuthError::Delegation(_))),
        "{too_many:?}"
    );
    let queries = attempt(&|d| d.permissions = Some(DelegationPermissions::Queries));
    assert!(
        matches!(queries, Err(AuthError::Delegation(_))),
        "{queries:?}"
    );
    assert_eq!(
        attempt(&|d| d.targets = Some(vec![target(); 1_000])),
        Ok(())
    );
}

#[test]
fn a_delegation_chain_that_is_too_long_or_circular_is_refused() {
    let keys: Vec<Key> = (1..=22).map(Key::ed25519).collect();
    let chain: Vec<_> = keys
        .windows(2)
        .map(|pair| delegate(&pair[0], &pair[1], |_| {}))
        .collect();
    assert_eq!(chain.len(), 21);
    let content = call(keys[0].sender(), NOW_NS + MINUTE_NS);
    let long = signed(content.clone(), &keys[0], &keys[21], chain);
    assert!(matches!(check(&long), Err(AuthError::Delegation(_))));

    let circle = vec![
        delegate(&keys[0], &keys[1], |_| {}),
        delegate(&keys[1], &keys[0], |_| {}),
    ];
    let circular = signed(content, &keys[0], &keys[0], circle);
    assert!(matches!(check(&circular), Err(AuthError::Delegation(_))));
}

#[test]
fn garbage_and_oversized_fields_are_refused_without_harm() {
    for body in [
        &b""[..],
        b"garbage",
        &[0xff; 64],
        &[0xd9, 0xd9, 0xf7, 0xa0],
        &[0x9f; 4_096],
    ] {
        let result = decode(body, "a call request");
        assert!(
            matches!(result, Err(AuthError::NotAnEnvelope { .. })),
            "{result:?}"
        );
    }
    let key = Key::ed25519(1);
    let many_paths = EnvelopeContent::ReadState {
        ingress_expiry: NOW_NS + MINUTE_NS,
        sender: key.sender(),
        paths: vec![vec!["time".into()]; PATHS_MAX + 1],
    };
    let result = check(&signed(many_paths, &key, &key, vec![]));
    assert!(
        matches!(result, Err(AuthError::TooLarge { field: "paths", .. })),
        "{result:?}"
    );
}

#[test]
fn keys_of_other_kinds_are_named_in_the_error() {
    let mut cose = vec![0x30, 0x5e, 0x30, 0x0c];
    cose.extend_from_slice(&[
        0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, 0x01,
    ]);
    let error = PublicKey::from_der(&cose).expect_err("not supported");
    assert!(error.to_string().contains("COSE"), "{error}");
    let error = PublicKey::from_der(&[1, 2, 3]).expect_err("malformed");
    assert!(error.to_string().contains("010203"), "{error}");
    let error = PublicKey::from_der(&[0; 2_000]).expect_err("too long");
    assert!(error.to_string().contains("2000 bytes"), "{error}");
}

#[test]
fn a_chain_is_for_the_canisters_that_all_its_restricted_delegations_name() {
    let (first, second) = (Key::ed25519(1), Key::ed25519(2));
    let [a, b, c] = [1, 2, 3].map(|n| Principal::from_slice(&[n]));
    let to = |targets: Option<Vec<Principal>>| {
        delegate(&first, &second, |delegation| delegation.targets = targets)
    };
    let chain = [to(Some(vec![a, b])), to(None), to(Some(vec![b, c]))];
    let both = Targets::of(&chain);
    assert_eq!([a, b, c].map(|id| both.contain(&id)), [false, true, false]);
    assert!(Targets::of(&chain[1..2]).contain(&a), "not restricted");
}
