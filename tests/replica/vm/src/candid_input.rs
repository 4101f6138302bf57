//! Decodes Candid that users and canisters supply, with work bounded by its size.
//!
//! Candid can describe values that take no bytes: a dozen bytes say "2^50 nulls", and a decoder without
//! quotas walks through all of them, on its own when it skips a field it does not know.

use candid::de::DecoderConfig;
use candid::utils::decode_one_with_config;
use candid::{CandidType, Deserialize};

/// Work that small arguments may cost, in candid's units: a value is a few of them.
const FREE_STEPS: usize = 10_000;
/// Work per byte; a skipped blob costs five per byte.
const STEPS_PER_BYTE: usize = 16;
/// What candid multiplies the cost of skipped values by when it takes it from the decoding quota.
const SKIPPING_PENALTY: usize = 50;

/// Returns candid's quotas for an argument of this many bytes, for decoders that need the configuration.
#[must_use]
pub fn candid_quotas(bytes: usize) -> DecoderConfig {
    let steps = FREE_STEPS.saturating_add(bytes.saturating_mul(STEPS_PER_BYTE));
    let mut config = DecoderConfig::new();
    config.set_skipping_quota(steps);
    config.set_decoding_quota(steps.saturating_mul(SKIPPING_PENALTY + 1));
    // Else an error's text repeats the whole argument in hex.
    config.set_full_error_message(false);
    config
}

/// Decodes the first of the arguments, skipping the others. Costs time linear in the size of `bytes`.
///
/// # Errors
/// When the bytes are no Candid, are of another type, or describe more than their size justifies.
pub fn decode_candid<'a, T>(bytes: &'a [u8]) -> candid::Result<T>
where
    T: Deserialize<'a> + CandidType,
{
    decode_one_with_config(bytes, &candid_quotas(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(CandidType, Deserialize)]
    struct Known {
        known: u64,
    }

    #[derive(CandidType, Deserialize)]
    struct WithBlob {
        known: u64,
        #[serde(with = "serde_bytes")]
        unknown: Vec<u8>,
    }

    /// Returns arguments of which the second is `vec null` with this many elements.
    fn with_nulls(count: u64) -> Vec<u8> {
        let mut bytes = b"DIDL\x02\x6d\x7f\x6c\x01".to_vec();
        bytes.extend(leb128(candid::idl_hash("known").into()));
        // The record's field is a nat64; the arguments are the record and the vector.
        bytes.extend(b"\x78\x02\x01\x00");
        bytes.extend(7_u64.to_le_bytes());
        bytes.extend(leb128(count));
        bytes
    }

    fn leb128(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(u8::try_from(number & 0x7f).expect("7 bits") | 0x80);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).expect("7 bits"));
        bytes
    }

    #[test]
    fn values_without_bytes_do_not_keep_the_decoder_busy() {
        let few: Known = decode_candid(&with_nulls(3)).expect("an argument more is skipped");
        assert_eq!(few.known, 7);
        // Without quotas this does not come back.
        let many = decode_candid::<Known>(&with_nulls(1 << 50));
        assert!(many.is_err());
    }

    #[test]
    fn a_large_unknown_blob_is_skipped() {
        let value = WithBlob {
            known: 7,
            unknown: vec![1; 3 << 20],
        };
        let bytes = candid::encode_one(&value).expect("encodes");
        assert_eq!(decode_candid::<Known>(&bytes).expect("decodes").known, 7);
        let all: WithBlob = decode_candid(&bytes).expect("decodes");
        assert_eq!(all.unknown, value.unknown);
    }
}
