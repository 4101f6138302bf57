//! Comparisons with a node that differs in known ways, and with files.

use std::path::PathBuf;
use std::sync::Mutex;

use bitcoin::hashes::Hash;
use indicatif::ProgressBar;
use proptest::prelude::*;

use super::*;
use crate::snapshot::tests::reading::Reading;
use crate::snapshot::tests::sets::{base, coin, file_of, random_coins};

/// A node that has the sets it is told to.
struct FakeNode {
    sets: Vec<SetSummary>,
    has_index: bool,
    dump: Vec<u8>,
    asked: Mutex<Vec<u32>>,
}

impl SetNode for FakeNode {
    async fn chain(&self) -> Result<NodeChain, NodeError> {
        let newest = self.sets.last().unwrap();
        Ok(NodeChain {
            height: newest.height,
            best: newest.block,
        })
    }

    async fn set_at(&self, height: Height) -> Result<SetSummary, NodeError> {
        self.asked.lock().unwrap().push(height.get());
        if !self.has_index {
            return Err(NodeError::Method {
                method: "gettxoutsetinfo",
                code: -8,
                message: "Querying specific block heights requires coinstatsindex".to_owned(),
            });
        }
        let found = self.sets.iter().find(|set| set.height == height);
        Ok(found.unwrap().clone())
    }

    async fn set_at_tip(&self) -> Result<SetSummary, NodeError> {
        Ok(self.sets.last().unwrap().clone())
    }

    async fn dump(&self, path: &Path) -> Result<Dumped, NodeError> {
        fs::write(path, &self.dump).unwrap();
        Ok(Dumped {
            coins: 0,
            base: base(),
            height: Height::new(5),
            hash_serialized: String::new(),
        })
    }
}

fn set(height: u32) -> SetSummary {
    SetSummary {
        height: Height::new(height),
        block: BlockHash::from_byte_array([height as u8; 32]),
        outputs: u64::from(height) * 2,
        satoshi: 7,
        bogosize: 100,
        muhash: format!("{height:064x}"),
    }
}

/// A canister that keeps heights 10 to 40, and a node whose sets differ from `differs` on.
fn world(differs: u32) -> (Reading, FakeNode) {
    let mut canister = Reading::new(6);
    canister.sets = (10..=40).map(set).collect();
    let mut sets: Vec<SetSummary> = (0..=40).map(set).collect();
    for set in sets.iter_mut().skip(differs as usize) {
        set.muhash = "ff".repeat(32);
    }
    let node = FakeNode {
        sets,
        has_index: true,
        dump: file_of(&canister.coins[1..]).0,
        asked: Mutex::new(Vec::new()),
    };
    (canister, node)
}

fn nothing_more<'a>() -> Verify<'a> {
    Verify {
        network: Network::Regtest,
        height: None,
        snapshot: None,
        dump_folder: None,
    }
}

async fn compared(
    what: &Verify<'_>,
    canister: &Reading,
    node: Option<&FakeNode>,
) -> Result<Verdict, VerifyError> {
    let mut meter = Meter::new(ProgressBar::hidden());
    verify(what, node, canister, &mut meter).await
}

fn written(coins: &[SnapshotCoin]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), file_of(coins).0).unwrap();
    file
}

#[tokio::test]
async fn equal_sets_take_one_question() {
    let (canister, node) = world(41);
    let verdict = compared(&nothing_more(), &canister, Some(&node)).await;
    let verdict = verdict.unwrap();
    assert_eq!(verdict, Verdict::Same(set(40)));
    assert_eq!(verdict.exit(), Exit::Done);
    assert!(verdict.to_string().contains("the sets are the same"));
    assert_eq!(*node.asked.lock().unwrap(), [40]);
    let what = Verify {
        height: Some(Height::new(17)),
        ..nothing_more()
    };
    let verdict = compared(&what, &canister, Some(&node)).await.unwrap();
    assert_eq!(verdict, Verdict::Same(set(17)));
}

#[tokio::test]
async fn the_first_height_that_differs_is_found() {
    for differs in 0..=40 {
        let (canister, node) = world(differs);
        let verdict = compared(&nothing_more(), &canister, Some(&node)).await;
        let verdict = verdict.unwrap();
        assert_eq!(verdict.exit(), Exit::Differs);
        let Verdict::Different { first, coins, .. } = &verdict else {
            panic!("{verdict}");
        };
        let first = first.unwrap();
        assert_eq!(first.height.get(), differs.max(10));
        assert_eq!(first.lowest.get(), 10);
        assert_eq!(*coins, None);
        assert!(node.asked.lock().unwrap().len() <= 6);
        let text = verdict.to_string();
        let expected = if differs <= 10 {
            "or before"
        } else {
            "and not before"
        };
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("--dump-folder"), "{text}");
    }
}

#[tokio::test]
async fn other_blocks_are_told_from_other_coins() {
    let (mut canister, node) = world(41);
    for set in canister.sets.iter_mut().filter(|set| set.height.get() > 30) {
        set.block = BlockHash::from_byte_array([0xee; 32]);
    }
    let folder = tempfile::tempdir().unwrap();
    let what = Verify {
        dump_folder: Some(folder.path()),
        ..nothing_more()
    };
    let verdict = compared(&what, &canister, Some(&node)).await.unwrap();
    let text = verdict.to_string();
    assert!(text.contains("from height 31 on"), "{text}");
    assert!(text.contains("different chains"), "{text}");
}

