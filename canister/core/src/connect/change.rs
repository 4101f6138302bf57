//! What one block changes in the UTXO set, in the orders in which it is written.

use std::cmp::Ordering;

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint, Txid};

use crate::bytes::{prefix, sort_by_prefix};
use crate::scan::{ScannedBlock, ScannedCoin};
use crate::script::ScriptKey;
use crate::units::Height;

/// A coin of an earlier block that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpentCoin {
    /// Id of the transaction that made it.
    pub txid: Txid,
    /// Its index among that transaction's outputs.
    pub vout: u32,
    /// Key of its script.
    pub script: ScriptKey,
    /// Its amount in satoshi.
    pub satoshi: u64,
    /// Height of the block that made it.
    pub height: Height,
    /// Whether a coinbase made it.
    pub coinbase: bool,
}

impl SpentCoin {
    /// Returns what names it.
    pub const fn outpoint(&self) -> OutPoint {
        OutPoint {
            txid: self.txid,
            vout: self.vout,
        }
    }
}

/// What happens to an outpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoinEvent<'a> {
    /// The coin of an earlier block is gone.
    Spend(&'a SpentCoin),
    /// There is a new coin.
    Put(&'a ScannedCoin),
    /// Both: the new coin has the name of an older one (BIP30).
    Replace(&'a SpentCoin, &'a ScannedCoin),
}

/// What happens to a coin of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptEvent {
    /// Key of the script.
    pub script: ScriptKey,
    /// Height of the block that made the coin.
    pub height: Height,
    /// The coin's name.
    pub outpoint: OutPoint,
    /// Its amount in satoshi.
    pub satoshi: u64,
    /// Whether a coinbase made it.
    pub coinbase: bool,
    /// Whether it is gone; else it is new.
    pub is_spend: bool,
}

impl ScriptEvent {
    /// Compares by script, then by place: height descending, then outpoint, and of one outpoint
    /// the coin that goes first.
    fn order(&self, other: &Self) -> Ordering {
        self.script
            .cmp(&other.script)
            .then_with(|| other.height.cmp(&self.height))
            .then_with(|| self.outpoint.txid.cmp(&other.outpoint.txid))
            .then_with(|| self.outpoint.vout.cmp(&other.outpoint.vout))
            .then_with(|| other.is_spend.cmp(&self.is_spend))
    }
}

/// Marks the number of an event as that of a coin put.
const PUT: u32 = 1 << 31;

/// A position in the events of a [`BlockChange`] by outpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoinPosition {
    spend: usize,
    /// Position in the order of transaction ids, and among that transaction's coins.
    transaction: usize,
    coin: usize,
}

/// The change one block makes, relative to its parent's UTXO set. Coins made and spent inside the
/// block appear nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockChange {
    block: ScannedBlock,
    height: Height,
    /// By outpoint.
    spends: Vec<SpentCoin>,
    /// For each coin of the block whether the block spends it again.
    passed: Vec<bool>,
    /// Numbers of events in the order of scripts, each with the first bytes of its key.
    by_script: Vec<(u64, u32)>,
}

impl BlockChange {
    /// Orders a change; `spends` are in the order of outpoints. Costs a sort.
    pub(crate) fn new(
        block: ScannedBlock,
        height: Height,
        spends: Vec<SpentCoin>,
        passed: Vec<bool>,
    ) -> Self {
        let mut change = Self {
            block,
            height,
            spends,
            passed,
            by_script: Vec::new(),
        };
        change.by_script = change.sorted_by_script();
        change
    }

    fn sorted_by_script(&self) -> Vec<(u64, u32)> {
        let spends = (0..)
            .zip(&self.spends)
            .map(|(at, spend)| (spend.script, at));
        let coins = (0..).zip(self.block.coins().iter().zip(&self.passed));
        let puts = coins
            .filter(|(_, (_, passed))| !**passed)
            .map(|(at, (coin, _))| (coin.script, at | PUT));
        let key = |(script, number): (ScriptKey, u32)| (prefix(&script.0), number);
        let order = spends.chain(puts).map(key).collect();
        // The key's first bytes decide but within a script.
        sort_by_prefix(order, |a, b| match (self.event(a), self.event(b)) {
            (Some(a), Some(b)) => a.order(&b),
            _ => a.cmp(&b),
        })
    }

