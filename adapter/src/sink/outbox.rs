//! The canister's outbox over `ic-agent`.

use bitcoin::Txid;
use bitcoin::hashes::Hash;
use millrace_candid::{
    GetTransactionsToRelayArgs, GetTransactionsToRelayResult, RelayError, ReportTransactionsResult,
    TransactionReport,
};
use millrace_p2p::node::{RelayOutcome, RelayTransaction};
use serde_bytes::ByteBuf;

use super::SinkError;
use super::agent::AgentSink;
use crate::relay::shell::Outbox;

impl Outbox for AgentSink {
    async fn transactions(&self, after: Option<Txid>) -> Result<Vec<RelayTransaction>, SinkError> {
        const METHOD: &str = "get_transactions_to_relay";
        let args = GetTransactionsToRelayArgs {
            after: after.map(|txid| ByteBuf::from(txid.to_byte_array())),
            max_bytes: None,
        };
        let result: GetTransactionsToRelayResult = self.query(METHOD, &args).await?;
        let listed = result.map_err(|error| self.refused_relay(METHOD, error))?;
        let listed = listed.into_iter().map(|listed| {
            let txid = Txid::from_slice(&listed.txid).map_err(|_| {
                self.bad_answer(METHOD, format!("a txid has {} bytes", listed.txid.len()))
            })?;
            Ok(RelayTransaction {
                txid,
                bytes: listed.transaction.into_vec(),
            })
        });
        listed.collect()
    }

    async fn report(&self, reports: Vec<(Txid, RelayOutcome)>) -> Result<(), SinkError> {
        const METHOD: &str = "report_transactions";
        let reports: Vec<TransactionReport> = reports
            .into_iter()
            .map(|(txid, outcome)| TransactionReport {
                txid: ByteBuf::from(txid.to_byte_array()),
                outcome: wire(outcome),
            })
            .collect();
        let result: ReportTransactionsResult = self.update(METHOD, &reports).await?;
        // Which of them the canister still knows makes no difference here: the next listing says it.
        result
            .map(|_known| ())
            .map_err(|error| self.refused_relay(METHOD, error))
    }
}

impl AgentSink {
    fn refused_relay(&self, method: &'static str, error: RelayError) -> SinkError {
        match error {
            RelayError::NotAnAdapter { caller } => self.not_an_adapter(caller),
            RelayError::Internal(reason) => self.canister_failed(reason),
            other => self.bad_answer(
                method,
                format!("{other:?} for a request within the contract"),
            ),
        }
    }
}

fn wire(outcome: RelayOutcome) -> millrace_candid::RelayOutcome {
    use millrace_candid::RelayOutcome as Wire;
    match outcome {
        RelayOutcome::Announced { peers } => Wire::Announced { peers },
        RelayOutcome::Seen => Wire::Seen,
        RelayOutcome::Rejected { reason } => Wire::Rejected { reason },
    }
}
