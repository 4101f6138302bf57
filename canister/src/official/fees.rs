//! `bitcoin_get_current_fee_percentiles`: what the newest transactions paid.

use bitcoin::BlockHash;
use ic_stable_structures::Memory;
use millrace_candid::official::GetCurrentFeePercentilesRequest;
use millrace_core::FeeRate;
use millrace_core::fees::{FEE_WINDOW_TRANSACTIONS, FeeWindow};
use millrace_store::StoreError;
use millrace_store::fee_rates::FeePercentiles;

use super::Refusal;
use crate::guard::{Payment, charge, require};
use crate::{App, Env};

impl<M: Memory> App<M> {
    /// `bitcoin_get_current_fee_percentiles`: the percentiles of the last
    /// 10,000 transactions in the unstable blocks of the best chain ([`FeeWindow`]), in
    /// thousandths of a satoshi per virtual byte. Charges a flat price; a larger maximum must be attached.
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
        self.remember_fee_rates(tip)?;
        let mut values = self.fee_percentiles_at(tip)?;
        if values.is_empty() {
            values = cached.map_or_else(Vec::new, |cached| cached.values);
        }
        let percentiles = FeePercentiles { tip, values };
        self.store.fee_cache.set(&percentiles);
        Ok(percentiles.values)
    }

    /// Keeps on the heap what the percentiles at `tip` are computed from, so that of each block it
    /// is read once. Where blocks are small a window reaches over hundreds of them.
    fn remember_fee_rates(&mut self, tip: BlockHash) -> Result<(), StoreError> {
        let mut known = std::mem::take(&mut self.fee_rates);
        let mut count = 0;
        for node in self.store.tree.path(&tip) {
            if count >= FEE_WINDOW_TRANSACTIONS {
                break;
            }
            let hash = node.hash();
            let rates = match known.remove(&hash) {
                Some(rates) => rates,
                None => self.store.fee_rates(hash)?,
            };
            count += rates.rates().len();
            self.fee_rates.insert(hash, rates);
        }
        Ok(())
    }

    /// Returns the percentiles over the unstable blocks that end at `tip`; empty when those have no
    /// transactions. Reads and sorts at most as many rates as a [`FeeWindow`] holds.
    pub(crate) fn fee_percentiles_at(&self, tip: BlockHash) -> Result<Vec<u64>, StoreError> {
        let mut window = FeeWindow::default();
        for node in self.store.tree.path(&tip) {
            if window.is_full() {
                break;
            }
            let hash = node.hash();
            match self.fee_rates.get(&hash) {
                Some(rates) => window.push_block(rates),
                None => window.push_block(&self.store.fee_rates(hash)?),
            }
        }
        Ok(window.percentiles().into_iter().map(FeeRate::get).collect())
    }
}
