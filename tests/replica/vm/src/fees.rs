//! The IC's prices for one subnet, scaled by the number of its nodes.

use serde::{Deserialize, Serialize};

use crate::units::{Cycles, Instructions};

/// Number of nodes the published fees are stated for.
const REFERENCE_SUBNET_SIZE: u128 = 13;

/// Largest payload of a call or response between subnets, in bytes; a response's transmission is
/// prepaid for this size.
pub const INTER_CANISTER_PAYLOAD_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Bytes that a block holds beside each response to a flexible HTTPS outcall: who gave it, and its
/// signature.
pub const FLEXIBLE_RESPONSE_PROOF_BYTES: u64 = 181;

/// What the subnet charges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fees {
    /// Whether the subnet charges at all; system subnets do not.
    pub free: bool,
    /// Nodes of the subnet; fees grow linearly with it.
    pub subnet_size: u32,
}

impl Fees {
    /// Returns the fees of an application subnet of `subnet_size` nodes.
    #[must_use]
    pub const fn application(subnet_size: u32) -> Self {
        Self {
            free: false,
            subnet_size,
        }
    }

    /// Returns the fees of a system subnet: nothing costs anything.
    #[must_use]
    pub const fn system(subnet_size: u32) -> Self {
        Self {
            free: true,
            subnet_size,
        }
    }

    fn scaled(&self, cycles_at_13_nodes: u128) -> Cycles {
        if self.free {
            return Cycles::ZERO;
        }
        Cycles(
            cycles_at_13_nodes.saturating_mul(u128::from(self.subnet_size)) / REFERENCE_SUBNET_SIZE,
        )
    }

    /// Returns the price of executing `instructions` in one message: 5 M cycles, and 1 a piece.
    #[must_use]
    pub fn execution(&self, instructions: Instructions) -> Cycles {
        self.scaled(5_000_000) + self.scaled(u128::from(instructions.get()))
    }

    /// Returns the price of sending a call with `bytes` of method name and payload together.
    #[must_use]
    pub fn call_transmission(&self, bytes: u64) -> Cycles {
        self.scaled(260_000) + self.transmission(bytes)
    }

    /// Returns the price of `bytes` between canisters, as for a response.
    #[must_use]
    pub fn transmission(&self, bytes: u64) -> Cycles {
        self.scaled(1_000 * u128::from(bytes))
    }

    /// Returns what a call sets aside for its response of the largest size.
    #[must_use]
    pub fn response_transmission_prepayment(&self) -> Cycles {
        self.transmission(INTER_CANISTER_PAYLOAD_BYTES_MAX)
    }

    /// Returns the price of creating a canister.
    #[must_use]
    pub fn create_canister(&self) -> Cycles {
        self.scaled(500_000_000_000)
    }

    /// Returns the price of one threshold signature (ECDSA, Schnorr or vetKD): 10 B at 13 nodes.
    #[must_use]
    pub fn threshold_signature(&self) -> Cycles {
        self.scaled(10_000_000_000)
    }

    /// Returns the price of an HTTPS outcall: linear and quadratic in the number of nodes.
    #[must_use]
    pub fn http_request(&self, request_bytes: u64, response_bytes_max: u64) -> Cycles {
        if self.free {
            return Cycles::ZERO;
        }
        let nodes = u128::from(self.subnet_size);
        let bytes = u128::from(request_bytes)
            .saturating_mul(400)
            .saturating_add(u128::from(response_bytes_max).saturating_mul(800));
        Cycles(
            (3_000_000 + 60_000 * nodes)
                .saturating_add(bytes)
                .saturating_mul(nodes),
        )
    }

    /// Returns what a flexible HTTPS outcall pays before its nodes do anything.
    #[must_use]
    pub fn flexible_http_request(&self, request_bytes: u64, min_responses: u32) -> Cycles {
        let nodes = u128::from(self.subnet_size);
        let responses = u128::from(min_responses);
        let price = 1_000_000
            + 50 * u128::from(request_bytes)
            + 90_000 * nodes
            + (2_000 * nodes + 100_000) * responses;
        self.unless_free(price.saturating_mul(nodes))
    }

    /// Returns what one node of a flexible HTTPS outcall takes for receiving `raw_bytes` and passing
    /// `response_bytes` on to every other node. Time and the transform function's instructions are not part
    /// of it.
    #[must_use]
    pub fn flexible_http_node(&self, raw_bytes: u64, response_bytes: u64) -> Cycles {
        let passed_on = u128::from(response_bytes) * u128::from(self.subnet_size);
        self.unless_free(50 * u128::from(raw_bytes) + 50 * passed_on)
    }

    /// Returns the price of putting `responses` of a flexible HTTPS outcall, `bytes` together, into a block;
    /// those beyond what the caller needs, `extra`, cost more.
    #[must_use]
    pub fn flexible_http_delivery(&self, responses: u64, bytes: u64, extra: u64) -> Cycles {
        let nodes = u128::from(self.subnet_size);
        let proofs = u128::from(FLEXIBLE_RESPONSE_PROOF_BYTES) * u128::from(responses);
        let in_block = u128::from(bytes) + proofs;
        let price = (10 * nodes + 600) * nodes * in_block
            + (2_000 * nodes + 100_000) * nodes * u128::from(extra);
        self.unless_free(price)
    }

    const fn unless_free(&self, price: u128) -> Cycles {
        if self.free {
            Cycles::ZERO
        } else {
            Cycles(price)
        }
    }

    /// Returns the price of an HTTPS outcall by its expected course.
    #[must_use]
    pub fn http_request_v2(&self, estimate: &HttpRequestEstimate) -> Cycles {
        if self.free {
            return Cycles::ZERO;
        }
        let nodes = u128::from(self.subnet_size);
        let price = 1_000_000
            + 50 * u128::from(estimate.request_bytes)
            + 140_000 * nodes
            + 800 * nodes * nodes
            + 50 * u128::from(estimate.raw_response_bytes)
            + 300 * u128::from(estimate.roundtrip_ms)
            + u128::from(estimate.transform_instructions) / 13
            + (10 * nodes + 650) * u128::from(estimate.transformed_response_bytes);
        Cycles(price.saturating_mul(nodes))
    }
}

/// The expected course of an HTTPS outcall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRequestEstimate {
    /// Bytes sent.
    pub request_bytes: u64,
    /// Milliseconds until the response is there.
    pub roundtrip_ms: u64,
    /// Bytes received.
    pub raw_response_bytes: u64,
    /// Bytes after the transform function.
    pub transformed_response_bytes: u64,
    /// Instructions of the transform function.
    pub transform_instructions: u64,
}
