//! Transactions on their way to Bitcoin's network: typed sending and status, and the adapters' side.

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitcoin::{Transaction, Txid};
use candid::{CandidType, Nat, Principal};
use ic_stable_structures::Memory;
use millrace_candid as wire;
use millrace_candid::{
    GetTransactionStatusArgs, GetTransactionStatusResult, GetTransactionsToRelayArgs,
    GetTransactionsToRelayResult, ReadError, RelayError, ReportTransactionsResult, SendError,
    SendTransactionArgs, SentTransaction, TransactionReport, TransactionStanding,
    TransactionStatus,
};
use millrace_core::causes::with_causes;
use millrace_core::outbox::{Event, OutboxError, Report, Status};
use millrace_core::scan::ScannedBlock;
use millrace_store::StoreError;
use millrace_store::cells::Counter;
use millrace_store::outbox::DeliveryError;
use serde::Deserialize;
use serde_bytes::ByteBuf;

use crate::guard::{Payment, Refused, charge};
use crate::{App, Env, convert};

/// The method of the blocks source that takes transactions.
pub const SEND_INTERNAL: &str = "bitcoin_send_transaction_internal";

/// Largest transaction, in bytes: what a block can hold (BIP141).
pub const MAX_TRANSACTION_BYTES: usize = 4_000_000;

/// Transactions in one answer to an adapter, at most.
pub const MAX_TO_RELAY: usize = 100;

/// Bytes of transactions in one answer to an adapter, at most; a single larger one comes alone.
pub const MAX_TO_RELAY_BYTES: u32 = 1_500_000;

/// Reports in one message, at most.
pub const MAX_REPORTS: usize = 200;

/// Argument of [`SEND_INTERNAL`].
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SendInternalRequest {
    /// The network.
    pub network: wire::Network,
    /// The transaction.
    pub transaction: ByteBuf,
}

/// What is to be done with an accepted transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// Call [`SEND_INTERNAL`] of `source`, then [`App::on_handed_over`].
    Call {
        /// The transaction.
        txid: Txid,
        /// Whom to call.
        source: Principal,
        /// With what.
        request: SendInternalRequest,
    },
    /// Nothing: it waits for an adapter.
    Queued {
        /// The transaction.
        txid: Txid,
    },
}

/// Why the blocks source did not take a transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}{advice}", name = self.code_name())]
pub struct NotTaken {
    /// The Internet Computer's reject code, 1 to 6.
    pub code: u32,
    /// The reject text, as the official canister's is.
    pub message: String,
    /// What is the matter and what to do about it, behind a colon, where the text does not say.
    pub advice: String,
}

impl NotTaken {
    /// Returns the failure of a call that was never made.
    pub fn not_called() -> Self {
        Self {
            code: 2,
            message: "Couldn't send message".to_owned(),
            advice: String::new(),
        }
    }

    /// Returns the failure of a call that the canister cannot pay.
    pub fn not_paid(available: u128, required: u128) -> Self {
        Self {
            advice: format!(
                ": {available} cycles are there to spend, the call to the blocks source needs {required}; \
                 top the canister up"
            ),
            ..Self::not_called()
        }
    }

    /// Returns the code's name, as the official canister's texts have it.
    pub const fn code_name(&self) -> &'static str {
        match self.code {
            1 => "SysFatal",
            2 => "SysTransient",
            3 => "DestinationInvalid",
            4 => "CanisterReject",
            5 => "CanisterError",
            _ => "Unknown",
        }
    }
}

/// Why a transaction is not queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotQueued {
    /// No block can hold it.
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The outbox is full.
    Full {
        /// Transactions in it.
        transactions: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// The store failed.
    Fault(StoreError),
}

impl<M: Memory> App<M> {
    /// `send_transaction`: as [`App::bitcoin_send_transaction`], for the same price, with typed
    /// errors. The bytes must be one transaction and nothing else.
    ///
    /// # Errors
    /// [`SendError`]; cycles are taken for malformed transactions too.
    pub fn send_transaction(
        &mut self,
        env: &impl Env,
        payment: &impl Payment,
        args: SendTransactionArgs,
    ) -> Result<Dispatch, SendError> {
        let price = self.price_of_sending(args.transaction.len());
        let paid = self.check_access().and_then(|()| charge(payment, price));
        paid.map_err(send_error)?;
        let transaction: Transaction =
            deserialize(&args.transaction).map_err(|error| SendError::MalformedTransaction {
                reason: with_causes(&error),
            })?;
        let txid = transaction.compute_txid();
        self.note_sent();
        if self.config.is_pulling {
            return Ok(self.hand_to_source(txid, args.transaction.into_vec()));
        }
        let queued = self.queue_transaction(env, txid, &args.transaction);
        queued.map_err(|refused| match refused {
            NotQueued::TooLarge { bytes } => SendError::TransactionTooLarge {
                given_bytes: convert::length(bytes),
                max_bytes: MAX_TRANSACTION_BYTES as u32,
            },
            NotQueued::Full {
                transactions,
                bytes,
            } => SendError::OutboxFull {
                transactions: convert::length(transactions),
                bytes,
            },
            NotQueued::Fault(error) => SendError::Internal(error.to_string()),
        })
    }

