use super::*;
use crate::pocketic::types::InstanceConfig;

fn config(json: &str) -> InstanceConfig {
    serde_json::from_str(json).expect("a configuration")
}

fn refused(json: &str) -> String {
    let config = config(json);
    refuse_unsupported(&config)
        .and_then(|()| subnet_specs(&config.subnet_config_set).map(|_| ()))
        .and_then(|()| initial_time_ns(config.initial_time).map(|_| ()))
        .expect_err(json)
        .to_string()
}

#[test]
fn the_configurations_of_clients_16_and_11_are_understood() {
    let spec = r#"{"state_config":"New","instruction_config":"Production","subnet_admins":null,"cost_schedule":"Normal"}"#;
    let sixteen = format!(
        r#"{{"subnet_config_set":{{"nns":null,"sns":null,"ii":null,"fiduciary":null,"bitcoin":{spec},
        "test_threshold_keys":null,"system":[],"application":[{spec}],"cloud_engine":[],"verified_application":[]}},
        "http_gateway_config":null,"state_dir":null,
        "icp_config":{{"beta_features":null,"function_name_length_limits":null,"canister_execution_rate_limiting":null}},
        "log_level":null,"bitcoind_addr":null,"dogecoind_addr":null,
        "icp_features":{{"registry":null,"bitcoin":null}},"incomplete_state":null,"initial_time":null,
        "mainnet_nns_subnet_id":null,"disable_ingress_validation":null}}"#
    );
    let eleven = r#"{"subnet_config_set":{"nns":null,"sns":null,"ii":null,"fiduciary":null,
        "bitcoin":{"state_config":"New","instruction_config":"Production"},"system":[],
        "application":[{"state_config":"New","instruction_config":"Benchmarking"}],"verified_application":[]},
        "state_dir":null,"icp_config":{"canister_backtrace":null},"log_level":null,"bitcoind_addr":null}"#;
    for (json, instructions) in [
        (sixteen.as_str(), InstructionConfig::Production),
        (eleven, InstructionConfig::Benchmarking),
    ] {
        let config = config(json);
        refuse_unsupported(&config).expect("supported");
        let specs = subnet_specs(&config.subnet_config_set).expect("valid");
        let kinds: Vec<_> = specs.iter().map(|spec| spec.kind).collect();
        assert_eq!(kinds, [SubnetKind::Bitcoin, SubnetKind::Application]);
        assert_eq!(specs[0].ranges, SubnetKind::Bitcoin.mainnet_ranges());
        assert_eq!(specs[1].instructions, instructions);
        assert_ne!(specs[0].id, specs[1].id);
    }
}

#[test]
fn the_nns_comes_first_and_becomes_the_root() {
    let config = config(r#"{"subnet_config_set":{"application":[{},{}],"nns":{},"system":[{}]}}"#);
    let specs = subnet_specs(&config.subnet_config_set).expect("valid");
    assert_eq!(specs[0].kind, SubnetKind::NNS);
    assert_eq!(specs.len(), 4);
    let authority = authority_of(&specs).expect("subnets");
    assert_eq!(authority.root_subnet_id(), specs[0].id);
}

#[test]
fn what_is_not_supported_is_named() {
    let app = r#""subnet_config_set":{"application":[{}]}"#;
    let cases = [
        (r#"{"subnet_config_set":{}}"#.to_owned(), "at least one subnet"),
        (format!(r#"{{{app},"dogecoind_addr":["127.0.0.1:1"]}}"#), "dogecoind_addr"),
        (format!(r#"{{{app},"bitcoind_addr":["127.0.0.1:1"]}}"#), "bitcoind_addr"),
        (format!(r#"{{{app},"mainnet_nns_subnet_id":true}}"#), "mainnet_nns_subnet_id"),
        (format!(r#"{{{app},"icp_features":{{"registry":"DefaultConfig","ii":null}}}}"#), "registry"),
        (format!(r#"{{{app},"initial_time":{{"Timestamp":{{"nanos_since_epoch":5}}}}}}"#), "5 ns"),
        (r#"{"subnet_config_set":{"nns":{"state_config":{"FromPath":"/mainnet"}}}}"#.to_owned(), "/mainnet"),
        (r#"{"subnet_config_set":{"nns":{"cost_schedule":"Free"}}}"#.to_owned(), "cost schedule"),
        (
            r#"{"subnet_config_set":{"application":[{"subnet_admins":[{"principal_id":"BA=="}]}]}}"#.to_owned(),
            "subnet_admins",
        ),
    ];
    for (json, named) in cases {
        let message = refused(&json);
        assert!(message.contains(named), "{json}: {message}");
    }
    let many = format!(
        r#"{{"subnet_config_set":{{"system":[{}{{}}]}}}}"#,
        "{},".repeat(64)
    );
    assert!(refused(&many).contains("65 subnets"));
}

#[test]
fn a_later_subnet_gets_a_seed_that_is_not_in_use() {
    let config = config(r#"{"subnet_config_set":{"application":[{},{}]}}"#);
    let subnets = subnet_specs(&config.subnet_config_set).expect("valid");
    let topology = Topology {
        default_effective_canister_id: subnets[0].ranges[0].first(),
        subnets,
    };
    let next = next_seed(&topology);
    assert!(topology.subnets.iter().all(|spec| spec.seed < next));
}

#[test]
fn rate_limits_are_lifted_when_told_so_and_other_words_are_refused() {
    let disabled = |flag: &str| {
        let text = format!(r#"{{"icp_config":{{"canister_execution_rate_limiting":{flag}}}}}"#);
        let config: InstanceConfig = serde_json::from_str(&text).expect("parses");
        rate_limits_disabled(&config).map_err(|error| error.to_string())
    };
    assert_eq!(disabled("null"), Ok(false));
    assert_eq!(disabled("\"Enabled\""), Ok(false));
    assert_eq!(disabled("\"Disabled\""), Ok(true));
    let error = disabled("\"Sometimes\"").expect_err("no such word");
    assert!(error.contains("Sometimes"), "{error}");
}
