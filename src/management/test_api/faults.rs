//! /api/test/faults: rules for what goes wrong on purpose.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value as Json, json};

use super::super::body::too_large;
use super::super::error::ApiError;
use super::super::{Api, json};
use super::Tester;
use crate::server::faults::{Rule, Status};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/test/faults", get(list).post(add).delete(clear)).route("/test/faults/{id}", get(show).delete(remove))
}

async fn list(State(api): State<Api>, _: Tester) -> Response {
    let all: Vec<Json> = api.handle.faults().list().iter().map(Status::to_json).collect();
    json(StatusCode::OK, &Json::Array(all))
}

/// One rule or several: all of them are added, or none.
async fn add(State(api): State<Api>, _: Tester, body: Result<Bytes, BytesRejection>) -> Result<Response, ApiError> {
    let body = body.map_err(|_| too_large())?;
    let rules = serde_json::from_slice(&body).map_err(|_| ApiError::bad_request("not_json"))?;
    let rules = Rule::list_from_json(rules).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let ids = api.handle.faults().add(rules).map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(json(StatusCode::CREATED, &json!({"ids": ids})))
}

async fn clear(State(api): State<Api>, _: Tester) -> StatusCode {
    api.handle.faults().clear();
    StatusCode::NO_CONTENT
}

async fn show(State(api): State<Api>, _: Tester, Path(id): Path<String>) -> Result<Response, ApiError> {
    let found = id.parse().ok().and_then(|id| api.handle.faults().get(id)).ok_or(ApiError::NotFound)?;
    Ok(json(StatusCode::OK, &found.to_json()))
}

async fn remove(State(api): State<Api>, _: Tester, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let removed = id.parse().is_ok_and(|id| api.handle.faults().remove(id));
    if removed { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound) }
}
