//! All subnets of one instance: one clock, one routing table.

use crate::admission::check_method_name;
use crate::error::{ErrorCode, NetworkError, UserError};
use crate::ingress::{EffectivePrincipal, Ingress, IngressState, IngressStatus, MessageId, Query};
use crate::limits::LimitsConfig;
use crate::management::query_management;
use crate::query::User;
use crate::routing::{Routing, specified_id};
use crate::run::Env;
use crate::subnet::Subnet;
use crate::topology::{
    CanisterId, CanisterRange, SubnetId, SubnetKind, SubnetSpec, Topology, mainnet_home,
};
use crate::view::{CanisterView, SubnetMetrics};
use candid::Principal;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The latest time a network can be set to, in ns since 1970: the year 2262. What is computed from a
/// time (the next round's, deadlines, expiries) then fits 64 bits.
const TIME_NS_MAX: u64 = i64::MAX as u64;

/// Signs what canisters certify.
pub trait Certifier: Send + Sync {
    /// Returns the certificate that `ic0.data_certificate` gives a query, or `None` when there is none.
    ///
    /// `certified_data` is empty for a canister that never set any.
    fn data_certificate(
        &self,
        subnet: &SubnetId,
        canister: &CanisterId,
        certified_data: &[u8],
        time_ns: u64,
    ) -> Option<Vec<u8>>;

    /// Returns the DER-encoded public key of the root subnet, as `ic0.root_key` gives it.
    fn root_key(&self) -> Vec<u8>;
}

/// What a network is made of.
pub struct NetworkConfig {
    /// Subnets; at least one.
    pub subnets: Vec<SubnetSpec>,
    /// Time of the first round, in ns since 1970.
    pub time_ns: u64,
    /// Executes messages.
    pub engine: millrace_vm::Engine,
    /// Limits.
    pub limits: LimitsConfig,
    /// Signer of certified data.
    pub certifier: Arc<dyn Certifier>,
}

/// The subnets of one instance.
pub struct Network {
    pub(crate) env: Env,
    pub(crate) limits: LimitsConfig,
    pub(crate) subnets: BTreeMap<SubnetId, Subnet>,
    /// Time of the latest round; rounds never share a time.
    pub(crate) last_round_ns: u64,
    /// Messages submitted without an id so far, which tells them apart.
    pub(crate) unnamed_messages: u64,
}

impl Network {
    /// Returns a network without canisters.
    ///
    /// # Errors
    /// [`NetworkError::InvalidSubnet`] when there is no subnet, or ids or ranges overlap;
    /// [`NetworkError::TimeTooLate`].
    pub fn new(config: NetworkConfig) -> Result<Self, NetworkError> {
        if config.time_ns > TIME_NS_MAX {
            return Err(NetworkError::TimeTooLate {
                requested_ns: config.time_ns,
                limit_ns: TIME_NS_MAX,
            });
        }
        if config.subnets.is_empty() {
            return Err(NetworkError::InvalidSubnet(
                "a network needs at least one subnet".into(),
            ));
        }
        let root_key = Arc::from(config.certifier.root_key());
        let mut network = Self {
            env: Env {
                engine: config.engine,
                certifier: config.certifier,
                root_key,
                time_ns: config.time_ns,
                routing: Routing::default(),
            },
            limits: config.limits,
            subnets: BTreeMap::new(),
            last_round_ns: 0,
            unnamed_messages: 0,
        };
        for spec in config.subnets {
            network.add_subnet(spec)?;
        }
        Ok(network)
    }

    /// Adds a subnet.
    ///
    /// # Errors
    /// [`NetworkError::InvalidSubnet`] when its id or a range is taken.
    pub fn add_subnet(&mut self, spec: SubnetSpec) -> Result<(), NetworkError> {
        let invalid = |reason: String| Err(NetworkError::InvalidSubnet(reason));
        if spec.ranges.is_empty() {
            return invalid(format!("subnet {} owns no canister ids", spec.id));
        }
        if self.env.routing.has_subnet(&spec.id) {
            return invalid(format!("subnet {} exists already", spec.id));
        }
        for other in &self.env.routing.subnets {
            for range in &spec.ranges {
                if let Some(taken) = other.ranges.iter().find(|taken| taken.overlaps(range)) {
                    return invalid(format!(
                        "range {} to {} belongs to subnet {}",
                        taken.first(),
                        taken.last(),
                        other.id
                    ));
                }
            }
        }
        let subnet = Subnet::new(spec.clone(), &self.limits, self.env.time_ns);
        self.subnets.insert(spec.id, subnet);
        self.env.routing.subnets.push(spec);
        Ok(())
    }

