//! Routes under `/instances/<id>/millrace/` that PocketIC does not have, for tests and benchmarks:
//!
//! - `GET usage/<canister id>?since=<sequence>`: what the canister's latest messages consumed:
//!   `{"next_sequence": n, "records": [{"sequence", "round", "time_ns", "kind", "method",
//!   "instructions", "heap_pages_dirtied", "stable_pages_dirtied", "stable_pages_read",
//!   "system_calls", "succeeded"}]}`; pages have 4 KiB. Old records are dropped.
//! - `GET metrics/<subnet id>`: rounds, heap delta and other figures of a subnet.
//! - Faults, limits, the consensus queue and restarts: see [`super::control`].
//! - `POST checkpoint`: writes a checkpoint of the state folder now; answers whether there is one.

use super::extract::OfInstance;
use crate::http::errors::ApiError;
use axum::Json;
use axum::extract::{Path, Query};
use candid::Principal;
use millrace_subnet::UsageRecord;
use serde::{Deserialize, Serialize};

/// Query string of `usage`.
#[derive(Debug, Deserialize)]
pub struct Since {
    /// Lowest sequence number wanted.
    #[serde(default)]
    since: u64,
}

/// Answer of `usage`.
#[derive(Debug, Serialize)]
pub struct UsageAnswer {
    /// What to ask for next time as `since`.
    next_sequence: u64,
    /// Oldest first.
    records: Vec<UsageRecord>,
}

/// Answer of `metrics`.
#[derive(Debug, Serialize)]
pub struct MetricsAnswer {
    num_canisters: u64,
    canister_state_bytes: u64,
    consumed_cycles_total: u128,
    update_transactions_total: u64,
    rounds: u64,
    rounds_skipped_by_heap_delta: u64,
    heap_delta_bytes: u64,
    consensus_queue_items: u64,
    consensus_items_left_total: u64,
}

/// `GET millrace/usage/<canister id>`
pub async fn usage(
    OfInstance(instance): OfInstance,
    Path((_, canister)): Path<(String, String)>,
    Query(Since { since }): Query<Since>,
) -> Result<Json<UsageAnswer>, ApiError> {
    let id = principal(&canister)?;
    let answer = instance
        .run(move |network| {
            network.canister(&id).map(|canister| {
                let usage = canister.usage();
                UsageAnswer {
                    next_sequence: usage.next_sequence(),
                    records: usage.since(since).cloned().collect(),
                }
            })
        })
        .await??;
    Ok(Json(answer))
}

/// `GET millrace/metrics/<subnet id>`
pub async fn metrics(
    OfInstance(instance): OfInstance,
    Path((_, subnet)): Path<(String, String)>,
) -> Result<Json<MetricsAnswer>, ApiError> {
    let id = principal(&subnet)?;
    let metrics = instance
        .run(move |network| network.subnet_metrics(&id))
        .await??;
    Ok(Json(MetricsAnswer {
        num_canisters: metrics.num_canisters,
        canister_state_bytes: metrics.canister_state_bytes,
        consumed_cycles_total: metrics.consumed_cycles_total,
        update_transactions_total: metrics.update_transactions_total,
        rounds: metrics.rounds,
        rounds_skipped_by_heap_delta: metrics.rounds_skipped_by_heap_delta,
        heap_delta_bytes: metrics.heap_delta_bytes,
        consensus_queue_items: metrics.consensus_queue_items,
        consensus_items_left_total: metrics.consensus_items_left_total,
    }))
}

/// `POST millrace/checkpoint`
pub async fn checkpoint(OfInstance(instance): OfInstance) -> Result<Json<bool>, ApiError> {
    Ok(Json(instance.checkpoint(true).await?))
}

/// Reads a principal of the URL.
///
/// # Errors
/// HTTP 400 naming the text.
pub fn principal(text: &str) -> Result<Principal, ApiError> {
    Principal::from_text(text)
        .map_err(|e| ApiError::bad_request(format!("{text:?} is not a principal: {e}")))
}
