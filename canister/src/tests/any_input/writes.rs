//! Arguments of what changes something: feeding, sending, configuration, and a source's replies.

use super::*;
use crate::argument;
use crate::lifecycle;
use crate::pull::{GetSuccessorsComplete, GetSuccessorsPartial, GetSuccessorsResponse};
use crate::tests::regtest::Purse;
use bitcoin::consensus::serialize;
use candid::Encode;
use millrace_candid::official::{NetworkInRequest, SendTransactionRequest};
use millrace_candid::{
    BlockPart, CanisterArg, FeedStateArgs, GetTransactionsToRelayArgs, RelayOutcome,
    SendTransactionArgs, TransactionReport,
};

pub const METHODS: [&str; 9] = [
    "feed_state",
    "push_blocks",
    "send_transaction",
    "bitcoin_send_transaction",
    "get_transactions_to_relay",
    "report_transactions",
    "set_config",
    "init",
    "reply",
];

/// Decodes and calls a method; returns whether there is such a one.
pub fn enter(
    canister: &mut Canister,
    in_flight: Option<CallId>,
    method: &str,
    bytes: &[u8],
) -> bool {
    let (app, world) = (&mut canister.app, &canister.world);
    let purse = Purse::with(1 << 40);
    match method {
        "feed_state" => {
            drop(argument::decode(bytes).map(|args| app.feed_state(adapter(), &args)));
        }
        "push_blocks" => drop(
            argument::decode::<Vec<BlockPart>>(bytes)
                .map(|parts| app.push_blocks(world, adapter(), &parts)),
        ),
        "send_transaction" => {
            drop(argument::decode(bytes).map(|args| app.send_transaction(world, &purse, args)))
        }
        "bitcoin_send_transaction" => drop(
            argument::decode(bytes)
                .map(|request| app.bitcoin_send_transaction(world, &purse, request)),
        ),
        "get_transactions_to_relay" => drop(
            argument::decode(bytes).map(|args| app.get_transactions_to_relay(adapter(), &args)),
        ),
        "report_transactions" => drop(
            argument::decode::<Vec<TransactionReport>>(bytes)
                .map(|reports| app.report_transactions(world, adapter(), &reports)),
        ),
        "set_config" => drop(argument::decode(bytes).map(|change| app.set_config(change))),
        "init" => {
            drop(lifecycle::init_config(bytes).map(|config| Canister::try_new(config).err()));
            drop(lifecycle::upgrade_config(bytes));
        }
        "reply" => {
            // Once as the answer awaited, if one is, and once as one to no call.
            for _ in 0..2 {
                if let Some(id) = in_flight {
                    app.on_reply(world, id, Ok(bytes.to_vec()));
                }
            }
        }
        _ => return false,
    }
    true
}

/// A well-formed argument of some method with any values.
pub fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        feeding(),
        sending(),
        relaying(),
        config(),
        arguments(),
        reply()
    ]
}

fn feeding() -> impl Strategy<Value = Call> {
    let locator = prop::collection::vec(tip(), 0..70)
        .prop_map(|locator| ("feed_state", Encode!(&FeedStateArgs { locator }).unwrap()));
    let part = (tip(), any::<u32>(), any::<u32>(), blob(0..300));
    let push = prop::collection::vec(part, 0..4).prop_map(|parts| {
        let parts = parts.into_iter();
        let parts: Vec<BlockPart> = parts
            .map(|(hash, size, offset, bytes)| BlockPart {
                hash,
                size: if size % 2 == 0 { size % 1_000 } else { size },
                offset: if offset % 2 == 0 { 0 } else { offset },
                bytes,
            })
            .collect();
        ("push_blocks", Encode!(&parts).unwrap())
    });
    prop_oneof![locator, push]
}

/// Transactions to be sent, some of which are ones, by either method.
fn sending() -> impl Strategy<Value = Call> {
    let transaction = any::<i32>().prop_map(|version| {
        let mut transaction = coinbase(1);
        transaction.version = bitcoin::transaction::Version(version);
        serialize(&transaction)
    });
    let bytes = prop_oneof![transaction, prop::collection::vec(any::<u8>(), 0..90)];
    (bytes, any::<bool>()).prop_map(|(transaction, is_typed)| {
        if is_typed {
            let transaction = ByteBuf::from(transaction);
            let args = SendTransactionArgs { transaction };
            return ("send_transaction", Encode!(&args).unwrap());
        }
        let request = SendTransactionRequest {
            transaction,
            network: NetworkInRequest::regtest,
        };
        ("bitcoin_send_transaction", Encode!(&request).unwrap())
    })
}

fn relaying() -> impl Strategy<Value = Call> {
    let fetch = (prop::option::of(txid()), limit()).prop_map(|(after, max_bytes)| {
        let args = GetTransactionsToRelayArgs { after, max_bytes };
        ("get_transactions_to_relay", Encode!(&args).unwrap())
    });
    let sent = ByteBuf::from(coinbase(1).compute_txid().to_byte_array());
    let outcome = prop_oneof![
        any::<u32>().prop_map(|peers| RelayOutcome::Announced { peers }),
        Just(RelayOutcome::Seen),
        any::<String>().prop_map(|reason| RelayOutcome::Rejected { reason }),
    ];
    let report = (prop_oneof![txid(), Just(sent)], outcome)
        .prop_map(|(txid, outcome)| TransactionReport { txid, outcome });
    let reports = prop::collection::vec(report, 0..4)
        .prop_map(|reports| ("report_transactions", Encode!(&reports).unwrap()));
    prop_oneof![fetch, reports]
}

fn config() -> impl Strategy<Value = Call> {
    let work = prop_oneof![any::<String>(), "[0-9a-fA-Fx]{0,66}"];
    let flags = (any::<bool>(), any::<bool>());
    (any::<u64>(), flags, prop::option::of(work)).prop_map(|(number, flags, work)| {
        let flag = |is_on| match is_on {
            true => Some(Flag::Enabled),
            false => Some(Flag::Disabled),
        };
        let change = SetConfigRequest {
            stability_threshold: Some(number.into()),
            syncing: flag(flags.0),
            utxo_set_commitment: flag(flags.1),
            minimum_chain_work: work,
            ..SetConfigRequest::default()
        };
        ("set_config", Encode!(&change).unwrap())
    })
}

/// Arguments of installations and upgrades.
fn arguments() -> impl Strategy<Value = Call> {
    any::<u64>().prop_map(|number| {
        let argument = CanisterArg::Init(InitConfig {
            stability_threshold: Some(number.into()),
            ..InitConfig::default()
        });
        ("init", Encode!(&argument).unwrap())
    })
}

/// Replies of a blocks source.
fn reply() -> impl Strategy<Value = Call> {
    let blobs = || prop::collection::vec(prop_oneof![blob(0..200), blob(80..81)], 0..4);
    let response = prop_oneof![
        (blobs(), blobs()).prop_map(|(blocks, next)| {
            GetSuccessorsResponse::Complete(GetSuccessorsComplete { blocks, next })
        }),
        (blob(0..200), blobs(), any::<u8>()).prop_map(|(partial_block, next, pages)| {
            GetSuccessorsResponse::Partial(GetSuccessorsPartial {
                partial_block,
                next,
                remaining_follow_ups: pages,
            })
        }),
        blob(0..200).prop_map(GetSuccessorsResponse::FollowUp),
    ];
    response.prop_map(|response| ("reply", Encode!(&response).unwrap()))
}
