//! /api/policies and /api/operator-policies (behaviour P1–P4).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::Value as Json;

use super::auth::Caller;
use super::body::Fields;
use super::error::{ApiError, escaped};
use super::list::{self, Row};
use super::query::Query;
use super::{Api, put};
use crate::broker::Input;
use crate::broker::policy::Policy;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/policies", get(all))
        .route("/policies/{vhost}", get(of_vhost))
        .route("/policies/{vhost}/{name}", get(show).put(put_policy).delete(delete))
        .route("/operator-policies", get(operators_all))
        .route("/operator-policies/{vhost}", get(operators_of_vhost))
        .route("/operator-policies/{vhost}/{name}", get(operators_show).put(operators_put).delete(operators_delete))
}

#[derive(Clone, Debug, Serialize)]
struct PolicyRow {
    vhost: Arc<str>,
    name: String,
    pattern: String,
    #[serde(rename = "apply-to")]
    apply_to: &'static str,
    definition: std::collections::BTreeMap<String, Json>,
    priority: i64,
}

impl Row for PolicyRow {
    fn name(&self) -> &str {
        &self.name
    }
}

impl PolicyRow {
    fn new(vhost: &Arc<str>, policy: Policy) -> Self {
        Self {
            vhost: Arc::clone(vhost),
            apply_to: policy.apply_to.name(),
            definition: policy.definition.values().clone(),
            priority: policy.priority,
            name: policy.name,
            pattern: policy.pattern,
        }
    }
}

/// The policies of a virtual host, or its operator policies.
pub(super) async fn policies(api: &Api, vhost: &str, operator: bool) -> Vec<Policy> {
    api.handle.ask(vhost, move |asked| asked.broker().policy_views(operator)).await.unwrap_or_default()
}

async fn all_rows(api: &Api, caller: &Caller, operator: bool) -> Vec<PolicyRow> {
    let mut rows = Vec::new();
    for vhost in caller.node.vhosts.keys().filter(|vhost| caller.opens(vhost)) {
        rows.extend(policies(api, vhost, operator).await.into_iter().map(|policy| PolicyRow::new(vhost, policy)));
    }
    rows
}

async fn all(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    list::respond(all_rows(&api, &caller, false).await, &query)
}

async fn operators_all(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    list::respond(all_rows(&api, &caller, true).await, &query)
}

async fn vhost_rows(api: &Api, caller: &Caller, vhost: &str, operator: bool) -> Result<Vec<PolicyRow>, ApiError> {
    caller.vhost(vhost)?;
    let vhost: Arc<str> = vhost.into();
    let all = policies(api, &vhost, operator).await;
    Ok(all.into_iter().map(|policy| PolicyRow::new(&vhost, policy)).collect())
}

async fn of_vhost(State(api): State<Api>, caller: Caller, Path(vhost): Path<String>, query: Query) -> Result<Response, ApiError> {
    list::respond(vhost_rows(&api, &caller, &vhost, false).await?, &query)
}

async fn operators_of_vhost(State(api): State<Api>, caller: Caller, Path(vhost): Path<String>, query: Query) -> Result<Response, ApiError> {
    list::respond(vhost_rows(&api, &caller, &vhost, true).await?, &query)
}

async fn show_one(api: &Api, (vhost, name): (String, String), operator: bool, query: &Query) -> Result<Response, ApiError> {
    let policy = policies(api, &vhost, operator).await.into_iter().find(|policy| policy.name == name).ok_or(ApiError::NotFound)?;
    Ok(list::respond_with(&PolicyRow::new(&vhost.as_str().into(), policy), query))
}

async fn show(State(api): State<Api>, caller: Caller, Path(path): Path<(String, String)>, query: Query) -> Result<Response, ApiError> {
    caller.policies(&path.0)?;
    show_one(&api, path, false, &query).await
}

async fn operators_show(
    State(api): State<Api>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    caller.administrator()?;
    show_one(&api, path, true, &query).await
}

/// Sets a policy and returns when it would survive: whether there was none of this name.
pub(super) async fn set(api: &Api, caller: &Caller, vhost: &str, operator: bool, policy: Policy) -> Result<bool, ApiError> {
    let user = caller.name().to_owned();
    let set = api.handle.ask(vhost, move |asked| {
        let is_new = !asked.broker().has_policy(operator, &policy.name);
        asked.handle(Input::SetPolicy { operator, policy: Box::new(policy), user: &user });
        is_new
    });
    let is_new = set.await.ok_or_else(ApiError::no_vhost)?;
    super::safe(api, vhost).await?;
    Ok(is_new)
}

/// Takes a policy away and returns when it would stay away; whether there was one.
pub(super) async fn clear(api: &Api, caller: &Caller, vhost: &str, operator: bool, name: &str) -> Result<bool, ApiError> {
    let (user, name) = (caller.name().to_owned(), name.to_owned());
    let cleared = api.handle.ask(vhost, move |asked| {
        let is_there = asked.broker().has_policy(operator, &name);
        asked.handle(Input::ClearPolicy { operator, name: &name, user: &user });
        is_there
    });
    let is_there = cleared.await.ok_or(ApiError::NotFound)?;
    super::safe(api, vhost).await?;
    Ok(is_there)
}

fn parse(operator: bool, name: &str, fields: Fields) -> Result<Policy, String> {
    Policy::from_json(operator, name, &Json::Object(fields.0))
}

async fn put_policy(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    caller.policies(&vhost).map_err(ApiError::of_vhost)?;
    fields.need(&["pattern", "definition"])?;
    let policy = parse(false, &name, fields).map_err(|why| ApiError::bad_request(escaped(&why)))?;
    Ok(put(set(&api, &caller, &vhost, false, policy).await?))
}

async fn operators_put(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    caller.vhost(&vhost).map_err(ApiError::of_vhost)?;
    fields.need(&["pattern", "definition"])?;
    // RabbitMQ does not escape the texts about these.
    let policy = parse(true, &name, fields).map_err(ApiError::bad_request)?;
    Ok(put(set(&api, &caller, &vhost, true, policy).await?))
}

async fn delete(State(api): State<Api>, caller: Caller, Path((vhost, name)): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    caller.policies(&vhost)?;
    if clear(&api, &caller, &vhost, false, &name).await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound) }
}

async fn operators_delete(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    if clear(&api, &caller, &vhost, true, &name).await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound) }
}
