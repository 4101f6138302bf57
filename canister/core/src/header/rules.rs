//! Bitcoin's contextual header rules.

use bitcoin::block::Header;
use bitcoin::{BlockHash, CompactTarget, Target};

use super::{ChainWork, HeaderContext, PeriodStart};
use crate::network::{MIN_DIFFICULTY_GAP_SECONDS, Network, PERIOD_BLOCKS};
use crate::units::{Height, UnixSeconds};

/// How far ahead of the judge's clock a header's time may be: 2 hours.
pub const MAX_FUTURE_SECONDS: u64 = 2 * 60 * 60;

/// How much earlier than its parent the first block of a period may be (BIP94).
pub const MAX_TIMEWARP_SECONDS: u32 = 600;

/// The bit of compact bits that makes their target negative.
const SIGN_BIT: u32 = 0x0080_0000;

/// Why a header may not follow its parent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The header names another parent.
    #[error("header {hash} follows {got}, not {expected}")]
    NotAChild {
        /// The judged header.
        hash: BlockHash,
        /// The parent it names.
        got: BlockHash,
        /// The parent it was judged against.
        expected: BlockHash,
    },
    /// The difficulty bits are not those the past demands.
    #[error("header {hash} has bits {got:08x}, required are {expected:08x}")]
    WrongBits {
        /// The judged header.
        hash: BlockHash,
        /// The bits it carries.
        got: u32,
        /// The bits required at its height and time.
        expected: u32,
    },
    /// The bits stand for no target (zero, negative, beyond 256 bits) or for one easier than the
    /// network's limit.
    #[error("header {hash} has bits {bits:08x}, which are easier than {limit:08x} or no target")]
    ImpossibleBits {
        /// The judged header.
        hash: BlockHash,
        /// The bits it carries.
        bits: u32,
        /// The easiest bits the network allows.
        limit: u32,
    },
    /// The bits are not the one form the rules write for their target, so no past demands them.
    #[error("header {hash} has bits {bits:08x}, the same target is written {canonical:08x}")]
    NonCanonicalBits {
        /// The judged header.
        hash: BlockHash,
        /// The bits it carries.
        bits: u32,
        /// The bits the rules write for the same target.
        canonical: u32,
    },
    /// The hash is above the target.
    #[error("header {hash} does not meet its target of bits {bits:08x}")]
    InsufficientWork {
        /// The judged header.
        hash: BlockHash,
        /// The bits it carries.
        bits: u32,
    },
    /// The time is not later than the median of the last eleven (BIP113).
    #[error("header {hash} has time {time}, it must be later than the median {median}")]
    TimeTooOld {
        /// The judged header.
        hash: BlockHash,
        /// Its time, in seconds since 1970.
        time: u32,
        /// The median time past of its parent.
        median: u32,
    },
    /// The time is too far ahead of the judge's clock. Transient: the header may become valid.
    #[error("header {hash} has time {time}, the latest allowed now is {latest}; retry later")]
    TimeTooNew {
        /// The judged header.
        hash: BlockHash,
        /// Its time, in seconds since 1970.
        time: u32,
        /// The latest time accepted at the moment.
        latest: u64,
    },
    /// The first header of a period is too much earlier than its parent (BIP94).
    #[error("header {hash} starts a period with time {time}, the earliest allowed is {earliest}")]
    TimeWarp {
        /// The judged header.
        hash: BlockHash,
        /// Its time, in seconds since 1970.
        time: u32,
        /// The earliest time allowed.
        earliest: u32,
    },
    /// The version is no longer allowed (BIP34, BIP66, BIP65).
    #[error("header {hash} has version {version}, height {height} requires at least {required}")]
    OldVersion {
        /// The judged header.
        hash: BlockHash,
        /// Its version.
        version: i32,
        /// Its height.
        height: Height,
        /// The lowest version allowed there.
        required: i32,
    },
}

impl HeaderError {
    /// Returns whether the same header may be accepted at a later time.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::TimeTooNew { .. })
    }
}

/// Checks all that can be known of a header without its parent: its target is one the network
/// allows and its hash meets it. Returns the hash.
///
/// This is a cheap filter against floods; [`HeaderContext::accept`] decides.
///
/// # Errors
/// [`HeaderError::ImpossibleBits`], [`HeaderError::NonCanonicalBits`] or
/// [`HeaderError::InsufficientWork`].
pub fn check_own_work(header: &Header, network: Network) -> Result<BlockHash, HeaderError> {
    let hash = header.block_hash();
    let bits = header.bits.to_consensus();
    let target = header.target();
    // A size byte above 32 stands for a target beyond 256 bits, which decoding would cut. The sign
    // bit makes a target negative, which decoding of sizes up to 3 shifts out of sight.
    let fits = bits >> 24 <= 32 && bits & SIGN_BIT == 0;
    if !fits || target == Target::ZERO || target > network.pow_limit() {
        return Err(HeaderError::ImpossibleBits {
            hash,
            bits,
            limit: network.pow_limit_bits().to_consensus(),
        });
    }
    let canonical = target.to_compact_lossy().to_consensus();
    if bits != canonical {
        return Err(HeaderError::NonCanonicalBits {
            hash,
            bits,
            canonical,
        });
    }
    if !target.is_met_by(hash) {
        return Err(HeaderError::InsufficientWork { hash, bits });
    }
    Ok(hash)
}

