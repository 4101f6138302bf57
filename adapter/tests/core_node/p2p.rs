//! The shell of the peer-to-peer node against a real Bitcoin Core, in both versions of the transport.

use std::net::{Ipv4Addr, TcpListener};

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use bitcoin::p2p::message_blockdata::Inventory;
use millrace_core::Network;
use millrace_p2p::address::{Host, PeerAddress};
use millrace_p2p::message::Message;
use millrace_p2p::node::{ConnectError, Event, PeerId, TransportVersion};
use serde_json::json;

use crate::bitcoind::Bitcoind;
use crate::peer::{Door, hello};
use crate::scripted_node::{Script, settings};

const NETWORK: Network = Network::Regtest;
const BLOCKS: u32 = 120;

/// Starts a node that takes connections.
async fn listening(v2: &str) -> (Bitcoind, PeerAddress) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("a bound port").port();
    drop(listener);
    let bind = format!("-bind=127.0.0.1:{port}");
    let node = Bitcoind::start(&["-listen=1", &bind, v2]).await;
    node.mine(BLOCKS, "raw(51)").await;
    let host = Host::V4(Ipv4Addr::LOCALHOST);
    (node, PeerAddress { host, port })
}

/// Says hello as the protocol has it.
async fn greet(script: &mut Script, peer: PeerId) {
    script.send(peer, hello(0));
    for message in [Message::WtxidRelay, Message::SendAddrV2, Message::Verack] {
        script.send(peer, message);
    }
    script
        .first(|message| matches!(message, Message::Verack).then_some(()))
        .await;
}

/// Fetches every header and block, and compares them with what the node says of itself.
async fn fetch_all(script: &mut Script, peer: PeerId, node: &Bitcoind) {
    let genesis = NETWORK.genesis_block().block_hash();
    script.send(
        peer,
        Message::GetHeaders {
            locator: vec![genesis],
            stop: BlockHash::all_zeros(),
        },
    );
    let headers = script
        .first(|message| match message {
            Message::Headers(headers) if !headers.is_empty() => Some(headers),
            _ => None,
        })
        .await;
    let hashes: Vec<BlockHash> = headers.iter().map(|header| header.block_hash()).collect();
    assert_eq!(hashes.len(), BLOCKS as usize);
    let best = node.call("getbestblockhash", json!([])).await;
    assert_eq!(
        hashes.last().map(ToString::to_string).as_deref(),
        best.as_str()
    );
    let entries = hashes.iter().map(|hash| Inventory::WitnessBlock(*hash));
    script.send(peer, Message::GetData(entries.collect()));
    for hash in &hashes {
        let block = script
            .first(|message| match message {
                Message::Block(block) => Some(block),
                _ => None,
            })
            .await;
        assert_eq!((block.hash, &block.verdict), (*hash, &Ok(())));
        let raw = node.call("getblock", json!([hash.to_string(), 0])).await;
        assert_eq!(raw.as_str(), Some(to_hex(&block.bytes).as_str()));
    }
    let discovered = script
        .running
        .handle
        .discover(vec![hashes[9], genesis])
        .await;
    let discovered = discovered.expect("headers");
    assert_eq!(discovered.headers, headers[10..]);
    assert!(!discovered.has_more);
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns how the node says that its only peer talks to it.
async fn transport_of_peer(node: &Bitcoind) -> String {
    let peers = node.call("getpeerinfo", json!([])).await;
    assert_eq!(peers.as_array().map(Vec::len), Some(1), "{peers}");
    let kind = &peers[0]["transport_protocol_type"];
    kind.as_str().expect("a name").to_owned()
}

/// Waits until the node has no peer.
async fn wait_until_alone(node: &Bitcoind) {
    let gone = async {
        while node.call("getconnectioncount", json!([])).await != json!(0) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let gone = tokio::time::timeout(crate::peer::PATIENCE, gone).await;
    gone.expect("the connection ends");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_serves_headers_and_blocks_over_both_transports() {
    let (node, address) = listening("-v2transport=1").await;
    for (version, name) in [(TransportVersion::V2, "v2"), (TransportVersion::V1, "v1")] {
        let mut script = Script::start(settings(NETWORK));
        let peer = script.connect(address, version);
        assert_eq!(script.connected().await, (peer, version));
        greet(&mut script, peer).await;
        assert_eq!(transport_of_peer(&node).await, name);
        fetch_all(&mut script, peer, &node).await;
        script.running.handle.stop();
        script.running.task.await.expect("a clean end");
        wait_until_alone(&node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_without_version_2_refuses_it_and_takes_version_1() {
    let (node, address) = listening("-v2transport=0").await;
    let mut script = Script::start(settings(NETWORK));
    let peer = script.connect(address, TransportVersion::V2);
    let event = script.event().await;
    let refused = matches!(
        &event,
        Event::ConnectFailed { peer: failed, error: ConnectError::V2Refused { .. } } if *failed == peer
    );
    assert!(refused, "{event:?}");
    let peer = script.connect(address, TransportVersion::V1);
    assert_eq!(script.connected().await, (peer, TransportVersion::V1));
    greet(&mut script, peer).await;
    assert_eq!(transport_of_peer(&node).await, "v1");
    fetch_all(&mut script, peer, &node).await;
}

/// The other end of the handshakes: the node dials, and the transport answers.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Bitcoin Core: `cargo xtask bitcoind`"]
async fn core_node_dials_and_is_answered_over_both_transports() {
    let node = Bitcoind::start(&["-v2transport=1"]).await;
    for (version, name) in [(TransportVersion::V2, "v2"), (TransportVersion::V1, "v1")] {
        let door = Door::open().await;
        let asks_v2 = version == TransportVersion::V2;
        let dial = node.call(
            "addnode",
            json!([door.address.to_string(), "onetry", asks_v2]),
        );
        let answer = async {
            let mut peer = door.peer(NETWORK).await;
            let first = peer.receive().await;
            assert!(matches!(first, Some(Message::Version(_))), "{first:?}");
            peer.send(&hello(0)).await;
            peer.send(&Message::Verack).await;
            while peer.receive().await.expect("the node stays") != Message::Verack {}
            peer
        };
        let (_, mut peer) = tokio::join!(dial, answer);
        assert_eq!(peer.version(), Some(version));
        assert_eq!(transport_of_peer(&node).await, name);
        let peers = node.call("getpeerinfo", json!([])).await;
        assert_eq!(peers[0]["inbound"], false);
        // Messages go both ways.
        peer.send(&Message::Ping(7)).await;
        while peer.receive().await.expect("the node stays") != Message::Pong(7) {}
        drop(peer);
        wait_until_alone(&node).await;
    }
}
