//! Real proofs of Bitcoin Core, and one broken case per rule.

use bitcoin::consensus::serialize;
use bitcoin::merkle_tree::PartialMerkleTree;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{CheckedBlock, file};

fn real(name: &str) -> (Vec<u8>, MerkleBlockProof) {
    let bytes = file(&format!("proofs/txoutproof_{name}.bin"));
    let proof = MerkleBlockProof::decode(&bytes).unwrap();
    (bytes, proof)
}

/// A real block of 63 transactions.
fn block() -> CheckedBlock {
    CheckedBlock::decode(&file("raito/mainnet_block_757739.bin")).unwrap()
}

fn txids(block: &CheckedBlock) -> Vec<Txid> {
    block.transactions().map(|(txid, _)| *txid).collect()
}

/// The siblings of `position`, by building the whole tree.
fn branch(txids: &[Txid], position: usize) -> Vec<[u8; 32]> {
    let mut level: Vec<[u8; 32]> = txids.iter().map(|txid| txid.to_byte_array()).collect();
    let (mut at, mut siblings) = (position, Vec::new());
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.push(*level.last().unwrap());
        }
        siblings.push(level[at ^ 1]);
        level = level
            .chunks(2)
            .map(|pair| parent(&pair[0], &pair[1]))
            .collect();
        at /= 2;
    }
    siblings
}

/// A merkle block for the transactions at the positions `marks` chooses, as bytes.
fn marking(block: &CheckedBlock, marks: impl Fn(usize) -> bool) -> Vec<u8> {
    let ids = txids(block);
    let marked: Vec<bool> = (0..ids.len()).map(marks).collect();
    serialize(&MerkleBlock {
        header: *block.header(),
        txn: PartialMerkleTree::from_txids(&ids, &marked),
    })
}

#[test]
fn real_proofs_show_the_positions_they_were_made_for() {
    let of_830000 = "000000000000000000011d55599ed27d7efca05f5849b755319c89eb2cffbc1f";
    let of_831332 = "00000000000000000000a4c01889bd8c5aeb480a3ab3a2174efa8ba2520a7657";
    let cases: [(&str, &str, u32, &[u32]); 4] = [
        ("0830000-0", of_830000, 1851, &[0]),
        ("0830000-1000", of_830000, 1851, &[1000]),
        ("0830000-1850", of_830000, 1851, &[1850]),
        (
            "0831332-0_1_15_20_115_2019_2024",
            of_831332,
            2355,
            &[0, 1, 15, 20, 115, 2019, 2024],
        ),
    ];
    for (name, hash, transactions, positions) in cases {
        let (_, proof) = real(name);
        assert_eq!(proof.block_hash().to_string(), hash, "{name}");
        let header = proof.block.header;
        let proven = proof.verify(&header, Some(transactions)).unwrap();
        let got: Vec<u32> = proven.iter().map(|proven| proven.position).collect();
        assert_eq!(got, positions, "{name}");
        assert_eq!(proof.verify(&header, None), Ok(proven), "{name}");
    }
}

#[test]
fn a_proof_made_from_a_real_block_names_its_transactions() {
    let block = block();
    let ids = txids(&block);
    let proof = marking(&block, |index| index % 7 == 3);
    let proof = MerkleBlockProof::decode(&proof).unwrap();
    let proven = proof.verify(block.header(), Some(63)).unwrap();
    assert_eq!(proven.len(), 9);
    for proven in proven {
        assert_eq!(proven.position % 7, 3);
        assert_eq!(ids[proven.position as usize], proven.txid);
    }
}

#[test]
fn bytes_that_are_no_merkle_block_are_refused() {
    let (bytes, _) = real("0830000-0");
    for length in [0, 79, 83, 84, 100, bytes.len() - 1] {
        let error = MerkleBlockProof::decode(&bytes[..length]).unwrap_err();
        assert!(
            matches!(error, ProofError::Malformed { length: l, .. } if l == length),
            "{error}"
        );
    }
    let mut long = bytes.clone();
    long.push(0);
    assert_eq!(
        MerkleBlockProof::decode(&long),
        Err(ProofError::TrailingBytes {
            used: 473,
            trailing: 1
        })
    );
    assert_eq!(
        MerkleBlockProof::decode(&vec![0; MAX_MERKLE_BLOCK_BYTES + 1]),
        Err(ProofError::TooLong {
            length: MAX_MERKLE_BLOCK_BYTES + 1
        })
    );
    // A count of 2^64 - 1 hashes, of which none follow.
    let mut huge = bytes[..84].to_vec();
    huge.extend([0xff; 9]);
    assert!(matches!(
        MerkleBlockProof::decode(&huge),
        Err(ProofError::Malformed { .. })
    ));
}

