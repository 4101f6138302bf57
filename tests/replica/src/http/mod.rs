//! HTTP in front of an instance: the IC interface, canisters' own pages, and the gateway port.

pub mod api;
pub mod canister_http;
pub mod dispatch;
pub mod effective_id;
pub mod errors;
pub mod gateway;

use tokio::signal::unix::{SignalKind, signal};

/// Completes when the process is asked to stop by SIGINT or SIGTERM.
pub async fn shutdown_signal() {
    let wait = |kind: SignalKind| async move {
        match signal(kind) {
            Ok(mut received) => {
                received.recv().await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot listen for a signal, only the other one stops the server");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}
