//! Rates, windows and percentiles.

use proptest::prelude::*;

use super::*;

fn block(rates: impl IntoIterator<Item = u64>) -> BlockFees {
    let mut fees = BlockFees::default();
    for rate in rates {
        fees.push(TransactionFee {
            fee: Amount::from_sat(rate),
            virtual_bytes: 1000,
        });
    }
    fees
}

fn percentiles(rates: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut window = FeeWindow::default();
    window.push_block(&block(rates));
    window.percentiles().into_iter().map(FeeRate::get).collect()
}

#[test]
fn rates_are_rounded_down_and_saturate() {
    let cases = [
        ("none", 0, 119, Some(0)),
        ("the first whole one", 1, 119, Some(8)),
        ("just below", 3, 119, Some(25)),
        (
            "all money in a byte",
            2_100_000_000_000_000,
            1,
            Some(2_100_000_000_000_000_000),
        ),
        ("beyond 64 bits", u64::MAX, 1, Some(u64::MAX)),
        ("no size", 1, 0, None),
    ];
    for (name, fee, virtual_bytes, rate) in cases {
        let fee = TransactionFee {
            fee: Amount::from_sat(fee),
            virtual_bytes,
        };
        assert_eq!(fee.rate().map(FeeRate::get), rate, "{name}");
    }
}

/// The textbook example of the nearest rank, and a row of 1000.
#[test]
fn percentiles_are_nearest_ranks_with_the_smallest_as_the_0th() {
    let got = percentiles([50, 15, 40, 20, 35]);
    let expected = [[15; 20], [20; 20], [35; 20], [40; 20], [50; 20]].concat();
    assert_eq!(got[0], 15);
    assert_eq!(got[1..], expected);

    let got = percentiles(1..=1000);
    let expected: Vec<u64> = (0..=100).map(|p| (p * 10).max(1)).collect();
    assert_eq!(got, expected);

    assert_eq!(percentiles([7]), [7; 101]);
    assert_eq!(percentiles([]), [0; 0]);
}

#[test]
fn a_window_takes_the_newest_blocks_and_the_first_transactions_of_the_last() {
    let mut window = FeeWindow::default();
    window.push_block(&block(vec![3; 6000]));
    assert!(!window.is_full());
    window.push_block(&block([vec![1; 4000], vec![2; 500]].concat()));
    assert!(window.is_full());
    window.push_block(&block([9]));
    let got = window.percentiles();
    assert_eq!(got[40], FeeRate::new(1));
    assert_eq!(got[41], FeeRate::new(3));
    assert!(got.iter().all(|rate| rate.get() != 2 && rate.get() != 9));
}

#[test]
fn a_block_keeps_no_more_rates_than_a_window_can_use() {
    let fees = block(0..12_000);
    assert_eq!(fees.rates().len(), FEE_WINDOW_TRANSACTIONS);
    assert_eq!(fees.rates().last(), Some(&FeeRate::new(9999)));
    assert_eq!(BlockFees::decode(&fees.encode()), Ok(fees));
}

#[test]
fn damaged_records_are_refused() {
    let bytes = block(0..10_000).encode();
    assert_eq!(
        BlockFees::decode(&bytes[..15]),
        Err(RecordError::Length {
            got: 15,
            expected: 8
        })
    );
    let longer = [bytes.as_slice(), &[0; 8]].concat();
    assert_eq!(
        BlockFees::decode(&longer),
        Err(RecordError::Length {
            got: 80_008,
            expected: 80_000
        })
    );
    assert_eq!(BlockFees::decode(&[]), Ok(BlockFees::default()));
}

proptest! {
    /// By definition: the smallest rate that at least p percent of all do not exceed.
    #[test]
    fn percentiles_are_what_the_definition_says(
        rates in proptest::collection::vec(0u64..50, 1..300)
    ) {
        let got = percentiles(rates.clone());
        prop_assert_eq!(got.len(), PERCENTILES);
        for (percentile, rate) in got.iter().enumerate() {
            let at_most = |limit: u64| rates.iter().filter(|rate| **rate <= limit).count();
            prop_assert!(rates.contains(rate));
            prop_assert!(at_most(*rate) * 100 >= percentile * rates.len());
            let below = rates.iter().filter(|other| *other < rate).count();
            prop_assert!(below * 100 < (percentile * rates.len()).max(1));
        }
    }
}
