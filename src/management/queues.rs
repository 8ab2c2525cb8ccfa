//! /api/queues: reading (behaviour §9.2). A queue that has just been declared has every field.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use super::auth::Caller;
use super::breakdown::{self, Delivered, Routed};
use super::connections::Peer;
use super::consumers::ConsumerRow;
use super::error::ApiError;
use super::format::{Garbage, iso8601};
use super::list::{self, Row};
use super::query::Query;
use super::stats::{self, Counted, Details, LENGTHS, QUEUE, Ranges, Stats};
use super::{Api, Place};
use crate::broker::json::Table;
use crate::broker::queue::QueueType;
use crate::broker::view::QueueView;

/// Queues of which views are taken at once. The virtual host stands still meanwhile, for a fraction of a millisecond.
const PORTION: usize = 500;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/queues", get(list))
        .route("/queues/detailed", get(list))
        .route("/queues/{vhost}", get(list_of_vhost))
        .route("/queues/{vhost}/{queue}", get(show))
}

/// A queue that is in a list.
#[derive(Clone, Debug, Serialize)]
struct Key {
    vhost: Arc<str>,
    name: Arc<str>,
}

impl Row for Key {
    fn name(&self) -> &str {
        &self.name
    }
}

/// How much of a queue is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Everything,
    /// With `disable_stats=true`; lengths as well with `enable_queue_totals=true`.
    Definition {
        lengths: bool,
    },
}

impl Shown {
    fn of(query: &Query) -> Self {
        if query.is_set("disable_stats") { Self::Definition { lengths: query.is_set("enable_queue_totals") } } else { Self::Everything }
    }
}

#[derive(Debug)]
struct QueueRow {
    place: Place,
    view: QueueView,
    owner: Option<Peer>,
    counted: Counted<{ QUEUE.len() }>,
    shown: Shown,
    /// `None` in lists.
    alone: Option<Alone>,
}

/// What a queue has that is shown alone.
#[derive(Debug)]
struct Alone {
    consumers: Vec<ConsumerRow>,
    incoming: Routed,
    deliveries: Delivered,
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    answer(&api, caller.visible(), query).await
}

async fn list_of_vhost(State(api): State<Api>, caller: Caller, Path(vhost): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.sees_vhost(&vhost)?;
    answer(&api, vec![vhost.into()], query).await
}

async fn answer(api: &Api, vhosts: Vec<Arc<str>>, query: Query) -> Result<Response, ApiError> {
    let mut keys = Vec::new();
    for vhost in vhosts {
        let mut names = api.handle.ask(&vhost, |asked| asked.broker().queue_names()).await.unwrap_or_default();
        names.sort_unstable();
        keys.extend(names.into_iter().map(|name| Key { vhost: Arc::clone(&vhost), name }));
    }
    let shown = Shown::of(&query);
    if query.get("page").is_some() && list::is_by_name(&query) {
        // The rest of the list is not looked at.
        let cut = list::cut(keys, &query)?;
        let rows = rows(api, cut.items(), shown).await;
        return Ok(cut.with(rows).respond(&query));
    }
    list::respond_apart(rows(api, &keys, shown).await, query).await
}

/// What there is of these queues, in this order.
async fn rows(api: &Api, keys: &[Key], shown: Shown) -> Vec<QueueRow> {
    let mut rows = Vec::with_capacity(keys.len());
    for portion in keys.chunk_by(|a, b| a.vhost == b.vhost).flat_map(|of_vhost| of_vhost.chunks(PORTION)) {
        let vhost = &portion[0].vhost;
        let names: Vec<Arc<str>> = portion.iter().map(|key| Arc::clone(&key.name)).collect();
        let views = api.handle.ask(vhost, move |asked| {
            let broker = asked.broker();
            let views = names.iter().filter_map(|name| broker.queue_view(name));
            views.map(|view| (Peer::of_owner(broker, &view), view)).collect::<Vec<_>>()
        });
        let views = views.await.unwrap_or_default();
        api.rates.of_vhost(vhost, |rates| {
            rows.extend(views.into_iter().map(|(owner, view)| {
                let values = stats::queue_values(view.counters, view.ready.messages, view.unacked.messages);
                let counted = Counted::new(values, rates.and_then(|rates| rates.queue(&view.name)));
                QueueRow { place: api.place(vhost), view, owner, counted, shown, alone: None }
            }));
        });
    }
    rows
}

