//! The registry of a server's HTTP gateways.

use super::activity::Activity;
use super::types::{
    HttpGatewayBackend, HttpGatewayConfig, HttpGatewayDetails, HttpGatewayInfo, InstanceId,
};
use crate::http::errors::ApiError;
use crate::http::gateway::{Gateway, GatewayState};
use crate::instance::Instance;
use axum::http::StatusCode;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most gateways a server starts in its life.
const GATEWAYS_MAX: usize = 100_000;
/// Most host names of one gateway.
const DOMAINS_MAX: usize = 64;

/// Gateways by id. Stopped ones leave an empty place.
pub struct Gateways {
    activity: Arc<Activity>,
    slots: Mutex<Vec<Option<Running>>>,
}

struct Running {
    gateway: Gateway,
    backend: InstanceId,
    domains: Option<Vec<String>>,
}

impl Gateways {
    /// Returns an empty registry; requests to its gateways count as `activity`.
    pub fn new(activity: Arc<Activity>) -> Self {
        Self {
            activity,
            slots: Mutex::default(),
        }
    }

    /// Starts a gateway for `instance`.
    ///
    /// # Errors
    /// HTTP 400 with what is not supported, or why the port cannot be bound.
    pub async fn start(
        &self,
        config: HttpGatewayConfig,
        instance: Arc<Instance>,
    ) -> Result<HttpGatewayInfo, ApiError> {
        let HttpGatewayBackend::PocketIcInstance(backend) = config.forward_to else {
            return Err(ApiError::bad_request(
                "a gateway in front of another replica is not supported; forward to an instance of this server",
            ));
        };
        if config.https_config.is_some() {
            return Err(ApiError::bad_request(
                "https_config is not supported by this replica; leave it out or put a TLS proxy in front",
            ));
        }
        let ip = match &config.ip_addr {
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(text) => text.parse().map_err(|e| {
                ApiError::bad_request(format!("ip_addr {text:?} is not an IP address: {e}"))
            })?,
        };
        let domains = config.domains.clone().unwrap_or_default();
        if domains.len() > DOMAINS_MAX {
            return Err(ApiError::bad_request(format!(
                "{} domains, at most {DOMAINS_MAX} are supported",
                domains.len()
            )));
        }
        let served = if domains.is_empty() {
            vec!["localhost".to_owned()]
        } else {
            domains
        };
        let state = GatewayState {
            instance,
            domains: served.into(),
        };
        let port = config.port.unwrap_or(0);
        let gateway = Gateway::start(state, self.activity.clone(), ip, port)
            .await
            .map_err(|e| {
                ApiError::bad_request(format!("failed to bind to address {ip}:{port}: {e}"))
            })?;
        let port = gateway.address().port();
        let mut slots = self.slots();
        if slots.len() >= GATEWAYS_MAX {
            return Err(ApiError::bad_request(format!(
                "this server has started {GATEWAYS_MAX} gateways, restart it for more"
            )));
        }
        slots.push(Some(Running {
            gateway,
            backend,
            domains: config.domains,
        }));
        Ok(HttpGatewayInfo {
            instance_id: slots.len() - 1,
            port,
        })
    }

    /// Stops a gateway.
    ///
    /// # Errors
    /// HTTP 404 when it does not run.
    pub fn stop(&self, id: InstanceId) -> Result<(), ApiError> {
        let running = self.slots().get_mut(id).and_then(Option::take);
        match running {
            Some(running) => {
                running.gateway.stop();
                Ok(())
            }
            None => Err(ApiError::new(
                StatusCode::NOT_FOUND,
                format!("gateway {id} does not exist or was stopped"),
            )),
        }
    }

    /// Stops every gateway in front of this instance.
    pub fn stop_for_instance(&self, backend: InstanceId) {
        for slot in self.slots().iter_mut() {
            if let Some(running) = slot.take_if(|running| running.backend == backend) {
                running.gateway.stop();
            }
        }
    }

    /// Returns the running gateways.
    pub fn list(&self) -> Vec<HttpGatewayDetails> {
        self.slots()
            .iter()
            .enumerate()
            .filter_map(|(id, slot)| {
                let running = slot.as_ref()?;
                Some(HttpGatewayDetails {
                    instance_id: id,
                    port: running.gateway.address().port(),
                    forward_to: HttpGatewayBackend::PocketIcInstance(running.backend),
                    domains: running.domains.clone(),
                    https_config: None,
                })
            })
            .collect()
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Option<Running>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
