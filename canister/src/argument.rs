//! Decodes the arguments of calls. `init` and `post_upgrade` have their own rules: see
//! [`crate::lifecycle`].

mod plain;

use candid::{CandidType, DecoderConfig};
use serde::de::DeserializeOwned;

/// What decoding an argument may cost, in Candid's units of about a byte: four times the largest
/// message of the IC, for what fields and elements cost besides their bytes. A short message can
/// stand for billions of empty values.
const DECODING_QUOTA: usize = 4 * 2 * 1024 * 1024;

/// What passing over unknown fields may cost, in the same units.
const SKIPPING_QUOTA: usize = 10_000;

/// The argument is not the one the contract has for the method.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode the argument: {0:#}; see this canister's candid:service")]
pub struct BadArgument(candid::Error);

/// Decodes the only argument of a call. Costs some thousand instructions for what reads are asked with, and at
/// most about a hundred for each of 8 Mi units.
///
/// # Errors
/// [`BadArgument`]; the call is refused with its text.
pub fn decode<T: CandidType + DeserializeOwned>(bytes: &[u8]) -> Result<T, BadArgument> {
    match plain::decode(bytes) {
        Some(plain) => Ok(plain),
        None => decode_any(bytes),
    }
}

/// As [`decode`], by Candid's own decoder.
fn decode_any<T: CandidType + DeserializeOwned>(bytes: &[u8]) -> Result<T, BadArgument> {
    let mut limits = DecoderConfig::new();
    limits
        .set_decoding_quota(DECODING_QUOTA)
        .set_skipping_quota(SKIPPING_QUOTA)
        // Else the text repeats the argument in hex wherever candid is not compiled to Wasm.
        .set_full_error_message(false);
    candid::decode_one_with_config(bytes, &limits).map_err(BadArgument)
}

#[cfg(test)]
mod tests {
    use millrace_candid::{BlockPart, FeedStateArgs, GetUtxosArgs, SetConfigRequest};
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::feed::{MAX_LOCATOR, MAX_MESSAGE_BYTES, MAX_PARTS};

    fn part(bytes: usize) -> BlockPart {
        BlockPart {
            hash: ByteBuf::from([7; 32]),
            size: 100,
            offset: 0,
            bytes: ByteBuf::from(vec![7; bytes]),
        }
    }

    #[test]
    fn the_largest_arguments_decode() {
        let each = MAX_MESSAGE_BYTES as usize / MAX_PARTS;
        for parts in [
            vec![part(MAX_MESSAGE_BYTES as usize)],
            vec![part(each); MAX_PARTS],
            // More parts than are taken: the canister says so itself.
            vec![part(1); 40_000],
        ] {
            let bytes = candid::encode_one(&parts).unwrap();
            assert_eq!(decode::<Vec<BlockPart>>(&bytes).unwrap(), parts);
        }
        let args = FeedStateArgs {
            locator: vec![ByteBuf::from([7; 32]); MAX_LOCATOR],
        };
        let bytes = candid::encode_one(&args).unwrap();
        assert_eq!(decode::<FeedStateArgs>(&bytes).unwrap(), args);
    }

    #[test]
    fn other_arguments_are_refused_with_what_is_wrong_and_where_to_look() {
        // `vec null` and `vec empty`, of 2^32 - 1 elements each.
        let nulls = b"DIDL\x01\x6d\x7f\x01\x00\xff\xff\xff\xff\x0f";
        let empties = b"DIDL\x01\x6d\x6f\x01\x00\xff\xff\xff\xff\x0f";
        let types = candid::encode_args((7u8, "seven")).unwrap();
        for bytes in [
            &b""[..],
            b"DIDL",
            b"DIDL\x00\x00",
            b"not candid",
            nulls,
            empties,
            &types,
        ] {
            let texts = [
                decode::<GetUtxosArgs>(bytes).map(drop),
                decode::<Vec<BlockPart>>(bytes).map(drop),
                decode::<SetConfigRequest>(bytes).map(drop),
            ]
            .map(|refused| refused.unwrap_err().to_string());
            for text in texts {
                let parts = text.strip_prefix("cannot decode the argument: ");
                let reason = parts
                    .and_then(|rest| rest.strip_suffix("; see this canister's candid:service"));
                assert!(reason.is_some_and(|reason| !reason.is_empty()), "{text}");
            }
        }
    }

    #[test]
    fn unknown_fields_of_any_size_are_not_passed_over() {
        let args = candid::encode_args((SetConfigRequest::default(), vec![7u8; 20_000])).unwrap();
        let text = decode::<SetConfigRequest>(&args).unwrap_err().to_string();
        assert!(text.contains("cost exceeds the limit"), "{text}");
        assert!(text.len() < 200, "{text}");
    }
}
