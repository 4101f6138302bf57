//! One replica instance: a network of subnets behind a queue of operations, its signing authority,
//! and its clock.
//!
//! Operations on one instance run one after another, in the order of their arrival, on blocking
//! threads; different instances run in parallel.

pub mod certifier;
pub mod config;
pub mod limits_file;
pub mod progress;
pub mod state_dir;
pub mod state_tree;

use crate::certification::authority::{Authority, CanisterRange};
use crate::certification::keys::SubnetKeys;
use candid::Principal;
use millrace_subnet::{
    CostSchedule, Ingress, IngressState, InstructionConfig, MessageId, Network, NetworkError,
    SubnetSpec, UserError,
};
use progress::AutoProgress;
use state_dir::{StateDir, StateDirError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Rounds that are run for one message before the wait is given up, as in PocketIC.
pub const ROUNDS_MAX: u32 = 100;

/// Why an operation on an instance failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The network refused; nothing changed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Reading or writing the state folder failed.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The instance was deleted while the operation waited.
    #[error("the instance was deleted")]
    Deleted,
    /// A bug in the replica. The instance is deleted, because its state may be half changed: the last
    /// checkpoint of its state folder stays in force. Other instances are not affected.
    #[error("internal error of the replica: {0}; please report it")]
    Internal(String),
    /// Automatic progress is on already.
    #[error("automatic progress is already enabled; stop it first to change its settings")]
    AutoProgressEnabled,
    /// A configuration that this replica does not support, or a contradictory one.
    #[error("{0}")]
    Config(String),
}

/// One instance.
pub struct Instance {
    network: Arc<tokio::sync::Mutex<Option<Network>>>,
    authority: Arc<Authority>,
    validate_ingress: bool,
    /// Counts finished rounds and status changes, for those who wait for an answer.
    rounds: watch::Sender<u64>,
    /// Says that a message waits, so that automatic progress need not sleep on.
    wake: Notify,
    /// Callers that wait for the answer to an ingress message.
    waiting: AtomicUsize,
    auto_progress: tokio::sync::Mutex<Option<AutoProgress>>,
    /// Whether automatic progress is on, readable without waiting.
    auto_progress_on: AtomicBool,
    /// Taken when the instance is deleted, which releases the folder's lock although handles to the
    /// instance may live on in open connections.
    state_dir: Mutex<Option<StateDir>>,
    /// Whether anything happened since the last checkpoint.
    changed: Arc<AtomicBool>,
}

impl Instance {
    /// Wraps a network whose subnets `authority` can sign for.
    pub fn new(
        network: Network,
        authority: Arc<Authority>,
        validate_ingress: bool,
        state_dir: Option<StateDir>,
    ) -> Arc<Self> {
        Arc::new(Self {
            network: Arc::new(tokio::sync::Mutex::new(Some(network))),
            authority,
            validate_ingress,
            rounds: watch::Sender::new(0),
            wake: Notify::new(),
            waiting: AtomicUsize::new(0),
            auto_progress: tokio::sync::Mutex::new(None),
            auto_progress_on: AtomicBool::new(false),
            state_dir: Mutex::new(state_dir),
            changed: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Returns who signs for the instance's subnets.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Returns whether expiry and signatures of requests are checked.
    pub fn validates_ingress(&self) -> bool {
        self.validate_ingress
    }

    /// Runs `operation` when all earlier ones are done, on a blocking thread.
    ///
    /// # Errors
    /// [`InstanceError::Deleted`], or [`InstanceError::Internal`] when the operation panicked: a
    /// network that a panic left half changed is dropped, lest a checkpoint keep it.
    pub async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Network) -> T + Send + 'static,
    ) -> Result<T, InstanceError> {
        let mut guard = self.network.clone().lock_owned().await;
        tokio::task::spawn_blocking(move || {
            let network = guard.as_mut().ok_or(InstanceError::Deleted)?;
            catch_unwind(AssertUnwindSafe(|| operation(network))).map_err(|payload| {
                *guard = None;
                InstanceError::Internal(panic_text(payload.as_ref()))
            })
        })
        .await
        .map_err(|e| InstanceError::Internal(e.to_string()))?
    }

    /// Like [`Self::run`] for operations that change the state: marks it for the next checkpoint and
    /// tells waiters to look again.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn change<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Network) -> T + Send + 'static,
    ) -> Result<T, InstanceError> {
        let (changed, rounds) = (self.changed.clone(), self.rounds.clone());
        self.run(move |network| {
            let result = operation(network);
            // Here and not after the wait, which ends early when the client hangs up.
            changed.store(true, Ordering::Relaxed);
            rounds.send_modify(|count| *count = count.wrapping_add(1));
            result
        })
        .await
    }

