//! Where clients come in: TCP, TCP with TLS, sockets of this machine, and WebSocket, of which HTTP makes the beginning.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

use super::connection::{self, Arrival};
use super::tls::{Secured, Tls};
use super::transport::{Socket, Transport, WebSocket, proxy};
use super::{Shell, StartError};
use crate::config::{Config, TcpOptions};
use crate::node::handshake::Trusted;

/// What is served where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// In RabbitMQ's words: `amqp`, `amqp/ssl`, `http`, `https`.
    pub protocol: &'static str,
    pub address: Address,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Ip(SocketAddr),
    /// A socket of this machine.
    Path(PathBuf),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// What RabbitMQ calls AMQP over TLS.
pub(super) const SSL: &str = "amqp/ssl";
/// Bytes that a connection over WebSocket passes on at once, each way.
const PASSED_AT_ONCE: usize = 32 * 1024;
/// Both ends of who comes from this machine over no network.
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The HTTP API over TLS.
pub const HTTPS: &str = "https";
/// The metrics, and the same over TLS.
pub const PROMETHEUS: &str = "http/prometheus";
pub const HTTPS_PROMETHEUS: &str = "https/prometheus";

impl Listening {
    /// Whether it is served over TLS.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        self.protocol.ends_with("/ssl") || self.protocol.starts_with(HTTPS)
    }
}

#[derive(Debug)]
enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
    Closed,
}

/// A socket that listens, and that can be closed while it is waited for clients.
#[derive(Debug)]
pub struct Entrance(Mutex<Door>);

impl Entrance {
    /// With its address.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn new(listener: TcpListener) -> io::Result<(Self, SocketAddr)> {
        let address = listener.local_addr()?;
        Ok((Self(Mutex::new(Door::Tcp(listener))), address))
    }

    /// The next client over TCP, with its end and ours. Once this is closed, none comes.
    ///
    /// # Errors
    /// The system's: most are of the moment.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
        match self.next().await? {
            (Socket::Tcp(stream), peer, local) => {
                let _ = stream.set_nodelay(true);
                Ok((stream, peer, local))
            }
            (Socket::Unix(_), ..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// A socket with the client's end and ours.
    async fn next(&self) -> io::Result<(Socket, SocketAddr, SocketAddr)> {
        poll_fn(|context| match &*self.0.lock() {
            Door::Tcp(listener) => listener.poll_accept(context).map(|accepted| {
                let (stream, peer) = accepted?;
                // A socket that has been closed by now has no address any more.
                let local = stream.local_addr().or_else(|_| listener.local_addr())?;
                Ok((Socket::Tcp(stream), peer, local))
            }),
            // Whoever reaches it is on this machine.
            Door::Unix(listener) => listener.poll_accept(context).map_ok(|(stream, _)| (Socket::Unix(stream), HERE, HERE)),
            Door::Closed => Poll::Pending,
        })
        .await
    }

    /// From now on the address is free.
    pub(super) fn close(&self) {
        *self.0.lock() = Door::Closed;
    }
}

/// A place where clients come in.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) entrance: Arc<Entrance>,
    /// As RabbitMQ calls it.
    kind: &'static str,
    pub(super) listening: Listening,
}

/// Opens all that are configured.
///
/// # Errors
/// The first that cannot be opened.
pub(super) async fn open(config: &Config) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for address in config.tcp_listeners() {
        listeners.push(tcp(address, "amqp", &config.tcp_options)?);
    }
    for address in config.ssl_listeners() {
        listeners.push(tcp(address, SSL, &config.tcp_options)?);
    }
    if let Some(path) = &config.unix_listener {
        listeners.push(unix(path).await?);
    }
    Ok(listeners)
}

impl Listener {
    /// One that was closed, where it was.
    ///
    /// # Errors
    /// When it cannot be opened any more.
    pub(super) async fn again(listening: &Listening, options: &TcpOptions) -> Result<Self, StartError> {
        match &listening.address {
            Address::Ip(address) => tcp(*address, listening.protocol, options),
            Address::Path(path) => unix(path).await,
        }
    }
}

