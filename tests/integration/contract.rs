//! The contract is what the module says, exports and does.

use std::collections::BTreeSet;

use candid_parser::utils::CandidSource;
use millrace_candid::BTC_DID;
use millrace_tests::artifacts;
use wasmparser::{Parser, Payload};

/// What the IC calls an exported method.
const METHOD_PREFIXES: [&str; 3] = [
    "canister_update ",
    "canister_query ",
    "canister_composite_query ",
];

#[test]
fn the_module_carries_the_contract_byte_for_byte() {
    let wasm = artifacts::millrace_wasm();
    let sections: Vec<&[u8]> = Parser::new(0)
        .parse_all(&wasm)
        .filter_map(|payload| match payload.expect("a valid module") {
            Payload::CustomSection(section) if section.name() == "icp:public candid:service" => {
                Some(section.data())
            }
            _ => None,
        })
        .collect();
    assert_eq!(sections, [BTC_DID.as_bytes()]);
}

#[test]
fn the_module_exports_exactly_the_contracts_methods_with_their_modes() {
    let wasm = artifacts::millrace_wasm();
    let exports: BTreeSet<String> = Parser::new(0)
        .parse_all(&wasm)
        .filter_map(|payload| match payload.expect("a valid module") {
            Payload::ExportSection(exports) => Some(exports),
            _ => None,
        })
        .flatten()
        .map(|export| export.expect("a valid export").name.to_owned())
        .filter(|name| {
            METHOD_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
        })
        .collect();
    assert_eq!(exports, contract_exports());
}

#[test]
fn the_module_imports_nothing_but_the_ic() {
    let wasm = artifacts::millrace_wasm();
    let modules: BTreeSet<String> = Parser::new(0)
        .parse_all(&wasm)
        .filter_map(|payload| match payload.expect("a valid module") {
            Payload::ImportSection(imports) => Some(imports),
            _ => None,
        })
        .flat_map(wasmparser::SectionLimited::into_imports)
        .map(|import| import.expect("a valid import").module.to_owned())
        .collect();
    assert_eq!(modules, BTreeSet::from(["ic0".to_owned()]));
}

/// The export names that the contract's methods have, with the modes it gives them.
fn contract_exports() -> BTreeSet<String> {
    let (environment, service) = CandidSource::Text(BTC_DID)
        .load()
        .expect("a valid contract");
    let service = service.expect("the contract is a service");
    let methods = environment.as_service(&service).expect("a service");
    methods
        .iter()
        .map(|(name, method)| {
            let function = environment.as_func(method).expect("a method");
            let mode = if function.is_query() {
                "query"
            } else {
                "update"
            };
            format!("canister_{mode} {name}")
        })
        .collect()
}