async fn show(
    State(api): State<Api>,
    caller: Caller,
    Path((vhost, name)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    caller.sees_vhost(&vhost)?;
    let key = Key { vhost: vhost.into(), name: name.into() };
    let place = api.place(&key.vhost);
    let alone = api.handle.ask(&key.vhost, {
        let name = Arc::clone(&key.name);
        move |asked| {
            let broker = asked.broker();
            let consumers = ConsumerRow::all(broker, &place, broker.consumers_of_queue(&name));
            let incoming = breakdown::by_exchange(broker.routed_to_queue(&name), &place);
            (consumers, incoming, breakdown::by_channel(broker.delivered_by_queue(&name), broker, &place))
        }
    });
    let (consumers, incoming, deliveries) = alone.await.ok_or(ApiError::NotFound)?;
    let mut row = rows(&api, &[key], Shown::of(&query)).await.pop().ok_or(ApiError::NotFound)?;
    row.alone = Some(api.rates.of_vhost(&row.place.vhost, |rates| Alone {
        consumers,
        incoming: breakdown::routed(incoming, rates),
        deliveries: breakdown::delivered(deliveries, rates),
    }));
    let ranges = Ranges::of(&query);
    if ranges.any() {
        row.counted.histories = Some(api.rates.queue_before((&row.place.vhost, &row.view.name), &row.counted, ranges));
    }
    Ok(list::respond_with(&row, &query))
}

impl Row for QueueRow {
    fn name(&self) -> &str {
        &self.view.name
    }

    #[expect(clippy::cast_precision_loss, reason = "to sort by")]
    fn number(&self, column: &str) -> Option<f64> {
        let view = &self.view;
        let number = match column {
            "consumers" => view.consumers as u64,
            "memory" => view.memory,
            "message_bytes" => view.total().bytes,
            "message_bytes_ready" => view.ready.bytes,
            "message_bytes_unacknowledged" => view.unacked.bytes,
            "message_bytes_ram" => view.in_memory.bytes,
            "message_bytes_persistent" => view.persistent.bytes,
            _ => {
                let of_messages = column.strip_prefix("message_stats.");
                return self.counted.number(&QUEUE, of_messages.unwrap_or(column));
            }
        };
        Some(number as f64)
    }
}

impl Serialize for QueueRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.shown {
            Shown::Everything => self.everything().serialize(serializer),
            Shown::Definition { lengths } => {
                let [messages, messages_ready, messages_unacknowledged] = [0, 1, 2].map(|n| lengths.then_some(self.counted.values[n]));
                DefinitionJson { of: self.definition(), messages, messages_ready, messages_unacknowledged }.serialize(serializer)
            }
        }
    }
}

/// What a queue was declared with.
#[derive(Serialize)]
struct Definition<'a> {
    name: &'a str,
    vhost: &'a str,
    node: &'a str,
    state: &'static str,
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    exclusive: bool,
    arguments: Table<'a>,
}

#[derive(Serialize)]
struct DefinitionJson<'a> {
    #[serde(flatten)]
    of: Definition<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_ready: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_unacknowledged: Option<u64>,
}

/// RabbitMQ's of a classic queue: how long it is.
#[derive(Serialize)]
struct BackingQueueStatus {
    len: u64,
}

