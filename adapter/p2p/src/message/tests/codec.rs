//! Payloads of messages: vectors, round trips, hostile bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use bitcoin::BlockHash;
use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::p2p::Address;
use bitcoin::p2p::ServiceFlags;
use bitcoin::p2p::message::NetworkMessage;
use bitcoin::p2p::message_blockdata::{GetHeadersMessage, Inventory};
use bitcoin::p2p::message_network::VersionMessage;
use millrace_core::Network;
use proptest::prelude::*;

use crate::address::{Host, PeerAddress};
use crate::message::{
    KnownAddress, MAX_ADDRESSES, MAX_HEADERS, MAX_INVENTORY, MAX_LOCATOR, MAX_USER_AGENT_BYTES,
    Message, PayloadError, RawTransaction, ReceivedBlock, Version, command, decode,
};

fn payload(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn genesis() -> Header {
    Network::Mainnet.genesis_block().header
}

fn sample_version() -> Version {
    Version {
        version: 70_016,
        services: 1 | 8 | 2_048,
        time: 1_700_000_000,
        nonce: 7,
        user_agent: "/Satoshi:31.99.0/".to_owned(),
        start_height: 900_000,
        relay: false,
    }
}

#[test]
fn names_have_the_short_ids_of_bip324() {
    let table = [
        (1, "addr"),
        (2, "block"),
        (5, "feefilter"),
        (11, "getdata"),
        (12, "getheaders"),
        (13, "headers"),
        (14, "inv"),
        (17, "notfound"),
        (18, "ping"),
        (19, "pong"),
        (21, "tx"),
        (28, "addrv2"),
    ];
    for (id, name) in table {
        assert_eq!(command::short_id(name), Some(id), "{name}");
        assert_eq!(command::of_short_id(id), Some(name));
    }
    for name in ["version", "verack", "wtxidrelay", "sendaddrv2", "getaddr"] {
        assert_eq!(command::short_id(name), None, "{name}");
    }
    assert_eq!(
        (command::of_short_id(0), command::of_short_id(29)),
        (None, None)
    );
    let cases: [(&[u8; 12], _); 5] = [
        (b"version\0\0\0\0\0", Some("version")),
        (b"abcdefghijkl", Some("abcdefghijkl")),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some("")),
        (b"ver\0ack\0\0\0\0\0", None),
        (b"ver\x1b[2J\0\0\0\0\0", None),
    ];
    for (bytes, name) in cases {
        assert_eq!(command::of_padded(bytes), name, "{bytes:?}");
    }
    assert_eq!(&command::padded("version"), b"version\0\0\0\0\0");
}

#[test]
fn payloads_are_those_of_the_bitcoin_crate() {
    let nobody = Address {
        services: ServiceFlags::NONE,
        address: [0; 8],
        port: 0,
    };
    let hash = genesis().block_hash();
    let version = sample_version();
    let cases = [
        (
            Message::Version(version.clone()),
            NetworkMessage::Version(VersionMessage {
                version: 70_016,
                services: version.services.into(),
                timestamp: version.time,
                receiver: nobody.clone(),
                sender: nobody,
                nonce: 7,
                user_agent: version.user_agent,
                start_height: 900_000,
                relay: false,
            }),
        ),
        (
            Message::GetHeaders {
                locator: vec![hash; 3],
                stop: BlockHash::all_zeros(),
            },
            NetworkMessage::GetHeaders(GetHeadersMessage {
                version: 70_016,
                locator_hashes: vec![hash; 3],
                stop_hash: BlockHash::all_zeros(),
            }),
        ),
        (
            Message::Headers(vec![genesis(); 300]),
            NetworkMessage::Headers(vec![genesis(); 300]),
        ),
        (
            Message::GetData(vec![Inventory::WitnessBlock(hash)]),
            NetworkMessage::GetData(vec![Inventory::WitnessBlock(hash)]),
        ),
        (Message::Ping(9), NetworkMessage::Ping(9)),
        (Message::FeeFilter(1_000), NetworkMessage::FeeFilter(1_000)),
        (Message::SendHeaders, NetworkMessage::SendHeaders),
    ];
    for (ours, theirs) in cases {
        let bytes = payload(&ours);
        assert_eq!(ours.command(), theirs.cmd(), "{ours:?}");
        assert_eq!(bytes, serialize_payload(&theirs), "{ours:?}");
        assert_eq!(decode(ours.command(), bytes), Ok(ours));
    }
}

