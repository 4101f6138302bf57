//! The reply to `flexible_http_request` (interface spec, "IC method `flexible_http_request`").

use super::cannot_encode;
use crate::message::Answer;
use candid::{CandidType, Deserialize, Principal, Reserved};
use ic_management_canister_types::HttpRequestResult;

/// Both arms are replies: only what is refused before a request is made rejects the call.
#[derive(CandidType, Debug, Deserialize)]
pub(super) enum FlexibleResult {
    #[serde(rename = "ok")]
    Ok(Vec<HttpRequestResult>),
    #[serde(rename = "err")]
    Err(Failure),
}

#[derive(CandidType, Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) global_error: Option<GlobalError>,
    pub(super) node_details: Vec<NodeDetail>,
    pub(super) message: String,
}

/// Why the outcall as a whole failed.
#[derive(CandidType, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum GlobalError {
    #[serde(rename = "timeout")]
    Timeout(Reserved),
    #[serde(rename = "out_of_cycles")]
    OutOfCycles(Reserved),
    #[serde(rename = "responses_too_large")]
    ResponsesTooLarge(Reserved),
    #[serde(rename = "too_many_rejects")]
    TooManyRejects(Reserved),
}

/// What one node did.
#[derive(CandidType, Debug, Deserialize)]
pub(super) struct NodeDetail {
    node_id: Principal,
    report: ResourceReport,
    error: Option<NodeError>,
}

/// The interface has optional fields only and the IC leaves all of them out, so none is declared.
#[derive(CandidType, Debug, Deserialize)]
struct ResourceReport {}

#[derive(CandidType, Debug, Deserialize)]
struct NodeError {
    code: String,
    message: String,
}

impl FlexibleResult {
    pub(super) fn error(
        error: GlobalError,
        node_details: Vec<NodeDetail>,
        message: String,
    ) -> Self {
        Self::Err(Failure {
            global_error: Some(error),
            node_details,
            message,
        })
    }

    pub(super) fn encode(&self) -> Answer {
        match candid::encode_one(self) {
            Ok(bytes) => Answer::Reply(bytes),
            Err(error) => cannot_encode(&error),
        }
    }
}

impl NodeDetail {
    pub(super) fn new(node_id: Principal, code: &str, message: String) -> Self {
        Self {
            node_id,
            report: ResourceReport {},
            error: Some(NodeError {
                code: code.to_owned(),
                message,
            }),
        }
    }
}
