//! Canisters in WAT, running servers, and signed requests, for all tests.

use candid::{CandidType, Encode, Principal};
use ic_agent::Identity;
use ic_transport_types::{Envelope, EnvelopeContent};
use pocket_ic::{PocketIc, PocketIcBuilder};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Longest wait for another process; only reached when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);

pub const SERVER: &str = env!("CARGO_BIN_EXE_pocket-ic-server");
pub const REPLICA: &str = env!("CARGO_BIN_EXE_replica");

/// Returns a builder whose server is the one under test, shared by all tests of this process.
pub fn builder() -> PocketIcBuilder {
    PocketIcBuilder::new().with_server_binary(PathBuf::from(SERVER))
}

/// Returns an instance with one application subnet and the counter canister on it.
pub fn with_counter() -> (PocketIc, Principal) {
    let pic = builder().with_application_subnet().build();
    let canister = install_counter(&pic);
    (pic, canister)
}

pub fn install_counter(pic: &PocketIc) -> Principal {
    let canister = pic.create_canister();
    pic.add_cycles(canister, 10_000_000_000_000);
    pic.install_canister(canister, counter(), vec![], None);
    canister
}

/// Counts once, and returns the counter.
pub fn inc(pic: &PocketIc, canister: Principal) -> u64 {
    let reply = pic.update_call(canister, Principal::anonymous(), "inc", vec![]);
    number(&reply.expect("replied"))
}

/// Returns the counter.
pub fn get(pic: &PocketIc, canister: Principal) -> u64 {
    let reply = pic.query_call(canister, Principal::anonymous(), "get", vec![]);
    number(&reply.expect("replied"))
}

/// A canister that counts in heap and stable memory:
/// - update `inc`, query `get`: the counter, 8 bytes little endian;
/// - update `boom` traps; query `whoami` and update `whoami_update` reply the caller;
/// - update `certify` certifies the counter; query `certificate` replies the certificate;
/// - update `reject` rejects; query `time` replies the time.
pub fn counter() -> Vec<u8> {
    wat::parse_str(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (import "ic0" "msg_reject" (func $reject (param i32 i32)))
        (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
        (import "ic0" "msg_caller_copy" (func $caller_copy (param i32 i32 i32)))
        (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
        (import "ic0" "data_certificate_size" (func $cert_size (result i32)))
        (import "ic0" "data_certificate_copy" (func $cert_copy (param i32 i32 i32)))
        (import "ic0" "stable64_size" (func $stable_size (result i64)))
        (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
        (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))
        (import "ic0" "stable64_read" (func $stable_read (param i64 i64 i64)))
        (import "ic0" "time" (func $time (result i64)))
        (import "ic0" "trap" (func $trap (param i32 i32)))
        (memory (export "memory") 2)
        (data (i32.const 100) "boom")
        (data (i32.const 110) "go away")
        (func $load
          (if (i64.gt_u (call $stable_size) (i64.const 0))
            (then (call $stable_read (i64.const 0) (i64.const 0) (i64.const 8)))))
        (func (export "canister_init")
          (drop (call $stable_grow (i64.const 1))))
        (func (export "canister_update inc")
          (call $load)
          (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
          (call $stable_write (i64.const 0) (i64.const 0) (i64.const 8))
          (call $append (i32.const 0) (i32.const 8))
          (call $reply))
        (func (export "canister_query get")
          (call $load)
          (call $append (i32.const 0) (i32.const 8))
          (call $reply))
        (func (export "canister_update boom")
          (i64.store (i32.const 0) (i64.const 999))
          (call $trap (i32.const 100) (i32.const 4)))
        (func (export "canister_update reject")
          (call $reject (i32.const 110) (i32.const 7)))
        (func $whoami
          (call $caller_copy (i32.const 200) (i32.const 0) (call $caller_size))
          (call $append (i32.const 200) (call $caller_size))
          (call $reply))
        (func (export "canister_query whoami") (call $whoami))
        (func (export "canister_update whoami_update") (call $whoami))
        (func (export "canister_update certify")
          (call $load)
          (call $certify (i32.const 0) (i32.const 8))
          (call $reply))
        (func (export "canister_query certificate")
          (call $cert_copy (i32.const 1000) (i32.const 0) (call $cert_size))
          (call $append (i32.const 1000) (call $cert_size))
          (call $reply))
        (func (export "canister_query time")
          (i64.store (i32.const 16) (call $time))
          (call $append (i32.const 16) (i32.const 8))
          (call $reply)))"#,
    )
    .expect("the module is well formed")
}

/// Returns a canister whose methods reply fixed bytes.
pub fn replying(methods: &[(&str, &[u8])]) -> Vec<u8> {
    let mut offset = 0;
    let mut body = String::new();
    for (name, reply) in methods {
        let escaped: String = reply.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let size = reply.len();
        body += &format!(
            r#"(data (i32.const {offset}) "{escaped}")
            (func (export "{name}")
              (call $append (i32.const {offset}) (i32.const {size})) (call $reply))"#
        );
        offset += size;
    }
    let text = format!(
        r#"(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
        (memory (export "memory") 4)
        {body})"#
    );
    wat::parse_str(text).expect("the module is well formed")
}

pub fn number(reply: &[u8]) -> u64 {
    u64::from_le_bytes(reply.try_into().expect("eight bytes"))
}

pub fn wall_clock_ns() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

/// A time that requests sent now may carry.
pub fn expiry() -> u64 {
    wall_clock_ns() + 120_000_000_000
}

pub fn encode<T: CandidType>(value: &T) -> Vec<u8> {
    Encode!(value).expect("encodes")
}

/// Signs a request as agents do; returns the body to send.
pub fn signed_body(content: EnvelopeContent, identity: &dyn Identity) -> Vec<u8> {
    let signature = identity.sign(&content).expect("signs");
    Envelope {
        content: Cow::Owned(content),
        sender_pubkey: signature.public_key,
        sender_sig: signature.signature,
        sender_delegation: signature.delegations,
    }
    .encode_bytes()
}

pub fn call_content(sender: Principal, canister_id: Principal, method: &str) -> EnvelopeContent {
    EnvelopeContent::Call {
        nonce: Some(wall_clock_ns().to_be_bytes().to_vec()),
        ingress_expiry: expiry(),
        sender,
        canister_id,
        method_name: method.to_owned(),
        arg: vec![],
        sender_info: None,
    }
}

/// Posts a CBOR body and returns status and answer.
pub fn post_cbor(url: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let response = reqwest::blocking::Client::new()
        .post(url)
        .header("content-type", "application/cbor")
        .body(body)
        .send()
        .expect("the server answers");
    let status = response.status().as_u16();
    (status, response.bytes().expect("a body").to_vec())
}

/// Returns the message with which the client panics, as it does when the server refuses.
pub fn refusal(operation: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(operation)).expect_err("the server refuses");
    let message = panic.downcast_ref::<String>();
    message.cloned().expect("a formatted message")
}

