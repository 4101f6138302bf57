//! What the canister's messages consumed, as this workspace's own server reports it.

use serde::Deserialize;

use super::Setup;
use crate::artifacts;

/// One executed message.
#[derive(Debug, Deserialize)]
pub struct Usage {
    /// Its place among the canister's messages, from 0.
    pub sequence: u64,
    /// What it was: `heartbeat`, `update`, `query`, ...
    pub kind: String,
    /// The method, if it has one.
    pub method: String,
    /// Instructions.
    pub instructions: u64,
    /// Distinct 4 KiB pages of stable memory written.
    pub stable_pages_dirtied: u64,
    /// Whether it did not trap.
    pub succeeded: bool,
}

#[derive(Deserialize)]
struct Answer {
    next_sequence: u64,
    records: Vec<Usage>,
}

impl Setup {
    /// The canister's messages from a place on, oldest first, of those the server remembers.
    ///
    /// Nothing if the server is not this workspace's: the real PocketIC reports no usage.
    pub fn usage(&self, since: u64) -> Option<Vec<Usage>> {
        if !artifacts::is_own_server() {
            return None;
        }
        let url = format!(
            "{}instances/{}/millrace/usage/{}?since={since}",
            self.pic.get_server_url(),
            self.pic.instance_id(),
            self.canister,
        );
        let response = reqwest::blocking::get(&url).expect("the server answers");
        let status = response.status();
        assert!(status.is_success(), "{url}: {status}");
        let answer: Answer = response.json().expect("the server's own format");
        let last = answer.records.last();
        let next = last.map_or(since, |record| record.sequence + 1);
        assert_eq!(answer.next_sequence, next, "none is missing at the end");
        Some(answer.records)
    }
}