    /// Tells waiters to look again.
    fn wake_waiters(&self) {
        self.rounds
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Submits an ingress message, first creating the subnet that its mainnet id asks for.
    ///
    /// # Errors
    /// As [`Self::run`]; a refusal of the message is the inner error.
    pub async fn submit(
        &self,
        ingress: Ingress,
    ) -> Result<Result<MessageId, UserError>, InstanceError> {
        let authority = self.authority.clone();
        let submitted = self
            .change(move |network| {
                if let Some((kind, ranges)) = network.subnet_wanted(&ingress) {
                    let (keys, spec) = config::new_subnet(
                        config::next_seed(&network.topology()),
                        kind,
                        ranges,
                        InstructionConfig::Production,
                        CostSchedule::Normal,
                    );
                    let certified = certified_ranges(&spec);
                    network.add_subnet(spec)?;
                    authority.set_subnet(keys, certified);
                }
                Ok::<_, NetworkError>(network.submit_ingress(ingress))
            })
            .await??;
        self.wake.notify_one();
        Ok(submitted)
    }

    /// Submits an ingress message and waits for its answer: while automatic progress is on, at most
    /// `timeout`; otherwise for [`ROUNDS_MAX`] rounds, which it runs itself.
    ///
    /// # Errors
    /// As [`Self::run`], [`NetworkError::NotAnswered`]; a rejection is the inner error.
    pub async fn call(
        &self,
        ingress: Ingress,
        timeout: Duration,
    ) -> Result<Result<Vec<u8>, UserError>, InstanceError> {
        let id = match self.submit(ingress).await? {
            Ok(id) => id,
            Err(rejection) => return Ok(Err(rejection)),
        };
        self.await_answer(id, timeout).await
    }

    /// Waits for the answer to a submitted message; see [`Self::call`].
    ///
    /// # Errors
    /// As [`Self::call`], [`NetworkError::UnknownIngress`].
    pub async fn await_answer(
        &self,
        id: MessageId,
        timeout: Duration,
    ) -> Result<Result<Vec<u8>, UserError>, InstanceError> {
        let mut changes = self.subscribe();
        let _waiting = self.wait_for_answer();
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            changes.borrow_and_update();
            // Looked at again after every change: it may be stopped, or fail, during the wait.
            if !self.auto_progress_enabled() {
                let answer = self
                    .change(move |network| network.await_ingress(&id, ROUNDS_MAX))
                    .await?;
                return Ok(answer?);
            }
            if let Some(answer) = self.run(move |network| answer_of(network, &id)).await?? {
                return Ok(answer);
            }
            if tokio::time::timeout_at(deadline, changes.changed())
                .await
                .is_err()
            {
                return Err(InstanceError::Config(format!(
                    "message {id} was not answered within {} seconds",
                    timeout.as_secs()
                )));
            }
        }
    }

    /// Deletes a subnet with its canisters.
    ///
    /// # Errors
    /// As [`Self::run`], [`NetworkError::SubnetNotFound`].
    pub async fn delete_subnet(&self, subnet_id: Principal) -> Result<(), InstanceError> {
        if subnet_id == self.authority.root_subnet_id() {
            return Err(InstanceError::Config(format!(
                "subnet {subnet_id} is the root subnet, whose key vouches for all others; it cannot be deleted"
            )));
        }
        self.change(move |network| network.delete_subnet(&subnet_id))
            .await??;
        self.authority.remove_subnet(subnet_id);
        Ok(())
    }

