use candid::CandidType;
use millrace_candid::Network as WireNetwork;

use super::*;

fn watchdog() -> Principal {
    Principal::self_authenticating([9; 32])
}

#[test]
fn fees_default_to_the_official_prices_of_the_network_unless_given() {
    let fees = |network, fees: Option<Fees>| {
        let given = InitConfig {
            network: Some(network),
            fees,
            ..InitConfig::default()
        };
        Config::initial(given).unwrap().0.fees
    };
    assert_eq!(fees(InitNetwork::Mainnet, None), Fees::mainnet());
    assert_eq!(fees(InitNetwork::Testnet, None), Fees::testnet());
    assert_eq!(fees(InitNetwork::Signet, None), Fees::testnet());
    assert_eq!(fees(InitNetwork::Regtest, None), Fees::default());
    let own = Fees {
        get_balance: 7,
        ..Fees::default()
    };
    assert_eq!(fees(InitNetwork::Mainnet, Some(own.clone())), own);
}

#[test]
fn the_defaults_are_those_of_the_official_canister() {
    let (config, network) = Config::initial(InitConfig::default()).unwrap();
    let wire = config.to_wire(network);
    assert_eq!(wire.network, WireNetwork::Regtest);
    assert_eq!(wire.stability_threshold, Nat::from(144u8));
    assert_eq!(wire.blocks_source, Principal::management_canister());
    for enabled in [
        wire.syncing,
        wire.api_access,
        wire.disable_api_if_not_fully_synced,
    ] {
        assert_eq!(enabled, Flag::Enabled);
    }
    assert_eq!(wire.watchdog_canister, None);
    assert_eq!(wire.burn_cycles, Flag::Disabled);
    assert_eq!(wire.lazily_evaluate_fee_percentiles, Flag::Disabled);
    assert_eq!(config.block_validation, BlockValidation::ProofOfWork);
}

#[test]
fn every_setting_survives_storing() {
    for network in [Network::Mainnet, Network::Signet, Network::Regtest] {
        let (config, network) = Config::initial(InitConfig {
            network: Some(convert::init_network(network)),
            stability_threshold: Some(Nat::from(7u8)),
            blocks_source: Some(Principal::from_slice(&[1, 2])),
            pull: Some(Flag::Enabled),
            adapters: Some(vec![watchdog()]),
            syncing: Some(Flag::Disabled),
            budgets: None,
            stable_pages_per_ten_minutes: Some(77),
            cycles_reserve: Some(Nat::from(5_000_000_000_000_u64)),
            fees: Some(Fees {
                send_transaction_base: 3,
                ..Fees::default()
            }),
            api_access: Some(Flag::Disabled),
            disable_api_if_not_fully_synced: Some(Flag::Disabled),
            watchdog_canister: Some(Some(watchdog())),
            burn_cycles: Some(Flag::Enabled),
            lazily_evaluate_fee_percentiles: Some(Flag::Enabled),
            block_validation: Some(millrace_candid::BlockValidation::ProofOfWork),
            minimum_chain_work: Some("1f".to_owned()),
            utxo_set_commitment: Some(Flag::Enabled),
        })
        .unwrap();
        let stored = config.encode(network).unwrap();
        assert_eq!(Config::decode(&stored, network), Ok(config));
    }
}

#[test]
fn a_configuration_stored_before_fees_access_and_validation_existed_opens_with_their_defaults() {
    #[derive(CandidType)]
    struct Older {
        stability_threshold: Nat,
        network: WireNetwork,
        blocks_source: Principal,
        pull: Flag,
        adapters: Vec<Principal>,
        syncing: Flag,
        budgets: Budgets,
    }
    let older = Older {
        stability_threshold: Nat::from(9u8),
        network: WireNetwork::Testnet,
        blocks_source: Principal::management_canister(),
        pull: Flag::Disabled,
        adapters: vec![watchdog()],
        syncing: Flag::Disabled,
        budgets: Budgets {
            instructions_per_heartbeat: 5,
            stable_pages_per_heartbeat: 6,
        },
    };
    let stored = candid::encode_one(older).unwrap();
    let expected = Config {
        stability_threshold: 9,
        is_pulling: false,
        adapters: vec![watchdog()],
        is_syncing: false,
        instructions: Instructions::new(5),
        pages: Pages::new(6),
        fees: Fees::testnet(),
        block_validation: BlockValidation::Consensus,
        ..Config::default()
    };
    assert_eq!(Config::decode(&stored, Network::Signet), Ok(expected));
}

#[test]
fn of_what_the_watchdog_sends_only_api_access_counts_even_if_it_is_a_controller() {
    let (config, _) = Config::initial(InitConfig {
        watchdog_canister: Some(Some(watchdog())),
        ..InitConfig::default()
    })
    .unwrap();
    let access = SetConfigRequest {
        api_access: Some(Flag::Disabled),
        ..SetConfigRequest::default()
    };
    let more = SetConfigRequest {
        syncing: Some(Flag::Disabled),
        // Out of range: nobody looks at it.
        stability_threshold: Some(Nat::from(u64::MAX)),
        ..access.clone()
    };
    let nothing = SetConfigRequest {
        api_access: None,
        ..more.clone()
    };
    let nobody = Config::default();
    for is_controller in [false, true] {
        let allowed = |change: &SetConfigRequest| {
            config.allowed_to(&watchdog(), is_controller, change.clone())
        };
        assert_eq!(allowed(&access), Ok(access.clone()));
        assert_eq!(allowed(&more), Ok(access.clone()));
        assert_eq!(allowed(&nothing), Ok(SetConfigRequest::default()));
        for (config, caller) in [(&config, Principal::anonymous()), (&nobody, watchdog())] {
            let allowed = config.allowed_to(&caller, is_controller, more.clone());
            let expected = match is_controller {
                true => Ok(more.clone()),
                false => Err(ConfigError::NotController),
            };
            assert_eq!(allowed, expected);
        }
    }
    let refused = ConfigError::NotController.to_string();
    assert_eq!(refused, "Only controllers can call set_config");
}

#[test]
fn a_threshold_of_more_than_32_bits_is_refused_with_the_official_text() {
    for given in [Nat::from(1u64 << 32), Nat::from(u128::MAX)] {
        let change = SetConfigRequest {
            stability_threshold: Some(given),
            ..SetConfigRequest::default()
        };
        let error = Config::default().changed(change).unwrap_err().to_string();
        assert_eq!(error, "stability threshold too large: TryFromIntError(())");
    }
}

#[test]
fn the_watchdog_can_be_set_and_removed() {
    let change = |watchdog_canister| SetConfigRequest {
        watchdog_canister,
        ..SetConfigRequest::default()
    };
    let set = Config::default()
        .changed(change(Some(Some(watchdog()))))
        .unwrap();
    assert_eq!(set.access.watchdog, Some(watchdog()));
    let kept = set.changed(change(None)).unwrap();
    assert_eq!(kept.access.watchdog, Some(watchdog()));
    let removed = set.changed(change(Some(None))).unwrap();
    assert_eq!(removed.access.watchdog, None);
}
