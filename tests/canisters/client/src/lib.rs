//! Calls Bitcoin canisters as other people's canisters do: through the crate
//! `ic-cdk-bitcoin-canister`, or any method with given bytes and cycles. For tests.

pub mod wire;
