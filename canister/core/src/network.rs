//! The Bitcoin networks and what differs between them.

use std::fmt;

use bitcoin::consensus::Params;
use bitcoin::p2p::Magic;
use bitcoin::{Block, CompactTarget, Target};

use crate::deployments::Deployments;
use crate::units::Height;

/// Blocks in a difficulty period.
pub const PERIOD_BLOCKS: u32 = 2016;

/// Seconds without a block after which test networks allow minimum difficulty: 20 minutes.
pub const MIN_DIFFICULTY_GAP_SECONDS: u64 = 2 * 10 * 60;

/// A Bitcoin network.
///
/// `Testnet3` exists for its header rules: most recorded test chains come from it. Block
/// sources name the test network `testnet`, which means [`Network::Testnet4`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// The network whose coins have value.
    Mainnet,
    /// The test network of 2011, with the 20-minute rule.
    Testnet3,
    /// The test network of 2024, with the 20-minute rule and BIP94.
    Testnet4,
    /// The default signet (BIP325). The block signature is not checked: that takes script
    /// execution, so proof of work at signet's low difficulty is all that protects it here.
    Signet,
    /// A private chain at trivial difficulty.
    Regtest,
}

impl Network {
    /// Every network, in a fixed order.
    pub const ALL: [Self; 5] = [
        Self::Mainnet,
        Self::Testnet3,
        Self::Testnet4,
        Self::Signet,
        Self::Regtest,
    ];

    /// Returns the network's consensus parameters.
    pub fn params(self) -> &'static Params {
        self.to_bitcoin().params()
    }

    /// Returns the same network as the `bitcoin` crate names it.
    pub const fn to_bitcoin(self) -> bitcoin::Network {
        match self {
            Self::Mainnet => bitcoin::Network::Bitcoin,
            Self::Testnet3 => bitcoin::Network::Testnet,
            Self::Testnet4 => bitcoin::Network::Testnet4,
            Self::Signet => bitcoin::Network::Signet,
            Self::Regtest => bitcoin::Network::Regtest,
        }
    }

    /// Returns the block at height 0.
    pub fn genesis_block(self) -> Block {
        bitcoin::blockdata::constants::genesis_block(self.to_bitcoin())
    }

    /// Returns the four bytes that open each message and each block in a block file.
    pub fn magic(self) -> Magic {
        self.to_bitcoin().magic()
    }

    /// Returns the easiest target a block may have.
    #[expect(
        clippy::misnamed_getters,
        reason = "the crate's own pow_limit lacks the compact form's rounding, so no header can have it"
    )]
    pub fn pow_limit(self) -> Target {
        self.params().max_attainable_target
    }

    /// Returns [`Self::pow_limit`] in the compact form that headers carry.
    pub fn pow_limit_bits(self) -> CompactTarget {
        self.pow_limit().to_compact_lossy()
    }

    /// Returns whether the target changes every [`PERIOD_BLOCKS`] blocks.
    pub const fn retargets(self) -> bool {
        !matches!(self, Self::Regtest)
    }

    /// Returns whether a block may have minimum difficulty after
    /// [`MIN_DIFFICULTY_GAP_SECONDS`] without one.
    pub const fn allows_min_difficulty(self) -> bool {
        matches!(self, Self::Testnet3 | Self::Testnet4 | Self::Regtest)
    }

    /// Returns whether BIP94's two difficulty rules hold: the retarget starts from the period's
    /// first bits, and a period's first block is at most 600 s earlier than its parent.
    pub const fn enforces_bip94(self) -> bool {
        matches!(self, Self::Testnet4)
    }

    /// Returns the lowest block version allowed at `height` (BIP34, BIP66, BIP65).
    ///
    /// Regtest accepts every version: test sources build version 1 blocks there and the official
    /// canister takes them.
    pub const fn min_version(self, height: Height) -> i32 {
        match self {
            Self::Regtest => i32::MIN,
            _ => Deployments::of(self).min_version(height),
        }
    }

    /// Returns the heights at which BIP34 keeps coinbase transactions from repeating, if any.
    ///
    /// Below the range BIP34 is not active. Above it, a few coinbases from before BIP34 carry
    /// bytes that read as a later height and could be repeated (BIP30, Bitcoin Core's
    /// `BIP34_IMPLIES_BIP30_LIMIT`).
    pub const fn unique_coinbase_heights(self) -> std::ops::Range<u32> {
        Deployments::of(self).bip34.get()..1_983_702
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mainnet => "mainnet",
            Self::Testnet3 => "testnet3",
            Self::Testnet4 => "testnet4",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genesis_hashes_are_the_published_ones() {
        let expected = [
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
            "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
            "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
            "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
            "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
        ];
        for (network, hash) in Network::ALL.into_iter().zip(expected) {
            assert_eq!(
                network.genesis_block().block_hash().to_string(),
                hash,
                "{network}"
            );
        }
    }

    #[test]
    fn compact_limits_are_the_published_ones() {
        let expected = [
            0x1d00_ffff,
            0x1d00_ffff,
            0x1d00_ffff,
            0x1e03_77ae,
            0x207f_ffff,
        ];
        for (network, bits) in Network::ALL.into_iter().zip(expected) {
            assert_eq!(network.pow_limit_bits().to_consensus(), bits, "{network}");
        }
    }

    #[test]
    fn block_versions_are_required_from_their_activation_heights() {
        let cases = [
            (Network::Mainnet, 227_930, i32::MIN),
            (Network::Mainnet, 227_931, 2),
            (Network::Mainnet, 363_725, 3),
            (Network::Mainnet, 388_381, 4),
            (Network::Testnet3, 330_776, 3),
            (Network::Testnet4, 1, 4),
            (Network::Regtest, 1_000_000, i32::MIN),
        ];
        for (network, height, version) in cases {
            assert_eq!(
                network.min_version(Height::new(height)),
                version,
                "{network} {height}"
            );
        }
    }
}