/// Offsets in a merkle block: the number of transactions, the count of hashes, the first hash.
const COUNT_AT: usize = 80;
const HASHES_AT: usize = 84;
const FIRST_HASH_AT: usize = 85;

#[test]
fn each_rule_of_the_partial_tree_is_checked() {
    let (bytes, proof) = real("0830000-1000");
    let header = proof.block.header;
    let hashes = usize::from(bytes[HASHES_AT]);
    let flags_at = FIRST_HASH_AT + 32 * hashes;
    let count = |transactions: u32| {
        let mut changed = bytes.clone();
        changed[COUNT_AT..HASHES_AT].copy_from_slice(&transactions.to_le_bytes());
        changed
    };
    let edit = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.clone();
        edit(&mut changed);
        changed
    };
    let cases = [
        (
            "no transactions",
            count(0),
            MerkleBlockError::NoTransactions,
        ),
        (
            "too many transactions",
            count(16_667),
            MerkleBlockError::TooManyTransactions,
        ),
        (
            "more hashes than transactions",
            count(3),
            MerkleBlockError::TooManyHashes,
        ),
        (
            "fewer flags than hashes",
            edit(&|b| {
                b.truncate(flags_at);
                b.extend([1, 0xff]);
            }),
            MerkleBlockError::NotEnoughBits,
        ),
        (
            "a flag byte too many",
            edit(&|b| {
                b[flags_at] += 1;
                b.push(0);
            }),
            MerkleBlockError::NotAllBitsConsumed,
        ),
        (
            "a hash too many",
            edit(&|b| {
                b[HASHES_AT] += 1;
                b.splice(flags_at..flags_at, [7; 32]);
            }),
            MerkleBlockError::NotAllHashesConsumed,
        ),
        (
            "a hash too few",
            edit(&|b| {
                b[HASHES_AT] -= 1;
                b.drain(flags_at - 32..flags_at);
            }),
            MerkleBlockError::HashesArrayOverflow,
        ),
        (
            "a changed hash",
            edit(&|b| b[FIRST_HASH_AT] ^= 1),
            MerkleBlockError::MerkleRootMismatch,
        ),
    ];
    for (name, changed, expected) in cases {
        let proof = MerkleBlockProof::decode(&changed).unwrap();
        let error = proof.verify(&header, None).unwrap_err();
        assert!(
            matches!(&error, ProofError::Tree { reason, .. } if *reason == expected),
            "{name}: {error}"
        );
    }
}

/// CVE-2012-2459: the last transaction of an odd level, shown again at a position past the end.
#[test]
fn a_copy_past_the_end_is_no_transaction() {
    let block = block();
    let ids = txids(&block);
    let mut doubled = ids.clone();
    doubled.push(ids[62]);
    let mut marked = vec![false; 64];
    marked[63] = true;
    let proof = MerkleBlockProof {
        block: MerkleBlock {
            header: *block.header(),
            txn: PartialMerkleTree::from_txids(&doubled, &marked),
        },
    };
    assert!(matches!(
        proof.verify(block.header(), None),
        Err(ProofError::Tree {
            transactions: 64,
            reason: MerkleBlockError::IdenticalHashesFound,
            ..
        })
    ));
    assert_eq!(
        proof.verify(block.header(), Some(63)),
        Err(ProofError::TransactionCount {
            got: 64,
            expected: 63
        })
    );
    let siblings = branch(&doubled, 63);
    assert_eq!(
        verify_branch(block.header(), ids[62], 63, &siblings, None),
        Err(ProofError::Duplicate {
            level: 0,
            position: 63
        })
    );
    assert_eq!(
        verify_branch(block.header(), ids[62], 63, &siblings, Some(63)),
        Err(ProofError::Position {
            position: 63,
            limit: 63
        })
    );
}

