//! /api/users, /api/user-limits, /api/whoami, /api/auth/hash_password (behaviour P5, P9).

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
use super::permissions::PermissionRow;
use super::query::Query;
use super::{Api, put};
use crate::node::definitions::{user_limits, user_to_json};
use crate::node::identity::Authority;
use crate::node::password::{Algorithm, PasswordHash};
use crate::node::users::User;
use crate::node::{Node, Refusal};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/whoami", get(whoami))
        .route("/users", get(all))
        .route("/users/", get(all))
        .route("/users/without-permissions", get(without_permissions))
        .route("/users/bulk-delete", post(bulk_delete))
        .route("/users/{user}", get(show).put(put_user).delete(delete))
        .route("/users/{user}/permissions", get(permissions))
        .route("/users/{user}/topic-permissions", get(topic_permissions))
        .route("/user-limits", get(all_limits))
        .route("/user-limits/{user}", get(limits))
        .route("/user-limits/{user}/{limit}", put_method(set_limit).delete(clear_limit))
        .route("/auth/hash_password/{password}", get(hash_password))
}

async fn whoami(caller: Caller) -> Response {
    let is_internal = caller.authority == Authority::Node;
    super::json(StatusCode::OK, &json!({"name": caller.name(), "tags": caller.user.tags, "is_internal_user": is_internal}))
}

/// A user in a list.
#[derive(Serialize)]
#[serde(transparent)]
struct Listed(Json);

impl Row for Listed {
    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap_or_default()
    }
}

async fn all(caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.administrator()?;
    list::respond(caller.node.users.values().map(|user| Listed(user_to_json(user))).collect(), &query)
}

async fn without_permissions(caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.administrator()?;
    let node = &caller.node;
    let has_any = |user: &User| node.permissions.keys().any(|(name, _)| *name == user.name);
    list::respond(node.users.values().filter(|user| !has_any(user)).map(|user| Listed(user_to_json(user))).collect(), &query)
}

async fn show(caller: Caller, Path(name): Path<String>) -> Result<Response, ApiError> {
    caller.administrator()?;
    let user = caller.node.user(&name).ok_or(ApiError::NotFound)?;
    Ok(super::json(StatusCode::OK, &user_to_json(user)))
}

async fn put_user(State(api): State<Api>, caller: Caller, Path(name): Path<String>, fields: Fields) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    if fields.get("tags").is_none() {
        return Err(ApiError::bad_request("tags_not_present"));
    }
    if fields.get("password").is_some() && fields.get("password_hash").is_some() {
        return Err(ApiError::bad_request("both_password_and_password_hash_are_provided"));
    }
    let mut entry = fields.0;
    entry.insert("name".to_owned(), json!(name));
    let salt = api.handle.salt();
    let change = |node: &mut Node| {
        let is_new = node.user(&name).is_none();
        // Without a password a user keeps none: that is how RabbitMQ takes one away.
        if !entry.contains_key("password") && !entry.contains_key("password_hash") {
            entry.insert("password_hash".to_owned(), json!(""));
        }
        node.take_user(&Json::Object(entry), salt).map_err(Refusal::Invalid)?;
        Ok(is_new)
    };
    Ok(put(api.handle.change_node(change).await?))
}

async fn delete(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    api.handle.change_node(|node| node.delete_user(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn bulk_delete(State(api): State<Api>, caller: Caller, fields: Fields) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    fields.need(&["users"])?;
    let names: Vec<&str> = fields.get("users").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    let delete_all = |node: &mut Node| {
        for name in &names {
            // Those that are gone already are as was asked for.
            let _ = node.delete_user(name);
        }
        Ok(())
    };
    api.handle.change_node(delete_all).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn permissions(caller: Caller, Path(name): Path<String>) -> Result<Response, ApiError> {
    caller.administrator()?;
    caller.node.user(&name).ok_or(ApiError::NotFound)?;
    let rows: Vec<_> = PermissionRow::all(&caller.node).into_iter().filter(|row| *row.user == *name).collect();
    Ok(super::json(StatusCode::OK, &rows))
}

async fn topic_permissions(caller: Caller, Path(name): Path<String>) -> Result<Response, ApiError> {
    caller.administrator()?;
    caller.node.user(&name).ok_or(ApiError::NotFound)?;
    let rows = super::permissions::topic_rows(&caller.node, |user, _, _| user == name);
    Ok(super::json(StatusCode::OK, &rows))
}

fn limits_of(user: &User) -> Option<Json> {
    let value = user_to_json(user)["limits"].take();
    let some = value.as_object().is_some_and(|limits| !limits.is_empty());
    some.then(|| json!({"user": *user.name, "value": value}))
}

async fn all_limits(caller: Caller) -> Result<Response, ApiError> {
    caller.administrator()?;
    let limits: Vec<Json> = caller.node.users.values().filter_map(|user| limits_of(user)).collect();
    Ok(super::json(StatusCode::OK, &limits))
}

async fn limits(caller: Caller, Path(name): Path<String>) -> Result<Response, ApiError> {
    caller.administrator()?;
    let user = caller.node.user(&name).ok_or(ApiError::NotFound)?;
    let limits: Vec<Json> = limits_of(user).into_iter().collect();
    Ok(super::json(StatusCode::OK, &limits))
}

async fn set_limit(
    State(api): State<Api>,
    caller: Caller,
    Path((name, limit)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    fields.need(&["value"])?;
    let value = fields.get("value").cloned().unwrap_or_default();
    change_limit(&api, &name, &limit, Some(value)).await
}

async fn clear_limit(State(api): State<Api>, caller: Caller, Path((name, limit)): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    change_limit(&api, &name, &limit, None).await
}

async fn change_limit(api: &Api, name: &str, limit: &str, value: Option<Json>) -> Result<StatusCode, ApiError> {
    check_limit(limit, &["max-connections", "max-channels"], value.as_ref())?;
    let change = |node: &mut Node| {
        let mut user = User::clone(node.user(name).ok_or_else(|| Refusal::NoUser(name.to_owned()))?);
        let mut limits = match user_to_json(&user)["limits"].take() {
            Json::Object(limits) => limits,
            _ => Map::new(),
        };
        limits.remove(limit);
        value.map(|value| limits.insert(limit.to_owned(), value));
        user.limits = user_limits(&limits);
        node.put_user(user);
        Ok(())
    };
    api.handle.change_node(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn hash_password(State(api): State<Api>, caller: Caller, Path(password): Path<String>) -> Result<Response, ApiError> {
    caller.administrator()?;
    let hash = PasswordHash::new(Algorithm::default(), api.handle.salt(), &password);
    Ok(super::json(StatusCode::OK, &json!({"ok": hash.to_base64()})))
}