    /// Returns the kind and ranges of the subnet that must be added before this message can be routed:
    /// the creation of a canister with a mainnet id that no subnet owns.
    #[must_use]
    pub fn subnet_wanted(&self, ingress: &Ingress) -> Option<(SubnetKind, Vec<CanisterRange>)> {
        let creates = ingress.canister_id == Principal::management_canister()
            && ingress.method == "provisional_create_canister_with_cycles";
        let id = match ingress.effective {
            EffectivePrincipal::CanisterId(id) if id != Principal::management_canister() => id,
            _ => specified_id(&ingress.payload)?,
        };
        if !creates || self.subnet_of(&id).is_some() {
            return None;
        }
        let (kind, ranges) = mainnet_home(&id)?;
        let free = |range: &CanisterRange| {
            let owns = |spec: &SubnetSpec| spec.ranges.iter().any(|taken| taken.overlaps(range));
            !self.env.routing.subnets.iter().any(owns)
        };
        ranges.iter().all(free).then_some((kind, ranges))
    }

    /// Returns the subnet that answers a message.
    ///
    /// # Errors
    /// `CanisterNotFound` ("does not belong to any subnet") or `SubnetNotFound`.
    pub fn route(
        &self,
        canister_id: &CanisterId,
        method: &str,
        payload: &[u8],
        effective: EffectivePrincipal,
    ) -> Result<SubnetId, UserError> {
        self.env
            .routing
            .route(canister_id, method, payload, effective)
    }

    /// Accepts an update call, or refuses it as the IC's ingress filter and `canister_inspect_message` would.
    /// A message id that is known already is accepted and not executed again.
    ///
    /// # Errors
    /// The reason of the refusal; nothing was stored.
    pub fn submit_ingress(&mut self, mut ingress: Ingress) -> Result<MessageId, UserError> {
        check_method_name(&ingress.method)?;
        let subnet_id = self.route(
            &ingress.canister_id,
            &ingress.method,
            &ingress.payload,
            ingress.effective,
        )?;
        let id = ingress
            .message_id
            .unwrap_or_else(|| self.fresh_message_id(&ingress));
        if self.ingress_status(&id).is_some() {
            return Ok(id);
        }
        let now_ns = self.env.time_ns;
        let subnet = self.subnets.get_mut(&subnet_id).ok_or_else(|| {
            UserError::new(
                ErrorCode::SubnetNotFound,
                format!("Subnet {subnet_id} does not exist."),
            )
        })?;
        let limits = subnet.limits();
        let latest_ns = now_ns.saturating_add(limits.ingress_ttl_ns);
        let allowed_ns = latest_ns.saturating_add(limits.ingress_drift_ns);
        let expiry_ns = ingress.expiry_ns.unwrap_or(latest_ns);
        if expiry_ns < now_ns || expiry_ns > allowed_ns {
            return Err(UserError::new(
                ErrorCode::IngressMessageTimeout,
                format!(
                    "Invalid request expiry: Specified ingress_expiry not within expected range: \
                     Minimum allowed expiry: {now_ns}, Maximum allowed expiry: {allowed_ns}, \
                     Provided expiry: {expiry_ns}"
                ),
            ));
        }
        ingress.expiry_ns = Some(expiry_ns);
        ingress.message_id = Some(id);
        subnet.admit(&self.env, id, ingress)?;
        Ok(id)
    }

    fn fresh_message_id(&mut self, ingress: &Ingress) -> MessageId {
        self.unnamed_messages += 1;
        let mut hash = Sha256::new();
        hash.update(b"millrace unnamed ingress");
        hash.update(self.unnamed_messages.to_be_bytes());
        hash.update(self.env.time_ns.to_be_bytes());
        hash.update(ingress.sender.as_slice());
        hash.update(ingress.canister_id.as_slice());
        hash.update(ingress.method.as_bytes());
        MessageId(hash.finalize().into())
    }

    /// Returns the status of a message; `None` when it is unknown or forgotten.
    #[must_use]
    pub fn ingress_status(&self, id: &MessageId) -> Option<&IngressStatus> {
        self.subnets
            .values()
            .find_map(|subnet| subnet.state.history.get(id))
    }

