//! Transactions handed to a node, and what it says of them.

use std::time::Duration;

use bitcoin::consensus::serialize;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute, transaction,
};
use millrace_adapter::relay::node::{NodeRelay, ORPHAN_ATTEMPTS, REPEAT_INTERVAL, RETRY_INTERVAL};
use millrace_p2p::node::{RelayOutcome, RelayTransaction};
use serde_json::{Value, json};

use crate::bitcoind::Bitcoind;

/// A script that anyone can satisfy: so many times nothing, and a one. It makes transactions long enough for Bitcoin Core.
fn anyone() -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x61; 29][..], &[0x51]].concat())
}

/// Spends an output that anyone can spend.
fn spend(outpoint: OutPoint, satoshi: u64) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(satoshi),
            script_pubkey: anyone(),
        }],
    }
}

fn to_relay(transaction: &Transaction) -> RelayTransaction {
    RelayTransaction {
        txid: transaction.compute_txid(),
        bytes: serialize(transaction),
    }
}

async fn coinbase(node: &Bitcoind, height: u32) -> OutPoint {
    let hash = node.call("getblockhash", json!([height])).await;
    let block = node.call("getblock", json!([hash])).await;
    let txid = block["tx"][0].as_str().expect("an id");
    OutPoint {
        txid: txid.parse().expect("an id"),
        vout: 0,
    }
}

#[tokio::test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_takes_transactions_and_says_why_it_takes_others_not() {
    let node = Bitcoind::start(&["-acceptnonstdtxn=1"]).await;
    node.mine(110, "raw(51)").await;
    let mut relay = NodeRelay::new(node.node.clone());
    let mut now = Duration::ZERO;
    let announced = RelayOutcome::Announced { peers: 1 };

    let good = spend(coinbase(&node, 1).await, 4_999_990_000);
    relay.add(now, &[to_relay(&good)]);
    let outcome = relay.step(now).await.expect("the node answers");
    assert_eq!(outcome, Some((good.compute_txid(), announced.clone())));
    let pool = node.call("getrawmempool", json!([])).await;
    assert_eq!(pool, json!([good.compute_txid().to_string()]));
    // Nothing is due, and later it is announced once more without being reported again.
    assert_eq!(relay.wake_at(), now + REPEAT_INTERVAL);
    now = relay.wake_at();
    assert_eq!(relay.step(now).await.expect("the node answers"), None);

    // More than it spends; an input that a block has spent; the node's words are kept.
    let greedy = spend(coinbase(&node, 2).await, 5_000_000_001);
    relay.add(now, &[to_relay(&greedy)]);
    let outcome = relay.step(now).await.expect("the node answers");
    let Some((txid, RelayOutcome::Rejected { reason })) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(txid, greedy.compute_txid());
    assert!(reason.contains("bad-txns-in-belowout"), "{reason}");

    node.mine(1, "raw(51)").await;
    now += REPEAT_INTERVAL;
    let mut outcomes = Vec::new();
    while relay.wake_at() <= now {
        outcomes.extend(relay.step(now).await.expect("the node answers"));
    }
    assert_eq!(outcomes, [(good.compute_txid(), RelayOutcome::Seen)]);
    relay.forget(&[good.compute_txid(), greedy.compute_txid()]);
    assert_eq!(relay.wake_at(), Duration::MAX);
}

#[tokio::test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_may_get_a_child_before_its_parent() {
    let node = Bitcoind::start(&["-acceptnonstdtxn=1"]).await;
    node.mine(101, "raw(51)").await;
    let parent = spend(coinbase(&node, 1).await, 4_999_990_000);
    let vout = OutPoint {
        txid: parent.compute_txid(),
        vout: 0,
    };
    let child = spend(vout, 4_999_980_000);
    let mut now = Duration::ZERO;
    let mut relay = NodeRelay::new(node.node.clone());
    relay.add(now, &[to_relay(&child)]);
    assert_eq!(relay.step(now).await.expect("the node answers"), None);
    assert_eq!(relay.wake_at(), now + RETRY_INTERVAL);
    relay.add(now, &[to_relay(&parent)]);
    now += RETRY_INTERVAL;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.extend(relay.step(now).await.expect("the node answers"));
        now += RETRY_INTERVAL;
    }
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    let pool = node.call("getrawmempool", json!([])).await;
    assert_eq!(pool.as_array().map(Vec::len), Some(2));

    // One whose parent never comes is rejected in the end.
    let orphan = spend(OutPoint::new(child.compute_txid(), 7), 1);
    relay.add(now, &[to_relay(&orphan)]);
    let mut rejected = Value::Null;
    for _ in 0..=ORPHAN_ATTEMPTS {
        if let Some((_, RelayOutcome::Rejected { reason })) =
            relay.step(now).await.expect("the node answers")
        {
            assert!(rejected.is_null());
            rejected = Value::from(reason);
        }
        now += RETRY_INTERVAL;
    }
    assert_eq!(rejected, "bad-txns-inputs-missingorspent");
}
