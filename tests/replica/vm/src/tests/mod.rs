//! What every test needs: an engine, a canister made from text, and messages to send it.

mod calls;
mod contexts;
mod limits;
mod memory;
mod messages;
mod metering;
mod modules;
mod pages;
mod rollback;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use candid::Principal;

use crate::*;

pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineOptions::default()).expect("defaults are valid"))
}

pub(crate) fn module(wat: &str) -> Arc<CanisterModule> {
    let wasm = wat::parse_str(wat).expect("the test's text is valid");
    engine().prepare(&wasm).expect("the test's module is valid")
}

/// A canister and the messages sent to it.
pub(crate) struct Canister {
    pub state: CanisterState,
}

impl Canister {
    pub(crate) fn new(wat: &str) -> Self {
        Self {
            state: CanisterState::new(&module(wat)).expect("memory is available"),
        }
    }

    pub(crate) fn run(&mut self, input: Input) -> Output {
        execute(engine(), &mut self.state, input)
    }

    pub(crate) fn update(&mut self, method: &str) -> Output {
        self.run(update(method))
    }

    /// Sends an update that must succeed and returns the data it replied.
    pub(crate) fn reply(&mut self, method: &str) -> Vec<u8> {
        reply_data(&self.update(method))
    }
}

pub(crate) fn reply_data(output: &Output) -> Vec<u8> {
    match &output.result {
        Ok(Effects {
            response: Some(Response::Reply(data)),
            ..
        }) => data.clone(),
        other => panic!("expected a reply, got {other:?}"),
    }
}

pub(crate) fn trap(output: &Output) -> &Trap {
    output.result.as_ref().expect_err("expected a trap")
}

pub(crate) fn principal(byte: u8) -> Principal {
    Principal::from_slice(&[byte; 10])
}

pub(crate) fn update(method: &str) -> Input {
    input(EntryPoint::Update(method.to_owned()), Mode::Replicated)
}

pub(crate) fn query(method: &str) -> Input {
    Input {
        limits: Limits::query(),
        ..input(EntryPoint::Query(method.to_owned()), Mode::NonReplicated)
    }
}

pub(crate) fn input(entry: EntryPoint, mode: Mode) -> Input {
    Input {
        entry,
        mode,
        facts: CanisterFacts {
            canister_id: principal(1),
            controllers: vec![principal(9)],
            version: 7,
            status: CanisterStatus::Running,
            time_ns: 1_620_328_630_000_000_000,
            balance: Cycles(100_000_000_000_000),
            freezing_threshold: Cycles(1_000),
            data_certificate: None,
            global_timer_ns: 0,
            subnet_id: principal(2),
            subnet_kind: SubnetKind::Application,
            fees: Fees::application(13),
            root_key: Arc::from([5_u8; 133]),
            environment: Arc::new(BTreeMap::from([("NAME".to_owned(), "value".to_owned())])),
            memory: MemoryLimits::default(),
        },
        message: MessageFacts {
            caller: principal(3),
            payload: Arc::from(*b"payload"),
            method_name: "asked".to_owned(),
            rejection: Some(Rejection {
                code: 4,
                message: "no".to_owned(),
            }),
            deadline_ns: None,
            cycles_available: Cycles(500),
            cycles_refunded: Cycles(40),
            already_responded: false,
            call_context_instructions: Instructions(1_000_000),
            caller_info: None,
        },
        limits: Limits::update(),
        fault: None,
    }
}
