//! Compares two sets of coins that both come ascending.

use std::cmp::Ordering;
use std::fmt;

use bitcoin::OutPoint;
use millrace_core::snapshot::SnapshotCoin;

use crate::snapshot::write::key;

/// Coins of each kind that are kept to be shown.
const SHOWN_MAX: usize = 20;

/// What two sets do not have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Coins of both that are the same.
    pub same: u64,
    /// Coins that only the other set has.
    pub missing: Kind<SnapshotCoin>,
    /// Coins that only the canister has.
    pub extra: Kind<SnapshotCoin>,
    /// Coins that differ in height, coinbase, amount or script: the canister's, and the other set's.
    pub different: Kind<(SnapshotCoin, SnapshotCoin)>,
}

/// Differences of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind<T> {
    /// How many there are.
    pub count: u64,
    /// The first of them, 20 at most.
    pub shown: Vec<T>,
}

impl<T> Default for Kind<T> {
    fn default() -> Self {
        Self {
            count: 0,
            shown: Vec::new(),
        }
    }
}

impl<T> Kind<T> {
    fn add(&mut self, item: T) {
        self.count += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(item);
        }
    }
}

/// Which set's next coin is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The canister's.
    Canister,
    /// The other set's.
    Other,
    /// Either's.
    Both,
    /// Neither has one left.
    Nothing,
}

impl Differences {
    /// Takes in the next coin of each set, as far as there is one, and says which were used up.
    pub fn step(
        &mut self,
        canister: Option<&SnapshotCoin>,
        other: Option<&SnapshotCoin>,
    ) -> Wanted {
        let order = match (canister, other) {
            (None, None) => return Wanted::Nothing,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(ours), Some(theirs)) => key(&ours.outpoint).cmp(&key(&theirs.outpoint)),
        };
        match (order, canister, other) {
            (Ordering::Less, Some(ours), _) => {
                self.extra.add(ours.clone());
                Wanted::Canister
            }
            (Ordering::Greater, _, Some(theirs)) => {
                self.missing.add(theirs.clone());
                Wanted::Other
            }
            (_, ours, theirs) => {
                match (ours, theirs) {
                    (Some(ours), Some(theirs)) if ours != theirs => {
                        self.different.add((ours.clone(), theirs.clone()));
                    }
                    _ => self.same += 1,
                }
                Wanted::Both
            }
        }
    }

    /// Returns whether the sets are the same.
    pub const fn is_empty(&self) -> bool {
        self.missing.count == 0 && self.extra.count == 0 && self.different.count == 0
    }
}

impl fmt::Display for Differences {
    /// Writes the counts on the first line, and then a line for each coin shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} coins are the same, {} missing, {} extra, {} different",
            self.same, self.missing.count, self.extra.count, self.different.count
        )?;
        for coin in &self.missing.shown {
            writeln!(f, "missing    {}", Shown(coin))?;
        }
        more(f, &self.missing)?;
        for coin in &self.extra.shown {
            writeln!(f, "extra      {}", Shown(coin))?;
        }
        more(f, &self.extra)?;
        for (ours, theirs) in &self.different.shown {
            writeln!(f, "different  {}", Shown(ours))?;
            writeln!(f, "  it should be {}", Properties(theirs))?;
        }
        more(f, &self.different)
    }
}

fn more<T>(f: &mut fmt::Formatter<'_>, kind: &Kind<T>) -> fmt::Result {
    let left = kind.count.saturating_sub(kind.shown.len() as u64);
    if left > 0 {
        writeln!(f, "           and {left} more")?;
    }
    Ok(())
}

struct Shown<'a>(&'a SnapshotCoin);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OutPoint { txid, vout } = self.0.outpoint;
        write!(f, "{txid}:{vout} {}", Properties(self.0))
    }
}

struct Properties<'a>(&'a SnapshotCoin);

impl fmt::Display for Properties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Longest script that is shown whole, in bytes.
        const SCRIPT_BYTES: usize = 80;
        let coin = self.0;
        let coinbase = if coin.coinbase { ", coinbase" } else { "" };
        write!(
            f,
            "{} satoshi, height {}{coinbase}, script ",
            coin.satoshi, coin.height
        )?;
        let script = coin.script.as_bytes();
        for byte in script.iter().take(SCRIPT_BYTES) {
            write!(f, "{byte:02x}")?;
        }
        if script.len() > SCRIPT_BYTES {
            write!(f, "… of {} bytes", script.len())?;
        }
        Ok(())
    }
}
