//! Read access to canisters and subnets.

use crate::canister::{Canister, Status};
use crate::error::NetworkError;
use crate::subnet::Subnet;
use crate::topology::SubnetId;
use crate::usage::UsageRing;
use candid::Principal;

/// Largest stable memory that is copied into the host's memory: a canister grows it for next to nothing.
const STABLE_READ_BYTES_MAX: u64 = 4 << 30;

/// Who may read a metadata section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataVisibility {
    /// Everybody.
    Public,
    /// Controllers.
    Private,
}

/// Whether a canister accepts calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanisterStatus {
    /// It does.
    Running,
    /// It finishes what it began.
    Stopping,
    /// It does not.
    Stopped,
}

/// Read access to one canister.
pub struct CanisterView<'a> {
    pub(crate) subnet: &'a Subnet,
    pub(crate) canister: &'a Canister,
}

impl<'a> CanisterView<'a> {
    /// Returns the subnet that hosts the canister.
    #[must_use]
    pub fn subnet(&self) -> SubnetId {
        self.subnet.id()
    }
    /// Returns the controllers in ascending order.
    #[must_use]
    pub fn controllers(&self) -> Vec<Principal> {
        self.canister.settings.controllers.iter().copied().collect()
    }
    /// Returns SHA-256 of the module as it was installed, or `None` for an empty canister.
    #[must_use]
    pub fn module_hash(&self) -> Option<[u8; 32]> {
        Some(self.canister.code.as_ref()?.module_hash)
    }
    /// Returns a metadata section.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<(MetadataVisibility, &'a [u8])> {
        let code = self.canister.code.as_ref()?;
        let section = code
            .module()
            .custom_sections()
            .iter()
            .find(|section| section.name == name)?;
        let visibility = if section.public {
            MetadataVisibility::Public
        } else {
            MetadataVisibility::Private
        };
        Some((visibility, &section.content))
    }
    /// Returns the certified data, at most 32 bytes.
    #[must_use]
    pub fn certified_data(&self) -> &'a [u8] {
        &self.canister.certified_data
    }
    /// Returns the balance.
    #[must_use]
    pub fn cycles(&self) -> u128 {
        self.canister.balance
    }
    /// Returns whether it accepts calls.
    #[must_use]
    pub fn status(&self) -> CanisterStatus {
        match self.canister.status {
            Status::Running => CanisterStatus::Running,
            Status::Stopping(_) => CanisterStatus::Stopping,
            Status::Stopped => CanisterStatus::Stopped,
        }
    }
    /// Returns the canister version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.canister.version
    }
    /// Returns the bytes of stable memory; 0 for an empty canister.
    #[must_use]
    pub fn stable_bytes(&self) -> u64 {
        let code = self.canister.code.as_ref();
        code.map_or(0, |code| code.state.stable_bytes())
    }
    /// Returns the bytes of the heap; 0 for an empty canister.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        let code = self.canister.code.as_ref();
        code.map_or(0, |code| code.state.heap_bytes())
    }
    /// Returns a copy of the stable memory; its size is a multiple of 64 KiB.
    ///
    /// # Errors
    /// [`NetworkError::CanisterIsEmpty`], [`NetworkError::StableMemoryTooLarge`] above 4 GiB.
    pub fn stable_memory(&self) -> Result<Vec<u8>, NetworkError> {
        let id = self.canister.id;
        let code = self
            .canister
            .code
            .as_ref()
            .ok_or(NetworkError::CanisterIsEmpty(id))?;
        let bytes = code.state.stable_bytes();
        if bytes > STABLE_READ_BYTES_MAX {
            return Err(NetworkError::StableMemoryTooLarge {
                bytes,
                limit: STABLE_READ_BYTES_MAX,
            });
        }
        code.state
            .read_stable(0, bytes)
            .map_err(|source| NetworkError::Host {
                canister: id,
                source,
            })
    }

    /// Returns what its latest messages consumed.
    #[must_use]
    pub fn usage(&self) -> &'a UsageRing {
        &self.canister.usage
    }
}

/// Figures of one subnet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubnetMetrics {
    /// Canisters.
    pub num_canisters: u64,
    /// Bytes of their state.
    pub canister_state_bytes: u64,
    /// Cycles consumed since the subnet exists.
    pub consumed_cycles_total: u128,
    /// Update messages executed since the subnet exists.
    pub update_transactions_total: u64,
    /// Rounds executed.
    pub rounds: u64,
    /// Rounds that executed nothing because the heap delta was above its limit.
    pub rounds_skipped_by_heap_delta: u64,
    /// Bytes dirtied since the last checkpoint.
    pub heap_delta_bytes: u64,
    /// Answers from outside that wait in the consensus queue.
    pub consensus_queue_items: u64,
    /// Answers that rounds left in the consensus queue, each counted once per round; 0 while the invariant
    /// holds that every round empties it.
    pub consensus_items_left_total: u64,
}
