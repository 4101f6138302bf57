//! `update/canister_snapshot_download` and `update/canister_snapshot_upload`: snapshots in folders of the
//! server's file system.

use super::base64_bytes;
use super::extract::{JsonBody, OfInstance};
use super::types::{RawCanisterId, RawPrincipalId};
use crate::http::errors::ApiError;
use axum::Json;
use candid::Principal;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Body of `update/canister_snapshot_download`.
#[derive(Debug, Deserialize)]
pub struct RawSnapshotDownload {
    sender: RawPrincipalId,
    canister_id: RawCanisterId,
    #[serde(with = "base64_bytes")]
    snapshot_id: Vec<u8>,
    snapshot_dir: PathBuf,
}

/// Body of `update/canister_snapshot_upload`.
#[derive(Debug, Deserialize)]
pub struct RawSnapshotUpload {
    sender: RawPrincipalId,
    canister_id: RawCanisterId,
    replace_snapshot: Option<RawSnapshotId>,
    snapshot_dir: PathBuf,
}

/// Id of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub struct RawSnapshotId {
    #[serde(with = "base64_bytes")]
    snapshot_id: Vec<u8>,
}

/// `POST update/canister_snapshot_download`
pub async fn download(
    OfInstance(instance): OfInstance,
    JsonBody(raw): JsonBody<RawSnapshotDownload>,
) -> Result<Json<()>, ApiError> {
    let sender = Principal::try_from(raw.sender).map_err(ApiError::bad_request)?;
    let canister = Principal::try_from(raw.canister_id).map_err(ApiError::bad_request)?;
    instance
        .run(move |network| {
            network.download_snapshot(&sender, &canister, &raw.snapshot_id, &raw.snapshot_dir)
        })
        .await??;
    Ok(Json(()))
}

/// `POST update/canister_snapshot_upload`
pub async fn upload(
    OfInstance(instance): OfInstance,
    JsonBody(raw): JsonBody<RawSnapshotUpload>,
) -> Result<Json<RawSnapshotId>, ApiError> {
    let sender = Principal::try_from(raw.sender).map_err(ApiError::bad_request)?;
    let canister = Principal::try_from(raw.canister_id).map_err(ApiError::bad_request)?;
    let replaced = raw.replace_snapshot.map(|id| id.snapshot_id);
    let snapshot_id = instance
        .change(move |network| {
            network.upload_snapshot(&sender, &canister, replaced.as_deref(), &raw.snapshot_dir)
        })
        .await??;
    Ok(Json(RawSnapshotId { snapshot_id }))
}
