//! Automatic progress: rounds that run by themselves in real time.

use super::{Instance, InstanceError};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Pause between rounds when nobody waits for an answer.
const IDLE_INTERVAL: Duration = Duration::from_millis(100);
/// Rounds that run without a pause after a message has arrived, while its sender waits. A call tree
/// takes a few rounds; a message that is never answered must not keep a processor busy.
const EAGER_ROUNDS_MAX: u32 = 100;

/// A running clock.
pub struct AutoProgress {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Instance {
    /// Starts automatic progress: before each round the time is set to the wall clock. Returns after
    /// the first round. `artificial_delay` replaces the pause between rounds.
    ///
    /// # Errors
    /// [`InstanceError::AutoProgressEnabled`], or the failure of the first round.
    pub async fn start_auto_progress(
        self: &Arc<Self>,
        artificial_delay: Option<Duration>,
    ) -> Result<(), InstanceError> {
        let mut slot = self.auto_progress.lock().await;
        // A slot whose clock has failed is free again.
        if slot.is_some() && self.auto_progress_enabled() {
            return Err(InstanceError::AutoProgressEnabled);
        }
        self.real_time_round().await?;
        let (stop, stopped) = oneshot::channel();
        // Before the clock runs: its failure switches it off again.
        self.auto_progress_on.store(true, Ordering::Relaxed);
        let task = tokio::spawn(rounds(self.clone(), artificial_delay, stopped));
        *slot = Some(AutoProgress { stop, task });
        Ok(())
    }

    /// Stops automatic progress and waits for the round in progress. Harmless when it is off.
    pub async fn stop_auto_progress(&self) {
        let mut slot = self.auto_progress.lock().await;
        if let Some(AutoProgress { stop, task }) = slot.take() {
            let _ = stop.send(());
            let _ = task.await;
        }
        self.auto_progress_on.store(false, Ordering::Relaxed);
        self.wake_waiters();
    }

    /// Returns whether automatic progress is on.
    pub fn auto_progress_enabled(&self) -> bool {
        self.auto_progress_on.load(Ordering::Relaxed)
    }

    /// Sets the time to the wall clock, unless that is in the past, and runs one round.
    async fn real_time_round(&self) -> Result<(), InstanceError> {
        let changed = self.changed.clone();
        self.run(move |network| {
            let now_ns = wall_clock_ns();
            if now_ns > network.time_ns() {
                network.set_time_ns(now_ns)?;
            }
            if network.has_work() {
                changed.store(true, Ordering::Relaxed);
            }
            Ok::<_, InstanceError>(network.tick()?)
        })
        .await??;
        self.wake_waiters();
        Ok(())
    }
}

async fn rounds(
    instance: Arc<Instance>,
    artificial_delay: Option<Duration>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut eager_rounds = 0;
    loop {
        let pause = async {
            if let Some(delay) = artificial_delay {
                tokio::time::sleep(delay).await;
                return 0;
            }
            let somebody_waits = instance.waiting.load(Ordering::Relaxed) > 0;
            if somebody_waits && eager_rounds > 0 {
                tokio::task::yield_now().await;
                return eager_rounds - 1;
            }
            tokio::select! {
                () = instance.wake.notified() => EAGER_ROUNDS_MAX,
                () = tokio::time::sleep(IDLE_INTERVAL) => 0,
            }
        };
        tokio::select! {
            _ = &mut stopped => return,
            remaining = pause => eager_rounds = remaining,
        }
        if let Err(error) = instance.real_time_round().await {
            if !matches!(error, InstanceError::Deleted) {
                tracing::error!(%error, "automatic progress stopped");
            }
            instance.auto_progress_on.store(false, Ordering::Relaxed);
            instance.wake_waiters();
            return;
        }
    }
}

/// Returns the wall clock in nanoseconds since 1970.
pub fn wall_clock_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
}
