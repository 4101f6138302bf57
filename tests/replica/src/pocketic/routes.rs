//! The table of routes, and those that belong to the server rather than to one instance.

use super::blobs::{BLOB_BYTES_MAX, BlobError};
use super::extract::{JsonBody, OfInstance, bounded, instance_id};
use super::server::Server;
use super::types::{
    BlobId, CreateHttpGatewayResponse, CreateInstanceResponse, HttpGatewayBackend,
    HttpGatewayConfig, HttpGatewayDetails, InstanceConfig, RawVerifyCanisterSigArg,
};
use super::{control, extensions, outcalls, read, snapshots, update};
use crate::certification::keys::raw_bls_key;
use crate::http::dispatch;
use crate::http::errors::ApiError;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use ic_signature_verification::verify_canister_sig;
use std::sync::Arc;
use tower_http::cors::CorsLayer;

/// Returns the router of a server: everything the protocol names, and a clear 404 for the rest.
pub fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/status/", get(status))
        .route("/instances", get(list_instances).post(create_instance))
        .route("/instances/", get(list_instances).post(create_instance))
        .route("/instances/{instance}", delete(delete_instance))
        .route("/instances/{instance}/", delete(delete_instance))
        .route("/blobstore", post(store_blob))
        .route("/blobstore/", post(store_blob))
        .route("/blobstore/{id}", get(read_blob))
        .route("/verify_signature", post(verify_signature))
        .route("/http_gateway", get(list_gateways).post(start_gateway))
        .route("/http_gateway/", get(list_gateways).post(start_gateway))
        .route("/http_gateway/{gateway}/stop", post(stop_gateway))
        .route("/read_graph/{label}/{op}", get(no_operation))
        .route("/prune_graph/{label}/{op}", delete(no_operation))
        .nest("/instances/{instance}", instance_routes())
        .fallback(not_found)
        .layer(CorsLayer::very_permissive())
        .with_state(server)
}

fn instance_routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/read/topology", get(read::topology))
        .route("/read/get_time", get(read::time))
        .route("/read/get_controllers", post(read::controllers))
        .route("/read/get_cycles", post(read::cycles))
        .route("/read/get_stable_memory", post(read::stable_memory))
        .route("/read/get_subnet", post(read::subnet))
        .route("/read/pub_key", post(read::public_key))
        .route("/read/query", post(read::query))
        .route("/read/ingress_status", post(read::ingress_status))
        .route("/read/get_canister_http", get(outcalls::list))
        .route("/update/submit_ingress_message", post(update::submit))
        .route("/update/await_ingress_message", post(update::await_answer))
        .route("/update/add_cycles", post(update::add_cycles))
        .route("/update/set_stable_memory", post(update::set_stable_memory))
        .route("/update/set_time", post(update::set_time))
        .route("/update/set_certified_time", post(update::set_time))
        .route("/update/tick", post(update::tick))
        .route("/update/delete_subnet", post(update::delete_subnet))
        .route("/update/mock_canister_http", post(outcalls::mock))
        .route(
            "/update/mock_flexible_canister_http",
            post(outcalls::mock_flexible),
        )
        .route(
            "/update/canister_snapshot_download",
            post(snapshots::download),
        )
        .route("/update/canister_snapshot_upload", post(snapshots::upload))
        .route(
            "/auto_progress",
            get(update::auto_progress).post(update::start_auto_progress),
        )
        .route("/stop_progress", post(update::stop_auto_progress))
        .route("/_/topology", get(read::topology))
        .route("/api/{*path}", axum::routing::any(ic_interface))
        .route("/millrace/usage/{canister}", get(extensions::usage))
        .route("/millrace/metrics/{subnet}", get(extensions::metrics))
        .route("/millrace/checkpoint", post(extensions::checkpoint))
        .route("/millrace/restart", post(control::restart))
        .route(
            "/millrace/faults",
            get(control::faults)
                .post(control::inject)
                .delete(control::clear_faults),
        )
        .route(
            "/millrace/limits",
            get(control::limits).post(control::set_limits),
        )
        .route(
            "/millrace/consensus/{subnet}",
            get(control::consensus_calls).post(control::answer_consensus_call),
        )
        .route(
            "/millrace/consensus/{subnet}/keep/{rounds}",
            post(control::keep_consensus_queue),
        )
}

async fn status() -> &'static str {
    "OK"
}

async fn list_instances(State(server): State<Arc<Server>>) -> Json<Vec<String>> {
    Json(server.instances.list())
}

