//! One connection: bytes to events, messages to bytes.
//!
//! Decoding and the check of blocks happen here, so connections do them in parallel on the runtime's
//! threads.

use std::collections::VecDeque;
use std::time::Duration;

use millrace_core::Network;
use millrace_p2p::address::PeerAddress;
use millrace_p2p::message::Message;
use millrace_p2p::node::{ConnectError, Event, PeerId, TransportVersion, WireError};
use millrace_p2p::transport::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::dial::{Dialer, StreamName};
use super::inbox::{Gone, Inbox, Room, bytes_of};

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Bytes to write beyond which no further message is encoded.
const WRITE_BYTES_MAX: usize = 256 * 1024;

/// A connection to make.
pub(super) struct Connection {
    pub(super) peer: PeerId,
    pub(super) address: PeerAddress,
    pub(super) version: TransportVersion,
    pub(super) network: Network,
    pub(super) dialer: Dialer,
    pub(super) stream_name: StreamName,
    pub(super) inbox: Inbox,
    /// What the node sends.
    pub(super) outgoing: mpsc::Receiver<Message>,
}

/// Why a connection ended.
enum End {
    /// The other side or the system ended it.
    Closed(String),
    /// The other side sent no message.
    Broken(WireError),
    /// Nobody listens any more.
    Unwanted,
}

impl From<Gone> for End {
    fn from(Gone: Gone) -> Self {
        Self::Unwanted
    }
}

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self::Closed(error.to_string())
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::Broken(error)
    }
}

/// Connects, and carries messages until the connection ends. Reports how each of both went.
pub(super) async fn run(connection: Connection) {
    let Connection { peer, .. } = connection;
    let inbox = connection.inbox.clone();
    let event = match connect(&connection).await {
        Err(error) => Event::ConnectFailed { peer, error },
        Ok(open) => match carry(connection, open).await {
            End::Closed(reason) => Event::Closed { peer, reason },
            End::Broken(error) => Event::Broken { peer, error },
            End::Unwanted => return,
        },
    };
    // Without a driver nobody needs to know.
    let _ = inbox.send(event).await;
}

/// An open connection with a finished handshake.
struct Open {
    stream: TcpStream,
    transport: Transport,
    buffer: Vec<u8>,
    /// Bytes to write.
    pending: Vec<u8>,
    /// Messages that came right after the handshake.
    received: VecDeque<Message>,
}

async fn connect(connection: &Connection) -> Result<Open, ConnectError> {
    let Connection { dialer, .. } = connection;
    let dialled = dialer.dial(connection.address, &connection.stream_name);
    let stream = dialled.await.map_err(|error| unreachable(&error))?;
    let mut entropy = [0; 32];
    getrandom::fill(&mut entropy).map_err(|error| unreachable(&error))?;
    let mut pending = Vec::new();
    let (network, version) = (connection.network, connection.version);
    let transport = Transport::connect(network, version, entropy, &mut pending);
    let open = Open {
        stream,
        transport: transport.map_err(|error| refused(error.to_string()))?,
        buffer: vec![0; READ_BYTES],
        pending,
        received: VecDeque::new(),
    };
    let patience = dialer.patience();
    match timeout(patience, shake_hands(open)).await {
        Ok(result) => result,
        Err(_) => Err(refused(late(patience))),
    }
}

/// Brings the transport's handshake to its end. A node that only speaks version 1 hangs up on it.
async fn shake_hands(mut open: Open) -> Result<Open, ConnectError> {
    let failed = |error: std::io::Error| refused(error.to_string());
    while !open.transport.is_open() {
        open.stream.write_all(&open.pending).await.map_err(failed)?;
        open.pending.clear();
        let count = open.stream.read(&mut open.buffer).await.map_err(failed)?;
        let bytes = open.buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Err(refused("the peer hung up".to_owned()));
        }
        let received = open.transport.receive(bytes, &mut open.pending);
        let received = received.map_err(|error| refused(error.to_string()))?;
        open.received.extend(received);
    }
    Ok(open)
}

/// Carries messages both ways until the connection ends.
async fn carry(mut connection: Connection, open: Open) -> End {
    let connected = Event::Connected {
        peer: connection.peer,
        transport: connection.version,
    };
    if connection.inbox.send(connected).await.is_err() {
        return End::Unwanted;
    }
    loop_until_end(&mut connection, open)
        .await
        .unwrap_or_else(|end| end)
}

async fn loop_until_end(connection: &mut Connection, open: Open) -> Result<End, End> {
    let Open {
        stream,
        mut transport,
        mut buffer,
        mut pending,
        mut received,
    } = open;
    let peer = connection.peer;
    let (mut reader, mut writer) = stream.into_split();
    loop {
        let waiting = received.front().map(bytes_of);
        tokio::select! {
            // What was received goes on first: only then is more read.
            room = room_for(&connection.inbox, waiting), if waiting.is_some() => {
                let room = room?;
                if let Some(message) = received.pop_front() {
                    room.send(Event::Received { peer, message });
                }
            }
            count = reader.read(&mut buffer), if waiting.is_none() => {
                let bytes = buffer.get(..count?).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(End::Closed("the peer closed the connection".to_owned()));
                }
                received.extend(transport.receive(bytes, &mut pending)?);
            }
            count = writer.write(&pending), if !pending.is_empty() => {
                pending.drain(..count?.min(pending.len()));
            }
            message = connection.outgoing.recv(), if pending.len() < WRITE_BYTES_MAX => {
                let Some(message) = message else {
                    return Ok(End::Unwanted);
                };
                transport.send(&message, &mut pending)?;
            }
        }
    }
}

/// Waits for room for a message of so many bytes.
async fn room_for(inbox: &Inbox, bytes: Option<usize>) -> Result<Room<'_>, Gone> {
    inbox.reserve(bytes.unwrap_or_default()).await
}

fn unreachable(error: &impl ToString) -> ConnectError {
    ConnectError::Unreachable {
        reason: error.to_string(),
    }
}

const fn refused(reason: String) -> ConnectError {
    ConnectError::V2Refused { reason }
}

fn late(patience: Duration) -> String {
    format!("no answer within {} s", patience.as_secs())
}
