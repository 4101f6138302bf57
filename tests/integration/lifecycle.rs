//! Installing: defaults, arguments and what a fresh canister says of itself.

use bitcoin::Network;
use candid::Principal;
use millrace_candid::{Chain, Flag, InitConfig, InitNetwork, Network as OfficialNetwork};
use millrace_tests::artifacts;
use millrace_tests::setup::{Setup, adapter_principal, controller_principal, hash_of, instance};
use sha2::{Digest, Sha256};

#[test]
fn without_arguments_the_official_canisters_defaults_hold() {
    let setup = Setup::new(InitConfig::default());
    let config = setup.config();
    assert_eq!(config.stability_threshold, 144u32);
    assert_eq!(config.network, OfficialNetwork::Regtest);
    assert_eq!(config.chain, Chain::Regtest);
    assert_eq!(config.blocks_source, Principal::management_canister());
    assert_eq!(config.syncing, Flag::Enabled);
    assert_eq!(config.pull, Flag::Enabled);
    assert_eq!(config.adapters, []);
    assert!(config.budgets.instructions_per_heartbeat > 0);
    assert!(config.budgets.stable_pages_per_heartbeat > 0);
}

#[test]
fn an_empty_install_argument_is_the_default_configuration() {
    let pic = instance();
    let canister = pic.create_canister();
    let argument = candid::encode_args(()).expect("nothing encodes");
    pic.install_canister(canister, artifacts::millrace_archive(), argument, None);
    let reply = pic
        .query_call(
            canister,
            Principal::anonymous(),
            "get_config",
            candid::encode_args(()).expect("nothing encodes"),
        )
        .expect("anybody may ask");
    let config: millrace_candid::Config = candid::decode_one(&reply).expect("the contract's type");
    assert_eq!(config.chain, Chain::Regtest);
}

#[test]
fn every_network_starts_at_its_genesis_block_and_counts_its_coinbase() {
    for (name, chain, network) in [
        (InitNetwork::Mainnet, Chain::Mainnet, Network::Bitcoin),
        (InitNetwork::Testnet, Chain::Testnet4, Network::Testnet4),
        (InitNetwork::Testnet4, Chain::Testnet4, Network::Testnet4),
        (InitNetwork::Signet, Chain::Signet, Network::Signet),
        (InitNetwork::Regtest, Chain::Regtest, Network::Regtest),
    ] {
        let setup = Setup::new(InitConfig {
            network: Some(name),
            adapters: Some(vec![adapter_principal()]),
            ..InitConfig::default()
        });
        assert_eq!(setup.config().chain, chain);
        assert_eq!(
            setup.config().pull,
            Flag::Disabled,
            "an adapter is named, so nobody is asked"
        );
        let genesis = bitcoin::constants::genesis_block(network);
        let info = setup.info();
        assert_eq!(hash_of(&info.block_hash), genesis.block_hash());
        assert_eq!((info.height, info.utxos_length), (0, 1));
        assert_eq!(info.timestamp, genesis.header.time);
        assert_eq!(info.difficulty, 1u32);
        let coins = millrace_tests::tree::BlockTree::new(genesis);
        setup.assert_equals(&coins.coins_at(coins.genesis()), None);
    }
}

#[test]
fn metrics_are_prometheus_text_with_help_and_type_for_every_name() {
    let setup = Setup::regtest();
    let response = setup.http_get("/metrics?anything");
    assert_eq!(response.status_code, 200);
    assert!(
        response
            .headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("content-type")
                && value.starts_with("text/plain")),
        "{:?}",
        response.headers
    );
    let text = String::from_utf8(response.body.into_vec()).expect("text");
    let samples = setup.metrics();
    assert!(!samples.is_empty());
    for sample in samples.keys() {
        let name = sample.split('{').next().expect("a name");
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .filter(|family| text.contains(&format!("# TYPE {family} histogram")))
            .unwrap_or(name);
        for keyword in ["HELP", "TYPE"] {
            assert!(
                text.contains(&format!("# {keyword} {family} ")),
                "{name} has no {keyword}"
            );
        }
    }
}

#[test]
fn a_small_health_page_answers() {
    let setup = Setup::regtest();
    assert_eq!(setup.http_get("/health").status_code, 200);
}

/// The plain module is larger than one ingress message: it is uploaded in chunks.
#[test]
fn the_plain_module_installs_in_chunks() {
    let pic = instance();
    let canister = pic.create_canister();
    let argument = candid::encode_args(()).expect("nothing encodes");
    pic.install_canister(canister, artifacts::millrace_wasm(), argument, None);
    let status = pic
        .canister_status(canister, None)
        .expect("its controller asks");
    let hash = Sha256::digest(artifacts::millrace_wasm());
    assert_eq!(status.module_hash, Some(hash.to_vec()));
}

#[test]
fn only_controllers_upgrade() {
    let setup = Setup::regtest();
    let reject = setup
        .pic
        .upgrade_canister(
            setup.canister,
            artifacts::millrace_archive(),
            Vec::new(),
            Some(adapter_principal()),
        )
        .expect_err("not a controller");
    assert!(
        reject
            .reject_message
            .contains(&controller_principal().to_text())
            || reject.reject_message.contains("controller"),
        "{reject}"
    );
}
