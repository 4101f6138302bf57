//! The gateway of one instance: a port that serves the IC HTTP interface, canisters by host name or
//! `?canisterId=`, and the topology.

use super::errors::TextError;
use super::{canister_http, dispatch};
use crate::instance::Instance;
use crate::pocketic::activity::{self, Activity};
use crate::pocketic::topology;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use candid::Principal;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_http::cors::CorsLayer;

/// A running gateway. Dropping it stops the listener.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

/// What a gateway serves.
#[derive(Clone)]
pub struct GatewayState {
    /// The instance behind it.
    pub instance: Arc<Instance>,
    /// Host names under which canisters appear as `<canister id>.<domain>`.
    pub domains: Arc<[String]>,
}

impl Gateway {
    /// Binds the port (0 for any) and serves until dropped. Its requests count as the server's
    /// `activity`, so that an idle server does not stop under a busy gateway.
    ///
    /// # Errors
    /// The system's, when the address cannot be bound.
    pub async fn start(
        state: GatewayState,
        activity: Arc<Activity>,
        ip: IpAddr,
        port: u16,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((ip, port)).await?;
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(false);
        let router = Router::new()
            .fallback(serve)
            .layer(CorsLayer::very_permissive())
            .layer(from_fn_with_state(activity, activity::count_request))
            .with_state(state);
        tokio::spawn(async move {
            let served = axum::serve(listener, router)
                .with_graceful_shutdown(async move {
                    // An error means that the gateway was dropped, which asks for the same.
                    let _ = stopped.wait_for(|stop| *stop).await;
                })
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the gateway stopped");
            }
        });
        Ok(Self { address, stop })
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting connections.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

async fn serve(State(state): State<GatewayState>, request: Request) -> Response {
    match answer(&state, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

/// Answers a request to the gateway port.
///
/// # Errors
/// [`TextError`] when the request names no canister, or the canister cannot answer.
pub async fn answer(state: &GatewayState, request: Request<Body>) -> Result<Response, TextError> {
    let path = request.uri().path();
    if let Some(api_path) = path.strip_prefix("/api/") {
        let api_path = api_path.to_owned();
        let (parts, body) = request.into_parts();
        return Ok(dispatch::answer(&state.instance, parts.method, &api_path, body).await);
    }
    match canister_of(&request, &state.domains)? {
        Some(canister_id) => canister_http::answer(&state.instance, canister_id, request).await,
        None if path == "/_/topology" => {
            let topology = topology::read(&state.instance).await?;
            Ok(axum::Json(topology).into_response())
        }
        None => Err(TextError::new(
            StatusCode::BAD_REQUEST,
            format!(
                "{path} names no canister; use http://<canister id>.{}:<port>/ or ?canisterId=<canister id>, \
                 or /api/v2/status for the IC HTTP interface",
                state.domains.first().map_or("localhost", String::as_str)
            ),
        )),
    }
}

/// Returns the canister that the host name or the query string names.
///
/// # Errors
/// HTTP 400 when `canisterId` is there and is not a principal.
pub fn canister_of(
    request: &Request<Body>,
    domains: &[String],
) -> Result<Option<Principal>, TextError> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().host());
    if let Some(id) = host.and_then(|host| canister_of_host(host, domains)) {
        return Ok(Some(id));
    }
    let query = request.uri().query().unwrap_or_default();
    let Some(text) = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("canisterId="))
    else {
        return Ok(None);
    };
    Principal::from_text(text).map(Some).map_err(|e| {
        TextError::new(
            StatusCode::BAD_REQUEST,
            format!("canisterId={text:?} is not a canister id: {e}"),
        )
    })
}

fn canister_of_host(host: &str, domains: &[String]) -> Option<Principal> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    domains.iter().find_map(|domain| {
        let label = name.strip_suffix(domain.as_str())?.strip_suffix('.')?;
        // "raw" hosts ask for uncertified content, which is all there is here.
        let label = label.strip_suffix(".raw").unwrap_or(label);
        Principal::from_text(label).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canister_is_named_by_host_or_query() {
        let id = "ryjl3-tyaaa-aaaaa-aaaba-cai";
        let domains = ["localhost".to_owned(), "example.com".to_owned()];
        let cases = [
            (format!("{id}.localhost:4943"), "/".to_owned(), Ok(true)),
            (format!("{id}.localhost"), "/a?b=c".to_owned(), Ok(true)),
            (format!("{id}.raw.example.com"), "/".to_owned(), Ok(true)),
            (
                "127.0.0.1:80".to_owned(),
                format!("/x?y=1&canisterId={id}"),
                Ok(true),
            ),
            ("localhost:80".to_owned(), "/".to_owned(), Ok(false)),
            (format!("{id}.elsewhere.org"), "/".to_owned(), Ok(false)),
            (
                "not-a-canister.localhost".to_owned(),
                "/".to_owned(),
                Ok(false),
            ),
            (
                "localhost".to_owned(),
                "/?canisterId=junk".to_owned(),
                Err(()),
            ),
        ];
        for (host, uri, expected) in cases {
            let request = Request::builder()
                .uri(&uri)
                .header(header::HOST, &host)
                .body(Body::empty())
                .expect("a request");
            let found = canister_of(&request, &domains).map_err(|_| ());
            let expected =
                expected.map(|named| named.then(|| Principal::from_text(id).expect("id")));
            assert_eq!(found, expected, "{host}{uri}");
        }
    }
}
