//! Blocks of any kind, with a proof of work, and real ones with any change.

use super::*;
use bitcoin::absolute::LockTime;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::transaction::Version;
use bitcoin::{Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};

/// A regtest block at the genesis block made of these transactions, with a proof of work.
pub fn block_of(transactions: Vec<Transaction>, time: u32, merkle: bool) -> Vec<u8> {
    let mut block: Block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    block.header.prev_blockhash = block.block_hash();
    block.header.time = block.header.time.wrapping_add(time);
    // The version and the coinbases' scripts are those that consensus rules want at height 1.
    block.header.version = bitcoin::block::Version::from_consensus(4);
    block.txdata = transactions;
    if merkle && let Some(root) = block.compute_merkle_root() {
        block.header.merkle_root = root;
    }
    while !block.header.target().is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    serialize(&block)
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let known = OutPoint::new(genesis.txdata[0].compute_txid(), 0);
    let outpoint = prop_oneof![
        Just(OutPoint::null()),
        Just(known),
        any::<u32>().prop_map(move |vout| OutPoint { vout, ..known }),
    ];
    let script = || {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            Just(vec![0x6a; 10_001]),
            Just(vec![0x51]),
        ]
        .prop_map(ScriptBuf::from_bytes)
    };
    let value = prop_oneof![any::<u64>(), 0..100u64].prop_map(Amount::from_sat);
    let output = (value, script()).prop_map(|(value, script_pubkey)| TxOut {
        value,
        script_pubkey,
    });
    let input = (outpoint, script(), any::<u32>(), any::<bool>()).prop_map(
        |(previous_output, script_sig, sequence, witness)| TxIn {
            previous_output,
            script_sig,
            sequence: Sequence(sequence),
            witness: if witness {
                Witness::from_slice(&[vec![7; 3]])
            } else {
                Witness::new()
            },
        },
    );
    let inputs = prop::collection::vec(input, 1..4);
    let outputs = prop::collection::vec(output, 0..4);
    (inputs, outputs, any::<i32>(), any::<u32>()).prop_map(|(input, output, version, lock)| {
        Transaction {
            version: Version(version),
            lock_time: LockTime::from_consensus(lock),
            input,
            output,
        }
    })
}

/// A coinbase; one that repeats the genesis block's, which is unspent, would condemn its block.
pub fn coinbase(number: u8) -> Transaction {
    let genesis = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
    let mut coinbase = genesis.txdata[0].clone();
    coinbase.input[0].script_sig = ScriptBuf::from_bytes(vec![0x51, 1, number]);
    coinbase
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_block_with_a_proof_of_work_is_connected_or_refused(
        blocks in prop::collection::vec(
            (prop::collection::vec(transaction(), 0..5), any::<bool>(), any::<bool>(),
             prop::collection::vec(mutation(), 0..3)),
            1..6,
        ),
        validation in prop_oneof![
            Just(BlockValidation::ProofOfWork),
            Just(BlockValidation::Consensus),
        ],
    ) {
        let mut canister = regtest();
        let change = SetConfigRequest {
            block_validation: Some(validation),
            ..SetConfigRequest::default()
        };
        canister.app.set_config(change).unwrap();
        for (index, (transactions, has_coinbase, merkle, mutations)) in blocks.into_iter().enumerate() {
            let first = coinbase(index as u8);
            let all = has_coinbase.then_some(first).into_iter().chain(transactions).collect();
            let mut bytes = block_of(all, 600 + index as u32, merkle);
            // Past the header, whose proof of work would be lost.
            let mut body = bytes.split_off(80);
            mutate(&mut body, &mutations);
            bytes.extend(body);
            canister.push_bytes(&bytes);
            canister.settle();
            canister.audit();
        }
        assert_goes_on(&mut canister);
    }

    #[test]
    fn any_change_of_a_real_block_is_refused_or_taken(
        mutations in prop::collection::vec(mutation(), 1..5),
        at in 0..6usize,
    ) {
        let (mut canister, real) = (Canister::new(pushed()), real_blocks());
        canister.feed(&real[..3]);
        let mut bytes = real[at].clone();
        mutate(&mut bytes, &mutations);
        let mut part = whole(&bytes);
        part.hash = whole(&real[at]).hash;
        canister.push_parts(vec![part, whole(&bytes)]);
        canister.settle();
        canister.audit();
        canister.feed(&real[..6]);
        prop_assert_eq!(canister.tip().1, 6);
        prop_assert!(deserialize::<Block>(&real[at]).is_ok());
    }
}
