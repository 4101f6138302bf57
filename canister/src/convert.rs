//! The only bridge between domain types and Candid types.

use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, OutPoint, Txid};
use millrace_candid as wire;
use millrace_candid::official::NetworkInRequest;
use millrace_core::assembly::AssemblyError;
use millrace_core::consensus::BlockValidation;
use millrace_core::header::ChainWork;
use millrace_core::script::AddressError;
use millrace_core::tree::InvalidReason;
use millrace_core::{Height, Network};
use millrace_store::StoreError;
use millrace_store::coins::{Balance, ListedCoin};
use millrace_store::rejections::{Rejection, RejectionKind};
use serde_bytes::ByteBuf;

/// Bytes in a hash.
pub const HASH_BYTES: usize = 32;

/// Returns the official interface's name of a network. Test networks share one.
pub const fn network(network: Network) -> wire::Network {
    match network {
        Network::Mainnet => wire::Network::Mainnet,
        Network::Testnet3 | Network::Testnet4 | Network::Signet => wire::Network::Testnet,
        Network::Regtest => wire::Network::Regtest,
    }
}

/// Returns the network a request means, in either spelling.
pub fn network_in_request(network: NetworkInRequest) -> wire::Network {
    match network {
        NetworkInRequest::Mainnet | NetworkInRequest::mainnet => wire::Network::Mainnet,
        NetworkInRequest::Testnet | NetworkInRequest::testnet => wire::Network::Testnet,
        NetworkInRequest::Regtest | NetworkInRequest::regtest => wire::Network::Regtest,
    }
}

/// Returns the network that an official error names.
pub const fn official_network(chain: wire::Chain) -> ic_btc_interface::Network {
    match chain {
        wire::Chain::Mainnet => ic_btc_interface::Network::Mainnet,
        wire::Chain::Testnet4 | wire::Chain::Signet => ic_btc_interface::Network::Testnet,
        wire::Chain::Regtest => ic_btc_interface::Network::Regtest,
    }
}

/// Returns a network's own name. Testnet3 cannot be configured.
pub const fn chain(network: Network) -> wire::Chain {
    match network {
        Network::Mainnet => wire::Chain::Mainnet,
        Network::Testnet3 | Network::Testnet4 => wire::Chain::Testnet4,
        Network::Signet => wire::Chain::Signet,
        Network::Regtest => wire::Chain::Regtest,
    }
}

/// Returns the name that configures a network. Testnet3 cannot be configured.
pub const fn init_network(network: Network) -> wire::InitNetwork {
    match network {
        Network::Mainnet => wire::InitNetwork::Mainnet,
        Network::Testnet3 | Network::Testnet4 => wire::InitNetwork::Testnet4,
        Network::Signet => wire::InitNetwork::Signet,
        Network::Regtest => wire::InitNetwork::Regtest,
    }
}

/// Returns the validation's Candid form.
pub const fn block_validation(validation: BlockValidation) -> wire::BlockValidation {
    match validation {
        BlockValidation::ProofOfWork => wire::BlockValidation::ProofOfWork,
        BlockValidation::Consensus => wire::BlockValidation::Consensus,
    }
}

/// Returns the validation that a configuration names.
pub const fn configured_validation(validation: wire::BlockValidation) -> BlockValidation {
    match validation {
        wire::BlockValidation::ProofOfWork => BlockValidation::ProofOfWork,
        wire::BlockValidation::Consensus => BlockValidation::Consensus,
    }
}

/// Returns the Candid form of the work a chain must have; none for no work.
pub fn minimum_work(work: ChainWork) -> Option<String> {
    (work > ChainWork::ZERO).then(|| work.to_string())
}

/// Returns the setting's Candid form.
pub const fn flag(is_on: bool) -> wire::Flag {
    if is_on {
        wire::Flag::Enabled
    } else {
        wire::Flag::Disabled
    }
}

/// Returns the hash's bytes in internal order.
pub fn hash(hash: BlockHash) -> ByteBuf {
    ByteBuf::from(hash.to_byte_array())
}

/// Reads a hash; the error is the number of bytes given.
pub fn block_hash(bytes: &[u8]) -> Result<BlockHash, u32> {
    BlockHash::from_slice(bytes).map_err(|_| length(bytes.len()))
}

/// Reads a transaction id; the error is the number of bytes given.
pub fn txid(bytes: &[u8]) -> Result<Txid, u32> {
    Txid::from_slice(bytes).map_err(|_| length(bytes.len()))
}

/// Returns a balance's satoshi and number of coins.
pub fn balance(balance: Balance) -> Result<(u64, u64), wire::ReadError> {
    let out_of_range = || {
        wire::ReadError::Internal(format!(
            "the balance is {} satoshi, beyond 64 bits",
            balance.satoshi
        ))
    };
    Ok((
        u64::try_from(balance.satoshi).map_err(|_| out_of_range())?,
        u64::try_from(balance.coins).map_err(|_| out_of_range())?,
    ))
}

