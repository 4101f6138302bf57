//! `btc.did` and its Rust types against the official canister's contract and client crate.
//!
//! Candid's own subtyping lets a decoder read what it does not understand below an `opt` as `null`,
//! and drop fields it does not know: then a setting would be accepted and ignored. Here both count
//! as misfits.

use candid::Principal;
use candid::types::internal::{Field, TypeContainer};
use candid::types::subtype::{OptReport, subtype_with_config};
use candid::types::{Type, TypeEnv, TypeInner};
use candid_parser::utils::CandidSource;
use ic_btc_interface as client;

use crate::*;

const OFFICIAL_DID: &str = include_str!("../../official.did");

/// Returns why a value of type `given` cannot be read as a `wanted`.
fn reads(env: &TypeEnv, given: &Type, wanted: &Type) -> Result<(), String> {
    subtype_with_config(
        OptReport::Error,
        &mut Default::default(),
        env,
        given,
        wanted,
    )
    .map_err(|error| error.to_string())
}

/// Returns why a value of type `sent` cannot be read as `ours` with nothing lost.
fn takes(env: &TypeEnv, sent: &Type, ours: &Type) -> Result<(), String> {
    reads(env, sent, ours)?;
    has_fields_of(env, ours, sent)
}

/// Returns why a value of `our` type cannot be read as what is `expected`, every field of it.
fn answers(env: &TypeEnv, ours: &Type, expected: &Type) -> Result<(), String> {
    reads(env, ours, expected)?;
    has_fields_of(env, ours, expected)
}

/// Returns which field of `theirs` is not in `ours`, at any depth. Neither contract is recursive.
fn has_fields_of(env: &TypeEnv, ours: &Type, theirs: &Type) -> Result<(), String> {
    let ours = env.trace_type(ours).unwrap();
    let theirs = env.trace_type(theirs).unwrap();
    let same = |list: &[Field], field: &Field| list.iter().find(|f| f.id == field.id).cloned();
    match (ours.as_ref(), theirs.as_ref()) {
        (TypeInner::Opt(ours), TypeInner::Opt(theirs))
        | (TypeInner::Vec(ours), TypeInner::Vec(theirs)) => has_fields_of(env, ours, theirs),
        (TypeInner::Record(ours), TypeInner::Record(theirs)) => {
            theirs.iter().try_for_each(|field| {
                let own = same(ours, field).ok_or_else(|| format!("no field {}", field.id))?;
                has_fields_of(env, &own.ty, &field.ty)
            })
        }
        (TypeInner::Variant(ours), TypeInner::Variant(theirs)) => theirs
            .iter()
            .filter_map(|field| Some((same(ours, field)?, field)))
            .try_for_each(|(own, field)| has_fields_of(env, &own.ty, &field.ty)),
        _ => Ok(()),
    }
}

/// Returns why a client of the official contract does not fit ours.
fn misfit(our_did: &str) -> Result<(), String> {
    let (mut env, ours) = CandidSource::Text(our_did).load().expect("ours parses");
    let (other, theirs) = CandidSource::Text(OFFICIAL_DID)
        .load()
        .expect("official.did parses");
    let theirs = env.merge_type(other, theirs.expect("official.did declares a service"));
    let split = |actor: Type| match env.trace_type(&actor).unwrap().as_ref() {
        TypeInner::Class(args, service) => (args[0].clone(), service.clone()),
        other => panic!("no service with an argument: {other}"),
    };
    let (our_argument, ours) = split(ours.expect("ours declares a service"));
    let (their_argument, theirs) = split(theirs);
    takes(&env, &their_argument, &our_argument)?;
    for (name, theirs) in env.as_service(&theirs).unwrap() {
        let ours = env.get_method(&ours, name).map_err(|e| e.to_string())?;
        let theirs = env.as_func(theirs).unwrap();
        if ours.modes != theirs.modes
            || ours.args.len() != theirs.args.len()
            || ours.rets.len() != theirs.rets.len()
        {
            return Err(format!("{name} has another signature"));
        }
        let args = theirs.args.iter().zip(&ours.args);
        let rets = ours.rets.iter().zip(&theirs.rets);
        args.map(|(theirs, ours)| takes(&env, theirs, ours))
            .chain(rets.map(|(ours, theirs)| answers(&env, ours, theirs)))
            .collect::<Result<(), String>>()
            .map_err(|why| format!("{name}: {why}"))?;
    }
    reads(&env, &ours, &theirs)
}

