//! `verify_tx_inclusion` with real proofs and real blocks, and every way a proof can fail.

use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::merkle_tree::MerkleBlock;
use bitcoin::{Block, OutPoint, Txid};
use millrace_candid::{
    Flag, InclusionProof, InitConfig, ProvenInclusion, ReadError, SetConfigRequest,
    VerifyTxInclusionArgs, VerifyTxInclusionResult,
};
use millrace_core::header::{ChainWork, HeaderContext, PeriodStart, TrustedHeader};
use millrace_core::tree::Tree;
use millrace_core::{Height, Network};
use serde_bytes::ByteBuf;

use super::regtest::{block, genesis, payment, regtest};
use super::setup::*;
use crate::convert;

fn file(name: &str) -> Vec<u8> {
    let path = format!(
        "{}/../tests/fixtures/proofs/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn id_bytes(txid: Txid) -> ByteBuf {
    ByteBuf::from(txid.to_byte_array())
}

fn verify(canister: &Canister, txid: Txid, proof: InclusionProof) -> VerifyTxInclusionResult {
    canister.app.verify_tx_inclusion(&VerifyTxInclusionArgs {
        txid: id_bytes(txid),
        proof,
        at_tip: None,
    })
}

fn merkle_block(bytes: &[u8]) -> InclusionProof {
    InclusionProof::MerkleBlock(ByteBuf::from(bytes))
}

/// A canister whose newest stable block is the one of a real proof.
fn at_real_block(header: Header, height: u32) -> Canister {
    let mut canister = Canister::new(pushed());
    let trusted = HeaderContext::trusted(&TrustedHeader {
        header,
        height: Height::new(height),
        chain_work: ChainWork::of(header.target()),
        earlier_times: vec![],
        period: PeriodStart {
            time: header.time,
            bits: header.bits,
        },
        last_regular_bits: header.bits,
    });
    canister.app.store.tree = Tree::new(trusted, Network::Mainnet);
    canister
}

#[test]
fn real_proofs_of_bitcoin_core_hold_for_the_transactions_they_mark() {
    for (name, height, positions) in [
        ("txoutproof_0830000-0.bin", 830_000, vec![0]),
        ("txoutproof_0830000-1000.bin", 830_000, vec![1_000]),
        ("txoutproof_0830000-1850.bin", 830_000, vec![1_850]),
        (
            "txoutproof_0831332-0_1_15_20_115_2019_2024.bin",
            831_332,
            vec![0, 1, 15, 20, 115, 2_019, 2_024],
        ),
    ] {
        let bytes = file(name);
        let proof: MerkleBlock = deserialize(&bytes).unwrap();
        let canister = at_real_block(proof.header, height);
        let (mut txids, mut indexes) = (vec![], vec![]);
        proof.extract_matches(&mut txids, &mut indexes).unwrap();
        assert_eq!(indexes, positions, "{name}");
        for (txid, position) in txids.into_iter().zip(positions) {
            let block = convert::block_id(proof.header.block_hash(), Height::new(height));
            let expected = ProvenInclusion {
                block: block.clone(),
                position,
                // Only the header is known, as below the base of a snapshot.
                confirmations: 0,
                transactions: None,
                tip: block,
            };
            let found = verify(&canister, txid, merkle_block(&bytes));
            assert_eq!(found, Ok(expected), "{name} {txid}");
        }
        let other = Txid::from_byte_array([5; 32]);
        let found = verify(&canister, other, merkle_block(&bytes));
        let not_proven = ReadError::TransactionNotProven {
            txid: id_bytes(other),
        };
        assert_eq!(found, Err(not_proven), "{name}");
    }
}

/// The first of the real blocks with four or more transactions.
fn block_of_several(blocks: &[Vec<u8>]) -> (u32, Block) {
    let found = (1..).zip(blocks).find_map(|(height, bytes)| {
        let block: Block = deserialize(bytes).unwrap();
        (block.txdata.len() >= 4).then_some((height, block))
    });
    found.unwrap()
}

fn proof_of(block: &Block, txid: Txid) -> MerkleBlock {
    MerkleBlock::from_block_with_predicate(block, |other| *other == txid)
}

/// The siblings of a transaction, computed level by level.
fn branch_of(block: &Block, position: usize) -> Vec<[u8; 32]> {
    let ids = block
        .txdata
        .iter()
        .map(|transaction| transaction.compute_txid());
    let mut level: Vec<[u8; 32]> = ids.map(|txid| txid.to_byte_array()).collect();
    let (mut position, mut siblings) = (position, vec![]);
    while level.len() > 1 {
        if level.len() % 2 == 1 {
            level.push(level[level.len() - 1]);
        }
        siblings.push(level[position ^ 1]);
        let parents = level
            .chunks(2)
            .map(|pair| sha256d::Hash::hash(&pair.concat()));
        level = parents.map(|hash| hash.to_byte_array()).collect();
        position /= 2;
    }
    siblings
}

fn branch(block: &Block, position: u32, siblings: &[[u8; 32]]) -> InclusionProof {
    InclusionProof::Branch {
        block: convert::hash(block.block_hash()),
        position,
        siblings: siblings.iter().map(|hash| ByteBuf::from(*hash)).collect(),
    }
}

#[test]
fn both_forms_hold_for_every_transaction_of_a_block_while_it_is_held_and_after() {
    let blocks = real_blocks();
    let (height, block) = block_of_several(&blocks);
    let count = block.txdata.len() as u32;
    let top = height as usize;
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(10u8.into()),
        ..pushed()
    });
    for fed in [top, top + 20] {
        canister.feed(&blocks[..fed]);
        for (position, transaction) in (0..).zip(&block.txdata) {
            let txid = transaction.compute_txid();
            let siblings = branch_of(&block, position as usize);
            for proof in [
                merkle_block(&serialize(&proof_of(&block, txid))),
                branch(&block, position, &siblings),
            ] {
                let found = verify(&canister, txid, proof).unwrap();
                let got = (found.position, found.confirmations, found.transactions);
                let confirmations = fed as u32 - height + 1;
                assert_eq!(got, (position, confirmations, Some(count)));
                assert_eq!((found.block.height, found.tip.height), (height, fed as u32));
            }
        }
    }
}

