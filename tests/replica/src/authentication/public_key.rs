//! The public keys a sender may have, from their DER form, and signature checks with them.

use candid::Principal;
use ic_signature_verification::verify_canister_sig;
use k256::ecdsa::signature::Verifier;
use k256::pkcs8::DecodePublicKey;

/// Object identifiers as they appear in a `SubjectPublicKeyInfo`.
const OID_ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const OID_SECP256K1: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
const OID_P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_CANISTER: &[u8] = &[
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, 0x02,
];
const OID_COSE: &[u8] = &[
    0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xb8, 0x43, 0x01, 0x01,
];

/// Where an algorithm identifier ends at the latest; the key itself comes after it.
const DER_HEADER_BYTES_MAX: usize = 32;
/// Longest DER-encoded public key accepted. Canister signature keys carry a seed of any length.
const PUBLIC_KEY_BYTES_MAX: usize = 1_024;

/// Why a public key or signature was refused. Permanent: the same bytes are always refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a DER public key of a supported algorithm.
    #[error("unsupported or malformed public key {0} ({1})")]
    Malformed(String, String),
    /// The algorithm is known and not supported here.
    #[error("public key algorithm {0} is not supported by this replica")]
    Unsupported(&'static str),
    /// The signature does not match message and key.
    #[error("{algorithm} signature could not be verified: {reason}")]
    BadSignature {
        /// Name of the algorithm.
        algorithm: &'static str,
        /// What the verifier said.
        reason: String,
    },
}

/// A parsed public key.
#[derive(Debug)]
pub enum PublicKey {
    /// Ed25519 (RFC 8410).
    Ed25519(ic_ed25519::PublicKey),
    /// ECDSA over secp256k1 with SHA-256.
    Secp256k1(Box<k256::ecdsa::VerifyingKey>),
    /// ECDSA over NIST P-256 with SHA-256.
    P256(Box<p256::ecdsa::VerifyingKey>),
    /// An IC canister signature key; kept in DER form.
    Canister(Vec<u8>),
}

impl PublicKey {
    /// Parses a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// [`KeyError`] when the key is malformed or its algorithm is not supported.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let malformed = |reason: String| KeyError::Malformed(shown(der), reason);
        if der.len() > PUBLIC_KEY_BYTES_MAX {
            return Err(malformed(format!(
                "{} bytes, at most {PUBLIC_KEY_BYTES_MAX} are accepted",
                der.len()
            )));
        }
        let header = &der[..der.len().min(DER_HEADER_BYTES_MAX)];
        let has = |oid: &[u8]| header.windows(oid.len()).any(|window| window == oid);
        if has(OID_ED25519) {
            ic_ed25519::PublicKey::deserialize_rfc8410_der(der)
                .map(Self::Ed25519)
                .map_err(|e| malformed(format!("{e:?}")))
        } else if has(OID_SECP256K1) {
            k256::ecdsa::VerifyingKey::from_public_key_der(der)
                .map(|key| Self::Secp256k1(Box::new(key)))
                .map_err(|e| malformed(e.to_string()))
        } else if has(OID_P256) {
            p256::ecdsa::VerifyingKey::from_public_key_der(der)
                .map(|key| Self::P256(Box::new(key)))
                .map_err(|e| malformed(e.to_string()))
        } else if has(OID_CANISTER) {
            Ok(Self::Canister(der.to_vec()))
        } else if has(OID_COSE) {
            Err(KeyError::Unsupported("COSE (WebAuthn)"))
        } else {
            Err(malformed("unknown algorithm".to_owned()))
        }
    }

    /// Returns the canister that signs with this key, when it is a canister signature key.
    pub fn signing_canister(&self) -> Option<Principal> {
        let Self::Canister(der) = self else {
            return None;
        };
        let oid = der
            .windows(OID_CANISTER.len())
            .position(|window| window == OID_CANISTER)?;
        // A bit string follows: tag, length of one to three bytes, no unused bits; then the length of the
        // canister id, the id and the seed.
        let [0x03, length, rest @ ..] = der.get(oid + OID_CANISTER.len()..)? else {
            return None;
        };
        let more = usize::from(length.checked_sub(0x80).unwrap_or_default());
        let [0, id_bytes, rest @ ..] = rest.get(more..)? else {
            return None;
        };
        Principal::try_from_slice(rest.get(..usize::from(*id_bytes))?).ok()
    }

    /// Checks `signature` over `message`. Canister signatures are checked against `root_key_raw`,
    /// the 96-byte root key of the network.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`] when it does not verify.
    pub fn verify(
        &self,
        message: &[u8],
        signature: &[u8],
        root_key_raw: &[u8],
    ) -> Result<(), KeyError> {
        let (algorithm, result) = match self {
            Self::Ed25519(key) => (
                "Ed25519",
                key.verify_signature(message, signature)
                    .map_err(|e| format!("{e:?}")),
            ),
            Self::Secp256k1(key) => ("ECDSA secp256k1", verify_k256(key, message, signature)),
            Self::P256(key) => (
                "ECDSA P-256",
                p256::ecdsa::Signature::from_slice(signature)
                    .and_then(|signature| key.verify(message, &signature))
                    .map_err(|e| e.to_string()),
            ),
            Self::Canister(der) => (
                "IC canister",
                verify_canister_sig(message, signature, der, root_key_raw),
            ),
        };
        result.map_err(|reason| KeyError::BadSignature { algorithm, reason })
    }
}

/// Returns the principal that authenticates with this DER-encoded key.
pub fn self_authenticating(der: &[u8]) -> Principal {
    Principal::self_authenticating(der)
}

fn verify_k256(
    key: &k256::ecdsa::VerifyingKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    let signature = k256::ecdsa::Signature::from_slice(signature).map_err(|e| e.to_string())?;
    // The IC accepts both forms of s; the crate accepts only the lower one.
    let signature = signature.normalize_s().unwrap_or(signature);
    key.verify(message, &signature).map_err(|e| e.to_string())
}

fn shown(der: &[u8]) -> String {
    const SHOWN_BYTES: usize = 48;
    if der.len() <= SHOWN_BYTES {
        hex::encode(der)
    } else {
        format!("{}…", hex::encode(&der[..SHOWN_BYTES]))
    }
}
