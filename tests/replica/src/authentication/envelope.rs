//! Decodes a request envelope and checks its expiry, sender, delegations and signature
//! (interface spec, "Authentication").

use super::public_key::{KeyError, PublicKey};
use candid::Principal;
use ic_transport_types::{
    DelegationPermissions, Envelope, EnvelopeContent, SenderInfo, SignedDelegation,
};
use std::collections::BTreeSet;
use std::time::Duration;

const REQUEST_DOMAIN: &[u8] = b"\x0Aic-request";
const SENDER_INFO_DOMAIN: &[u8] = b"\x0Eic-sender-info";

/// How far in the future a request may expire, drift of the validator's clock included.
const EXPIRY_MAX: Duration = Duration::from_secs(5 * 60 + 30);
/// Longest chain of delegations.
const DELEGATIONS_MAX: usize = 20;
/// Most targets of one delegation.
const DELEGATION_TARGETS_MAX: usize = 1_000;
/// Most paths of one `read_state` request, and most labels of one path.
pub const PATHS_MAX: usize = 1_000;
/// Most labels in one path.
pub const PATH_LABELS_MAX: usize = 127;
/// Longest nonce.
const NONCE_BYTES_MAX: usize = 32;

/// Why a request was refused before anything was executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The body is not a CBOR request envelope.
    #[error("could not parse body as {expected}: {reason}")]
    NotAnEnvelope {
        /// The kind of request this endpoint takes.
        expected: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// The request has expired or expires too late. The wording is the IC's: agents look for it to
    /// decide that their clock is off.
    #[error(
        "Invalid request expiry: Specified ingress_expiry not within expected range: \
         Minimum allowed expiry: {min}, Maximum allowed expiry: {max}, Provided expiry: {provided}"
    )]
    Expiry {
        /// The replica's time.
        min: String,
        /// The latest expiry accepted.
        max: String,
        /// What the request says.
        provided: String,
    },
    /// A delegation has expired.
    #[error("Invalid delegation expiry: delegation expired at {expired_at}, the time is {now}")]
    DelegationExpired {
        /// End of the delegation.
        expired_at: String,
        /// The replica's time.
        now: String,
    },
    /// The delegations do not allow this request.
    #[error("Invalid delegation: {0}")]
    Delegation(String),
    /// The sender information is not vouched for by the canister it names.
    #[error("Invalid sender_info: {0}")]
    SenderInfo(String),
    /// Sender and public key do not belong together.
    #[error("The user id {sender} does not match the public key {public_key}")]
    SenderMismatch {
        /// Claimed sender.
        sender: Principal,
        /// Hex of the key.
        public_key: String,
    },
    /// The signature is missing although the sender is not anonymous.
    #[error(
        "Missing signature from user {0}: a request of a sender who is not anonymous must be signed"
    )]
    MissingSignature(Principal),
    /// An anonymous request carries a signature.
    #[error("Signature is not allowed for the anonymous user")]
    AnonymousSignature,
    /// The signature or the key is wrong.
    #[error("Invalid signature: {0}")]
    Signature(#[from] KeyError),
    /// A field is larger than allowed.
    #[error("{field} has {found} {unit}, at most {max} are allowed")]
    TooLarge {
        /// Name of the field.
        field: &'static str,
        /// Its size.
        found: usize,
        /// Unit of the size.
        unit: &'static str,
        /// The bound.
        max: usize,
    },
}

/// What a request is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Validator<'a> {
    /// Current time of the instance.
    pub now_ns: u64,
    /// Raw root key, for canister signatures.
    pub root_key_raw: &'a [u8],
    /// Whether expiry and signatures are checked at all (`disable_ingress_validation`).
    pub enabled: bool,
}

