//! What requests carry.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json};

use super::error::ApiError;

/// Bytes that the body of a request for the management API may have (`management.http.max_body_size` of RabbitMQ).
pub(super) const MAX_BODY: usize = 10_000_000;

/// Bytes of a body that is read before anybody looks who sends it.
const SMALL_BODY: usize = 64 * 1024;
/// How long a client may take to send such a body.
const SMALL_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a small body whole, so that a client that is refused gets to hear it: were the connection closed while it still sends,
/// it would report a broken pipe.
pub(super) async fn take_small(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_none_or(|length| length == 0 || length > SMALL_BODY) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(SMALL_BODY_TIMEOUT, axum::body::to_bytes(body, SMALL_BODY)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        _ => ApiError::bad_request("the request's body did not come").into_response(),
    }
}

/// What RabbitMQ says of a body that is.
pub(super) fn too_large() -> ApiError {
    ApiError::bad_request("Exceeded HTTP request body size limit")
}

/// A JSON object; no body is an empty one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Map<String, Json>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|_| too_large())?;
        Self::parse(&bytes)
    }
}

impl Fields {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Json::Object(fields)) => Ok(Self(fields)),
            _ => Err(ApiError::bad_request("not_json")),
        }
    }

    /// All of these have to be there.
    pub(super) fn need(&self, keys: &[&str]) -> Result<(), ApiError> {
        let missing: Vec<String> =
            keys.iter().filter(|key| !self.0.contains_key(**key)).map(|key| format!("{{key_missing,{key}}}")).collect();
        if missing.is_empty() { Ok(()) } else { Err(ApiError::bad_request(format!("[{}]", missing.join(",")))) }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    /// True and false, or the texts of them that older tools send.
    pub(super) fn flag(&self, key: &str) -> Result<bool, ApiError> {
        match self.get(key) {
            None => Ok(false),
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(Json::String(text)) if text == "true" => Ok(true),
            Some(Json::String(text)) if text == "false" => Ok(false),
            Some(other) => Err(ApiError::bad_request(format!("{{not_boolean,{other}}}"))),
        }
    }
}

/// A limit is one of those that there are, and a number; it is cleared without one.
pub(super) fn check_limit(name: &str, known: &[&str], value: Option<&Json>) -> Result<(), ApiError> {
    if !known.contains(&name) {
        return Err(ApiError::bad_request(format!("Unrecognised parameter \"{name}\"")));
    }
    if value.is_some_and(|value| !value.is_i64()) {
        return Err(ApiError::bad_request(format!("{name} should be an integer")));
    }
    Ok(())
}
