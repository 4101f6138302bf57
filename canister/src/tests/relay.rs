//! Transactions out: charges, dispatch, the outbox, adapters' reports, status.

use super::regtest::*;
use super::setup::*;
use crate::official::Refusal;
use crate::relay::{Dispatch, MAX_REPORTS};
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Transaction, Txid};
use candid::{Nat, Principal};
use millrace_candid::official::{NetworkInRequest, SendTransactionRequest};
use millrace_candid::{
    Flag, GetTransactionStatusArgs, GetTransactionsToRelayArgs, InitConfig, RelayError,
    RelayOutcome, SendError, SendTransactionArgs, SetConfigRequest, TransactionReport,
    TransactionStatus, TransactionToRelay,
};
use serde_bytes::ByteBuf;

fn request(transaction: Vec<u8>) -> SendTransactionRequest {
    SendTransactionRequest {
        transaction,
        network: NetworkInRequest::regtest,
    }
}

fn id(txid: Txid) -> ByteBuf {
    ByteBuf::from(txid.to_byte_array())
}

/// A transaction like no other.
fn transaction(number: u8) -> Transaction {
    let coin = bitcoin::OutPoint {
        txid: Txid::from_byte_array([number; 32]),
        vout: 0,
    };
    payment(&[coin], &[1_000])
}

fn send(canister: &mut Canister, transaction: &Transaction) -> Result<Dispatch, Refusal> {
    let Canister { app, world, .. } = canister;
    let request = request(serialize(transaction));
    app.bitcoin_send_transaction(world, &Purse::with(0), request)
}

fn status(canister: &Canister, txid: Txid) -> Result<TransactionStatus, RelayError> {
    let args = GetTransactionStatusArgs {
        txid: id(txid),
        at_tip: None,
    };
    let found = canister.app.get_transaction_status(&args);
    found.map(|standing| standing.status)
}

fn to_relay(canister: &Canister) -> Vec<TransactionToRelay> {
    let args = GetTransactionsToRelayArgs::default();
    canister
        .app
        .get_transactions_to_relay(adapter(), &args)
        .unwrap()
}

fn report(canister: &mut Canister, txid: Txid, outcome: RelayOutcome) -> Vec<bool> {
    let reports = [TransactionReport {
        txid: id(txid),
        outcome,
    }];
    let Canister { app, world, .. } = canister;
    app.report_transactions(world, adapter(), &reports).unwrap()
}

#[test]
fn sending_charges_by_size_before_looking_at_the_transaction() {
    let mut canister = Canister::new(InitConfig {
        fees: Some(prices()),
        ..regtest()
    });
    let Canister { app, world, .. } = &mut canister;
    let bytes = serialize(&transaction(1));
    let price = 500 + 7 * bytes.len() as u128;

    let purse = Purse::with(price - 1);
    let refused = app.bitcoin_send_transaction(world, &purse, request(bytes.clone()));
    let text = format!(
        "Received {} cycles. {price} cycles are required.",
        price - 1
    );
    assert_eq!(refused, Err(Refusal::Trap(text)));
    assert_eq!(purse.taken.get(), 0);

    let purse = Purse::with(10 * price);
    app.bitcoin_send_transaction(world, &purse, request(bytes))
        .unwrap();
    assert_eq!(purse.taken.get(), price);

    let purse = Purse::with(10 * price);
    let refused = app.bitcoin_send_transaction(world, &purse, request(vec![1, 2, 3]));
    let text = "send_transaction failed: MalformedTransaction".to_owned();
    assert_eq!(refused, Err(Refusal::Reject(text)));
    assert_eq!(purse.taken.get(), 500 + 7 * 3);
}