#[tokio::test]
async fn without_an_index_only_the_nodes_tip_can_be_compared() {
    let (mut canister, mut node) = world(41);
    node.has_index = false;
    let verdict = compared(&nothing_more(), &canister, Some(&node)).await;
    assert_eq!(verdict.unwrap(), Verdict::Same(set(40)));
    canister.sets.last_mut().unwrap().outputs += 1;
    let verdict = compared(&nothing_more(), &canister, Some(&node)).await;
    let text = verdict.unwrap().to_string();
    assert!(text.contains("since when can be found with"), "{text}");
    canister.sets.pop();
    let error = compared(&nothing_more(), &canister, Some(&node)).await;
    let error = error.unwrap_err();
    assert!(error.to_string().contains("coinstatsindex=1"), "{error}");
    assert_eq!(error.exit(), Exit::Source);
    canister.sets.clear();
    let error = compared(&nothing_more(), &canister, Some(&node)).await;
    let error = error.unwrap_err();
    assert!(
        error.to_string().contains("`utxo_set_commitment`"),
        "{error}"
    );
    assert_eq!(error.exit(), Exit::Canister);
}

#[tokio::test]
async fn every_coin_that_differs_is_named() {
    let (mut canister, node) = world(20);
    // The canister lacks one, has one more, and another amount of a third.
    let lacks = canister.coins.remove(5);
    let more = coin(5_000, 3, vec![0x6a; 100]);
    canister.coins.push(more.clone());
    canister.coins[9].satoshi += 1;
    let other = canister.coins[9].clone();
    let folder = tempfile::tempdir().unwrap();
    let what = Verify {
        dump_folder: Some(folder.path()),
        ..nothing_more()
    };
    let verdict = compared(&what, &canister, Some(&node)).await.unwrap();
    let text = verdict.to_string();
    let Verdict::Different {
        coins: Some(compared),
        ..
    } = verdict
    else {
        panic!("{text}");
    };
    let found = &compared.differences;
    assert_eq!(found.missing.shown, std::slice::from_ref(&lacks));
    assert_eq!(found.extra.shown, std::slice::from_ref(&more));
    assert_eq!(found.different.shown[0].0, other);
    assert_eq!(found.same, canister.coins.len() as u64 - 3);
    assert!(text.contains("1 missing, 1 extra, 1 different"), "{text}");
    assert!(
        text.contains(&format!("missing    {}", lacks.outpoint)),
        "{text}"
    );
    assert!(text.contains("… of 100 bytes"), "{text}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn a_file_alone_is_enough() {
    let canister = Reading::new(6);
    let same = written(&canister.coins[1..]);
    let what = Verify {
        snapshot: Some(same.path()),
        ..nothing_more()
    };
    let verdict = compared(&what, &canister, None).await.unwrap();
    assert_eq!(verdict.exit(), Exit::Done);
    assert!(verdict.to_string().contains("0 missing, 0 extra"));
    let emptier = written(&canister.coins[50..]);
    let what = Verify {
        snapshot: Some(emptier.path()),
        ..nothing_more()
    };
    let verdict = compared(&what, &canister, None).await.unwrap();
    assert_eq!(verdict.exit(), Exit::Differs);
    let text = verdict.to_string();
    assert!(
        text.contains("49 extra") && text.contains("and 29 more"),
        "{text}"
    );
}

#[tokio::test]
async fn files_that_cannot_be_compared_say_why() {
    let canister = Reading::new(6);
    let damaged = tempfile::NamedTempFile::new().unwrap();
    let (mut bytes, _) = file_of(&canister.coins[1..]);
    bytes.truncate(bytes.len() - 1);
    fs::write(damaged.path(), bytes).unwrap();
    let missing = PathBuf::from("/nonexistent/utxo.dat");
    for (path, expected) in [
        (damaged.path(), "in the middle of"),
        (&missing, "cannot open it"),
    ] {
        let what = Verify {
            snapshot: Some(path),
            ..nothing_more()
        };
        let error = compared(&what, &canister, None).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.exit(), Exit::Source);
    }
    let good = written(&canister.coins[1..]);
    canister.left_behind.borrow_mut().push(0);
    let what = Verify {
        snapshot: Some(good.path()),
        ..nothing_more()
    };
    let error = compared(&what, &canister, None).await.unwrap_err();
    assert!(matches!(error, VerifyError::Base { .. }), "{error}");
    assert!(error.to_string().contains("from height 9 on"), "{error}");
}

proptest! {
    #[test]
    fn differences_are_those_of_sets(seed: u64, mask: u64, other_mask: u64) {
        let coins = random_coins(seed, 12);
        let of = |mask: u64| -> Vec<SnapshotCoin> {
            let kept = coins.iter().enumerate();
            let kept = kept.filter(|(at, _)| mask >> (at % 64) & 1 == 1);
            kept.map(|(_, coin)| coin.clone()).collect()
        };
        let (ours, theirs) = (of(mask), of(other_mask));
        let mut found = Differences::default();
        let (mut a, mut b) = (ours.iter().peekable(), theirs.iter().peekable());
        loop {
            match found.step(a.peek().copied(), b.peek().copied()) {
                Wanted::Nothing => break,
                Wanted::Canister => drop(a.next()),
                Wanted::Other => drop(b.next()),
                Wanted::Both => drop((a.next(), b.next())),
            }
        }
        let extra = ours.iter().filter(|coin| !theirs.contains(coin)).count();
        let missing = theirs.iter().filter(|coin| !ours.contains(coin)).count();
        prop_assert_eq!(found.extra.count, extra as u64);
        prop_assert_eq!(found.missing.count, missing as u64);
        prop_assert_eq!(found.same, (ours.len() - extra) as u64);
        prop_assert_eq!(found.different.count, 0);
    }
}
