//! `get_utxo_set_info`.

use candid::Nat;
use ic_stable_structures::Memory;
use millrace_candid as wire;
use millrace_candid::{GetUtxoSetInfoArgs, GetUtxoSetInfoResult, ReadError};
use millrace_core::Height;
use millrace_store::commitments::{CommittedBlock, Standing};

use crate::{App, convert};

impl<M: Memory> App<M> {
    /// Returns what Bitcoin Core says of the stable set after a block: hash, number, amount, size. Costs a
    /// modular inverse. Whether blocks are missing above makes no difference.
    ///
    /// # Errors
    /// [`ReadError`]: the API is closed, no commitment is kept or it is not complete yet, or the height
    /// is not kept.
    pub fn get_utxo_set_info(&self, args: &GetUtxoSetInfoArgs) -> GetUtxoSetInfoResult {
        self.check_reads()
            .map_err(|refused| refused.to_read_error())?;
        let (min_height, max_height) = match self.commitment_standing() {
            wire::UtxoSetCommitment::Complete {
                min_height,
                max_height,
            } => (min_height, max_height),
            wire::UtxoSetCommitment::CatchingUp { coins, of } => {
                return Err(ReadError::CommitmentCatchingUp { coins, of });
            }
            wire::UtxoSetCommitment::Off => return Err(ReadError::CommitmentOff),
        };
        let height = args.height.unwrap_or(max_height);
        let kept = Some(height).filter(|it| (min_height..=max_height).contains(it));
        let kept = kept.and_then(|height| self.store.commitments.of_height(Height::new(height)));
        let kept = kept.ok_or(ReadError::HeightNotKept {
            requested: height,
            min_height,
            max_height,
        })?;
        info(&kept)
    }

    /// Returns how far the commitment is.
    pub(crate) fn commitment_standing(&self) -> wire::UtxoSetCommitment {
        if !self.keeps_commitment() {
            return wire::UtxoSetCommitment::Off;
        }
        let store = &self.store;
        let of = store.coins.stable_count();
        match store.commitments.standing(&store.tree.root_hash()) {
            Standing::None => wire::UtxoSetCommitment::CatchingUp { coins: 0, of },
            Standing::CatchingUp { coins } => wire::UtxoSetCommitment::CatchingUp { coins, of },
            Standing::Complete { first, last } => wire::UtxoSetCommitment::Complete {
                min_height: first.get(),
                max_height: last.get(),
            },
        }
    }
}

fn info(kept: &CommittedBlock) -> GetUtxoSetInfoResult {
    let totals = &kept.commitment.totals;
    let broken = || ReadError::Internal(format!("a set cannot have the sums {totals:?}"));
    Ok(wire::UtxoSetInfo {
        block: convert::block_id(kept.block, kept.height),
        outputs: u64::try_from(totals.outputs).map_err(|_| broken())?,
        total_amount: Nat::from(u128::try_from(totals.satoshi).map_err(|_| broken())?),
        bogosize: u64::try_from(totals.bogosize).map_err(|_| broken())?,
        muhash: kept.commitment.muhash.digest().to_string(),
    })
}
