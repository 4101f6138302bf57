//! Arguments of reads, typed and official.

use super::*;
use crate::argument;
use crate::official::Mode;
use crate::tests::regtest::Purse;
use bitcoin::consensus::serialize;
use candid::Encode;
use millrace_candid::official::{
    GetBalanceRequest, GetBlockHeadersRequest, GetCurrentFeePercentilesRequest, GetUtxosRequest,
    NetworkInRequest, UtxosFilterInRequest,
};
use millrace_candid::{
    BlockSelector, GetBalanceArgs, GetBalancesArgs, GetBlockArgs, GetBlockHeadersArgs,
    GetChainTipsArgs, GetFeePercentilesArgs, GetOutpointsArgs, GetStatusArgs, GetTransactionArgs,
    GetTransactionStatusArgs, GetUtxoSetInfoArgs, GetUtxosArgs, HeaderSelector, HttpRequest,
    InclusionProof, OutPoint, UtxosFilter, VerifyTxInclusionArgs,
};

pub const METHODS: [&str; 18] = [
    "get_utxos",
    "get_balance",
    "get_balances",
    "get_outpoints",
    "get_block_headers",
    "get_block",
    "get_transaction",
    "get_transaction_status",
    "get_fee_percentiles",
    "get_chain_tips",
    "get_status",
    "get_utxo_set_info",
    "verify_tx_inclusion",
    "http_request",
    "bitcoin_get_utxos",
    "bitcoin_get_balance",
    "bitcoin_get_block_headers",
    "bitcoin_get_current_fee_percentiles",
];

/// Decodes and calls a read; returns whether there is such a method.
pub fn enter(canister: &mut Canister, method: &str, bytes: &[u8]) -> bool {
    let (app, world, purse) = (&mut canister.app, &canister.world, Purse::with(1 << 40));
    match method {
        "get_utxos" => drop(argument::decode(bytes).map(|args| app.get_utxos(&args))),
        "get_balance" => drop(argument::decode(bytes).map(|args| app.get_balance(&args))),
        "get_balances" => drop(argument::decode(bytes).map(|args| app.get_balances(&args))),
        "get_outpoints" => drop(argument::decode(bytes).map(|args| app.get_outpoints(&args))),
        "get_block_headers" => {
            drop(argument::decode(bytes).map(|args| app.get_block_headers(&args)));
        }
        "get_block" => drop(argument::decode(bytes).map(|args| app.get_block(&args))),
        "get_transaction" => drop(argument::decode(bytes).map(|args| app.get_transaction(&args))),
        "get_transaction_status" => {
            drop(argument::decode(bytes).map(|args| app.get_transaction_status(&args)));
        }
        "get_fee_percentiles" => {
            drop(argument::decode(bytes).map(|args| app.get_fee_percentiles(&args)));
        }
        "get_chain_tips" => drop(
            argument::decode(bytes).map(|args: Option<GetChainTipsArgs>| {
                app.get_chain_tips(&args.unwrap_or_default())
            }),
        ),
        "get_status" => drop(
            argument::decode(bytes)
                .map(|args: Option<GetStatusArgs>| app.get_status(&args.unwrap_or_default())),
        ),
        "get_utxo_set_info" => drop(argument::decode(bytes).map(
            |args: Option<GetUtxoSetInfoArgs>| app.get_utxo_set_info(&args.unwrap_or_default()),
        )),
        "verify_tx_inclusion" => {
            drop(argument::decode(bytes).map(|args| app.verify_tx_inclusion(&args)));
        }
        "http_request" => {
            drop(argument::decode(bytes).map(|args| app.http_request(world, &args)));
        }
        "bitcoin_get_utxos" => drop(
            argument::decode(bytes).map(|request| app.bitcoin_get_utxos(world, &purse, request)),
        ),
        "bitcoin_get_balance" => drop(
            argument::decode(bytes)
                .map(|request| app.bitcoin_get_balance_query(Mode::Query, request)),
        ),
        "bitcoin_get_block_headers" => drop(
            argument::decode(bytes)
                .map(|request| app.bitcoin_get_block_headers(world, &purse, &request)),
        ),
        "bitcoin_get_current_fee_percentiles" => drop(
            argument::decode(bytes)
                .map(|request| app.bitcoin_get_current_fee_percentiles(&purse, &request)),
        ),
        _ => return false,
    }
    true
}