    /// Counts a well-formed transaction that a caller sent.
    pub(crate) fn note_sent(&mut self) {
        self.store.counters.add(Counter::TransactionsSent, 1);
        self.store.counters.flush();
    }

    /// Says that the blocks source is to take a transaction.
    pub(crate) fn hand_to_source(&self, txid: Txid, transaction: Vec<u8>) -> Dispatch {
        Dispatch::Call {
            txid,
            source: self.config.blocks_source,
            request: SendInternalRequest {
                network: convert::network(self.store.network()),
                transaction: ByteBuf::from(transaction),
            },
        }
    }

    /// Remembers that the blocks source took a transaction, so that its status can be asked for.
    pub fn on_handed_over(&mut self, env: &impl Env, txid: Txid, size: u32) {
        self.deliver(env, Event::HandedOver { txid, size });
    }

    pub(crate) fn queue_transaction(
        &mut self,
        env: &impl Env,
        txid: Txid,
        bytes: &[u8],
    ) -> Result<Dispatch, NotQueued> {
        if bytes.len() > MAX_TRANSACTION_BYTES {
            return Err(NotQueued::TooLarge { bytes: bytes.len() });
        }
        let event = Event::Submitted {
            txid,
            size: convert::length(bytes.len()),
        };
        match self.store.deliver(env.now(), event, bytes) {
            Ok(()) => Ok(Dispatch::Queued { txid }),
            Err(DeliveryError::Refused(_)) => {
                let (transactions, bytes) = self.store.outbox.kept();
                Err(NotQueued::Full {
                    transactions,
                    bytes: bytes.get(),
                })
            }
            Err(DeliveryError::Store(error)) => {
                self.note_fault(env, "queueing a transaction", &error);
                Err(NotQueued::Fault(error))
            }
        }
    }

    /// `get_transaction_status`: what became of a transaction that was sent through this canister, on
    /// the chain that ends at the best or the given block.
    ///
    /// # Errors
    /// [`RelayError::MalformedHash`], [`RelayError::UnknownTip`] or
    /// [`RelayError::UnknownTransaction`].
    pub fn get_transaction_status(
        &self,
        args: &GetTransactionStatusArgs,
    ) -> GetTransactionStatusResult {
        let txid = read_txid(&args.txid)?;
        let tip = self.read_tip(args.at_tip.as_ref()).map_err(tip_error)?;
        let status = self.store.transaction_status(&txid, tip.hash);
        let status = status.ok_or_else(|| RelayError::UnknownTransaction {
            txid: args.txid.clone(),
        })?;
        Ok(TransactionStanding {
            status: match status {
                Status::Queued => TransactionStatus::Queued,
                Status::Announced { peers } => TransactionStatus::Announced { peers },
                Status::Seen => TransactionStatus::Seen,
                Status::Confirmed { block, height } => TransactionStatus::Confirmed {
                    block: convert::block_id(block, height),
                    confirmations: tip.confirmations(height),
                },
                Status::Rejected { reason } => TransactionStatus::Rejected { reason },
                Status::Expired => TransactionStatus::Expired,
            },
            tip: tip.to_wire(),
        })
    }

    /// `get_transactions_to_relay`: for adapters. Transactions in order of their ids, after `after`.
    ///
    /// # Errors
    /// [`RelayError`].
    pub fn get_transactions_to_relay(
        &self,
        caller: Principal,
        args: &GetTransactionsToRelayArgs,
    ) -> GetTransactionsToRelayResult {
        if !self.is_adapter(&caller) {
            return Err(RelayError::NotAnAdapter { caller });
        }
        let after = args.after.as_ref().map(|bytes| read_txid(bytes));
        let after = after.transpose()?;
        let max_bytes = args.max_bytes.unwrap_or(MAX_TO_RELAY_BYTES);
        let max_bytes = u64::from(max_bytes.min(MAX_TO_RELAY_BYTES));
        let found = self
            .store
            .transactions_to_relay(after, MAX_TO_RELAY, max_bytes)
            .map_err(|error| RelayError::Internal(error.to_string()))?;
        Ok(found
            .into_iter()
            .map(|relayed| wire::TransactionToRelay {
                txid: ByteBuf::from(relayed.txid.to_byte_array()),
                transaction: ByteBuf::from(relayed.bytes),
                submitted_at: relayed.submitted.get(),
            })
            .collect())
    }

