//! Publishing and getting messages over HTTP, as RabbitMQ's page does it: for looking and trying, not for traffic.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::Api;
use super::amqp::{Purpose, closed};
use super::auth::Caller;
use super::body::Fields;
use super::declare::{check_queue, exchange_name};
use super::error::ApiError;
use super::values::{properties_from_json, properties_of, properties_to_json};
use crate::broker::Alarms;
use crate::client::{self, Channel, Confirmation, Delivery, Publication};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/exchanges/{vhost}/{exchange}/publish", post(publish)).route("/queues/{vhost}/{queue}/get", post(get))
}

async fn publish(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, exchange)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, ApiError> {
    caller.vhost(&vhost)?;
    fields.need(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let payload = fields.text("payload").ok_or_else(|| ApiError::bad_request("payload_not_string"))?;
    let body = match fields.text("payload_encoding") {
        Some("string") => payload.as_bytes().to_vec(),
        Some("base64") => STANDARD.decode(payload).map_err(|_| ApiError::bad_request(format!("{{not_base64,<<\"{payload}\">>}}")))?,
        other => return Err(ApiError::bad_request(format!("{{unsupported_encoding,<<\"{}\">>}}", other.unwrap_or_default()))),
    };
    let key = fields.text("routing_key").ok_or_else(|| ApiError::bad_request("routing_key should be a text"))?;
    let properties = properties_from_json(fields.get("properties").unwrap_or(&json!({})))?;
    let publication = Publication::new(exchange_name(&exchange).to_owned(), key.to_owned(), body).mandatory();
    let confirmation = confirmed(&api, &caller, &vhost, publication.with_properties(&properties)).await?;
    if !confirmation.acked {
        return Err(ApiError::TooMany("Unable to publish message. Check queue limits.".to_owned()));
    }
    Ok(super::json(StatusCode::OK, &json!({"routed": confirmation.returned.is_none()})))
}

fn refuse_during(alarms: Alarms) -> Result<(), ApiError> {
    if alarms.any() { Err(ApiError::Unavailable(format!("publishers are blocked: {}", alarms.reason()))) } else { Ok(()) }
}

/// Publishes, and waits until the broker has taken it. When an alarm comes in between it is not known whether it has.
pub(super) async fn confirmed(api: &Api, caller: &Caller, vhost: &str, publication: Publication) -> Result<Confirmation, ApiError> {
    let channel = publisher(api, caller, vhost).await?;
    let mut alarms = api.handle.on_alarms();
    tokio::select! {
        biased;
        confirmation = channel.publish(publication) => {
            let confirmation = confirmation.map_err(not_published)?;
            api.amqp.give_back(caller, vhost, channel);
            Ok(confirmation)
        }
        error = blocked(&mut alarms) => Err(error),
    }
}

/// A channel that publishes with confirms, to be given back; not while publishers are blocked. The alarm may come in between: a
/// connection that has published before is not read then, so that nothing on it is answered.
pub(super) async fn publisher(api: &Api, caller: &Caller, vhost: &str) -> Result<Channel, ApiError> {
    refuse_during(api.handle.alarms())?;
    let mut alarms = api.handle.on_alarms();
    tokio::select! {
        biased;
        channel = api.amqp.confirming(&api.handle, caller, vhost) => channel,
        error = blocked(&mut alarms) => Err(error),
    }
}

/// Waits until publishers are blocked.
pub(super) async fn blocked(alarms: &mut watch::Receiver<Alarms>) -> ApiError {
    let alarms = alarms.wait_for(|alarms| alarms.any()).await.map(|alarms| *alarms).unwrap_or_default();
    refuse_during(alarms).err().unwrap_or_else(|| ApiError::Unavailable("the node stops".to_owned()))
}

/// Here a missing exchange is a wrong request.
pub(super) fn not_published(error: client::Error) -> ApiError {
    match error {
        client::Error::Closed { by_server: true, code, text, .. } => ApiError::BadRequest(format!("{code} {text}")),
        other => closed(other),
    }
}

/// What becomes of a message that was got.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AckMode {
    AckRequeueTrue,
    AckRequeueFalse,
    RejectRequeueTrue,
    RejectRequeueFalse,
}

impl AckMode {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ack_requeue_true" => Self::AckRequeueTrue,
            "ack_requeue_false" => Self::AckRequeueFalse,
            "reject_requeue_true" => Self::RejectRequeueTrue,
            "reject_requeue_false" => Self::RejectRequeueFalse,
            _ => return None,
        })
    }
}

async fn get(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, queue)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, ApiError> {
    caller.vhost(&vhost)?;
    check_queue(&api, &vhost, &queue).await?;
    fields.need(&["ackmode", "count", "encoding"])?;
    let mode = fields.text("ackmode").and_then(AckMode::named).ok_or_else(|| ApiError::bad_request("Unsupported ackmode."))?;
    let number = |key: &str| match fields.get(key) {
        None => Ok(None),
        Some(value) => {
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            number.map(Some).ok_or_else(|| ApiError::bad_request(format!("{{not_integer,{value}}}")))
        }
    };
    let as_text = match fields.text("encoding") {
        Some("auto") => true,
        Some("base64") => false,
        _ => return Err(ApiError::bad_request("Unsupported encoding. Please use auto or base64.")),
    };
    let (count, truncate) = (number("count")?.unwrap_or(0), number("truncate")?);
    let channel = api.amqp.channel(&api.handle, &caller, &vhost, Purpose::Operations).await?;
    let mut deliveries = Vec::new();
    for _ in 0..count {
        match channel.get(&queue, mode == AckMode::AckRequeueFalse).await.map_err(closed)? {
            Some(delivery) => deliveries.push(delivery),
            None => break,
        }
    }
    // Only now, or the same message would come again. What is left unacked returns when the channel closes.
    for delivery in &deliveries {
        match mode {
            AckMode::RejectRequeueTrue => channel.reject(delivery.delivery_tag, true).await.map_err(closed)?,
            AckMode::RejectRequeueFalse => channel.reject(delivery.delivery_tag, false).await.map_err(closed)?,
            AckMode::AckRequeueTrue | AckMode::AckRequeueFalse => {}
        }
    }
    // Once it is closed all of that has happened.
    channel.close().await.map_err(closed)?;
    let messages: Vec<Json> = deliveries.iter().map(|delivery| message_to_json(delivery, as_text, truncate)).collect();
    Ok(super::json(StatusCode::OK, &messages))
}

fn message_to_json(delivery: &Delivery, as_text: bool, truncate: Option<u64>) -> Json {
    let kept = truncate.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX).min(delivery.body.len());
    let (payload, encoding) = payload(&delivery.body[..kept], as_text);
    json!({
        "payload_bytes": delivery.body.len(),
        "redelivered": delivery.redelivered,
        "exchange": String::from_utf8_lossy(&delivery.exchange),
        "routing_key": String::from_utf8_lossy(&delivery.routing_key),
        "message_count": delivery.message_count.unwrap_or(0),
        "properties": properties_to_json(&properties_of(&delivery.raw_properties)),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

/// A body for JSON, as text where it is text and that is wanted, and how it is written.
pub(super) fn payload(body: &[u8], as_text: bool) -> (String, &'static str) {
    match std::str::from_utf8(body) {
        Ok(text) if as_text => (text.to_owned(), "string"),
        _ => (STANDARD.encode(body), "base64"),
    }
}
