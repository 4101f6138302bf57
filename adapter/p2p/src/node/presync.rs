//! Headers of a chain whose work is not shown yet, without storing them.
//!
//! A chain with less work than the network's costs little to make, so its headers must not fill
//! memory. They are downloaded twice, as Bitcoin Core does since version 24. The first time every
//! header is judged in the context of the one before, its work is counted, and of every
//! [`COMMITMENT_PERIOD`]th header one bit of a salted hash is kept. If the work suffices, the
//! headers are downloaded again and must show the same bits; a header is let through once
//! [`BUFFER`] more have followed, so that a peer with another chain for the second time would have
//! to guess 25 bits. Memory: at most [`MAX_COMMITMENTS`] bits and [`BUFFER`] headers of 80 bytes.

use std::collections::VecDeque;

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::hashes::siphash24;
use millrace_core::header::{ChainWork, HeaderContext, HeaderError};
use millrace_core::{Height, Network, UnixSeconds};

/// Headers of which one leaves a bit.
pub(super) const COMMITMENT_PERIOD: u32 = 600;
/// Headers held back while the chain is downloaded again.
pub(super) const BUFFER: usize = 15_000;
/// Bits kept of one chain, at most: of 6 headers a second since 2009, the most that the rule on
/// timestamps allows, until the year 2060. One bit of memory each, 2 MB in all.
pub(super) const MAX_COMMITMENTS: usize = 16_000_000;
/// Headers a second that the rule on the median of timestamps lets a chain have on average.
const HEADERS_PER_SECOND: u64 = 6;

/// Why the download ends without a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PresyncError {
    /// A header breaks a rule.
    #[error("{0}")]
    Header(HeaderError),
    /// The second time the peer showed another chain.
    #[error("header at height {height} differs from the one sent before")]
    Changed {
        /// Where.
        height: Height,
    },
    /// More headers than the time since the chain's start has room for.
    #[error("chain has more headers than fit before now, height {height}")]
    TooLong {
        /// Where.
        height: Height,
    },
    /// The peer has no more headers.
    #[error("chain ends at height {height} with work {work}, {needed} is needed")]
    LowWork {
        /// The last height.
        height: Height,
        /// The chain's work.
        work: ChainWork,
        /// The work that it must have.
        needed: ChainWork,
    },
}

/// What to do after a message of headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Headers that may be stored.
    pub release: Vec<Header>,
    /// The header to ask on from; `None` when the chain has shown its work, and the ordinary way
    /// takes over.
    pub ask_from: Option<BlockHash>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    /// Counting work.
    First,
    /// Comparing with the bits of the first pass.
    Second,
}

/// A chain that is downloaded twice.
#[derive(Clone, Debug)]
pub(super) struct Presync {
    network: Network,
    start: HeaderContext,
    last: HeaderContext,
    needed: ChainWork,
    pass: Pass,
    salt: (u64, u64),
    /// Which headers of a period leave their bit: not known to the peer.
    offset: u32,
    bits: VecDeque<u64>,
    bit_count: usize,
    bits_read: usize,
    bits_max: usize,
    buffer: VecDeque<Header>,
}

impl Presync {
    /// Starts after a stored header. `needed` is the work from genesis at which the chain is
    /// believed, `now` bounds how many headers it can have, `salt` must not be known to the peer.
    pub fn new(
        network: Network,
        start: HeaderContext,
        needed: ChainWork,
        now: UnixSeconds,
        salt: (u64, u64),
    ) -> Self {
        let seconds = now
            .get()
            .saturating_add(2 * 60 * 60)
            .saturating_sub(u64::from(start.median_time_past()));
        let bits = seconds.saturating_mul(HEADERS_PER_SECOND) / u64::from(COMMITMENT_PERIOD) + 1;
        Self {
            network,
            start,
            last: start,
            needed,
            pass: Pass::First,
            salt,
            offset: u32::try_from(salt.0 % u64::from(COMMITMENT_PERIOD)).unwrap_or(0),
            bits: VecDeque::new(),
            bit_count: 0,
            bits_read: 0,
            bits_max: usize::try_from(bits)
                .map_or(MAX_COMMITMENTS, |bits| bits.min(MAX_COMMITMENTS)),
            buffer: VecDeque::new(),
        }
    }