fn tcp(address: SocketAddr, protocol: &'static str, options: &TcpOptions) -> Result<Listener, StartError> {
    let failed = |error: io::Error| StartError(format!("cannot listen for AMQP on {address}: {error}"));
    let (entrance, address) = bound(address, options).and_then(Entrance::new).map_err(failed)?;
    let kind = if protocol == SSL { "TLS (SSL)" } else { "TCP" };
    Ok(Listener { entrance: Arc::new(entrance), kind, listening: Listening { protocol, address: address.into() } })
}

/// Whoever is accepted has the options of the socket that listens.
fn bound(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(options.nodelay)?;
    socket.set_keepalive(options.keepalive)?;
    options.sndbuf.map_or(Ok(()), |bytes| socket.set_send_buffer_size(bytes))?;
    options.recbuf.map_or(Ok(()), |bytes| socket.set_recv_buffer_size(bytes))?;
    socket.bind(address)?;
    socket.listen(options.backlog)
}

async fn unix(path: &Path) -> Result<Listener, StartError> {
    let failed = |error: io::Error| StartError(format!("cannot listen for AMQP on {}: {error}", path.display()));
    let bound = match UnixListener::bind(path) {
        // A broker that was killed has left it, unless one answers.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path).await => {
            std::fs::remove_file(path).map_err(failed)?;
            UnixListener::bind(path)
        }
        bound => bound,
    };
    let listening = Listening { protocol: "amqp", address: Address::Path(path.to_owned()) };
    let entrance = Entrance(Mutex::new(Door::Unix(bound.map_err(failed)?)));
    Ok(Listener { entrance: Arc::new(entrance), kind: "unix socket", listening })
}

async fn is_left_over(path: &Path) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    tokio::net::UnixStream::connect(path).await.is_err_and(refused)
}

/// Sees to it that nothing is left of a place that no longer serves.
pub(super) fn clear(listening: &Listening) {
    if let Address::Path(path) = &listening.address {
        let _ = std::fs::remove_file(path);
    }
}

