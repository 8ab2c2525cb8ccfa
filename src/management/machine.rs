//! What the node goes by, and what its owner sets of it through the control socket: the effective configuration, TLS, the log, the disk.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put as put_method};
use serde_json::{Map, Value as Json, json};

use super::Api;
use super::auth::Caller;
use super::control::{Operator, place};
use super::error::ApiError;
use crate::server::Listening;
use crate::server::tls::{End, cipher_suites, supported_versions};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/config/effective", get(effective))
        .route("/leveret/tls", get(tls))
        .route("/leveret/log/rotate", post(rotate_log))
        .route("/leveret/disk-monitoring", put_method(watch_disk).delete(leave_disk))
        .route("/leveret/auth-attempt-source-tracking", put_method(track_sources).delete(forget_sources))
}

/// As text, which RabbitMQ's is, too: there it is Erlang, here the syntax of configuration files.
async fn effective(State(api): State<Api>, caller: Caller) -> Result<Response, ApiError> {
    caller.administrator()?;
    let headers = [(header::CONTENT_TYPE, "text/plain"), (header::CACHE_CONTROL, "no-cache")];
    Ok((StatusCode::OK, headers, api.handle.config().written()).into_response())
}

/// What the node's environment has for it; secrets are not shown.
pub(super) fn environment() -> Map<String, Json> {
    let ours = |name: &str| ["RABBITMQ_", "LEVERET_"].iter().any(|prefix| name.starts_with(prefix));
    let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    let shown = |name: &str, value: String| if name.contains("PASS") || name.contains("COOKIE") { "[redacted]".to_owned() } else { value };
    all.filter(|(name, _)| ours(name)).map(|(name, value)| (name.clone(), shown(&name, value).into())).collect()
}

async fn tls(State(api): State<Api>, _: Operator) -> Response {
    let mut listeners = Vec::new();
    let mut error = None;
    for listening in api.handle.listening().into_iter().filter(Listening::is_secured) {
        let (handle, protocol) = (api.handle.clone(), listening.protocol);
        let read = tokio::task::spawn_blocking(move || handle.certificates(protocol).map_err(|error| error.to_string())).await;
        match read.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(validity) => {
                let ends = |ends: &[End]| ends.iter().map(|end| end.text.clone()).collect::<Vec<_>>();
                let (interface, port) = place(&listening.address);
                listeners.push(json!({
                    "protocol": protocol,
                    "interface": interface,
                    "port": port,
                    "certfile": validity.certfile,
                    "cacertfile": validity.cacertfile,
                    "certfile_expires_on": ends(&validity.certificates),
                    "cacertfile_expires_on": ends(&validity.authorities),
                }));
            }
            Err(why) => error = Some(why),
        }
    }
    let found = json!({"versions": supported_versions(), "cipher_suites": cipher_suites(), "listeners": listeners, "error": error});
    super::json(StatusCode::OK, &found)
}

async fn rotate_log(State(api): State<Api>, _: Operator) -> Result<StatusCode, ApiError> {
    api.handle.rotate_log().map_err(ApiError::Unavailable)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn watch_disk(State(api): State<Api>, _: Operator) -> StatusCode {
    api.handle.monitor_disk(true);
    StatusCode::NO_CONTENT
}

async fn leave_disk(State(api): State<Api>, _: Operator) -> StatusCode {
    api.handle.monitor_disk(false);
    StatusCode::NO_CONTENT
}

async fn track_sources(State(api): State<Api>, _: Operator) -> StatusCode {
    api.handle.track_attempt_sources(true);
    StatusCode::NO_CONTENT
}

async fn forget_sources(State(api): State<Api>, _: Operator) -> StatusCode {
    api.handle.track_attempt_sources(false);
    StatusCode::NO_CONTENT
}
