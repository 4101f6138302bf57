//! Bytes of a peer's connection.

use millrace_core::Network;
use millrace_core::scan::ScannedBlock;
use millrace_p2p::message::{self, Message, check_block, decode, strip_witness};
use millrace_p2p::node::TransportVersion;
use millrace_p2p::transport::Transport;

/// Names of messages, and one that nobody knows.
pub const COMMANDS: [&str; 19] = [
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
    "unheardof",
];

/// The payload of the message that the first byte chooses. What decodes, encodes to what decodes to the same.
pub fn message(data: &[u8]) {
    let Some((choice, payload)) = data.split_first() else {
        return;
    };
    let command = COMMANDS[usize::from(*choice) % COMMANDS.len()];
    let Ok(read) = decode(command, payload.to_vec()) else {
        return;
    };
    if matches!(read, Message::Other { .. }) {
        return;
    }
    let mut written = Vec::new();
    read.encode(&mut written);
    assert!(
        written.len() <= message::MAX_PAYLOAD_BYTES || payload.len() > message::MAX_PAYLOAD_BYTES
    );
    let again = decode(read.command(), written).expect("its own encoding");
    assert_eq!(again, read);
}

/// A block: the verdict is that of the canister's scanner, and stripped of its witness data it is the same block.
pub fn block(data: &[u8]) {
    let verdict = check_block(data);
    let scanned = ScannedBlock::of(data);
    match (&verdict, &scanned) {
        (Ok(()), Ok(_)) => {}
        (Err(one), Err(other)) => assert_eq!(
            std::mem::discriminant(one),
            std::mem::discriminant(other),
            "{one}, {other}"
        ),
        _ => panic!("{verdict:?}, scanner: {:?}", scanned.map(|_| ())),
    }
    let Ok(stripped) = strip_witness(data) else {
        return;
    };
    assert!(stripped.len() <= data.len());
    let again = strip_witness(&stripped).expect("a block without witness data");
    assert_eq!(again, stripped);
    if let Ok(whole) = scanned {
        let scanned = ScannedBlock::of(&stripped).expect("the same block");
        assert_eq!(scanned.txids(), whole.txids());
        assert_eq!(scanned.hash(), whole.hash());
    }
}

/// A version 1 connection, in pieces whose lengths the first byte decides: the pieces change nothing.
pub fn transport_v1(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let whole = receive(TransportVersion::V1, bytes, usize::MAX);
    let pieces = receive(TransportVersion::V1, bytes, usize::from(*piece) + 1);
    assert_eq!(pieces.1, whole.1);
    // A call that fails loses its messages; pieces lose fewer.
    assert!(whole.0.len() <= pieces.0.len());
    assert_eq!(pieces.0[..whole.0.len()], whole.0);
}

/// Returns the messages, and whether the connection could go on.
fn receive(version: TransportVersion, bytes: &[u8], piece: usize) -> (Vec<Message>, bool) {
    let mut out = Vec::new();
    let mut transport = Transport::connect(Network::Regtest, version, [7; 32], &mut out)
        .expect("a key of this entropy");
    let mut messages = Vec::new();
    for part in bytes.chunks(piece.min(bytes.len()).max(1)) {
        match transport.receive(part, &mut out) {
            Ok(found) => messages.extend(found),
            Err(_) => return (messages, false),
        }
    }
    (messages, true)
}

/// A version 2 connection: the first byte says whether the handshake itself comes from the fuzzer, or the stream
/// after it, of which the fuzzer changes bytes.
pub fn transport_v2(data: &[u8]) {
    let Some((mode, bytes)) = data.split_first() else {
        return;
    };
    match mode % 3 {
        0 => {
            let _ = receive(TransportVersion::V2, bytes, usize::from(*mode) + 1);
        }
        1 => {
            let mut out = Vec::new();
            let mut accepted = Transport::accept(Network::Regtest, [9; 32]);
            for part in bytes.chunks(usize::from(*mode) + 1) {
                if accepted.receive(part, &mut out).is_err() {
                    return;
                }
            }
        }
        _ => changed_stream(bytes),
    }
}

/// Two honest ends; the bytes say which of those on the wire are changed.
fn changed_stream(changes: &[u8]) {
    let (mut to_acceptor, mut to_initiator) = (Vec::new(), Vec::new());
    let version = TransportVersion::V2;
    let mut initiator = Transport::connect(Network::Regtest, version, [7; 32], &mut to_acceptor)
        .expect("a key of this entropy");
    let mut acceptor = Transport::accept(Network::Regtest, [9; 32]);
    let mut changes = changes.chunks_exact(3);
    for round in 0..12 {
        if round > 2 && initiator.is_open() {
            let ping = Message::Ping(round);
            initiator
                .send(&ping, &mut to_acceptor)
                .expect("an open connection");
        }
        if let Some([at, also_at, change]) = changes.next() {
            let at = usize::from(*at) * 256 + usize::from(*also_at);
            let length = to_acceptor.len().max(1);
            if let Some(byte) = to_acceptor.get_mut(at % length) {
                *byte ^= change;
            }
        }
        let sent = std::mem::take(&mut to_acceptor);
        let Ok(messages) = acceptor.receive(&sent, &mut to_initiator) else {
            return;
        };
        for message in messages {
            assert!(matches!(message, Message::Ping(number) if number <= round));
        }
        let sent = std::mem::take(&mut to_initiator);
        if initiator.receive(&sent, &mut to_acceptor).is_err() {
            return;
        }
    }
}
