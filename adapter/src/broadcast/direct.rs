//! A transaction from here straight to Bitcoin's network.

use std::time::Duration;

use millrace_p2p::node::RelayOutcome;
use tokio::time::{Instant, timeout_at};

use crate::config::SourceSettings;
use crate::exit::Exit;
use crate::relay::shell::Relayer;

/// How long connections, announcements and requests may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Peers that should fetch it: with several, one that keeps it to itself does no harm.
const PEERS: u32 = 3;

/// Why a transaction was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// It was refused.
    #[error("the transaction is refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// Nobody fetched it.
    #[error(
        "nobody fetched the transaction within {} s; see the log for connections, or name a node with --peers \
         or --source rpc. Peers do not fetch what they have or find wrong",
        PATIENCE.as_secs()
    )]
    Nobody,
}

impl NotSent {
    /// Returns how the process ends.
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. } => Exit::Refused,
            Self::Nobody => Exit::Unreachable,
        }
    }
}

/// Returns by how many a transaction should be fetched before it counts as sent.
pub fn enough_peers(source: &SourceSettings) -> u32 {
    match source {
        SourceSettings::P2p(peers) if peers.only_peers => {
            let named = u32::try_from(peers.peers.len()).unwrap_or(u32::MAX);
            named.clamp(1, PEERS)
        }
        SourceSettings::P2p(_) => PEERS,
        SourceSettings::Rest(_) | SourceSettings::Rpc(_) | SourceSettings::Blocks(_) => 1,
    }
}

/// Waits until what was given to a relayer was fetched by `enough`, or by some when [`PATIENCE`] is over;
/// returns what became of it.
///
/// # Errors
/// [`NotSent`].
pub async fn until_sent(relayer: &mut impl Relayer, enough: u32) -> Result<String, NotSent> {
    let deadline = Instant::now() + PATIENCE;
    let mut fetched = 0;
    while let Ok((_, outcome)) = timeout_at(deadline, relayer.next()).await {
        match outcome {
            RelayOutcome::Announced { peers } if peers >= enough => {
                return Ok(format!("fetched by {peers}"));
            }
            RelayOutcome::Announced { peers } => fetched = peers,
            RelayOutcome::Seen => return Ok("seen in the network".to_owned()),
            RelayOutcome::Rejected { reason } => return Err(NotSent::Refused { reason }),
        }
    }
    match fetched {
        0 => Err(NotSent::Nobody),
        some => Ok(format!("fetched by {some}, of {enough} hoped for")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bitcoin::Txid;
    use bitcoin::hashes::Hash;
    use millrace_p2p::node::RelayTransaction;

    use super::*;

    struct Scripted(VecDeque<RelayOutcome>);

    impl Relayer for Scripted {
        fn add(&mut self, _: Vec<RelayTransaction>) {}

        fn forget(&mut self, _: Vec<Txid>) {}

        async fn next(&mut self) -> (Txid, RelayOutcome) {
            match self.0.pop_front() {
                Some(outcome) => (Txid::all_zeros(), outcome),
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_is_sent_when_enough_or_in_the_end_some_have_it() {
        let by = |peers| RelayOutcome::Announced { peers };
        let rejected = RelayOutcome::Rejected {
            reason: "too heavy".to_owned(),
        };
        let refused = NotSent::Refused {
            reason: "too heavy".to_owned(),
        };
        let cases = [
            (vec![by(1), by(3)], Ok("fetched by 3".to_owned())),
            (vec![by(1)], Ok("fetched by 1, of 3 hoped for".to_owned())),
            (
                vec![RelayOutcome::Seen],
                Ok("seen in the network".to_owned()),
            ),
            (vec![by(1), rejected], Err(refused)),
            (vec![], Err(NotSent::Nobody)),
        ];
        for (outcomes, expected) in cases {
            let mut relayer = Scripted(outcomes.into());
            assert_eq!(until_sent(&mut relayer, 3).await, expected);
        }
    }
}