#[derive(Serialize)]
struct QueueJson<'a> {
    name: &'a str,
    vhost: &'a str,
    node: &'a str,
    state: &'static str,
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    exclusive: bool,
    arguments: Table<'a>,
    messages: u64,
    messages_details: Details<'a>,
    messages_ready: u64,
    messages_ready_details: Details<'a>,
    messages_unacknowledged: u64,
    messages_unacknowledged_details: Details<'a>,
    messages_ram: u64,
    messages_ready_ram: u64,
    messages_unacknowledged_ram: u64,
    messages_persistent: u64,
    messages_paged_out: u64,
    message_bytes: u64,
    message_bytes_ready: u64,
    message_bytes_unacknowledged: u64,
    message_bytes_ram: u64,
    message_bytes_persistent: u64,
    message_bytes_paged_out: u64,
    message_stats: Stats<'a, { QUEUE.len() }>,
    consumers: usize,
    consumer_capacity: f64,
    consumer_utilisation: f64,
    exclusive_consumer_tag: Option<&'a str>,
    single_active_consumer_tag: Option<&'a str>,
    memory: u64,
    policy: Option<&'a str>,
    operator_policy: Option<&'a str>,
    effective_policy_definition: &'a BTreeMap<String, Json>,
    head_message_timestamp: Option<u64>,
    idle_since: String,
    recoverable_slaves: Option<()>,
    reductions: u64,
    reductions_details: Details<'a>,
    garbage_collection: Garbage,
    #[serde(skip_serializing_if = "Option::is_none")]
    backing_queue_status: Option<BackingQueueStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_pid_details: Option<OwnerJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<[&'a str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_limit: Option<DeliveryLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_offset: Option<u64>,
    /// The offset of the last message.
    #[serde(skip_serializing_if = "Option::is_none")]
    committed_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readers: Option<BTreeMap<&'a str, usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_details: Option<&'a [ConsumerRow]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incoming: Option<&'a Routed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<&'a Delivered>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum DeliveryLimit {
    Of(u32),
    None(&'static str),
}

/// The connection whose exclusive queue it is.
#[derive(Serialize)]
struct OwnerJson<'a> {
    name: &'a str,
    peer_host: &'a str,
    peer_port: u16,
}

impl QueueRow {
    fn definition(&self) -> Definition<'_> {
        let view = &self.view;
        Definition {
            name: &view.name,
            vhost: &self.place.vhost,
            node: &self.place.node,
            state: "running",
            r#type: view.kind.name(),
            durable: view.durable,
            auto_delete: view.auto_delete,
            exclusive: view.owner.is_some(),
            arguments: Table(&view.arguments),
        }
    }

    fn everything(&self) -> QueueJson<'_> {
        let Self { view, counted, alone, .. } = self;
        let Definition { name, vhost, node, state, r#type, durable, auto_delete, exclusive, arguments } = self.definition();
        let [messages, messages_ready, messages_unacknowledged, ..] = counted.values;
        // Between inputs a queue has no ready message that a consumer could take.
        let consumer_capacity = if view.consumers > 0 && view.ready.messages == 0 { 1.0 } else { 0.0 };
        let applied = view.policy.as_deref();
        let is_replicated = view.kind != QueueType::Classic;
        let stream = view.stream.as_ref();
        QueueJson {
            name,
            vhost,
            node,
            state,
            r#type,
            durable,
            auto_delete,
            exclusive,
            arguments,
            messages,
            messages_details: counted.details(0),
            messages_ready,
            messages_ready_details: counted.details(1),
            messages_unacknowledged,
            messages_unacknowledged_details: counted.details(2),
            messages_ram: view.in_memory.messages,
            messages_ready_ram: view.in_memory.messages.saturating_sub(view.unacked.messages),
            messages_unacknowledged_ram: view.unacked.messages,
            messages_persistent: view.persistent.messages,
            messages_paged_out: view.paged_out.messages,
            message_bytes: view.total().bytes,
            message_bytes_ready: view.ready.bytes,
            message_bytes_unacknowledged: view.unacked.bytes,
            message_bytes_ram: view.in_memory.bytes,
            message_bytes_persistent: view.persistent.bytes,
            message_bytes_paged_out: view.paged_out.bytes,
            message_stats: counted.stats(&QUEUE, LENGTHS, QUEUE.len()),
            consumers: view.consumers,
            consumer_capacity,
            consumer_utilisation: consumer_capacity,
            exclusive_consumer_tag: view.exclusive_consumer.as_deref(),
            single_active_consumer_tag: view.active_consumer.as_ref().map(|active| &*active.tag),
            memory: view.memory,
            policy: applied.and_then(|applied| applied.policy.as_deref()),
            operator_policy: applied.and_then(|applied| applied.operator_policy.as_deref()),
            effective_policy_definition: applied.map_or(&EMPTY, |applied| applied.definition.values()),
            head_message_timestamp: view.head_timestamp,
            idle_since: iso8601(view.idle_since),
            recoverable_slaves: None,
            reductions: 0,
            reductions_details: Details { rate: 0.0, history: None },
            garbage_collection: Garbage::NONE,
            backing_queue_status: (!is_replicated).then_some(BackingQueueStatus { len: messages_ready }),
            owner_pid_details: self.owner.as_ref().map(|owner| OwnerJson {
                name: &owner.name,
                peer_host: &owner.host,
                peer_port: owner.port,
            }),
            leader: is_replicated.then_some(node),
            members: is_replicated.then_some([node]),
            online: is_replicated.then_some([node]),
            delivery_limit: (view.kind == QueueType::Quorum)
                .then(|| view.delivery_limit.map_or(DeliveryLimit::None("unlimited"), DeliveryLimit::Of)),
            first_offset: stream.map(|stream| stream.first_offset),
            committed_offset: stream.map(|stream| stream.next_offset.saturating_sub(1)),
            segments: stream.map(|stream| stream.segments),
            readers: stream.map(|stream| BTreeMap::from([(node, stream.readers)])),
            consumer_details: alone.as_ref().map(|alone| &*alone.consumers),
            incoming: alone.as_ref().map(|alone| &alone.incoming),
            deliveries: alone.as_ref().map(|alone| &alone.deliveries),
        }
    }
}

/// What policies set where none applies.
static EMPTY: BTreeMap<String, Json> = BTreeMap::new();
