//! Declaring and deleting queues, exchanges and bindings over HTTP.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete as delete_method, post, put as put_method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use super::amqp::{Purpose, call};
use super::auth::Caller;
use super::bindings::is_called;
use super::body::Fields;
use super::error::ApiError;
use super::query::Query;
use super::values::table_from_json;
use super::{Api, put};
use crate::amqp::{AMQPClass, FieldTable, exchange, queue};
use crate::broker::view::{BindingView, DestinationKind};
use crate::client::Channel;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/queues/{vhost}/{queue}", put_method(put_queue).delete(delete_queue))
        .route("/queues/{vhost}/{queue}/contents", delete_method(purge_queue))
        .route("/queues/{vhost}/{queue}/actions", post(act))
        .route("/exchanges/{vhost}/{exchange}", put_method(put_exchange).delete(delete_exchange))
        .route("/bindings/{vhost}/e/{source}/q/{destination}", post(bind_queue))
        .route("/bindings/{vhost}/e/{source}/e/{destination}", post(bind_exchange))
        .route("/bindings/{vhost}/e/{source}/q/{destination}/{properties}", delete_method(unbind_queue))
        .route("/bindings/{vhost}/e/{source}/e/{destination}/{properties}", delete_method(unbind_exchange))
}

/// The default exchange has this name in addresses.
pub(super) fn exchange_name(name: &str) -> &str {
    if name == "amq.default" { "" } else { name }
}

async fn channel(api: &Api, caller: &Caller, vhost: &str) -> Result<Channel, ApiError> {
    if caller.node.vhost(vhost).is_none() {
        return Err(ApiError::Missing("vhost_not_found".to_owned()));
    }
    caller.vhost(vhost)?;
    api.amqp.channel(&api.handle, caller, vhost, Purpose::Operations).await
}

fn arguments(fields: &Fields) -> Result<FieldTable, ApiError> {
    match fields.get("arguments") {
        None => Ok(FieldTable::default()),
        Some(Json::Object(arguments)) => table_from_json(arguments),
        Some(Json::Array(none)) if none.is_empty() => Ok(FieldTable::default()),
        Some(_) => Err(ApiError::bad_request("arguments should be an object")),
    }
}

async fn has_queue(api: &Api, vhost: &str, name: &str) -> bool {
    let name = name.to_owned();
    api.handle.ask(vhost, move |asked| asked.broker().has_queue(&name)).await.unwrap_or(false)
}

/// 404 when there is no such queue.
pub(super) async fn check_queue(api: &Api, vhost: &str, name: &str) -> Result<(), ApiError> {
    if has_queue(api, vhost, name).await { Ok(()) } else { Err(ApiError::NotFound) }
}

async fn has_exchange(api: &Api, vhost: &str, name: &str) -> bool {
    let name = name.to_owned();
    api.handle.ask(vhost, move |asked| asked.broker().has_exchange(&name)).await.unwrap_or(false)
}

async fn put_queue(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    let channel = channel(&api, &caller, &vhost).await?;
    let is_new = !has_queue(&api, &vhost, &name).await;
    let declare = queue::Declare {
        queue: short(&name)?,
        passive: false,
        durable: fields.flag("durable")?,
        exclusive: false,
        auto_delete: fields.flag("auto_delete")?,
        nowait: false,
        arguments: arguments(&fields)?,
    };
    call(&channel, AMQPClass::Queue(queue::AMQPMethod::Declare(declare))).await?;
    Ok(put(is_new))
}

