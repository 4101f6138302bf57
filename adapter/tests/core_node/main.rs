//! The adapter against a real Bitcoin Core: its RPC interface, its snapshots, byte for byte.
//!
//! Ignored unless asked for: `cargo xtask test` runs them where a node is there.

mod bitcoind;
mod comparing;
#[path = "../sources/contract/mod.rs"]
mod contract;
mod p2p;
#[path = "../support/peer.rs"]
#[allow(dead_code, reason = "scripted peers are of other tests")]
mod peer;
mod relaying;
#[path = "../support/scripted_node.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod scripted_node;
mod sources;

use std::fs::File;
use std::io::Cursor;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use bitcoin::{
    Amount, OutPoint, PrivateKey, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness, absolute,
    transaction,
};
use millrace_adapter::node::{Credentials, Node, NodeError, NodeSettings};
use millrace_adapter::snapshot::groups::GroupReader;
use millrace_adapter::snapshot::headers::{HeaderSource, MESSAGE_HEADERS_MAX};
use millrace_adapter::snapshot::write::SetWriter;
use millrace_core::commitment::{Commitment, Committer};
use millrace_core::snapshot::SnapshotCoin;
use millrace_core::{Height, Network};
use serde_json::json;

use bitcoind::Bitcoind;

/// The generator of secp256k1: the public key of the private key 1.
const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const UNCOMPRESSED: &str = "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798\
                            483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8";
const OTHER: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

/// Mines blocks of every usual kind of output, those first that are spent later.
async fn mine_all_kinds(node: &Bitcoind) {
    node.mine(2, &format!("wpkh({KEY})")).await;
    for descriptor in [
        format!("pk({KEY})"),
        format!("pk({UNCOMPRESSED})"),
        format!("pkh({KEY})"),
        format!("sh(wpkh({KEY}))"),
        format!("multi(1,{KEY},{OTHER})"),
        format!("wsh(multi(2,{KEY},{OTHER}))"),
        format!("tr({KEY})"),
        "raw(51)".to_owned(),
        // Nobody can spend these two: they are not in the set.
        "raw(6a0568656c6c6f)".to_owned(),
        format!("raw({})", "00".repeat(10_001)),
    ] {
        node.mine(2, &descriptor).await;
    }
    node.mine(100, "raw(51)").await;
}

/// Spends the coinbase of block 1 into so many outputs that Bitcoin Core orders them otherwise than by index.
async fn spend_into_many(node: &Bitcoind) {
    let hash = node.call("getblockhash", json!([1])).await;
    let block = node.call("getblock", json!([hash, 2])).await;
    let txid = block["tx"][0]["txid"].as_str().expect("an id");
    let mut output = Vec::new();
    for index in 0..16_600_u64 {
        output.push(TxOut {
            value: Amount::from_sat(1 + index % 5_000),
            script_pubkey: ScriptBuf::from_bytes(vec![0x51; index as usize % 3]),
        });
    }
    let spend = Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint {
                txid: txid.parse().expect("an id"),
                vout: 0,
            },
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output,
    };
    let secret = SecretKey::from_slice(&[&[0; 31][..], &[1]].concat()).expect("the key 1");
    let public = PublicKey::from_secret_key(&Secp256k1::new(), &secret);
    assert_eq!(public.to_string(), KEY);
    let wif = PrivateKey::new(secret, bitcoin::NetworkKind::Test).to_wif();
    let hex = bitcoin::consensus::encode::serialize_hex(&spend);
    let signed = node
        .call("signrawtransactionwithkey", json!([hex, [wif]]))
        .await;
    assert_eq!(signed["complete"], true, "{signed}");
    // Too large and too strange to be relayed, but not to be mined.
    node.call("generateblock", json!(["raw(51)", [signed["hex"]]]))
        .await;
}

