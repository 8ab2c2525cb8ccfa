//! The HTTP server: one task for each connection, so many at a time and no more, who have so long to say what they want.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit};
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::body::MAX_BODY;
use super::{Api, Local, metrics, router};
use crate::server::{Handle, Listening};

/// Connections served at a time; those beyond wait to be accepted.
const CONNECTIONS: usize = 1024;
/// How long a client may take to send the head of a request, and to send nothing between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The API, bound to where it is served.
#[derive(Debug)]
pub struct HttpServer {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Binds the HTTP API and serves it from now on, and on a socket in the file system where there is a path for it.
///
/// # Errors
/// An address that cannot be bound.
pub async fn bind(handle: Handle, address: SocketAddr, control: Option<PathBuf>) -> std::io::Result<HttpServer> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    handle.add_listening(Listening { protocol: "http", address: address.into() });
    let router = router(Api::new(handle)).layer(DefaultBodyLimit::max(MAX_BODY));
    if let Some(path) = control {
        // Left behind by a process that was killed: whoever starts has the data directory to itself.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        tokio::spawn(accept_local(listener, router.clone().layer(Extension(Local))));
    }
    tokio::spawn(accept(listener, router));
    Ok(HttpServer { address })
}

/// Binds the metrics, for whoever asks, and serves them from now on.
///
/// # Errors
/// An address that cannot be bound.
pub async fn bind_metrics(handle: Handle, address: SocketAddr) -> std::io::Result<HttpServer> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    handle.add_listening(Listening { protocol: "http/prometheus", address: address.into() });
    tokio::spawn(accept(listener, metrics::open_router(handle)));
    Ok(HttpServer { address })
}

async fn accept(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let router = router.clone().layer(Extension(ConnectInfo(peer)));
                tokio::spawn(async move {
                    serve(stream, router).await;
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

async fn accept_local(listener: UnixListener, router: Router) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, router.clone()))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a command");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, router: Router) {
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
    let connection = http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.with_upgrades().await {
        tracing::debug!(%error, "HTTP connection lost");
    }
}