#[test]
fn proofs_of_other_blocks_and_of_nothing_are_refused() {
    let (_, proof) = real("0830000-0");
    let other = *block().header();
    assert_eq!(
        proof.verify(&other, None),
        Err(ProofError::OtherBlock {
            got: proof.block_hash(),
            expected: other.block_hash()
        })
    );
    let block = block();
    let unmarked = MerkleBlockProof {
        block: MerkleBlock {
            header: *block.header(),
            txn: PartialMerkleTree::from_txids(&txids(&block), &[false; 63]),
        },
    };
    assert_eq!(
        unmarked.verify(block.header(), None),
        Err(ProofError::NothingProven)
    );
}

#[test]
fn branches_lead_from_every_transaction_to_the_root() {
    let block = block();
    let ids = txids(&block);
    for (position, txid) in (0u32..).zip(&ids) {
        let siblings = branch(&ids, position as usize);
        for transactions in [None, Some(63)] {
            assert_eq!(
                verify_branch(block.header(), *txid, position, &siblings, transactions),
                Ok(ProvenTransaction {
                    txid: *txid,
                    position
                })
            );
        }
    }
}

#[test]
fn broken_branches_are_refused() {
    let block = block();
    let header = block.header();
    let ids = txids(&block);
    let siblings = branch(&ids, 5);
    let judge = |position, siblings: &[[u8; 32]], transactions| {
        verify_branch(header, ids[5], position, siblings, transactions)
    };
    let is_root_error = |verdict| matches!(verdict, Err(ProofError::Root { .. }));
    assert!(is_root_error(judge(4, &siblings, None)));
    assert!(is_root_error(verify_branch(
        header, ids[6], 5, &siblings, None
    )));
    let mut changed = siblings.clone();
    changed[3][0] ^= 1;
    assert!(is_root_error(judge(5, &changed, None)));
    assert_eq!(
        judge(64, &siblings, None),
        Err(ProofError::Position {
            position: 64,
            limit: 64
        })
    );
    assert_eq!(
        judge(5, &vec![[0; 32]; 16], None),
        Err(ProofError::BranchTooLong { length: 16 })
    );
    assert_eq!(
        judge(5, &siblings, Some(65)),
        Err(ProofError::BranchLength {
            got: 6,
            expected: 7,
            transactions: 65
        })
    );
}

/// Without the number of transactions an inner node passes as a transaction; with it, it does not.
#[test]
fn an_inner_node_passes_only_where_the_number_of_transactions_is_unknown() {
    let block = block();
    let ids = txids(&block);
    let siblings = branch(&ids, 4);
    let node = parent(&ids[4].to_byte_array(), &ids[5].to_byte_array());
    let node = Txid::from_byte_array(node);
    let judge = |transactions| verify_branch(block.header(), node, 2, &siblings[1..], transactions);
    assert!(judge(None).is_ok());
    assert_eq!(
        judge(Some(63)),
        Err(ProofError::BranchLength {
            got: 5,
            expected: 6,
            transactions: 63
        })
    );
}

#[test]
fn a_block_of_one_transaction_needs_no_siblings() {
    let block =
        CheckedBlock::decode(&crate::fixtures::framed_blocks("blocktools/1M.dat")[9]).unwrap();
    let txid = txids(&block)[0];
    for transactions in [None, Some(1)] {
        assert!(verify_branch(block.header(), txid, 0, &[], transactions).is_ok());
    }
    for transactions in [Some(0), Some(u32::MAX)] {
        assert!(verify_branch(block.header(), txid, 0, &[], transactions).is_err());
    }
    assert_eq!((MAX_BLOCK_TRANSACTIONS, MAX_BRANCH_NODES), (16_666, 15));
}

proptest! {
    /// A flipped flag may show a leaf that was only a sibling, which is there as well; nothing else
    /// gets through.
    #[test]
    fn damaged_proofs_show_nothing_that_is_not_there(at in 0usize..10_000, bit in 0u8..8) {
        let block = block();
        let ids = txids(&block);
        let mut bytes = marking(&block, |index| index % 7 == 3);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(damaged) = MerkleBlockProof::decode(&bytes)
            && let Ok(proven) = damaged.verify(block.header(), Some(63))
        {
            for proven in proven {
                prop_assert_eq!(ids.get(proven.position as usize), Some(&proven.txid));
            }
        }
    }

    #[test]
    fn any_bytes_fail_cleanly(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(proof) = MerkleBlockProof::decode(&bytes) {
            let header = proof.block.header;
            let _ = proof.verify(&header, None);
        }
    }
}