#[test]
fn sending_needs_access_and_the_network_but_no_sync() {
    let mut canister = Canister::new(regtest());
    canister.announce(&chain(4));
    assert!(send(&mut canister, &transaction(1)).is_ok());

    let mut other = request(serialize(&transaction(2)));
    other.network = NetworkInRequest::Mainnet;
    let Canister { app, world, .. } = &mut canister;
    let refused = app.bitcoin_send_transaction(world, &Purse::with(0), other);
    let text = "Network must be regtest. Found mainnet".to_owned();
    assert_eq!(refused, Err(Refusal::Trap(text)));

    let close = SetConfigRequest {
        api_access: Some(Flag::Disabled),
        ..SetConfigRequest::default()
    };
    app.set_config(close).unwrap();
    let refused = send(&mut canister, &transaction(2));
    let text = "Bitcoin API is disabled".to_owned();
    assert_eq!(refused, Err(Refusal::Trap(text)));
}

#[test]
fn a_pulling_canister_hands_the_bytes_to_its_source_and_remembers() {
    let source = Principal::from_slice(&[7, 7]);
    let mut canister = Canister::new(InitConfig {
        blocks_source: Some(source),
        pull: Some(Flag::Enabled),
        ..regtest()
    });
    let sent = transaction(1);
    let txid = sent.compute_txid();
    let dispatch = send(&mut canister, &sent).unwrap();
    let Dispatch::Call {
        txid: named,
        source: called,
        request,
    } = dispatch
    else {
        panic!("expected a call, got {dispatch:?}");
    };
    assert_eq!((named, called), (txid, source));
    assert_eq!(request.network, millrace_candid::Network::Regtest);
    assert_eq!(request.transaction, serialize(&sent));
    assert!(matches!(
        status(&canister, txid),
        Err(RelayError::UnknownTransaction { .. })
    ));
    let Canister { app, world, .. } = &mut canister;
    app.on_handed_over(world, txid, 100);
    assert_eq!(
        status(&canister, txid),
        Ok(TransactionStatus::Announced { peers: 0 })
    );
    assert_eq!(to_relay(&canister), []);
    canister.audit();
}

#[test]
fn a_fed_canister_keeps_transactions_for_its_adapters_over_upgrades() {
    let mut canister = Canister::new(regtest());
    let sent = transaction(1);
    let txid = sent.compute_txid();
    assert_eq!(
        send(&mut canister, &sent),
        Ok(Dispatch::Queued { txid }),
        "first"
    );
    assert_eq!(
        send(&mut canister, &sent),
        Ok(Dispatch::Queued { txid }),
        "again"
    );
    canister.upgrade();
    canister.audit();
    assert_eq!(status(&canister, txid), Ok(TransactionStatus::Queued));
    let expected = TransactionToRelay {
        txid: id(txid),
        transaction: ByteBuf::from(serialize(&sent)),
        submitted_at: NOW,
    };
    assert_eq!(to_relay(&canister), [expected]);

    let announced = RelayOutcome::Announced { peers: 8 };
    assert_eq!(report(&mut canister, txid, announced), [true]);
    canister.upgrade();
    assert_eq!(
        status(&canister, txid),
        Ok(TransactionStatus::Announced { peers: 8 })
    );
    let reason = "txn-mempool-conflict".to_owned();
    let refused = RelayOutcome::Rejected {
        reason: reason.clone(),
    };
    assert_eq!(report(&mut canister, txid, refused), [true]);
    assert_eq!(
        status(&canister, txid),
        Ok(TransactionStatus::Rejected { reason })
    );
    assert_eq!(to_relay(&canister), []);
    canister.audit();
}

