//! What a fuzzer begins with: good examples of everything.

use bitcoin::block::Header;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::p2p::message_blockdata::Inventory;
use bitcoin::{Block, BlockHash, OutPoint, Sequence, Transaction, TxIn, Txid, Witness};
use millrace_adapter::state::State;
use millrace_core::{Height, Network, UnixSeconds};
use millrace_p2p::address::PeerAddress;
use millrace_p2p::book::AddressBook;
use millrace_p2p::headers::file::HEAD_BYTES;
use millrace_p2p::message::{KnownAddress, Message, Version, decode};
use millrace_p2p::node::TransportVersion;
use millrace_p2p::transport::Transport;

use crate::messages::COMMANDS;

/// The file that operators copy.
const CONFIG: &[u8] = include_bytes!("../../../adapter/adapter.example.toml");

/// Returns the seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "message" => messages().iter().map(chosen).collect(),
        "transport_v1" => vec![stream()],
        "transport_v2" => vec![vec![0; 80], [&[1][..], &stream()].concat(), vec![2; 40]],
        "block" => vec![serialize(&block(1)), serialize(&block(5))],
        "node" => vec![schedule()],
        "address_book" => vec![AddressBook::new(Network::Mainnet, 1).encode(), book()],
        "block_files" => vec![framed()],
        "rest" => vec![answers(&rest_answers())],
        "rpc" => vec![answers(&rpc_answers())],
        "header_file" => vec![header_file()[HEAD_BYTES..].to_vec()],
        "state_folder" => vec![[&[0][..], &header_file()].concat(), vec![1; 50]],
        "config" => vec![CONFIG.to_vec(), b"canister = \"aaaaa-aa\"\n".to_vec()],
        _ => Vec::new(),
    }
}

fn addresses() -> Vec<KnownAddress> {
    let texts = ["8.8.8.8:8333", "[2a01:4f8::1]:8333", "9.9.9.9:1"];
    let parse = |text: &str| PeerAddress::parse(text, Network::Mainnet).expect("an address");
    texts
        .map(|text| KnownAddress {
            time: 1_700_000_000,
            services: 0b1001,
            address: parse(text),
        })
        .into()
}

fn messages() -> Vec<Message> {
    let hash = BlockHash::from_byte_array([1; 32]);
    let inventory = vec![
        Inventory::WitnessBlock(hash),
        Inventory::WTx(bitcoin::Wtxid::from_byte_array([2; 32])),
    ];
    let decoded = |command, payload| decode(command, payload).expect("a good payload");
    vec![
        Message::Version(Version {
            version: 70_016,
            services: 0b1001,
            time: 1_700_000_000,
            nonce: 1,
            user_agent: "/seed:1/".to_owned(),
            start_height: 3,
            relay: true,
        }),
        Message::Verack,
        Message::WtxidRelay,
        Message::SendAddrV2,
        Message::SendHeaders,
        Message::FeeFilter(1_000),
        Message::Ping(1),
        Message::Pong(1),
        Message::GetHeaders {
            locator: vec![hash],
            stop: BlockHash::all_zeros(),
        },
        Message::Headers(headers(3)),
        Message::Inv(inventory.clone()),
        Message::GetData(inventory.clone()),
        Message::NotFound(inventory),
        Message::GetAddr,
        Message::Addr(addresses()),
        decoded("block", serialize(&block(3))),
        decoded("tx", serialize(&block(2).txdata[1])),
    ]
}

/// A payload after the byte that chooses its command.
fn chosen(message: &Message) -> Vec<u8> {
    let choice = COMMANDS.iter().position(|name| *name == message.command());
    let choice = choice.and_then(|choice| u8::try_from(choice).ok());
    let mut bytes = vec![choice.expect("a known command")];
    message.encode(&mut bytes);
    bytes
}

/// Some messages of version 1, after the byte that says how long pieces are.
fn stream() -> Vec<u8> {
    let mut bytes = vec![13];
    let version = TransportVersion::V1;
    let transport = Transport::connect(Network::Regtest, version, [1; 32], &mut bytes);
    let mut transport = transport.expect("no key is needed");
    for message in messages() {
        transport
            .send(&message, &mut bytes)
            .expect("a short message");
    }
    bytes
}