fn assert_wrong_depth(found: &VerifyTxInclusionResult) {
    assert!(
        matches!(found, Err(ReadError::ProofFails { reason }) if reason.contains("siblings") || reason.contains("position")),
        "{found:?}"
    );
}

/// An inner node passes as a transaction where only the header is known; the number of transactions
/// shows that it is none.
#[test]
fn a_branch_that_ends_above_the_transactions_is_refused_while_the_block_is_held_and_after() {
    let blocks = real_blocks();
    let (height, block) = block_of_several(&blocks);
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(10u8.into()),
        ..pushed()
    });
    let siblings = branch_of(&block, 0);
    let ids = [0, 1].map(|index: usize| block.txdata[index].compute_txid().to_byte_array());
    let inner = Txid::from_raw_hash(sha256d::Hash::hash(&ids.concat()));
    for fed in [height as usize, height as usize + 20] {
        canister.feed(&blocks[..fed]);
        let found = verify(&canister, inner, branch(&block, 0, &siblings[1..]));
        assert_wrong_depth(&found);
        canister.upgrade();
    }
    assert!(canister.feed_state(vec![]).anchor.height > height);
}

/// The 64 bytes of such a transaction read as two hashes, so that its hash reads as an inner node:
/// whoever shaped its second half to be an id could prove what is in no block (CVE-2017-12842).
#[test]
fn a_branch_that_goes_on_below_a_64_byte_transaction_is_refused_while_the_block_is_held_and_after()
{
    let mut canister = Canister::new(InitConfig {
        stability_threshold: Some(2u8.into()),
        ..regtest()
    });
    let first = block(&genesis(), 1, 0, &[5_000], &[]);
    let mut pair = payment(&[super::regtest::coinbase_coin(&first)], &[1]);
    pair.output[0].script_pubkey = bitcoin::ScriptBuf::from_bytes(vec![0x51; 4]);
    let bytes = serialize(&pair);
    assert_eq!(bytes.len(), 64);
    let with = block(&first, 2, 0, &[1], &[pair]);
    let [left, right]: [[u8; 32]; 2] =
        [&bytes[..32], &bytes[32..]].map(|half| half.try_into().unwrap());
    let coinbase = with.txdata[0].compute_txid().to_byte_array();
    let forged = Txid::from_byte_array(right);
    let proof = || branch(&with, 3, &[left, coinbase]);

    // Where nothing but the header is known it passes, and says so.
    canister.announce(&[first.clone(), with.clone()]);
    let found = verify(&canister, forged, proof()).unwrap();
    assert_eq!((found.transactions, found.confirmations), (None, 0));

    let mut parent = with.clone();
    canister.feed_blocks(&[first, with.clone()]);
    for height in 3..8 {
        assert_wrong_depth(&verify(&canister, forged, proof()));
        let next = block(&parent, height, 0, &[1], &[]);
        canister.feed_blocks(std::slice::from_ref(&next));
        parent = next;
    }
    assert!(canister.feed_state(vec![]).anchor.height > 2);
    canister.upgrade();
    assert_wrong_depth(&verify(&canister, forged, proof()));
    let good = verify(
        &canister,
        with.txdata[1].compute_txid(),
        branch(&with, 1, &[coinbase]),
    );
    assert_eq!(good.unwrap().transactions, Some(2));
}

