//! The rules that decide which outputs become coins and which may replace coins.

use bitcoin::Script;

use crate::network::Network;
use crate::units::Height;

/// Longest script that can ever be executed, in bytes.
pub const MAX_SCRIPT_BYTES: usize = 10_000;

/// First opcode of an output that carries data instead of money.
const OP_RETURN: u8 = 0x6a;

/// Returns whether no input can ever spend an output with this script.
///
/// Such outputs never become coins. Execution fails at a leading `OP_RETURN` and at scripts over
/// [`MAX_SCRIPT_BYTES`]; Bitcoin Core drops both from its UTXO set, and the set kept here must
/// equal it coin by coin. (The official canister drops only the first kind; no coin that anyone
/// can spend differs.)
pub fn is_unspendable(script: &Script) -> bool {
    script.as_bytes().first() == Some(&OP_RETURN) || script.len() > MAX_SCRIPT_BYTES
}

/// Returns whether the coinbase of the block at `height` may replace an unspent coin.
///
/// Two mainnet blocks repeat an earlier coinbase whose output was unspent (BIP30's exceptions).
/// The later coin replaced the earlier one, which can never be spent.
pub const fn may_overwrite_unspent(network: Network, height: Height) -> bool {
    matches!(network, Network::Mainnet) && matches!(height.get(), 91_842 | 91_880)
}
