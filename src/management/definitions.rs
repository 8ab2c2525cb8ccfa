//! /api/definitions, of the whole node and of one virtual host: what exists, to be taken in elsewhere or again (behaviour §9.1).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value as Json, json};

use super::auth::Caller;
use super::error::{ApiError, escaped};
use super::query::Query;
use super::{Api, multipart};
use crate::broker::Broker;
use crate::broker::policy::Policy;
use crate::broker::view::{BindingView, DestinationKind, ExchangeView, QueueView};
use crate::node::definitions::limits_to_json;
use crate::server::ImportError;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/definitions", get(export).post(import))
        .route("/definitions/{vhost}", get(export_vhost).post(import_vhost))
        .route("/all-configuration", get(export).post(import))
}

/// What a virtual host has.
struct Contents {
    policies: Vec<Policy>,
    operator_policies: Vec<Policy>,
    exchanges: Vec<ExchangeView>,
    queues: Vec<QueueView>,
    bindings: Vec<BindingView>,
}

impl Contents {
    fn of(broker: &Broker) -> Self {
        Self {
            policies: broker.policy_views(false),
            operator_policies: broker.policy_views(true),
            exchanges: broker.exchange_views(),
            queues: broker.queue_views(),
            bindings: broker.binding_views(),
        }
    }

    /// Adds its definitions to the sections. Exclusive queues cannot be restored, nor can bindings to them.
    fn add_to(&self, sections: &mut Map<String, Json>, vhost: &str) {
        let exclusive: BTreeSet<&Arc<str>> = self.queues.iter().filter(|queue| queue.owner.is_some()).map(|queue| &queue.name).collect();
        let is_lasting = |b: &&BindingView| b.destination_kind == DestinationKind::Exchange || !exclusive.contains(&b.destination);
        let bindings = self.bindings.iter().filter(is_lasting).filter_map(BindingView::to_definition);
        let mut add = |section: &str, entries: &mut dyn Iterator<Item = Map<String, Json>>| {
            let all = sections.entry(section).or_insert_with(|| json!([]));
            if let Json::Array(all) = all {
                all.extend(entries.map(|mut entry| {
                    entry.insert("vhost".to_owned(), json!(vhost));
                    Json::Object(entry)
                }));
            }
        };
        let operators = self.operator_policies.iter().map(|policy| {
            let entry = json!({"component": "operator_policy", "name": policy.name, "value": policy.to_json()});
            into_map(entry)
        });
        let policies = self.policies.iter().map(|policy| {
            let mut entry = into_map(policy.to_json());
            entry.insert("name".to_owned(), json!(policy.name));
            entry
        });
        add("parameters", &mut operators.into_iter());
        add("policies", &mut policies.into_iter());
        add("queues", &mut self.queues.iter().filter_map(QueueView::to_definition));
        add("exchanges", &mut self.exchanges.iter().filter_map(ExchangeView::to_definition));
        add("bindings", &mut bindings.into_iter());
    }
}

fn into_map(json: Json) -> Map<String, Json> {
    if let Json::Object(map) = json { map } else { Map::new() }
}

/// What definitions begin with.
fn head(api: &Api) -> Map<String, Json> {
    let version = api.handle.node().settings.profile.version;
    into_map(json!({
        "rabbit_version": version,
        "rabbitmq_version": version,
        "product_name": "RabbitMQ",
        "product_version": version,
    }))
}

async fn export(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.administrator()?;
    let mut sections = head(&api);
    let cluster = caller.node.cluster_name();
    sections.insert("rabbitmq_definition_format".to_owned(), json!("cluster"));
    sections.insert("original_cluster_name".to_owned(), json!(cluster));
    sections.insert("explanation".to_owned(), json!(format!("Definitions of cluster '{cluster}'")));
    sections.extend(caller.node.to_definitions(None));
    for vhost in caller.node.vhosts.keys() {
        if let Some(contents) = api.handle.ask(vhost, |asked| Contents::of(asked.broker())).await {
            contents.add_to(&mut sections, vhost);
        }
    }
    Ok(download(&sections, &query))
}

