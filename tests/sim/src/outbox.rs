//! Transactions out: sent by callers, reported by adapters.

use std::collections::BTreeSet;

use bitcoin::Transaction;
use bitcoin::hashes::Hash;
use millrace_candid::{RelayOutcome, SendError, SendTransactionArgs, TransactionReport};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_bytes::ByteBuf;

use crate::run::{Checked, Run, adapter, require};
use crate::subject::Subject;

/// A sent transaction.
pub(crate) struct Sent {
    pub(crate) transaction: Transaction,
    /// Blocks that were connected or held when it was sent: they are not looked through for it.
    pub(crate) before: BTreeSet<usize>,
    pub(crate) is_reported: bool,
}

impl<S: Subject> Run<S> {
    pub(crate) fn send(&mut self, salt: u32) -> Checked {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(salt));
        let payment = self.miner.payment(&self.model, self.seen.tip, &mut rng);
        let Some(transaction) = payment else {
            return Ok(());
        };
        let args = SendTransactionArgs {
            transaction: ByteBuf::from(bitcoin::consensus::serialize(&transaction)),
        };
        let sent = match self.subject.send(args) {
            Err(trap) => return self.excuse(&trap),
            Ok(sent) => sent,
        };
        self.coverage.note("sent", sent.is_ok());
        let txid = transaction.compute_txid();
        let is_right = match &sent {
            Ok(named) => *named == txid.to_byte_array(),
            Err(SendError::Internal(text)) => self.is_full && text.contains("cannot grow"),
            // The call to the source could not be paid.
            Err(SendError::NotHandedOver { .. }) => self.is_poor,
            Err(_) => !self.is_open,
        };
        require(is_right, "sending", || format!("{sent:?} for {txid}"))?;
        let is_new = self
            .sent
            .iter()
            .all(|sent| sent.transaction.compute_txid() != txid);
        if sent.is_ok() && is_new {
            self.sent.push(Sent {
                transaction,
                before: (0..self.model.len())
                    .filter(|place| self.seen.has(*place))
                    .collect(),
                is_reported: false,
            });
        }
        Ok(())
    }

    pub(crate) fn report(&mut self, who: u8, is_refusal: bool) -> Checked {
        let outcome = if is_refusal {
            let reason = "no fee".to_owned();
            RelayOutcome::Rejected { reason }
        } else {
            RelayOutcome::Announced { peers: 3 }
        };
        let txids = self.sent.iter().map(|sent| sent.transaction.compute_txid());
        let reports: Vec<TransactionReport> = txids
            .map(|txid| TransactionReport {
                txid: ByteBuf::from(txid.to_byte_array()),
                outcome: outcome.clone(),
            })
            .collect();
        let known = match self.subject.report(adapter(who), &reports) {
            Err(trap) => return self.excuse(&trap),
            Ok(known) => known,
        };
        let is_right = match &known {
            Ok(known) => known.len() == reports.len() && known.iter().all(|it| *it),
            Err(_) => !self.may_push(who),
        };
        require(is_right, "reporting", || format!("{known:?}"))?;
        if known.is_ok() {
            self.sent
                .iter_mut()
                .for_each(|sent| sent.is_reported = true);
        }
        Ok(())
    }
}
