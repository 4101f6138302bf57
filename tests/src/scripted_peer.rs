//! Bitcoin peers that do what no Bitcoin Core will do: stall, lie, flood, vanish.
//!
//! They speak version 1 of the transport. Messages are the `bitcoin` crate's; nothing of the adapter's code is used.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bitcoin::block::Header;
use bitcoin::consensus::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::p2p::address::Address;
use bitcoin::p2p::message::{NetworkMessage, RawNetworkMessage};
use bitcoin::p2p::message_blockdata::Inventory;
use bitcoin::p2p::message_network::VersionMessage;
use bitcoin::p2p::{Magic, ServiceFlags};
use bitcoin::{Block, BlockHash, Network, TxMerkleNode};

use crate::mining::solve;

/// Headers of one message.
const MAX_HEADERS: usize = 2_000;

/// Bytes of a message's head: magic, name, length, checksum.
const HEAD_BYTES: usize = 24;

/// How long a peer waits for a message before it looks whether it should end.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Serves headers and blocks.
    Honest,
    /// Serves headers, and never a block.
    Stall,
    /// Serves headers, and blocks whose transactions are others: another one repeated at the end, which leaves the
    /// merkle root alone where their number is odd (CVE-2012-2459), or none at all.
    Lie,
    /// Serves headers, and says of each block that it is not there.
    Lack,
    /// Sends random bytes after the handshake.
    Garbage,
    /// Answers each question for headers with thousands of an own branch, from genesis, never the same.
    Flood,
    /// Closes the connection when it is asked for blocks.
    Vanish,
}

/// What happened to a peer.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections with a finished handshake.
    pub connections: AtomicU64,
    /// Blocks it was asked for.
    pub wanted: AtomicU64,
    /// Blocks it sent whole and right.
    pub served: AtomicU64,
}

/// A running peer; it ends when dropped.
pub struct ScriptedPeer {
    /// Where to connect to.
    pub address: String,
    /// What happened so far.
    pub counts: Arc<Counts>,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    behaviour: Behaviour,
    /// From genesis on.
    chain: Mutex<Vec<Block>>,
    counts: Arc<Counts>,
    is_stopping: AtomicBool,
}