#[test]
fn clients_of_the_official_contract_fit_this_one() {
    assert_eq!(misfit(BTC_DID), Ok(()));
}

#[test]
fn the_check_notices_every_kind_of_misfit() {
    for (what, old, new) in [
        (
            "a misspelt filter below an opt",
            "    min_confirmations : nat32;\n    MinConfirmations",
            "    min_confirmation : nat32;\n    MinConfirmations",
        ),
        (
            "a setting that is not known",
            "  burn_cycles : opt flag;\n",
            "",
        ),
        (
            "a setting of another type",
            "opt opt principal",
            "opt opt text",
        ),
        (
            "an optional field of an answer that is gone",
            "  tip_height : nat32;\n  next_page : opt blob;\n",
            "  tip_height : nat32;\n",
        ),
        (
            "a field of an answer that is gone",
            "  tip_height : nat32;\n",
            "",
        ),
        (
            "a network that is not known",
            "variant { mainnet; Mainnet;",
            "variant { Mainnet;",
        ),
        (
            "a method that is gone",
            "  bitcoin_get_balance_query :",
            "  bitcoin_balance_query :",
        ),
        (
            "a query that is none",
            "get_blockchain_info : () -> (blockchain_info) query",
            "get_blockchain_info : () -> (blockchain_info)",
        ),
    ] {
        assert!(BTC_DID.contains(old), "{what}: {old}");
        let changed = BTC_DID.replace(old, new);
        assert!(misfit(&changed).is_err(), "{what}");
    }
}

/// What the official client crate sends must fit, and what it expects must come.
#[test]
fn the_official_client_crates_types_fit() {
    let mut types = TypeContainer::new();
    let sent = [
        (
            types.add::<client::GetUtxosRequest>(),
            "bitcoin_get_utxos_request",
        ),
        (
            types.add::<client::GetBalanceRequest>(),
            "bitcoin_get_balance_request",
        ),
        (
            types.add::<client::GetCurrentFeePercentilesRequest>(),
            "bitcoin_get_current_fee_percentiles_request",
        ),
        (
            types.add::<client::GetBlockHeadersRequest>(),
            "bitcoin_get_block_headers_request",
        ),
        (
            types.add::<client::SendTransactionRequest>(),
            "bitcoin_send_transaction_request",
        ),
        (
            types.add::<client::SetConfigRequest>(),
            "set_config_request",
        ),
        (types.add::<client::CanisterArg>(), "canister_arg"),
    ];
    let expected = [
        (
            types.add::<client::GetUtxosResponse>(),
            "bitcoin_get_utxos_response",
        ),
        (
            types.add::<client::GetBlockHeadersResponse>(),
            "bitcoin_get_block_headers_response",
        ),
        (types.add::<client::Config>(), "config"),
        (types.add::<client::BlockchainInfo>(), "blockchain_info"),
    ];
    let (did, _) = CandidSource::Text(BTC_DID).load().expect("btc.did parses");
    let named = |name: &str| {
        did.find_type(name)
            .expect("btc.did declares the type")
            .clone()
    };
    for (theirs, name) in sent {
        let mut env = did.clone();
        let theirs = env.merge_type(types.env.clone(), theirs);
        assert_eq!(takes(&env, &theirs, &named(name)), Ok(()), "{name}");
    }
    for (theirs, name) in expected {
        let mut env = did.clone();
        let theirs = env.merge_type(types.env.clone(), theirs);
        assert_eq!(answers(&env, &named(name), &theirs), Ok(()), "{name}");
    }
}

fn fees() -> client::Fees {
    client::Fees {
        get_utxos_base: 1,
        get_utxos_cycles_per_ten_instructions: 2,
        get_utxos_maximum: 3,
        get_balance: 4,
        get_balance_maximum: 5,
        get_current_fee_percentiles: 6,
        get_current_fee_percentiles_maximum: 7,
        send_transaction_base: 8,
        send_transaction_per_byte: 9,
        get_block_headers_base: 10,
        get_block_headers_cycles_per_ten_instructions: 11,
        get_block_headers_maximum: 12,
    }
}

