//! `bitcoin_send_transaction`.

use bitcoin::Transaction;
use bitcoin::consensus::{Decodable, serialize};
use ic_stable_structures::Memory;
use millrace_candid::official::{SendTransactionError, SendTransactionRequest};

use super::Refusal;
use crate::guard::{Payment, charge};
use crate::relay::{Dispatch, NotQueued, NotTaken};
use crate::{App, Env};

impl<M: Memory> App<M> {
    /// `bitcoin_send_transaction`: charges by size, checks that the bytes begin with a transaction,
    /// and says who is to be called, or queues it for the adapters.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn bitcoin_send_transaction(
        &mut self,
        env: &impl Env,
        payment: &impl Payment,
        request: SendTransactionRequest,
    ) -> Result<Dispatch, Refusal> {
        self.check_access()?;
        self.check_network(request.network)?;
        charge(payment, self.price_of_sending(request.transaction.len()))?;
        let refuse = |error| Refusal::failed("send_transaction", &error);
        // Bytes after the transaction are passed over, as they are there.
        let transaction = Transaction::consensus_decode(&mut request.transaction.as_slice())
            .map_err(|_| refuse(SendTransactionError::MalformedTransaction))?;
        let txid = transaction.compute_txid();
        self.note_sent();
        if self.config.is_pulling {
            return Ok(self.hand_to_source(txid, request.transaction));
        }
        match self.queue_transaction(env, txid, &serialize(&transaction)) {
            Ok(dispatch) => Ok(dispatch),
            Err(NotQueued::TooLarge { .. }) => {
                Err(refuse(SendTransactionError::MalformedTransaction))
            }
            Err(NotQueued::Full { .. } | NotQueued::Fault(_)) => {
                Err(refuse(SendTransactionError::QueueFull))
            }
        }
    }

    /// Returns the price of sending `length` bytes, in cycles.
    pub(crate) fn price_of_sending(&self, length: usize) -> u128 {
        let fees = &self.config.fees;
        let per_byte = fees
            .send_transaction_per_byte
            .saturating_mul(length as u128);
        fees.send_transaction_base.saturating_add(per_byte)
    }
}

/// Returns the trap for a transaction that the blocks source did not take: as in the official
/// canister, what was charged before the call is kept. Where the text goes on, it is as there.
pub fn not_handed_over(failure: &NotTaken) -> Refusal {
    Refusal::Trap(format!(
        "Sending transaction bitcoin network must succeed: ({}, {:?})",
        failure.code_name(),
        failure.message
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_cannot_be_paid_says_so_but_where_the_official_text_is_promised() {
        let failure = NotTaken::not_paid(7, 40_000_000_000);
        let text = failure.to_string();
        assert!(
            text.contains(": 7 cycles") && text.contains("needs 40000000000; top"),
            "{text}"
        );
        assert_eq!(
            not_handed_over(&failure),
            not_handed_over(&NotTaken::not_called())
        );
    }

    #[test]
    fn a_failed_hand_over_traps_with_the_official_text() {
        for (code, name) in [
            (1, "SysFatal"),
            (2, "SysTransient"),
            (3, "DestinationInvalid"),
            (4, "CanisterReject"),
            (5, "CanisterError"),
            (6, "Unknown"),
            (99, "Unknown"),
        ] {
            let failure = NotTaken {
                code,
                message: "say \"no\"".to_owned(),
                advice: String::new(),
            };
            let text = format!(
                "Sending transaction bitcoin network must succeed: ({name}, \"say \\\"no\\\"\")"
            );
            assert_eq!(not_handed_over(&failure), Refusal::Trap(text));
        }
    }
}
