use std::convert::Infallible;

use bitcoin::absolute::LockTime;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Block, OutPoint, ScriptBuf, Sequence, TxIn, TxMerkleNode, TxOut, Witness};

use super::*;
use crate::Network;
use crate::delta::{Coin, CoinView, DeltaBuilder, DeltaStep};
use crate::units::Height;

/// One coin of 1,000 satoshi at every outpoint of the transaction of [`earlier`].
struct Thousands;

impl CoinView for Thousands {
    type Error = Infallible;

    fn coin(&self, outpoint: &OutPoint) -> Result<Option<Coin>, Infallible> {
        Ok((outpoint.txid == earlier(0).txid).then(|| Coin {
            value: Amount::from_sat(1_000),
            script: ScriptBuf::from_bytes(vec![0x51]),
            height: Height::ZERO,
            coinbase: false,
        }))
    }
}

fn spend(inputs: &[OutPoint], outputs: &[u64], witness: bool) -> Transaction {
    Transaction {
        version: Version::ONE,
        lock_time: LockTime::ZERO,
        input: inputs
            .iter()
            .map(|outpoint| TxIn {
                previous_output: *outpoint,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: if witness {
                    Witness::from_slice(&[[7u8; 400]])
                } else {
                    Witness::new()
                },
            })
            .collect(),
        output: outputs
            .iter()
            .map(|value| TxOut {
                value: Amount::from_sat(*value),
                script_pubkey: ScriptBuf::from_bytes(vec![0x51]),
            })
            .collect(),
    }
}

fn earlier(vout: u32) -> OutPoint {
    OutPoint {
        txid: bitcoin::hashes::Hash::from_byte_array([8; 32]),
        vout,
    }
}

fn samples(transactions: Vec<Transaction>) -> Vec<FeeSample> {
    let genesis = Network::Regtest.genesis_block();
    let mut block = Block {
        header: genesis.header,
        txdata: vec![genesis.txdata[0].clone()],
    };
    block.txdata.extend(transactions);
    block.header.merkle_root = TxMerkleNode::from_raw_hash(
        block
            .compute_merkle_root()
            .expect("not empty")
            .to_raw_hash(),
    );
    let block = CheckedBlock::check(block).expect("well formed");
    let builder = DeltaBuilder::new(&block, Height::new(1), Network::Regtest);
    let Ok(DeltaStep::Done(delta)) = builder.step(&block, &Thousands, usize::MAX) else {
        panic!("the block has a change");
    };
    fee_samples(&block, &delta)
}

#[test]
fn fees_are_inputs_minus_outputs_and_the_coinbase_is_left_out() {
    let plain = spend(&[earlier(0), earlier(1)], &[1_500, 100], false);
    let expected = FeeSample {
        fee_satoshi: 400,
        virtual_bytes: plain.vsize() as u32,
    };
    assert_eq!(samples(vec![plain]), [expected]);
    assert_eq!(samples(vec![]), []);
}

#[test]
fn coins_made_in_the_block_count_with_their_value() {
    let parent = spend(&[earlier(0)], &[900], false);
    let child = spend(
        &[OutPoint {
            txid: parent.compute_txid(),
            vout: 0,
        }],
        &[850],
        false,
    );
    let fees: Vec<u64> = samples(vec![parent, child])
        .iter()
        .map(|sample| sample.fee_satoshi)
        .collect();
    assert_eq!(fees, [100, 50]);
}

#[test]
fn witness_data_counts_a_quarter() {
    let with = spend(&[earlier(0)], &[900], true);
    let without = spend(&[earlier(0)], &[900], false);
    let sizes = [with.clone(), without.clone()].map(|transaction| {
        samples(vec![transaction])
            .first()
            .map(|sample| sample.virtual_bytes)
    });
    // Marker, flag, count, length and the item itself.
    let witness_bytes: u32 = 2 + 1 + 3 + 400;
    let base = without.total_size() as u32;
    assert_eq!(sizes, [Some(base + witness_bytes.div_ceil(4)), Some(base)]);
}

#[test]
fn created_value_is_no_negative_fee() {
    let created = spend(&[earlier(0)], &[u64::MAX, u64::MAX], false);
    assert_eq!(samples(vec![created])[0].fee_satoshi, 0);
}
