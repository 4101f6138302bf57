//! Structure rules against real blocks, and one broken case per rule.

use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{Block, ScriptBuf, Sequence, TxIn, Witness};
use proptest::prelude::*;

use super::merkle::merkle_root;
use super::*;
use crate::fixtures::{CheckedBlock, framed_blocks, hex_blocks};

/// A real mainnet block with `count` transactions, decoded.
fn real_block(count: usize) -> Block {
    framed_blocks("blocktools/1M.dat")
        .iter()
        .map(|bytes| CheckedBlock::decode(bytes).unwrap().into_block())
        .find(|block| block.txdata.len() == count)
        .unwrap_or_else(|| panic!("the file has a block of {count} transactions"))
}

/// Sets the merkle root to what the `bitcoin` crate computes for the transactions.
fn seal(mut block: Block) -> Block {
    block.header.merkle_root = block.compute_merkle_root().unwrap();
    block
}

#[test]
fn real_blocks_of_three_chains_decode_with_their_transactions() {
    let mainnet = framed_blocks("blocktools/1M.dat");
    let alternate = framed_blocks("bitcoin-core/mainnet_alt_blocks_1_2016.dat");
    let regtest = hex_blocks("bitcoin-core/regtest_blocks.hex.txt");
    for (name, blocks, count, transactions) in [
        ("mainnet", mainnet, 4522, 4583),
        ("alternate", alternate, 2016, 2016),
        ("regtest with witnesses", regtest, 206, 231),
    ] {
        let checked: Vec<CheckedBlock> = blocks
            .iter()
            .map(|bytes| CheckedBlock::decode(bytes).unwrap())
            .collect();
        assert_eq!(checked.len(), count, "{name}");
        let total: usize = checked.iter().map(|b| b.transactions().len()).sum();
        assert_eq!(total, transactions, "{name}");
        for (bytes, block) in blocks.iter().zip(checked) {
            assert_eq!(
                decode_header(bytes).unwrap().block_hash(),
                block.hash(),
                "{name}"
            );
            assert_eq!(serialize(&block.into_block()), *bytes, "{name}");
        }
    }
}

#[test]
fn cut_and_overlong_bytes_are_refused() {
    let bytes = serialize(&real_block(2));
    for length in [0, 79] {
        assert_eq!(
            CheckedBlock::decode(&bytes[..length]),
            Err(BlockError::NoHeader { length })
        );
    }
    for length in [80, 81, 100, bytes.len() - 1] {
        let error = CheckedBlock::decode(&bytes[..length]).unwrap_err();
        assert!(matches!(error, BlockError::Malformed { .. }), "{error}");
        assert!(!error.condemns_header());
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(matches!(
        CheckedBlock::decode(&long),
        Err(BlockError::TrailingBytes { used, trailing: 1, .. }) if used == bytes.len()
    ));
    long.resize(MAX_BLOCK_BYTES + 1, 0);
    assert_eq!(
        CheckedBlock::decode(&long),
        Err(BlockError::TooLong {
            length: MAX_BLOCK_BYTES + 1
        })
    );
}

#[test]
fn a_huge_transaction_count_allocates_nothing_and_fails() {
    let mut bytes = serialize(&real_block(2).header);
    bytes.extend([0xff; 9]);
    assert!(matches!(
        CheckedBlock::decode(&bytes),
        Err(BlockError::Malformed { .. })
    ));
}

#[test]
fn a_block_without_transactions_is_refused() {
    let mut block = real_block(2);
    block.txdata.clear();
    let hash = block.block_hash();
    assert_eq!(CheckedBlock::check(block), Err(BlockError::Empty { hash }));
}

#[test]
fn transactions_that_do_not_match_the_merkle_root_are_refused() {
    let mut block = real_block(2);
    block.txdata.swap(0, 1);
    let error = CheckedBlock::check(block).unwrap_err();
    assert!(matches!(error, BlockError::MerkleRoot { .. }), "{error}");
    assert!(!error.condemns_header());
}

#[test]
fn a_list_with_its_tail_written_twice_is_a_disguise() {
    for count in [3, 6] {
        // Cut a sealed list from real transactions, then repeat what the tree repeats.
        let mut block = real_block(2);
        block.txdata = framed_blocks("blocktools/1M.dat")[1..=count]
            .iter()
            .map(|bytes| CheckedBlock::decode(bytes).unwrap().into_block().txdata[0].clone())
            .collect();
        let mut block = seal(block);
        assert!(CheckedBlock::check(block.clone()).is_ok());
        let honest_root = block.header.merkle_root;
        let tail = block.txdata[count - count / 3..].to_vec();
        block.txdata.extend(tail);
        assert_eq!(block.compute_merkle_root(), Some(honest_root), "{count}");
        let error = CheckedBlock::check(block).unwrap_err();
        assert!(matches!(error, BlockError::Mutated { .. }), "{error}");
        assert!(!error.condemns_header());
    }
}

#[test]
fn a_first_transaction_that_is_no_coinbase_condemns_the_header() {
    let mut block = real_block(2);
    block.txdata.swap(0, 1);
    let error = CheckedBlock::check(seal(block)).unwrap_err();
    assert!(
        matches!(error, BlockError::FirstNotCoinbase { .. }),
        "{error}"
    );
    assert!(error.condemns_header());
}

/// Inner merkle nodes can be presented as transactions of 64 bytes; the header behind them may be
/// perfectly valid.
#[test]
fn transactions_of_64_bytes_do_not_condemn_the_header() {
    let mut block = real_block(2);
    let mut small = block.txdata[1].clone();
    small.input = vec![TxIn {
        previous_output: small.input[0].previous_output,
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    }];
    small.output.truncate(1);
    small.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0; 4]);
    assert_eq!(small.base_size(), 64);
    block.txdata = vec![small];
    let error = CheckedBlock::check(seal(block)).unwrap_err();
    assert!(matches!(error, BlockError::Mutated { .. }), "{error}");
    assert!(!error.condemns_header());
}

