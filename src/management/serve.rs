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
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service;

use super::body::MAX_BODY;
use super::{Api, Local, metrics, router};
use crate::config::HttpLimits;
use crate::server::tls::{Certificates, Secured, Source};
use crate::server::{Ends, Entrance, HTTPS, HTTPS_PROMETHEUS, Handle, PROMETHEUS};
use crate::shovel::Shovels;

/// The API, bound to where it is served.
#[derive(Debug)]
pub struct HttpServer {
    /// Where it listens without TLS.
    pub address: SocketAddr,
    router: Router,
    handle: Handle,
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
    let (entrance, address) = listen(&handle, "http", address).await?;
    let over_tls = match handle.config().https_listener() {
        Some(address) => {
            let certificates = Certificates::read(Source::https(handle.config())).map_err(|error| BindError(error.to_string()))?;
            handle.refresh(&certificates);
            let patience = Duration::from_millis(handle.config().handshake_timeout_ms);
            Some((listen(&handle, HTTPS, address).await?, Tls { certificates, patience, handle: handle.clone() }))
        }
        None => None,
    };
    let limits = (handle.config().http_limits, handle.config().https_limits);
    let router = router(Api::new(handle.clone(), shovels)).layer(DefaultBodyLimit::max(MAX_BODY));
    let served = |limits| Served { limits, router: router.clone(), handle: handle.clone() };
    if let Some(((entrance, _), tls)) = over_tls {
        handle.spawn(accept(entrance, Some(tls), served(limits.1)));
    }
    handle.spawn(accept(entrance, None, served(limits.0)));
    Ok(HttpServer { address, router, handle })
}

impl HttpServer {
    /// Serves the API on a socket of the file system, too, to whom the system lets there, as an administrator.
    ///
    /// # Errors
    /// A socket that cannot be made, or that another process serves.
    pub async fn serve_commands(&self, path: &Path) -> std::io::Result<()> {
        let listener = bind_control(path).await?;
        self.handle.spawn(accept_local(listener, self.router.clone().layer(Extension(Local)), self.handle.clone()));
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
    let (entrance, address) = listen(&handle, PROMETHEUS, address).await?;
    let limits = handle.config().http_limits;
    let router = metrics::open_router(handle.clone());
    handle.spawn(accept(entrance, None, Served { limits, router: router.clone(), handle: handle.clone() }));
    Ok(HttpServer { address, router, handle })
}

/// The same over TLS.
///
/// # Errors
/// An address that cannot be bound, certificates that cannot be served.
pub async fn bind_metrics_over_tls(handle: Handle, address: SocketAddr) -> Result<(), BindError> {
    let certificates = Certificates::read(Source::prometheus(handle.config())).map_err(|error| BindError(error.to_string()))?;
    handle.refresh(&certificates);
    let patience = Duration::from_millis(handle.config().handshake_timeout_ms);
    let (entrance, _) = listen(&handle, HTTPS_PROMETHEUS, address).await?;
    let tls = Tls { certificates, patience, handle: handle.clone() };
    let served = Served { limits: handle.config().https_limits, router: metrics::open_router(handle.clone()), handle: handle.clone() };
    handle.spawn(accept(entrance, Some(tls), served));
    Ok(())
}

async fn listen(handle: &Handle, protocol: &'static str, address: SocketAddr) -> Result<(Arc<Entrance>, SocketAddr), BindError> {
    let failed = |error: io::Error| BindError(format!("cannot listen for {} on {address}: {error}", name(protocol)));
    handle.listen(protocol, address).await.map_err(failed)
}

/// What a protocol is called in a sentence.
fn name(protocol: &str) -> String {
    match protocol.split_once('/') {
        Some((http, what)) => format!("{} ({what})", http.to_uppercase()),
        None => protocol.to_uppercase(),
    }
}

/// What is served, and within which limits.
#[derive(Debug)]
struct Served {
    limits: HttpLimits,
    router: Router,
    handle: Handle,
}

async fn accept(entrance: Arc<Entrance>, tls: Option<Tls>, served: Served) {
    let Served { limits, router, handle } = served;
    let room = Arc::new(Semaphore::new(limits.max_connections.unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)));
    let patience = limits.request_timeout();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match entrance.accept().await {
            Ok((stream, peer, local)) => {
                let router = router.clone().layer(Extension(ConnectInfo(peer))).layer(Extension(Ends { peer, local }));
                let tls = tls.clone();
                handle.spawn(async move {
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

async fn accept_local(listener: UnixListener, router: Router, handle: Handle) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(handle.spawn(serve(stream, router.clone(), HttpLimits::default().request_timeout()))),
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
