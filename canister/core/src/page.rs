//! The 72-byte page token: where a paged list of coins goes on.
//!
//! ```text
//! offset size
//!      0   32  hash of the tip the list was read at
//!     32    4  height of the next coin, u32 BE, all bits flipped
//!     36   32  transaction id of the next coin
//!     68    4  output index of the next coin, u32 LE
//!     72
//! ```
//!
//! Lists run by height descending, then transaction id bytes, then output index. Flipping the
//! height makes bytes 32..68 sort in that order. The format is that of the official canister.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint, Txid};

use crate::bytes::{Reader, fixed};
use crate::units::Height;

/// Size of an encoded [`Page`].
pub const PAGE_BYTES: usize = 72;

/// A place in a list of coins: the first item of the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The tip the list was read at.
    pub tip: BlockHash,
    /// Height of the next coin.
    pub height: Height,
    /// Outpoint of the next coin.
    pub outpoint: OutPoint,
}

/// A page token of the wrong length; every token of the right length reads as some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "page token has {length} bytes, expected are {PAGE_BYTES}; pass back the token of the previous answer unchanged"
)]
pub struct PageError {
    /// Length of the given token in bytes.
    pub length: usize,
}

/// Position of a coin in a list: compares by height descending, transaction id bytes, index.
pub type PagePosition = (std::cmp::Reverse<Height>, [u8; 32], u32);

/// Returns the sort key of a coin in lists.
pub fn position(height: Height, outpoint: &OutPoint) -> PagePosition {
    (
        std::cmp::Reverse(height),
        outpoint.txid.to_byte_array(),
        outpoint.vout,
    )
}

impl Page {
    /// Returns the token.
    pub fn encode(&self) -> [u8; PAGE_BYTES] {
        fixed(&[
            self.tip.as_byte_array(),
            &(!self.height.get()).to_be_bytes(),
            self.outpoint.txid.as_byte_array(),
            &self.outpoint.vout.to_le_bytes(),
        ])
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`PageError`] when the length is not [`PAGE_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let error = PageError {
            length: bytes.len(),
        };
        if bytes.len() != PAGE_BYTES {
            return Err(error);
        }
        let mut reader = Reader::new(bytes);
        Self::read(&mut reader).ok_or(error)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            tip: BlockHash::from_byte_array(reader.array()?),
            height: Height::new(!u32::from_be_bytes(reader.array()?)),
            outpoint: OutPoint {
                txid: Txid::from_byte_array(reader.array()?),
                vout: reader.u32()?,
            },
        })
    }

    /// Returns the place in list order.
    pub fn position(&self) -> PagePosition {
        position(self.height, &self.outpoint)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(height: u32, txid: u8, vout: u32) -> Page {
        Page {
            tip: BlockHash::from_byte_array([9; 32]),
            height: Height::new(height),
            outpoint: OutPoint {
                txid: Txid::from_byte_array([txid; 32]),
                vout,
            },
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_official_canister() {
        let mut expected = vec![9; 32];
        expected.extend([0xff, 0xff, 0xff, 0xfe]);
        expected.extend([7; 32]);
        expected.extend([5, 1, 0, 0]);
        assert_eq!(page(1, 7, 261).encode().to_vec(), expected);
    }

    #[test]
    fn a_token_of_another_length_is_refused() {
        for length in [0, 71, 73] {
            assert_eq!(
                Page::decode(&vec![0; length]),
                Err(PageError { length }),
                "{length}"
            );
        }
    }

    #[test]
    fn lists_run_from_new_to_old_then_by_transaction_then_by_index() {
        let ordered = [
            page(8, 9, 9),
            page(7, 1, 2),
            page(7, 2, 0),
            page(7, 2, 256),
            page(0, 0, 0),
        ];
        assert!(ordered.is_sorted_by_key(Page::position));
    }

    proptest! {
        #[test]
        fn tokens_read_back_and_sort_like_positions(a in any::<[u8; 36]>(), b in any::<[u8; 36]>()) {
            // Index 0, since indexes are little-endian in the token and do not sort there.
            let token = |place: &[u8; 36]| {
                let mut bytes = [0; PAGE_BYTES];
                bytes[32..68].copy_from_slice(place);
                bytes
            };
            let (first, second) = (Page::decode(&token(&a)).unwrap(), Page::decode(&token(&b)).unwrap());
            prop_assert_eq!(first.encode(), token(&a));
            prop_assert_eq!(first.position().cmp(&second.position()), a.cmp(&b));
        }
    }
}
