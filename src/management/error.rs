//! What the HTTP API answers when it does not do what was asked, in RabbitMQ's words (behaviour §9).

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::node::Refusal;
use crate::server::ChangeError;

/// How long the client is asked to wait before it tries again, in seconds.
const RETRY_AFTER_S: &str = "1";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// 400, with what is wrong.
    BadRequest(String),
    /// 400 of another kind, such as `not_found` for something that the body names.
    Other(&'static str, String),
    /// 401: nobody has said who they are, or not rightly.
    Unauthenticated(&'static str),
    /// 401: the user is known and may not.
    Unauthorised(Cow<'static, str>),
    NotFound,
    /// 404, with RabbitMQ's reason.
    Missing(String),
    /// 412: it exists, but is not as was asked for.
    PreconditionFailed(String),
    /// 413: a message that is larger than messages may be.
    TooLarge,
    /// 429: a queue refuses what would be too much for it.
    TooMany(String),
    /// 503, with Retry-After: the broker takes nothing for now.
    Unavailable(String),
    /// 503 of a health check, with what it found.
    Failed(serde_json::Value),
}

impl ApiError {
    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::BadRequest(reason.into())
    }

    /// Something would be set in a virtual host that does not exist.
    pub(super) fn no_vhost() -> Self {
        Self::Missing("vhost_not_found".to_owned())
    }

    /// What is not found is the virtual host of what was to be set.
    pub(super) fn of_vhost(self) -> Self {
        if self == Self::NotFound { Self::no_vhost() } else { self }
    }

    /// Why, where that is more than the status says.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::BadRequest(reason)
            | Self::Other(_, reason)
            | Self::Missing(reason)
            | Self::PreconditionFailed(reason)
            | Self::TooMany(reason)
            | Self::Unavailable(reason) => reason,
            Self::Unauthenticated(reason) => reason,
            Self::Unauthorised(reason) => reason,
            Self::NotFound | Self::TooLarge | Self::Failed(_) => "",
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(Refusal::NoUser(_) | Refusal::NoVhost(_)) => Self::NotFound,
            ChangeError::Refused(Refusal::Protected(name)) => {
                Self::PreconditionFailed(format!("Cannot delete vhost '{name}': it is protected from deletion"))
            }
            ChangeError::Refused(Refusal::Invalid(why)) => Self::BadRequest(why),
            ChangeError::Disk(why) => Self::Unavailable(why),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error, reason) = match self {
            Self::BadRequest(reason) => (StatusCode::BAD_REQUEST, "bad_request", reason),
            Self::Other(error, reason) => (StatusCode::BAD_REQUEST, error, reason),
            Self::Unauthenticated(reason) => (StatusCode::UNAUTHORIZED, "not_authorized", reason.to_owned()),
            Self::Unauthorised(reason) => (StatusCode::UNAUTHORIZED, "not_authorised", reason.into_owned()),
            Self::Missing(reason) => (StatusCode::NOT_FOUND, "not_found", reason),
            Self::NotFound => (StatusCode::NOT_FOUND, "Object Not Found", "Not Found".to_owned()),
            Self::PreconditionFailed(reason) => (StatusCode::PRECONDITION_FAILED, "precondition_failed", reason),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "the message is too large".to_owned()),
            Self::TooMany(reason) => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", reason),
            Self::Unavailable(reason) => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable", reason),
            Self::Failed(found) => return super::json(StatusCode::SERVICE_UNAVAILABLE, &found),
        };
        let mut response = super::json(status, &json!({ "error": error, "reason": reason }));
        match status {
            StatusCode::UNAUTHORIZED if error == "not_authorized" => {
                let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
            }
            _ => {}
        }
        response
    }
}

/// A text that browsers show as it is, as RabbitMQ gives out what it says of values.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
