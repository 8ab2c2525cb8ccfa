//! Requests to a node: over its control socket, or over TCP as a user.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};

#[derive(Clone, Debug)]
pub(super) enum Target {
    Socket(PathBuf),
    Tcp {
        host: String,
        port: u16,
        /// The value of the header.
        authorization: String,
    },
}

/// A connection that is kept from one request to the next.
#[derive(Debug)]
pub(super) struct Http {
    runtime: Runtime,
    target: Target,
    timeout: Option<Duration>,
    sender: SendRequest<Body>,
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Why the node refuses.
    pub(super) fn reason(&self) -> String {
        match self.json().get("reason") {
            Some(Json::String(reason)) => reason.clone(),
            Some(other) => other.to_string(),
            None => format!("the node answers {}: {}", self.status, self.text()),
        }
    }
}

/// A part of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl Http {
    /// # Errors
    /// Nobody there, or not in time.
    pub(super) fn connect(target: Target, timeout: Option<Duration>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(within(timeout, open(&target)))?;
        Ok(Self { runtime, target, timeout, sender })
    }

    /// # Errors
    /// A connection that is lost, or no answer in time. What is refused is an answer.
    pub(super) fn request(&mut self, method: &str, path: &str, headers: &[(&'static str, &str)], body: Vec<u8>) -> io::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if let Target::Tcp { authorization, .. } = &self.target {
            request = request.header(AUTHORIZATION, authorization);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(HeaderName::from_static(name), *value);
        }
        let request = request.body(Body::from(body)).map_err(io::Error::other)?;
        if self.sender.is_closed() {
            // The node ends connections on which nothing happens.
            self.sender = self.runtime.block_on(within(self.timeout, open(&self.target)))?;
        }
        let sender = &mut self.sender;
        let answer = async {
            sender.ready().await.map_err(io::Error::other)?;
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let status = response.status();
            let body = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await.map_err(io::Error::other)?;
            Ok(Answer { status: StatusCode::as_u16(&status), body: body.to_vec() })
        };
        self.runtime.block_on(within(self.timeout, answer))
    }
}

async fn within<T>(timeout: Option<Duration>, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout {
        Some(timeout) => tokio::time::timeout(timeout, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?,
        None => work.await,
    }
}

async fn open(target: &Target) -> io::Result<SendRequest<Body>> {
    match target {
        Target::Socket(path) => speak(UnixStream::connect(path).await?).await,
        Target::Tcp { host, port, .. } => speak(TcpStream::connect((host.as_str(), *port)).await?).await,
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> io::Result<SendRequest<Body>> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Its end is noticed by who sends.
    tokio::spawn(connection);
    Ok(sender)
}
