//! Regtest headers for tests: two hashes each.

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, CompactTarget, Target, TxMerkleNode};
use millrace_core::{Network, UnixSeconds};

/// The clock of tests when they start.
pub const START: UnixSeconds = UnixSeconds::new(1_700_000_000);

/// Mines a header; `salt` tells chains apart.
pub fn mine(parent: BlockHash, time: u32, salt: u64) -> Header {
    let mut root = [0; 32];
    root[..8].copy_from_slice(&salt.to_le_bytes());
    let bits = CompactTarget::from_consensus(0x207f_ffff);
    let mut header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: parent,
        merkle_root: TxMerkleNode::from_byte_array(root),
        time,
        bits,
        nonce: 0,
    };
    while !Target::from_compact(bits).is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    header
}

/// Mines `count` headers after a block; the last has the time `end`, one a minute before.
pub fn mine_chain(parent: BlockHash, count: u32, end: UnixSeconds, salt: u64) -> Vec<Header> {
    let mut headers = Vec::new();
    let mut parent = parent;
    let end = u32::try_from(end.get()).unwrap();
    for index in 0..count {
        let header = mine(parent, end - (count - 1 - index) * 60, salt);
        parent = header.block_hash();
        headers.push(header);
    }
    headers
}

/// Returns the hash of regtest's first block.
pub fn genesis() -> BlockHash {
    Network::Regtest.genesis_block().block_hash()
}
