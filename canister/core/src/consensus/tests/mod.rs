//! Consensus rules against real blocks and published vectors, and one broken block per rule.

mod mutated;
mod real;
mod sigops;

use std::collections::BTreeMap;
use std::convert::Infallible;

use bitcoin::OutPoint;

use super::*;
use crate::connect::{BlockConnector, ConnectStep};
use crate::delta::{Coin, CoinView};
use crate::fees::BlockFees;
use crate::fixtures::{CheckedBlock, Coins};
use crate::testing::BlockDelta;
use crate::units::Height;

type Verdict = Result<Connected, ConnectError<Infallible>>;

/// Median times past by height.
#[derive(Clone, Debug, Default)]
struct Times(BTreeMap<u32, u32>);

impl MedianTimes for Times {
    type Error = Infallible;

    fn median_time_past(&self, height: Height) -> Result<Option<u32>, Infallible> {
        Ok(self.0.get(&height.get()).copied())
    }
}

/// A block that was connected, its change as maps.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Connected {
    delta: BlockDelta,
    fees: BlockFees,
    witness: WitnessData,
}

/// Connects a block, pausing after each `budget` inputs and outputs.
fn connect(
    block: &CheckedBlock,
    place: BlockPlace,
    validation: BlockValidation,
    coins: &Coins,
    times: &Times,
    budget: usize,
) -> Verdict {
    let mut connector = BlockConnector::start(block.scanned(), place, validation)?;
    loop {
        match connector.step(coins, times, budget)? {
            ConnectStep::More(more) => connector = *more,
            ConnectStep::Done(done) => {
                return Ok(Connected {
                    delta: coins.delta_of(&done.change, block),
                    fees: done.fees,
                    witness: done.witness,
                });
            }
        }
    }
}

/// Storage that cannot be read.
struct Broken;

impl CoinView for Broken {
    type Error = &'static str;

    fn coin(&self, _: &OutPoint) -> Result<Option<Coin>, &'static str> {
        Err("a page is damaged")
    }
}

impl MedianTimes for Broken {
    type Error = &'static str;

    fn median_time_past(&self, _: Height) -> Result<Option<u32>, &'static str> {
        Err("a header is damaged")
    }
}

#[test]
fn a_failing_look_up_condemns_nothing() {
    let (block, _) = real::with_coins(170);
    let place = real::mainnet_place(&block, 170);
    for validation in [BlockValidation::ProofOfWork, BlockValidation::Consensus] {
        let connector = BlockConnector::start(block.scanned(), place, validation).unwrap();
        let error = connector.step(&Broken, &Broken, 100).unwrap_err();
        assert_eq!(error.to_string(), "coin look-up failed: a page is damaged");
        assert!(!error.condemns_block());
        assert!(!error.suspects_carrier());
    }
}

#[test]
fn validations_are_named_in_configurations() {
    for validation in [BlockValidation::ProofOfWork, BlockValidation::Consensus] {
        assert_eq!(validation.to_string().parse(), Ok(validation));
    }
    assert_eq!(
        "all".parse::<BlockValidation>().unwrap_err().to_string(),
        "unknown block validation \"all\", use \"proof_of_work\" or \"consensus\""
    );
    for network in Network::ALL {
        let is_lenient = BlockValidation::default_of(network) == BlockValidation::ProofOfWork;
        assert_eq!(is_lenient, network == Network::Regtest, "{network}");
    }
}
