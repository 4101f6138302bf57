//! The official Bitcoin canister's endpoints `bitcoin_*`, on the functions that the typed ones use.
//!
//! | module | does |
//! |---|---|
//! | [`reads`] | coins, balances, headers |
//! | [`fees`] | fee percentiles |
//! | [`send`] | transactions to the network |
//!
//! Checks come in the official order and refuse with its texts. What the official canister does by
//! trapping is a [`Refusal::Trap`] here, so that the shell alone traps: then nothing was charged or
//! changed. A [`Refusal::Reject`] keeps what was charged.

pub mod fees;
pub mod reads;
pub mod send;

use std::fmt::Debug;

use crate::guard::Refused;

/// How a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The call traps with this text, and everything it did is undone.
    Trap(String),
    /// The call is rejected with this text; cycles taken so far are kept.
    Reject(String),
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self::Trap(refused.to_string())
    }
}

impl Refusal {
    /// Returns the reject for an error of the official interface.
    fn failed(method: &str, error: &impl Debug) -> Self {
        Self::Reject(format!("{method} failed: {error:?}"))
    }

    /// Returns the reject for an error that the official interface does not have.
    fn defect(method: &str, error: &impl Debug) -> Self {
        Self::Reject(format!(
            "{method} failed: unexpected {error:?}; state is unchanged"
        ))
    }
}

/// How a `*_query` endpoint was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By one replica, which may lie: the answer costs nothing.
    Query,
    /// As an update or by another canister, where the certificate is absent.
    Replicated,
}

impl Mode {
    /// Refuses replicated calls of a free endpoint.
    fn check(self, method: &str) -> Result<(), Refusal> {
        match self {
            Self::Query => Ok(()),
            Self::Replicated => Err(Refusal::Reject(format!(
                "{method} cannot be called in replicated mode"
            ))),
        }
    }
}
