//! `verify` with a real node: since when, and which coins.

use std::fs::File;

use bitcoin::OutPoint;
use bitcoin::hashes::Hash;
use indicatif::ProgressBar;
use millrace_adapter::engine::BlockRef;
use millrace_adapter::exit::Exit;
use millrace_adapter::node::SetSummary;
use millrace_adapter::snapshot::canister::{Page, ReadFailure, SetCanister, Standing};
use millrace_adapter::snapshot::groups::GroupReader;
use millrace_adapter::snapshot::meter::Meter;
use millrace_adapter::verify::{NodeOf, Verdict, Verify, verify};
use millrace_candid as wire;
use millrace_candid::GetCoinsArgs;
use millrace_core::snapshot::SnapshotCoin;
use millrace_core::{Height, Network};
use serde_bytes::ByteBuf;

use super::bitcoind::Bitcoind;
use super::index_follows;

/// A canister with the coins of a node's tip, and what the node says of all heights.
struct Copy {
    tip: BlockRef,
    coins: Vec<SnapshotCoin>,
    sets: Vec<SetSummary>,
}

impl Copy {
    async fn of(bitcoind: &Bitcoind) -> Self {
        let path = bitcoind.folder().join("copy.dat");
        let dumped = bitcoind.node.dump(&path).await.expect("a dump");
        let file = File::open(&path).expect("the dump");
        let mut groups = GroupReader::new(file, Network::Regtest).expect("a snapshot");
        let mut coins = Vec::new();
        while let Some(group) = groups.next_group().expect("whole groups") {
            coins.extend(group.coins);
        }
        let mut sets = Vec::new();
        for height in 0..=dumped.height.get() {
            let set = bitcoind.node.set_at(Height::new(height)).await;
            sets.push(set.expect("an index"));
        }
        Self {
            tip: BlockRef {
                hash: dumped.base,
                height: dumped.height,
            },
            coins,
            sets,
        }
    }
}

impl SetCanister for Copy {
    async fn standing(&self) -> Result<Standing, ReadFailure> {
        Ok(Standing {
            tip: self.tip,
            anchor: self.tip,
            kept_from: Some(Height::ZERO),
        })
    }

    async fn coins(&self, args: GetCoinsArgs) -> Result<Page, ReadFailure> {
        let outpoint = |coin: &SnapshotCoin| wire::OutPoint {
            txid: ByteBuf::from(coin.outpoint.txid.to_byte_array()),
            vout: coin.outpoint.vout,
        };
        let after = args.after.as_ref();
        let rest = self.coins.iter();
        let rest = rest.filter(|coin| after.is_none_or(|after| outpoint(coin) > *after));
        let coins: Vec<SnapshotCoin> = rest.take(50).cloned().collect();
        let is_last = coins.last() == self.coins.last();
        Ok(Page {
            next: coins.last().filter(|_| !is_last).map(outpoint),
            coins,
            total: self.coins.len() as u64,
            tip: self.tip,
        })
    }

    async fn set_info(&self, height: Option<Height>) -> Result<SetSummary, ReadFailure> {
        let height = height.unwrap_or(self.tip.height);
        Ok(self.sets[height.get() as usize].clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_and_a_canister_are_compared_down_to_the_coin() {
    let bitcoind = Bitcoind::start(&["-coinstatsindex=1"]).await;
    bitcoind.mine(150, "raw(51)").await;
    index_follows(&bitcoind, 150).await;
    let mut canister = Copy::of(&bitcoind).await;
    let node = NodeOf {
        node: bitcoind.node.clone(),
        network: Network::Regtest,
    };
    let folder = bitcoind.folder().join("dumps");
    std::fs::create_dir(&folder).expect("a folder");
    let what = Verify {
        network: Network::Regtest,
        height: None,
        snapshot: None,
        dump_folder: Some(&folder),
    };
    let mut meter = Meter::new(ProgressBar::hidden());
    let verdict = verify(&what, Some(&node), &canister, &mut meter).await;
    let verdict = verdict.expect("a comparison");
    assert!(matches!(verdict, Verdict::Same(_)), "{verdict}");

    let lost: OutPoint = canister.coins.remove(70).outpoint;
    for set in canister.sets.iter_mut().skip(91) {
        set.outputs -= 1;
    }
    let verdict = verify(&what, Some(&node), &canister, &mut meter).await;
    let verdict = verdict.expect("a comparison");
    assert_eq!(verdict.exit(), Exit::Differs);
    let text = verdict.to_string();
    assert!(text.contains("from height 91 on, and not before"), "{text}");
    assert!(text.contains("149 coins are the same, 1 missing"), "{text}");
    assert!(text.contains(&format!("missing    {lost}")), "{text}");
    let left = std::fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(left, 0, "the dump is removed");
}