/// Returns a block's Candid form.
pub fn block_id(block: BlockHash, height: Height) -> wire::BlockId {
    wire::BlockId {
        hash: hash(block),
        height: height.get(),
    }
}

/// Returns a coin's Candid form.
pub fn utxo(coin: &ListedCoin) -> wire::Utxo {
    wire::Utxo {
        outpoint: outpoint(&coin.outpoint),
        value: coin.value.to_sat(),
        height: coin.height.get(),
        coinbase: coin.coinbase,
    }
}

/// Returns a coin's form in the official interface.
pub fn official_utxo(coin: &ListedCoin) -> wire::official::Utxo {
    wire::official::Utxo {
        outpoint: outpoint(&coin.outpoint),
        value: coin.value.to_sat(),
        height: coin.height.get(),
    }
}

fn outpoint(outpoint: &OutPoint) -> wire::OutPoint {
    wire::OutPoint {
        txid: ByteBuf::from(outpoint.txid.to_byte_array()),
        vout: outpoint.vout,
    }
}

/// Returns a length for an error message.
pub fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Returns the error for a hash of the wrong length.
pub fn malformed_hash(given_bytes: u32) -> wire::ReadError {
    wire::ReadError::MalformedHash {
        given_bytes,
        expected_bytes: HASH_BYTES as u32,
    }
}

/// Returns the error for an address that names no script here.
pub fn address_error(error: AddressError) -> wire::ReadError {
    match error {
        AddressError::Malformed { address, reason } => {
            wire::ReadError::MalformedAddress { address, reason }
        }
        AddressError::WrongNetwork { address, expected } => {
            wire::ReadError::AddressForWrongNetwork {
                address,
                expected: chain(expected),
            }
        }
    }
}

/// Returns the error for a fault of the store.
pub fn store_error(error: StoreError) -> wire::ReadError {
    wire::ReadError::Internal(error.to_string())
}

/// Returns the kind of rejection of a block that is invalid.
pub const fn rejection_kind(reason: InvalidReason) -> RejectionKind {
    match reason {
        InvalidReason::Structure => RejectionKind::Structure,
        InvalidReason::Coins => RejectionKind::Coins,
        InvalidReason::Consensus => RejectionKind::Consensus,
        InvalidReason::Ancestor => RejectionKind::Ancestor,
        InvalidReason::Quarantined => RejectionKind::Quarantined,
    }
}

/// Returns a kind's Candid form.
pub const fn wire_kind(kind: RejectionKind) -> wire::RejectionKind {
    match kind {
        RejectionKind::UnknownParent => wire::RejectionKind::UnknownParent,
        RejectionKind::TooNew => wire::RejectionKind::TooNew,
        RejectionKind::TreeFull => wire::RejectionKind::TreeFull,
        RejectionKind::DamagedBytes => wire::RejectionKind::DamagedBytes,
        RejectionKind::Header => wire::RejectionKind::InvalidHeader,
        RejectionKind::Structure | RejectionKind::Coins | RejectionKind::Consensus => {
            wire::RejectionKind::InvalidBlock
        }
        RejectionKind::Ancestor => wire::RejectionKind::InvalidAncestor,
        RejectionKind::Quarantined => wire::RejectionKind::Quarantined,
    }
}

/// Returns a rejection's Candid form.
pub fn rejection(rejection: &Rejection) -> wire::Rejection {
    wire::Rejection {
        hash: hash(rejection.hash),
        height: rejection.height.map(Height::get),
        kind: Some(wire_kind(rejection.kind)),
        reason: rejection.reason.clone(),
    }
}

/// Returns the error for a part that cannot be accepted; none when it only has to wait.
pub fn part_error(error: AssemblyError) -> Option<wire::PartError> {
    Some(match error {
        AssemblyError::EmptyPart { .. } => wire::PartError::EmptyPart,
        AssemblyError::BlockTooLarge { size, max, .. } => {
            wire::PartError::BlockTooLarge { size, max }
        }
        AssemblyError::BlockTooSmall { size, min, .. } => {
            wire::PartError::BlockTooSmall { size, min }
        }
        AssemblyError::BeyondEnd {
            offset,
            length,
            size,
            ..
        } => wire::PartError::BeyondEnd {
            offset,
            length,
            size,
        },
        AssemblyError::UnexpectedOffset {
            expected, given, ..
        } => wire::PartError::UnexpectedOffset { expected, given },
        AssemblyError::SizeChanged { first, given, .. } => {
            wire::PartError::SizeChanged { first, given }
        }
        AssemblyError::NoRoom { .. } => return None,
    })
}