    /// Returns the header that the next message must follow.
    pub const fn last_hash(&self) -> BlockHash {
        self.last.hash()
    }

    /// Returns the bytes it takes in memory, besides a fixed part.
    #[cfg(test)]
    pub fn held_bytes(&self) -> usize {
        self.bits.len() * 8 + self.buffer.len() * size_of::<Header>()
    }

    /// Takes in a message of headers that follow [`Presync::last_hash`]. `is_full` says that the
    /// peer may have more.
    ///
    /// # Errors
    /// [`PresyncError`]; the download is over.
    pub fn take(
        &mut self,
        headers: &[Header],
        is_full: bool,
        now: UnixSeconds,
    ) -> Result<Step, PresyncError> {
        let step = match self.pass {
            Pass::First => self.count(headers, now)?,
            Pass::Second => self.compare(headers, now)?,
        };
        // The second pass starts over, so it may ask after a message that was not full.
        let starts_over = step.ask_from == Some(self.start.hash());
        if step.ask_from.is_some() && !is_full && !starts_over {
            return Err(PresyncError::LowWork {
                height: self.last.height(),
                work: self.last.chain_work(),
                needed: self.needed,
            });
        }
        Ok(step)
    }

    fn count(&mut self, headers: &[Header], now: UnixSeconds) -> Result<Step, PresyncError> {
        for header in headers {
            self.advance(header, now)?;
            if self.leaves_bit() {
                self.keep_bit()?;
            }
            if self.last.chain_work() >= self.needed {
                self.pass = Pass::Second;
                self.last = self.start;
                break;
            }
        }
        Ok(Step {
            release: Vec::new(),
            ask_from: Some(self.last.hash()),
        })
    }

    fn compare(&mut self, headers: &[Header], now: UnixSeconds) -> Result<Step, PresyncError> {
        for header in headers {
            // Once the work is shown again nothing is left to compare with, nor any need.
            if self.last.chain_work() < self.needed {
                self.advance(header, now)?;
                if self.leaves_bit() && self.next_bit() != Some(self.bit()) {
                    let height = self.last.height();
                    return Err(PresyncError::Changed { height });
                }
            }
            self.buffer.push_back(*header);
        }
        let is_done = self.last.chain_work() >= self.needed;
        let keep = if is_done { 0 } else { BUFFER };
        let release = self.buffer.len().saturating_sub(keep);
        Ok(Step {
            release: self.buffer.drain(..release).collect(),
            ask_from: (!is_done).then(|| self.last.hash()),
        })
    }

    fn advance(&mut self, header: &Header, now: UnixSeconds) -> Result<(), PresyncError> {
        self.last = self
            .last
            .accept(header, self.network, now)
            .map_err(PresyncError::Header)?;
        Ok(())
    }

    fn leaves_bit(&self) -> bool {
        self.last.height().get() % COMMITMENT_PERIOD == self.offset
    }

    fn bit(&self) -> bool {
        let hash = self.last.hash();
        siphash24::Hash::hash_to_u64_with_keys(self.salt.0, self.salt.1, hash.as_ref()) & 1 == 1
    }

    fn keep_bit(&mut self) -> Result<(), PresyncError> {
        if self.bit_count >= self.bits_max {
            let height = self.last.height();
            return Err(PresyncError::TooLong { height });
        }
        let position = self.bit_count % 64;
        if position == 0 {
            self.bits.push_back(0);
        }
        let bit = u64::from(self.bit()) << position;
        if let Some(word) = self.bits.back_mut() {
            *word |= bit;
        }
        self.bit_count += 1;
        Ok(())
    }

    fn next_bit(&mut self) -> Option<bool> {
        if self.bits_read >= self.bit_count {
            return None;
        }
        let word = self.bits.get(self.bits_read / 64)?;
        let bit = word >> (self.bits_read % 64) & 1 == 1;
        self.bits_read += 1;
        Some(bit)
    }
}