/// Decodes the CBOR body of a request. `expected` names the endpoint's kind in the error.
///
/// # Errors
/// [`AuthError::NotAnEnvelope`].
pub fn decode(body: &[u8], expected: &'static str) -> Result<Envelope<'static>, AuthError> {
    serde_cbor::from_slice(body).map_err(|e| AuthError::NotAnEnvelope {
        expected,
        reason: e.to_string(),
    })
}

/// The canisters a chain of delegations is for: those that every restricted delegation names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets(Option<BTreeSet<Principal>>);

impl Targets {
    fn of(delegations: &[SignedDelegation]) -> Self {
        let restricted = delegations
            .iter()
            .filter_map(|signed| signed.delegation.targets.as_ref())
            .map(|targets| targets.iter().copied().collect::<BTreeSet<_>>());
        Self(restricted.reduce(|all, some| all.intersection(&some).copied().collect()))
    }

    /// Returns whether the sender may ask about requests to this canister.
    pub fn contain(&self, canister: &Principal) -> bool {
        self.0
            .as_ref()
            .is_none_or(|targets| targets.contains(canister))
    }
}

impl Validator<'_> {
    /// Checks everything about an envelope that does not depend on the state of canisters. Returns the
    /// canisters that the sender's delegations are restricted to.
    /// Anonymous requests need no signature; every other sender must match the public key.
    ///
    /// # Errors
    /// [`AuthError`] naming what is wrong.
    pub fn check(&self, envelope: &Envelope<'_>) -> Result<Targets, AuthError> {
        let content = envelope.content.as_ref();
        check_sizes(content)?;
        if !self.enabled {
            return Ok(Targets::default());
        }
        // As on the IC: an anonymous query or read has nothing to replay, so its expiry is free.
        if !(matches!(
            content,
            EnvelopeContent::Query { .. } | EnvelopeContent::ReadState { .. }
        ) && content.sender() == &Principal::anonymous())
        {
            self.check_expiry(content.ingress_expiry())?;
        }
        let targets = self.check_sender(envelope)?;
        self.check_sender_info(envelope)?;
        Ok(targets)
    }

    fn check_expiry(&self, provided_ns: u64) -> Result<(), AuthError> {
        let max_ns = self
            .now_ns
            .saturating_add(u64::try_from(EXPIRY_MAX.as_nanos()).unwrap_or(u64::MAX));
        if (self.now_ns..=max_ns).contains(&provided_ns) {
            return Ok(());
        }
        Err(AuthError::Expiry {
            min: display_time(self.now_ns),
            max: display_time(max_ns),
            provided: display_time(provided_ns),
        })
    }

    fn check_sender(&self, envelope: &Envelope<'_>) -> Result<Targets, AuthError> {
        let content = envelope.content.as_ref();
        let sender = *content.sender();
        if sender == Principal::anonymous() {
            let unsigned = envelope.sender_pubkey.is_none()
                && envelope.sender_sig.is_none()
                && envelope.sender_delegation.is_none();
            return if unsigned {
                Ok(Targets::default())
            } else {
                Err(AuthError::AnonymousSignature)
            };
        }
        let (Some(public_key), Some(signature)) = (&envelope.sender_pubkey, &envelope.sender_sig)
        else {
            return Err(AuthError::MissingSignature(sender));
        };
        if Principal::self_authenticating(public_key) != sender {
            return Err(AuthError::SenderMismatch {
                sender,
                public_key: hex::encode(public_key),
            });
        }
        let delegations = envelope.sender_delegation.as_deref().unwrap_or_default();
        let signer = self.check_delegations(public_key, delegations, content)?;
        let mut message = REQUEST_DOMAIN.to_vec();
        message.extend_from_slice(content.to_request_id().as_slice());
        PublicKey::from_der(&signer)?.verify(&message, signature, self.root_key_raw)?;
        Ok(Targets::of(delegations))
    }

    /// Follows the chain from the sender's key to the key that signs the request; returns that key.
    fn check_delegations(
        &self,
        first_key: &[u8],
        delegations: &[SignedDelegation],
        content: &EnvelopeContent,
    ) -> Result<Vec<u8>, AuthError> {
        if delegations.len() > DELEGATIONS_MAX {
            return Err(AuthError::Delegation(format!(
                "{} delegations, at most {DELEGATIONS_MAX} are allowed",
                delegations.len()
            )));
        }
        let mut key = first_key.to_vec();
        let mut seen = BTreeSet::from([key.clone()]);
        for signed in delegations {
            PublicKey::from_der(&key)?.verify(
                &signed.delegation.signable(),
                &signed.signature,
                self.root_key_raw,
            )?;
            self.check_scope(signed, content)?;
            key.clone_from(&signed.delegation.pubkey);
            if !seen.insert(key.clone()) {
                return Err(AuthError::Delegation(format!(
                    "the chain contains a cycle through the key {}",
                    hex::encode(&key)
                )));
            }
        }
        Ok(key)
    }

    fn check_scope(
        &self,
        signed: &SignedDelegation,
        content: &EnvelopeContent,
    ) -> Result<(), AuthError> {
        let delegation = &signed.delegation;
        if delegation.expiration < self.now_ns {
            return Err(AuthError::DelegationExpired {
                expired_at: display_time(delegation.expiration),
                now: display_time(self.now_ns),
            });
        }
        if delegation.permissions == Some(DelegationPermissions::Queries)
            && matches!(content, EnvelopeContent::Call { .. })
        {
            return Err(AuthError::Delegation(
                "the delegation permits queries only, and this is an update call".to_owned(),
            ));
        }
        let Some(targets) = &delegation.targets else {
            return Ok(());
        };
        if targets.len() > DELEGATION_TARGETS_MAX {
            return Err(AuthError::Delegation(format!(
                "{} targets, at most {DELEGATION_TARGETS_MAX} are allowed",
                targets.len()
            )));
        }
        let canister = match content {
            EnvelopeContent::Call { canister_id, .. }
            | EnvelopeContent::Query { canister_id, .. } => canister_id,
            // A read names no canister; who answers it checks the receiver of each request it is about.
            EnvelopeContent::ReadState { .. } => return Ok(()),
        };
        if targets.contains(canister) {
            Ok(())
        } else {
            Err(AuthError::Delegation(format!(
                "canister {canister} is not one of the delegation's targets"
            )))
        }
    }

    fn check_sender_info(&self, envelope: &Envelope<'_>) -> Result<(), AuthError> {
        let Some(info) = sender_info(&envelope.content) else {
            return Ok(());
        };
        let Some(public_key) = &envelope.sender_pubkey else {
            return Err(AuthError::MissingSignature(*envelope.content.sender()));
        };
        let key = PublicKey::from_der(public_key)?;
        let Some(signer) = key.signing_canister() else {
            return Err(AuthError::SenderInfo(
                "it needs a canister signature key as the sender's public key".to_owned(),
            ));
        };
        if signer.as_slice() != info.signer {
            return Err(AuthError::SenderInfo(format!(
                "signer {} is not the canister {signer} of the sender's public key",
                hex::encode(&info.signer)
            )));
        }
        let mut message = SENDER_INFO_DOMAIN.to_vec();
        message.extend_from_slice(&info.info);
        Ok(key.verify(&message, &info.sig, self.root_key_raw)?)
    }
}

