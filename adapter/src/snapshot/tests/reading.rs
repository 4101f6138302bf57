//! A canister whose coins can be read, as well as it is told to.

use std::cell::RefCell;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use millrace_candid::{GetCoinsArgs, OutPoint};
use millrace_core::Height;
use millrace_core::snapshot::SnapshotCoin;
use serde_bytes::ByteBuf;

use super::sets::{Chance, base, coin, random_coins};
use crate::engine::BlockRef;
use crate::node::SetSummary;
use crate::sink::SinkError;
use crate::snapshot::canister::{Page, ReadFailure, SetCanister, Standing};

/// A canister with the coins of `random_coins` after every block it can read at.
pub struct Reading {
    pub coins: Vec<SnapshotCoin>,
    /// Coins of a page.
    pub page: usize,
    pub tip: BlockHash,
    /// The block that pages say they are of; the one asked for if absent.
    pub page_tip: Option<BlockHash>,
    pub anchor: BlockHash,
    /// For each block that was left behind: pages until then.
    pub left_behind: RefCell<Vec<usize>>,
    pub faults: RefCell<Chance>,
    pub fault_percent: u64,
    pub total: u64,
    /// Whether each page is the first one.
    pub is_stuck: bool,
    /// What is said of heights, ascending.
    pub sets: Vec<SetSummary>,
}

impl Reading {
    pub fn new(seed: u64) -> Self {
        // Bitcoin Core has no coin of the genesis block, the canister has.
        let mut genesis = coin(0, 0, vec![0x51]);
        genesis.height = Height::ZERO;
        let coins = [vec![genesis], random_coins(seed, 80)].concat();
        Self {
            total: coins.len() as u64,
            coins,
            page: 10,
            tip: base(),
            page_tip: None,
            anchor: base(),
            left_behind: RefCell::new(Vec::new()),
            faults: RefCell::new(Chance::new(seed)),
            fault_percent: 0,
            is_stuck: false,
            sets: Vec::new(),
        }
    }
}

fn wire(coin: &SnapshotCoin) -> OutPoint {
    OutPoint {
        txid: ByteBuf::from(coin.outpoint.txid.to_byte_array()),
        vout: coin.outpoint.vout,
    }
}

impl SetCanister for Reading {
    async fn standing(&self) -> Result<Standing, ReadFailure> {
        Ok(Standing {
            tip: BlockRef {
                hash: self.tip,
                height: Height::new(5),
            },
            anchor: BlockRef {
                hash: self.anchor,
                height: Height::new(3),
            },
            kept_from: self.sets.first().map(|set| set.height),
        })
    }

    async fn coins(&self, args: GetCoinsArgs) -> Result<Page, ReadFailure> {
        if self.faults.borrow_mut().percent(self.fault_percent) {
            return Err(ReadFailure::Sink(SinkError::Unavailable {
                url: "here".to_owned(),
                reason: "lost".to_owned(),
            }));
        }
        let mut left_behind = self.left_behind.borrow_mut();
        match left_behind.first_mut() {
            Some(0) => {
                left_behind.remove(0);
                return Err(ReadFailure::UnknownTip {
                    hash: base().to_string(),
                    min_height: 9,
                });
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let asked = BlockHash::from_slice(&args.at_tip.unwrap()).unwrap();
        let from = args.after.map_or(0, |after| {
            self.coins
                .iter()
                .position(|coin| wire(coin) > after)
                .unwrap_or(self.coins.len())
        });
        let from = if self.is_stuck { 0 } else { from };
        let coins: Vec<_> = self.coins.iter().skip(from).take(self.page).collect();
        let is_last = from + coins.len() == self.coins.len();
        Ok(Page {
            next: coins.last().filter(|_| !is_last).map(|coin| wire(coin)),
            coins: coins.into_iter().cloned().collect(),
            total: self.total,
            tip: BlockRef {
                hash: self.page_tip.unwrap_or(asked),
                height: Height::new(5),
            },
        })
    }

    async fn set_info(&self, height: Option<Height>) -> Result<SetSummary, ReadFailure> {
        let newest = self.sets.last().ok_or(ReadFailure::CommitmentOff)?;
        let height = height.unwrap_or(newest.height);
        let found = self.sets.iter().find(|set| set.height == height);
        found.cloned().ok_or_else(|| ReadFailure::HeightNotKept {
            height: height.get(),
            min_height: self.sets[0].height.get(),
            max_height: newest.height.get(),
        })
    }
}
