//! /api/shovels: how shovels do (rabbit_shovel_mgmt of RabbitMQ).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::list::{self, Row};
use super::query::Query;
use crate::client::uri::Uri;
use crate::node::parameters::SHOVEL;
use crate::shovel::{Report, State as Doing};

/// What of the definition is shown with a shovel that runs.
const ENDS: [&str; 6] = ["src-queue", "src-exchange", "src-exchange-key", "dest-queue", "dest-exchange", "dest-exchange-key"];

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/shovels", get(all))
        .route("/shovels/{vhost}", get(of_vhost))
        .route("/shovels/vhost/{vhost}/{name}", get(show).delete(remove))
        .route("/shovels/vhost/{vhost}/{name}/restart", delete(restart).post(restart))
}

#[derive(Clone, Debug, Serialize)]
struct ShovelRow {
    #[serde(skip)]
    vhost: Option<Arc<str>>,
    name: Arc<str>,
    #[serde(flatten)]
    fields: Map<String, Json>,
}

impl Row for ShovelRow {
    fn name(&self) -> &str {
        &self.name
    }
}

impl ShovelRow {
    fn of(report: &Report, node: &str) -> Self {
        let Report { id, definition, state, since, forwarded, pending, remaining, remaining_unacked } = report;
        let mut fields = Map::new();
        let mut put = |key: &str, value: Json| drop(fields.insert(key.to_owned(), value));
        put("node", json!(node));
        put("timestamp", json!(timestamp(*since)));
        put("type", json!(if id.vhost.is_some() { "dynamic" } else { "static" }));
        id.vhost.iter().for_each(|vhost| put("vhost", json!(vhost)));
        match state {
            Doing::Starting => put("state", json!("starting")),
            Doing::Terminated { reason } => {
                put("state", json!("terminated"));
                put("reason", json!(reason));
            }
            Doing::Running { source, destination, blocked } => {
                let status = if *blocked { "blocked" } else { "running" };
                put("state", json!(status));
                put("blocked_status", json!(status));
                put("src_uri", json!(source));
                put("dest_uri", json!(destination));
                put("src_protocol", json!("amqp091"));
                put("dest_protocol", json!("amqp091"));
                for key in ENDS {
                    definition.get(key).into_iter().for_each(|value| put(&key.replace('-', "_"), value.clone()));
                }
            }
        }
        let limited = |number: &Option<u64>| number.map_or(json!("unlimited"), |number| json!(number));
        put("remaining", limited(remaining));
        put("remaining_unacked", limited(remaining_unacked));
        put("pending", json!(pending));
        put("forwarded", json!(forwarded));
        Self { vhost: id.vhost.clone(), name: Arc::clone(&id.name), fields }
    }
}

/// As RabbitMQ writes it, in UTC: `2026-11-29 7:05:09`.
fn timestamp(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that the day that some have more is their last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Those that the caller may know of; those of the configuration are in no virtual host, and for administrators only.
fn rows(api: &Api, caller: &Caller) -> Vec<ShovelRow> {
    let reports = api.shovels.reports();
    let is_seen = |report: &&Report| match &report.id.vhost {
        Some(vhost) => caller.opens(vhost),
        None => caller.administrator().is_ok(),
    };
    let node = &api.handle.config().node_name;
    reports.iter().filter(is_seen).map(|report| ShovelRow::of(report, node)).collect()
}

async fn all(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.monitor()?;
    list::respond(rows(&api, &caller), &query)
}

async fn of_vhost(State(api): State<Api>, caller: Caller, Path(vhost): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.monitor()?;
    caller.node.vhost(&vhost).ok_or(ApiError::NotFound)?;
    let mut rows = rows(&api, &caller);
    rows.retain(|row| row.vhost.as_deref() == Some(&*vhost));
    list::respond(rows, &query)
}

type Name = Path<(String, String)>;

/// The parameter. Who may not read parameters is not shown who logs in, and how.
async fn show(State(api): State<Api>, caller: Caller, Path((vhost, name)): Name, query: Query) -> Result<Response, ApiError> {
    caller.monitor()?;
    caller.vhost(&vhost)?;
    // What the caller knows of the node may be older than the question.
    let mut value = api.handle.node().parameters.get(SHOVEL, &vhost, &name).ok_or(ApiError::NotFound)?.clone();
    if caller.policies(&vhost).is_err() {
        ["src-uri", "dest-uri"].into_iter().filter_map(|key| value.get_mut(key).map(without_credentials)).for_each(drop);
    }
    Ok(list::respond_with(&json!({"value": value, "vhost": vhost, "component": SHOVEL, "name": name}), &query))
}

fn without_credentials(value: &mut Json) {
    match value {
        Json::String(text) => *text = text.parse().map(|uri: Uri| uri.to_string()).unwrap_or_default(),
        Json::Array(uris) => uris.iter_mut().for_each(without_credentials),
        _ => {}
    }
}

/// There being none is no error.
async fn remove(State(api): State<Api>, caller: Caller, Path((vhost, name)): Name) -> Result<StatusCode, ApiError> {
    caller.monitor()?;
    caller.vhost(&vhost)?;
    api.handle.change_node(|node| Ok(node.parameters.clear(SHOVEL, &vhost, &name))).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn restart(State(api): State<Api>, caller: Caller, Path((vhost, name)): Name) -> Result<StatusCode, ApiError> {
    caller.monitor()?;
    caller.vhost(&vhost)?;
    if api.shovels.restart(Some(&vhost), &name) { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::NotFound) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_are_as_rabbitmq_writes_them() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01 0:00:00");
        assert_eq!(at(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(at(951_782_400), "2000-02-29 0:00:00");
        assert_eq!(at(1_795_935_909), "2026-11-29 7:05:09");
    }
}