#[test]
fn a_transaction_is_confirmed_by_its_block_and_unconfirmed_by_a_reorganisation() {
    let mut canister = Canister::new(regtest());
    let first = block(&genesis(), 1, 0, &[5_000], &[]);
    let sent = payment(&[coinbase_coin(&first)], &[4_000]);
    let txid = sent.compute_txid();
    send(&mut canister, &sent).unwrap();
    let with = block(&first, 2, 0, &[1], &[sent]);
    canister.feed_blocks(&[first.clone(), with.clone()]);
    let confirmed = |confirmations| {
        Ok(TransactionStatus::Confirmed {
            block: millrace_candid::BlockId {
                hash: crate::convert::hash(with.block_hash()),
                height: 2,
            },
            confirmations,
        })
    };
    assert_eq!(status(&canister, txid), confirmed(1));
    assert_eq!(to_relay(&canister), []);

    let second = block(&first, 2, 9, &[1], &[]);
    let third = block(&second, 3, 9, &[1], &[]);
    canister.feed_blocks(&[second, third]);
    assert_eq!(canister.tip().1, 3);
    assert_eq!(status(&canister, txid), Ok(TransactionStatus::Queued));
    assert_eq!(to_relay(&canister).len(), 1);

    let third = block(&with, 3, 0, &[1], &[]);
    let fourth = block(&third, 4, 0, &[1], &[]);
    canister.feed_blocks(&[third, fourth]);
    canister.upgrade();
    assert_eq!(status(&canister, txid), confirmed(3));
}

#[test]
fn confirmed_in_a_stable_block_is_for_good() {
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(2u8.into()),
        ..regtest()
    });
    let first = block(&genesis(), 1, 0, &[5_000], &[]);
    let sent = payment(&[coinbase_coin(&first)], &[4_000]);
    let txid = sent.compute_txid();
    send(&mut canister, &sent).unwrap();
    let mut parent = block(&first, 2, 0, &[1], &[sent]);
    canister.feed_blocks(&[first, parent.clone()]);
    for height in 3..9 {
        let next = block(&parent, height, 0, &[1], &[]);
        canister.feed_blocks(std::slice::from_ref(&next));
        parent = next;
    }
    canister.world.now.set(NOW + 3_600);
    canister.heartbeat();
    canister.audit();
    assert_eq!(canister.app.store().outbox.kept().0, 0, "bytes are gone");
    let found = status(&canister, txid).unwrap();
    let TransactionStatus::Confirmed { confirmations, .. } = found else {
        panic!("{found:?}");
    };
    assert_eq!(confirmations, 7);
}

#[test]
fn only_adapters_fetch_and_report_and_bad_reports_change_nothing() {
    let mut canister = Canister::new(regtest());
    send(&mut canister, &transaction(1)).unwrap();
    let stranger = Principal::anonymous();
    let args = GetTransactionsToRelayArgs::default();
    let refused = RelayError::NotAnAdapter { caller: stranger };
    let found = canister.app.get_transactions_to_relay(stranger, &args);
    assert_eq!(found, Err(refused.clone()));
    let Canister { app, world, .. } = &mut canister;
    let found = app.report_transactions(world, stranger, &[]);
    assert_eq!(found, Err(refused));

    let good = TransactionReport {
        txid: id(transaction(1).compute_txid()),
        outcome: RelayOutcome::Seen,
    };
    let bad = TransactionReport {
        txid: ByteBuf::from([1; 31]),
        ..good.clone()
    };
    let found = app.report_transactions(world, adapter(), &[good.clone(), bad]);
    let malformed = RelayError::MalformedHash {
        given_bytes: 31,
        expected_bytes: 32,
    };
    assert_eq!(found, Err(malformed.clone()));
    let many = vec![good; MAX_REPORTS + 1];
    let found = app.report_transactions(world, adapter(), &many);
    let max = MAX_REPORTS as u32;
    assert_eq!(
        found,
        Err(RelayError::TooManyReports {
            given: max + 1,
            max
        })
    );
    let after = GetTransactionsToRelayArgs {
        after: Some(ByteBuf::from([1; 31])),
        max_bytes: None,
    };
    let found = app.get_transactions_to_relay(adapter(), &after);
    assert_eq!(found, Err(malformed));
    let txid = transaction(1).compute_txid();
    assert_eq!(status(&canister, txid), Ok(TransactionStatus::Queued));
    let unknown = transaction(9).compute_txid();
    assert_eq!(report(&mut canister, unknown, RelayOutcome::Seen), [false]);
}

