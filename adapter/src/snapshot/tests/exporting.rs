//! Exports from a canister whose chain goes on, which does not answer, or which contradicts itself.

use std::fs;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use indicatif::ProgressBar;
use millrace_core::Network;

use super::reading::Reading;
use super::sets::{base, file_of};
use crate::snapshot::download::{Export, ExportError, export};
use crate::snapshot::meter::Meter;
use crate::snapshot::write::Written;

async fn exported(
    canister: &Reading,
    block: Option<BlockHash>,
) -> (Result<Written, ExportError>, Option<Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.dat");
    let what = Export {
        file: &file,
        network: Network::Regtest,
        block,
    };
    let mut meter = Meter::new(ProgressBar::hidden());
    let result = export(&what, canister, &mut meter).await;
    assert!(!folder.path().join("out.dat.partial").exists());
    (result, fs::read(&file).ok())
}

#[tokio::test(start_paused = true)]
async fn a_set_is_written_as_bitcoin_core_would_without_the_genesis_coin() {
    for fault_percent in [0, 30] {
        let mut canister = Reading::new(4);
        canister.fault_percent = fault_percent;
        let (result, file) = exported(&canister, Some(base())).await;
        let written = result.unwrap();
        let (expected, hash) = file_of(&canister.coins[1..]);
        assert_eq!(written.coins, canister.total - 1);
        assert_eq!(written.hash_serialized, hash);
        assert_eq!(file, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_canister_says_must_fit_together() {
    let wrong_total = Reading {
        total: 7,
        ..Reading::new(1)
    };
    let other_tip = Reading {
        page_tip: Some(BlockHash::from_byte_array([9; 32])),
        ..Reading::new(1)
    };
    let stuck = Reading {
        is_stuck: true,
        ..Reading::new(1)
    };
    let mut unordered = Reading::new(1);
    unordered.page = 1_000;
    unordered.coins.swap(3, 20);
    let gone = Reading::new(1);
    gone.left_behind.borrow_mut().push(3);
    let silent = Reading {
        fault_percent: 100,
        ..Reading::new(1)
    };
    for (canister, expected) in [
        (wrong_total, "coins and says it has 7"),
        (other_tip, "0909"),
        (stuck, "do not ascend"),
        (unordered, "do not ascend"),
        (gone, "cannot read at block"),
        (silent, "did not answer the call"),
    ] {
        let (result, file) = exported(&canister, Some(base())).await;
        let error = result.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(file, None, "{error}");
    }
}

#[tokio::test]
async fn a_file_that_exists_is_left_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let what = Export {
        file: file.path(),
        network: Network::Regtest,
        block: Some(base()),
    };
    let mut meter = Meter::new(ProgressBar::hidden());
    let error = export(&what, &Reading::new(1), &mut meter).await;
    assert!(matches!(error, Err(ExportError::Exists { .. })));
    assert_eq!(fs::read(file.path()).unwrap(), b"");
}

#[tokio::test]
async fn an_export_that_is_left_behind_starts_again_at_the_best_block_three_times() {
    for times in 0..=4 {
        let mut canister = Reading::new(2);
        canister.anchor = BlockHash::from_byte_array([1; 32]);
        *canister.left_behind.borrow_mut() = vec![2; times];
        if times == 0 {
            canister.tip = canister.anchor;
        }
        let (result, file) = exported(&canister, None).await;
        if times == 4 {
            let error = result.expect_err("four times").to_string();
            assert!(error.contains("left block"), "{error}");
            assert_eq!(file, None);
        } else {
            assert_eq!(result.unwrap().base, canister.tip);
            assert!(file.is_some());
        }
    }
}
