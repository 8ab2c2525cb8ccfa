//! /api/test: what tests ask of a broker that was started for them (docs/TEST_API.md). It is there only with `--test-api`; without, these
//! paths are as unknown as any other.

mod clock;
mod errors;
mod faults;
mod journal;
mod messages;
mod missed;
mod settle;
mod state;
mod story;
mod vhosts;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, put};
use serde_json::json;

use super::auth::Caller;
use super::body::Fields;
use super::error::ApiError;
use super::{Api, json};

/// What a broker that was not started for tests has of it: nothing.
pub(super) fn routes(on: bool) -> Router<Api> {
    if !on {
        return Router::new();
    }
    Router::new()
        .route("/test", get(overview))
        .route("/test/alarms", put(set_alarms))
        .merge(clock::routes())
        .merge(faults::routes())
        .merge(journal::routes())
        .merge(errors::routes())
        .merge(settle::routes())
        .merge(messages::routes())
        .merge(state::routes())
        .merge(vhosts::routes())
}

/// Somebody who may test: an administrator.
struct Tester;

impl FromRequestParts<Api> for Tester {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        Caller::from_request_parts(parts, api).await?.administrator()?;
        Ok(Self)
    }
}

/// What there is.
async fn overview(State(api): State<Api>, _: Tester) -> Response {
    let alarms = api.handle.alarms();
    let found = json!({
        "clock": clock::shown(&api),
        "journal": api.handle.journal_extent(),
        "snapshots": state::all(&api),
        "faults": api.handle.faults().list().len(),
        "alarms": {"memory": alarms.memory, "disk": alarms.disk},
    });
    json(StatusCode::OK, &found)
}

/// Raises alarms and clears them; those that are not named stay.
async fn set_alarms(State(api): State<Api>, _: Tester, fields: Fields) -> Result<StatusCode, ApiError> {
    for (name, memory) in [("memory", true), ("disk", false)] {
        if fields.get(name).is_some() {
            api.handle.force_alarm(memory, fields.flag(name)?);
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
