//! Scans against the `bitcoin` crate's decoder: on real blocks, on random ones, on broken ones.

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::script::Builder;
use bitcoin::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, transaction,
};
use proptest::prelude::*;

use super::hashing::LONG_BYTES;
use super::sigops::{SigopCounter, last_push};
use super::window::WINDOW_BYTES;
use super::*;
use crate::delta::{MAX_SCRIPT_BYTES, is_unspendable};
use crate::fixtures::{block_of, file, framed_blocks};
use crate::script::{ScriptHash, ScriptKey};

/// Checks everything a scan says of a good block against the decoded one.
fn check(bytes: &[u8], block: &Block) {
    let found = ScannedBlock::in_steps(bytes, true, usize::MAX).unwrap();
    assert_eq!(
        found,
        ScannedBlock::in_steps(bytes, true, 1).unwrap(),
        "pauses change nothing"
    );
    assert_eq!(found.hash(), block.block_hash());
    assert_eq!(found.header(), &block.header);
    let txids: Vec<Txid> = block.txdata.iter().map(Transaction::compute_txid).collect();
    assert_eq!(found.txids(), txids);
    let mut sorted = txids.clone();
    sorted.sort();
    let by_txid = found.by_txid().iter();
    assert!(by_txid.map(|i| txids[*i as usize]).eq(sorted));
    for (index, wtxid) in found.clone().take_wtxids().into_iter().enumerate().skip(1) {
        assert_eq!(wtxid, block.txdata[index].compute_wtxid().to_byte_array());
    }
    let mut inputs = found.inputs().iter();
    let mut sigops = 0;
    for (index, transaction) in block.txdata.iter().enumerate() {
        let scanned = &found.transactions()[index];
        let raw = serialize(transaction);
        let at = scanned.offset as usize;
        assert_eq!(bytes[at..at + scanned.bytes as usize], raw);
        assert_eq!(scanned.base_bytes as usize, transaction.base_size());
        assert_eq!(scanned.virtual_bytes(), transaction.vsize() as u64);
        assert_eq!(scanned.is_coinbase, transaction.is_coinbase());
        assert_eq!(scanned.lock_time, transaction.lock_time.to_consensus_u32());
        let is_final = transaction
            .input
            .iter()
            .all(|i| i.sequence == Sequence::MAX);
        assert_eq!(scanned.ignores_lock_time, is_final);
        let outputs = transaction
            .output
            .iter()
            .map(|o| u128::from(o.value.to_sat()));
        assert_eq!(scanned.output_satoshi, outputs.sum());
        for input in transaction.input.iter().filter(|_| !scanned.is_coinbase) {
            let scanned = inputs.next().unwrap();
            assert_eq!(scanned.outpoint(), input.previous_output);
            assert_eq!(scanned.transaction as usize, index);
            let has_locks = transaction.version.0 as u32 >= 2;
            let sequence = if has_locks {
                input.sequence
            } else {
                Sequence::MAX
            };
            assert_eq!(scanned.sequence, sequence.to_consensus_u32());
            let last = input.witness.last().unwrap_or_default();
            assert_eq!(scanned.witness_sigops, SigopCounter::count(last, true));
        }
        check_coins(bytes, &found, index, transaction);
        let scripts = transaction.input.iter().map(|input| &*input.script_sig);
        let scripts = scripts.chain(transaction.output.iter().map(|o| &*o.script_pubkey));
        sigops += scripts
            .map(|script| u64::from(SigopCounter::count(script.as_bytes(), false)))
            .sum::<u64>();
    }
    assert_eq!(inputs.next(), None);
    assert_eq!(found.own_sigop_cost(), 4 * sigops);
    let first = block
        .txdata
        .iter()
        .position(|tx| tx.input.iter().any(|i| !i.witness.is_empty()));
    assert_eq!(found.witness().first, first.map(|index| index as u32));
}

