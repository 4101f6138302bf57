//! Takes bytes and numbers, and hashes what was taken.

use bitcoin::hashes::HashEngine;

use super::ScanError;
use super::hashing::LONG_BYTES;
use super::open::{Engines, Region};
use super::scanner::{BlockScanner, FIXED_BYTES, Scan};
use super::window::BlockBytes;
use crate::block::BlockError;

/// Why bytes are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it ends within a transaction, after {0} bytes")]
    Ends(u32),
    #[error("a number at byte {0} is written longer than it need be")]
    NotMinimal(u32),
    #[error("the transaction at byte {0} has the unknown flag {1}")]
    Flag(u32, u8),
    #[error("the transaction at byte {0} has witness data but no inputs")]
    NoInputs(u32),
    #[error("the transaction at byte {0} says it has witness data and has none")]
    NoWitness(u32),
}

impl BlockScanner {
    /// Passes over up to `left` bytes, no more than the window holds; returns how many are left.
    pub(super) fn pass<B: BlockBytes + ?Sized>(
        &mut self,
        source: &B,
        left: u64,
    ) -> Scan<u64, B::Error> {
        if left > 0 && self.window.ready() == 0 {
            self.need(source, 1)?;
        }
        let now = left.min(self.window.ready() as u64);
        let is_counted = self.judges && (self.open.region == Region::Base || self.open.items == 0);
        let bytes = self.window.take(now as usize);
        if is_counted {
            self.open.counter.push(bytes);
        }
        if self.open.region == Region::Witness {
            self.open.witness_bytes += now as u32;
        }
        Ok(left - now)
    }

    /// Makes sure that the next `count` bytes are at hand.
    pub(super) fn need<B: BlockBytes + ?Sized>(
        &mut self,
        source: &B,
        count: usize,
    ) -> Scan<(), B::Error> {
        if self.window.ready() >= count {
            return Ok(());
        }
        self.flush(source)?;
        self.window.refill(source).map_err(ScanError::Bytes)?;
        if self.window.ready() < count {
            return Err(self.malformed(Malformed::Ends(source.length())));
        }
        Ok(())
    }

    /// Takes four bytes that are at hand.
    pub(super) fn fixed(&mut self) -> u32 {
        let bytes = self.window.take(FIXED_BYTES).first_chunk().copied();
        u32::from_le_bytes(bytes.unwrap_or_default())
    }

    /// Takes a number in Bitcoin's variable length.
    pub(super) fn number<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<u64, B::Error> {
        self.need(source, 1)?;
        let first = self.window.take(1).first().copied().unwrap_or_default();
        let (bytes, least) = match first {
            0xfd => (2, 0xfd),
            0xfe => (4, 0x1_0000),
            0xff => (8, 0x1_0000_0000),
            short => return Ok(u64::from(short)),
        };
        let offset = self.window.offset() - 1;
        self.need(source, bytes)?;
        let digits = self.window.take(bytes).iter().rev();
        let number = digits.fold(0, |number, digit| number << 8 | u64::from(*digit));
        if number < least {
            return Err(self.malformed(Malformed::NotMinimal(offset)));
        }
        Ok(number)
    }

    pub(super) fn enter<B: BlockBytes + ?Sized>(
        &mut self,
        source: &B,
        region: Region,
    ) -> Scan<(), B::Error> {
        if self.open.region != region {
            self.flush(source)?;
            self.open.region = region;
        }
        Ok(())
    }

    /// Lets the bytes go that were taken since the last time; those of a long transaction are hashed.
    pub(super) fn flush<B: BlockBytes + ?Sized>(&mut self, source: &B) -> Scan<(), B::Error> {
        if let Some(engines) = &mut self.open.engines {
            let bytes = self.window.pending();
            if self.open.region == Region::Base {
                engines.base.input(bytes);
            }
            if self.judges {
                engines.whole.input(bytes);
            }
        } else if self.window.offset() - self.open.offset > LONG_BYTES {
            self.open.engines = Some(self.catch_up(source)?);
        }
        self.window.settle();
        Ok(())
    }

    /// Hashes a transaction as far as it was read, which is hardly more than a window.
    fn catch_up<B: BlockBytes + ?Sized>(&self, source: &B) -> Scan<Box<Engines>, B::Error> {
        let mut engines = Box::new(Engines::new());
        let (from, to) = (self.open.offset, self.window.offset());
        let mut bytes = vec![0; (to - from) as usize];
        source.read(from, &mut bytes).map_err(ScanError::Bytes)?;
        if self.judges {
            engines.whole.input(&bytes);
        }
        let witness_at = self.open.witness_at.unwrap_or(to);
        let base = bytes.get(..(witness_at - from) as usize);
        let base = base.unwrap_or_default();
        if self.open.is_segwit {
            let (version, rest) = base.split_at_checked(FIXED_BYTES).unwrap_or((base, &[]));
            engines.base.input(version);
            engines.base.input(rest.get(2..).unwrap_or_default());
        } else {
            engines.base.input(base);
        }
        Ok(engines)
    }

    pub(super) fn malformed<E>(&self, reason: Malformed) -> ScanError<E> {
        ScanError::Block(BlockError::Malformed {
            hash: self.found.hash,
            reason: reason.to_string(),
        })
    }
}
