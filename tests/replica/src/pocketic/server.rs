//! Everything one server process holds, and its life: listen, serve, stop when idle.

use super::activity::{self, Activity};
use super::blobs::BlobStore;
use super::gateways::Gateways;
use super::instances::Instances;
use super::topology;
use super::types::{
    HttpGatewayBackend, HttpGatewayConfig, HttpGatewayInfo, InstanceConfig, InstanceId, Topology,
};
use crate::http::errors::ApiError;
use crate::instance::config;
use axum::Router;
use axum::middleware::from_fn_with_state;
use millrace_subnet::LimitsConfig;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// How often the idle time is looked at.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How long instances may take to finish their operations and checkpoints when the server stops.
const SHUT_DOWN_TIMEOUT: Duration = Duration::from_secs(120);

/// The same at the end of a server's total lifetime, which is a hard end.
const HARD_SHUT_DOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The state of a server.
pub struct Server {
    /// Its instances.
    pub instances: Instances,
    /// Uploaded blobs.
    pub blobs: BlobStore,
    /// Gateways in front of instances.
    pub gateways: Gateways,
    activity: Arc<Activity>,
    engine: millrace_vm::Engine,
    limits: LimitsConfig,
}

/// When a server stops by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lifetime {
    /// After this long without a request.
    pub idle: Option<Duration>,
    /// After this long in any case.
    pub total: Option<Duration>,
}

impl Server {
    /// Returns a server without instances. All of them share the engine's cache of compiled modules
    /// and run under `limits`.
    pub fn new(engine: millrace_vm::Engine, limits: LimitsConfig) -> Arc<Self> {
        let activity = Arc::new(Activity::new(Instant::now()));
        Arc::new(Self {
            instances: Instances::default(),
            blobs: BlobStore::default(),
            gateways: Gateways::new(activity.clone()),
            activity,
            engine,
            limits,
        })
    }

    /// Creates an instance, with its gateway when the configuration asks for one. `pinned` protects
    /// it against deletion over HTTP.
    ///
    /// # Errors
    /// [`ApiError`] naming what is not supported or cannot be loaded; nothing stays behind.
    pub async fn create_instance(
        &self,
        config: InstanceConfig,
        pinned: bool,
    ) -> Result<(InstanceId, Topology, Option<HttpGatewayInfo>), ApiError> {
        let gateway = config.http_gateway_config.clone();
        let instance = config::create(config, self.engine.clone(), self.limits.clone()).await?;
        let topology = topology::read(&instance).await?;
        let id = self.instances.add(instance.clone(), pinned)?;
        let Some(gateway) = gateway else {
            return Ok((id, topology, None));
        };
        let started = self
            .gateways
            .start(
                HttpGatewayConfig {
                    ip_addr: gateway.ip_addr,
                    port: gateway.port,
                    forward_to: HttpGatewayBackend::PocketIcInstance(id),
                    domains: gateway.domains,
                    https_config: gateway.https_config,
                },
                instance,
            )
            .await;
        match started {
            Ok(info) => Ok((id, topology, Some(info))),
            Err(error) => {
                if let Ok(instance) = self.instances.remove(id) {
                    instance.delete().await?;
                }
                Err(error)
            }
        }
    }

    /// Serves `router` until the lifetime ends or `stop` is done, then deletes all instances, which
    /// writes the checkpoints of those with a state folder. `ended` runs between the two, as soon as
    /// nothing listens any more: what tells clients of this server has to go then.
    ///
    /// # Errors
    /// The system's, when serving fails.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        router: Router,
        lifetime: Lifetime,
        stop: impl Future<Output = ()> + Send + 'static,
        ended: impl FnOnce(),
    ) -> std::io::Result<()> {
        let router = router.layer(from_fn_with_state(
            self.activity.clone(),
            activity::count_request,
        ));
        let lifetime_end = lifetime_end(self.clone(), lifetime);
        let serving = axum::serve(listener, router);
        // Not the graceful form: idle keep-alive connections of clients must not hold the server.
        let mut patience = SHUT_DOWN_TIMEOUT;
        let served = tokio::select! {
            served = serving.into_future() => served,
            end = lifetime_end => {
                if end == Ended::Total {
                    patience = HARD_SHUT_DOWN_TIMEOUT;
                }
                Ok(())
            }
            () = stop => Ok(()),
        };
        ended();
        if tokio::time::timeout(patience, self.shut_down())
            .await
            .is_err()
        {
            tracing::error!(
                "an instance did not finish in time, its last checkpoint may be missing"
            );
        }
        served
    }

    async fn shut_down(&self) {
        for instance in self.instances.take_all() {
            if let Err(error) = instance.delete().await {
                tracing::error!(%error, "the last checkpoint was not written");
            }
        }
    }
}

/// Which end of its lifetime a server has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Idle,
    Total,
}

async fn lifetime_end(server: Arc<Server>, lifetime: Lifetime) -> Ended {
    let start = Instant::now();
    loop {
        tokio::time::sleep(IDLE_CHECK_INTERVAL).await;
        let now = Instant::now();
        if lifetime.total.is_some_and(|ttl| now - start >= ttl) {
            return Ended::Total;
        }
        if lifetime
            .idle
            .is_some_and(|ttl| server.activity.idle_for(ttl, now))
        {
            return Ended::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pocketic::types::{SubnetConfigSet, SubnetSpec};

    #[tokio::test]
    async fn clients_are_told_that_the_server_ends_before_the_last_checkpoints() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let state_dir = dir.path().join("state");
        let engine =
            millrace_vm::Engine::new(millrace_vm::EngineOptions::default()).expect("an engine");
        let server = Server::new(engine, LimitsConfig::default());
        let config = InstanceConfig {
            subnet_config_set: SubnetConfigSet {
                application: vec![SubnetSpec::default()],
                ..SubnetConfigSet::default()
            },
            state_dir: Some(state_dir.clone()),
            ..InstanceConfig::default()
        };
        server
            .create_instance(config, false)
            .await
            .expect("created");
        let current = state_dir.join("current");
        assert!(!current.exists(), "no checkpoint yet");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let mut checkpoint_then = None;
        let lifetime = Lifetime::default();
        let stop = std::future::ready(());
        server
            .serve(listener, Router::new(), lifetime, stop, || {
                checkpoint_then = Some(current.exists());
            })
            .await
            .expect("served");
        assert_eq!(checkpoint_then, Some(false));
        assert!(current.exists(), "the last checkpoint");
    }
}
