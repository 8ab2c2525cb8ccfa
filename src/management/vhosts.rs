//! /api/vhosts and /api/vhost-limits (behaviour P8, P10).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put as put_method};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::auth::Caller;
use super::body::{Fields, check_limit};
use super::error::ApiError;
use super::list::{self, Row};
use super::query::Query;
use super::stats::{CHURN_FROM, LENGTHS, TotalsPart};
use super::{Api, overview, put};
use crate::broker::queue::QueueType;
use crate::node::definitions::limits_to_json;
use crate::node::permissions::Permissions;
use crate::node::vhosts::Vhost;
use crate::node::{Node, Refusal};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/vhosts", get(list))
        .route("/vhosts/{vhost}", get(show).put(put_vhost).delete(delete))
        .route("/vhosts/{vhost}/deletion/protection", post(protect).delete(unprotect))
        .route("/vhosts/{vhost}/start/{node}", post(start))
        .route("/vhost-limits", get(all_limits))
        .route("/vhost-limits/{vhost}", get(limits))
        .route("/vhost-limits/{vhost}/{limit}", put_method(set_limit).delete(clear_limit))
}

#[derive(Debug, Serialize)]
struct VhostRow {
    name: Arc<str>,
    description: String,
    tags: Vec<String>,
    default_queue_type: &'static str,
    protected_from_deletion: bool,
    metadata: Json,
    tracing: bool,
    cluster_state: Json,
    #[serde(flatten)]
    lengths: TotalsPart<0, LENGTHS>,
    message_stats: TotalsPart<LENGTHS, CHURN_FROM>,
}

impl Row for VhostRow {
    fn name(&self) -> &str {
        &self.name
    }
}

impl VhostRow {
    async fn of(api: &Api, vhost: &Vhost) -> Self {
        let (_, counted) = overview::totals(api, std::slice::from_ref(&vhost.name)).await;
        let default_queue_type = vhost.default_queue_type.unwrap_or(api.handle.config().default_queue_type).name();
        Self {
            name: Arc::clone(&vhost.name),
            description: vhost.description.clone(),
            tags: vhost.tags.clone(),
            default_queue_type,
            protected_from_deletion: vhost.protected_from_deletion,
            metadata: metadata(api, vhost),
            tracing: vhost.tracing,
            cluster_state: json!({&*api.node: "running"}),
            lengths: TotalsPart(counted.clone()),
            message_stats: TotalsPart(counted),
        }
    }
}

/// As RabbitMQ keeps it.
pub(super) fn metadata(api: &Api, vhost: &Vhost) -> Json {
    json!({
        "description": vhost.description,
        "tags": vhost.tags,
        "default_queue_type": vhost.default_queue_type.unwrap_or(api.handle.config().default_queue_type).name(),
        "protected_from_deletion": vhost.protected_from_deletion,
    })
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    let mut rows = Vec::new();
    for vhost in caller.node.vhosts.values().filter(|vhost| caller.sees(&vhost.name)) {
        rows.push(VhostRow::of(&api, vhost).await);
    }
    list::respond(rows, &query)
}

async fn show(State(api): State<Api>, caller: Caller, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.sees_vhost(&name)?;
    let vhost = caller.node.vhost(&name).ok_or(ApiError::NotFound)?;
    Ok(list::respond_with(&VhostRow::of(&api, vhost).await, &query))
}

async fn put_vhost(State(api): State<Api>, caller: Caller, Path(name): Path<String>, fields: Fields) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    if let Some(kind) = fields.text("default_queue_type").filter(|kind| QueueType::named(kind.as_bytes()).is_none()) {
        return Err(ApiError::bad_request(format!("Unsupported default queue type: {kind}")));
    }
    let mut entry = fields.0;
    entry.insert("name".to_owned(), json!(name));
    let change = |node: &mut Node| {
        let is_new = node.vhost(&name).is_none();
        node.take_vhost(&Json::Object(entry)).map_err(Refusal::Invalid)?;
        // Who makes a virtual host may use it.
        if let (true, Some(user), Ok(all)) = (is_new, node.user(caller.name()).cloned(), Permissions::new(".*", ".*", ".*")) {
            node.set_permissions(&user.name, &name, all)?;
        }
        Ok(is_new)
    };
    Ok(put(api.handle.change_node(change).await?))
}

async fn delete(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    api.handle.change_node(|node| node.delete_vhost(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn protect(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    set_protection(&api, &caller, &name, true).await
}

async fn unprotect(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    set_protection(&api, &caller, &name, false).await
}

async fn set_protection(api: &Api, caller: &Caller, name: &str, protects: bool) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    let protect = |vhost: &mut Vhost| {
        vhost.protected_from_deletion = protects;
        Ok(())
    };
    api.handle.change_node(|node| change(node, name, protect)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Here a virtual host always runs.
async fn start(State(api): State<Api>, caller: Caller, Path((name, node)): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    caller.node.vhost(&name).filter(|_| *node == *api.node).ok_or(ApiError::NotFound)?;
    Ok(StatusCode::NO_CONTENT)
}

fn change(node: &mut Node, name: &str, how: impl FnOnce(&mut Vhost) -> Result<(), Refusal>) -> Result<(), Refusal> {
    let mut vhost = Vhost::clone(node.vhost(name).ok_or_else(|| Refusal::NoVhost(name.to_owned()))?);
    how(&mut vhost)?;
    node.put_vhost(vhost);
    Ok(())
}

fn limits_of(vhost: &Vhost) -> Option<Json> {
    let value = limits_to_json(&vhost.limits);
    let some = !value.is_empty();
    some.then(|| json!({"vhost": *vhost.name, "value": value}))
}

async fn all_limits(caller: Caller) -> Response {
    let seen = caller.node.vhosts.values().filter(|vhost| caller.sees(&vhost.name));
    let limits: Vec<Json> = seen.filter_map(|vhost| limits_of(vhost)).collect();
    super::json(StatusCode::OK, &limits)
}

async fn limits(caller: Caller, Path(name): Path<String>) -> Result<Response, ApiError> {
    caller.sees_vhost(&name)?;
    let vhost = caller.node.vhost(&name).ok_or(ApiError::NotFound)?;
    let limits: Vec<Json> = limits_of(vhost).into_iter().collect();
    Ok(super::json(StatusCode::OK, &limits))
}

async fn set_limit(
    State(api): State<Api>,
    caller: Caller,
    Path((name, limit)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    fields.need(&["value"])?;
    let value = fields.get("value").cloned().unwrap_or_default();
    change_limit(&api, &caller, &name, (&limit, Some(value))).await
}

async fn clear_limit(State(api): State<Api>, caller: Caller, Path((name, limit)): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    change_limit(&api, &caller, &name, (&limit, None)).await
}

async fn change_limit(api: &Api, caller: &Caller, name: &str, (limit, value): (&str, Option<Json>)) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    check_limit(limit, &["max-connections", "max-queues"], value.as_ref())?;
    let limited = |vhost: &mut Vhost| {
        let mut limits: Map<String, Json> = limits_to_json(&vhost.limits);
        limits.remove(limit);
        value.map(|value| limits.insert(limit.to_owned(), value));
        vhost.limits = limits.into();
        Ok(())
    };
    api.handle.change_node(|node| change(node, name, limited)).await?;
    Ok(StatusCode::NO_CONTENT)
}
