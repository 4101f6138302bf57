//! Scanning and connecting against the block-wide computation it replaces.

use std::convert::Infallible;

use bitcoin::consensus::serialize;

use super::*;
use crate::block::CheckedBlock;
use crate::delta::BlockDelta;
use crate::fixtures::Coins;
use crate::scan::{BlockScanner, ScanStep};

/// Scans and connects a block that the older code decoded.
pub(crate) fn rerun<T: MedianTimes<Error = Infallible>>(
    block: &CheckedBlock,
    place: BlockPlace,
    validation: BlockValidation,
    coins: &Coins,
    times: &T,
    budget: usize,
) -> Result<ConnectedBlock, ConnectError<Infallible>> {
    let bytes = serialize(&block.clone().into_block());
    let bytes = bytes.as_slice();
    let mut scanner = BlockScanner::start(bytes, validation == BlockValidation::Consensus).unwrap();
    let scanned = loop {
        match scanner.step(bytes, budget).unwrap() {
            ScanStep::More(more) => scanner = *more,
            ScanStep::Done(block) => break block,
        }
    };
    let mut connector = BlockConnector::start(scanned, place, validation)?;
    loop {
        match connector.step(coins, times, budget)? {
            ConnectStep::More(more) => connector = *more,
            ConnectStep::Done(done) => return Ok(done),
        }
    }
}

/// Checks that a change says what a delta does, in order.
pub(crate) fn assert_same(change: &BlockChange, delta: &BlockDelta) {
    assert_eq!((change.hash(), change.height()), (delta.block, delta.height));
    let mut position = CoinPosition::default();
    let mut spends = delta.spends.iter();
    let mut puts = delta.puts.iter();
    let mut last = None;
    while let Some((outpoint, event)) = change.next_coin(&mut position) {
        let key = (outpoint.txid, outpoint.vout);
        assert!(last < Some(key), "{outpoint} does not ascend");
        last = Some(key);
        let (spend, put) = match event {
            CoinEvent::Spend(spend) => (Some(spend), None),
            CoinEvent::Put(put) => (None, Some(put)),
            CoinEvent::Replace(spend, put) => (Some(spend), Some(put)),
        };
        if let Some(spend) = spend {
            let (expected, keyed) = spends.next().unwrap();
            assert_eq!((spend.outpoint(), outpoint), (*expected, outpoint));
            assert_eq!(spend.script, ScriptKey::from(&keyed.script_hash));
            let coin = (keyed.coin.value.to_sat(), keyed.coin.height, keyed.coin.coinbase);
            assert_eq!((spend.satoshi, spend.height, spend.coinbase), coin);
        }
        if let Some(put) = put {
            let (expected, keyed) = puts.next().unwrap();
            assert_eq!(outpoint, *expected);
            assert_eq!(put.script, ScriptKey::from(&keyed.script_hash));
            assert_eq!(put.satoshi, keyed.coin.value.to_sat());
            assert_eq!(put.script_bytes as usize, keyed.coin.script.len());
        }
    }
    assert_eq!((spends.next(), puts.next()), (None, None));
    assert_eq!(change.puts(), delta.puts.len());
    assert_scripts(change, delta);
}

fn assert_scripts(change: &BlockChange, delta: &BlockDelta) {
    let spends = delta.spends.iter().map(|spend| (spend, true));
    let mut expected: Vec<ScriptEvent> = spends
        .chain(delta.puts.iter().map(|put| (put, false)))
        .map(|((outpoint, keyed), is_spend)| ScriptEvent {
            script: ScriptKey::from(&keyed.script_hash),
            height: keyed.coin.height,
            outpoint: *outpoint,
            satoshi: keyed.coin.value.to_sat(),
            coinbase: keyed.coin.coinbase,
            is_spend,
        })
        .collect();
    expected.sort_by_key(|event| {
        let OutPoint { txid, vout } = event.outpoint;
        (event.script, std::cmp::Reverse(event.height), txid, vout, !event.is_spend)
    });
    let got = (0..change.script_events()).map(|at| change.script_event(at).unwrap());
    assert!(got.eq(expected));
    assert_eq!(change.script_event(change.script_events()), None);
}
