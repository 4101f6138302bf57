//! Transports against each other, against the other side of the `bip324` crate, and against bytes
//! that are no transport's.

use bip324::{
    CipherSession, GarbageResult, InboundCipher, Initialized, NUM_LENGTH_BYTES, PacketType, Role,
    VersionResult,
};
use bitcoin::consensus::serialize;
use bitcoin::p2p::message::{NetworkMessage, RawNetworkMessage};
use proptest::prelude::*;

use super::*;
use crate::message::ReceivedBlock;

const NETWORK: Network = Network::Regtest;

fn error_of(result: Result<Vec<Message>, WireError>) -> String {
    let Err(WireError::Broken { reason }) = result else {
        panic!("{result:?}");
    };
    reason
}

fn connected(version: TransportVersion, entropy: [u8; 32]) -> (Transport, Vec<u8>) {
    let mut out = Vec::new();
    let transport = Transport::connect(NETWORK, version, entropy, &mut out).unwrap();
    (transport, out)
}

fn messages() -> Vec<Message> {
    let block = ReceivedBlock::of(serialize(&NETWORK.genesis_block())).unwrap();
    vec![
        Message::Verack,
        Message::Ping(7),
        Message::Block(Box::new(block)),
        Message::SendAddrV2,
        Message::Headers(vec![NETWORK.genesis_block().header; 20]),
        Message::Other {
            command: "mempool".to_owned(),
            bytes: 200_000,
        },
        Message::Pong(8),
    ]
}

/// What one side has written and the other has not read.
type Wire = Vec<u8>;

/// Brings bytes to one side in pieces of the given lengths, over and over.
fn deliver(
    to: &mut Transport,
    wire: &mut Wire,
    answers: &mut Wire,
    pieces: &[usize],
) -> Vec<Message> {
    let mut received = Vec::new();
    let bytes = std::mem::take(wire);
    let mut rest = bytes.as_slice();
    for piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        received.extend(to.receive(now, answers).unwrap());
        rest = later;
    }
    received
}

/// Connects two sides and returns what each received of the other's messages.
fn conversation(
    version: TransportVersion,
    seed: u8,
    pieces: &[usize],
) -> (Vec<Message>, Vec<Message>) {
    let (mut caller, mut to_callee) = connected(version, [seed; 32]);
    let mut callee = Transport::accept(NETWORK, [seed ^ 0xff; 32]);
    let mut to_caller = Vec::new();
    let (mut at_caller, mut at_callee) = (Vec::new(), Vec::new());
    let mut sent = [false, false];
    loop {
        for (index, side, wire) in [
            (0, &mut caller, &mut to_callee),
            (1, &mut callee, &mut to_caller),
        ] {
            if side.is_open() && !sent[index] {
                sent[index] = true;
                if index == 0 {
                    let hello = Message::Other {
                        command: "version".to_owned(),
                        bytes: 102,
                    };
                    side.send(&hello, wire).unwrap();
                }
                for message in messages() {
                    side.send(&message, wire).unwrap();
                }
            }
        }
        if to_callee.is_empty() && to_caller.is_empty() {
            break;
        }
        at_callee.extend(deliver(&mut callee, &mut to_callee, &mut to_caller, pieces));
        at_caller.extend(deliver(&mut caller, &mut to_caller, &mut to_callee, pieces));
    }
    assert_eq!(
        (caller.version(), callee.version()),
        (Some(version), Some(version))
    );
    (at_caller, at_callee)
}

