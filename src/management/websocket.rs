//! The beginning of AMQP over WebSocket: HTTP's upgrade (RFC 6455, 4.2) at the paths that clients use.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};

use super::Api;
use crate::server::Ends;
use crate::server::tls::Secured;

/// `/` is what LavinMQ's clients for browsers are given.
const PATHS: [&str; 2] = ["/ws/amqp", "/"];
const SUBPROTOCOL: &str = "amqp";
const VERSION: &str = "13";
/// What RFC 6455 has added to a key.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why there is no WebSocket: an answer of HTTP.
type Refusal = (StatusCode, [(HeaderName, &'static str); 1], &'static str);

/// Takes the requests that want a WebSocket; the others go on. There is no password here: AMQP asks for it.
pub(super) async fn look_for(State(api): State<Api>, request: Request, next: Next) -> Response {
    let wants = has_token(request.headers(), &header::UPGRADE, "websocket");
    if !wants || !PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match accept(api, request) {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

fn accept(api: Api, mut request: Request) -> Result<Response, Refusal> {
    if *request.method() != Method::GET {
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket begins with GET"));
    }
    // Over the control socket there is none.
    let ends = *request.extensions().get::<Ends>().ok_or_else(|| refuse(StatusCode::NOT_FOUND, "no WebSocket here"))?;
    let headers = request.headers();
    check_origin(headers, api.handle.config().websocket_origins.values())?;
    let key = key(headers)?;
    let protocol = subprotocol(headers)?;
    if !api.handle.lets_clients_in() {
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "the node takes no connections now"));
    }
    let secured = request.extensions().get::<Secured>().cloned();
    let upgraded = hyper::upgrade::on(&mut request);
    let handle = api.handle.clone();
    handle.spawn(async move {
        let peer = ends.peer;
        let outcome = match upgraded.await {
            Ok(stream) => api.handle.serve_websocket(TokioIo::new(stream), ends, secured).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = outcome {
            tracing::info!(%peer, error, "WebSocket lost");
        }
    });
    let answer = [
        (header::CONNECTION, "Upgrade".to_owned()),
        (header::UPGRADE, "websocket".to_owned()),
        (header::SEC_WEBSOCKET_ACCEPT, answer_to(&key)),
    ];
    let protocol = protocol.map(|protocol| [(header::SEC_WEBSOCKET_PROTOCOL, protocol)]);
    Ok(match protocol {
        Some(protocol) => (StatusCode::SWITCHING_PROTOCOLS, answer, protocol).into_response(),
        None => (StatusCode::SWITCHING_PROTOCOLS, answer).into_response(),
    })
}

/// A page of somebody else's must not use what its reader may reach, where that is to be prevented.
fn check_origin<'a>(headers: &HeaderMap, mut allowed: impl ExactSizeIterator<Item = &'a String>) -> Result<(), Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    if allowed.len() == 0 || allowed.any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes())) {
        return Ok(());
    }
    Err(refuse(StatusCode::FORBIDDEN, "this origin is not allowed"))
}

fn key(headers: &HeaderMap) -> Result<String, Refusal> {
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(refuse(StatusCode::BAD_REQUEST, "no upgrade of the connection"));
    }
    if text(headers, &header::SEC_WEBSOCKET_VERSION) != Some(VERSION) {
        let version = (header::SEC_WEBSOCKET_VERSION, VERSION);
        return Err((StatusCode::UPGRADE_REQUIRED, [version], "version 13 of WebSocket is spoken"));
    }
    let key = text(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16));
    key.map(str::to_owned).ok_or_else(|| refuse(StatusCode::BAD_REQUEST, "no key of 16 bytes"))
}

/// Who names protocols must mean this one among others. Some clients name none.
fn subprotocol(headers: &HeaderMap) -> Result<Option<&'static str>, Refusal> {
    if !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    if has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Ok(Some(SUBPROTOCOL));
    }
    Err(refuse(StatusCode::BAD_REQUEST, "the subprotocol is amqp"))
}

fn answer_to(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize())
}

fn refuse(status: StatusCode, why: &'static str) -> Refusal {
    (status, [(header::CONTENT_TYPE, "text/plain")], why)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// Whether one of the words of a header is this one, whatever its case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    /// The example of RFC 6455, 1.3.
    #[test]
    fn keys_are_answered() {
        assert_eq!(super::answer_to("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