    /// Returns the block that was scanned.
    pub const fn block(&self) -> &ScannedBlock {
        &self.block
    }

    /// Returns the hash of the block.
    pub const fn hash(&self) -> BlockHash {
        self.block.hash()
    }

    /// Returns the height of the block.
    pub const fn height(&self) -> Height {
        self.height
    }

    /// Returns the coins of earlier blocks that are gone, by outpoint.
    pub fn spends(&self) -> &[SpentCoin] {
        &self.spends
    }

    /// Returns the number of new coins.
    pub fn puts(&self) -> usize {
        self.passed.iter().filter(|passed| !**passed).count()
    }

    /// Returns what happens to the next outpoint in order, and moves on.
    pub fn next_coin(&self, position: &mut CoinPosition) -> Option<(OutPoint, CoinEvent<'_>)> {
        let spend = self.spends.get(position.spend);
        let put = self.next_put(position);
        let order = match (spend, put) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(spend), Some((txid, coin))) => {
                spend.txid.cmp(txid).then(spend.vout.cmp(&coin.vout))
            }
        };
        if order.is_le() {
            position.spend += 1;
        }
        if order.is_ge() {
            position.coin += 1;
        }
        match (order, spend, put) {
            (Ordering::Less, Some(spend), _) => Some((spend.outpoint(), CoinEvent::Spend(spend))),
            (Ordering::Equal, Some(spend), Some((_, coin))) => {
                Some((spend.outpoint(), CoinEvent::Replace(spend, coin)))
            }
            (_, _, put) => put.map(|(txid, coin)| {
                let (txid, vout) = (*txid, coin.vout);
                (OutPoint { txid, vout }, CoinEvent::Put(coin))
            }),
        }
    }

    /// Moves to the next coin put, and returns it with its transaction's id.
    fn next_put(&self, position: &mut CoinPosition) -> Option<(&Txid, &ScannedCoin)> {
        loop {
            let index = *self.block.by_txid().get(position.transaction)?;
            let first = self.block.transactions().get(index as usize)?.first_coin as usize;
            match self.block.coins_of(index).get(position.coin) {
                None => {
                    position.transaction += 1;
                    position.coin = 0;
                }
                Some(_) if self.passed.get(first + position.coin) == Some(&true) => {
                    position.coin += 1;
                }
                Some(coin) => return Some((self.block.txids().get(index as usize)?, coin)),
            }
        }
    }

    /// Returns the number of events by script.
    pub const fn script_events(&self) -> usize {
        self.by_script.len()
    }

    /// Returns an event in the order of scripts, then of places.
    pub fn script_event(&self, at: usize) -> Option<ScriptEvent> {
        let (_, number) = *self.by_script.get(at)?;
        self.event(number)
    }

    fn event(&self, number: u32) -> Option<ScriptEvent> {
        if number & PUT == 0 {
            let spend = self.spends.get(number as usize)?;
            return Some(ScriptEvent {
                script: spend.script,
                height: spend.height,
                outpoint: spend.outpoint(),
                satoshi: spend.satoshi,
                coinbase: spend.coinbase,
                is_spend: true,
            });
        }
        let coin = self.block.coins().get((number & !PUT) as usize)?;
        let at = coin.transaction as usize;
        Some(ScriptEvent {
            script: coin.script,
            height: self.height,
            outpoint: OutPoint {
                txid: *self.block.txids().get(at)?,
                vout: coin.vout,
            },
            satoshi: coin.satoshi,
            coinbase: coin.coinbase,
            is_spend: false,
        })
    }
}

/// Returns the indices of a block's inputs in the order of what they spend.
pub(super) fn inputs_by_outpoint(block: &ScannedBlock) -> Vec<(u64, u32)> {
    let inputs = block.inputs();
    let of = |index: u32| {
        inputs
            .get(index as usize)
            .map(|input| (&input.txid, input.vout))
    };
    let order = (0..)
        .zip(inputs)
        .map(|(index, input)| (prefix(input.txid.as_byte_array()), index))
        .collect();
    sort_by_prefix(order, |a, b| of(a).cmp(&of(b)).then_with(|| a.cmp(&b)))
}