/// A well-formed argument of some read with any values.
pub fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        utxos(),
        balance(),
        batches(),
        headers(),
        held(),
        state(),
        inclusion(),
        http(),
        official()
    ]
}

fn utxos() -> impl Strategy<Value = Call> {
    let filter = prop::option::of(prop_oneof![
        prop_oneof![any::<u32>(), 0..3u32].prop_map(UtxosFilter::MinConfirmations),
        page().prop_map(UtxosFilter::Page),
    ]);
    (owner(), filter, prop::option::of(tip()), limit()).prop_map(
        |(owner, filter, at_tip, limit)| {
            let args = GetUtxosArgs {
                owner,
                filter,
                at_tip,
                limit,
            };
            ("get_utxos", Encode!(&args).unwrap())
        },
    )
}

fn balance() -> impl Strategy<Value = Call> {
    (owner(), limit(), prop::option::of(tip())).prop_map(|(owner, min_confirmations, at_tip)| {
        let args = GetBalanceArgs {
            owner,
            min_confirmations,
            at_tip,
        };
        ("get_balance", Encode!(&args).unwrap())
    })
}

fn batches() -> impl Strategy<Value = Call> {
    let owners = prop::collection::vec(owner(), 0..4);
    let balances = (owners, limit(), prop::option::of(tip())).prop_map(
        |(owners, min_confirmations, at_tip)| {
            let args = GetBalancesArgs {
                owners,
                min_confirmations,
                at_tip,
            };
            ("get_balances", Encode!(&args).unwrap())
        },
    );
    let outpoint = (txid(), any::<u32>()).prop_map(|(txid, vout)| OutPoint { txid, vout });
    let outpoints = (
        prop::collection::vec(outpoint, 0..4),
        prop::option::of(tip()),
    )
        .prop_map(|(outpoints, at_tip)| {
            let args = GetOutpointsArgs { outpoints, at_tip };
            ("get_outpoints", Encode!(&args).unwrap())
        });
    prop_oneof![balances, outpoints]
}

/// What is held of blocks.
fn held() -> impl Strategy<Value = Call> {
    let selector = prop_oneof![
        any::<u32>().prop_map(BlockSelector::Height),
        (0..3u32).prop_map(BlockSelector::Height),
        tip().prop_map(BlockSelector::Hash),
    ];
    let block = (selector, limit(), limit(), prop::option::of(tip())).prop_map(
        |(select, offset, max_bytes, at_tip)| {
            let args = GetBlockArgs {
                select,
                offset,
                max_bytes,
                at_tip,
            };
            ("get_block", Encode!(&args).unwrap())
        },
    );
    let at_tips = (prop::option::of(tip()), prop::option::of(tip()));
    let transaction = (txid(), at_tips).prop_map(|(txid, (block, at_tip))| {
        let args = GetTransactionArgs {
            txid,
            block,
            at_tip,
        };
        ("get_transaction", Encode!(&args).unwrap())
    });
    prop_oneof![block, transaction]
}

/// The canister's and the chain's state.
fn state() -> impl Strategy<Value = Call> {
    let fees = prop::option::of(tip()).prop_map(|at_tip| {
        let args = GetFeePercentilesArgs { at_tip };
        ("get_fee_percentiles", Encode!(&args).unwrap())
    });
    let tips = prop::option::of(prop::option::of(tip())).prop_map(|args| {
        let args = args.map(|at_tip| GetChainTipsArgs { at_tip });
        ("get_chain_tips", Encode!(&args).unwrap())
    });
    let status = prop::option::of(prop::option::of(tip())).prop_map(|args| {
        let args = args.map(|at_tip| GetStatusArgs { at_tip });
        ("get_status", Encode!(&args).unwrap())
    });
    let sent = (txid(), prop::option::of(tip())).prop_map(|(txid, at_tip)| {
        let args = GetTransactionStatusArgs { txid, at_tip };
        ("get_transaction_status", Encode!(&args).unwrap())
    });
    let set = prop::option::of(prop::option::of(any::<u32>())).prop_map(|args| {
        let args = args.map(|height| GetUtxoSetInfoArgs { height });
        ("get_utxo_set_info", Encode!(&args).unwrap())
    });
    prop_oneof![fees, tips, status, sent, set]
}

