//! What requests carry.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value as Json};

use super::error::ApiError;

/// Bytes that the body of a request for the management API may have (`management.http.max_body_size` of RabbitMQ).
pub(super) const MAX_BODY: usize = 10_000_000;

/// A JSON object; no body is an empty one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(pub(super) Map<String, Json>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|_| ApiError::TooLarge)?;
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