fn check_coins(bytes: &[u8], found: &ScannedBlock, index: usize, transaction: &Transaction) {
    let outputs = (0..).zip(&transaction.output);
    let expected: Vec<_> = outputs
        .filter(|(_, output)| !is_unspendable(&output.script_pubkey))
        .map(|(vout, output)| (vout, output.value.to_sat(), output.script_pubkey.to_bytes()))
        .collect();
    let coins = found.coins_of(index as u32);
    for coin in coins {
        assert_eq!(coin.transaction as usize, index);
        let script = &bytes[coin.script_offset as usize..][..coin.script_bytes as usize];
        let hash = ScriptHash::of(bitcoin::Script::from_bytes(script));
        assert_eq!(coin.script, ScriptKey::from(&hash));
    }
    let coins = coins.iter().map(|coin| {
        let script = &bytes[coin.script_offset as usize..][..coin.script_bytes as usize];
        (coin.vout, coin.satoshi, script.to_vec())
    });
    assert_eq!(coins.collect::<Vec<_>>(), expected);
}

fn real_blocks() -> Vec<Vec<u8>> {
    let mut blocks: Vec<_> = framed_blocks("blocktools/1M.dat");
    blocks.drain(200..4_300);
    for name in [
        "raito/mainnet_block_150013.bin",
        "raito/mainnet_block_757739.bin",
        "raito/mainnet_block_757753.bin",
        "clementine/testnet4_block_46698.bin",
    ] {
        blocks.push(file(name));
    }
    blocks
}

#[test]
fn real_blocks_scan_to_what_the_decoder_says() {
    for bytes in real_blocks() {
        let block: Block = bitcoin::consensus::deserialize(&bytes).unwrap();
        check(&bytes, &block);
    }
}

fn coinbase() -> Transaction {
    Transaction {
        version: transaction::Version::ONE,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: Builder::new().push_int(1).push_int(2).into_script(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(1),
            script_pubkey: ScriptBuf::new(),
        }],
    }
}

/// Scripts of all sizes: short, around the longest that can be executed, longer than a window.
fn scripts() -> impl Strategy<Value = ScriptBuf> {
    let length = prop_oneof![
        40 => 0..60usize,
        4 => 200..600usize,
        2 => MAX_SCRIPT_BYTES - 2..MAX_SCRIPT_BYTES + 3,
        1 => WINDOW_BYTES - 2..WINDOW_BYTES + 3,
        1 => 2 * WINDOW_BYTES..2 * WINDOW_BYTES + 2,
    ];
    // Opcodes that count, pushes of every form, and anything.
    let byte = prop_oneof![
        Just(0xac_u8),
        Just(0xae),
        Just(0x52),
        Just(0x6a),
        Just(0x01),
        Just(0x4c),
        Just(0x4d),
        Just(0x4e),
        Just(0x00),
        any::<u8>(),
    ];
    (length, prop::collection::vec(byte, 1..50)).prop_map(|(length, pattern)| {
        ScriptBuf::from_bytes(pattern.into_iter().cycle().take(length).collect())
    })
}

fn inputs() -> impl Strategy<Value = TxIn> {
    let sequence = prop_oneof![Just(u32::MAX), any::<u32>()];
    let witness = prop::collection::vec(scripts(), 0..3);
    (any::<u8>(), 0..3u32, scripts(), sequence, witness).prop_map(
        |(id, vout, script_sig, sequence, witness)| TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([id; 32]), vout),
            script_sig,
            sequence: Sequence(sequence),
            witness: Witness::from_slice(&witness),
        },
    )
}

fn transactions() -> impl Strategy<Value = Transaction> {
    let outputs = (any::<u32>(), scripts()).prop_map(|(satoshi, script_pubkey)| TxOut {
        value: Amount::from_sat(satoshi.into()),
        script_pubkey,
    });
    let inputs = prop::collection::vec(inputs(), 1..4);
    let outputs = prop::collection::vec(outputs, 0..4);
    (any::<i32>(), inputs, outputs, any::<u32>()).prop_map(|(version, input, output, lock)| {
        Transaction {
            version: transaction::Version(version),
            lock_time: LockTime::from_consensus(lock),
            input,
            output,
        }
    })
}

