//! Connections through a SOCKS5 proxy that a test plays (RFC 1928, RFC 1929).

use std::net::{Ipv4Addr, SocketAddr};

use millrace_adapter::p2p::{P2pSettings, Proxy};
use millrace_p2p::address::{Host, PeerAddress};
use millrace_p2p::message::Message;
use millrace_p2p::node::{ConnectError, Event, TransportVersion};
use millrace_p2p::transport::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::NETWORK;
use super::peer::Door;
use super::scripted_node::{Script, settings};

async fn take<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// Answers a proxy's part of a connection; returns user name and target.
async fn answer(stream: &mut TcpStream, reply: u8) -> (String, String) {
    let [5, methods] = take(stream).await else {
        panic!("not SOCKS5");
    };
    let mut offered = vec![0; usize::from(methods)];
    stream.read_exact(&mut offered).await.unwrap();
    let mut user = String::new();
    if offered.contains(&2) {
        stream.write_all(&[5, 2]).await.unwrap();
        let [1, length] = take(stream).await else {
            panic!("no credentials");
        };
        let mut name = vec![0; usize::from(length)];
        stream.read_exact(&mut name).await.unwrap();
        let [length] = take(stream).await;
        stream
            .read_exact(&mut vec![0; usize::from(length)])
            .await
            .unwrap();
        stream.write_all(&[1, 0]).await.unwrap();
        user = String::from_utf8(name).unwrap();
    } else {
        stream.write_all(&[5, 0]).await.unwrap();
    }
    let [5, 1, 0, kind] = take(stream).await else {
        panic!("no request to connect");
    };
    let host = match kind {
        1 => Ipv4Addr::from(take::<4>(stream).await).to_string(),
        3 => {
            let [length] = take(stream).await;
            let mut name = vec![0; usize::from(length)];
            stream.read_exact(&mut name).await.unwrap();
            String::from_utf8(name).unwrap()
        }
        kind => panic!("address of kind {kind}"),
    };
    let port = u16::from_be_bytes(take(stream).await);
    stream
        .write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    (user, format!("{host}:{port}"))
}

fn through(door: &Door, isolates_streams: bool) -> P2pSettings {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, door.address.port));
    P2pSettings {
        proxy: Some(Proxy {
            address,
            isolates_streams,
        }),
        ..settings(NETWORK)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_peer_is_reached_through_the_proxy_and_alone_if_asked_for() {
    let onion = Host::Onion([7; 32]);
    let host = Host::V4(Ipv4Addr::new(192, 0, 2, 1));
    for isolates_streams in [false, true] {
        let door = Door::open().await;
        let mut script = Script::start(through(&door, isolates_streams));
        let mut users = Vec::new();
        for (host, suffix) in [(host, "192.0.2.1:9"), (onion, ".onion:9")] {
            let address = PeerAddress { host, port: 9 };
            let id = script.connect(address, TransportVersion::V1);
            let mut stream = door.raw().await;
            let (user, asked) = answer(&mut stream, 0).await;
            assert_eq!(asked, address.to_string());
            assert!(asked.ends_with(suffix), "{asked}");
            users.push(user);
            assert_eq!(script.connected().await.0, id);
            let mut ping = Vec::new();
            let peer = Transport::connect(NETWORK, TransportVersion::V1, [0; 32], &mut ping);
            peer.unwrap().send(&Message::Ping(5), &mut ping).unwrap();
            stream.write_all(&ping).await.unwrap();
            assert_eq!(script.message().await, Message::Ping(5));
            drop(stream);
            script.event().await;
        }
        assert_eq!(users[0] != users[1], isolates_streams, "{users:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn onion_services_need_a_proxy_and_its_refusals_are_told() {
    let onion = PeerAddress {
        host: Host::Onion([7; 32]),
        port: 9,
    };
    let reason_of = |event: Event| match event {
        Event::ConnectFailed {
            error: ConnectError::Unreachable { reason },
            ..
        } => reason,
        event => panic!("{event:?}"),
    };
    let mut script = Script::start(settings(NETWORK));
    script.connect(onion, TransportVersion::V2);
    let reason = reason_of(script.event().await);
    assert!(reason.contains("SOCKS5"), "{reason}");

    let door = Door::open().await;
    let mut script = Script::start(through(&door, false));
    script.connect(onion, TransportVersion::V2);
    answer(&mut door.raw().await, 4).await;
    let reason = reason_of(script.event().await);
    assert!(reason.contains("proxy 127.0.0.1"), "{reason}");
}
