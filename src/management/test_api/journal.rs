//! /api/test/journal: what has become of each message.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value as Json, json};

use super::Tester;
use super::missed::Missed;
use super::story::Story;
use crate::management::body::Fields;
use crate::management::error::ApiError;
use crate::management::query::Query;
use crate::management::{Api, json};
use crate::server::{EVENT_KEYS, Filter, Recorded};

/// Events in an answer, unless the client says otherwise.
const LIMIT: usize = 10_000;
/// How long a wait lasts unless the client says otherwise, and at most, in milliseconds.
const TIMEOUT_MS: u64 = 5000;
const TIMEOUT_MAX_MS: u64 = 600_000;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/test/journal", get(read).delete(forget))
        .route("/test/journal/wait", post(wait))
        .route("/test/journal/story/{id}", get(story))
}

/// Lines of JSON.
const LINES: &str = "application/x-ndjson";
const TEXT: &str = "text/plain";

fn accepts(headers: &HeaderMap, what: &str) -> bool {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains(what))
}

/// A text for people.
pub(super) fn plain(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Whether a client wants a text rather than JSON: by `format`, or by what it accepts.
pub(super) fn wants_text(query: &Query, headers: &HeaderMap, by_default: bool) -> bool {
    match query.get("format") {
        Some(format) => format == "text",
        None if by_default => !accepts(headers, "application/json"),
        None => accepts(headers, TEXT),
    }
}

fn refused(why: String) -> ApiError {
    ApiError::BadRequest(why)
}

fn number(query: &Query, name: &str) -> Result<Option<u64>, ApiError> {
    let parse = |text: &str| text.parse().map_err(|_| ApiError::bad_request(format!("{name} should be a number")));
    query.get(name).map(parse).transpose()
}

/// Commas separate the names of events, which have none.
fn filter_of(query: &Query) -> Result<Filter, ApiError> {
    let mut filter = Filter::default();
    for key in EVENT_KEYS {
        let values: Vec<String> = match key {
            "event" => query.all(key).flat_map(|names| names.split(',')).map(str::to_owned).collect(),
            _ => query.all(key).map(str::to_owned).collect(),
        };
        if !values.is_empty() {
            filter.set(key, values).map_err(refused)?;
        }
    }
    Ok(filter)
}

/// Values are texts, numbers, or lists of them.
fn filter_in(fields: &Fields) -> Result<Filter, ApiError> {
    let mut filter = Filter::default();
    let entries = match fields.get("match") {
        None => return Ok(filter),
        Some(Json::Object(entries)) => entries,
        Some(_) => return Err(ApiError::bad_request("match should be an object")),
    };
    for (key, value) in entries {
        let values = match value {
            Json::Array(values) => values.clone(),
            one => vec![one.clone()],
        };
        let texts: Option<Vec<String>> = values.iter().map(text_of).collect();
        let texts = texts.ok_or_else(|| ApiError::bad_request(format!("match.{key} should be a text, a number, or a list of them")))?;
        filter.set(key, texts).map_err(refused)?;
    }
    Ok(filter)
}

fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn lines(events: &[Arc<Recorded>]) -> Vec<Json> {
    events.iter().map(|recorded| serde_json::to_value(recorded.line()).unwrap_or_default()).collect()
}

async fn read(State(api): State<Api>, _: Tester, query: Query, headers: HeaderMap) -> Result<Response, ApiError> {
    let filter = filter_of(&query)?;
    let limit = number(&query, "limit")?.map_or(LIMIT, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (events, next) = api.handle.read_journal(number(&query, "since")?.unwrap_or(0), limit, &filter).await;
    let as_lines = match query.get("format") {
        None => accepts(&headers, LINES),
        Some("jsonl") => true,
        Some("json") => false,
        Some(other) => return Err(ApiError::bad_request(format!("format should be json or jsonl, not '{other}'"))),
    };
    if as_lines {
        let mut body = Vec::new();
        for recorded in &events {
            let _ = serde_json::to_writer(&mut body, &recorded.line());
            body.push(b'\n');
        }
        return Ok(([(header::CONTENT_TYPE, LINES)], body).into_response());
    }
    let first = api.handle.journal_extent().map(|extent| extent.first);
    Ok(json(StatusCode::OK, &json!({"events": lines(&events), "next": next, "first": first})))
}

async fn forget(State(api): State<Api>, _: Tester) -> StatusCode {
    api.handle.forget_journal().await;
    StatusCode::NO_CONTENT
}

/// A number among fields.
pub(super) fn number_in(fields: &Fields, key: &str, otherwise: u64) -> Result<u64, ApiError> {
    match fields.get(key) {
        None => Ok(otherwise),
        Some(value) => value.as_u64().ok_or_else(|| ApiError::bad_request(format!("{key} should be a number, not {value}"))),
    }
}

/// How long to wait.
pub(super) fn timeout_in(fields: &Fields) -> Result<Duration, ApiError> {
    Ok(Duration::from_millis(number_in(fields, "timeout_ms", TIMEOUT_MS)?.min(TIMEOUT_MAX_MS)))
}

async fn wait(State(api): State<Api>, _: Tester, query: Query, headers: HeaderMap, fields: Fields) -> Result<Response, ApiError> {
    let filter = filter_in(&fields)?;
    let count = usize::try_from(number_in(&fields, "count", 1)?).unwrap_or(usize::MAX);
    let since = number_in(&fields, "since", 0)?;
    let timeout = timeout_in(&fields)?;
    match api.handle.wait_for_events(&filter, count, since, timeout).await {
        Ok(events) => {
            let next = events.last().map_or(since, |last| last.seq + 1);
            Ok(json(StatusCode::OK, &json!({"events": lines(&events), "next": next})))
        }
        Err(came) => {
            let missed = Missed::look(&api, filter, (count, since, timeout), came).await;
            if wants_text(&query, &headers, false) {
                return Ok(plain(StatusCode::REQUEST_TIMEOUT, missed.text()));
            }
            Ok(json(StatusCode::REQUEST_TIMEOUT, &missed.to_json(&lines(&missed.came))))
        }
    }
}

/// All that happened to a message, by its number in the journal or else by its message_id.
async fn story(State(api): State<Api>, _: Tester, Path(id): Path<String>, query: Query, headers: HeaderMap) -> Result<Response, ApiError> {
    let mut events = Vec::new();
    for key in ["message", "message_id"] {
        let mut filter = filter_of(&query)?;
        filter.set(key, vec![id.clone()]).map_err(refused)?;
        (events, _) = api.handle.read_journal(0, usize::MAX, &filter).await;
        if !events.is_empty() {
            break;
        }
    }
    let story = Story::new(&events).ok_or_else(|| ApiError::Missing(format!("the journal has no message '{id}'")))?;
    if wants_text(&query, &headers, true) {
        return Ok(plain(StatusCode::OK, story.text()));
    }
    Ok(json(StatusCode::OK, &story.to_json(&lines(&events))))
}
