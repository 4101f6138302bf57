//! The shell of the peer-to-peer node against scripted peers on loopback.

#[path = "../support/peer.rs"]
mod peer;
#[path = "../support/scripted_node.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod scripted_node;

mod proxy;

use bitcoin::consensus::serialize;
use millrace_adapter::source::SourceError;
use millrace_core::Network;
use millrace_p2p::message::{Message, ReceivedBlock};
use millrace_p2p::node::{CloseReason, Command, ConnectError, Event, TransportVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use peer::{Door, hello};
use scripted_node::{Script, settings};

const NETWORK: Network = Network::Regtest;

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_carry_messages_both_ways() {
    for version in [TransportVersion::V1, TransportVersion::V2] {
        let door = Door::open().await;
        let mut script = Script::start(settings(NETWORK));
        let id = script.connect(door.address, version);
        let mut peer = door.peer(NETWORK).await;
        // A version 1 peer learns of the connection by its first message.
        script.send(id, hello(0));
        assert_eq!(peer.receive().await, Some(hello(0)));
        assert_eq!(peer.version(), Some(version));
        assert_eq!(script.connected().await, (id, version));
        let block = ReceivedBlock::of(serialize(&NETWORK.genesis_block())).unwrap();
        let messages = [
            hello(7),
            Message::Verack,
            Message::Block(Box::new(block)),
            Message::Ping(3),
        ];
        for message in &messages {
            peer.send(message).await;
        }
        for message in messages {
            assert_eq!(script.message().await, message);
        }
        script.send(id, Message::Pong(3));
        assert_eq!(peer.receive().await, Some(Message::Pong(3)));
        script.command(Command::Close(id, CloseReason::Done));
        assert_eq!(peer.receive().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hangs_up_on_a_handshake_may_speak_version_1() {
    let door = Door::open().await;
    let mut script = Script::start(settings(NETWORK));
    let id = script.connect(door.address, TransportVersion::V2);
    let mut stream = door.raw().await;
    let mut key = [0; 64];
    stream.read_exact(&mut key).await.unwrap();
    drop(stream);
    let Event::ConnectFailed { peer, error } = script.event().await else {
        panic!("a connection");
    };
    assert_eq!(peer, id);
    assert!(matches!(error, ConnectError::V2Refused { .. }), "{error}");

    // The same when it answers in version 1.
    let id = script.connect(door.address, TransportVersion::V2);
    let mut stream = door.raw().await;
    let mut answer = NETWORK.magic().to_bytes().to_vec();
    answer.extend([b'x'; 100]);
    stream.write_all(&answer).await.unwrap();
    let event = script.event().await;
    let refused = matches!(&event, Event::ConnectFailed { peer, error: ConnectError::V2Refused { .. } } if *peer == id);
    assert!(refused, "{event:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_of_connections_are_told_apart() {
    let mut script = Script::start(settings(NETWORK));
    let door = Door::open().await;

    let id = script.connect(door.address, TransportVersion::V1);
    let mut stream = door.raw().await;
    assert_eq!(script.connected().await.0, id);
    stream.write_all(&[0x55; 3_000]).await.unwrap();
    let event = script.event().await;
    assert!(
        matches!(&event, Event::Broken { peer, .. } if *peer == id),
        "{event:?}"
    );

    let id = script.connect(door.address, TransportVersion::V1);
    let stream = door.raw().await;
    assert_eq!(script.connected().await.0, id);
    drop(stream);
    let event = script.event().await;
    assert!(
        matches!(&event, Event::Closed { peer, .. } if *peer == id),
        "{event:?}"
    );

    let nobody = door.address;
    drop(door);
    let id = script.connect(nobody, TransportVersion::V1);
    let event = script.event().await;
    let failed = matches!(&event, Event::ConnectFailed { peer, error: ConnectError::Unreachable { .. } } if *peer == id);
    assert!(failed, "{event:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_is_not_waited_for() {
    let door = Door::open().await;
    let mut script = Script::start(settings(NETWORK));
    let id = script.connect(door.address, TransportVersion::V1);
    let _stream = door.raw().await;
    script.connected().await;
    let large = Message::Other {
        command: "large".to_owned(),
        bytes: 1_000_000,
    };
    for _ in 0..2_000 {
        script.send(id, large.clone());
    }
    let event = script.event().await;
    let Event::Closed { peer, reason } = event else {
        panic!("{event:?}");
    };
    assert_eq!(peer, id);
    assert!(reason.contains("1024 messages"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_asked_for_are_answered_in_any_order() {
    let mut script = Script::start(settings(NETWORK));
    let hashes: Vec<_> = Network::ALL
        .map(|network| network.genesis_block().block_hash())
        .to_vec();
    let reads: Vec<_> = hashes
        .iter()
        .map(|hash| script.running.handle.read(*hash))
        .collect();
    // However many requests make up an event, the list is in order and ends with all of them.
    loop {
        let event = script.event().await;
        let Event::Want(wanted) = event else {
            panic!("{event:?}");
        };
        assert_eq!(wanted, hashes[..wanted.len()]);
        if wanted.len() == hashes.len() {
            break;
        }
    }
    script.command(Command::Deliver(hashes[3], vec![3]));
    script.command(Command::CannotDeliver(hashes[1], "lost".to_owned()));
    for index in [0, 2, 4] {
        script.command(Command::Deliver(hashes[index], vec![index as u8]));
    }
    for (index, read) in reads.into_iter().enumerate() {
        let expected = match index {
            1 => Err(SourceError::Unknown { hash: hashes[1] }),
            index => Ok(vec![index as u8]),
        };
        assert_eq!(read.await, expected);
    }
    let waiting = script.running.handle.read(hashes[0]);
    script.running.handle.stop();
    assert!(matches!(waiting.await, Err(SourceError::Stopped { .. })));
    script.running.task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn seeds_are_asked_on_command() {
    let mut script = Script::start(scripted_node::with_seeds(NETWORK, &["127.0.0.1"]));
    script.command(Command::FindSeeds);
    let event = script.event().await;
    let Event::SeedsFound(found) = event else {
        panic!("{event:?}");
    };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].port, 18_444);
}