/// The crate only writes whole messages.
fn serialize_payload(message: &NetworkMessage) -> Vec<u8> {
    let magic = Network::Mainnet.magic();
    let raw = bitcoin::p2p::message::RawNetworkMessage::new(magic, message.clone());
    serialize(&raw)[24..].to_vec()
}

#[test]
fn versions_of_old_nodes_have_the_values_of_their_time() {
    let full = payload(&Message::Version(sample_version()));
    let cases = [
        ("receiver's address last", 46, 0, "", 0, true),
        ("nonce last", 80, 7, "", 0, true),
        ("user agent last", 98, 7, "/Satoshi:31.99.0/", 0, true),
        ("height last", 102, 7, "/Satoshi:31.99.0/", 900_000, true),
        ("all", 103, 7, "/Satoshi:31.99.0/", 900_000, false),
    ];
    for (name, length, nonce, agent, height, relay) in cases {
        let Ok(Message::Version(version)) = decode("version", full[..length].to_vec()) else {
            panic!("{name}");
        };
        let expected = Version {
            nonce,
            user_agent: agent.to_owned(),
            start_height: height,
            relay,
            ..sample_version()
        };
        assert_eq!(version, expected, "{name}");
    }
    for cut in [0, 3, 45, 47, 79, 81, 97, 101] {
        let error = decode("version", full[..cut].to_vec());
        assert!(matches!(error, Err(PayloadError::Ends { .. })), "{cut}");
    }
    let longer = [&full[..], b"future"].concat();
    assert!(decode("version", longer).is_ok());
    let escapes = Version {
        user_agent: "/a\u{1b}[31mb\r\n\u{e9}/".to_owned(),
        ..sample_version()
    };
    let Ok(Message::Version(version)) = decode("version", payload(&Message::Version(escapes)))
    else {
        panic!("a user agent of any bytes is no error");
    };
    assert_eq!(version.user_agent, "/a[31mb/");
}

#[test]
fn more_than_the_protocol_allows_is_an_error() {
    let many = |command: &str, count: u32, entry: &[u8]| {
        let count = [&[0xfe][..], &count.to_le_bytes()].concat();
        decode(command, [&count[..], entry].concat())
    };
    let agent = Version {
        user_agent: "a".repeat(MAX_USER_AGENT_BYTES + 1),
        ..sample_version()
    };
    let locator = Message::GetHeaders {
        locator: vec![BlockHash::all_zeros(); MAX_LOCATOR + 1],
        stop: BlockHash::all_zeros(),
    };
    let headers = Message::Headers(vec![genesis(); MAX_HEADERS + 1]);
    let cases = [
        (
            "inv",
            many("inv", MAX_INVENTORY as u32 * 2, &[]),
            MAX_INVENTORY,
        ),
        ("getdata", many("getdata", u32::MAX, &[]), MAX_INVENTORY),
        ("notfound", many("notfound", 65_536, &[]), MAX_INVENTORY),
        ("addr", many("addr", 65_536, &[]), MAX_ADDRESSES),
        ("addrv2", many("addrv2", 65_536, &[]), MAX_ADDRESSES),
        ("headers", decode("headers", payload(&headers)), MAX_HEADERS),
        (
            "version",
            decode("version", payload(&Message::Version(agent))),
            MAX_USER_AGENT_BYTES,
        ),
        (
            "getheaders",
            decode("getheaders", payload(&locator)),
            MAX_LOCATOR,
        ),
    ];
    for (name, result, bound) in cases {
        let Err(PayloadError::TooMany { most, .. }) = result else {
            panic!("{name}: {result:?}");
        };
        assert_eq!(most, bound, "{name}");
    }
    let full = vec![Inventory::Block(BlockHash::all_zeros()); MAX_INVENTORY];
    let full = Message::Inv(full);
    assert_eq!(decode("inv", payload(&full)), Ok(full));
}

#[test]
fn headers_bring_no_transactions() {
    let mut bytes = payload(&Message::Headers(vec![genesis(); 2]));
    *bytes.last_mut().unwrap() = 1;
    let error = PayloadError::HeaderWithTransactions { index: 1, count: 1 };
    assert_eq!(decode("headers", bytes), Err(error));
    let padded = decode("headers", vec![0xfd, 0, 0]);
    assert!(matches!(padded, Err(PayloadError::NotMinimal { .. })));
}