impl HeaderContext {
    /// Judges `header` as a child of this one and returns its record.
    ///
    /// `now` is the judge's clock. Costs one double SHA-256, one sort of eleven numbers and at
    /// most one 256-bit division, at any height.
    ///
    /// # Errors
    /// [`HeaderError`] names the broken rule; only [`HeaderError::TimeTooNew`] is transient.
    pub fn accept(
        &self,
        header: &Header,
        network: Network,
        now: UnixSeconds,
    ) -> Result<Self, HeaderError> {
        let hash = header.block_hash();
        if header.prev_blockhash != self.hash {
            return Err(HeaderError::NotAChild {
                hash,
                got: header.prev_blockhash,
                expected: self.hash,
            });
        }
        self.check_work(header, hash, network)?;
        self.check_time(header, hash, network, now)?;
        self.check_version(header, hash, network)?;
        Ok(self.child(header, hash, network))
    }

    /// Bits come first: once they equal the required ones the target is known to be canonical.
    fn check_work(
        &self,
        header: &Header,
        hash: BlockHash,
        network: Network,
    ) -> Result<(), HeaderError> {
        let expected = self.required_bits(header.time, network);
        if header.bits != expected {
            return Err(HeaderError::WrongBits {
                hash,
                got: header.bits.to_consensus(),
                expected: expected.to_consensus(),
            });
        }
        if !header.target().is_met_by(hash) {
            return Err(HeaderError::InsufficientWork {
                hash,
                bits: header.bits.to_consensus(),
            });
        }
        Ok(())
    }

    pub(super) fn check_time(
        &self,
        header: &Header,
        hash: BlockHash,
        network: Network,
        now: UnixSeconds,
    ) -> Result<(), HeaderError> {
        let time = header.time;
        let median = self.median_time_past();
        if time <= median {
            return Err(HeaderError::TimeTooOld { hash, time, median });
        }
        let earliest = self.header.time.saturating_sub(MAX_TIMEWARP_SECONDS);
        if network.enforces_bip94() && starts_period(self.height.next()) && time < earliest {
            return Err(HeaderError::TimeWarp {
                hash,
                time,
                earliest,
            });
        }
        let latest = now.get().saturating_add(MAX_FUTURE_SECONDS);
        if u64::from(time) > latest {
            return Err(HeaderError::TimeTooNew { hash, time, latest });
        }
        Ok(())
    }

    pub(super) fn check_version(
        &self,
        header: &Header,
        hash: BlockHash,
        network: Network,
    ) -> Result<(), HeaderError> {
        let height = self.height.next();
        let required = network.min_version(height);
        let version = header.version.to_consensus();
        if version < required {
            return Err(HeaderError::OldVersion {
                hash,
                version,
                height,
                required,
            });
        }
        Ok(())
    }

    /// Returns the bits a child with timestamp `time` must carry.
    pub fn required_bits(&self, time: u32, network: Network) -> CompactTarget {
        if starts_period(self.height.next()) {
            return self.retarget(network);
        }
        if !network.allows_min_difficulty() {
            return self.header.bits;
        }
        let gap_end = u64::from(self.header.time) + MIN_DIFFICULTY_GAP_SECONDS;
        if u64::from(time) > gap_end {
            network.pow_limit_bits()
        } else {
            self.last_regular_bits
        }
    }

    /// Returns the bits of the period after the one this header ends.
    fn retarget(&self, network: Network) -> CompactTarget {
        if !network.retargets() {
            return self.header.bits;
        }
        let base = if network.enforces_bip94() {
            self.period.bits
        } else {
            self.header.bits
        };
        // An unchecked base above the limit could overflow the multiplication; a checked one is
        // never above it.
        let base = Target::from_compact(base).min(network.pow_limit());
        let timespan = self.header.time.saturating_sub(self.period.time);
        CompactTarget::from_next_work_required(
            base.to_compact_lossy(),
            u64::from(timespan),
            network.params(),
        )
    }

    pub(super) fn child(&self, header: &Header, hash: BlockHash, network: Network) -> Self {
        let height = self.height.next();
        let period = if starts_period(height) {
            PeriodStart {
                time: header.time,
                bits: header.bits,
            }
        } else {
            self.period
        };
        // Bitcoin Core walks back over minimum-difficulty headers, but not past the period's
        // first one; remembering the result gives the same answer in O(1).
        let is_regular = starts_period(height) || header.bits != network.pow_limit_bits();
        Self {
            hash,
            header: *header,
            height,
            chain_work: self
                .chain_work
                .saturating_add(ChainWork::of(header.target())),
            times: self.times.push(header.time),
            period,
            last_regular_bits: if is_regular {
                header.bits
            } else {
                self.last_regular_bits
            },
        }
    }
}

fn starts_period(height: Height) -> bool {
    height.get().is_multiple_of(PERIOD_BLOCKS)
}
