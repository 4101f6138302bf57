//! Subnets, their kinds, the canister ids they own, and who owns which id.

use candid::Principal;
use serde::{Deserialize, Serialize};

/// Canister identifier.
pub type CanisterId = Principal;
/// Subnet identifier: self-authenticating principal of the subnet's public key.
pub type SubnetId = Principal;

/// Last two bytes of a canister id: "created by the subnet, class opaque".
const CANISTER_ID_SUFFIX: [u8; 2] = [1, 1];
/// Canister ids in one range, as on mainnet.
pub const RANGE_IDS: u64 = 1 << 20;
/// First id that application subnets without mainnet ranges allocate; further subnets count down.
const APPLICATION_RANGE_TOP: u64 = 0xFFFF_FFFF_FFE0_0000;

/// Role of a subnet, by PocketIC's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SubnetKind {
    /// Ordinary application subnet.
    Application,
    /// Mainnet's subnet of the Bitcoin canisters.
    Bitcoin,
    /// Rented cloud engine.
    CloudEngine,
    /// Fiduciary subnet (34 nodes).
    Fiduciary,
    /// Internet Identity's subnet.
    II,
    /// The root subnet.
    NNS,
    /// SNS subnet.
    SNS,
    /// System subnet without mainnet ids.
    System,
    /// Subnet of the test threshold keys.
    TestThresholdKeys,
    /// Verified application subnet.
    VerifiedApplication,
}

/// Rules a subnet runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SubnetType {
    /// Fees are charged, limits are the stricter ones.
    Application,
    /// As application.
    VerifiedApplication,
    /// No fees, larger limits.
    System,
}

impl SubnetKind {
    /// Returns the rules this kind runs under.
    #[must_use]
    pub const fn subnet_type(self) -> SubnetType {
        match self {
            Self::Application
            | Self::CloudEngine
            | Self::Fiduciary
            | Self::SNS
            | Self::TestThresholdKeys => SubnetType::Application,
            Self::VerifiedApplication => SubnetType::VerifiedApplication,
            Self::Bitcoin | Self::II | Self::NNS | Self::System => SubnetType::System,
        }
    }

    /// Returns the number of nodes, which scales the fees.
    #[must_use]
    pub const fn size(self) -> u64 {
        match self {
            Self::NNS => 40,
            Self::Fiduciary | Self::SNS | Self::II | Self::TestThresholdKeys => 34,
            _ => 13,
        }
    }

    /// Returns the ids that mainnet's subnet of this kind owns; empty for kinds without one.
    #[must_use]
    pub fn mainnet_ranges(self) -> Vec<CanisterRange> {
        let pairs: &[(u64, u64)] = match self {
            Self::NNS => &[(0, 6), (8, 0xF_FFFF)],
            Self::II => &[(7, 7), (0x0210_0000, 0x021F_FFFF)],
            Self::SNS => &[(0x0200_0000, 0x020F_FFFF)],
            Self::Bitcoin => &[(0x01A0_0000, 0x01AF_FFFF)],
            Self::Fiduciary => &[(0x0230_0000, 0x023F_FFFF)],
            Self::TestThresholdKeys => &[(0x01D0_0000, 0x01DF_FFFF)],
            _ => &[],
        };
        pairs
            .iter()
            .map(|&(start, end)| CanisterRange::new(start, end))
            .collect()
    }
}

/// Closed range of canister ids, by their leading 64-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CanisterRange {
    start: u64,
    end: u64,
}