fn principal(byte: u8) -> Principal {
    Principal::from_slice(&[byte; 10])
}

/// Every setting the crate has, none at its default.
fn their_settings() -> client::InitConfig {
    client::InitConfig {
        stability_threshold: Some(321),
        network: Some(client::Network::Testnet),
        blocks_source: Some(principal(1)),
        syncing: Some(client::Flag::Disabled),
        fees: Some(fees()),
        api_access: Some(client::Flag::Disabled),
        disable_api_if_not_fully_synced: Some(client::Flag::Disabled),
        watchdog_canister: Some(Some(principal(2))),
        burn_cycles: Some(client::Flag::Enabled),
        lazily_evaluate_fee_percentiles: Some(client::Flag::Enabled),
    }
}

fn their_change() -> client::SetConfigRequest {
    client::SetConfigRequest {
        stability_threshold: Some(321),
        syncing: Some(client::Flag::Disabled),
        fees: Some(fees()),
        api_access: Some(client::Flag::Disabled),
        disable_api_if_not_fully_synced: Some(client::Flag::Disabled),
        watchdog_canister: Some(Some(principal(2))),
        lazily_evaluate_fee_percentiles: Some(client::Flag::Enabled),
        burn_cycles: Some(client::Flag::Enabled),
    }
}

fn our_settings() -> InitConfig {
    InitConfig {
        stability_threshold: Some(321u32.into()),
        network: Some(InitNetwork::Testnet),
        blocks_source: Some(principal(1)),
        pull: None,
        adapters: None,
        syncing: Some(Flag::Disabled),
        budgets: None,
        stable_pages_per_ten_minutes: None,
        cycles_reserve: None,
        fees: Some(fees()),
        api_access: Some(Flag::Disabled),
        disable_api_if_not_fully_synced: Some(Flag::Disabled),
        watchdog_canister: Some(Some(principal(2))),
        burn_cycles: Some(Flag::Enabled),
        lazily_evaluate_fee_percentiles: Some(Flag::Enabled),
        block_validation: None,
        minimum_chain_work: None,
        utxo_set_commitment: None,
    }
}

fn our_change() -> SetConfigRequest {
    let settings = our_settings();
    SetConfigRequest {
        stability_threshold: settings.stability_threshold,
        pull: None,
        adapters: None,
        syncing: settings.syncing,
        budgets: None,
        stable_pages_per_ten_minutes: None,
        cycles_reserve: None,
        fees: settings.fees,
        api_access: settings.api_access,
        disable_api_if_not_fully_synced: settings.disable_api_if_not_fully_synced,
        watchdog_canister: settings.watchdog_canister,
        burn_cycles: settings.burn_cycles,
        lazily_evaluate_fee_percentiles: settings.lazily_evaluate_fee_percentiles,
        block_validation: None,
        minimum_chain_work: None,
        utxo_set_commitment: None,
    }
}

#[test]
fn every_setting_that_the_official_client_crate_encodes_arrives() {
    let bytes = candid::encode_one(their_change()).unwrap();
    let change: SetConfigRequest = candid::decode_one(&bytes).unwrap();
    assert_eq!(change, our_change());
    for (theirs, ours) in [
        (
            client::CanisterArg::Init(their_settings()),
            CanisterArg::Init(our_settings()),
        ),
        (
            client::CanisterArg::Upgrade(Some(their_change())),
            CanisterArg::Upgrade(Some(our_change())),
        ),
        (
            client::CanisterArg::Upgrade(None),
            CanisterArg::Upgrade(None),
        ),
    ] {
        let bytes = candid::encode_one(theirs).unwrap();
        let argument: CanisterArg = candid::decode_one(&bytes).unwrap();
        assert_eq!(argument, ours);
    }
    // The watchdog can be removed, which is not the same as left.
    let remove = client::SetConfigRequest {
        watchdog_canister: Some(None),
        ..client::SetConfigRequest::default()
    };
    let bytes = candid::encode_one(remove).unwrap();
    let change: SetConfigRequest = candid::decode_one(&bytes).unwrap();
    assert_eq!(change.watchdog_canister, Some(None));
}