impl ScriptedPeer {
    /// Starts a regtest peer with a chain, genesis first.
    ///
    /// # Panics
    /// If there is no free port.
    pub fn start(behaviour: Behaviour, chain: Vec<Block>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener
            .set_nonblocking(true)
            .expect("a socket can be asked");
        let address = listener.local_addr().expect("a bound port").to_string();
        let counts = Arc::new(Counts::default());
        let shared = Arc::new(Shared {
            behaviour,
            chain: Mutex::new(chain),
            counts: counts.clone(),
            is_stopping: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        Self {
            address,
            counts,
            shared,
            listener: Some(thread::spawn(move || accept(&listener, &accepting))),
        }
    }
}

impl Drop for ScriptedPeer {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            // A panic of its own has been shown already.
            let _ = listener.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = Vec::new();
    while !shared.is_stopping.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let shared = shared.clone();
                connections.push(thread::spawn(move || {
                    // However it ends, the other side connects again or does not.
                    let _ = Connection {
                        stream,
                        shared,
                        forks: 0,
                    }
                    .serve();
                }));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
    for connection in connections {
        let _ = connection.join();
    }
}

struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// Own branches made so far.
    forks: u32,
}

impl Connection {
    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        let height = self
            .shared
            .chain
            .lock()
            .expect("no thread panics with it")
            .len()
            - 1;
        self.send(NetworkMessage::Version(version(height as i32)))?;
        while let Some(message) = self.receive()? {
            match message {
                NetworkMessage::Version(_) => self.send(NetworkMessage::Verack)?,
                NetworkMessage::Verack => {
                    self.shared
                        .counts
                        .connections
                        .fetch_add(1, Ordering::Relaxed);
                    if self.shared.behaviour == Behaviour::Garbage {
                        let bytes: Vec<u8> = (0..5_000_u32).map(|at| (at * at / 7) as u8).collect();
                        self.stream.write_all(&bytes)?;
                    }
                }
                NetworkMessage::Ping(number) => self.send(NetworkMessage::Pong(number))?,
                NetworkMessage::GetHeaders(asked) => {
                    let headers = match self.shared.behaviour {
                        Behaviour::Flood => self.flood(&asked.locator_hashes),
                        _ => self.headers(&asked.locator_hashes),
                    };
                    self.send(NetworkMessage::Headers(headers))?;
                }
                NetworkMessage::GetData(wanted) => {
                    for inventory in wanted {
                        self.answer(inventory)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, inventory: Inventory) -> io::Result<()> {
        let (Inventory::Block(hash) | Inventory::WitnessBlock(hash)) = inventory else {
            return Ok(());
        };
        let counts = self.shared.counts.clone();
        counts.wanted.fetch_add(1, Ordering::Relaxed);
        let block = {
            let chain = self.shared.chain.lock().expect("no thread panics with it");
            chain
                .iter()
                .find(|block| block.block_hash() == hash)
                .cloned()
        };
        match (self.shared.behaviour, block) {
            (Behaviour::Stall, _) => Ok(()),
            (Behaviour::Vanish, _) => self.stream.shutdown(Shutdown::Both),
            (Behaviour::Lack, _) | (_, None) => {
                self.send(NetworkMessage::NotFound(vec![inventory]))
            }
            (Behaviour::Lie, Some(block)) => self.send(NetworkMessage::Block(disguised(block))),
            (_, Some(block)) => {
                counts.served.fetch_add(1, Ordering::Relaxed);
                self.send(NetworkMessage::Block(block))
            }
        }
    }

    fn headers(&self, locator: &[BlockHash]) -> Vec<Header> {
        let chain = self.shared.chain.lock().expect("no thread panics with it");
        let common = chain
            .iter()
            .rposition(|block| locator.contains(&block.block_hash()))
            .unwrap_or(0);
        let next = chain.iter().skip(common + 1).take(MAX_HEADERS);
        next.map(|block| block.header).collect()
    }

    /// A full message of headers: of a new branch from genesis, or of the one that the locator begins with.
    fn flood(&mut self, locator: &[BlockHash]) -> Vec<Header> {
        self.forks += 1;
        let genesis = bitcoin::constants::genesis_block(Network::Regtest).header;
        let mut parent = genesis.block_hash();
        let mut time = genesis.time + self.forks;
        // Whoever asks on has taken the last ones.
        let known = locator.first().filter(|hash| **hash != parent);
        if let Some(known) = known.filter(|_| !self.forks.is_multiple_of(3)) {
            parent = *known;
        }
        let headers = (0..MAX_HEADERS).map(|_| {
            time += 1;
            let mut header = Header {
                version: bitcoin::block::Version::from_consensus(0x2000_0000),
                prev_blockhash: parent,
                merkle_root: TxMerkleNode::from_byte_array([self.forks as u8; 32]),
                time,
                bits: genesis.bits,
                nonce: 0,
            };
            solve(&mut header);
            parent = header.block_hash();
            header
        });
        headers.collect()
    }

    fn send(&mut self, message: NetworkMessage) -> io::Result<()> {
        let message = RawNetworkMessage::new(Magic::REGTEST, message);
        self.stream.write_all(&serialize(&message))
    }

    /// Reads a message; none when the peer is to end. Bytes of another protocol end the connection.
    fn receive(&mut self) -> io::Result<Option<NetworkMessage>> {
        let mut bytes = vec![0; HEAD_BYTES];
        if !self.fill(&mut bytes)? || bytes[..4] != Magic::REGTEST.to_bytes() {
            return Ok(None);
        }
        let length = u32::from_le_bytes(bytes[16..20].try_into().expect("four bytes"));
        bytes.resize(HEAD_BYTES + length as usize, 0);
        if !self.fill(&mut bytes[HEAD_BYTES..])? {
            return Ok(None);
        }
        let message: RawNetworkMessage = deserialize(&bytes).map_err(io::Error::other)?;
        Ok(Some(message.payload().clone()))
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < bytes.len() {
            if self.shared.is_stopping.load(Ordering::Relaxed) {
                return Ok(false);
            }
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => return Ok(false),
                Ok(read) => filled += read,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn version(height: i32) -> VersionMessage {
    let nowhere = Address::new(&([127, 0, 0, 1], 0).into(), ServiceFlags::NONE);
    VersionMessage {
        version: 70_016,
        services: ServiceFlags::NETWORK | ServiceFlags::WITNESS,
        timestamp: 0,
        receiver: nowhere.clone(),
        sender: nowhere,
        nonce: 7,
        user_agent: "/scripted:1.0/".to_owned(),
        start_height: height,
        relay: true,
    }
}

/// A block with the same header and other transactions.
fn disguised(mut block: Block) -> Block {
    let count = block.txdata.len();
    if count > 1 && count % 2 == 1 {
        let last = block.txdata[count - 1].clone();
        block.txdata.push(last);
    } else {
        block.txdata.clear();
    }
    block
}

#[cfg(test)]
mod tests {
    use bitcoin::Transaction;

    use super::*;

    #[test]
    fn a_disguise_keeps_the_header_and_an_odd_one_the_merkle_root() {
        let genesis = bitcoin::constants::genesis_block(Network::Regtest);
        let transaction = |number: u32| Transaction {
            lock_time: bitcoin::absolute::LockTime::from_consensus(number),
            ..genesis.txdata[0].clone()
        };
        let mut block = genesis.clone();
        block.txdata = (0..3).map(transaction).collect();
        block.header.merkle_root = block.compute_merkle_root().expect("transactions");
        let lie = disguised(block.clone());
        assert_eq!((lie.header, lie.txdata.len()), (block.header, 4));
        assert!(lie.check_merkle_root());
        let lie = disguised(genesis.clone());
        assert_eq!((lie.header, lie.txdata.len()), (genesis.header, 0));
    }
}
