//! Decides whether a call is answered at all: one set of checks for the official endpoints and the
//! typed ones, whichever way they are called.

use ic_stable_structures::Memory;
use millrace_candid as wire;
use millrace_candid::official::NetworkInRequest;
use millrace_core::{Height, Network};

use crate::{App, convert};

/// Blocks that may be missing at the tip before the canister counts as not synced: while new blocks
/// are on their way, it keeps answering.
pub const SYNC_TOLERANCE: Height = Height::new(2);

/// Why a call is not answered. The texts are those of the official canister.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `api_access` is disabled.
    #[error("Bitcoin API is disabled")]
    ApiDisabled,
    /// The request is for another network.
    #[error("Network must be {}. Found {given}", official_name(*.ours))]
    OtherNetwork {
        /// Of this canister.
        ours: Network,
        /// Of the request.
        given: NetworkInRequest,
    },
    /// Blocks of known headers are missing, or the best chain has too little work.
    #[error("Canister state is not fully synced.")]
    NotSynced {
        /// Height of the best connected block.
        height: Height,
        /// Height of the best known header.
        best_header: Height,
    },
    /// Too few cycles are attached.
    #[error("Received {received} cycles. {required} cycles are required.")]
    TooFewCycles {
        /// Cycles attached.
        received: u128,
        /// Cycles that must be.
        required: u128,
    },
}

impl Refused {
    /// Returns the error of a typed read.
    pub fn to_read_error(&self) -> wire::ReadError {
        match self {
            Self::ApiDisabled => wire::ReadError::ApiDisabled,
            Self::NotSynced {
                height,
                best_header,
            } => wire::ReadError::NotSynced {
                height: height.get(),
                best_header_height: best_header.get(),
            },
            // Typed reads name no network and cost no cycles.
            Self::OtherNetwork { .. } | Self::TooFewCycles { .. } => {
                wire::ReadError::Internal(self.to_string())
            }
        }
    }
}

/// Where the cycles attached to a call are taken from.
pub trait Payment {
    /// Returns the cycles attached and not yet taken.
    fn available(&self) -> u128;

    /// Takes up to `cycles` of them; the rest is refunded when the call ends.
    fn accept(&self, cycles: u128);
}

/// The payment attached to the current message.
pub struct Attached;

impl Payment for Attached {
    fn available(&self) -> u128 {
        ic_cdk::api::msg_cycles_available()
    }

    fn accept(&self, cycles: u128) {
        ic_cdk::api::msg_cycles_accept(cycles);
    }
}

/// Checks that `required` cycles are attached.
///
/// # Errors
/// [`Refused::TooFewCycles`]; nothing is taken.
pub fn require(payment: &impl Payment, required: u128) -> Result<(), Refused> {
    let received = payment.available();
    if received < required {
        return Err(Refused::TooFewCycles { received, required });
    }
    Ok(())
}

/// Takes a price.
///
/// # Errors
/// [`Refused::TooFewCycles`]; nothing is taken.
pub fn charge(payment: &impl Payment, price: u128) -> Result<(), Refused> {
    require(payment, price)?;
    payment.accept(price);
    Ok(())
}

impl<M: Memory> App<M> {
    /// Checks that the API is open.
    ///
    /// # Errors
    /// [`Refused::ApiDisabled`].
    pub(crate) const fn check_access(&self) -> Result<(), Refused> {
        if self.config.access.is_api_enabled {
            Ok(())
        } else {
            Err(Refused::ApiDisabled)
        }
    }

    /// Checks that the API is open, and that there is something to read: no snapshot is being imported.
    ///
    /// # Errors
    /// [`Refused::ApiDisabled`], [`Refused::NotSynced`].
    pub(crate) fn check_reads(&self) -> Result<(), Refused> {
        self.check_access()?;
        self.check_import()
    }

    fn check_import(&self) -> Result<(), Refused> {
        match self.store.imports.get() {
            Some(import) if self.store.imports.is_under_way() => Err(Refused::NotSynced {
                height: Height::ZERO,
                best_header: import.header.height(),
            }),
            _ => Ok(()),
        }
    }

    /// Checks that the request means this canister's network. `testnet` means whichever test
    /// network it follows.
    ///
    /// # Errors
    /// [`Refused::OtherNetwork`].
    pub(crate) fn check_network(&self, given: NetworkInRequest) -> Result<(), Refused> {
        let ours = self.store.network();
        if convert::network_in_request(given) == convert::network(ours) {
            Ok(())
        } else {
            Err(Refused::OtherNetwork { ours, given })
        }
    }

    /// Checks that the canister is synced, where the configuration wants that.
    ///
    /// # Errors
    /// [`Refused::NotSynced`].
    pub(crate) fn check_synced(&self) -> Result<(), Refused> {
        if self.config.access.needs_sync {
            self.sync_state()
        } else {
            Ok(())
        }
    }

    /// Returns whether the best connected block is at most [`SYNC_TOLERANCE`] below the best known
    /// header, and the work that leads to it is what the configuration asks for.
    pub(crate) fn is_synced(&self) -> bool {
        self.check_import().is_ok() && self.sync_state().is_ok()
    }

    fn sync_state(&self) -> Result<(), Refused> {
        let (_, height) = self.tip();
        let best_header = self.height(&self.store.tree.best_header_tip());
        let is_near = best_header.saturating_sub(height) <= SYNC_TOLERANCE;
        if is_near && self.chain_work() >= self.config.access.minimum_chain_work {
            Ok(())
        } else {
            Err(Refused::NotSynced {
                height,
                best_header,
            })
        }
    }

    /// Checks what every typed read needs. A read at a tip that the caller names is answered while
    /// newer blocks are missing: it says itself how old the answer may be.
    pub(crate) fn check_read(&self, names_tip: bool) -> Result<(), wire::ReadError> {
        let checked = self.check_reads().and_then(|()| {
            if names_tip {
                Ok(())
            } else {
                self.check_synced()
            }
        });
        checked.map_err(|refused| refused.to_read_error())
    }
}

const fn official_name(network: Network) -> &'static str {
    match convert::network(network) {
        wire::Network::Mainnet => "mainnet",
        wire::Network::Testnet => "testnet",
        wire::Network::Regtest => "regtest",
    }
}
