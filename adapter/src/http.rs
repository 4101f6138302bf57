//! What a running adapter serves over HTTP: `/metrics`, `/healthz`, `/status`, `/peers`.
//!
//! All of it is read from a [`Snapshot`] that the parts of the adapter publish through an [`Observer`]; a
//! request never waits for them. Requests have no body, and answers are a few kilobytes.

mod client;
mod health;
mod listener;
mod metrics;
mod observer;
mod snapshot;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use listener::{BoundedListener, CONNECTION_TIME};

pub use client::{ClientError, fetch};
pub use health::Health;
pub use listener::CONNECTIONS_MAX;
pub use metrics::render;
pub use observer::Observer;
pub use snapshot::{About, Counters, PeerRow, PeerTable, RelayCounters, Snapshot};

/// The type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What there is, for whoever asks for something else.
const INDEX: &str = "Millrace adapter: /metrics, /healthz, /status, /peers\n";

/// Why nothing can be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The system does not let us listen there.
    #[error(
        "cannot listen at metrics_address {address}: {reason}; choose another port, or stop what uses it"
    )]
    Refused {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        reason: String,
    },
}

/// Listens at an address.
///
/// # Errors
/// [`BindError`] names the address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| BindError::Refused {
        address,
        reason: error.to_string(),
    })
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, observer: Observer) {
    let listener = BoundedListener::new(listener, CONNECTION_TIME);
    // It only ends by an error of its own, which it handles itself.
    let _ = axum::serve(listener, router(observer)).await;
}

fn router(observer: Observer) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/status", get(status))
        .route("/peers", get(peers))
        .fallback(async || (StatusCode::NOT_FOUND, INDEX))
        .with_state(observer)
        .layer(axum::middleware::map_response(close))
}

/// Ends the connection after each answer, so that few connections serve many clients.
async fn close(mut response: Response) -> Response {
    let close = header::HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

async fn metrics(State(observer): State<Observer>) -> impl IntoResponse {
    let text = metrics::render(&observer.snapshot(), observer.elapsed());
    ([(header::CONTENT_TYPE, METRICS_TYPE)], text)
}

async fn healthz(State(observer): State<Observer>) -> impl IntoResponse {
    let health = Health::of(&observer.snapshot(), observer.elapsed());
    let code = if health.is_healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, format!("{}\n", health.line))
}

async fn status(State(observer): State<Observer>) -> impl IntoResponse {
    Json(observer.snapshot().to_json(observer.elapsed()))
}

async fn peers(State(observer): State<Observer>) -> impl IntoResponse {
    Json(observer.snapshot().peers_json())
}
