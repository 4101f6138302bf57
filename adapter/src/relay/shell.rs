//! Carries out what the desk decides: calls the canister, and hands transactions to relayers.

use std::future::Future;
use std::time::Instant;

use bitcoin::Txid;
use millrace_p2p::node::{RelayOutcome, RelayTransaction};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant as TokioInstant, sleep_until};

use super::desk::{Command, Desk, Event};
use super::node::{NodeRelay, RETRY_INTERVAL};
use crate::sink::SinkError;

/// Events under way; a full channel only delays.
const CHANNEL_LENGTH: usize = 64;

/// A canister's outbox. Each call can be repeated without harm.
pub trait Outbox: Clone + Send + Sync + 'static {
    /// Asks for transactions that come after one in the order of ids, or for the first ones; none after
    /// the last.
    ///
    /// # Errors
    /// [`SinkError`] says whether another attempt can help.
    fn transactions(
        &self,
        after: Option<Txid>,
    ) -> impl Future<Output = Result<Vec<RelayTransaction>, SinkError>> + Send;

    /// Reports what became of transactions, at most [`super::desk::MAX_REPORTS`].
    ///
    /// # Errors
    /// [`SinkError`] says whether another attempt can help.
    fn report(
        &self,
        reports: Vec<(Txid, RelayOutcome)>,
    ) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// Something that brings transactions to Bitcoin's network.
pub trait Relayer: Send + 'static {
    /// Relays transactions from now on.
    fn add(&mut self, transactions: Vec<RelayTransaction>);

    /// These need no relaying any more.
    fn forget(&mut self, txids: Vec<Txid>);

    /// Waits for the next outcome; for ever if there is none.
    fn next(&mut self) -> impl Future<Output = (Txid, RelayOutcome)> + Send;
}

/// Relays until the future is dropped.
pub async fn relay(outbox: impl Outbox, mut relayer: impl Relayer, seed: u64) {
    let started = Instant::now();
    let mut desk = Desk::new(seed);
    let (events, mut inbox) = mpsc::channel(CHANNEL_LENGTH);
    let mut event = Event::Tick;
    loop {
        for command in desk.on(started.elapsed(), event) {
            match command {
                Command::List(after) => {
                    let (outbox, events) = (outbox.clone(), events.clone());
                    tokio::spawn(async move {
                        let listed = outbox.transactions(after).await;
                        // Nobody listens any more after the end.
                        let _ = events.send(Event::Listed(listed)).await;
                    });
                }
                Command::Report(reports) => {
                    let (outbox, events) = (outbox.clone(), events.clone());
                    tokio::spawn(async move {
                        let reported = outbox.report(reports).await;
                        let _ = events.send(Event::Reported(reported)).await;
                    });
                }
                Command::Relay(transactions) => {
                    for added in &transactions {
                        tracing::info!("relaying transaction {}", added.txid);
                    }
                    relayer.add(transactions);
                }
                Command::Forget(txids) => relayer.forget(txids),
                Command::CallFailed(error, pause) => tracing::warn!(
                    "outbox of the canister: {error}; trying again in {:.1} s",
                    pause.as_secs_f64()
                ),
            }
        }
        let wake_at = desk.wake_at().min(started.elapsed() + RETRY_INTERVAL);
        event = tokio::select! {
            Some(event) = inbox.recv() => event,
            (txid, outcome) = relayer.next() => {
                tracing::info!("transaction {txid}: {}", described(&outcome));
                Event::Outcome(txid, outcome)
            }
            () = sleep_until(TokioInstant::from_std(started + wake_at)) => Event::Tick,
        };
    }
}

fn described(outcome: &RelayOutcome) -> String {
    match outcome {
        RelayOutcome::Announced { peers } => format!("fetched by {peers} peers"),
        RelayOutcome::Seen => "seen in the network".to_owned(),
        RelayOutcome::Rejected { reason } => format!("rejected: {reason}"),
    }
}

/// A relayer through a Bitcoin Core node: a task of its own, so that no call is broken off.
pub struct NodeRelayer {
    orders: mpsc::UnboundedSender<Order>,
    outcomes: mpsc::Receiver<(Txid, RelayOutcome)>,
    task: JoinHandle<()>,
}

/// What the task is told. The channel needs no bound of its own: the desk relays at most
/// [`super::desk::MAX_RELAYED`] at a time.
enum Order {
    Add(Vec<RelayTransaction>),
    Forget(Vec<Txid>),
}

impl NodeRelayer {
    /// Starts with nothing to relay. Needs a tokio runtime.
    pub fn start(relay: NodeRelay) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (report, outcomes) = mpsc::channel(CHANNEL_LENGTH);
        Self {
            orders,
            outcomes,
            task: tokio::spawn(serve(relay, inbox, report)),
        }
    }
}

impl Drop for NodeRelayer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relayer for NodeRelayer {
    fn add(&mut self, transactions: Vec<RelayTransaction>) {
        // The task ends only with this.
        let _ = self.orders.send(Order::Add(transactions));
    }

    fn forget(&mut self, txids: Vec<Txid>) {
        let _ = self.orders.send(Order::Forget(txids));
    }

    async fn next(&mut self) -> (Txid, RelayOutcome) {
        match self.outcomes.recv().await {
            Some(outcome) => outcome,
            None => std::future::pending().await,
        }
    }
}

async fn serve(
    mut relay: NodeRelay,
    mut inbox: mpsc::UnboundedReceiver<Order>,
    report: mpsc::Sender<(Txid, RelayOutcome)>,
) {
    let started = Instant::now();
    loop {
        let wake_at = relay.wake_at().min(started.elapsed() + RETRY_INTERVAL);
        tokio::select! {
            order = inbox.recv() => match order {
                Some(Order::Add(transactions)) => relay.add(started.elapsed(), &transactions),
                Some(Order::Forget(txids)) => relay.forget(&txids),
                None => return,
            },
            () = sleep_until(TokioInstant::from_std(started + wake_at)) => {
                match relay.step(started.elapsed()).await {
                    Ok(Some(outcome)) => if report.send(outcome).await.is_err() {
                        return;
                    },
                    Ok(None) => {}
                    Err(error) => tracing::warn!("the node takes no transaction: {error}"),
                }
            }
        }
    }
}