/// Headers of regtest that follow genesis.
fn headers(count: u32) -> Vec<Header> {
    let genesis = Network::Regtest.genesis_block().header;
    let mut parent = genesis;
    let headers = (0..count).map(|_| {
        let mut header = Header {
            prev_blockhash: parent.block_hash(),
            time: parent.time + 600,
            ..genesis
        };
        while header.validate_pow(header.target()).is_err() {
            header.nonce += 1;
        }
        parent = header;
        header
    });
    headers.collect()
}

/// A block of so many transactions after genesis, with witness data.
fn block(transactions: u32) -> Block {
    let genesis = Network::Regtest.genesis_block();
    let mut block = genesis.clone();
    for number in 1..transactions {
        let txid = Txid::from_byte_array([7; 32]);
        block.txdata.push(Transaction {
            input: vec![TxIn {
                previous_output: OutPoint { txid, vout: number },
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[[number as u8; 72]]),
                ..TxIn::default()
            }],
            ..genesis.txdata[0].clone()
        });
    }
    block.header.prev_blockhash = genesis.block_hash();
    block.header.merkle_root = block.compute_merkle_root().expect("transactions");
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

/// A connection, a handshake, headers and blocks; see [`crate::node`].
fn schedule() -> Vec<u8> {
    let mut bytes = vec![0, 10, 1, 0, 4, 0, 0, 12];
    for message in [Message::Headers(headers(3)), messages().remove(15)] {
        let mut payload = chosen(&message);
        let choice = payload.remove(0);
        let length = u16::try_from(payload.len()).expect("a short message");
        bytes.extend([8, 0, choice]);
        bytes.extend(length.to_be_bytes());
        bytes.extend(payload);
    }
    bytes.extend([5, 0, 6, 3, 0, 20, 3, 0]);
    bytes
}

fn book() -> Vec<u8> {
    let mut book = AddressBook::new(Network::Mainnet, 1);
    let now = UnixSeconds::new(1_700_000_100);
    book.add(now, None, &addresses());
    for known in addresses() {
        book.attempted(now, known.address);
        book.succeeded(now, known.address, known.services);
    }
    book.encode()
}

/// Framed blocks, after the byte that divides them.
fn framed() -> Vec<u8> {
    let mut bytes = vec![128];
    for block in [Network::Regtest.genesis_block(), block(2)] {
        let block = serialize(&block);
        bytes.extend(Network::Regtest.magic().to_bytes());
        bytes.extend(
            u32::try_from(block.len())
                .expect("a small block")
                .to_le_bytes(),
        );
        bytes.extend(block);
    }
    bytes
}

fn answers(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for body in bodies {
        let length = u16::try_from(body.len()).expect("a short answer");
        bytes.push(7);
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
    }
    bytes
}

fn chain_info() -> String {
    let best = block(2).block_hash();
    format!(
        "{{\"chain\":\"regtest\",\"blocks\":1,\"headers\":1,\"bestblockhash\":\"{best}\",\
         \"pruned\":false,\"initialblockdownload\":false}}"
    )
}

fn rest_answers() -> Vec<Vec<u8>> {
    let genesis = Network::Regtest.genesis_block().header;
    vec![
        chain_info().into_bytes(),
        [serialize(&genesis), serialize(&block(2).header)].concat(),
        serialize(&block(2)),
    ]
}

fn rpc_answers() -> Vec<Vec<u8>> {
    let of =
        |result: String| format!("[{{\"id\":0,\"result\":{result},\"error\":null}}]").into_bytes();
    let hex = |bytes: Vec<u8>| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\"{digits}\"")
    };
    vec![
        of(chain_info()),
        of("0".to_owned()),
        of(format!("\"{}\"", block(2).block_hash())),
        of(hex(serialize(&block(2).header))),
        of(hex(serialize(&block(2)))),
    ]
}

/// A header file of three headers.
fn header_file() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let now = UnixSeconds::new(1_800_000_000);
    let (mut state, restored) =
        State::open(folder.path(), Network::Regtest, now).expect("an empty folder");
    let mut tree = restored.headers;
    tree.accept(&headers(3), now);
    state
        .save_headers(&tree, Height::new(1))
        .expect("our folder");
    std::fs::read(folder.path().join("headers.dat")).expect("just written")
}