/// An entry of `addrv2`: time, services, network, address, port.
fn entry(network: u8, address: &[u8], port: u16) -> Vec<u8> {
    let length = address.len() as u16;
    let length = match length {
        0..0xfd => vec![length as u8],
        _ => [&[0xfd][..], &length.to_le_bytes()].concat(),
    };
    let head = [9, 0, 0, 0, 1, network];
    [&head[..], &length, address, &port.to_be_bytes()].concat()
}

#[test]
fn addresses_that_nobody_can_connect_to_are_left_out() {
    let mapped = Ipv4Addr::new(1, 2, 3, 4).to_ipv6_mapped().octets();
    let v4 = Host::V4(Ipv4Addr::new(1, 2, 3, 4));
    let v6: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let onion_v2: Ipv6Addr = "fd87:d87e:eb43::1".parse().unwrap();
    let cases = [
        ("IPv4", entry(1, &[1, 2, 3, 4], 8_333), Some(v4)),
        ("IPv6", entry(2, &v6.octets(), 8_333), Some(Host::V6(v6))),
        ("IPv4 within IPv6", entry(2, &mapped, 8_333), None),
        (
            "old onion within IPv6",
            entry(2, &onion_v2.octets(), 1),
            None,
        ),
        ("no address", entry(2, &[0; 16], 8_333), None),
        ("old onion", entry(3, &[1; 10], 8_333), None),
        (
            "onion",
            entry(4, &[7; 32], 8_333),
            Some(Host::Onion([7; 32])),
        ),
        ("I2P", entry(5, &[7; 32], 0), None),
        ("CJDNS", entry(6, &[0xfc; 16], 8_333), None),
        ("future", entry(200, &[1; 512], 8_333), None),
        ("no port", entry(1, &[1, 2, 3, 4], 0), None),
    ];
    for (name, entry, host) in cases {
        let decoded = decode("addrv2", [&[1][..], &entry].concat());
        let expected = host.map(|host| KnownAddress {
            time: 9,
            services: 1,
            address: PeerAddress { host, port: 8_333 },
        });
        assert_eq!(
            decoded,
            Ok(Message::Addr(expected.into_iter().collect())),
            "{name}"
        );
    }
    for (network, length) in [(1, 5), (2, 4), (4, 10), (5, 31), (6, 17)] {
        let decoded = decode(
            "addrv2",
            [&[1][..], &entry(network, &vec![1; length], 1)].concat(),
        );
        assert!(
            matches!(decoded, Err(PayloadError::AddressLength { .. })),
            "{network}"
        );
    }
    let long = decode("addrv2", [&[1][..], &entry(200, &[1; 513], 1)].concat());
    assert!(matches!(long, Err(PayloadError::TooMany { most: 512, .. })));

    let fields = [
        &[1, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..],
        &mapped,
        &[0x20, 0x8d],
    ];
    let decoded = decode("addr", fields.concat());
    let expected = KnownAddress {
        time: 9,
        services: 1,
        address: PeerAddress {
            host: v4,
            port: 8_333,
        },
    };
    assert_eq!(decoded, Ok(Message::Addr(vec![expected])));
}

