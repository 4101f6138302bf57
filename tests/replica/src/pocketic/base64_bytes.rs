//! Serde form of binary fields in the PocketIC protocol: standard, padded base64 strings.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Deserializer, Serializer};
use std::borrow::Cow;

/// Writes `bytes` as base64.
pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

/// Reads base64.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    BASE64_STANDARD
        .decode(text.as_bytes())
        .map_err(serde::de::Error::custom)
}
