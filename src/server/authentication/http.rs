//! A client of HTTP/1.1, for questions with short answers: one connection each, over TLS where the address says so.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::ClientTls;
use crate::server::tls::{TlsError, client_config};

/// Bytes of an answer.
const ANSWER_MAX: usize = 1024 * 1024;

/// Why there is no answer, in the terms that RabbitMQ has for it.
#[derive(Debug)]
pub(in crate::server) enum Failure {
    Timeout,
    Unreachable { host: String, port: u16, error: io::Error },
    Status(u16, String),
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::Unreachable { host, port, error } => {
                let why = match error.kind() {
                    io::ErrorKind::ConnectionRefused => "econnrefused".to_owned(),
                    io::ErrorKind::TimedOut => "timeout".to_owned(),
                    io::ErrorKind::HostUnreachable => "ehostunreach".to_owned(),
                    _ => format!("{:?}", error.to_string()),
                };
                write!(f, "{{failed_connect,[{{to_address,{{{host:?},{port}}}}},{{inet,[inet],{why}}}]}}")
            }
            Self::Status(status, body) => write!(f, "{{{status},{body:?}}}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

fn other(error: impl fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}

/// How long something may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Patience {
    pub(in crate::server) to_connect: Duration,
    /// All in all.
    pub(in crate::server) in_all: Duration,
}

#[derive(Clone)]
pub(in crate::server) struct Client {
    tls: Option<TlsConnector>,
    patience: Patience,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Client {
    /// # Errors
    /// Files that are not what they should be, if any of the addresses needs TLS.
    pub(in crate::server) fn new<'a>(
        addresses: impl IntoIterator<Item = &'a str>,
        options: &ClientTls,
        patience: Patience,
    ) -> Result<Self, TlsError> {
        let needs_tls = addresses.into_iter().any(|address| address.starts_with("https://"));
        let tls = if needs_tls { Some(TlsConnector::from(Arc::new(client_config(options)?))) } else { None };
        Ok(Self { tls, patience })
    }

    /// Asks with the question in the address.
    pub(in crate::server) async fn get(&self, address: &str) -> Result<String, Failure> {
        self.ask(address, None).await
    }

    /// Asks with a form.
    pub(in crate::server) async fn post(&self, address: &str, form: String) -> Result<String, Failure> {
        self.ask(address, Some(form)).await
    }

    async fn ask(&self, address: &str, form: Option<String>) -> Result<String, Failure> {
        timeout(self.patience.in_all, self.answer(address, form)).await.unwrap_or(Err(Failure::Timeout))
    }

    async fn answer(&self, address: &str, form: Option<String>) -> Result<String, Failure> {
        let uri: Uri = address.parse().map_err(other)?;
        let authority = uri.authority().ok_or_else(|| other("no host"))?;
        let is_https = uri.scheme_str() == Some("https");
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let connected = timeout(self.patience.to_connect, TcpStream::connect((host.as_str(), port))).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = connected.map_err(|error| Failure::Unreachable { host: host.clone(), port, error })?;
        if !is_https {
            return exchange(stream, &uri, form).await;
        }
        let tls = self.tls.as_ref().ok_or_else(|| other("no TLS"))?;
        let name = ServerName::try_from(host.clone()).map_err(other)?;
        let stream = tls.connect(name, stream).await.map_err(|error| Failure::Unreachable { host, port, error })?;
        exchange(stream, &uri, form).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    form: Option<String>,
) -> Result<String, Failure> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(other)?;
    // It ends with the answer, or when nobody waits for that any more.
    tokio::spawn(connection);
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let place = uri.path_and_query().map_or("/", |place| place.as_str());
    let request = Request::builder().uri(place).header(HOST, authority).header(CONNECTION, "close");
    let request = match form {
        Some(form) => request.method(Method::POST).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(Body::from(form)),
        None => request.method(Method::GET).body(Body::empty()),
    };
    let response = sender.send_request(request.map_err(other)?).await.map_err(other)?;
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), ANSWER_MAX).await.map_err(other)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(body) } else { Err(Failure::Status(status.as_u16(), body)) }
}
