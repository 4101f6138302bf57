//! An error's text together with its causes'.

use std::error::Error;

/// Causes told, at most.
const MAX_CAUSES: usize = 8;

/// Returns what an error says and, after colons, what its causes say. The crate `bitcoin` puts what is
/// wrong with given bytes or text into the cause alone: its own words are `IO error`.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(told) = cause else {
            break;
        };
        text.push_str(": ");
        text.push_str(&told.to_string());
        cause = told.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use bitcoin::address::NetworkUnchecked;
    use bitcoin::consensus::deserialize;
    use bitcoin::{Address, Transaction};

    use super::*;

    #[test]
    fn an_error_is_told_with_what_caused_it() {
        let short = deserialize::<Transaction>(&[1, 2, 3]).unwrap_err();
        assert_eq!(short.to_string(), "IO error");
        assert_eq!(with_causes(&short), "IO error: I/O Error: UnexpectedEof");
        let no_address = "nobody".parse::<Address<NetworkUnchecked>>().unwrap_err();
        assert_eq!(
            with_causes(&no_address),
            "base58 error: incorrect checksum: base58 checksum 0x2824ebff does not match expected 0x795c03f3"
        );
    }
}
