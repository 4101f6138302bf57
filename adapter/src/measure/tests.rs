//! The sink that keeps nothing answers as a canister would.

use bitcoin::block::Header;
use bitcoin::consensus::serialize;

use super::*;

fn child(parent: BlockHash, nonce: u32) -> Vec<u8> {
    let header = Header {
        prev_blockhash: parent,
        nonce,
        ..Network::Regtest.genesis_block().header
    };
    [serialize(&header), vec![0; 20]].concat()
}

fn part(block: &[u8], range: std::ops::Range<usize>) -> Part {
    let header = decode_header(&block[..HEADER_BYTES]).expect("80 bytes");
    Part {
        hash: header.block_hash(),
        size: block.len() as u32,
        offset: range.start as u32,
        bytes: block[range].to_vec(),
    }
}

#[tokio::test]
async fn blocks_in_parts_whole_and_out_of_order_are_taken_and_counted() {
    let sink = NullSink::new(Network::Regtest, 1_000);
    let genesis = Network::Regtest.genesis_block().block_hash();
    let first = child(genesis, 1);
    let second = child(part(&first, 0..90).hash, 2);
    let third = child(part(&second, 0..90).hash, 3);
    let receipt = sink.push(vec![part(&third, 0..100)]).await;
    let receipt = receipt.expect("it never fails");
    assert_eq!(receipt.outcomes, [PartOutcome::Queued]);
    assert_eq!(receipt.tip.hash, genesis);
    let receipt = sink.push(vec![
        part(&first, 0..90),
        part(&first, 90..100),
        part(&second, 0..100),
    ]);
    let receipt = receipt.await.expect("it never fails");
    assert_eq!(
        receipt.outcomes[0],
        PartOutcome::Incomplete { received: 90 }
    );
    assert_eq!(
        receipt.outcomes[1..3],
        [PartOutcome::Queued, PartOutcome::Queued]
    );
    let tip = part(&third, 0..100).hash;
    assert_eq!(
        (receipt.tip.hash, receipt.tip.height),
        (tip, Height::new(3))
    );
    let unknown = BlockHash::from_raw_hash(bitcoin::hashes::Hash::all_zeros());
    let view = sink.feed_state(vec![unknown, tip, genesis]);
    let common = view.await.expect("it never fails").common;
    assert_eq!(common.map(|common| common.hash), Some(tip));
    assert_eq!((sink.taken().blocks, sink.taken().bytes), (3, 300));
}

#[test]
fn speeds_are_shown_with_their_units() {
    let speed = Speed {
        blocks: 3,
        bytes: 500_000_000,
        elapsed: Duration::from_secs(2),
        processor: Duration::from_secs(1),
    };
    let text = speed.to_string();
    for line in [
        "blocks           3",
        "bytes            500000000",
        "seconds          2.000",
        "cpu_seconds      1.000",
        "mb_per_second    250.0",
        "cpu_s_per_gb     2.00",
    ] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
}
