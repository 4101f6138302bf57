//! One table of calls and what must come of each, asked through every way there is into a canister:
//! as a user's update and query, through PocketIC's protocol and through the IC's HTTP interface, and
//! by another canister, in replicated mode and from a composite query.

mod agreement;
mod blocks;
mod chain;
mod coins;
mod headers;
mod question;
mod table;
mod ways;

use candid::Principal;
use futures_util::{StreamExt, stream};
use ic_agent::identity::AnonymousIdentity;
use millrace_tests::deployment;
use millrace_tests::local_replica::Ready;
use millrace_tests::setup::{Client, Setup};
use question::{Contract, Names};
use ways::{Call, Observed, Way};

/// Calls through the HTTP interface under way at once.
const CONCURRENT: usize = 16;

#[test]
fn every_call_has_its_outcome_in_both_interfaces_on_every_way_into_the_canister() {
    let (mut setup, names) = chain::deploy();
    let client = Client::beside(&setup);
    let contract = Contract::load();
    let rows = table::rows();
    let calls = ways::calls(&contract, &names, &rows);
    let mut differences = Vec::new();
    for way in [Way::Update, Way::Query, Way::Canister, Way::CompositeQuery] {
        let caller = match way {
            Way::Canister | Way::CompositeQuery => client.canister,
            _ => Principal::anonymous(),
        };
        for call in calls.iter().filter(|call| call.can_go(way)) {
            let observed = call.make(&setup, &client, way);
            differences.extend(call.difference(&contract, &names, (way, caller), &observed));
        }
    }
    differences.extend(agreement::differences(&setup, &contract, &names, &rows));
    differences.extend(over_http(&mut setup, &contract, &names, &calls));
    assert!(
        differences.is_empty(),
        "{} outcomes differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Makes the calls with an agent, and asks the pages a browser would ask for.
fn over_http(setup: &mut Setup, contract: &Contract, names: &Names, calls: &[Call]) -> Vec<String> {
    let url = setup.pic.make_live(None);
    let canister = setup.canister;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let answers = runtime.block_on(async {
        let ready = Ready {
            url: url.to_string(),
            default_effective_canister_id: canister,
        };
        let agent = deployment::agent(&ready, AnonymousIdentity)
            .await
            .expect("the gateway answers");
        let ways = [Way::HttpUpdate, Way::HttpQuery];
        let asked = ways.into_iter().flat_map(|way| {
            let calls = calls.iter().filter(move |call| call.can_go(way));
            calls.map(move |call| (way, call))
        });
        let agent = &agent;
        stream::iter(asked)
            .map(|(way, call)| async move {
                (way, call, call.make_with(agent, canister, way).await)
            })
            .buffer_unordered(CONCURRENT)
            .collect::<Vec<(Way, &Call, Observed)>>()
            .await
    });
    let caller = Principal::anonymous();
    let mut differences: Vec<String> = answers
        .iter()
        .filter_map(|(way, call, observed)| {
            call.difference(contract, names, (*way, caller), observed)
        })
        .collect();
    differences.extend(pages(canister, url.port().expect("a port"), names));
    differences
}

/// The canister's pages, as a browser or a collector of metrics gets them through the gateway.
fn pages(canister: Principal, port: u16, names: &Names) -> Vec<String> {
    let health = names.fill(table::HEALTH);
    let expected: [(&str, u16, &str, Body<'_>); 4] = [
        ("/health", 200, "application/json", Body::Is(&health)),
        (
            "/metrics",
            200,
            "text/plain; version=0.0.4",
            Body::Has("\nmillrace_main_chain_height 8\n"),
        ),
        (
            "/metrics?name=x",
            200,
            "text/plain; version=0.0.4",
            Body::Has("\nmillrace_utxos_length 11\n"),
        ),
        (
            "/",
            200,
            "text/html; charset=utf-8",
            Body::Has("<h1>Millrace on regtest</h1>"),
        ),
    ];
    let client = reqwest::blocking::Client::new();
    expected
        .into_iter()
        .filter_map(|(path, status, kind, body)| {
            let answer = client
                .get(format!("http://127.0.0.1:{port}{path}"))
                .header("host", format!("{canister}.localhost:{port}"))
                .send()
                .expect("the gateway answers");
            let found_status = answer.status().as_u16();
            let found_kind = answer.headers().get("content-type").cloned();
            let text = answer.text().expect("text");
            let is_expected = found_status == status
                && found_kind.as_ref().is_some_and(|found| found == kind)
                && match body {
                    Body::Is(wanted) => text == wanted,
                    Body::Has(line) => text.contains(line),
                };
            (!is_expected).then(|| format!("{path}: {found_status} {found_kind:?} {text}"))
        })
        .collect()
}

/// A page's body: this text, or one with this line.
enum Body<'a> {
    Is(&'a str),
    Has(&'a str),
}
