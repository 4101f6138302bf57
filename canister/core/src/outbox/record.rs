//! The stable form of one transaction in the outbox.
//!
//! ```text
//! size u32, submitted u64, since u64, state u8, state's fields, inclusions: block 32, height u32 each
//!   0 queued   1 announced: peers u32   2 seen   3 handed over
//!   4 rejected: length u16, reason      5 expired   6 settled: block 32, height u32
//! ```
//!
//! Numbers are little endian.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Txid};

use super::machine::{Entry, Relay};
use super::{MAX_INCLUSIONS, Outbox};
use crate::bytes::Reader;
use crate::units::{Height, UnixSeconds};

/// A record that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outbox record of transaction {txid} cannot be read")]
pub struct RecordError {
    /// The transaction.
    pub txid: Txid,
}

impl Outbox {
    /// Returns a transaction's stable form.
    pub fn record(&self, txid: &Txid) -> Option<Vec<u8>> {
        self.entries.get(txid).map(Entry::encode)
    }

    /// Rebuilds the outbox from all its records.
    ///
    /// # Errors
    /// [`RecordError`] names the first record that cannot be read.
    pub fn restore(records: impl Iterator<Item = (Txid, Vec<u8>)>) -> Result<Self, RecordError> {
        let mut outbox = Self::default();
        for (txid, bytes) in records {
            let entry = Entry::decode(&bytes).ok_or(RecordError { txid })?;
            outbox.entries.insert(txid, entry);
        }
        Ok(outbox)
    }
}

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.size.to_le_bytes());
        out.extend(self.submitted.get().to_le_bytes());
        out.extend(self.since.get().to_le_bytes());
        match &self.relay {
            Relay::Queued => out.push(0),
            Relay::Announced { peers } => {
                out.push(1);
                out.extend(peers.to_le_bytes());
            }
            Relay::Seen => out.push(2),
            Relay::HandedOver => out.push(3),
            Relay::Rejected { reason } => {
                out.push(4);
                // At most MAX_REASON_BYTES.
                out.extend((reason.len() as u16).to_le_bytes());
                out.extend(reason.as_bytes());
            }
            Relay::Expired => out.push(5),
            Relay::Settled { block, height } => {
                out.push(6);
                put_block(&mut out, block, *height);
            }
        }
        for (block, height) in &self.inclusions {
            put_block(&mut out, block, *height);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let size = reader.u32()?;
        let submitted = UnixSeconds::new(reader.u64()?);
        let since = UnixSeconds::new(reader.u64()?);
        let relay = match reader.u8()? {
            0 => Relay::Queued,
            1 => Relay::Announced {
                peers: reader.u32()?,
            },
            2 => Relay::Seen,
            3 => Relay::HandedOver,
            4 => {
                let length = u16::from_le_bytes(reader.array()?);
                let reason: Option<Vec<u8>> = (0..length).map(|_| reader.u8()).collect();
                Relay::Rejected {
                    reason: String::from_utf8(reason?).ok()?,
                }
            }
            5 => Relay::Expired,
            6 => {
                let (block, height) = take_block(&mut reader)?;
                Relay::Settled { block, height }
            }
            _ => return None,
        };
        let mut inclusions = Vec::new();
        while !reader.is_empty() {
            inclusions.push(take_block(&mut reader)?);
        }
        (inclusions.len() <= MAX_INCLUSIONS).then_some(Self {
            size,
            submitted,
            since,
            relay,
            inclusions,
        })
    }
}

fn put_block(out: &mut Vec<u8>, block: &BlockHash, height: Height) {
    out.extend(block.as_byte_array());
    out.extend(height.get().to_le_bytes());
}

fn take_block(reader: &mut Reader<'_>) -> Option<(BlockHash, Height)> {
    let block = BlockHash::from_byte_array(reader.array()?);
    Some((block, Height::new(reader.u32()?)))
}