async fn export_vhost(State(api): State<Api>, caller: Caller, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.administrator()?;
    let no_vhost = || ApiError::bad_request("vhost_not_found");
    let vhost = caller.node.vhost(&name).ok_or_else(no_vhost)?;
    let contents = api.handle.ask(&name, |asked| Contents::of(asked.broker())).await.ok_or_else(no_vhost)?;
    let mut sections = head(&api);
    sections.insert("rabbitmq_definition_format".to_owned(), json!("single_virtual_host"));
    sections.insert("original_vhost_name".to_owned(), json!(name));
    sections.insert("explanation".to_owned(), json!(format!("Definitions of virtual host '{name}'")));
    sections.insert("metadata".to_owned(), super::vhosts::metadata(&api, vhost));
    sections.insert("description".to_owned(), json!(vhost.description));
    sections.insert("limits".to_owned(), Json::Object(limits_to_json(&vhost.limits)));
    sections.extend(caller.node.to_definitions(Some(&name)));
    contents.add_to(&mut sections, &name);
    for entry in sections.values_mut().filter_map(Json::as_array_mut).flatten().filter_map(Json::as_object_mut) {
        entry.remove("vhost");
    }
    Ok(download(&sections, &query))
}

/// Answers with definitions, for a browser to keep as a file if it asks so.
fn download(sections: &Map<String, Json>, query: &Query) -> Response {
    let mut response = super::json(StatusCode::OK, sections);
    let is_token = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~@".contains(&b));
    if let Some(name) = query.get("download").filter(is_token)
        && let Ok(value) = HeaderValue::from_str(&format!("attachment; filename={name}"))
    {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

async fn import(State(api): State<Api>, caller: Caller, request: Request) -> Result<Response, ApiError> {
    take_in(&api, &caller, None, request).await
}

async fn import_vhost(State(api): State<Api>, caller: Caller, Path(name): Path<String>, request: Request) -> Result<Response, ApiError> {
    take_in(&api, &caller, Some(&name), request).await
}

async fn take_in(api: &Api, caller: &Caller, vhost: Option<&str>, request: Request) -> Result<Response, ApiError> {
    caller.administrator()?;
    if vhost.is_some_and(|vhost| caller.node.vhost(vhost).is_none()) {
        return Err(ApiError::no_vhost());
    }
    let Some(form) = Form::of(request.headers()) else { return Ok(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response()) };
    let body = Bytes::from_request(request, &()).await.map_err(|_| super::body::too_large())?;
    let (definitions, redirect) = form.take_apart(&body);
    let sections = parse(definitions).ok_or_else(|| ApiError::bad_request("failed_to_parse_json"))?;
    api.handle.import(sections, vhost, caller.name()).await.map_err(|error| match error {
        ImportError::Refused(refused) => {
            tracing::error!("definitions not taken in: {refused}");
            ApiError::bad_request(escaped(&refused.reason()))
        }
        ImportError::Disk(why) => ApiError::Unavailable(why),
    })?;
    let to = redirect.and_then(|to| HeaderValue::from_bytes(to).ok());
    Ok(match to {
        Some(to) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// How the definitions are in the body.
enum Form {
    /// They are the body.
    Whole,
    /// As a file of a form with this boundary.
    Parts(String),
}

impl Form {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Some(Self::Whole) };
        let kind = kind.to_str().ok()?;
        if kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Some(Self::Whole);
        }
        multipart::boundary(kind).map(|boundary| Self::Parts(boundary.to_owned()))
    }

    /// The definitions, and where a browser goes when they have been taken in.
    fn take_apart<'a>(&self, body: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        let Self::Parts(boundary) = self else { return (body, None) };
        let parts = multipart::parts(body, boundary);
        let named = |name: &str| parts.iter().find(|part| part.name == name).map(|part| part.value);
        // A form without a file has no definitions, which is not the same as empty ones.
        (named("file").unwrap_or(b"-"), named("redirect"))
    }
}

fn parse(definitions: &[u8]) -> Option<Map<String, Json>> {
    let definitions = definitions.strip_prefix(b"\xef\xbb\xbf").unwrap_or(definitions);
    if definitions.is_empty() {
        return Some(Map::new());
    }
    serde_json::from_slice(definitions).ok()
}