    /// Executes rounds until the message is answered, and returns the answer.
    ///
    /// # Errors
    /// [`NetworkError::NotAnswered`] after `rounds_max` rounds, [`NetworkError::UnknownIngress`],
    /// [`NetworkError::Crashed`].
    pub fn await_ingress(
        &mut self,
        id: &MessageId,
        rounds_max: u32,
    ) -> Result<Result<Vec<u8>, UserError>, NetworkError> {
        for round in 0..=rounds_max {
            let status = self
                .ingress_status(id)
                .ok_or_else(|| NetworkError::UnknownIngress(id.to_string()))?;
            match &status.state {
                IngressState::Replied(bytes) => return Ok(Ok(bytes.clone())),
                IngressState::Rejected(error) => return Ok(Err(error.clone())),
                IngressState::Received | IngressState::Processing if round < rounds_max => {
                    self.tick()?;
                }
                _ => {}
            }
        }
        Err(NetworkError::NotAnswered {
            message: id.to_string(),
            rounds: rounds_max,
        })
    }

    /// Executes a query (or composite query) without replication.
    ///
    /// Changes nothing but the usage records and the query statistics.
    ///
    /// # Errors
    /// The rejection.
    pub fn query(&mut self, query: Query) -> Result<Vec<u8>, UserError> {
        let Query {
            sender,
            canister_id,
            method,
            payload,
            effective,
            caller_info,
        } = query;
        check_method_name(&method)?;
        let subnet_id = self.route(&canister_id, &method, &payload, effective)?;
        let subnet = self.subnets.get_mut(&subnet_id).ok_or_else(|| {
            UserError::new(
                ErrorCode::SubnetNotFound,
                format!("Subnet {subnet_id} does not exist."),
            )
        })?;
        if canister_id == Principal::management_canister() {
            query_management(subnet, &sender, &method, &payload)
        } else {
            let user = User {
                principal: sender,
                info: caller_info.as_ref(),
            };
            subnet.query(&self.env, user, canister_id, &method, &payload)
        }
    }

    /// Executes one round on every subnet. Time advances by 1 ns when nobody advanced it since the last round.
    ///
    /// # Errors
    /// [`NetworkError::Crashed`] when the replicas of a subnet crash in this round or did before; rounds of
    /// the other subnets are executed all the same.
    pub fn tick(&mut self) -> Result<(), NetworkError> {
        if self.env.time_ns <= self.last_round_ns {
            self.env.time_ns = self.last_round_ns + 1;
        }
        self.last_round_ns = self.env.time_ns;
        self.deliver_streams();
        for subnet in self.subnets.values_mut() {
            if subnet.state.crash.is_none() {
                subnet.execute_round(&self.env);
            }
        }
        match self.crash() {
            Some(crash) => Err(NetworkError::Crashed(Box::new(crash.clone()))),
            None => Ok(()),
        }
    }

