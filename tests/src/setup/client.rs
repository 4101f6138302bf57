//! The client canister: another canister that calls Millrace, as other people's do.

use candid::{CandidType, Principal, decode_one, encode_one};
use millrace_client_canister::wire::{Forward, Forwarded, Outcome, Request};
use pocket_ic::{PocketIc, PocketIcBuilder};
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use super::{CYCLES, Setup};
use crate::artifacts;

/// An instance with an application subnet and the subnet of the official Bitcoin canisters, whose ids
/// client libraries know. That one is a system subnet: nothing costs cycles there but what canisters
/// charge each other.
pub fn bitcoin_instance() -> PocketIc {
    bitcoin_builder().build()
}

/// Builds [`bitcoin_instance`], with what is added.
pub fn bitcoin_builder() -> PocketIcBuilder {
    PocketIcBuilder::new()
        .with_server_binary(artifacts::pocket_ic_server())
        .with_bitcoin_subnet()
        .with_application_subnet()
}

/// A client canister.
pub struct Client {
    /// Its id.
    pub canister: Principal,
}

impl Client {
    /// Installs a client on the subnet of the Millrace canister.
    pub fn beside(setup: &Setup) -> Self {
        let pic = &setup.pic;
        let subnet = pic
            .get_subnet(setup.canister)
            .expect("the canister is on a subnet");
        let canister = pic.create_canister_on_subnet(None, None, subnet);
        pic.add_cycles(canister, CYCLES);
        pic.install_canister(canister, artifacts::client_wasm(), Vec::new(), None);
        Self { canister }
    }

    /// Lets the client call a function of `ic-cdk-bitcoin-canister`.
    pub fn call(&self, setup: &Setup, request: &Request) -> Outcome {
        let reply = setup.pic.update_call(
            self.canister,
            Principal::anonymous(),
            "call",
            encode_one(request).expect("plain data encodes"),
        );
        decoded(reply)
    }

    /// Lets the client call a method of the Millrace canister, with cycles, from an update.
    pub fn forward(&self, setup: &Setup, method: &str, argument: &[u8], cycles: u128) -> Forwarded {
        let payload = forward(setup, method, argument, cycles);
        decoded(
            setup
                .pic
                .update_call(self.canister, Principal::anonymous(), "forward", payload),
        )
    }

    /// Lets the client call a query method of the Millrace canister from a composite query.
    pub fn forward_query(&self, setup: &Setup, method: &str, argument: &[u8]) -> Forwarded {
        let payload = forward(setup, method, argument, 0);
        decoded(setup.pic.query_call(
            self.canister,
            Principal::anonymous(),
            "forward_query",
            payload,
        ))
    }
}

fn forward(setup: &Setup, method: &str, argument: &[u8], cycles: u128) -> Vec<u8> {
    encode_one(Forward {
        canister: setup.canister,
        method: method.to_owned(),
        argument: ByteBuf::from(argument),
        cycles,
    })
    .expect("plain data encodes")
}

fn decoded<R: CandidType + DeserializeOwned>(
    reply: Result<Vec<u8>, pocket_ic::RejectResponse>,
) -> R {
    let reply = reply.unwrap_or_else(|reject| panic!("the client rejects: {reject}"));
    decode_one(&reply).expect("the client's own type")
}
