//! /api/test/snapshots, reset, crash: states to go back to, and beginning again.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value as Json, json};

use super::Tester;
use crate::management::body::Fields;
use crate::management::error::ApiError;
use crate::management::{Api, json};
use crate::server::{Keep, Open, Saved, TestError, Unsynced};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/test/snapshots", get(list).post(save))
        .route("/test/snapshots/{id}", get(show).delete(forget))
        .route("/test/snapshots/{id}/restore", post(go_back))
        .route("/test/reset", post(reset))
        .route("/vhosts/{vhost}/reset", post(reset_vhost))
        .route("/test/crash", post(crash))
}

impl From<TestError> for ApiError {
    fn from(error: TestError) -> Self {
        match error {
            TestError::NotFound(why) => Self::Missing(why),
            TestError::Refused(why) => Self::BadRequest(why),
            TestError::Failed(why) => Self::Unavailable(why),
        }
    }
}

/// One of the values that a field may have; the first where it is missing.
fn choice<T: Copy>(fields: &Fields, name: &str, values: &[(&str, T)]) -> Result<T, ApiError> {
    let given = fields.get(name).map(|value| value.as_str().unwrap_or_default());
    let found = values.iter().find(|(value, _)| given.is_none_or(|given| given == *value));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = values.iter().map(|(value, _)| *value).collect();
        ApiError::bad_request(format!("{name} is one of {}", known.join(", ")))
    })
}

fn open(fields: &Fields) -> Result<Open, ApiError> {
    choice(fields, "connections", &[("close", Open::Close), ("keep", Open::Keep)])
}

fn keep(fields: &Fields) -> Result<Keep, ApiError> {
    choice(fields, "keep", &[("nothing", Keep::Nothing), ("definitions", Keep::Definitions)])
}

fn described(id: &str, saved: &Saved) -> Json {
    let vhosts: serde_json::Map<String, Json> = saved
        .vhosts()
        .map(|(name, snapshot)| (name.to_owned(), json!({"queues": snapshot.queues(), "messages": snapshot.messages()})))
        .collect();
    json!({"id": id, "node": saved.is_of_node(), "vhosts": vhosts})
}

pub(super) fn all(api: &Api) -> Vec<Json> {
    api.handle.all_saved().iter().map(|(id, saved)| described(id, saved)).collect()
}

async fn list(State(api): State<Api>, _: Tester) -> Response {
    json(StatusCode::OK, &all(&api))
}

/// A state is taken, or read from a file that it was written to.
async fn save(State(api): State<Api>, _: Tester, fields: Fields) -> Result<Response, ApiError> {
    let saved = match fields.text("from_file") {
        Some(path) => {
            let wrong = |why: &dyn std::fmt::Display| ApiError::bad_request(format!("{path}: {why}"));
            let bytes = tokio::fs::read(path).await.map_err(|error| wrong(&error))?;
            Saved::from_bytes(&bytes).map_err(|why| wrong(&why))?
        }
        None => api.handle.save(fields.text("vhost")).await?,
    };
    if let Some(path) = fields.text("file") {
        let written = tokio::fs::write(path, saved.to_bytes()).await;
        written.map_err(|error| ApiError::bad_request(format!("{path}: {error}")))?;
    }
    let id = api.handle.keep_saved(fields.text("id").map(str::to_owned), saved.clone());
    Ok(json(StatusCode::CREATED, &described(&id, &saved)))
}

async fn show(State(api): State<Api>, _: Tester, Path(id): Path<String>) -> Result<Response, ApiError> {
    let saved = api.handle.saved(&id).ok_or(ApiError::NotFound)?;
    Ok(json(StatusCode::OK, &described(&id, &saved)))
}

async fn forget(State(api): State<Api>, _: Tester, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    if api.handle.drop_saved(&id) { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound) }
}

async fn go_back(State(api): State<Api>, _: Tester, Path(id): Path<String>, fields: Fields) -> Result<StatusCode, ApiError> {
    let saved = api.handle.saved(&id).ok_or(ApiError::NotFound)?;
    api.handle.go_back(&saved, open(&fields)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn reset(State(api): State<Api>, _: Tester, fields: Fields) -> Result<StatusCode, ApiError> {
    let (keep, open) = (keep(&fields)?, open(&fields)?);
    match fields.text("vhost") {
        Some(vhost) => api.handle.reset_vhost(vhost, keep, open).await?,
        None => api.handle.reset_node(keep, open).await?,
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn reset_vhost(State(api): State<Api>, _: Tester, Path(vhost): Path<String>, fields: Fields) -> Result<StatusCode, ApiError> {
    api.handle.reset_vhost(&vhost, keep(&fields)?, open(&fields)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn crash(State(api): State<Api>, _: Tester, fields: Fields) -> Result<Response, ApiError> {
    let seed = fields.get("seed").map(|seed| seed.as_u64().ok_or_else(|| ApiError::bad_request(format!("{seed} is no number"))));
    let seed = seed.transpose()?.unwrap_or(0);
    let unsynced = [("lost", Unsynced::Lost), ("kept", Unsynced::Kept), ("torn", Unsynced::Torn { seed })];
    let took = api.handle.crash(choice(&fields, "unsynced", &unsynced)?).await?;
    Ok(json(StatusCode::OK, &json!({"ms": took.as_secs_f64() * 1000.0})))
}
