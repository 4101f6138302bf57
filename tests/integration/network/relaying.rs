//! A transaction from the canister to the network, and what becomes of it.

use std::time::{Duration, Instant};

use bitcoin::Transaction;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use millrace_candid::{
    GetTransactionStatusArgs, GetTransactionStatusResult, SendTransactionArgs,
    SendTransactionResult, TransactionStatus,
};
use serde_bytes::ByteBuf;
use serde_json::{Value, json};

use super::world::World;
use crate::local_replica::query;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

impl World {
    fn send(&self, transaction: &Transaction) {
        let args = SendTransactionArgs {
            transaction: ByteBuf::from(serialize(transaction)),
        };
        let sent = self.runtime.block_on(async {
            let reply = self
                .deployed
                .agent
                .update(&self.deployed.canister, "send_transaction")
                .with_arg(candid::encode_one(args).expect("contract types encode"))
                .call_and_wait()
                .await
                .expect("the canister answers");
            candid::decode_one::<SendTransactionResult>(&reply).expect("the contract's type")
        });
        sent.expect("a transaction");
    }

    fn status(&self, transaction: &Transaction) -> TransactionStatus {
        let args = GetTransactionStatusArgs {
            txid: ByteBuf::from(transaction.compute_txid().to_byte_array()),
            at_tip: None,
        };
        let deployed = &self.deployed;
        let method = "get_transaction_status_query";
        let asked = query(&deployed.agent, deployed.canister, method, (args,));
        let status: GetTransactionStatusResult = self.runtime.block_on(asked);
        status.expect("it was sent through this canister").status
    }

    fn wait_for(
        &self,
        transaction: &Transaction,
        what: &str,
        is: impl Fn(&TransactionStatus) -> bool,
    ) {
        let start = Instant::now();
        loop {
            let status = self.status(transaction);
            if is(&status) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "not {what}: {status:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn pool(&self) -> Vec<String> {
        let pool = self.node.call("getrawmempool", &json!([]));
        let pool = pool.as_array().expect("a list").iter();
        pool.map(|txid| txid.as_str().expect("text").to_owned())
            .collect()
    }
}

fn relayed_and_confirmed(world: &mut World) {
    let transaction = world.chain.standard_payment();
    let txid = transaction.compute_txid().to_string();
    world.send(&transaction);
    world.wait_for(&transaction, "announced", |status| {
        matches!(status, TransactionStatus::Announced { peers } if *peers > 0)
            || *status == TransactionStatus::Seen
    });
    // Fetched by the node, and checked by it.
    let start = Instant::now();
    while !world.pool().contains(&txid) {
        assert!(start.elapsed() < PATIENCE, "not in the node's pool");
        std::thread::sleep(Duration::from_millis(50));
    }
    world.chain.include(transaction.clone());
    world.grow_by_one_plain();
    world.wait_for(&transaction, "confirmed", |status| {
        matches!(status, TransactionStatus::Confirmed { .. })
    });
}

/// The blocks are of 2011: while the node takes itself for one that is behind, it asks nobody for transactions.
#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_gets_the_canister_s_transactions_over_the_peer_protocol() {
    let mut world = World::new(67, &["-maxtipage=2000000000"]);
    world.grow(120);
    let adapter = world.peer_of_the_node();
    world.reach_tip();
    relayed_and_confirmed(&mut world);
    World::stop(adapter);
}

#[test]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
fn core_node_says_why_it_refuses_the_canister_s_transaction() {
    let mut world = World::new(68, &[]);
    world.grow(120);
    let (url, cookie) = world.node.access();
    let cookie = cookie.to_string_lossy().into_owned();
    let source = [
        "--source",
        "rpc",
        "--node-url",
        url,
        "--node-cookie",
        &cookie,
    ];
    let adapter = world.adapter("rpc", &source);
    world.reach_tip();
    relayed_and_confirmed(&mut world);

    let mut greedy = world.chain.standard_payment();
    greedy.output[0].value = bitcoin::Amount::MAX_MONEY;
    // What it says depends on what it spends, which the signature no longer holds for either.
    let expected = world.node.refused(
        "sendrawtransaction",
        &json!([hex::encode(serialize(&greedy)), 0]),
    );
    world.send(&greedy);
    world.wait_for(&greedy, "rejected", |status| match status {
        TransactionStatus::Rejected { reason } => {
            assert_eq!(Value::from(reason.as_str()), Value::from(expected.as_str()));
            true
        }
        _ => false,
    });
    World::stop(adapter);
}
