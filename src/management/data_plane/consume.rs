//! Getting messages by long polls and as a stream of events, and acknowledging them.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::sessions::{Owner, Sessions, Settlement, Token};
use crate::client::{self, Channel, Consume, Consumer, Delivery};
use crate::management::Api;
use crate::management::amqp::closed;
use crate::management::auth::{Caller, Client};
use crate::management::body::Fields;
use crate::management::error::ApiError;
use crate::management::messages::payload;
use crate::management::query::Query;
use crate::management::values::{properties_of, properties_to_json};

/// Messages in one answer at most.
const COUNT_MAX: u16 = 1000;
/// How long a poll may wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long messages may wait for their acknowledgement unless the client says otherwise, and at most.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);
const ACK_TIMEOUT_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// Unacknowledged messages of a stream of events unless the client says otherwise.
const PREFETCH: u16 = 20;
/// How often a stream of events on which nothing happens says that it is there.
const COMMENT_EVERY: Duration = Duration::from_secs(15);

/// Who acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acks {
    /// The client, by tokens.
    Client,
    /// Nobody: a message counts as consumed when it is sent.
    Nobody,
}

fn acks(query: &Query) -> Result<Acks, ApiError> {
    match query.get("ack") {
        None | Some("manual") => Ok(Acks::Client),
        Some("auto") => Ok(Acks::Nobody),
        Some(other) => Err(ApiError::bad_request(format!("ack is manual or auto, not '{other}'"))),
    }
}

fn number<T: std::str::FromStr + PartialOrd>(
    query: &Query,
    name: &str,
    usual: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, ApiError> {
    let Some(text) = query.get(name) else { return Ok(usual) };
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| ApiError::bad_request(format!("{name} is out of range: {text}")))
}

fn seconds(query: &Query, name: &str, usual: Duration, max: Duration) -> Result<Duration, ApiError> {
    number(query, name, usual.as_secs(), 0..=max.as_secs()).map(Duration::from_secs)
}

/// Waits until there is at least one message, or for `wait` seconds, and answers with up to `count` of those that are there.
pub(super) async fn poll(
    State(api): State<Api>,
    Client(caller): Client,
    Path((vhost, queue)): Path<(String, String)>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let raw = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes() == b"application/octet-stream");
    let count = if raw { 1 } else { number(&query, "count", 1, 1..=COUNT_MAX)? };
    let wait = seconds(&query, "wait", Duration::ZERO, WAIT_MAX)?;
    let ack_timeout = seconds(&query, "ack_timeout", ACK_TIMEOUT, ACK_TIMEOUT_MAX)?;
    let acks = acks(&query)?;
    let channel = channel(&api, &caller, &vhost).await?;
    let deliveries = take(&channel, &queue, count, wait).await.map_err(closed)?;
    let tokens: Vec<Option<Token>> = match acks {
        Acks::Nobody => {
            if let Some(last) = deliveries.last() {
                channel.ack(last.delivery_tag, true).await.map_err(closed)?;
            }
            channel.close().await.map_err(closed)?;
            deliveries.iter().map(|_| None).collect()
        }
        Acks::Client if deliveries.is_empty() => Vec::new(),
        Acks::Client => {
            let session = api.sessions.open(owner(&caller, &vhost), channel);
            let tokens = deliveries.iter().map(|delivery| Some(api.sessions.add(session, delivery.delivery_tag))).collect();
            api.sessions.complete(&api.handle, session, ack_timeout);
            tokens
        }
    };
    let messages = deliveries.iter().zip(tokens);
    if raw {
        let message = messages.map(|(delivery, token)| as_it_is(delivery, token)).next();
        return Ok(message.unwrap_or_else(|| StatusCode::NO_CONTENT.into_response()));
    }
    let messages: Vec<Json> = messages.map(|(delivery, token)| message_to_json(delivery, token)).collect();
    Ok(crate::management::json(StatusCode::OK, &messages))
}

fn owner<'a>(caller: &'a Caller, vhost: &'a str) -> Owner<'a> {
    Owner { user: &caller.user.name, vhost }
}

async fn channel(api: &Api, caller: &Caller, vhost: &str) -> Result<Channel, ApiError> {
    caller.vhost(vhost)?;
    api.amqp.channel(&api.handle, caller, vhost, crate::management::amqp::Purpose::Operations).await
}

/// Up to so many messages: those that are there, or else the first that come in this time.
async fn take(channel: &Channel, queue: &str, count: u16, wait: Duration) -> Result<Vec<Delivery>, client::Error> {
    let mut taken = Vec::new();
    let until = Instant::now() + wait;
    while taken.len() < usize::from(count) {
        match channel.get(queue, false).await {
            Ok(Some(delivery)) => taken.push(delivery),
            Ok(None) => break,
            Err(error) => return Err(error),
        }
    }
    if !taken.is_empty() || wait.is_zero() {
        return Ok(taken);
    }
    channel.qos(count, false).await?;
    let mut consumer = channel.consume(Consume::from(queue)).await?;
    if let Ok(first) = timeout_at(until, consumer.next()).await {
        taken.extend(first?);
    }
    // What was sent before the broker has heard of it still comes.
    channel.cancel(consumer.tag()).await?;
    while let Some(delivery) = consumer.next().await? {
        taken.push(delivery);
    }
    Ok(taken)
}

