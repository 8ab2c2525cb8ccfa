//! /api/permissions, /api/topic-permissions, and those of a virtual host (behaviour P6, P7).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::auth::Caller;
use super::body::Fields;
use super::error::ApiError;
use super::{Api, put};
use crate::node::permissions::{Permissions, TopicKey, TopicPermissions};
use crate::node::{Node, Refusal};
use crate::server::ChangeError;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/permissions", get(list))
        .route("/permissions/{vhost}/{user}", get(show).put(set).delete(clear))
        .route("/topic-permissions", get(topic_list))
        .route("/topic-permissions/{vhost}/{user}", get(topic_show).put(topic_set).delete(topic_clear_all))
        .route("/topic-permissions/{vhost}/{user}/{exchange}", axum::routing::delete(topic_clear))
        .route("/vhosts/{vhost}/permissions", get(of_vhost))
        .route("/vhosts/{vhost}/topic-permissions", get(topic_of_vhost))
}

/// What a user may do in a virtual host.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PermissionRow {
    pub(super) user: Arc<str>,
    pub(super) vhost: Arc<str>,
    configure: String,
    write: String,
    read: String,
}

impl PermissionRow {
    pub(super) fn all(node: &Node) -> Vec<Self> {
        let row = |((user, vhost), permissions): (&(Arc<str>, Arc<str>), &Permissions)| Self {
            user: Arc::clone(user),
            vhost: Arc::clone(vhost),
            configure: permissions.configure.source().to_owned(),
            write: permissions.write.source().to_owned(),
            read: permissions.read.source().to_owned(),
        };
        node.permissions.iter().map(row).collect()
    }
}

/// Topic permissions, by user, virtual host and exchange.
pub(super) fn topic_rows(node: &Node, wanted: impl Fn(&str, &str, &str) -> bool) -> Vec<Json> {
    let meant = node.topic_permissions.iter().filter(|((user, vhost, exchange), _)| wanted(user, vhost, exchange));
    let row = |((user, vhost, exchange), topic): (&TopicKey, &TopicPermissions)| json!({"user": **user, "vhost": **vhost, "exchange": **exchange, "write": topic.write, "read": topic.read});
    meant.map(row).collect()
}

async fn list(caller: Caller) -> Result<Response, ApiError> {
    caller.administrator()?;
    Ok(super::json(StatusCode::OK, &PermissionRow::all(&caller.node)))
}

async fn of_vhost(caller: Caller, Path(vhost): Path<String>) -> Result<Response, ApiError> {
    caller.administrator()?;
    caller.node.vhost(&vhost).ok_or(ApiError::NotFound)?;
    let rows: Vec<_> = PermissionRow::all(&caller.node).into_iter().filter(|row| *row.vhost == *vhost).collect();
    Ok(super::json(StatusCode::OK, &rows))
}

async fn show(caller: Caller, Path((vhost, user)): Path<(String, String)>) -> Result<Response, ApiError> {
    caller.administrator()?;
    let row = PermissionRow::all(&caller.node).into_iter().find(|row| *row.vhost == *vhost && *row.user == *user);
    row.map(|row| super::json(StatusCode::OK, &row)).ok_or(ApiError::NotFound)
}

async fn set(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, user)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    fields.need(&["configure", "write", "read"])?;
    let pattern = |key: &str| fields.text(key).ok_or_else(|| ApiError::bad_request(format!("{key} should be a text")));
    let permissions = Permissions::new(pattern("configure")?, pattern("write")?, pattern("read")?).map_err(ApiError::BadRequest)?;
    let change = |node: &mut Node| {
        let is_new = !node.permissions.contains_key(&(Arc::from(&*user), Arc::from(&*vhost)));
        node.set_permissions(&user, &vhost, permissions).map(|()| is_new)
    };
    Ok(put(api.handle.change_node(change).await.map_err(|error| match error {
        ChangeError::Refused(Refusal::NoUser(_) | Refusal::NoVhost(_)) => ApiError::bad_request("vhost_or_user_not_found"),
        other => other.into(),
    })?))
}

async fn clear(State(api): State<Api>, caller: Caller, Path((vhost, user)): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    let was_there = api.handle.change_node(|node| Ok(node.clear_permissions(&user, &vhost))).await?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound) }
}

async fn topic_list(caller: Caller) -> Result<Response, ApiError> {
    caller.administrator()?;
    Ok(super::json(StatusCode::OK, &topic_rows(&caller.node, |_, _, _| true)))
}

async fn topic_of_vhost(caller: Caller, Path(vhost): Path<String>) -> Result<Response, ApiError> {
    caller.administrator()?;
    caller.node.vhost(&vhost).ok_or(ApiError::NotFound)?;
    Ok(super::json(StatusCode::OK, &topic_rows(&caller.node, |_, v, _| v == vhost)))
}

async fn topic_show(caller: Caller, Path((vhost, user)): Path<(String, String)>) -> Result<Response, ApiError> {
    caller.administrator()?;
    let rows = topic_rows(&caller.node, |u, v, _| u == user && v == vhost);
    if rows.is_empty() { Err(ApiError::NotFound) } else { Ok(super::json(StatusCode::OK, &rows)) }
}

async fn topic_set(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, user)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    fields.need(&["exchange", "write", "read"])?;
    let text = |key: &str| fields.text(key).ok_or_else(|| ApiError::bad_request(format!("{key} should be a text")));
    let exchange = match text("exchange")? {
        "amq.default" => "",
        exchange => exchange,
    };
    let topic = TopicPermissions::new(text("write")?, text("read")?).map_err(ApiError::BadRequest)?;
    let change = |node: &mut Node| {
        let key = (Arc::from(&*user), Arc::from(&*vhost), Arc::from(exchange));
        let is_new = !node.topic_permissions.contains_key(&key);
        node.set_topic_permissions(&user, &vhost, exchange, topic).map(|()| is_new)
    };
    Ok(put(api.handle.change_node(change).await.map_err(|error| match error {
        ChangeError::Refused(Refusal::NoUser(_) | Refusal::NoVhost(_)) => ApiError::bad_request("vhost_or_user_not_found"),
        other => other.into(),
    })?))
}

async fn topic_clear_all(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, user)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    clear_topics(&api, &user, &vhost, None).await
}

async fn topic_clear(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, user, exchange)): Path<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    clear_topics(&api, &user, &vhost, Some(&exchange)).await
}

async fn clear_topics(api: &Api, user: &str, vhost: &str, exchange: Option<&str>) -> Result<StatusCode, ApiError> {
    let change = |node: &mut Node| {
        node.user(user).ok_or_else(|| Refusal::NoUser(user.to_owned()))?;
        node.vhost(vhost).ok_or_else(|| Refusal::NoVhost(vhost.to_owned()))?;
        Ok(node.clear_topic_permissions(user, vhost, exchange))
    };
    let was_there = api.handle.change_node(change).await?;
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound) }
}