async fn create_instance(
    State(server): State<Arc<Server>>,
    JsonBody(config): JsonBody<InstanceConfig>,
) -> Response {
    match server.create_instance(config, false).await {
        Ok((instance_id, topology, http_gateway_info)) => (
            StatusCode::CREATED,
            Json(CreateInstanceResponse::Created {
                instance_id,
                topology,
                http_gateway_info,
            }),
        )
            .into_response(),
        Err(ApiError { status, message }) => {
            (status, Json(CreateInstanceResponse::Error { message })).into_response()
        }
    }
}

async fn delete_instance(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Json<()>, ApiError> {
    let id = instance_id(&id)?;
    let instance = server.instances.remove(id)?;
    server.gateways.stop_for_instance(id);
    instance.delete().await?;
    Ok(Json(()))
}

async fn store_blob(
    State(server): State<Arc<Server>>,
    request: Request,
) -> Result<String, ApiError> {
    let gzip = match request.headers().get(header::CONTENT_ENCODING) {
        None => false,
        Some(encoding) if encoding == "gzip" => true,
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "bad encoding {other:?} of the blob, only gzip is supported"
            )));
        }
    };
    let body = bounded(request.into_body(), BLOB_BYTES_MAX).await?;
    let stored = tokio::task::spawn_blocking(move || server.blobs.insert(body.into(), gzip))
        .await
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    match stored {
        Ok(id) => Ok(hex::encode(id.0)),
        Err(e @ BlobError::NotGzip(_)) => Err(ApiError::bad_request(e.to_string())),
        Err(e) => Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, e.to_string())),
    }
}

async fn read_blob(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Vec<u8>, ApiError> {
    let bytes = hex::decode(&id)
        .map_err(|e| ApiError::bad_request(format!("blob id {id:?} is not hexadecimal: {e}")))?;
    server
        .blobs
        .get(&BlobId(bytes))
        .map(|blob| blob.to_vec())
        .ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, format!("blob {id} does not exist")))
}

/// Verifies on a blocking thread: pairings take milliseconds.
async fn verify_signature(
    JsonBody(arg): JsonBody<RawVerifyCanisterSigArg>,
) -> Result<Json<Result<(), String>>, ApiError> {
    tokio::task::spawn_blocking(move || match raw_bls_key(&arg.root_pubkey) {
        Some(root_key) => verify_canister_sig(&arg.msg, &arg.sig, &arg.pubkey, root_key),
        None => Err(format!(
            "root_pubkey {} is not a DER-encoded BLS key",
            hex::encode(&arg.root_pubkey)
        )),
    })
    .await
    .map(Json)
    .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

async fn list_gateways(State(server): State<Arc<Server>>) -> Json<Vec<HttpGatewayDetails>> {
    Json(server.gateways.list())
}

async fn start_gateway(
    State(server): State<Arc<Server>>,
    JsonBody(config): JsonBody<HttpGatewayConfig>,
) -> Response {
    let instance = match &config.forward_to {
        HttpGatewayBackend::PocketIcInstance(id) => server.instances.get(*id),
        HttpGatewayBackend::Replica(url) => Err(ApiError::bad_request(format!(
            "a gateway in front of the replica {url} is not supported; forward to an instance of this server"
        ))),
    };
    let started = match instance {
        Ok(instance) => server.gateways.start(config, instance).await,
        Err(error) => Err(error),
    };
    match started {
        Ok(info) => (
            StatusCode::CREATED,
            Json(CreateHttpGatewayResponse::Created(info)),
        )
            .into_response(),
        Err(ApiError { status, message }) => {
            (status, Json(CreateHttpGatewayResponse::Error { message })).into_response()
        }
    }
}

async fn stop_gateway(
    State(server): State<Arc<Server>>,
    Path(id): Path<String>,
) -> Result<Json<()>, ApiError> {
    server.gateways.stop(instance_id(&id)?)?;
    Ok(Json(()))
}

/// Every operation is answered when it is done, so no client ever has one to poll for.
async fn no_operation(Path((label, op)): Path<(String, String)>) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        format!("there is no pending operation {label}/{op}: this server answers synchronously"),
    )
}

async fn ic_interface(
    OfInstance(instance): OfInstance,
    Path((_, path)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    dispatch::answer(&instance, parts.method, &path, body).await
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        format!("{} is not a route of this PocketIC server", uri.path()),
    )
}