impl CanisterRange {
    /// Returns the range of both ends inclusive; the ends are swapped when out of order.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Self {
        if start <= end {
            Self { start, end }
        } else {
            Self {
                start: end,
                end: start,
            }
        }
    }

    /// Returns the mainnet-sized range (2^20 ids) that contains this id.
    #[must_use]
    pub const fn around(number: u64) -> Self {
        Self::new(number & !(RANGE_IDS - 1), number | (RANGE_IDS - 1))
    }

    /// Returns the range of the `index`-th subnet that has no mainnet ids.
    #[must_use]
    pub const fn local(index: u64) -> Self {
        let start = APPLICATION_RANGE_TOP.saturating_sub(index.saturating_mul(RANGE_IDS));
        Self::around(start)
    }

    /// Returns the first number.
    #[must_use]
    pub const fn first_number(&self) -> u64 {
        self.start
    }

    /// Returns the last number.
    #[must_use]
    pub const fn last_number(&self) -> u64 {
        self.end
    }

    /// Returns the first canister id.
    #[must_use]
    pub fn first(&self) -> CanisterId {
        canister_id_from_number(self.start)
    }

    /// Returns the last canister id.
    #[must_use]
    pub fn last(&self) -> CanisterId {
        canister_id_from_number(self.end)
    }

    /// Returns whether the id is a canister id in this range.
    #[must_use]
    pub fn contains(&self, id: &CanisterId) -> bool {
        canister_number(id).is_some_and(|number| self.start <= number && number <= self.end)
    }

    pub(crate) const fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// Returns the canister id of a 64-bit number: the number, big endian, then `01 01`.
#[must_use]
pub fn canister_id_from_number(number: u64) -> CanisterId {
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&CANISTER_ID_SUFFIX);
    Principal::from_slice(&bytes)
}

/// Returns the number of a canister id, or `None` when the principal is not of that form.
#[must_use]
pub fn canister_number(id: &CanisterId) -> Option<u64> {
    let number = id.as_slice().strip_suffix(&CANISTER_ID_SUFFIX)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// Returns the subnet that must be created so that this mainnet id can exist: its kind and ranges.
///
/// `None` for ids of the NNS and II subnets (those are asked for explicitly) and for ids that mainnet
/// has not given out (numbers of 2^30 and more).
#[must_use]
pub fn mainnet_home(id: &CanisterId) -> Option<(SubnetKind, Vec<CanisterRange>)> {
    const MAINNET_NUMBERS_END: u64 = 1 << 30;
    let number = canister_number(id)?;
    if number >= MAINNET_NUMBERS_END {
        return None;
    }
    let owns = |kind: SubnetKind| kind.mainnet_ranges().iter().any(|range| range.contains(id));
    if owns(SubnetKind::NNS) || owns(SubnetKind::II) {
        return None;
    }
    let named = [
        SubnetKind::Bitcoin,
        SubnetKind::Fiduciary,
        SubnetKind::SNS,
        SubnetKind::TestThresholdKeys,
    ];
    Some(match named.into_iter().find(|&kind| owns(kind)) {
        Some(kind) => (kind, kind.mainnet_ranges()),
        None => (SubnetKind::Application, vec![CanisterRange::around(number)]),
    })
}

/// Instruction limits of a subnet, by PocketIC's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum InstructionConfig {
    /// The IC's limits.
    #[default]
    Production,
    /// Effectively unlimited.
    Benchmarking,
}

/// Whether canisters of a subnet pay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CostSchedule {
    /// The fees of the subnet's type.
    #[default]
    Normal,
    /// Nothing costs cycles.
    Free,
}

/// What a subnet is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetSpec {
    /// Role, which decides type and size.
    pub kind: SubnetKind,
    /// Principal of the subnet's key.
    pub id: SubnetId,
    /// Canister ids it owns; the first are allocated first. At least one, none owned by another subnet.
    pub ranges: Vec<CanisterRange>,
    /// Seed of its randomness (`raw_rand`), and its label in PocketIC's topology.
    pub seed: [u8; 32],
    /// Instruction limits.
    pub instructions: InstructionConfig,
    /// Whether canisters pay.
    pub cost_schedule: CostSchedule,
}

/// All subnets of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Subnets in the order they were added.
    pub subnets: Vec<SubnetSpec>,
    /// Canister id whose subnet receives canister creations without a destination.
    pub default_effective_canister_id: CanisterId,
}