fn has_twin(block: &Block) -> bool {
    let mut txids: Vec<Txid> = block.txdata.iter().map(Transaction::compute_txid).collect();
    txids.sort();
    txids.dedup();
    txids.len() < block.txdata.len()
}

/// A transaction of exactly so many bytes, most of them in its witness or in its output.
fn sized(bytes: usize, fills_witness: bool) -> Transaction {
    let made = |fill: usize| {
        let (item, script) = if fills_witness { (fill, 5) } else { (3, fill) };
        Transaction {
            version: transaction::Version(2),
            lock_time: LockTime::from_consensus(7),
            input: vec![TxIn {
                previous_output: OutPoint::new(Txid::from_byte_array([9; 32]), 1),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ZERO,
                witness: Witness::from_slice(&[vec![0xac; item]]),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(1),
                script_pubkey: ScriptBuf::from_bytes(vec![0x51; script]),
            }],
        }
    };
    let fill = bytes - (serialize(&made(1_000)).len() - 1_000);
    made(fill)
}

#[test]
fn ids_are_right_for_every_length_around_which_hashing_changes() {
    let long = LONG_BYTES as usize;
    for length in (long - 12..long + 12).chain(WINDOW_BYTES - 3..WINDOW_BYTES + 3) {
        for fills_witness in [true, false] {
            // Not at the front of a window only.
            for before in [100, long / 2, WINDOW_BYTES - length / 2 - 200] {
                let txdata = vec![
                    coinbase(),
                    sized(before, false),
                    sized(length, fills_witness),
                ];
                let block = block_of(txdata);
                assert_eq!(serialize(&block.txdata[2]).len(), length);
                check(&serialize(&block), &block);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_blocks_scan_to_what_the_decoder_says(
        later in prop::collection::vec(transactions(), 0..5),
    ) {
        let block = block_of(std::iter::once(coinbase()).chain(later).collect());
        prop_assume!(!has_twin(&block));
        check(&serialize(&block), &block);
    }

    #[test]
    fn broken_blocks_get_the_decoders_verdict(
        later in prop::collection::vec(transactions(), 0..3),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop::option::of(any::<prop::sample::Index>()),
        more in prop::collection::vec(any::<u8>(), 0..2),
    ) {
        let block = block_of(std::iter::once(coinbase()).chain(later).collect());
        let mut bytes = serialize(&block);
        for (at, byte) in changes {
            // Most of a block is script bytes, whose change only alters an id.
            let front = bytes.len().min(200);
            *at.get_mut(&mut bytes[..front]) = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(more);
        let decoded = bitcoin::consensus::deserialize::<Block>(&bytes);
        match (ScannedBlock::in_steps(&bytes, false, 3), decoded) {
            (Ok(block), Ok(decoded)) => prop_assert_eq!(block.hash(), decoded.block_hash()),
            (Err(BlockError::NoHeader { .. }), decoded) => prop_assert!(bytes.len() < 80 && decoded.is_err()),
            // Trailing bytes fail the decoder too; what else it takes has another root.
            (Err(BlockError::MerkleRoot { got, .. }), Ok(decoded)) => {
                prop_assert_eq!(Some(got), decoded.compute_merkle_root());
            }
            (Err(BlockError::Empty { .. }), Ok(decoded)) => prop_assert!(decoded.txdata.is_empty()),
            (Err(BlockError::TrailingBytes { used, .. }), Err(_)) => {
                prop_assert!(bitcoin::consensus::deserialize::<Block>(&bytes[..used]).is_ok());
            }
            (Err(BlockError::Malformed { reason, .. }), decoded) => {
                prop_assert!(decoded.is_err() || reason.contains("no inputs"), "{reason}");
            }
            (got, decoded) => prop_assert!(false, "{got:?} {decoded:?}"),
        }
    }
}

#[test]
fn a_transaction_with_witness_data_and_no_inputs_is_malformed() {
    let mut bytes = serialize(&block_of(vec![coinbase()]));
    bytes[80] = 2;
    // Version, marker, flag, no inputs, no outputs, lock-time.
    bytes.extend([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let error = ScannedBlock::in_steps(&bytes, true, 1).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("has witness data but no inputs"),
        "{error}"
    );
    assert!(!error.condemns_header());
}

#[test]
fn numbers_longer_than_needed_are_malformed() {
    let mut bytes = serialize(&block_of(vec![coinbase()]));
    bytes.splice(80..81, [0xfd, 1, 0]);
    let error = ScannedBlock::in_steps(&bytes, true, 1).unwrap_err();
    assert!(error.to_string().contains("a number at byte 80"), "{error}");
}

#[test]
fn a_claim_of_more_transactions_than_bytes_takes_no_memory() {
    let mut bytes = serialize(&block_of(vec![coinbase()]));
    bytes.splice(80..81, [0xff; 9]);
    let error = ScannedBlock::in_steps(&bytes, true, 1).unwrap_err();
    assert!(
        error.to_string().contains("it ends within a transaction"),
        "{error}"
    );
}

#[test]
fn a_block_too_large_without_its_witness_data_is_told_by_its_root() {
    let mut large = coinbase();
    large.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51; 1_000_000]);
    let mut block = block_of(vec![large, coinbase()]);
    let error = ScannedBlock::in_steps(&serialize(&block), true, 10).unwrap_err();
    assert!(matches!(error, BlockError::BaseTooLarge { .. }), "{error}");
    assert!(error.condemns_header());
    block.header.merkle_root = TxMerkleNode::all_zeros();
    let error = ScannedBlock::in_steps(&serialize(&block), true, 10).unwrap_err();
    assert!(matches!(error, BlockError::MerkleRoot { .. }), "{error}");
}

#[test]
fn many_empty_witness_items_take_many_steps() {
    let mut heavy = coinbase();
    heavy.input[0].previous_output.vout = 0;
    heavy.input[0].witness = Witness::from_slice(&[[0_u8; 0]; 1_000_000]);
    let bytes = serialize(&block_of(vec![coinbase(), heavy]));
    let mut scanner = BlockScanner::start(bytes.as_slice(), true).unwrap();
    let mut steps = 0;
    while let ScanStep::More(more) = scanner.step(bytes.as_slice(), 1_000).unwrap() {
        scanner = *more;
        steps += 1;
    }
    assert!((30..35).contains(&steps), "{steps}");
}

#[test]
fn the_last_push_is_found_only_behind_pushes() {
    let cases: [(&[u8], Option<&[u8]>); 9] = [
        (&[], Some(&[])),
        (&[2, 7, 8], Some(&[7, 8])),
        (&[2, 7, 8, 0x51], Some(&[])),
        (&[2, 7, 8, 0x61], None),
        (&[2, 7], None),
        (&[0x4c, 1, 9], Some(&[9])),
        (&[0x4d, 1, 0, 9], Some(&[9])),
        (&[0x4e, 1, 0, 0, 0, 9], Some(&[9])),
        (&[0x4e, 1, 0, 0], None),
    ];
    for (script, expected) in cases {
        assert_eq!(last_push(script), expected, "{script:02x?}");
    }
}

/// Every byte is hashed, so a long transaction takes as much of a budget as many coins.
#[test]
fn a_step_pays_for_the_bytes_of_its_transactions() {
    let steps = |script_bytes: usize| {
        let mut long = coinbase();
        long.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x6a; script_bytes]);
        let bytes = serialize(&block_of(vec![long]));
        let mut scanner = BlockScanner::start(bytes.as_slice(), true).unwrap();
        let mut steps = 1;
        while let ScanStep::More(more) = scanner.step(bytes.as_slice(), 10).unwrap() {
            scanner = *more;
            steps += 1;
        }
        steps
    };
    assert_eq!(steps(10), 1);
    assert!(
        (5..8).contains(&steps(60 * BYTES_PER_ITEM)),
        "{}",
        steps(60 * BYTES_PER_ITEM)
    );
}
