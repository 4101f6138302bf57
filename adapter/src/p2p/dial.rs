//! Opens connections.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use millrace_p2p::address::{Host, PeerAddress};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_socks::tcp::Socks5Stream;

/// How long a peer may take to answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// The same through a proxy, which builds a path first.
const PROXY_PATIENCE: Duration = Duration::from_secs(20);

/// A SOCKS5 proxy, such as Tor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether each connection names itself by credentials of its own, by which Tor keeps them on paths
    /// of their own.
    pub isolates_streams: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    #[error("{0}")]
    System(#[from] std::io::Error),
    #[error("proxy {proxy}: {error}")]
    Proxy {
        proxy: SocketAddr,
        error: tokio_socks::Error,
    },
    #[error("an onion service is reached through a SOCKS5 proxy only; none is set")]
    NeedsProxy,
}

/// Opens connections, one way or the other.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) proxy: Option<Proxy>,
}

/// Names a stream to a proxy: never the same twice, and no other process's.
#[derive(Clone, Debug)]
pub(super) struct StreamName(pub(super) String);

impl Dialer {
    /// Returns how long a connection may take, and after it the handshake of its transport.
    pub(super) const fn patience(&self) -> Duration {
        match self.proxy {
            Some(_) => PROXY_PATIENCE,
            None => CONNECT_PATIENCE,
        }
    }

    /// Connects to a peer, within [`Self::patience`].
    pub(super) async fn dial(
        &self,
        address: PeerAddress,
        stream: &StreamName,
    ) -> Result<TcpStream, DialError> {
        let patience = self.patience();
        let dialled = timeout(patience, self.connect(address, stream)).await;
        let stream = dialled.map_err(|_| DialError::Late(patience))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect(
        &self,
        address: PeerAddress,
        stream: &StreamName,
    ) -> Result<TcpStream, DialError> {
        let target = match address.host {
            Host::V4(host) => Some(SocketAddr::new(IpAddr::V4(host), address.port)),
            Host::V6(host) => Some(SocketAddr::new(IpAddr::V6(host), address.port)),
            Host::Onion(_) => None,
        };
        match (&self.proxy, target) {
            (None, Some(target)) => Ok(open(target).await?),
            (None, None) => Err(DialError::NeedsProxy),
            (Some(proxy), Some(target)) => through(proxy, target, stream).await,
            (Some(proxy), None) => through(proxy, address.to_string(), stream).await,
        }
    }
}

/// Opens a TCP connection that notices when the other side is gone.
async fn open(target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_keepalive(true)?;
    socket.connect(target).await
}

/// Opens a connection through a proxy; a name is resolved there.
async fn through<'t>(
    proxy: &Proxy,
    target: impl tokio_socks::IntoTargetAddr<'t>,
    StreamName(name): &StreamName,
) -> Result<TcpStream, DialError> {
    let socket = open(proxy.address).await?;
    let connected = if proxy.isolates_streams {
        Socks5Stream::connect_with_password_and_socket(socket, target, name, name).await
    } else {
        Socks5Stream::connect_with_socket(socket, target).await
    };
    let connected = connected.map_err(|error| DialError::Proxy {
        proxy: proxy.address,
        error,
    })?;
    Ok(connected.into_inner())
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
