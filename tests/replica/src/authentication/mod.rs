//! Checks who sent a request: envelopes, signatures, delegations and expiry.

pub mod envelope;
pub mod public_key;
