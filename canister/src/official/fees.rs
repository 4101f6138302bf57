//! `bitcoin_get_current_fee_percentiles`: what the newest transactions paid.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_candid::official::GetCurrentFeePercentilesRequest;
use millrace_core::fee_sample::FeeSample;
use millrace_store::StoreError;
use millrace_store::fee_rates::FeePercentiles;

use super::Refusal;
use crate::guard::{Payment, charge, require};
use crate::{App, Env};

/// Transactions looked at, newest block first.
pub const MAX_TRANSACTIONS: usize = 10_000;

/// The last percentile.
const HUNDREDTH: usize = 100;

impl<M: Memory> App<M> {
    /// `bitcoin_get_current_fee_percentiles`: the percentiles of the last [`MAX_TRANSACTIONS`]
    /// transactions in the unstable blocks of the best chain, in thousandths of a satoshi per
    /// virtual byte. Charges a flat price; a larger maximum must be attached.
    ///
    /// Where those blocks have no transactions besides coinbases, the last ones computed stand.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn bitcoin_get_current_fee_percentiles(
        &mut self,
        payment: &impl Payment,
        request: &GetCurrentFeePercentilesRequest,
    ) -> Result<Vec<u64>, Refusal> {
        self.check_official(request.network)?;
        require(
            payment,
            self.config.fees.get_current_fee_percentiles_maximum,
        )?;
        charge(payment, self.config.fees.get_current_fee_percentiles)?;
        let percentiles = self.refreshed_fee_percentiles();
        percentiles.map_err(|error| Refusal::defect("get_current_fee_percentiles", &error))
    }

    /// Computes the percentiles of a new tip ahead of the question, unless the configuration says
    /// not to or blocks still wait. Costs as much as the question would.
    pub fn anticipate_fees(&mut self, env: &impl Env) {
        let is_known = self.store.fee_cache.tip() == Some(self.store.tree.best_tip());
        if is_known || self.config.is_lazy_about_fees || self.store.held().0 > 0 {
            return;
        }
        if let Err(error) = self.refreshed_fee_percentiles() {
            self.note_fault(env, "computing fee percentiles", &error);
        }
    }

    /// Returns the percentiles at the best tip, computed once for each tip.
    fn refreshed_fee_percentiles(&mut self) -> Result<Vec<u64>, StoreError> {
        let (tip, _) = self.tip();
        let cached = self.store.fee_cache.get();
        if let Some(cached) = &cached
            && cached.tip == tip
        {
            return Ok(cached.values.clone());
        }
        let mut values = self.fee_percentiles_at(tip)?;
        if values.is_empty() {
            values = cached.map_or_else(Vec::new, |cached| cached.values);
        }
        let percentiles = FeePercentiles { tip, values };
        self.store.fee_cache.set(&percentiles);
        Ok(percentiles.values)
    }

    /// Returns the percentiles over the unstable blocks that end at `tip`; empty when those have no
    /// transactions. Reads up to [`MAX_TRANSACTIONS`] rates and sorts them.
    pub(crate) fn fee_percentiles_at(&self, tip: BlockHash) -> Result<Vec<u64>, StoreError> {
        let mut rates = Vec::new();
        for node in self.store.tree.path(&tip) {
            let left = MAX_TRANSACTIONS.saturating_sub(rates.len());
            if left == 0 {
                break;
            }
            rates.extend(self.store.fee_rates(node.hash())?.iter().take(left));
        }
        rates.sort_unstable();
        Ok(percentiles(&rates))
    }
}

/// Returns thousandths of a satoshi per virtual byte, rounded down. Every transaction has a size.
pub(crate) fn rate(sample: &FeeSample) -> u64 {
    let rate = u128::from(sample.fee_satoshi) * 1_000 / u128::from(sample.virtual_bytes.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Returns the 0th to 100th percentile of sorted values by nearest rank: the smallest value that at
/// least that share of the values does not exceed; the 0th is the smallest. Nothing for no values.
fn percentiles(sorted: &[u64]) -> Vec<u64> {
    (0..=HUNDREDTH)
        .filter_map(|percent| {
            let rank = (percent * sorted.len()).div_ceil(HUNDREDTH);
            sorted.get(rank.saturating_sub(1)).copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        // The textbook's example of the method.
        let found = percentiles(&[15, 20, 35, 40, 50]);
        assert_eq!(found.len(), 101);
        for (percent, value) in [(0, 15), (5, 15), (20, 15), (21, 20), (30, 20), (40, 20)] {
            assert_eq!(found[percent], value, "{percent}");
        }
        for (percent, value) in [(41, 35), (50, 35), (60, 35), (61, 40), (81, 50), (100, 50)] {
            assert_eq!(found[percent], value, "{percent}");
        }
        let thousand: Vec<u64> = (1..=1_000).collect();
        let found = percentiles(&thousand);
        assert_eq!(
            (found[0], found[1], found[50], found[100]),
            (1, 10, 500, 1_000)
        );
        assert_eq!(percentiles(&[7]), vec![7; 101]);
        assert_eq!(percentiles(&[]), Vec::<u64>::new());
    }

    #[test]
    fn rates_are_rounded_down_and_never_overflow() {
        let rate_of = |fee_satoshi, virtual_bytes| {
            rate(&FeeSample {
                fee_satoshi,
                virtual_bytes,
            })
        };
        assert_eq!(rate_of(1, 119), 8);
        assert_eq!(rate_of(250, 250), 1_000);
        assert_eq!(rate_of(u64::MAX, 1), u64::MAX);
        assert_eq!(rate_of(7, 0), 7_000);
    }
}
