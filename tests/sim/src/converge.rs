//! The end of a run: faults stop, and the canister must come to the best valid chain within a stated
//! number of heartbeats and answer everything right there.

use std::collections::BTreeSet;

use millrace_candid::{GetBalancesArgs, GetStatusArgs, Owner};
use serde_bytes::ByteBuf;

use crate::model::MAX_FUTURE;
use crate::payment::{SCRIPTS, script};
use crate::run::{Checked, Run, require};
use crate::schedule::{Answer, Question};
use crate::seen::bytes_of;
use crate::subject::Subject;

/// Seconds after which nothing is held off, backed off or in flight any more: the longest hold of a pulled
/// block, the time-out of a call, and the longest pause together.
const CALM_SECONDS: u64 = 3_600 + 300 + 60;

/// Heartbeats for what is not a missing block: given up calls, the cautious ones after traps.
const SPARE_BEATS: usize = 80;

/// Heartbeats for each missing block.
const BEATS_PER_BLOCK: usize = 2;

/// Blocks of one push.
const PUSHED: usize = 50;

/// Coins of a page when whole lists are read: few pages for most, so that runs stay short.
const PAGE: u32 = 40;

/// Heartbeats in which what waits is judged, before all is calm.
const FIRST_BEATS: usize = 3;

/// Heartbeats after the last block, for blocks to become stable.
const LAST_BEATS: usize = 3;

impl<S: Subject> Run<S> {
    pub(crate) fn converge(&mut self) -> Checked {
        self.end_faults()?;
        if self.given_up.is_empty() {
            self.coverage.note("end", "OfOneVersion");
        } else {
            // What was given up is wanted again by the next version.
            self.coverage.note("end", "AfterGivingUp");
            self.upgrade()?;
        }
        // Bad bytes that wait hold their block off from when they are judged, not from when they came.
        for _ in 0..FIRST_BEATS {
            self.beat()?;
        }
        let valid = self.model.blocks().iter().filter(|block| block.is_valid);
        let newest = valid.map(|block| block.block.header.time).max();
        let all_in_time = u64::from(newest.unwrap_or(0)).saturating_sub(MAX_FUTURE);
        let wait = all_in_time.saturating_sub(self.subject.now()) + CALM_SECONDS;
        self.subject.advance(wait);
        self.reach_the_best()?;
        for _ in 0..LAST_BEATS {
            self.subject.advance(1);
            self.beat()?;
        }
        self.check_end()
    }

    fn reach_the_best(&mut self) -> Checked {
        let missing = self.missing().len();
        let bound = SPARE_BEATS + BEATS_PER_BLOCK * missing;
        for beat in 0..bound {
            self.coverage
                .peak("heartbeats to the best block", beat as u64);
            let best = self.model.best_above(self.seen.anchor);
            if best.contains(&self.seen.tip) {
                return Ok(());
            }
            if self.profile.is_pushed {
                let mut missing = self.missing();
                missing.truncate(PUSHED);
                self.push_well(&missing)?;
            }
            self.subject.advance(1);
            self.beat()?;
            self.answer(Answer::Blocks(u8::MAX))?;
        }
        let best = self.model.best_above(self.seen.anchor);
        let text = |places: &BTreeSet<usize>| {
            let first = places.first().copied().unwrap_or(0);
            self.describe(first)
        };
        require(false, "progress", || {
            format!(
                "{bound} heartbeats for {missing} blocks; tip is {}; best is {}",
                self.describe(self.seen.tip),
                text(&best)
            )
        })
    }

    /// Returns what is missing of the chain to the best block, parents first.
    fn missing(&self) -> Vec<usize> {
        let best = self.model.best_above(self.seen.anchor);
        let Some(best) = best.first().copied() else {
            return Vec::new();
        };
        let path = self.model.ancestry(best);
        let mut path: Vec<usize> = path.take_while(|place| !self.seen.has(*place)).collect();
        path.reverse();
        path
    }

    fn check_end(&mut self) -> Checked {
        self.audit()?;
        self.check_stable()?;
        let owners: Vec<Owner> = (0..SCRIPTS)
            .map(|number| Owner::Script(ByteBuf::from(script(number).to_bytes())))
            .collect();
        for place in self.seen.connected.clone() {
            self.check_balances(place, &owners)?;
        }
        for question in Question::ALL {
            for salt in [1, 7] {
                self.read(question, None, salt)?;
            }
        }
        for number in 0..SCRIPTS {
            self.check_all_pages(self.seen.tip, number, PAGE)?;
        }
        Ok(())
    }

    /// Nothing is left that the stability rule would make stable.
    fn check_stable(&mut self) -> Checked {
        let (root, connected) = (self.seen.anchor, &self.seen.connected);
        let children = connected
            .iter()
            .filter(|place| self.model.at(**place).parent == Some(root));
        let mut depths: Vec<u32> = children
            .map(|child| self.depth(*child, connected))
            .collect();
        depths.sort_unstable();
        let best = depths.pop().unwrap_or(0);
        let second = depths.pop().unwrap_or(0);
        let threshold = self.profile.threshold;
        let is_stable = best > 0 && best >= threshold && best - second >= threshold;
        require(!is_stable, "stability at rest", || {
            format!("depth {best}, runner-up {second}, threshold {threshold}")
        })
    }

    fn check_balances(&mut self, place: usize, owners: &[Owner]) -> Checked {
        let at_tip = Some(bytes_of(self.model.at(place).hash));
        let answer = self.subject.balances(&GetBalancesArgs {
            owners: owners.to_vec(),
            min_confirmations: None,
            at_tip: at_tip.clone(),
        });
        let found = answer.map(|answer| {
            let balances = answer.balances.into_iter();
            let balances = balances.map(|balance| (balance.balance, balance.utxo_count));
            balances.collect::<Vec<_>>()
        });
        let balances = self.model.balances(place);
        let expected: Vec<(u64, u64)> = (0..SCRIPTS)
            .map(|number| balances.get(&script(number)).copied().unwrap_or_default())
            .collect();
        require(
            found.as_ref() == Ok(&expected),
            "balances at every tip",
            || format!("{found:?}, not {expected:?}, at {}", self.describe(place)),
        )?;
        let status = self.subject.status(&GetStatusArgs { at_tip });
        let count = status.map(|status| status.utxos_length);
        let coins = self
            .model
            .at(place)
            .coins
            .as_ref()
            .map(|coins| coins.len() as u64);
        require(
            count.as_ref().ok().copied() == coins,
            "number of coins",
            || format!("{count:?}, not {coins:?}, at {}", self.describe(place)),
        )
    }
}
