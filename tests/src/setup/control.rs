//! What this workspace's own server can do beyond PocketIC's protocol: faults, limits, the world outside.

use bitcoin::Block;
use bitcoin::consensus::serialize;
use candid::Principal;
use millrace_subnet::{Fault, FaultStatus, LimitsConfig};
use pocket_ic::PocketIc;
use reqwest::blocking::{Client, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An instance of the server, as its own routes see it.
pub struct Control {
    base: String,
    client: Client,
}

/// A management call that waits for an answer from outside.
#[derive(Clone, Debug, Deserialize)]
pub struct WaitingCall {
    /// Names the call in its answer.
    pub callback: u64,
    /// Who calls.
    pub sender: Principal,
    /// The management method.
    pub method: String,
    #[serde(deserialize_with = "base64_bytes")]
    /// The argument.
    pub payload: Vec<u8>,
}

/// Figures of a subnet.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SubnetFigures {
    /// Rounds executed.
    pub rounds: u64,
    /// Rounds that executed nothing because the heap delta was at its limit.
    pub rounds_skipped_by_heap_delta: u64,
    /// Bytes dirtied since the last checkpoint.
    pub heap_delta_bytes: u64,
    /// Answers in the consensus queue.
    pub consensus_queue_items: u64,
    /// Answers that rounds left in it, each counted once per round.
    pub consensus_items_left_total: u64,
}

impl Control {
    /// Controls this instance; its server must be [this workspace's](crate::artifacts::is_own_server).
    pub fn of(pic: &PocketIc) -> Self {
        Self {
            base: format!("{}instances/{}/", pic.get_server_url(), pic.instance_id()),
            client: Client::new(),
        }
    }

    /// Runs a round.
    ///
    /// # Errors
    /// The server's report, for example of a crash of the replicas.
    pub fn tick(&self) -> Result<(), String> {
        self.post("update/tick", &json!({"blockmakers": null}))
    }

    /// Injects faults.
    ///
    /// # Errors
    /// The server's refusal; none was injected then.
    pub fn inject(&self, faults: &[Fault]) -> Result<(), String> {
        self.post("millrace/faults", &json!(faults))
    }

    /// What became of the faults.
    pub fn faults(&self) -> Vec<FaultStatus> {
        self.get("millrace/faults")
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        let request = self.client.delete(self.url("millrace/faults"));
        send::<()>(request).expect("faults can always be forgotten");
    }

    /// The limits in force.
    pub fn limits(&self) -> LimitsConfig {
        self.get("millrace/limits")
    }

    /// Changes limits from the next round on, named as in a limits file.
    ///
    /// # Errors
    /// The server's refusal; nothing changed then.
    pub fn change_limits(&self, named: &Value) -> Result<(), String> {
        self.post("millrace/limits", named)
    }

    /// The calls of a subnet that wait for an answer from outside.
    pub fn consensus_calls(&self, subnet: Principal) -> Vec<WaitingCall> {
        self.get(&format!("millrace/consensus/{subnet}"))
    }

    /// Answers a call for blocks, through the consensus queue.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn answer_with_blocks(
        &self,
        subnet: Principal,
        callback: u64,
        blocks: &[&Block],
    ) -> Result<(), String> {
        let blocks: Vec<String> = blocks
            .iter()
            .map(|block| base64(&serialize(*block)))
            .collect();
        let answer = json!({"callback": callback, "blocks": blocks, "next": []});
        self.post(&format!("millrace/consensus/{subnet}"), &answer)
    }

    /// Rejects a call that waits, through the consensus queue.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn reject(&self, subnet: Principal, callback: u64, text: &str) -> Result<(), String> {
        let answer = json!({"callback": callback, "reject": text});
        self.post(&format!("millrace/consensus/{subnet}"), &answer)
    }

    /// Has so many rounds of a subnet leave the consensus queue as it is.
    ///
    /// # Errors
    /// The server's refusal.
    pub fn keep_consensus_queue(&self, subnet: Principal, rounds: u64) -> Result<(), String> {
        let path = format!("millrace/consensus/{subnet}/keep/{rounds}");
        self.post(&path, &Value::Null)
    }

    /// Restarts the replica.
    ///
    /// # Errors
    /// The instance has no state folder.
    pub fn restart(&self) -> Result<(), String> {
        self.post("millrace/restart", &Value::Null)
    }

    /// Figures of a subnet.
    pub fn figures(&self, subnet: Principal) -> SubnetFigures {
        self.get(&format!("millrace/metrics/{subnet}"))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn get<R: DeserializeOwned>(&self, path: &str) -> R {
        send(self.client.get(self.url(path))).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn post<R: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<R, String> {
        send(self.client.post(self.url(path)).json(body))
    }
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

fn send<R: DeserializeOwned>(request: RequestBuilder) -> Result<R, String> {
    // A round may execute for minutes; the server answers when it is done.
    let request = request.timeout(std::time::Duration::from_secs(600));
    let response = request.send().expect("the server answers");
    let is_success = response.status().is_success();
    let body = response.bytes().expect("the server's answer is whole");
    if is_success {
        return Ok(serde_json::from_slice(&body).expect("the server's own format"));
    }
    let refusal: Refusal = serde_json::from_slice(&body).expect("refusals are JSON");
    Err(refusal.message)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

fn base64_bytes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    use base64::Engine;
    let text = String::deserialize(from)?;
    let bytes = base64::prelude::BASE64_STANDARD.decode(text);
    bytes.map_err(serde::de::Error::custom)
}
