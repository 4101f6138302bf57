//! The rules that decide which outputs become coins and which may replace coins.

use bitcoin::script::Builder;
use bitcoin::{Script, Transaction};

use crate::block::CheckedBlock;
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

/// Returns whether each new output must be looked up to be sure it replaces no unspent coin
/// (BIP30).
///
/// Not where every coinbase of the block starts with its height (BIP34): ids cannot repeat then,
/// which saves one look-up per output. Regtest blocks are always looked up, since anyone can
/// have made a coinbase with a later height there.
pub fn needs_overwrite_check(network: Network, height: Height, block: &CheckedBlock) -> bool {
    matches!(network, Network::Regtest)
        || !network.unique_coinbase_heights().contains(&height.get())
        || block
            .transactions()
            .any(|(_, transaction)| transaction.is_coinbase() && !commits_to(transaction, height))
}

/// Returns whether a coinbase starts with its height, in the form BIP34 demands.
pub(crate) fn commits_to(coinbase: &Transaction, height: Height) -> bool {
    let prefix = Builder::new()
        .push_int(i64::from(height.get()))
        .into_script();
    coinbase
        .input
        .first()
        .is_some_and(|input| input.script_sig.as_bytes().starts_with(prefix.as_bytes()))
}