    /// Returns whether a round would do any work besides time: a message waits, a timer or an
    /// outcall's time-out is due, or a running canister has a heartbeat.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.subnets.values().any(|subnet| {
            let state = &subnet.state;
            !state.pool.is_empty()
                || !state.outbox.is_empty()
                || !state.management_queue.is_empty()
                || !state.random_calls.is_empty()
                || !state.consensus_queue.is_empty()
                || !state.delayed_replies.is_empty()
                || subnet.has_expired_outcall(&self.env)
                || subnet.canisters.values().any(|canister| {
                    canister.has_work(self.env.time_ns)
                        || matches!(canister.status, crate::canister::Status::Stopping(_))
                })
        })
    }

    /// Returns the time, in ns since 1970.
    #[must_use]
    pub const fn time_ns(&self) -> u64 {
        self.env.time_ns
    }

    /// Moves the time forward; setting the current time is allowed.
    ///
    /// # Errors
    /// [`NetworkError::TimeInPast`], [`NetworkError::TimeTooLate`].
    pub const fn set_time_ns(&mut self, time_ns: u64) -> Result<(), NetworkError> {
        if time_ns > TIME_NS_MAX {
            return Err(NetworkError::TimeTooLate {
                requested_ns: time_ns,
                limit_ns: TIME_NS_MAX,
            });
        }
        if time_ns < self.env.time_ns {
            return Err(NetworkError::TimeInPast {
                requested_ns: time_ns,
                current_ns: self.env.time_ns,
            });
        }
        self.env.time_ns = time_ns;
        Ok(())
    }

    /// Returns the subnets and the default effective canister id.
    #[must_use]
    pub fn topology(&self) -> Topology {
        Topology {
            subnets: self.env.routing.subnets.clone(),
            default_effective_canister_id: self.env.routing.default_effective_canister_id(),
        }
    }

    /// Returns the subnet whose ranges contain the id, whether or not the canister exists.
    #[must_use]
    pub fn subnet_of(&self, id: &CanisterId) -> Option<SubnetId> {
        self.env.routing.subnet_of(id)
    }

    fn home(&self, id: &CanisterId) -> Result<&Subnet, NetworkError> {
        self.subnet_of(id)
            .and_then(|subnet| self.subnets.get(&subnet))
            .filter(|subnet| subnet.canisters.contains_key(id))
            .ok_or(NetworkError::CanisterNotFound(*id))
    }

    pub(crate) fn canister_mut(
        &mut self,
        id: &CanisterId,
    ) -> Result<&mut crate::canister::Canister, NetworkError> {
        self.subnet_of(id)
            .and_then(|subnet| self.subnets.get_mut(&subnet))
            .and_then(|subnet| subnet.canisters.get_mut(id))
            .ok_or(NetworkError::CanisterNotFound(*id))
    }

    pub(crate) fn subnet(&self, id: &SubnetId) -> Result<&Subnet, NetworkError> {
        self.subnets
            .get(id)
            .ok_or(NetworkError::SubnetNotFound(*id))
    }

    /// Returns a canister's readable state.
    ///
    /// # Errors
    /// [`NetworkError::CanisterNotFound`].
    pub fn canister(&self, id: &CanisterId) -> Result<CanisterView<'_>, NetworkError> {
        let subnet = self.home(id)?;
        let canister = subnet
            .canisters
            .get(id)
            .ok_or(NetworkError::CanisterNotFound(*id))?;
        Ok(CanisterView { subnet, canister })
    }

    /// Returns the canisters of a subnet in ascending order.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn canisters(&self, subnet: &SubnetId) -> Result<Vec<CanisterId>, NetworkError> {
        Ok(self.subnet(subnet)?.canisters.keys().copied().collect())
    }

    /// Adds cycles to a canister and returns its new balance.
    ///
    /// # Errors
    /// [`NetworkError::CanisterNotFound`].
    pub fn add_cycles(&mut self, id: &CanisterId, cycles: u128) -> Result<u128, NetworkError> {
        let canister = self.canister_mut(id)?;
        canister.balance = canister.balance.saturating_add(cycles);
        Ok(canister.balance)
    }

    /// Replaces the stable memory of a canister.
    ///
    /// # Errors
    /// [`NetworkError::CanisterNotFound`], [`NetworkError::CanisterIsEmpty`], [`NetworkError::StableMemoryTooLarge`].
    pub fn set_stable_memory(
        &mut self,
        id: &CanisterId,
        contents: &[u8],
    ) -> Result<(), NetworkError> {
        let limit = self.home(id)?.limits().stable_memory_bytes;
        let bytes = contents.len() as u64;
        if bytes > limit {
            return Err(NetworkError::StableMemoryTooLarge { bytes, limit });
        }
        let canister = self.canister_mut(id)?;
        let code = canister
            .code
            .as_mut()
            .ok_or(NetworkError::CanisterIsEmpty(*id))?;
        code.state
            .set_stable(contents)
            .map_err(|source| NetworkError::Host {
                canister: *id,
                source,
            })
    }

    /// Returns the figures of the state tree's `/subnet/<id>/metrics`.
    ///
    /// # Errors
    /// [`NetworkError::SubnetNotFound`].
    pub fn subnet_metrics(&self, id: &SubnetId) -> Result<SubnetMetrics, NetworkError> {
        let subnet = self.subnet(id)?;
        let consumed: u128 = subnet
            .canisters
            .values()
            .map(|canister| canister.consumed)
            .fold(subnet.state.consumed_by_deleted, u128::saturating_add);
        Ok(SubnetMetrics {
            num_canisters: subnet.canisters.len() as u64,
            canister_state_bytes: subnet
                .canisters
                .values()
                .map(|canister| canister.memory(subnet.limits()).total())
                .sum(),
            consumed_cycles_total: consumed,
            update_transactions_total: subnet.state.updates_executed,
            rounds: subnet.state.round,
            rounds_skipped_by_heap_delta: subnet.state.rounds_skipped_by_heap_delta,
            heap_delta_bytes: subnet.state.heap_delta,
            consensus_queue_items: subnet.state.consensus_queue.len() as u64,
            consensus_items_left_total: subnet.state.consensus_items_left,
        })
    }
}
