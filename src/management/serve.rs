//! The HTTP server, with TLS and without: one task for each connection, so many at a time and no more, who have so long to say what
//! they want.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service;

use super::body::MAX_BODY;
use super::{Api, Local, metrics, router};
use crate::config::HttpLimits;
use crate::server::tls::{Certificates, Secured, Source};
use crate::server::{Ends, HTTPS, HTTPS_PROMETHEUS, Handle, Listening, PROMETHEUS};
use crate::shovel::Shovels;

/// The API, bound to where it is served.
#[derive(Debug)]
pub struct HttpServer {
    /// Where it listens without TLS.
    pub address: SocketAddr,
    router: Router,
}

/// Why it cannot be served; one line for a person.
#[derive(Debug)]
pub struct BindError(String);

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BindError {}

/// Binds the HTTP API and serves it from now on; over TLS as well where the configuration says so.
///
/// # Errors
/// An address that cannot be bound, certificates that cannot be served.
pub async fn bind(handle: Handle, shovels: Shovels, address: SocketAddr) -> Result<HttpServer, BindError> {
    let listener = listen(&handle, "http", address).await?;
    let address = listener.1;
    let over_tls = match handle.config().https_listener() {
        Some(address) => {
            let certificates = Certificates::watch(Source::https(handle.config())).map_err(|error| BindError(error.to_string()))?;
            let patience = Duration::from_millis(handle.config().handshake_timeout_ms);
            Some((listen(&handle, HTTPS, address).await?, Tls { certificates, patience, handle: handle.clone() }))
        }
        None => None,
    };
    let limits = (handle.config().http_limits, handle.config().https_limits);
    let router = router(Api::new(handle, shovels)).layer(DefaultBodyLimit::max(MAX_BODY));
    if let Some((listener, tls)) = over_tls {
        tokio::spawn(accept(listener, Some(tls), limits.1, router.clone()));
    }
    tokio::spawn(accept(listener, None, limits.0, router.clone()));
    Ok(HttpServer { address, router })
}

impl HttpServer {
    /// Serves the API on a socket of the file system, too, to whom the system lets there, as an administrator.
    ///
    /// # Errors
    /// A socket that cannot be made, or that another process serves.
    pub async fn serve_commands(&self, path: &Path) -> std::io::Result<()> {
        let listener = bind_control(path).await?;
        tokio::spawn(accept_local(listener, self.router.clone().layer(Extension(Local))));
        Ok(())
    }
}

/// The socket for commands, which only the owner of the process can use.
async fn bind_control(path: &Path) -> std::io::Result<UnixListener> {
    let of = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let taken = std::io::Error::new(std::io::ErrorKind::AddrInUse, "another node listens there");
    match UnixStream::connect(path).await {
        Ok(_) => return Err(of(taken)),
        // Left behind by a process that was killed.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(of)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).map_err(of)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(of)?;
    Ok(listener)
}

/// Binds the metrics, for whoever asks, and serves them from now on.
///
/// # Errors
/// An address that cannot be bound.
pub async fn bind_metrics(handle: Handle, address: SocketAddr) -> Result<HttpServer, BindError> {
    let listener = listen(&handle, PROMETHEUS, address).await?;
    let address = listener.1;
    let limits = handle.config().http_limits;
    let router = metrics::open_router(handle);
    tokio::spawn(accept(listener, None, limits, router.clone()));
    Ok(HttpServer { address, router })
}

/// The same over TLS.
///
/// # Errors
/// An address that cannot be bound, certificates that cannot be served.
pub async fn bind_metrics_over_tls(handle: Handle, address: SocketAddr) -> Result<(), BindError> {
    let certificates = Certificates::watch(Source::prometheus(handle.config())).map_err(|error| BindError(error.to_string()))?;
    let patience = Duration::from_millis(handle.config().handshake_timeout_ms);
    let listener = listen(&handle, HTTPS_PROMETHEUS, address).await?;
    let limits = handle.config().https_limits;
    let tls = Tls { certificates, patience, handle: handle.clone() };
    tokio::spawn(accept(listener, Some(tls), limits, metrics::open_router(handle)));
    Ok(())
}

async fn listen(handle: &Handle, protocol: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |error: io::Error| BindError(format!("cannot listen for {} on {address}: {error}", name(protocol)));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    handle.add_listening(Listening { protocol, address: address.into() });
    Ok((listener, address))
}

/// What a protocol is called in a sentence.
fn name(protocol: &str) -> String {
    match protocol.split_once('/') {
        Some((http, what)) => format!("{} ({what})", http.to_uppercase()),
        None => protocol.to_uppercase(),
    }
}

async fn accept((listener, address): (TcpListener, SocketAddr), tls: Option<Tls>, limits: HttpLimits, router: Router) {
    let room = Arc::new(Semaphore::new(limits.max_connections.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)));
    let patience = limits.request_timeout();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let local = stream.local_addr().unwrap_or(address);
                let router = router.clone().layer(Extension(ConnectInfo(peer))).layer(Extension(Ends { peer, local }));
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, router, patience).await,
                        Some(tls) => match tls.agree(stream).await {
                            Ok(stream) => {
                                let secured = Secured::by(stream.get_ref().1, &tls.handle.config().tls);
                                serve(stream, router.layer(Extension(secured)), patience).await;
                            }
                            Err(error) => tracing::debug!(%peer, %error, "HTTP connection refused"),
                        },
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Tls {
    certificates: Arc<Certificates>,
    /// How long a client may take to agree on it.
    patience: Duration,
    handle: Handle,
}

impl Tls {
    async fn agree(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let agreed = tokio::time::timeout(self.patience, TlsAcceptor::from(self.certificates.current()).accept(stream)).await;
        agreed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn accept_local(listener: UnixListener, router: Router) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, router.clone(), HttpLimits::default().request_timeout()))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a command");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, router: Router, patience: Duration) {
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut router = router.clone();
        async move {
            Ok::<_, Infallible>(match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            })
        }
    });
    let mut http = http1::Builder::new();
    let connection = http.timer(TokioTimer::new()).header_read_timeout(patience).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.with_upgrades().await {
        tracing::debug!(%error, "HTTP connection lost");
    }
}
