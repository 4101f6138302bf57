//! What can be wrong with a block, and how it gets that way.

use bitcoin::absolute::LockTime;
use bitcoin::block::Version;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, Txid};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::mine::Draft;
use crate::model::{Claim, Coins, MATURITY, MAX_FUTURE, Model};
use crate::payment::{mark, pay, subsidy, transaction};

/// Ancestors among which spent coins and coinbases are looked for.
const NEAR: usize = 8;

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Flaw {
    /// The target is not the network's.
    Bits,
    /// The time is that of the median of the blocks before.
    OldTime,
    /// The time is ahead of the clock: the block is good later.
    FutureTime,
    /// There is no proof of work.
    NoWork,
    /// The transactions do not hash to the merkle root.
    WrongRoot,
    /// The first transaction spends something.
    NoCoinbase,
    /// One transaction is there twice.
    Duplicate,
    /// A coin that never was is spent.
    MissingCoin,
    /// One coin is spent twice in the block.
    DoubleSpend,
    /// A coin is spent that an ancestor spent.
    SpentCoin,
    /// A transaction spends what a later one makes.
    Forward,
    /// The coinbase of an ancestor again, with its coins unspent (BIP30).
    RepeatedCoinbase,
    /// More is paid than was there.
    CreatesValue,
    /// The coinbase takes too much.
    GreedyCoinbase,
    /// A coinbase is spent too early.
    Immature,
    /// The coinbase names another height.
    WrongHeight,
    /// A transaction's lock-time is not over.
    NotFinal,
    /// An input's relative lock is not over.
    RelativeLock,
    /// The version is too old.
    OldVersion,
    /// Too many signature operations.
    Sigops,
    /// Witness data without a commitment.
    UncommittedWitness,
    /// The genesis block's coin is spent.
    SpendsGenesis,
}

impl Flaw {
    /// All flaws.
    pub const ALL: [Self; 22] = [
        Self::Bits,
        Self::OldTime,
        Self::FutureTime,
        Self::NoWork,
        Self::WrongRoot,
        Self::NoCoinbase,
        Self::Duplicate,
        Self::MissingCoin,
        Self::DoubleSpend,
        Self::SpentCoin,
        Self::Forward,
        Self::RepeatedCoinbase,
        Self::CreatesValue,
        Self::GreedyCoinbase,
        Self::Immature,
        Self::WrongHeight,
        Self::NotFinal,
        Self::RelativeLock,
        Self::OldVersion,
        Self::Sigops,
        Self::UncommittedWitness,
        Self::SpendsGenesis,
    ];

    /// Returns whether only consensus validation refuses it.
    pub(crate) const fn is_for_consensus(self) -> bool {
        matches!(
            self,
            Self::CreatesValue
                | Self::GreedyCoinbase
                | Self::Immature
                | Self::WrongHeight
                | Self::NotFinal
                | Self::RelativeLock
                | Self::OldVersion
                | Self::Sigops
                | Self::UncommittedWitness
                | Self::SpendsGenesis
        )
    }
}

/// Where a block is to be broken.
pub(crate) struct Spot<'a> {
    pub(crate) model: &'a Model,
    pub(crate) parent: usize,
    /// Coins that the block may spend and does not.
    pub(crate) coins: &'a Coins,
    pub(crate) now: u64,
    pub(crate) extra_nonce: u64,
}

/// Breaks a rule. Returns whether the flaw fits there; the block is as it was if not.
pub(crate) fn spoil(draft: &mut Draft, flaw: Flaw, spot: &Spot<'_>, rng: &mut ChaCha8Rng) -> bool {
    draft.claim = Claim::Rule;
    let done = match flaw {
        Flaw::Bits | Flaw::OldTime | Flaw::FutureTime | Flaw::NoWork | Flaw::WrongRoot => {
            spoil_header(draft, flaw, spot, rng)
        }
        Flaw::NoCoinbase
        | Flaw::Duplicate
        | Flaw::MissingCoin
        | Flaw::DoubleSpend
        | Flaw::SpentCoin
        | Flaw::Forward
        | Flaw::RepeatedCoinbase => spoil_coins(draft, flaw, spot, rng),
        _ => spoil_rules(draft, flaw, spot, rng),
    };
    match done {
        Some(()) => draft.flaw = Some(flaw),
        None => draft.claim = Claim::Valid,
    }
    done.is_some()
}

impl Spot<'_> {
    fn height(&self) -> u32 {
        self.model.at(self.parent).height + 1
    }

    /// Returns a coin that may be spent, and its value.
    fn coin(&self, rng: &mut ChaCha8Rng) -> Option<(OutPoint, u64)> {
        let all: Vec<OutPoint> = self.coins.keys().copied().collect();
        let outpoint = *all.choose(rng)?;
        Some((outpoint, self.coins.get(&outpoint)?.value))
    }
}

fn spend(outpoint: OutPoint, satoshi: u64, rng: &mut ChaCha8Rng) -> Transaction {
    transaction(&[outpoint], vec![pay(rng, satoshi)])
}

fn spoil_header(
    draft: &mut Draft,
    flaw: Flaw,
    spot: &Spot<'_>,
    rng: &mut ChaCha8Rng,
) -> Option<()> {
    let median = spot.model.median_time(spot.parent);
    draft.claim = Claim::Header;
    match flaw {
        Flaw::Bits => draft.header.bits = CompactTarget::from_consensus(0x207f_fffe),
        Flaw::OldTime => draft.header.time = median,
        Flaw::FutureTime => {
            let ahead = MAX_FUTURE + rng.random_range(1..600);
            let time = u32::try_from(spot.now + ahead).ok()?;
            draft.header.time = time.max(median + 1);
            draft.claim = Claim::Valid;
        }
        Flaw::WrongRoot => draft.claim = Claim::Bodiless,
        // The nonce is chosen last.
        _ => {}
    }
    Some(())
}

