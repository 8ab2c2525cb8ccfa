//! /api/test/clock: the virtual clock.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Tester;
use crate::broker::Timestamp;
use crate::management::body::Fields;
use crate::management::error::ApiError;
use crate::management::{Api, json};
use crate::server::{Advance, AdvanceError, Fire};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/test/clock", get(show).put(set)).route("/test/clock/advance", post(advance))
}

impl From<AdvanceError> for ApiError {
    fn from(error: AdvanceError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

pub(super) fn shown(api: &Api) -> Json {
    let clock = api.handle.clock();
    json!({"now": clock.now.0, "now_text": text(clock.now), "virtual": clock.is_virtual, "frozen": clock.frozen})
}

/// As people write it; empty beyond the year 9999.
fn text(at: Timestamp) -> String {
    let nanoseconds = i128::from(at.0) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Milliseconds since the epoch, or a date with its time as in RFC 3339.
fn timestamp(value: &Json) -> Result<Timestamp, ApiError> {
    let given = match value {
        Json::String(text) => {
            let parsed = OffsetDateTime::parse(text, &Rfc3339).ok();
            parsed.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok())
        }
        other => other.as_u64(),
    };
    let given = given.map(Timestamp);
    given
        .ok_or_else(|| ApiError::bad_request(format!("{value} is neither milliseconds since 1970 nor a time such as 2026-11-29T14:00:00Z")))
}

async fn show(State(api): State<Api>, _: Tester) -> Response {
    json(StatusCode::OK, &shown(&api))
}

/// Sets the time, which has happen what is due by then, and then stops the clock or lets it go on.
async fn set(State(api): State<Api>, _: Tester, fields: Fields) -> Result<Response, ApiError> {
    if let Some(now) = fields.get("now") {
        api.handle.advance_clock(Advance::To(timestamp(now)?), false).await?;
    }
    if fields.get("frozen").is_some() {
        api.handle.freeze_clock(fields.flag("frozen")?)?;
    }
    Ok(json(StatusCode::OK, &shown(&api)))
}

/// One of `ms`, `to` and `to_next`.
fn how(fields: &Fields) -> Result<Advance, ApiError> {
    let ms = fields.get("ms").map(|ms| {
        let ms = ms.as_u64().ok_or_else(|| ApiError::bad_request(format!("{ms} is no number of milliseconds")))?;
        Ok(Advance::By(Duration::from_millis(ms)))
    });
    let to = fields.get("to").map(|to| Ok(Advance::To(timestamp(to)?)));
    let next = fields.flag("to_next")?.then_some(Ok(Advance::ToNext));
    let mut given = ms.into_iter().chain(to).chain(next);
    match (given.next(), given.next()) {
        (Some(how), None) => how,
        _ => Err(ApiError::bad_request("one of ms, to and to_next says how far time is moved")),
    }
}

async fn advance(State(api): State<Api>, _: Tester, fields: Fields) -> Result<Response, ApiError> {
    let fired = api.handle.advance_clock(how(&fields)?, fields.flag("sockets")?).await?;
    let fired: Vec<Json> = fired.iter().map(fire).collect();
    let mut answer = shown(&api);
    answer["fired"] = fired.into();
    Ok(json(StatusCode::OK, &answer))
}

fn fire(Fire { vhost, firing }: &Fire) -> Json {
    let object = if firing.what == crate::broker::Fired::DelayedRouted { "exchange" } else { "queue" };
    json!({
        "vhost": vhost,
        "what": firing.what.name(),
        (object): *firing.object,
        "count": firing.count,
        "first": firing.first.0,
        "last": firing.last.0,
    })
}
