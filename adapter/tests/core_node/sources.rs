//! The contract of block sources over a real node's REST and RPC interfaces.

use bitcoin::hex::FromHex;
use millrace_adapter::source::node::{NodeSource, Rest, RestSettings, Rpc, RpcSettings};
use millrace_adapter::source::{BlockSource, SourceError};
use millrace_core::{Height, Network};
use serde_json::json;

use super::bitcoind::Bitcoind;
use super::contract::{Handle, Reader, keep_to_the_contract};

impl Handle for Bitcoind {
    async fn mine(&mut self, blocks: u32) {
        Bitcoind::mine(self, blocks, "raw(51)").await;
    }

    async fn reorganise(&mut self, depth: u32, blocks: u32) {
        let height = self.call("getblockcount", json!([])).await;
        let first = height.as_u64().expect("a height") + 1 - u64::from(depth);
        let hash = self.call("getblockhash", json!([first])).await;
        self.call("invalidateblock", json!([hash])).await;
        // Another script, or the new blocks could be the old ones.
        Bitcoind::mine(self, blocks, "raw(52)").await;
    }

    async fn restart(&mut self) {
        Bitcoind::restart(self).await;
    }

    async fn chain(&self) -> Vec<Vec<u8>> {
        let height = self.call("getblockcount", json!([])).await;
        let mut chain = Vec::new();
        for height in 0..=height.as_u64().expect("a height") {
            let hash = self.call("getblockhash", json!([height])).await;
            let block = self.call("getblock", json!([hash, 0])).await;
            chain.push(Vec::from_hex(block.as_str().expect("hex")).expect("hex"));
        }
        chain
    }
}

fn rest(node: &Bitcoind) -> NodeSource<Rest> {
    let rest = Rest::new(&RestSettings::new(node.settings.url.clone())).expect("a client");
    NodeSource::new(rest, Network::Regtest)
}

fn rpc(node: &Bitcoind) -> NodeSource<Rpc> {
    let rpc = Rpc::new(&RpcSettings::new(node.settings.clone())).expect("a client");
    NodeSource::new(rpc, Network::Regtest)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a bitcoind: `cargo xtask bitcoind`"]
async fn core_node_rest_keeps_to_the_contract_of_sources() {
    keep_to_the_contract(rest, Bitcoind::start(&["-rest=1"]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a bitcoind: `cargo xtask bitcoind`"]
async fn core_node_rpc_keeps_to_the_contract_of_sources() {
    keep_to_the_contract(rpc, Bitcoind::start(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a bitcoind: `cargo xtask bitcoind`"]
async fn core_node_long_chains_come_in_ranges_over_both_interfaces() {
    let mut node = Bitcoind::start(&["-rest=1"]).await;
    Handle::mine(&mut node, 2_100).await;
    let best = node.call("getbestblockhash", json!([])).await;
    let (mut over_rest, mut over_rpc) = (Reader::new(rest(&node)), Reader::new(rpc(&node)));
    over_rest.discover().await;
    over_rpc.discover().await;
    for tree in [&over_rest.tree, &over_rpc.tree] {
        assert_eq!(json!(tree.tip_hash().to_string()), best);
    }
    for height in (1..=2_100).step_by(50) {
        let hash = over_rest
            .tree
            .hash_at(Height::new(height))
            .expect("a block");
        let block = over_rest.source.read(hash).await.expect("it is there");
        assert_eq!(over_rpc.source.read(hash).await, Ok(block));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a bitcoind: `cargo xtask bitcoind`"]
async fn core_node_without_rest_and_one_that_prunes_say_so() {
    let mut node = Bitcoind::start(&["-rest=0", "-prune=1", "-fastprune"]).await;
    let error = rest(&node)
        .discover(Vec::new())
        .await
        .expect_err("rest is off");
    assert!(error.to_string().contains("rest=1"), "{error}");

    Handle::mine(&mut node, 1_000).await;
    let first = node.call("getblockhash", json!([1])).await;
    let first = first
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a hash");
    let pruned = node.call("pruneblockchain", json!([700])).await;
    assert!(pruned.as_u64().expect("a height") > 1, "{pruned}");
    let error = rpc(&node).read(first).await.expect_err("it is gone");
    assert!(matches!(error, SourceError::Pruned { .. }), "{error}");
}