impl Listener {
    /// Accepts for as long as the node runs.
    pub(super) async fn accept(self, shell: Arc<Shell>) {
        // In RabbitMQ's words, which test containers wait for.
        tracing::info!("started {} listener on {}", self.kind, self.listening.address);
        loop {
            match self.entrance.next().await {
                Ok((socket, peer, local)) => {
                    if shell.stopping.load(Ordering::SeqCst) || shell.controls.turns_away() {
                        continue;
                    }
                    let guest = Guest { socket, peer, local, counted: Counted::new(&shell) };
                    shell.tasks.spawn(guest.welcome(self.listening.protocol == SSL));
                }
                Err(error) => {
                    // Out of file descriptors, mostly: trying again at once would only burn a core.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Somebody who has come in.
struct Guest {
    socket: Socket,
    peer: SocketAddr,
    local: SocketAddr,
    counted: Counted,
}

impl Guest {
    /// Learns what has to be known before AMQP, and serves the connection to its end.
    async fn welcome(mut self, over_tls: bool) {
        let shell = Arc::clone(&self.counted.0);
        let handshake_ends = Instant::now() + Duration::from_millis(shell.config.handshake_timeout_ms);
        let introduced = tokio::time::timeout_at(handshake_ends, self.introduced_by_proxy(&shell.config)).await;
        let introduced = introduced.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "handshake_timeout")));
        let peer = self.peer;
        let transport = introduced.and_then(|()| if over_tls { encrypted(self.socket, &shell) } else { Ok(Transport::Plain(self.socket)) });
        match transport {
            Ok(transport) => {
                connection::serve(Arrival { transport, peer, local: self.local, handshake_ends, trusted: None, secured: None }, shell)
                    .await;
            }
            Err(error) => tracing::info!(%peer, %error, "connection refused"),
        }
    }

    /// Behind a proxy, the client is whom the proxy names.
    async fn introduced_by_proxy(&mut self, config: &Config) -> io::Result<()> {
        if let Socket::Tcp(stream) = &mut self.socket
            && config.proxy_protocol
            && let Some(ends) = proxy::read(stream).await?
        {
            self.peer = ends.source;
            self.local = ends.destination;
        }
        Ok(())
    }
}

fn encrypted(socket: Socket, shell: &Shell) -> io::Result<Transport> {
    let certificates = shell.certificates.as_ref().ok_or_else(|| io::Error::other("no certificate"))?;
    let layer = Tls::new(certificates.current()).map_err(io::Error::other)?;
    Ok(Transport::layered(socket, Box::new(layer)))
}

/// Lets in a client of this process, as one that comes over the network: what it gets is its end.
///
/// # Errors
/// When nobody is let in, or there can be no more sockets.
pub(super) fn admit(shell: &Arc<Shell>) -> io::Result<std::os::unix::net::UnixStream> {
    if shell.stopping.load(Ordering::SeqCst) || shell.controls.turns_away() {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let (theirs, ours) = std::os::unix::net::UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    ours.set_nonblocking(true)?;
    // Theirs may be used on another runtime.
    let _runtime = shell.tasks.runtime().enter();
    let guest = Guest { socket: Socket::Unix(UnixStream::from_std(ours)?), peer: HERE, local: HERE, counted: Counted::new(shell) };
    shell.tasks.spawn(guest.welcome(false));
    Ok(theirs)
}

/// Serves the node's own end of a connection to itself.
pub(super) async fn serve_own(stream: UnixStream, trusted: Trusted, shell: Arc<Shell>) {
    let handshake_ends = Instant::now() + Duration::from_millis(shell.config.handshake_timeout_ms);
    let transport = Transport::Plain(Socket::Unix(stream));
    let arrival = Arrival { transport, peer: HERE, local: HERE, handshake_ends, trusted: Some(trusted), secured: None };
    connection::serve(arrival, shell).await;
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// Serves AMQP over WebSocket, whose frames begin here.
///
/// A transport needs a socket that does not block, and what HTTP leaves is none: a TCP socket with what was read of it ahead, under
/// TLS or not. So the bytes go on through a pair of sockets, which costs a copy and is the same for all of them; who does not read
/// is noticed as ever, since neither the pair nor the copying holds more than so much.
pub(super) async fn serve_websocket<S>(stream: S, ends: Ends, secured: Option<Secured>, shell: Arc<Shell>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (near, mut far) = UnixStream::pair()?;
    let counted = Counted::new(&shell);
    let handshake_ends = Instant::now() + Duration::from_millis(shell.config.handshake_timeout_ms);
    let transport = Transport::layered(Socket::Unix(near), Box::new(WebSocket::default()));
    let arrival = Arrival { transport, peer: ends.peer, local: ends.local, handshake_ends, trusted: None, secured };
    let tasks = Arc::clone(&shell.tasks);
    let mut serving = tasks.spawn(async move {
        connection::serve(arrival, shell).await;
        drop(counted);
    });
    let mut stream = stream;
    let mut passing = pin!(async move {
        let _ = copy_bidirectional_with_sizes(&mut stream, &mut far, PASSED_AT_ONCE, PASSED_AT_ONCE).await;
    });
    tokio::select! {
        () = &mut passing => {}
        // What it said last is passed on, but a client that keeps its end open is not waited for.
        _ = &mut serving => drop(tokio::time::timeout(connection::LINGER, passing).await),
    }
    Ok(())
}

/// One of the node's connections, for as long as this lives.
#[derive(Debug)]
struct Counted(Arc<Shell>);

impl Counted {
    fn new(shell: &Arc<Shell>) -> Self {
        shell.connections.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shell))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
        self.0.ended.notify_one();
    }
}