#[test]
fn every_bad_proof_is_a_typed_error() {
    let blocks = real_blocks();
    let (height, block) = block_of_several(&blocks);
    let mut canister = Canister::new(pushed());
    canister.feed(&blocks[..height as usize]);
    let txid = block.txdata[1].compute_txid();
    let good = serialize(&proof_of(&block, txid));
    let siblings = branch_of(&block, 1);
    let fails = |proof| match verify(&canister, txid, proof).unwrap_err() {
        ReadError::ProofFails { reason } => reason,
        other => panic!("{other:?}"),
    };
    let mut wrong = siblings.clone();
    wrong[0][3] ^= 1;
    assert!(fails(branch(&block, 1, &wrong)).contains("leads to merkle root"));
    assert!(fails(branch(&block, 0, &siblings)).contains("leads to merkle root"));
    assert!(fails(branch(&block, 99, &siblings)).contains("position 99"));
    let mut flipped = good.clone();
    flipped[90] ^= 1;
    assert!(fails(merkle_block(&flipped)).contains("merkle block"));

    let malformed = |bytes: &[u8]| match verify(&canister, txid, merkle_block(bytes)).unwrap_err() {
        ReadError::MalformedProof { reason } => reason,
        other => panic!("{other:?}"),
    };
    assert!(malformed(&good[..good.len() - 1]).contains("does not decode"));
    assert!(malformed(&[good.as_slice(), &[0]].concat()).contains("1 more follow"));

    let error = |proof| verify(&canister, txid, proof).unwrap_err();
    let max = 600_000;
    let given = max + 1;
    assert_eq!(
        error(merkle_block(&vec![0; given as usize])),
        ReadError::ProofTooLarge { given, max }
    );
    assert_eq!(
        error(branch(&block, 0, &[[0; 32]; 16])),
        ReadError::TooManyItems { given: 16, max: 15 }
    );
    let short = InclusionProof::Branch {
        block: convert::hash(block.block_hash()),
        position: 0,
        siblings: vec![ByteBuf::from([1; 31])],
    };
    let expected_bytes = 32;
    let given_bytes = 31;
    assert_eq!(
        error(short),
        ReadError::MalformedHash {
            given_bytes,
            expected_bytes
        }
    );
    let unknown = file("txoutproof_0830000-0.bin");
    let hash = convert::hash(hash_of(&unknown));
    assert_eq!(
        error(merkle_block(&unknown)),
        ReadError::UnknownBlock { hash }
    );
}

#[test]
fn a_proof_in_a_block_beside_the_best_chain_has_no_confirmations() {
    let (real, other) = (real_blocks(), other_blocks());
    let mut canister = Canister::new(pushed());
    canister.feed(&other[..1]);
    canister.feed(&real[..2]);
    assert_eq!(canister.tip().0, hash_of(&real[1]));
    let block: Block = deserialize(&other[0]).unwrap();
    let txid = block.txdata[0].compute_txid();
    let args = |at_tip| VerifyTxInclusionArgs {
        txid: id_bytes(txid),
        proof: branch(&block, 0, &[]),
        at_tip,
    };
    let beside = canister.app.verify_tx_inclusion(&args(None)).unwrap();
    assert_eq!((beside.confirmations, beside.transactions), (0, Some(1)));
    let own = Some(convert::hash(block.block_hash()));
    let on_chain = canister.app.verify_tx_inclusion(&args(own)).unwrap();
    assert_eq!((on_chain.confirmations, on_chain.tip.height), (1, 1));
}

/// The proof stands on the header's work alone there, so it counts for nothing on the chain read.
#[test]
fn a_missing_blocks_header_bears_proofs_and_a_condemned_ones_does_not() {
    let mut canister = Canister::new(regtest());
    let missing = block(&genesis(), 1, 0, &[1], &[]);
    canister.announce(std::slice::from_ref(&missing));
    let txid = missing.txdata[0].compute_txid();
    let found = verify(&canister, txid, branch(&missing, 0, &[])).unwrap();
    assert_eq!((found.block.height, found.tip.height), (1, 0));
    assert_eq!((found.confirmations, found.transactions), (0, None));

    let nowhere = OutPoint::new(Txid::from_byte_array([7; 32]), 0);
    let bad = block(&genesis(), 1, 1, &[1], &[payment(&[nowhere], &[1])]);
    canister.feed_blocks(std::slice::from_ref(&bad));
    let txid = bad.txdata[1].compute_txid();
    let hash = convert::hash(bad.block_hash());
    assert_eq!(
        verify(&canister, txid, branch(&bad, 1, &branch_of(&bad, 1))),
        Err(ReadError::UnknownBlock { hash })
    );
}

#[test]
fn a_closed_api_judges_no_proofs() {
    let mut canister = Canister::new(regtest());
    let close = SetConfigRequest {
        api_access: Some(Flag::Disabled),
        ..SetConfigRequest::default()
    };
    canister.app.set_config(close).unwrap();
    let txid = genesis().txdata[0].compute_txid();
    let found = verify(&canister, txid, branch(&genesis(), 0, &[]));
    assert_eq!(found, Err(ReadError::ApiDisabled));
}