    /// `report_transactions`: for adapters. Returns for each report whether the transaction is
    /// known here.
    ///
    /// # Errors
    /// [`RelayError`]; no report is taken then.
    pub fn report_transactions(
        &mut self,
        env: &impl Env,
        caller: Principal,
        reports: &[TransactionReport],
    ) -> ReportTransactionsResult {
        if !self.is_adapter(&caller) {
            return Err(RelayError::NotAnAdapter { caller });
        }
        if reports.len() > MAX_REPORTS {
            return Err(RelayError::TooManyReports {
                given: convert::length(reports.len()),
                max: MAX_REPORTS as u32,
            });
        }
        let txids: Result<Vec<Txid>, RelayError> = reports
            .iter()
            .map(|report| read_txid(&report.txid))
            .collect();
        let known = txids?.into_iter().zip(reports).map(|(txid, report)| {
            let report = match &report.outcome {
                wire::RelayOutcome::Announced { peers } => Report::Announced { peers: *peers },
                wire::RelayOutcome::Seen => Report::Seen,
                wire::RelayOutcome::Rejected { reason } => Report::Rejected {
                    reason: reason.clone(),
                },
            };
            self.deliver(env, Event::Reported { txid, report })
        });
        Ok(known.collect())
    }

    /// Notes which transactions of the outbox a block holds.
    pub(crate) fn note_inclusions(&mut self, env: &impl Env, block: &ScannedBlock) {
        if self.store.outbox.is_empty() {
            return;
        }
        let held: Vec<Txid> = block
            .txids()
            .iter()
            .copied()
            .filter(|txid| self.store.outbox.contains(txid))
            .collect();
        let height = self.height(&block.hash());
        for txid in held {
            let block = block.hash();
            self.deliver(
                env,
                Event::Included {
                    txid,
                    block,
                    height,
                },
            );
        }
    }

    /// Lets transactions expire and settle. Cheap but once a minute.
    pub(crate) fn sweep_outbox(&mut self, env: &impl Env) {
        if !self.store.outbox.is_empty() {
            self.deliver(env, Event::Tick);
        }
    }

    /// Handles an event without bytes; returns whether the outbox took it.
    fn deliver(&mut self, env: &impl Env, event: Event) -> bool {
        match self.store.deliver(env.now(), event, &[]) {
            Ok(()) => true,
            Err(DeliveryError::Refused(OutboxError::Unknown { .. } | OutboxError::Full { .. })) => {
                false
            }
            Err(DeliveryError::Store(error)) => {
                self.note_fault(env, "keeping the outbox", &error);
                false
            }
        }
    }
}

/// Returns what `send_transaction` answers once a transaction is on its way.
pub fn sent(txid: Txid) -> SentTransaction {
    SentTransaction {
        txid: ByteBuf::from(txid.to_byte_array()),
    }
}

fn read_txid(bytes: &[u8]) -> Result<Txid, RelayError> {
    convert::txid(bytes).map_err(|given_bytes| RelayError::MalformedHash {
        given_bytes,
        expected_bytes: convert::HASH_BYTES as u32,
    })
}

fn tip_error(error: ReadError) -> RelayError {
    match error {
        ReadError::MalformedHash {
            given_bytes,
            expected_bytes,
        } => RelayError::MalformedHash {
            given_bytes,
            expected_bytes,
        },
        ReadError::UnknownTip { hash, min_height } => RelayError::UnknownTip { hash, min_height },
        // Finding a tip has no other errors.
        other => RelayError::Internal(format!("{other:?}")),
    }
}

fn send_error(refused: Refused) -> SendError {
    match refused {
        Refused::ApiDisabled => SendError::ApiDisabled,
        Refused::TooFewCycles { received, required } => SendError::TooFewCycles {
            received: Nat::from(received),
            required: Nat::from(required),
        },
        Refused::OtherNetwork { .. } | Refused::NotSynced { .. } => {
            SendError::Internal(refused.to_string())
        }
    }
}
