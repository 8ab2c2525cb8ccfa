//! /api/test/vhosts: virtual hosts that are there for one test.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::Tester;
use crate::management::body::Fields;
use crate::management::error::ApiError;
use crate::management::{Api, json};
use crate::server::Throwaway;
use crate::server::faults::Pattern;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/test/vhosts", get(show).put(set).delete(unset))
}

async fn show(State(api): State<Api>, _: Tester) -> Response {
    let (kind, made) = api.handle.throwaway();
    let pattern = kind.as_ref().map(|kind| kind.pattern.as_str());
    let template = kind.as_ref().and_then(|kind| kind.template.as_deref());
    let made: Vec<&str> = made.iter().map(|name| &**name).collect();
    json(StatusCode::OK, &json!({"pattern": pattern, "template": template, "made": made}))
}

async fn set(State(api): State<Api>, _: Tester, fields: Fields) -> Result<StatusCode, ApiError> {
    fields.need(&["pattern"])?;
    let pattern = fields.text("pattern").filter(|pattern| !pattern.is_empty());
    let pattern = pattern.ok_or_else(|| ApiError::bad_request("pattern is a name, in which * stands for anything"))?;
    let template = fields.text("template").map(str::to_owned);
    api.handle.set_throwaway(Some(Throwaway { pattern: Pattern::new(pattern), template }))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unset(State(api): State<Api>, _: Tester) -> Result<StatusCode, ApiError> {
    api.handle.set_throwaway(None)?;
    Ok(StatusCode::NO_CONTENT)
}
