//! Where transactions are in a block's bytes.

use bitcoin::{Transaction, Txid, VarInt};

use super::{CheckedBlock, HEADER_BYTES};

/// One transaction's place in the consensus encoding of its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionPlace {
    /// The transaction's id.
    pub txid: Txid,
    /// Its place among the transactions; the coinbase has 0.
    pub position: u32,
    /// Its first byte.
    pub offset: u32,
    /// Its bytes, witness data included if the block came with it.
    pub length: u32,
}

impl CheckedBlock {
    /// Returns where the transactions are in the bytes the block was decoded from, in block order.
    /// Hashes nothing: each transaction is measured once.
    ///
    /// The decoder takes each block in one encoding only, so that what encoding it again would
    /// write is what was read.
    pub fn places(&self) -> impl ExactSizeIterator<Item = TransactionPlace> {
        let counts = VarInt::from(self.block.txdata.len()).size();
        let mut offset = field(HEADER_BYTES + counts);
        let transactions = self.txids.iter().zip(&self.block.txdata).enumerate();
        transactions.map(move |(position, (txid, transaction))| {
            let place = TransactionPlace {
                txid: *txid,
                position: field(position),
                offset,
                length: field(Transaction::total_size(transaction)),
            };
            offset = offset.saturating_add(place.length);
            place
        })
    }
}

/// A block has at most [`super::MAX_BLOCK_BYTES`], far below 32 bits.
fn field(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