    /// Returns a receiver that changes after every change of the instance's state.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.rounds.subscribe()
    }

    /// Counts a caller that waits for an answer until the guard is dropped. While somebody waits,
    /// automatic progress does not pause between rounds.
    pub fn wait_for_answer(&self) -> WaitGuard<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.wake.notify_one();
        WaitGuard(&self.waiting)
    }

    /// Writes a checkpoint when the instance has a state folder and changed since the last one, or
    /// when `force` is set. Returns whether one was written.
    ///
    /// # Errors
    /// [`InstanceError::StateDir`]; the previous checkpoint stays in force then.
    pub async fn checkpoint(&self, force: bool) -> Result<bool, InstanceError> {
        let Some(state_dir) = self.state_dir_slot().clone() else {
            return Ok(false);
        };
        if !self.changed.swap(false, Ordering::Relaxed) && !force {
            return Ok(false);
        }
        let written = self.run(move |network| state_dir.write(network)).await;
        match written {
            Ok(Ok(())) => Ok(true),
            Ok(Err(e)) => {
                self.changed.store(true, Ordering::Relaxed);
                Err(e.into())
            }
            Err(e) => {
                self.changed.store(true, Ordering::Relaxed);
                Err(e)
            }
        }
    }

    /// Restarts the replica: writes a checkpoint, drops the network with everything that is only in memory
    /// and loads it.
    ///
    /// # Errors
    /// [`InstanceError::Config`] without a state folder, [`InstanceError::StateDir`].
    pub async fn restart(&self) -> Result<(), InstanceError> {
        let Some(state_dir) = self.state_dir_slot().clone() else {
            return Err(InstanceError::Config(
                "only an instance with a state folder can be restarted; create it with state_dir"
                    .to_owned(),
            ));
        };
        self.change(move |network| {
            state_dir.write(network)?;
            if let Some((loaded, _)) = state_dir.load(network.engine())? {
                *network = loaded;
            }
            Ok(())
        })
        .await?
    }

    /// Stops the clock, writes the last checkpoint and drops the network. Later operations get
    /// [`InstanceError::Deleted`]. Doing it twice is harmless.
    ///
    /// # Errors
    /// [`InstanceError::StateDir`] when the checkpoint could not be written; it is deleted anyway.
    pub async fn delete(&self) -> Result<(), InstanceError> {
        self.stop_auto_progress().await;
        let checkpoint = match self.checkpoint(true).await {
            // Releases the folder also when a panic has dropped the network.
            Err(InstanceError::Deleted) => Ok(()),
            other => other.map(|_| ()),
        };
        let mut guard = self.network.clone().lock_owned().await;
        let network = guard.take();
        // Dropping frees memory of any size, which is no work for the reactor.
        let _ = tokio::task::spawn_blocking(move || drop(network)).await;
        drop(guard);
        self.state_dir_slot().take();
        self.wake_waiters();
        checkpoint
    }

    fn state_dir_slot(&self) -> MutexGuard<'_, Option<StateDir>> {
        self.state_dir
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One waiting caller; see [`Instance::wait_for_answer`].
pub struct WaitGuard<'a>(&'a AtomicUsize);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Answer = Result<Vec<u8>, UserError>;

/// Returns the answer to a message, or `None` while there is none.
fn answer_of(network: &Network, id: &MessageId) -> Result<Option<Answer>, NetworkError> {
    let status = network
        .ingress_status(id)
        .ok_or_else(|| NetworkError::UnknownIngress(id.to_string()))?;
    Ok(match &status.state {
        IngressState::Received | IngressState::Processing => None,
        IngressState::Replied(reply) => Some(Ok(reply.clone())),
        IngressState::Rejected(error) => Some(Err(error.clone())),
        IngressState::Done => return Err(NetworkError::UnknownIngress(id.to_string())),
    })
}

/// Returns the canister ranges of a subnet as certificates state them.
pub fn certified_ranges(spec: &SubnetSpec) -> Vec<CanisterRange> {
    spec.ranges
        .iter()
        .map(|range| (range.first(), range.last()))
        .collect()
}

/// Returns an authority for these subnets; the first one is the root.
///
/// # Errors
/// [`InstanceError::Config`] when there is none.
pub fn authority_of(subnets: &[SubnetSpec]) -> Result<Arc<Authority>, InstanceError> {
    let mut authority = None;
    for spec in subnets {
        let keys = Arc::new(SubnetKeys::from_seed(&spec.seed));
        let authority = authority.get_or_insert_with(|| Arc::new(Authority::new(keys.clone())));
        authority.set_subnet(keys, certified_ranges(spec));
    }
    authority.ok_or_else(|| InstanceError::Config("an instance needs at least one subnet".into()))
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "a panic without text".to_owned())
}

#[cfg(test)]
#[path = "instance_tests.rs"]
mod tests;
