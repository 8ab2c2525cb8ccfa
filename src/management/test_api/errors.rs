//! /api/test/errors and /api/test/lint: what clients have been told, and what they should be.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::Tester;
use super::journal::{plain, wants_text};
use crate::broker::journal::Lint;
use crate::management::error::ApiError;
use crate::management::query::Query;
use crate::management::tools::number;
use crate::management::{Api, json};

/// Errors that are shown unless the client says otherwise.
const SHOWN: usize = 100;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/test/errors", get(errors)).route("/test/lint", get(lint))
}

/// The last ones, the newest last; of one connection or all.
async fn errors(State(api): State<Api>, _: Tester, query: Query) -> Result<Response, ApiError> {
    let count = number(&query, "count")?.unwrap_or(SHOWN);
    let mut errors = api.handle.sent_errors().await;
    for (key, value) in [("connection", query.get("connection")), ("vhost", query.get("vhost"))] {
        let Some(value) = value else { continue };
        errors.retain(|error| match key {
            "connection" => &*error.explained.connection == value,
            _ => error.vhost.as_deref() == Some(value),
        });
    }
    let first = errors.len().saturating_sub(count);
    Ok(json(StatusCode::OK, &json!({"errors": errors[first..]})))
}

async fn lint(State(api): State<Api>, _: Tester, query: Query, headers: HeaderMap) -> Result<Response, ApiError> {
    let groups: Vec<String> = query.all("only").flat_map(|groups| groups.split(',')).map(str::to_owned).collect();
    if let Some(unknown) = groups.iter().find(|group| !Lint::GROUPS.contains(&group.as_str())) {
        return Err(ApiError::bad_request(format!("'{unknown}' is none of {}", Lint::GROUPS.join(", "))));
    }
    let report = api.handle.lint().await.of_groups(&groups);
    if wants_text(&query, &headers, false) {
        return Ok(plain(StatusCode::OK, report.to_string()));
    }
    Ok(json(StatusCode::OK, &report.to_json()))
}