/// Returns the canister-certified sender information of a request.
fn sender_info(content: &EnvelopeContent) -> Option<&SenderInfo> {
    match content {
        EnvelopeContent::Call { sender_info, .. } | EnvelopeContent::Query { sender_info, .. } => {
            sender_info.as_ref()
        }
        EnvelopeContent::ReadState { .. } => None,
    }
}

fn check_sizes(content: &EnvelopeContent) -> Result<(), AuthError> {
    match content {
        EnvelopeContent::Call { nonce, .. } | EnvelopeContent::Query { nonce, .. } => bounded(
            "nonce",
            nonce.as_ref().map_or(0, Vec::len),
            "bytes",
            NONCE_BYTES_MAX,
        ),
        EnvelopeContent::ReadState { paths, .. } => {
            bounded("paths", paths.len(), "paths", PATHS_MAX)?;
            let longest = paths.iter().map(Vec::len).max().unwrap_or_default();
            bounded("path", longest, "labels", PATH_LABELS_MAX)
        }
    }
}

fn bounded(
    field: &'static str,
    found: usize,
    unit: &'static str,
    max: usize,
) -> Result<(), AuthError> {
    if found <= max {
        return Ok(());
    }
    Err(AuthError::TooLarge {
        field,
        found,
        unit,
        max,
    })
}

/// Returns a time as people and agents read it, in UTC.
pub fn display_time(time_ns: u64) -> String {
    let Ok(time) = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ns)) else {
        return format!("{time_ns} ns");
    };
    format!(
        "{} {:02}:{:02}:{:02}.{:09} UTC",
        time.date(),
        time.hour(),
        time.minute(),
        time.second(),
        time.nanosecond()
    )
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
