//! Configuration, and the page for operators.

use millrace_candid::{Config, HttpRequest, HttpResponse, SetConfigRequest};
use millrace_canister::env::System;

use crate::{decode, encode, or_trap, with};

#[ic_cdk::query]
fn get_config() -> Config {
    with(|app| app.get_config())
}

#[candid::candid_method(update)]
#[ic_cdk::update(decode_with = "decode", hidden = true)]
fn set_config(change: SetConfigRequest) {
    let caller = ic_cdk::api::msg_caller();
    let is_controller = ic_cdk::api::is_controller(&caller);
    with(|app| or_trap(app.set_config_for(&caller, is_controller, change)));
}

#[candid::candid_method(query)]
#[ic_cdk::query(decode_with = "decode", encode_with = "encode", hidden = true)]
fn http_request(request: HttpRequest) -> HttpResponse {
    with(|app| app.http_request(&System, &request))
}