fn http() -> impl Strategy<Value = Call> {
    (any::<String>(), any::<bool>()).prop_map(|(text, known)| {
        let request = HttpRequest {
            url: if known {
                format!("/metrics?{text}")
            } else {
                text.clone()
            },
            method: text.clone(),
            body: ByteBuf::from(text.clone()),
            headers: vec![(text.clone(), text)],
        };
        ("http_request", Encode!(&request).unwrap())
    })
}

fn official() -> impl Strategy<Value = Call> {
    let network = || {
        prop_oneof![
            4 => Just(NetworkInRequest::regtest),
            1 => Just(NetworkInRequest::Mainnet),
        ]
    };
    let address = || {
        prop_oneof![
            any::<String>(),
            Just("bcrt1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqdku202".to_owned()),
        ]
    };
    let filter = prop::option::of(prop_oneof![
        any::<u32>().prop_map(UtxosFilterInRequest::min_confirmations),
        page().prop_map(UtxosFilterInRequest::Page),
    ]);
    let utxos = (network(), address(), filter).prop_map(|(network, address, filter)| {
        let request = GetUtxosRequest {
            address,
            network,
            filter,
        };
        ("bitcoin_get_utxos", Encode!(&request).unwrap())
    });
    let balance =
        (network(), address(), limit()).prop_map(|(network, address, min_confirmations)| {
            let request = GetBalanceRequest {
                address,
                network,
                min_confirmations,
            };
            ("bitcoin_get_balance", Encode!(&request).unwrap())
        });
    let headers =
        (network(), any::<u32>(), limit()).prop_map(|(network, start_height, end_height)| {
            let request = GetBlockHeadersRequest {
                start_height: start_height % 3,
                end_height,
                network,
            };
            ("bitcoin_get_block_headers", Encode!(&request).unwrap())
        });
    let fees = network().prop_map(|network| {
        let request = GetCurrentFeePercentilesRequest { network };
        (
            "bitcoin_get_current_fee_percentiles",
            Encode!(&request).unwrap(),
        )
    });
    prop_oneof![utxos, balance, headers, fees]
}

fn headers() -> impl Strategy<Value = Call> {
    let selector = prop_oneof![
        (any::<u32>(), prop::option::of(any::<u32>())).prop_map(|(start_height, end_height)| {
            HeaderSelector::Range {
                start_height,
                end_height,
            }
        }),
        tip().prop_map(HeaderSelector::Hash),
    ];
    (selector, prop::option::of(tip())).prop_map(|(select, at_tip)| {
        let args = GetBlockHeadersArgs { select, at_tip };
        ("get_block_headers", Encode!(&args).unwrap())
    })
}

fn inclusion() -> impl Strategy<Value = Call> {
    // A merkle block with the genesis header and anything behind it.
    let genesis = serialize(&bitcoin::constants::genesis_block(bitcoin::Network::Regtest).header);
    let merkle_block =
        blob(0..90).prop_map(move |rest| ByteBuf::from([&genesis, rest.as_slice()].concat()));
    let branch = (tip(), any::<u32>(), prop::collection::vec(tip(), 0..4));
    let proof = prop_oneof![
        merkle_block.prop_map(InclusionProof::MerkleBlock),
        blob(0..200).prop_map(InclusionProof::MerkleBlock),
        branch.prop_map(|(block, position, siblings)| InclusionProof::Branch {
            block,
            position,
            siblings,
        }),
    ];
    (tip(), proof, prop::option::of(tip())).prop_map(|(txid, proof, at_tip)| {
        let args = VerifyTxInclusionArgs {
            txid,
            proof,
            at_tip,
        };
        ("verify_tx_inclusion", Encode!(&args).unwrap())
    })
}
