//! /api/parameters and /api/global-parameters. Operator policies and the limits of virtual hosts are parameters, too, but kept
//! elsewhere.

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
use super::error::{ApiError, escaped};
use super::list::{self, Row};
use super::query::Query;
use super::{Api, policies, put};
use crate::broker::policy::Policy;
use crate::node::definitions::{VHOST_LIMITS, limits_to_json};
use crate::node::vhosts::{Vhost, VhostLimits};
use crate::node::{Node, Refusal, parameters};
use crate::shovel;

/// The component of operator policies.
const OPERATOR_POLICY: &str = "operator_policy";
/// The name under which a virtual host has its limits.
const LIMITS: &str = "limits";

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/parameters", get(all))
        .route("/parameters/{component}", get(of_component))
        .route("/parameters/{component}/{vhost}", get(of_vhost))
        .route("/parameters/{component}/{vhost}/{name}", get(show).put(put_parameter).delete(delete))
        .route("/global-parameters", get(global_all))
        .route("/global-parameters/{name}", get(global_show).put(global_put).delete(global_delete))
}

#[derive(Clone, Debug, Serialize)]
struct ParameterRow {
    value: Json,
    vhost: Arc<str>,
    component: String,
    name: String,
}

impl Row for ParameterRow {
    fn name(&self) -> &str {
        &self.name
    }
}

/// All parameters of the virtual hosts that are wanted.
async fn rows(api: &Api, node: &Node, wanted: impl Fn(&str) -> bool) -> Vec<ParameterRow> {
    let mut rows = Vec::new();
    for (vhost, known) in node.vhosts.iter().filter(|(vhost, _)| wanted(vhost)) {
        let row = |component: &str, name: &str, value: Json| {
            let (component, name) = (component.to_owned(), name.to_owned());
            ParameterRow { value, vhost: Arc::clone(vhost), component, name }
        };
        let limits = limits_to_json(&known.limits);
        if !limits.is_empty() {
            rows.push(row(VHOST_LIMITS, LIMITS, Json::Object(limits)));
        }
        let operators = policies::policies(api, vhost, true).await;
        rows.extend(operators.iter().map(|policy| row(OPERATOR_POLICY, &policy.name, policy.to_json())));
        let of_vhost = node.parameters.iter().filter(|(_, other, ..)| *other == &**vhost);
        rows.extend(of_vhost.map(|(component, _, name, value)| row(component, name, value.clone())));
    }
    rows
}

async fn all(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.global_parameters()?;
    list::respond(rows(&api, &caller.node, |vhost| caller.opens(vhost)).await, &query)
}

async fn of_component(State(api): State<Api>, caller: Caller, Path(component): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.global_parameters()?;
    let mut rows = rows(&api, &caller.node, |vhost| caller.opens(vhost)).await;
    rows.retain(|row| row.component == component);
    list::respond(rows, &query)
}

async fn of_vhost(
    State(api): State<Api>,
    caller: Caller,
    Path((component, vhost)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    caller.policies(&vhost)?;
    let mut rows = rows(&api, &caller.node, |other| other == vhost).await;
    rows.retain(|row| row.component == component);
    list::respond(rows, &query)
}

type Name = Path<(String, String, String)>;

async fn show(State(api): State<Api>, caller: Caller, Path((component, vhost, name)): Name, query: Query) -> Result<Response, ApiError> {
    caller.policies(&vhost)?;
    let rows = rows(&api, &caller.node, |other| other == vhost).await;
    let row = rows.into_iter().find(|row| row.component == component && row.name == name).ok_or(ApiError::NotFound)?;
    Ok(list::respond_with(&row, &query))
}

async fn put_parameter(
    State(api): State<Api>,
    caller: Caller,
    Path((component, vhost, name)): Name,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    caller.policies(&vhost).map_err(ApiError::of_vhost)?;
    fields.need(&["value"])?;
    let value = fields.0.get("value").cloned().unwrap_or_default();
    let refused = |why: String| ApiError::bad_request(escaped(&why));
    if component == OPERATOR_POLICY {
        let policy = Policy::from_json(true, &name, &value).map_err(refused)?;
        return Ok(put(policies::set(&api, &caller, &vhost, true, policy).await?));
    }
    parameters::check(&component, &name, &value).map_err(refused)?;
    if component == parameters::SHOVEL {
        shovel::check(&value, caller.name(), |vhost| caller.is_local || caller.may_open(vhost)).map_err(refused)?;
    }
    let change = |node: &mut Node| {
        let known = node.vhost(&vhost).ok_or_else(|| Refusal::NoVhost(vhost.clone()))?;
        let is_new = match &*component {
            VHOST_LIMITS => known.limits == VhostLimits::default(),
            component => node.parameters.get(component, &vhost, &name).is_none(),
        };
        let entry = json!({"component": component, "vhost": vhost, "name": name, "value": value});
        node.take_parameter(&entry).map_err(Refusal::Invalid)?;
        Ok(is_new)
    };
    Ok(put(api.handle.change_node(change).await?))
}

async fn delete(State(api): State<Api>, caller: Caller, Path((component, vhost, name)): Name) -> Result<StatusCode, ApiError> {
    caller.policies(&vhost)?;
    let cleared = if component == OPERATOR_POLICY {
        policies::clear(&api, &caller, &vhost, true, &name).await?
    } else {
        let clear = |node: &mut Node| {
            if component != VHOST_LIMITS {
                return Ok(node.parameters.clear(&component, &vhost, &name));
            }
            let known = node.vhost(&vhost).ok_or_else(|| Refusal::NoVhost(vhost.clone()))?;
            let has_limits = known.limits != VhostLimits::default() && name == LIMITS;
            if has_limits {
                let without = Vhost { limits: VhostLimits::default(), ..Vhost::clone(known) };
                node.put_vhost(without);
            }
            Ok(has_limits)
        };
        api.handle.change_node(clear).await?
    };
    if cleared { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound) }
}

#[derive(Clone, Debug, Serialize)]
struct GlobalRow {
    value: Json,
    name: String,
}

impl Row for GlobalRow {
    fn name(&self) -> &str {
        &self.name
    }
}

async fn global_all(caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.global_parameters()?;
    let rows = caller.node.global_parameters.iter().map(|(name, value)| GlobalRow { value: value.clone(), name: name.clone() });
    list::respond(rows.collect(), &query)
}

async fn global_show(caller: Caller, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.global_parameters()?;
    let value = caller.node.global_parameters.get(&name).ok_or(ApiError::NotFound)?.clone();
    Ok(list::respond_with(&GlobalRow { value, name }, &query))
}

async fn global_put(State(api): State<Api>, caller: Caller, Path(name): Path<String>, fields: Fields) -> Result<StatusCode, ApiError> {
    caller.global_parameters()?;
    fields.need(&["value"])?;
    let value = fields.0.get("value").cloned().unwrap_or_default();
    let change = |node: &mut Node| Ok(node.global_parameters.insert(name, value).is_none());
    Ok(put(api.handle.change_node(change).await?))
}

async fn global_delete(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    caller.global_parameters()?;
    let clear = |node: &mut Node| Ok(node.global_parameters.remove(&name).is_some());
    if api.handle.change_node(clear).await? { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound) }
}