#[test]
fn both_versions_carry_messages_byte_by_byte() {
    for version in [TransportVersion::V1, TransportVersion::V2] {
        let (at_caller, at_callee) = conversation(version, 3, &[1]);
        assert_eq!(at_caller, messages(), "{version:?}");
        assert!(matches!(at_callee[0], Message::Version(_)), "{version:?}");
        assert_eq!(at_callee[1..], messages(), "{version:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_pieces_give_the_same_messages(
        is_v2 in any::<bool>(),
        seed in any::<u8>(),
        pieces in prop::collection::vec(prop_oneof![1usize..100, 1usize..70_000], 1..20),
    ) {
        let version = if is_v2 { TransportVersion::V2 } else { TransportVersion::V1 };
        let (at_caller, at_callee) = conversation(version, seed, &pieces);
        prop_assert_eq!(at_caller, messages());
        prop_assert_eq!(&at_callee[1..], messages());
    }

    #[test]
    fn random_bytes_end_a_connection_without_harm(
        version in 0..3,
        bytes in prop::collection::vec(any::<u8>(), 0..10_000),
        piece in 1usize..5_000,
    ) {
        let mut transport = match version {
            0 => connected(TransportVersion::V1, [1; 32]).0,
            1 => connected(TransportVersion::V2, [1; 32]).0,
            _ => Transport::accept(NETWORK, [1; 32]),
        };
        let mut out = Vec::new();
        for bytes in bytes.chunks(piece) {
            match transport.receive(bytes, &mut out) {
                Ok(messages) => prop_assert!(messages.is_empty()),
                Err(_) => break,
            }
        }
        prop_assert!(out.len() < 64 + MAX_GARBAGE_BYTES + 100);
    }

    #[test]
    fn damaged_streams_never_bring_other_messages(
        at in any::<prop::sample::Index>(),
        mask in 1..=u8::MAX,
    ) {
        let mut v1 = V1::new(NETWORK);
        let mut bytes = Vec::new();
        for message in messages() {
            v1.send(&message, &mut bytes).unwrap();
        }
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        match v1.receive(&bytes) {
            // A longer length waits for more; another name is another message.
            Ok(received) => prop_assert!(received != messages()),
            Err(WireError::Broken { reason }) => prop_assert!(!reason.is_empty()),
        }
    }
}

#[test]
fn version_1_is_the_bitcoin_crates() {
    for network in Network::ALL {
        let message = NetworkMessage::Ping(77);
        let raw = serialize(&RawNetworkMessage::new(network.magic(), message));
        let mut v1 = V1::new(network);
        let mut ours = Vec::new();
        v1.send(&Message::Ping(77), &mut ours).unwrap();
        assert_eq!(ours, raw);
        assert_eq!(v1.receive(&raw), Ok(vec![Message::Ping(77)]));
    }
}

#[test]
fn broken_headers_are_named_before_a_payload_is_awaited() {
    let mut good = Vec::new();
    V1::new(NETWORK).send(&Message::Ping(1), &mut good).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut damaged = good.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        damaged
    };
    let cases = [
        ("magic", with(0, &[1]), 24, "magic"),
        ("name", with(5, &[0]), 24, "no name"),
        (
            "length",
            with(16, &4_000_001_u32.to_le_bytes()),
            24,
            "4000001 bytes",
        ),
        (
            "checksum",
            with(20, &[good[20] ^ 1]),
            good.len(),
            "checksum",
        ),
        ("payload", with(24, &[9]), good.len(), "checksum"),
        (
            "another name",
            with(4, b"headers\0"),
            good.len(),
            "headers message",
        ),
    ];
    for (name, bytes, length, words) in cases {
        let mut v1 = V1::new(NETWORK);
        assert_eq!(v1.receive(&bytes[..length - 1]), Ok(Vec::new()), "{name}");
        let error = error_of(v1.receive(&bytes[length - 1..length]));
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[test]
fn a_length_alone_takes_no_memory() {
    let mut header = NETWORK.magic().to_bytes().to_vec();
    header.extend(command::padded("block"));
    header.extend(4_000_000_u32.to_le_bytes());
    header.extend([0; 4]);
    let mut v1 = V1::new(NETWORK);
    assert!(v1.receive(&header).unwrap().is_empty());
    assert!(v1.bytes_held() <= 65 * 1_024);
    assert!(v1.receive(&[1; 100]).unwrap().is_empty());
    assert!(v1.receive(&[1; 100]).unwrap().is_empty());
    assert!(v1.bytes_held() <= 4_001_000);
}

#[test]
fn messages_longer_than_allowed_are_not_sent() {
    let inventory = bitcoin::p2p::message_blockdata::Inventory::Error;
    let long = Message::Inv(vec![inventory; 120_000]);
    let mut out = vec![1, 2, 3];
    let error = V1::new(NETWORK).send(&long, &mut out).unwrap_err();
    assert!(error.to_string().contains("4320005 bytes"), "{error}");
    assert_eq!(out, [1, 2, 3]);
    let (mut v2, _) = connected(TransportVersion::V2, [1; 32]);
    assert!(v2.send(&Message::Verack, &mut out).is_err());
    assert_eq!(out, [1, 2, 3]);
}

/// The other side of a connection, made of the crate alone.
struct Other {
    to_us: Vec<u8>,
    session: CipherSession,
    /// What we sent after the handshake.
    rest: Vec<u8>,
}

/// Answers an initiator with garbage, decoys and a version packet.
fn answer(from_us: &mut Vec<u8>, us: &mut Transport, garbage: &[u8], decoys: &[&[u8]]) -> Other {
    let magic = NETWORK.magic().to_bytes();
    let start = bip324::Handshake::<Initialized>::new(magic, Role::Responder).unwrap();
    let length = bip324::Handshake::<Initialized>::send_key_len(Some(garbage));
    let mut key = vec![0; length];
    let sent = start.send_key(Some(garbage), &mut key).unwrap();
    let received = sent.receive_key(*from_us.first_chunk().unwrap()).unwrap();
    let length = bip324::Handshake::<bip324::ReceivedKey<'_>>::send_version_len(Some(decoys));
    let mut version = vec![0; length];
    let sent = received.send_version(&mut version, Some(decoys)).unwrap();
    let to_us = [key, version].concat();
    // Our own version packet is an answer to their key.
    let mut answer = Vec::new();
    assert!(us.receive(&to_us[..64], &mut answer).unwrap().is_empty());
    from_us.extend(answer);
    let GarbageResult::FoundGarbage {
        mut handshake,
        consumed_bytes,
    } = sent.receive_garbage(&from_us[64..]).unwrap()
    else {
        panic!("the end of our garbage is there");
    };
    let mut packet = from_us[64 + consumed_bytes..].to_vec();
    let length = handshake
        .decrypt_packet_len(*packet.first_chunk().unwrap())
        .unwrap();
    let rest = packet.split_off(NUM_LENGTH_BYTES + length);
    let result = handshake
        .receive_version(&mut packet[NUM_LENGTH_BYTES..])
        .unwrap();
    let VersionResult::Complete { cipher } = result else {
        panic!("we send no decoys");
    };
    Other {
        to_us: to_us[64..].to_vec(),
        session: cipher,
        rest,
    }
}

/// A name, garbage, decoys.
type Greeting<'a> = (&'a str, &'a [u8], &'a [&'a [u8]]);

/// A name, what makes the packet, words of the error.
type Ending<'a> = (&'a str, &'a dyn Fn(&mut CipherSession) -> Vec<u8>, &'a str);

#[test]
fn version_2_talks_to_the_crates_other_side() {
    let long = vec![7; 10_000];
    let cases: [Greeting<'_>; 5] = [
        ("nothing more", &[], &[]),
        ("garbage", &[1, 2, 3], &[]),
        ("most garbage", &[5; MAX_GARBAGE_BYTES], &[]),
        ("decoys", &[], &[&[], &[1; 100], &long]),
        ("both", &[9; 70], &[&[1]]),
    ];
    for (index, (name, garbage, decoys)) in cases.into_iter().enumerate() {
        let (mut us, mut from_us) = connected(TransportVersion::V2, [index as u8; 32]);
        let mut other = answer(&mut from_us, &mut us, garbage, decoys);
        let outbound = other.session.outbound();
        // A decoy, a short name, a long name, a name of the future.
        let pong = [&[19][..], &7u64.to_le_bytes()].concat();
        let mut to_us = std::mem::take(&mut other.to_us);
        to_us.extend(outbound.encrypt_to_vec(&[1; 50], PacketType::Decoy, None));
        to_us.extend(outbound.encrypt_to_vec(&pong, PacketType::Genuine, None));
        let verack = [&[0][..], &command::padded("verack")].concat();
        to_us.extend(outbound.encrypt_to_vec(&verack, PacketType::Genuine, None));
        to_us.extend(outbound.encrypt_to_vec(&[200, 1], PacketType::Genuine, None));
        let mut received = Vec::new();
        for bytes in to_us.chunks(50) {
            received.extend(us.receive(bytes, &mut Vec::new()).unwrap());
        }
        let unknown = Message::Other {
            command: "short id 200".to_owned(),
            bytes: 1,
        };
        assert_eq!(
            received,
            [Message::Pong(7), Message::Verack, unknown],
            "{name}"
        );

        assert!(other.rest.is_empty());
        let mut sent = Vec::new();
        us.send(&Message::Ping(3), &mut sent).unwrap();
        let length = other
            .session
            .inbound()
            .decrypt_packet_len(*sent.first_chunk().unwrap());
        assert_eq!(length, sent.len() - NUM_LENGTH_BYTES);
        let mut plain = vec![0; InboundCipher::decryption_buffer_len(length)];
        let packet = &sent[NUM_LENGTH_BYTES..];
        other
            .session
            .inbound()
            .decrypt(packet, &mut plain, None)
            .unwrap();
        assert_eq!(
            plain,
            [&[0, 18][..], &3u64.to_le_bytes()].concat(),
            "{name}"
        );
    }
}

#[test]
fn version_2_ends_where_the_other_side_breaks_it() {
    let oversize = vec![1; MAX_HANDSHAKE_PACKET_BYTES];
    let many: Vec<&[u8]> = vec![&[1]; MAX_HANDSHAKE_PACKETS];
    for (name, decoys, words) in [
        ("long decoy", vec![oversize.as_slice()], "at most 16384"),
        ("many decoys", many, "more than 16 packets"),
    ] {
        let (mut us, mut from_us) = connected(TransportVersion::V2, [7; 32]);
        let other = answer(&mut from_us, &mut us, &[], &decoys);
        let error = error_of(us.receive(&other.to_us, &mut Vec::new()));
        assert!(error.contains(words), "{name}: {error}");
    }
    let endings: [Ending<'_>; 4] = [
        (
            "no name",
            &|session| {
                session
                    .outbound()
                    .encrypt_to_vec(&[], PacketType::Genuine, None)
            },
            "no name",
        ),
        (
            "half a name",
            &|session| {
                session
                    .outbound()
                    .encrypt_to_vec(&[0, 1], PacketType::Genuine, None)
            },
            "no name",
        ),
        (
            "damaged",
            &|session| {
                let mut packet =
                    session
                        .outbound()
                        .encrypt_to_vec(&[18; 9], PacketType::Genuine, None);
                packet[5] ^= 1;
                packet
            },
            "",
        ),
        (
            "too long",
            &|session| {
                session
                    .outbound()
                    .encrypt_to_vec(&vec![0; 4_000_100], PacketType::Genuine, None)
            },
            "at most",
        ),
    ];
    for (name, ending, words) in endings {
        let (mut us, mut from_us) = connected(TransportVersion::V2, [8; 32]);
        let mut other = answer(&mut from_us, &mut us, &[], &[]);
        let packet = ending(&mut other.session);
        assert_eq!(us.receive(&other.to_us, &mut Vec::new()), Ok(Vec::new()));
        let error = error_of(us.receive(&packet, &mut Vec::new()));
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[test]
fn version_2_notices_who_does_not_speak_it() {
    let (mut us, _) = connected(TransportVersion::V2, [1; 32]);
    let mut v1 = Vec::new();
    let hello = Message::Other {
        command: "version".to_owned(),
        bytes: 100,
    };
    V1::new(NETWORK).send(&hello, &mut v1).unwrap();
    let error = error_of(us.receive(&v1, &mut Vec::new()));
    assert!(error.contains("V1"), "{error}");

    let (mut us, _) = connected(TransportVersion::V2, [1; 32]);
    let mut out = Vec::new();
    let endless = vec![1; 64 + MAX_GARBAGE_BYTES + 15];
    assert_eq!(us.receive(&endless, &mut out), Ok(Vec::new()));
    assert!(!us.is_open());
    let error = error_of(us.receive(&[1], &mut out));
    assert!(error.contains("garbage"), "{error}");
}

#[test]
fn keys_and_garbage_follow_from_entropy_alone() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (_, first) = connected(TransportVersion::V2, [seed; 32]);
        let (_, again) = connected(TransportVersion::V2, [seed; 32]);
        assert_eq!(first, again);
        assert!((64..=64 + MAX_GARBAGE_BYTES).contains(&first.len()));
        lengths.insert(first.len());
    }
    assert!(lengths.len() > 15, "{lengths:?}");
}
