//! Looking at the messages of a queue, which leaves them where and as they are.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::super::Api;
use super::super::auth::Caller;
use super::super::error::ApiError;
use super::super::messages::payload;
use super::super::query::Query;
use super::super::values::{properties_of, properties_to_json};
use super::{Death, reads, text};
use crate::amqp::Message;
use crate::broker::view::{Peek, Peeked};

/// Messages shown unless the client says otherwise, and at most.
const SHOWN: usize = 10;
const SHOWN_MAX: usize = 500;
/// Bytes of a body that are shown unless the client says otherwise.
const TRUNCATE: usize = 50_000;
/// Messages that one look takes: the virtual host stands still meanwhile.
const PORTION: usize = 500;
/// Messages whose deaths are counted at most.
const COUNTED_MAX: usize = 20_000;

/// Dead letters that have died in the same way in the same place.
#[derive(Clone, Debug, Serialize)]
struct Group {
    reason: String,
    /// The queue in which they died.
    queue: String,
    /// The exchange that had taken them to it.
    exchange: String,
    count: usize,
    /// When the first and the last of them died, in seconds since the epoch.
    first_time: Option<u64>,
    last_time: Option<u64>,
    /// The keys with which they had come, a few.
    routing_keys: Vec<String>,
}

/// Routing keys that a group shows.
const KEYS_SHOWN: usize = 5;

pub(super) async fn peek(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, queue)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    reads(&api, &caller, &vhost, &queue).await?;
    let count = number(&query, "count")?.unwrap_or(SHOWN).min(SHOWN_MAX);
    let (from, truncate) = (number(&query, "from")?.unwrap_or(0), number(&query, "truncate")?.unwrap_or(TRUNCATE));
    let found = look(&api, &vhost, &queue, count, from).await?;
    let messages: Vec<Json> = found.messages.iter().map(|peeked| message_to_json(peeked, truncate)).collect();
    Ok(super::super::json(StatusCode::OK, &json!({"messages": messages, "on_disk": found.on_disk})))
}

pub(super) async fn dead_letters(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, queue)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    reads(&api, &caller, &vhost, &queue).await?;
    let mut groups: BTreeMap<(String, String, String), Group> = BTreeMap::new();
    let (mut counted, mut others, mut on_disk) = (0, 0, 0);
    while counted < COUNTED_MAX {
        let found = look(&api, &vhost, &queue, PORTION, counted).await?;
        on_disk = found.on_disk;
        counted += found.messages.len();
        for peeked in &found.messages {
            others += usize::from(!add(&mut groups, &peeked.message));
        }
        if found.messages.len() < PORTION {
            break;
        }
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    let answer = json!({"groups": groups, "counted": counted, "not_dead_lettered": others, "on_disk": on_disk});
    Ok(super::super::json(StatusCode::OK, &answer))
}

/// Counts a message in its group; false when it has never died.
fn add(groups: &mut BTreeMap<(String, String, String), Group>, message: &Message) -> bool {
    let properties = properties_to_json(&properties_of(&message.visible_properties()));
    let Some(death) = Death::Last.of(&properties) else { return false };
    let [reason, queue, exchange] = ["reason", "queue", "exchange"].map(|name| text(death, name).to_owned());
    let group = groups.entry((reason.clone(), queue.clone(), exchange.clone())).or_insert_with(|| Group {
        reason,
        queue,
        exchange,
        count: 0,
        first_time: None,
        last_time: None,
        routing_keys: Vec::new(),
    });
    group.count += 1;
    if let Some(time) = death.get("time").and_then(Json::as_u64) {
        group.first_time = Some(group.first_time.map_or(time, |first| first.min(time)));
        group.last_time = group.last_time.max(Some(time));
    }
    let key = death.get("routing-keys").and_then(Json::as_array).and_then(|keys| keys.first()?.as_str());
    if let Some(key) = key
        && group.routing_keys.len() < KEYS_SHOWN
        && !group.routing_keys.iter().any(|known| known == key)
    {
        group.routing_keys.push(key.to_owned());
    }
    true
}

/// Takes a look, at what no other connection has for itself.
async fn look(api: &Api, vhost: &str, queue: &str, count: usize, from: usize) -> Result<Peek, ApiError> {
    let name = queue.to_owned();
    let found = api.handle.ask(vhost, move |asked| {
        let is_exclusive = asked.broker().queue_view(&name)?.owner.is_some();
        Some((!is_exclusive).then(|| asked.broker().peek(&name, count, from).unwrap_or_default()))
    });
    let found = found.await.flatten().ok_or(ApiError::NotFound)?;
    found.ok_or_else(|| ApiError::bad_request(format!("queue '{queue}' in vhost '{vhost}' is exclusive to a connection")))
}

pub(in crate::management) fn message_to_json(peeked: &Peeked, truncate: usize) -> Json {
    let message = &peeked.message;
    let (payload, encoding) = payload(&start_of_body(message, truncate), true);
    json!({
        "position": peeked.position,
        "payload_bytes": message.body_len(),
        "redelivered": peeked.redelivered,
        "exchange": String::from_utf8_lossy(message.exchange()),
        "routing_key": String::from_utf8_lossy(message.routing_key()),
        "properties": properties_to_json(&properties_of(&message.visible_properties())),
        "payload": payload,
        "payload_encoding": encoding,
    })
}

/// The first bytes of a body; those of a text end between two characters.
fn start_of_body(message: &Message, bytes: usize) -> Vec<u8> {
    let mut start = message.small_body()[..bytes.min(message.small_body().len())].to_vec();
    for part in message.large_body() {
        start.extend_from_slice(&part[..part.len().min(bytes - start.len().min(bytes))]);
    }
    if start.len() < message.body_len()
        && let Err(error) = std::str::from_utf8(&start)
        && error.error_len().is_none()
    {
        start.truncate(error.valid_up_to());
    }
    start
}

pub(in crate::management) fn number(query: &Query, name: &str) -> Result<Option<usize>, ApiError> {
    let parse = |text: &str| text.parse().map_err(|_| ApiError::bad_request(format!("{name} should be a number")));
    query.get(name).map(parse).transpose()
}