/// Waits until `done` says so.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A `replica` process; killed when dropped.
pub struct Replica {
    child: Child,
    pub url: String,
    pub default_effective_canister_id: Principal,
    pub root_key: String,
}

impl Replica {
    /// Starts a replica on any port with this state folder.
    pub fn start(state_dir: &Path) -> Self {
        Self::start_with(state_dir, &[])
    }

    /// The same with further options.
    pub fn start_with(state_dir: &Path, options: &[&str]) -> Self {
        let ready_file = state_dir.with_extension("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let child = Command::new(REPLICA)
            .args(["--port", "0", "--checkpoint-interval", "3600"])
            .arg("--state-dir")
            .arg(state_dir)
            .arg("--ready-file")
            .arg(&ready_file)
            .args(options)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("the replica starts");
        let mut replica = Self {
            child,
            url: String::new(),
            default_effective_canister_id: Principal::anonymous(),
            root_key: String::new(),
        };
        eventually("the replica being ready", || {
            let exited = replica.child.try_wait().expect("observable");
            assert!(exited.is_none(), "the replica exited: {exited:?}");
            ready_file.exists()
        });
        let text = std::fs::read_to_string(&ready_file).expect("readable");
        let ready: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let field = |name: &str| ready[name].as_str().expect(name).to_owned();
        replica.url = field("url");
        replica.root_key = field("root_key");
        replica.default_effective_canister_id =
            Principal::from_text(field("default_effective_canister_id")).expect("a canister id");
        replica
    }

    /// Returns a `pocket-ic` client of the replica's instance.
    pub fn client(&self) -> PocketIc {
        let url = self.url.parse().expect("a URL");
        PocketIc::new_from_existing_instance(url, 0, None)
    }

    /// Asks the process to stop, and waits until it has.
    pub fn terminate(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill runs").success());
        let status = self.child.wait().expect("waits");
        assert!(status.success(), "{status}");
    }

    /// Kills the process as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("waits");
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
