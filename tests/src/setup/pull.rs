//! The source canister: another canister of the instance, asked for blocks by a pulling one.

use bitcoin::Block;
use bitcoin::consensus::serialize;
use candid::{CandidType, Principal, decode_one, encode_one};
use millrace_candid::{Flag, InitConfig, InitNetwork};
use millrace_source_canister::wire::{Calls, Options, SentTransaction};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;

use super::{CYCLES, Setup, instance, pushed};
use crate::artifacts;

/// Bytes of blocks loaded in one message: below the ingress limit with room for Candid.
const LOAD_BYTES: usize = 1_500_000;

/// The source canister.
pub struct Source {
    canister: Principal,
}

impl Setup {
    /// A canister that pulls from a source canister of the same instance, and the source.
    pub fn pulling(network: InitNetwork) -> (Self, Source) {
        let pic = instance();
        let source = Source::in_instance(&pic);
        let config = pulled(network, &source);
        (Self::in_instance(pic, config), source)
    }
}

/// A configuration that pulls from this source and wastes no time.
pub fn pulled(network: InitNetwork, source: &Source) -> InitConfig {
    InitConfig {
        blocks_source: Some(source.canister),
        pull: Some(Flag::Enabled),
        // Its adapter is for reading the feed state; nothing is pushed.
        ..pushed(network)
    }
}

impl Source {
    /// Installs a source without blocks.
    pub fn in_instance(pic: &PocketIc) -> Self {
        let canister = pic.create_canister();
        pic.add_cycles(canister, CYCLES);
        pic.install_canister(canister, artifacts::source_wasm(), Vec::new(), None);
        Self { canister }
    }

    /// Gives the source blocks to serve.
    pub fn load<'a>(&self, setup: &Setup, blocks: impl IntoIterator<Item = &'a Block>) {
        let mut message: Vec<ByteBuf> = Vec::new();
        let mut bytes = 0;
        for block in blocks {
            let block = ByteBuf::from(serialize(block));
            if bytes + block.len() > LOAD_BYTES && !message.is_empty() {
                self.load_message(setup, std::mem::take(&mut message));
                bytes = 0;
            }
            bytes += block.len();
            message.push(block);
        }
        self.load_message(setup, message);
    }

    fn load_message(&self, setup: &Setup, blocks: Vec<ByteBuf>) {
        let _: u64 = self.call(&setup.pic, "load", blocks);
    }

    /// Changes how the source answers.
    pub fn set_options(&self, setup: &Setup, options: &Options) {
        let payload = encode_one(options).expect("plain data encodes");
        setup
            .pic
            .update_call(
                self.canister,
                Principal::anonymous(),
                "set_options",
                payload,
            )
            .unwrap_or_else(|reject| panic!("set_options is rejected: {reject}"));
    }

    /// How often the source was asked.
    pub fn calls(&self, setup: &Setup) -> Calls {
        self.ask(&setup.pic, "calls")
    }

    /// The transactions the source was handed, oldest first.
    pub fn sent(&self, setup: &Setup) -> Vec<SentTransaction> {
        self.ask(&setup.pic, "sent")
    }

    /// Stops the source: it rejects every call from now on.
    pub fn stop(&self, setup: &Setup) {
        setup
            .pic
            .stop_canister(self.canister, None)
            .unwrap_or_else(|reject| panic!("the source does not stop: {reject}"));
    }

    fn ask<R: CandidType + serde::de::DeserializeOwned>(&self, pic: &PocketIc, method: &str) -> R {
        let nothing = candid::encode_args(()).expect("nothing encodes");
        let reply = pic
            .query_call(self.canister, Principal::anonymous(), method, nothing)
            .unwrap_or_else(|reject| panic!("{method} is rejected: {reject}"));
        decode_one(&reply).expect("the source's own type")
    }

    fn call<R: CandidType + serde::de::DeserializeOwned>(
        &self,
        pic: &PocketIc,
        method: &str,
        argument: impl CandidType,
    ) -> R {
        let payload = encode_one(argument).expect("plain data encodes");
        let reply = pic
            .update_call(self.canister, Principal::anonymous(), method, payload)
            .unwrap_or_else(|reject| panic!("{method} is rejected: {reject}"));
        decode_one(&reply).expect("the source's own type")
    }
}