fn message_to_json(delivery: &Delivery, token: Option<Token>) -> Json {
    let (payload, encoding) = payload(&delivery.body, true);
    let mut message = json!({
        "redelivered": delivery.redelivered,
        "exchange": String::from_utf8_lossy(&delivery.exchange),
        "routing_key": String::from_utf8_lossy(&delivery.routing_key),
        "properties": properties_to_json(&properties_of(&delivery.raw_properties)),
        "payload": payload,
        "payload_encoding": encoding,
    });
    if let Some(token) = token {
        message["ack_token"] = token.to_string().into();
    }
    message
}

/// A message whose body is the answer's, with all else in headers.
fn as_it_is(delivery: &Delivery, token: Option<Token>) -> Response {
    let properties = properties_of(&delivery.raw_properties);
    let text = |text: &Option<crate::amqp::ShortString>| text.as_ref().map(|text| text.as_str().as_bytes().to_vec());
    let kind = text(properties.content_type()).unwrap_or_else(|| b"application/octet-stream".to_vec());
    let fields = [
        ("content-type", Some(kind)),
        ("x-ack-token", token.map(|token| token.to_string().into_bytes())),
        ("x-exchange", Some(delivery.exchange.to_vec())),
        ("x-routing-key", Some(delivery.routing_key.to_vec())),
        ("x-redelivered", Some(delivery.redelivered.to_string().into_bytes())),
        ("x-message-id", text(properties.message_id())),
        ("x-correlation-id", text(properties.correlation_id())),
        ("x-reply-to", text(properties.reply_to())),
        ("x-type", text(properties.kind())),
    ];
    let mut response = Response::new(Body::from(delivery.body.clone()));
    for (name, value) in fields {
        // A value that no header can have is left out.
        if let Some(Ok(value)) = value.map(|value| HeaderValue::from_bytes(&value)) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Settles messages: `{"tokens": […]}`, with `"requeue": true` or `"reject": true` for those that are not done with.
pub(super) async fn settle(
    State(api): State<Api>,
    Client(caller): Client,
    Path(vhost): Path<String>,
    fields: Fields,
) -> Result<Response, ApiError> {
    caller.vhost(&vhost)?;
    let tokens = fields.get("tokens").and_then(Json::as_array).ok_or_else(|| ApiError::bad_request("[{key_missing,tokens}]"))?;
    let how = match (fields.flag("requeue")?, fields.flag("reject")?) {
        (true, _) => Settlement::Nack { requeue: true },
        (false, true) => Settlement::Nack { requeue: false },
        (false, false) => Settlement::Ack,
    };
    let mut settled = 0;
    let mut gone = Vec::new();
    let mut sessions = BTreeSet::new();
    for text in tokens {
        let token = text.as_str().and_then(Token::parse).ok_or_else(|| ApiError::bad_request(format!("no token: {text}")))?;
        if api.sessions.settle(owner(&caller, &vhost), token, how).await.map_err(closed)? {
            settled += 1;
            sessions.insert(token.session());
        } else {
            gone.push(text.clone());
        }
    }
    api.sessions.finish(&sessions).await.map_err(closed)?;
    Ok(crate::management::json(StatusCode::OK, &json!({"settled": settled, "gone": gone})))
}

/// Messages as they come, as server-sent events.
pub(super) async fn stream(
    State(api): State<Api>,
    Client(caller): Client,
    Path((vhost, queue)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let acks = acks(&query)?;
    let prefetch = number(&query, "prefetch", PREFETCH, 1..=COUNT_MAX)?;
    let channel = channel(&api, &caller, &vhost).await?;
    channel.qos(prefetch, false).await.map_err(closed)?;
    let consume = Consume { no_ack: acks == Acks::Nobody, ..Consume::from(queue) };
    let consumer = channel.consume(consume).await.map_err(closed)?;
    let session = (acks == Acks::Client).then(|| api.sessions.open(owner(&caller, &vhost), channel));
    let (events, body) = mpsc::channel(1);
    api.handle.spawn(send_events(consumer, Arc::new(Lease { sessions: api.sessions.clone(), session }), events));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Body::new(Events(body))).into_response())
}

/// A session that ends with the stream it belongs to.
struct Lease {
    sessions: Sessions,
    session: Option<u64>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.into_iter().for_each(|session| self.sessions.close(session));
    }
}

async fn send_events(mut consumer: Consumer, lease: Arc<Lease>, events: mpsc::Sender<Bytes>) {
    loop {
        let next = tokio::select! {
            next = consumer.next() => next,
            () = tokio::time::sleep(COMMENT_EVERY) => {
                if events.send(Bytes::from_static(b": nothing new\n\n")).await.is_err() {
                    return;
                }
                continue;
            }
            () = events.closed() => return,
        };
        let event = match next {
            Ok(Some(delivery)) => {
                let token = lease.session.map(|session| lease.sessions.add(session, delivery.delivery_tag));
                let id = token.map_or_else(String::new, |token| format!("id: {token}\n"));
                format!("{id}event: message\ndata: {}\n\n", message_to_json(&delivery, token))
            }
            Ok(None) => "event: cancelled\ndata: {}\n\n".to_owned(),
            Err(error) => format!("event: error\ndata: {}\n\n", json!({"reason": error.to_string()})),
        };
        let is_last = !event.contains("event: message\n");
        if events.send(event.into()).await.is_err() || is_last {
            return;
        }
    }
}

/// The body of an answer that goes on.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
