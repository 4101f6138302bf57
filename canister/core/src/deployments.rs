//! The heights at which each network's block rules changed, and what a block may create.
//!
//! All are "buried" (BIP90): fixed heights instead of counted signals, as in Bitcoin Core.

use bitcoin::Amount;

use crate::network::Network;
use crate::units::Height;

/// Creation of the first coinbases.
const INITIAL_SUBSIDY: Amount = Amount::from_int_btc(50);

/// The first height at which each soft fork's rules hold.
///
/// Unlike [`Network::min_version`] these are the network's own heights on regtest too: what is
/// lenient there is the choice of [`crate::consensus::BlockValidation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployments {
    /// Coinbases start with their height; version 2 (BIP34).
    pub bip34: Height,
    /// Strict signature encoding, of which only version 3 is checked (BIP66).
    pub bip66: Height,
    /// `OP_CHECKLOCKTIMEVERIFY`, of which only version 4 is checked (BIP65).
    pub bip65: Height,
    /// Relative lock-times and median-time lock-times (BIP68, BIP112, BIP113).
    pub csv: Height,
    /// Segregated witness (BIP141).
    pub segwit: Height,
    /// Blocks between halvings of the subsidy.
    pub halving_blocks: u32,
}

impl Deployments {
    /// Returns the heights of `network`.
    pub const fn of(network: Network) -> Self {
        let (bip34, bip66, bip65, csv, segwit) = match network {
            Network::Mainnet => (227_931, 363_725, 388_381, 419_328, 481_824),
            Network::Testnet3 => (21_111, 330_776, 581_885, 770_112, 834_624),
            Network::Testnet4 | Network::Signet => (1, 1, 1, 1, 1),
            Network::Regtest => (1, 1, 1, 1, 0),
        };
        Self {
            bip34: Height::new(bip34),
            bip66: Height::new(bip66),
            bip65: Height::new(bip65),
            csv: Height::new(csv),
            segwit: Height::new(segwit),
            halving_blocks: match network {
                Network::Regtest => 150,
                _ => 210_000,
            },
        }
    }

    /// Returns the lowest block version allowed at `height`.
    pub const fn min_version(&self, height: Height) -> i32 {
        let height = height.get();
        if height >= self.bip65.get() {
            4
        } else if height >= self.bip66.get() {
            3
        } else if height >= self.bip34.get() {
            2
        } else {
            i32::MIN
        }
    }

    /// Returns the new money the coinbase at `height` may create, fees aside.
    pub fn subsidy(&self, height: Height) -> Amount {
        // A shift by 64 or more is not defined; the money is gone after 33 halvings.
        let halvings = height.get() / self.halving_blocks;
        let satoshi = INITIAL_SUBSIDY.to_sat().checked_shr(halvings);
        Amount::from_sat(satoshi.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsidies_halve_until_nothing_is_left() {
        let cases = [
            (Network::Mainnet, 0, 5_000_000_000),
            (Network::Mainnet, 209_999, 5_000_000_000),
            (Network::Mainnet, 210_000, 2_500_000_000),
            (Network::Mainnet, 840_000, 312_500_000),
            (Network::Mainnet, 6_929_999, 1),
            (Network::Mainnet, 6_930_000, 0),
            (Network::Mainnet, 64 * 210_000, 0),
            (Network::Mainnet, u32::MAX, 0),
            (Network::Regtest, 149, 5_000_000_000),
            (Network::Regtest, 150, 2_500_000_000),
        ];
        for (network, height, satoshi) in cases {
            let subsidy = Deployments::of(network).subsidy(Height::new(height));
            assert_eq!(subsidy.to_sat(), satoshi, "{network} {height}");
        }
    }

    #[test]
    fn mainnet_never_creates_more_than_the_published_total() {
        let deployments = Deployments::of(Network::Mainnet);
        let total: u64 = (0..40)
            .map(|era| deployments.subsidy(Height::new(era * 210_000)).to_sat() * 210_000)
            .sum();
        assert_eq!(total, 2_099_999_997_690_000);
    }
}