#[test]
fn transactions_are_whole_and_alone() {
    let transaction = serialize(&Network::Mainnet.genesis_block().txdata[0]);
    let Ok(Message::Tx(raw)) = decode("tx", transaction.clone()) else {
        panic!("a transaction");
    };
    assert_eq!(raw.wtxid.to_byte_array(), raw.txid.to_byte_array());
    for bytes in [
        Vec::new(),
        transaction[..transaction.len() - 1].to_vec(),
        [&transaction[..], &[0]].concat(),
    ] {
        let error = decode("tx", bytes);
        assert!(
            matches!(error, Err(PayloadError::Transaction { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn other_messages_are_passed_over() {
    let other = decode("sendcmpct", vec![0; 9]);
    let expected = Message::Other {
        command: "sendcmpct".to_owned(),
        bytes: 9,
    };
    assert_eq!(other, Ok(expected));
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|bytes| Host::V4(bytes.into())),
        any::<[u8; 14]>().prop_map(|tail| {
            let mut bytes = [0x20; 16];
            bytes[2..].copy_from_slice(&tail);
            Host::V6(bytes.into())
        }),
        any::<[u8; 32]>().prop_map(Host::Onion),
    ]
    .prop_filter("somewhere", |host| {
        !matches!(host, Host::V4(address) if address.is_unspecified() || address.is_broadcast())
    })
}

fn inventory() -> impl Strategy<Value = Vec<Inventory>> {
    let entry = (any::<u8>(), any::<[u8; 32]>()).prop_map(|(kind, hash)| match kind % 5 {
        0 => Inventory::Block(BlockHash::from_byte_array(hash)),
        1 => Inventory::WitnessBlock(BlockHash::from_byte_array(hash)),
        2 => Inventory::WTx(bitcoin::Wtxid::from_byte_array(hash)),
        3 => Inventory::Transaction(bitcoin::Txid::from_byte_array(hash)),
        _ => Inventory::Unknown { inv_type: 99, hash },
    });
    prop::collection::vec(entry, 0..300)
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let known = (any::<u32>(), any::<u64>(), host(), 1..=u16::MAX);
    let known = known.prop_map(|(time, services, host, port)| KnownAddress {
        time,
        services,
        address: PeerAddress { host, port },
    });
    let version = ("[ -~]{0,256}", any::<u64>(), any::<i32>(), any::<bool>());
    let hash = any::<[u8; 32]>().prop_map(BlockHash::from_byte_array);
    let headers = prop::collection::vec(any::<[u8; 80]>(), 0..300).prop_map(|headers| {
        let decoded = headers
            .iter()
            .map(|bytes| bitcoin::consensus::deserialize(bytes));
        decoded.collect::<Result<_, _>>().unwrap()
    });
    let block = serialize(&Network::Mainnet.genesis_block());
    let transaction = serialize(&Network::Mainnet.genesis_block().txdata[0]);
    prop_oneof![
        version.prop_map(
            |(user_agent, nonce, start_height, relay)| Message::Version(Version {
                user_agent,
                nonce,
                start_height,
                relay,
                ..sample_version()
            })
        ),
        Just(Message::Verack),
        Just(Message::WtxidRelay),
        Just(Message::SendAddrV2),
        Just(Message::SendHeaders),
        Just(Message::GetAddr),
        any::<u64>().prop_map(Message::FeeFilter),
        any::<u64>().prop_map(Message::Ping),
        any::<u64>().prop_map(Message::Pong),
        (
            prop::collection::vec(hash, 0..=MAX_LOCATOR),
            any::<[u8; 32]>()
        )
            .prop_map(|(locator, stop)| Message::GetHeaders {
                locator,
                stop: BlockHash::from_byte_array(stop),
            }),
        headers.prop_map(Message::Headers),
        inventory().prop_map(Message::Inv),
        inventory().prop_map(Message::GetData),
        inventory().prop_map(Message::NotFound),
        prop::collection::vec(known, 0..100).prop_map(Message::Addr),
        Just(Message::Block(Box::new(ReceivedBlock::of(block).unwrap()))),
        Just(Message::Tx(RawTransaction::of(transaction).unwrap())),
        (0usize..5_000).prop_map(|bytes| Message::Other {
            command: "mempool".to_owned(),
            bytes,
        }),
    ]
}

const COMMANDS: [&str; 19] = [
    "version",
    "verack",
    "wtxidrelay",
    "sendaddrv2",
    "sendheaders",
    "getaddr",
    "feefilter",
    "ping",
    "pong",
    "getheaders",
    "headers",
    "inv",
    "getdata",
    "notfound",
    "addr",
    "addrv2",
    "block",
    "tx",
    "unheard-of",
];

proptest! {
    #[test]
    fn messages_survive_their_payloads(message in message()) {
        let bytes = payload(&message);
        prop_assert_eq!(decode(message.command(), bytes), Ok(message));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(
        command in 0..COMMANDS.len(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = decode(COMMANDS[command], bytes);
    }

    #[test]
    fn damaged_payloads_are_a_message_or_an_error(
        message in message(),
        at in any::<prop::sample::Index>(),
        mask in 1..=u8::MAX,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = payload(&message);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            let _ = decode(message.command(), bytes.clone());
            bytes.truncate(cut.index(bytes.len()));
            let _ = decode(message.command(), bytes);
        }
    }
}
