//! /api/channels.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde::{Serialize, Serializer};

use super::auth::Caller;
use super::breakdown::{self, Delivered, Published};
use super::connections::{Peer, Peers};
use super::consumers::ConsumerRow;
use super::error::ApiError;
use super::format::{Garbage, iso8601};
use super::list::{self, Row};
use super::query::Query;
use super::stats::{self, CHANNEL, Counted, Details, Stats};
use super::{Api, Place};
use crate::broker::view::ChannelView;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/channels", get(list)).route("/channels/{name}", get(show)).route("/vhosts/{vhost}/channels", get(list_of_vhost))
}

/// An open channel.
#[derive(Debug)]
pub(super) struct ChannelRow {
    place: Place,
    name: String,
    peer: Peer,
    view: ChannelView,
    counted: Counted<{ CHANNEL.len() }>,
    /// `None` in lists.
    alone: Option<Alone>,
}

/// What a channel has that is shown alone.
#[derive(Debug)]
struct Alone {
    consumers: Vec<ConsumerRow>,
    deliveries: Delivered,
    publishes: Published,
}

impl Row for ChannelRow {
    fn name(&self) -> &str {
        &self.name
    }

    #[expect(clippy::cast_precision_loss, reason = "to sort by")]
    fn number(&self, column: &str) -> Option<f64> {
        let view = &self.view;
        let number = match column {
            "consumer_count" => view.consumer_count as u64,
            "messages_unacknowledged" => view.unacked as u64,
            "messages_unconfirmed" => view.unconfirmed,
            "messages_uncommitted" => view.uncommitted as u64,
            "prefetch_count" => view.prefetch_count.into(),
            _ => return self.counted.number(&CHANNEL, column.strip_prefix("message_stats.")?),
        };
        Some(number as f64)
    }
}

#[derive(Serialize)]
struct ConnectionDetails<'a> {
    name: &'a str,
    peer_host: &'a str,
    peer_port: u16,
}

#[derive(Serialize)]
struct ChannelJson<'a> {
    name: &'a str,
    number: u16,
    node: &'a str,
    vhost: &'a str,
    user: &'a str,
    user_who_performed_action: &'a str,
    state: &'static str,
    connection_details: ConnectionDetails<'a>,
    confirm: bool,
    transactional: bool,
    prefetch_count: u16,
    global_prefetch_count: u16,
    consumer_count: usize,
    messages_unacknowledged: usize,
    messages_unconfirmed: u64,
    messages_uncommitted: usize,
    acks_uncommitted: usize,
    pending_raft_commands: u64,
    message_stats: Stats<'a, { CHANNEL.len() }>,
    idle_since: String,
    reductions: u64,
    reductions_details: Details<'a>,
    garbage_collection: Garbage,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_details: Option<&'a [ConsumerRow]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<&'a Delivered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publishes: Option<&'a Published>,
}

impl Serialize for ChannelRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { place, name, peer, view, counted, alone } = self;
        let json = ChannelJson {
            name,
            number: view.number,
            node: &place.node,
            vhost: &place.vhost,
            user: &peer.user,
            user_who_performed_action: &peer.user,
            state: "running",
            connection_details: ConnectionDetails { name: &peer.name, peer_host: &peer.host, peer_port: peer.port },
            confirm: view.confirm,
            transactional: view.transactional,
            prefetch_count: view.prefetch_count,
            global_prefetch_count: view.global_prefetch_count,
            consumer_count: view.consumer_count,
            messages_unacknowledged: view.unacked,
            messages_unconfirmed: view.unconfirmed,
            messages_uncommitted: view.uncommitted,
            acks_uncommitted: view.acks_uncommitted,
            pending_raft_commands: 0,
            message_stats: counted.stats(&CHANNEL, 0, CHANNEL.len()),
            idle_since: iso8601(view.idle_since),
            reductions: 0,
            reductions_details: Details { rate: 0.0, history: None },
            garbage_collection: Garbage::NONE,
            consumer_details: alone.as_ref().map(|alone| &*alone.consumers),
            deliveries: alone.as_ref().map(|alone| &alone.deliveries),
            publishes: alone.as_ref().map(|alone| &alone.publishes),
        };
        json.serialize(serializer)
    }
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    answer(&api, &caller, caller.all_vhosts(), query).await
}

async fn list_of_vhost(State(api): State<Api>, caller: Caller, Path(vhost): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.sees_vhost(&vhost)?;
    answer(&api, &caller, vec![vhost.into()], query).await
}

/// Who is no monitor sees what is their own.
async fn answer(api: &Api, caller: &Caller, vhosts: Vec<Arc<str>>, query: Query) -> Result<Response, ApiError> {
    let mut rows = Vec::new();
    for vhost in vhosts {
        let shows = caller.shows();
        rows.extend(rows_where(api, &vhost, move |_, peer| shows(&peer.user)).await);
    }
    list::respond_apart(rows, query).await
}

/// The channels of a virtual host that are meant.
pub(super) async fn rows_where(
    api: &Api,
    vhost: &Arc<str>,
    is_meant: impl Fn(&ChannelView, &Peer) -> bool + Send + 'static,
) -> Vec<ChannelRow> {
    let found = api.handle.ask(vhost, move |asked| {
        let broker = asked.broker();
        let mut peers = Peers::default();
        let with_peer = |view: ChannelView| Some((peers.of(broker, view.connection)?.clone(), view));
        broker.channel_views().into_iter().filter_map(with_peer).filter(|(peer, view)| is_meant(view, peer)).collect::<Vec<_>>()
    });
    let found = found.await.unwrap_or_default();
    api.rates.of_vhost(vhost, |rates| {
        let row = |(peer, view): (Peer, ChannelView)| {
            let rates = rates.and_then(|rates| rates.channel(peer.serial, view.number));
            let counted = Counted::new(stats::channel_values(view.counters), rates);
            ChannelRow { place: api.place(vhost), name: peer.channel(view.number), peer, view, counted, alone: None }
        };
        found.into_iter().map(row).collect()
    })
}

async fn show(State(api): State<Api>, caller: Caller, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    for vhost in caller.node.vhosts.keys() {
        let meant = name.clone();
        let Some(mut row) = rows_where(&api, vhost, move |view, peer| peer.channel(view.number) == meant).await.pop() else { continue };
        caller.owns(&row.peer.user, false)?;
        let (of, connection, number) = (api.place(vhost), row.view.connection, row.view.number);
        let alone = api.handle.ask(vhost, move |asked| {
            let broker = asked.broker();
            let consumers = ConsumerRow::all(broker, &of, broker.consumers_of_channel(connection, number));
            let deliveries = breakdown::by_queue(broker.delivered_to_channel(connection, number), &of);
            (consumers, deliveries, breakdown::by_exchange(broker.published_by_channel(connection, number), &of))
        });
        let (consumers, deliveries, publishes) = alone.await.ok_or(ApiError::NotFound)?;
        row.alone = Some(api.rates.of_vhost(vhost, |rates| Alone {
            consumers,
            deliveries: breakdown::delivered(deliveries, rates),
            publishes: breakdown::published(publishes, rates),
        }));
        return Ok(list::respond_with(&row, &query));
    }
    Err(ApiError::NotFound)
}