#[test]
fn lists_for_adapters_are_bounded_by_bytes_and_go_on() {
    let mut canister = Canister::new(regtest());
    for number in 1..=5 {
        send(&mut canister, &transaction(number)).unwrap();
    }
    let size = serialize(&transaction(1)).len() as u32;
    let mut args = GetTransactionsToRelayArgs {
        after: None,
        max_bytes: Some(2 * size),
    };
    let mut pages = Vec::new();
    loop {
        let found = canister.app.get_transactions_to_relay(adapter(), &args);
        let found = found.unwrap();
        let Some(last) = found.last() else { break };
        args.after = Some(last.txid.clone());
        pages.push(found.len());
    }
    assert_eq!(pages, [2, 2, 1]);
    args.after = None;
    args.max_bytes = Some(0);
    let found = canister.app.get_transactions_to_relay(adapter(), &args);
    assert_eq!(found.unwrap().len(), 1, "one comes whatever its size");
}

#[test]
fn a_full_outbox_refuses_in_both_interfaces() {
    let mut canister = Canister::new(regtest());
    // Four transactions of nearly 4 MB, and a smaller one: 16 MiB hold no more.
    let large = |number: u8, bytes: usize| {
        let mut large = transaction(number);
        large.output[0].script_pubkey = bitcoin::ScriptBuf::from_bytes(vec![0x51; bytes]);
        large
    };
    for number in 1..=4 {
        send(&mut canister, &large(number, 3_999_000)).unwrap();
    }
    let refused = send(&mut canister, &large(5, 900_000));
    let text = "send_transaction failed: QueueFull".to_owned();
    assert_eq!(refused, Err(Refusal::Reject(text)));
    let args = |transaction: &Transaction| SendTransactionArgs {
        transaction: ByteBuf::from(serialize(transaction)),
    };
    let Canister { app, world, .. } = &mut canister;
    let refused = app.send_transaction(world, &Purse::with(0), args(&large(5, 900_000)));
    assert!(matches!(
        refused,
        Err(SendError::OutboxFull {
            transactions: 4,
            ..
        })
    ));
    let refused = app.send_transaction(world, &Purse::with(0), args(&large(6, 4_000_000)));
    assert!(matches!(
        refused,
        Err(SendError::TransactionTooLarge {
            max_bytes: 4_000_000,
            ..
        })
    ));
    canister.audit();
}

#[test]
fn typed_sending_has_typed_errors() {
    let mut canister = Canister::new(InitConfig {
        fees: Some(prices()),
        ..regtest()
    });
    let Canister { app, world, .. } = &mut canister;
    let mut longer = serialize(&transaction(1));
    longer.push(0);
    for (bytes, reason) in [(vec![1, 2, 3], ""), (longer, "data not consumed")] {
        let args = SendTransactionArgs {
            transaction: ByteBuf::from(bytes),
        };
        let refused = app.send_transaction(world, &Purse::with(1_000_000), args);
        let Err(SendError::MalformedTransaction { reason: given }) = refused else {
            panic!("{refused:?}");
        };
        assert!(given.contains(reason), "{given}");
    }
    let args = SendTransactionArgs {
        transaction: ByteBuf::from(vec![0; 10]),
    };
    let refused = app.send_transaction(world, &Purse::with(1), args.clone());
    let expected = SendError::TooFewCycles {
        received: Nat::from(1u8),
        required: Nat::from(570u16),
    };
    assert_eq!(refused, Err(expected));
    let close = SetConfigRequest {
        api_access: Some(Flag::Disabled),
        ..SetConfigRequest::default()
    };
    app.set_config(close).unwrap();
    let refused = app.send_transaction(world, &Purse::with(570), args);
    assert_eq!(refused, Err(SendError::ApiDisabled));
}
