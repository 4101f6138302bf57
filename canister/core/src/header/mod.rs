//! Judges whether a header may follow its parent, with nothing but the parent's record.
//!
//! [`HeaderContext`] carries what Bitcoin's contextual rules need from the past (work, the last
//! eleven timestamps, the difficulty period's start, the last bits that were not minimum
//! difficulty), so each check costs O(11) at any depth and never walks the chain.

mod record;
mod rules;
mod skip;
mod work;

#[cfg(test)]
mod networks_tests;
#[cfg(test)]
mod tests;

use bitcoin::block::Header;
use bitcoin::{BlockHash, CompactTarget};

use crate::network::Network;
use crate::units::Height;

pub use record::{HEADER_CONTEXT_BYTES, RecordError};
pub use rules::{HeaderError, MAX_FUTURE_SECONDS, MAX_TIMEWARP_SECONDS, check_own_work};
pub use skip::{SkipList, skip_height};
pub use work::ChainWork;

/// Timestamps whose median bounds a child's time from below (BIP113).
pub const MEDIAN_TIME_SPAN: usize = 11;

/// An accepted header and everything needed to judge its children.
///
/// A value of this type means: proof of work and all contextual rules were checked, or the
/// caller vouched for it through [`HeaderContext::trusted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderContext {
    hash: BlockHash,
    header: Header,
    height: Height,
    chain_work: ChainWork,
    times: RecentTimes,
    period: PeriodStart,
    last_regular_bits: CompactTarget,
}

/// The first header of a difficulty period, as far as the retarget rules need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodStart {
    /// The header's timestamp, in seconds since 1970.
    pub time: u32,
    /// The header's compact target; BIP94 retargets from it.
    pub bits: CompactTarget,
}

/// What [`HeaderContext::trusted`] must be told about a header whose past is not at hand.
#[derive(Clone, Debug)]
pub struct TrustedHeader {
    /// The header itself.
    pub header: Header,
    /// Its height.
    pub height: Height,
    /// Work of the chain from genesis up to and including this header.
    pub chain_work: ChainWork,
    /// Timestamps of the headers before this one, oldest first; the last ten matter.
    pub earlier_times: Vec<u32>,
    /// The first header of this header's difficulty period.
    pub period: PeriodStart,
    /// Bits of the latest header of this period that did not use the 20-minute rule; equal to the
    /// header's own bits on networks without that rule.
    pub last_regular_bits: CompactTarget,
}

impl HeaderContext {
    /// Returns the record of the network's genesis header.
    pub fn genesis(network: Network) -> Self {
        let header = network.genesis_block().header;
        Self {
            hash: header.block_hash(),
            header,
            height: Height::ZERO,
            chain_work: ChainWork::of(header.target()),
            times: RecentTimes::EMPTY.push(header.time),
            period: PeriodStart {
                time: header.time,
                bits: header.bits,
            },
            last_regular_bits: header.bits,
        }
    }

    /// Builds a record without checks, for a header the caller has another reason to trust, such
    /// as a snapshot's base block.
    pub fn trusted(trusted: &TrustedHeader) -> Self {
        let mut times = RecentTimes::EMPTY;
        for time in &trusted.earlier_times {
            times = times.push(*time);
        }
        Self {
            hash: trusted.header.block_hash(),
            header: trusted.header,
            height: trusted.height,
            chain_work: trusted.chain_work,
            times: times.push(trusted.header.time),
            period: trusted.period,
            last_regular_bits: trusted.last_regular_bits,
        }
    }

    /// Returns the hash that names this block.
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// Returns the header.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the distance from genesis.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Returns the work of the chain from genesis up to and including this header.
    pub const fn chain_work(&self) -> ChainWork {
        self.chain_work
    }

    /// Returns the median of the last eleven timestamps ending with this header's, in seconds
    /// since 1970 (BIP113). A child's time must be later.
    pub fn median_time_past(&self) -> u32 {
        self.times.median()
    }

    /// Returns the first header of this header's difficulty period.
    #[cfg(test)]
    pub(crate) const fn period_start(&self) -> PeriodStart {
        self.period
    }
}

/// Returns the median time past of a header from its own timestamp and those before it, oldest
/// first, in seconds since 1970; the last [`MEDIAN_TIME_SPAN`] count. `None` when there are none.
///
/// For headers whose [`HeaderContext`] is no longer kept.
pub fn median_time_past(times: impl IntoIterator<Item = u32>) -> Option<u32> {
    let times = times
        .into_iter()
        .fold(RecentTimes::EMPTY, RecentTimes::push);
    (times.len > 0).then(|| times.median())
}

/// Up to [`MEDIAN_TIME_SPAN`] timestamps, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecentTimes {
    times: [u32; MEDIAN_TIME_SPAN],
    len: u8,
}

impl RecentTimes {
    const EMPTY: Self = Self {
        times: [0; MEDIAN_TIME_SPAN],
        len: 0,
    };

    /// Appends a timestamp; the oldest leaves when full.
    fn push(mut self, time: u32) -> Self {
        let len = usize::from(self.len);
        if let Some(slot) = self.times.get_mut(len) {
            *slot = time;
            self.len += 1;
        } else {
            self.times.rotate_left(1);
            if let Some(last) = self.times.last_mut() {
                *last = time;
            }
        }
        self
    }

    /// Returns the middle value, the upper one of two middles as in Bitcoin Core.
    fn median(&self) -> u32 {
        let len = usize::from(self.len);
        let mut sorted = self.times;
        let Some(used) = sorted.get_mut(..len) else {
            return 0;
        };
        used.sort_unstable();
        used.get(len / 2).copied().unwrap_or(0)
    }
}