fn spoil_coins(draft: &mut Draft, flaw: Flaw, spot: &Spot<'_>, rng: &mut ChaCha8Rng) -> Option<()> {
    let near = || spot.model.ancestry(spot.parent).take(NEAR);
    match flaw {
        Flaw::NoCoinbase => {
            let (coin, value) = spot.coin(rng)?;
            draft.txdata[0] = spend(coin, value, rng);
        }
        Flaw::Duplicate => {
            let (coin, value) = spot.coin(rng)?;
            // With an even number before, the list would be a disguise of a shorter one.
            (draft.txdata.len() % 2 == 1).then_some(())?;
            let twice = spend(coin, value, rng);
            draft.txdata.extend([twice.clone(), twice]);
        }
        Flaw::MissingCoin => {
            let txid = Txid::from_byte_array(rng.random());
            draft.txdata.push(spend(OutPoint { txid, vout: 0 }, 1, rng));
        }
        Flaw::DoubleSpend => {
            let (coin, value) = spot.coin(rng)?;
            let (one, other) = (spend(coin, value, rng), spend(coin, value / 2 + 1, rng));
            (one != other).then_some(())?;
            draft.txdata.extend([one, other]);
        }
        Flaw::SpentCoin => {
            let spent = near().flat_map(|place| {
                let block = &spot.model.at(place).block;
                let others = block.txdata.iter().skip(1);
                others.flat_map(|spending| &spending.input)
            });
            let spent: Vec<OutPoint> = spent.map(|input| input.previous_output).collect();
            draft.txdata.push(spend(*spent.choose(rng)?, 1, rng));
        }
        Flaw::Forward => {
            let (coin, value) = spot.coin(rng)?;
            let maker = spend(coin, value, rng);
            let txid = maker.compute_txid();
            let outpoint = OutPoint { txid, vout: 0 };
            draft.txdata.extend([spend(outpoint, 1, rng), maker]);
        }
        _ => {
            let place = near().nth(rng.random_range(0..4))?;
            (spot.model.at(place).height > 0).then_some(())?;
            let repeated = spot.model.at(place).block.txdata[0].clone();
            let txid = repeated.compute_txid();
            let before = spot.model.at(spot.parent).coins.as_deref()?;
            let mut outpoints = (0..4).map(|vout| OutPoint { txid, vout });
            outpoints.find(|outpoint| before.contains_key(outpoint))?;
            // A commitment would be one more output, and the coinbase another one.
            draft.txdata[0] = repeated;
            draft.commits = false;
            for input in draft.txdata.iter_mut().flat_map(|it| &mut it.input) {
                input.witness.clear();
            }
        }
    }
    Some(())
}

fn spoil_rules(draft: &mut Draft, flaw: Flaw, spot: &Spot<'_>, rng: &mut ChaCha8Rng) -> Option<()> {
    let height = spot.height();
    match flaw {
        Flaw::GreedyCoinbase => {
            draft.txdata.truncate(1);
            draft.txdata[0].output.push(pay(rng, subsidy(height)));
        }
        Flaw::WrongHeight => {
            draft.txdata[0].input[0].script_sig = Builder::new()
                .push_int(i64::from(height) + 1)
                .push_slice(mark(spot.extra_nonce))
                .into_script();
        }
        Flaw::OldVersion => draft.header.version = Version::from_consensus(3),
        Flaw::Immature => {
            let young = young_coinbases(draft, spot)?;
            draft.txdata.push(spend(*young.choose(rng)?, 1, rng));
        }
        Flaw::SpendsGenesis => {
            let txid = spot.model.at(0).block.txdata[0].compute_txid();
            let outpoint = OutPoint { txid, vout: 0 };
            let before = spot.model.at(spot.parent).coins.as_deref()?;
            before.get(&outpoint)?;
            draft.txdata.push(spend(outpoint, 1, rng));
        }
        _ => {
            let (coin, value) = spot.coin(rng)?;
            let mut spending = spend(coin, value, rng);
            match flaw {
                Flaw::CreatesValue => spending = spend(coin, value + 1, rng),
                Flaw::NotFinal => {
                    spending.lock_time = LockTime::from_consensus(height);
                    spending.input[0].sequence = Sequence::ENABLE_LOCKTIME_NO_RBF;
                }
                Flaw::RelativeLock => {
                    let age = height - spot.coins.get(&coin)?.height;
                    let lock = u16::try_from(age + 1).ok()?;
                    spending.input[0].sequence = Sequence::from_height(lock);
                }
                Flaw::Sigops => {
                    // 1,001 times OP_CHECKMULTISIG, at 20 each, four times.
                    spending.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0xae; 1_001]);
                }
                _ => {
                    spending.input[0].witness.push([7; 9]);
                    draft.commits = false;
                    draft.claim = Claim::Bodiless;
                }
            }
            draft.txdata.push(spending);
        }
    }
    Some(())
}

/// Returns coins of coinbases that may not be spent yet and that the block does not spend.
fn young_coinbases(draft: &Draft, spot: &Spot<'_>) -> Option<Vec<OutPoint>> {
    let height = spot.height();
    let spent = draft.txdata.iter().flat_map(|spending| &spending.input);
    let spent: Vec<OutPoint> = spent.map(|input| input.previous_output).collect();
    let all = spot.model.at(spot.parent).coins.as_deref()?.iter();
    let young = all.filter(|(outpoint, coin)| {
        let is_young = coin.coinbase && coin.height > 0 && height - coin.height < MATURITY;
        is_young && !spent.contains(outpoint)
    });
    Some(young.map(|(outpoint, _)| *outpoint).collect())
}