/// Starts a node with the set that all tests here read.
async fn node_with_all_kinds(options: &[&str]) -> Bitcoind {
    let node = Bitcoind::start(options).await;
    mine_all_kinds(&node).await;
    spend_into_many(&node).await;
    node
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_writes_snapshots_that_are_read_and_written_byte_for_byte() {
    let node = node_with_all_kinds(&[]).await;
    let path = node.folder().join("utxo.dat");
    let dumped = node.node.dump(&path).await.expect("a dump");
    let bytes = std::fs::read(&path).expect("the dump");
    let mut groups = GroupReader::new(File::open(&path).expect("the dump"), Network::Regtest)
        .expect("a snapshot");
    let metadata = *groups.metadata();
    assert_eq!((metadata.base, metadata.coins), (dumped.base, dumped.coins));
    let mut coins: Vec<SnapshotCoin> = Vec::new();
    let mut largest = 0;
    while let Some(group) = groups.next_group().expect("whole groups") {
        largest = largest.max(group.coins.len());
        coins.extend(group.coins);
    }
    assert_eq!(coins.len() as u64, dumped.coins);
    assert_eq!(largest, 16_600);
    let file = Cursor::new(Vec::new());
    let mut writer = SetWriter::new(file, Network::Regtest, dumped.base).expect("a file");
    let mut committer = Committer::new(Commitment::default());
    for coin in &coins {
        coin.counted(|counted| committer.put(counted));
        writer.put(coin.clone()).expect("ascending coins");
    }
    let (file, written) = writer.finish().expect("a file");
    assert!(file.into_inner() == bytes, "the bytes differ");
    assert_eq!(written.hash_serialized.to_string(), dumped.hash_serialized);
    // The same of what the node says of its set.
    let set = node.node.set_at_tip().await.expect("a set");
    assert_eq!((set.block, set.height), (dumped.base, dumped.height));
    assert_eq!(set.outputs, dumped.coins);
    let satoshi: u64 = coins.iter().map(|coin| coin.satoshi).sum();
    assert_eq!(set.satoshi, satoshi);
    assert_eq!(committer.finish().muhash.digest().to_string(), set.muhash);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_gives_headers_sets_and_errors_as_documented() {
    let bitcoind = Bitcoind::start(&["-coinstatsindex=1"]).await;
    bitcoind.mine(4_200, "raw(51)").await;
    let node = &bitcoind.node;
    let chain = node.chain(Network::Regtest).await.expect("a chain");
    assert_eq!(chain.height, Height::new(4_200));
    let source = HeaderSource::Node(node.clone());
    let base = source
        .base_height(chain.best)
        .await
        .expect("its best block");
    let headers = source.read(Height::new(1), base).await.expect("headers");
    assert_eq!(headers.len(), 4_200 * 80);
    assert!(base.get() < MESSAGE_HEADERS_MAX);
    let last: bitcoin::block::Header =
        bitcoin::consensus::deserialize(&headers[4_199 * 80..]).expect("a header");
    assert_eq!(last.block_hash(), chain.best);
    let rest = source.read(Height::new(4_200), base).await;
    assert_eq!(rest.expect("the last header"), &headers[4_199 * 80..]);
    index_follows(&bitcoind, 4_200).await;
    let set = node.set_at(Height::new(4_000)).await.expect("a set");
    assert_eq!((set.height.get(), set.outputs), (4_000, 4_000));

    let beyond = node.headers(Height::new(4_200), 2).await;
    assert!(
        matches!(beyond, Err(NodeError::Method { code: -8, .. })),
        "{beyond:?}"
    );
    let other = Network::Mainnet.genesis_block().block_hash();
    let unknown = node.height_of(other).await;
    assert!(
        matches!(unknown, Err(NodeError::NotOnChain { .. })),
        "{unknown:?}"
    );
    let best = chain.best.to_string();
    bitcoind.call("invalidateblock", json!([best])).await;
    let stale = node.height_of(chain.best).await;
    assert!(
        matches!(stale, Err(NodeError::NotOnChain { .. })),
        "{stale:?}"
    );
    let signet = node.chain(Network::Signet).await;
    assert!(
        matches!(signet, Err(NodeError::OtherNetwork { .. })),
        "{signet:?}"
    );
    let wrong = Node::new(&NodeSettings {
        credentials: Credentials::Password {
            user: "nobody".to_owned(),
            password: millrace_adapter::sink::identity::SecretText::new("x".to_owned()),
        },
        ..bitcoind.settings.clone()
    });
    let refused = wrong.expect("a client").chain(Network::Regtest).await;
    assert!(
        matches!(refused, Err(NodeError::Unauthorized { status: 401, .. })),
        "{refused:?}"
    );
    let exists = bitcoind.folder().join("log");
    let error = node.dump(&exists).await.expect_err("a file that exists");
    assert!(matches!(error, NodeError::Method { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_without_its_index_tells_of_its_tip_alone() {
    let bitcoind = Bitcoind::start(&[]).await;
    bitcoind.mine(5, "raw(51)").await;
    let error = bitcoind.node.set_at(Height::new(3)).await;
    let error = error.expect_err("there is no index");
    assert!(error.is_without_index(), "{error}");
    let set = bitcoind.node.set_at_tip().await.expect("a set");
    assert_eq!((set.height.get(), set.outputs), (5, 5));
}

async fn index_follows(bitcoind: &Bitcoind, height: u32) {
    let start = Instant::now();
    loop {
        let info = bitcoind.call("getindexinfo", json!([])).await;
        let at = info["coinstatsindex"]["best_block_height"].as_u64();
        if at == Some(u64::from(height)) {
            return;
        }
        let is_late = start.elapsed() > Duration::from_secs(120);
        assert!(!is_late, "the index stays behind: {}", info);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
