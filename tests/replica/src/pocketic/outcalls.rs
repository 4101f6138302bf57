//! Canister HTTP outcalls: `read/get_canister_http` lists what waits, `update/mock_canister_http` and
//! `update/mock_flexible_canister_http` answer in place of the subnet's nodes.
//!
//! Nothing is ever fetched from the web, in automatic progress neither: a test's outcome does not depend
//! on a network, and a test that wants an answer gives it. What nobody answers is rejected after 60 seconds
//! of the instance's time, as on the IC. Flexible outcalls need no beta feature to be asked for, unlike
//! in PocketIC.

use super::base64_bytes;
use super::extract::{JsonBody, OfInstance};
use super::types::RawSubnetId;
use crate::http::errors::ApiError;
use axum::Json;
use candid::Principal;
use ic_management_canister_types::{HttpHeader, HttpRequestResult};
use millrace_subnet::{HttpAnswer, HttpOutcall, NetworkError, RejectCode, Replication};
use serde::{Deserialize, Serialize};

/// An outcall that waits for a response.
#[derive(Debug, Serialize)]
pub struct RawCanisterHttpRequest {
    subnet_id: RawSubnetId,
    request_id: u64,
    http_method: &'static str,
    url: String,
    headers: Vec<HttpHeader>,
    #[serde(with = "base64_bytes")]
    body: Vec<u8>,
    max_response_bytes: Option<u64>,
    /// Who performs the outcall; only clients since version 16 read it.
    replication: RawReplication,
    /// How it was paid for; only clients since version 16 read it.
    pricing_version: &'static str,
}

#[derive(Debug, Serialize)]
enum RawReplication {
    FullyReplicated,
    NonReplicated,
    Flexible {
        total_requests: u32,
        min_responses: u32,
        max_responses: u32,
    },
}

/// What a node reports.
#[derive(Debug, Deserialize)]
enum RawResponse {
    CanisterHttpReply {
        status: u16,
        headers: Vec<HttpHeader>,
        #[serde(with = "base64_bytes")]
        body: Vec<u8>,
    },
    CanisterHttpReject {
        reject_code: u64,
        message: String,
    },
}

/// Body of `update/mock_canister_http`.
#[derive(Debug, Deserialize)]
pub struct RawMockResponse {
    subnet_id: RawSubnetId,
    request_id: u64,
    response: RawResponse,
    #[serde(default)]
    additional_responses: Vec<RawResponse>,
}

/// Body of `update/mock_flexible_canister_http`.
#[derive(Debug, Deserialize)]
pub struct RawMockFlexibleResponse {
    subnet_id: RawSubnetId,
    request_id: u64,
    /// One for each node of the committee that responds.
    responses: Vec<RawResponse>,
}

/// `GET read/get_canister_http`
pub async fn list(
    OfInstance(instance): OfInstance,
) -> Result<Json<Vec<RawCanisterHttpRequest>>, ApiError> {
    let outcalls = instance
        .run(|network| {
            let mut all = Vec::new();
            for spec in network.topology().subnets {
                for outcall in network.http_outcalls(&spec.id)? {
                    all.push(raw_outcall(spec.id, outcall));
                }
            }
            Ok::<_, NetworkError>(all)
        })
        .await??;
    Ok(Json(outcalls))
}

/// `POST update/mock_canister_http`
pub async fn mock(
    OfInstance(instance): OfInstance,
    JsonBody(raw): JsonBody<RawMockResponse>,
) -> Result<Json<()>, ApiError> {
    let subnet = Principal::try_from(raw.subnet_id).map_err(ApiError::bad_request)?;
    let request_id = raw.request_id;
    let responses: Vec<HttpAnswer> = std::iter::once(raw.response)
        .chain(raw.additional_responses)
        .map(http_answer)
        .collect::<Result<_, _>>()?;
    instance
        .change(move |network| network.answer_http_outcall(&subnet, request_id, responses))
        .await?
        .map_err(|error| refused(error, &subnet, request_id))?;
    Ok(Json(()))
}

/// `POST update/mock_flexible_canister_http`
pub async fn mock_flexible(
    OfInstance(instance): OfInstance,
    JsonBody(raw): JsonBody<RawMockFlexibleResponse>,
) -> Result<Json<()>, ApiError> {
    let subnet = Principal::try_from(raw.subnet_id).map_err(ApiError::bad_request)?;
    let request_id = raw.request_id;
    let responses: Vec<HttpAnswer> = raw
        .responses
        .into_iter()
        .map(http_answer)
        .collect::<Result<_, _>>()?;
    instance
        .change(move |network| network.answer_flexible_outcall(&subnet, request_id, responses))
        .await?
        .map_err(|error| refused(error, &subnet, request_id))?;
    Ok(Json(()))
}

fn refused(error: NetworkError, subnet: &Principal, request_id: u64) -> ApiError {
    match error {
        NetworkError::UnknownConsensusCall(_) => ApiError::bad_request(format!(
            "no outcall {request_id} of subnet {subnet} waits for a response: \
             get_canister_http lists those that do (InvalidCanisterHttpRequestId(({subnet}, {request_id})))"
        )),
        other => other.into(),
    }
}

fn raw_outcall(subnet: Principal, outcall: HttpOutcall) -> RawCanisterHttpRequest {
    let args = outcall.args;
    let (replication, pricing_version) = match outcall.replication {
        Replication::Full => (RawReplication::FullyReplicated, "Legacy"),
        Replication::Single => (RawReplication::NonReplicated, "Legacy"),
        Replication::Flexible(counts) => (
            RawReplication::Flexible {
                total_requests: counts.total_requests,
                min_responses: counts.min_responses,
                max_responses: counts.max_responses,
            },
            "PayAsYouGo",
        ),
    };
    RawCanisterHttpRequest {
        subnet_id: subnet.into(),
        request_id: outcall.request_id,
        http_method: args.method.name(),
        url: args.url,
        headers: args.headers,
        body: args.body.unwrap_or_default(),
        max_response_bytes: args.max_response_bytes,
        replication,
        pricing_version,
    }
}

fn http_answer(raw: RawResponse) -> Result<HttpAnswer, ApiError> {
    Ok(match raw {
        RawResponse::CanisterHttpReply {
            status,
            headers,
            body,
        } => HttpAnswer::Reply(HttpRequestResult {
            status: status.into(),
            headers,
            body,
        }),
        RawResponse::CanisterHttpReject {
            reject_code,
            message,
        } => HttpAnswer::Reject {
            code: RejectCode::from_number(reject_code).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "reject code {reject_code} is not one of 1 to 6 (InvalidRejectCode({reject_code}))"
                ))
            })?,
            message,
        },
    })
}
