//! Bindings: reading. Every queue is bound to the default exchange, which is `amq.default` in addresses.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use percent_encoding::percent_decode_str;
use serde::{Serialize, Serializer};

use super::Api;
use super::auth::Caller;
use super::declare::exchange_name;
use super::error::ApiError;
use super::list::{self, Row};
use super::query::Query;
use crate::amqp::FieldTable;
use crate::broker::Broker;
use crate::broker::json::Table;
use crate::broker::view::{BindingView, DestinationKind};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/bindings", get(list))
        .route("/bindings/{vhost}", get(list_of_vhost))
        .route("/bindings/{vhost}/e/{source}/q/{destination}", get(between_exchange_and_queue))
        .route("/bindings/{vhost}/e/{source}/e/{destination}", get(between_exchanges))
        .route("/bindings/{vhost}/e/{source}/q/{destination}/{properties}", get(show_to_queue))
        .route("/bindings/{vhost}/e/{source}/e/{destination}/{properties}", get(show_to_exchange))
        .route("/exchanges/{vhost}/{exchange}/bindings/source", get(from_exchange))
        .route("/exchanges/{vhost}/{exchange}/bindings/destination", get(to_exchange))
        .route("/queues/{vhost}/{queue}/bindings", get(of_queue))
}

#[derive(Debug, Serialize)]
struct BindingRow {
    source: Arc<str>,
    vhost: Arc<str>,
    destination: Arc<str>,
    destination_type: &'static str,
    routing_key: Arc<str>,
    #[serde(serialize_with = "as_table")]
    arguments: FieldTable,
    properties_key: String,
}

fn as_table<S: Serializer>(table: &FieldTable, serializer: S) -> Result<S::Ok, S::Error> {
    Table(table).serialize(serializer)
}

impl Row for BindingRow {
    fn name(&self) -> &str {
        &self.source
    }
}

/// The bindings of a virtual host that somebody looks for.
async fn rows<F>(api: &Api, vhost: &Arc<str>, find: F) -> Result<Vec<BindingRow>, ApiError>
where
    F: FnOnce(&Broker) -> Vec<BindingView> + Send + 'static,
{
    let views = api.handle.ask(vhost, move |asked| find(asked.broker())).await.ok_or(ApiError::NotFound)?;
    let row = |view: BindingView| BindingRow {
        properties_key: view.properties_key(),
        source: view.source,
        vhost: Arc::clone(vhost),
        destination: view.destination,
        destination_type: view.destination_kind.name(),
        routing_key: view.routing_key,
        arguments: view.arguments,
    };
    Ok(views.into_iter().map(row).collect())
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    let mut all = Vec::new();
    for vhost in caller.visible() {
        // One that is deleted meanwhile has none.
        all.extend(rows(&api, &vhost, Broker::binding_views).await.unwrap_or_default());
    }
    list::respond_apart(all, query).await
}

/// Answers with what is found in a virtual host that the caller may look into.
async fn answer<F>(api: &Api, caller: &Caller, vhost: String, query: Query, find: F) -> Result<Response, ApiError>
where
    F: FnOnce(&Broker) -> Vec<BindingView> + Send + 'static,
{
    caller.sees_vhost(&vhost)?;
    list::respond_apart(rows(api, &vhost.into(), find).await?, query).await
}

async fn list_of_vhost(State(api): State<Api>, caller: Caller, Path(vhost): Path<String>, query: Query) -> Result<Response, ApiError> {
    answer(&api, &caller, vhost, query, Broker::binding_views).await
}

async fn from_exchange(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    answer(&api, &caller, vhost, query, move |broker| broker.bindings_from(exchange_name(&name))).await
}

async fn to_exchange(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    answer(&api, &caller, vhost, query, move |broker| broker.bindings_to(exchange_name(&name))).await
}

async fn of_queue(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    answer(&api, &caller, vhost, query, move |broker| broker.bindings_of_queue(&name)).await
}

/// Bindings from an exchange to something.
fn between(broker: &Broker, source: &str, kind: DestinationKind, destination: &str) -> Vec<BindingView> {
    let mut all = match kind {
        DestinationKind::Queue => broker.bindings_of_queue(destination),
        DestinationKind::Exchange => broker.bindings_to(exchange_name(destination)),
    };
    all.retain(|binding| *binding.source == *exchange_name(source));
    all
}

async fn between_exchange_and_queue(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, source, destination)): Path<(String, String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    answer(&api, &caller, vhost, query, move |broker| between(broker, &source, DestinationKind::Queue, &destination)).await
}

async fn between_exchanges(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, source, destination)): Path<(String, String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    answer(&api, &caller, vhost, query, move |broker| between(broker, &source, DestinationKind::Exchange, &destination)).await
}

/// Whether a properties key is what an address has in its last part: as it is, or as an address decodes it.
pub(super) fn is_called(key: &str, in_address: &str) -> bool {
    key == in_address || percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy() == in_address
}

type OneBinding = Path<(String, String, String, String)>;

async fn show_to_queue(State(api): State<Api>, caller: Caller, path: OneBinding, query: Query) -> Result<Response, ApiError> {
    show(&api, &caller, path, DestinationKind::Queue, &query).await
}

async fn show_to_exchange(State(api): State<Api>, caller: Caller, path: OneBinding, query: Query) -> Result<Response, ApiError> {
    show(&api, &caller, path, DestinationKind::Exchange, &query).await
}

async fn show(
    api: &Api,
    caller: &Caller,
    Path((vhost, source, destination, props)): OneBinding,
    kind: DestinationKind,
    query: &Query,
) -> Result<Response, ApiError> {
    caller.sees_vhost(&vhost)?;
    let found = rows(api, &vhost.into(), move |broker| between(broker, &source, kind, &destination)).await?;
    let row = found.into_iter().find(|row| is_called(&row.properties_key, &props)).ok_or(ApiError::NotFound)?;
    Ok(list::respond_with(&row, query))
}