async fn delete_queue(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let channel = channel(&api, &caller, &vhost).await?;
    check_queue(&api, &vhost, &name).await?;
    let delete =
        queue::Delete { queue: short(&name)?, if_unused: query.is_set("if-unused"), if_empty: query.is_set("if-empty"), nowait: false };
    call(&channel, AMQPClass::Queue(queue::AMQPMethod::Delete(delete))).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn purge_queue(State(api): State<Api>, caller: Caller, Path((vhost, name)): Path<(String, String)>) -> Result<StatusCode, ApiError> {
    let channel = channel(&api, &caller, &vhost).await?;
    check_queue(&api, &vhost, &name).await?;
    let purge = queue::Purge { queue: short(&name)?, nowait: false };
    call(&channel, AMQPClass::Queue(queue::AMQPMethod::Purge(purge))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `sync` and `cancel_sync` of mirrors, of which there are none.
async fn act(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    caller.vhost(&vhost)?;
    check_queue(&api, &vhost, &name).await?;
    fields.need(&["action"])?;
    match fields.text("action") {
        Some("sync" | "cancel_sync") => Ok(StatusCode::NO_CONTENT),
        Some(other) => Err(ApiError::bad_request(format!("Invalid action: {other}"))),
        None => Err(ApiError::bad_request("action should be a text")),
    }
}

async fn put_exchange(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    fields: Fields,
) -> Result<StatusCode, ApiError> {
    let channel = channel(&api, &caller, &vhost).await?;
    let name = exchange_name(&name);
    let is_new = !has_exchange(&api, &vhost, name).await;
    let declare = exchange::Declare {
        exchange: short(name)?,
        kind: short(fields.text("type").unwrap_or("direct"))?,
        passive: false,
        durable: fields.flag("durable")?,
        auto_delete: fields.flag("auto_delete")?,
        internal: fields.flag("internal")?,
        nowait: false,
        arguments: arguments(&fields)?,
    };
    call(&channel, AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare))).await?;
    Ok(put(is_new))
}

async fn delete_exchange(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: Query,
) -> Result<StatusCode, ApiError> {
    let channel = channel(&api, &caller, &vhost).await?;
    let name = exchange_name(&name);
    if !has_exchange(&api, &vhost, name).await {
        return Err(ApiError::NotFound);
    }
    let delete = exchange::Delete { exchange: short(name)?, if_unused: query.is_set("if-unused"), nowait: false };
    call(&channel, AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A name that AMQP can carry.
fn short(name: &str) -> Result<crate::amqp::ShortString, ApiError> {
    if name.len() <= 255 { Ok(name.into()) } else { Err(ApiError::bad_request("a name may have 255 bytes")) }
}

type Ends = (String, String, String);

async fn bind_queue(State(api): State<Api>, caller: Caller, Path(ends): Path<Ends>, fields: Fields) -> Result<Response, ApiError> {
    bind(&api, &caller, ends, DestinationKind::Queue, &fields).await
}

async fn bind_exchange(State(api): State<Api>, caller: Caller, Path(ends): Path<Ends>, fields: Fields) -> Result<Response, ApiError> {
    bind(&api, &caller, ends, DestinationKind::Exchange, &fields).await
}

async fn bind(
    api: &Api,
    caller: &Caller,
    (vhost, source, destination): Ends,
    kind: DestinationKind,
    fields: &Fields,
) -> Result<Response, ApiError> {
    let channel = channel(api, caller, &vhost).await?;
    let (source, destination) =
        (exchange_name(&source), if kind == DestinationKind::Exchange { exchange_name(&destination) } else { &destination });
    let view = BindingView {
        source: source.into(),
        destination: destination.into(),
        destination_kind: kind,
        routing_key: fields.text("routing_key").unwrap_or_default().into(),
        arguments: arguments(fields)?,
    };
    call(&channel, binding(&view, true)?).await?;
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let location = format!("{}/{}", encode(destination), view.properties_key());
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers).into_response())
}

/// The method that makes a binding, or undoes it.
fn binding(view: &BindingView, binds: bool) -> Result<AMQPClass, ApiError> {
    let (source, destination, routing_key) = (short(&view.source)?, short(&view.destination)?, short(&view.routing_key)?);
    let arguments = view.arguments.clone();
    Ok(match (view.destination_kind, binds) {
        (DestinationKind::Queue, true) => {
            let bind = queue::Bind { queue: destination, exchange: source, routing_key, nowait: false, arguments };
            AMQPClass::Queue(queue::AMQPMethod::Bind(bind))
        }
        (DestinationKind::Queue, false) => {
            let unbind = queue::Unbind { queue: destination, exchange: source, routing_key, arguments };
            AMQPClass::Queue(queue::AMQPMethod::Unbind(unbind))
        }
        (DestinationKind::Exchange, true) => {
            let bind = exchange::Bind { destination, source, routing_key, nowait: false, arguments };
            AMQPClass::Exchange(exchange::AMQPMethod::Bind(bind))
        }
        (DestinationKind::Exchange, false) => {
            let unbind = exchange::Unbind { destination, source, routing_key, nowait: false, arguments };
            AMQPClass::Exchange(exchange::AMQPMethod::Unbind(unbind))
        }
    })
}

type EndsAndKey = (String, String, String, String);

async fn unbind_queue(State(api): State<Api>, caller: Caller, Path(binding): Path<EndsAndKey>) -> Result<StatusCode, ApiError> {
    unbind(&api, &caller, binding, DestinationKind::Queue).await
}

async fn unbind_exchange(State(api): State<Api>, caller: Caller, Path(binding): Path<EndsAndKey>) -> Result<StatusCode, ApiError> {
    unbind(&api, &caller, binding, DestinationKind::Exchange).await
}

async fn unbind(
    api: &Api,
    caller: &Caller,
    (vhost, source, destination, properties): EndsAndKey,
    kind: DestinationKind,
) -> Result<StatusCode, ApiError> {
    let channel = channel(api, caller, &vhost).await?;
    let from = exchange_name(&source).to_owned();
    let views = api.handle.ask(&vhost, move |asked| asked.broker().bindings_from(&from)).await.unwrap_or_default();
    let to = if kind == DestinationKind::Exchange { exchange_name(&destination) } else { &destination };
    let is_meant =
        |view: &BindingView| view.destination_kind == kind && *view.destination == *to && is_called(&view.properties_key(), &properties);
    let view = views.iter().find(|view| is_meant(view)).ok_or(ApiError::NotFound)?;
    call(&channel, binding(view, false)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