#[test]
fn a_repeated_transaction_is_refused() {
    let mut block = real_block(2);
    let again = block.txdata[1].clone();
    let other = real_block(3).txdata[2].clone();
    block.txdata.extend([other, again.clone()]);
    let error = CheckedBlock::check(seal(block)).unwrap_err();
    assert!(
        matches!(error, BlockError::DuplicateTransaction { txid, .. } if txid == again.compute_txid()),
        "{error}"
    );
    let start = format!("duplicate transaction {} in block ", again.compute_txid());
    assert!(error.to_string().starts_with(&start), "{error}");
}

/// The bytes under the merkle root are the header's own fault, witness data may be the carrier's.
#[test]
fn a_block_over_a_size_limit_is_refused() {
    let with_script = |length| {
        let mut block = real_block(2);
        block.txdata[1].output[0].script_pubkey = ScriptBuf::from_bytes(vec![0; length]);
        block
    };
    // What the block has besides the script, its length written in five bytes.
    let other = serialize(&with_script(100_000)).len() - 100_000;
    let largest = with_script(MAX_BASE_BYTES - other);
    assert!(CheckedBlock::check(seal(largest.clone())).is_ok());

    let error = CheckedBlock::check(seal(with_script(MAX_BASE_BYTES - other + 1))).unwrap_err();
    assert!(
        matches!(error, BlockError::BaseTooLarge { bytes, .. } if bytes == MAX_BASE_BYTES + 1),
        "{error}"
    );
    assert!(error.condemns_header());

    // Witness data is not under the merkle root: its weight says nothing of the header.
    let mut with_witness = largest;
    with_witness.txdata[1].input[0].witness.push([1]);
    let heavy = CheckedBlock::check(seal(with_witness)).unwrap();
    assert!(heavy.weight() > MAX_BLOCK_WEIGHT);
}

#[test]
fn several_coinbase_like_transactions_pass() {
    let mut block = real_block(2);
    let other = real_block(3).txdata[0].clone();
    assert!(other.is_coinbase());
    block.txdata.push(other);
    assert!(CheckedBlock::check(seal(block)).is_ok());
}

proptest! {
    /// The reference is the root computed by the `bitcoin` crate.
    #[test]
    fn merkle_roots_equal_those_of_another_implementation(
        seeds in proptest::collection::vec(any::<u64>(), 1..70)
    ) {
        let txids: Vec<Txid> = seeds
            .iter()
            .map(|seed| Txid::hash(&seed.to_le_bytes()))
            .collect();
        let expected = bitcoin::merkle_tree::calculate_root(txids.iter().copied()).unwrap();
        let leaves = txids.iter().map(|txid| txid.to_byte_array()).collect();
        prop_assert_eq!(merkle_root(leaves).root, expected.to_byte_array());
    }

    #[test]
    fn damaged_blocks_fail_cleanly(at in 0usize..490, flip in 1u8..) {
        let mut bytes = framed_blocks("blocktools/1M.dat")[170].clone();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        match CheckedBlock::decode(&bytes) {
            // Only the header is not under the merkle root.
            Ok(_) => prop_assert!(at < 80),
            Err(error) => prop_assert!(!error.condemns_header()),
        }
    }
}
