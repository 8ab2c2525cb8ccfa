//! Whether somebody is who it says it is, where not only the node itself is asked: a service that is asked over HTTP, as RabbitMQ's
//! rabbitmq_auth_backend_http asks it. What a user may do is always the node's to say.

use std::fmt;
use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::net::TcpStream;

use super::Shell;
use crate::config::AuthHttp;
use crate::node::Node;
use crate::node::users::Authn;

/// Bytes of an answer.
const ANSWER_MAX: usize = 64 * 1024;

/// Why a service has not answered as it should.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self(error.to_string())
    }
}

impl Shell {
    /// Asks one after the other until one says yes. A service that cannot be asked says no.
    pub(super) async fn knows(&self, node: &Node, name: &str, password: &[u8]) -> bool {
        if !node.asks_others() {
            return node.login(name, password, true).is_some();
        }
        for authn in &node.authn {
            let known = match authn {
                Authn::Internal => node.login(name, password, true).is_some(),
                Authn::Http => ask(&self.config.auth_http, name, password).await,
            };
            if known {
                return true;
            }
        }
        false
    }
}

async fn ask(service: &AuthHttp, name: &str, password: &[u8]) -> bool {
    let Some(path) = &service.user_path else { return false };
    // Only text can be asked about.
    let Ok(password) = std::str::from_utf8(password) else { return false };
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let question = format!("username={}&password={}", encoded(name), encoded(password));
    let answered = tokio::time::timeout(Duration::from_millis(service.request_timeout_ms), answer(path, service.post, question)).await;
    let outcome = answered.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
    match outcome.as_deref().map(verdict) {
        Ok(Some(allowed)) => allowed,
        Ok(None) => {
            tracing::error!(path, "the service that was asked about a user answers neither allow nor deny");
            false
        }
        Err(failure) => {
            tracing::error!(path, "the service that was asked about a user does not answer: {failure}");
            false
        }
    }
}

/// `allow`, with tags that mean nothing here, or `deny`.
fn verdict(answer: &str) -> Option<bool> {
    match answer.split_ascii_whitespace().next()?.to_ascii_lowercase().as_str() {
        "allow" => Some(true),
        "deny" => Some(false),
        _ => None,
    }
}

async fn answer(path: &str, post: bool, question: String) -> Result<String, Failure> {
    let uri: Uri = path.parse().map_err(|_| Failure("no URI".to_owned()))?;
    let authority = uri.authority().ok_or_else(|| Failure("no host".to_owned()))?;
    let stream = TcpStream::connect((authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer, or when nobody waits for that any more.
    tokio::spawn(connection);
    let place = uri.path_and_query().map_or("/", |place| place.as_str());
    let request = Request::builder().header(HOST, authority.as_str());
    let request = if post {
        let form = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        form.method(Method::POST).uri(place).body(Body::from(question))
    } else {
        let mark = if place.contains('?') { '&' } else { '?' };
        request.method(Method::GET).uri(format!("{place}{mark}{question}")).body(Body::empty())
    };
    let response = sender.send_request(request.map_err(|error| Failure(error.to_string()))?).await?;
    if !response.status().is_success() {
        return Err(Failure(format!("status {}", response.status())));
    }
    let body = to_bytes(Body::new(response.into_body()), ANSWER_MAX).await.map_err(|error| Failure(error.to_string()))?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}
