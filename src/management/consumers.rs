//! /api/consumers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use serde::{Serialize, Serializer};

use super::auth::Caller;
use super::connections::{Peer, Peers};
use super::error::ApiError;
use super::list::{self, Row};
use super::query::Query;
use super::{Api, Place};
use crate::amqp::FieldTable;
use crate::broker::Broker;
use crate::broker::json::Table;
use crate::broker::view::ConsumerView;
use crate::node::users::Tag;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/consumers", get(list)).route("/consumers/{vhost}", get(list_of_vhost))
}

/// The channel that something belongs to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ChannelDetails {
    connection_name: Arc<str>,
    name: String,
    node: Arc<str>,
    number: u16,
    peer_host: Arc<str>,
    peer_port: u16,
    user: Arc<str>,
}

impl ChannelDetails {
    pub(super) fn new(peer: &Peer, number: u16, place: &Place) -> Self {
        Self {
            connection_name: Arc::clone(&peer.name),
            name: peer.channel(number),
            node: Arc::clone(&place.node),
            number,
            peer_host: Arc::clone(&peer.host),
            peer_port: peer.port,
            user: Arc::clone(&peer.user),
        }
    }
}

/// A queue or an exchange that something belongs to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Named {
    pub(super) name: Arc<str>,
    pub(super) vhost: Arc<str>,
}

/// A consumer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ConsumerRow {
    #[serde(serialize_with = "as_table")]
    arguments: FieldTable,
    ack_required: bool,
    active: bool,
    activity_status: &'static str,
    channel_details: ChannelDetails,
    consumer_tag: Box<str>,
    /// Milliseconds; 0 is no limit.
    consumer_timeout: u64,
    exclusive: bool,
    prefetch_count: u16,
    queue: Named,
}

fn as_table<S: Serializer>(table: &FieldTable, serializer: S) -> Result<S::Ok, S::Error> {
    Table(table).serialize(serializer)
}

impl Row for ConsumerRow {
    fn name(&self) -> &str {
        &self.consumer_tag
    }

    fn number(&self, column: &str) -> Option<f64> {
        (column == "prefetch_count").then(|| self.prefetch_count.into())
    }
}

impl ConsumerRow {
    /// Consumers of a virtual host with their channels.
    pub(super) fn all(broker: &Broker, place: &Place, views: Vec<ConsumerView>) -> Vec<Self> {
        let mut peers = Peers::default();
        let row = |view: ConsumerView| {
            let peer = peers.of(broker, view.connection)?;
            Some(Self {
                ack_required: view.ack_required,
                active: view.is_active(),
                activity_status: view.status.name(),
                channel_details: ChannelDetails::new(peer, view.channel, place),
                consumer_tag: view.tag,
                consumer_timeout: view.timeout.unwrap_or(0),
                exclusive: view.exclusive,
                prefetch_count: view.prefetch,
                queue: Named { name: view.queue, vhost: Arc::clone(&place.vhost) },
                arguments: view.arguments,
            })
        };
        views.into_iter().filter_map(row).collect()
    }
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    answer(&api, &caller, caller.all_vhosts(), query).await
}

async fn list_of_vhost(State(api): State<Api>, caller: Caller, Path(vhost): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.node.vhost(&vhost).ok_or(ApiError::NotFound)?;
    answer(&api, &caller, vec![vhost.into()], query).await
}

/// Who is no monitor sees what is their own.
async fn answer(api: &Api, caller: &Caller, vhosts: Vec<Arc<str>>, query: Query) -> Result<Response, ApiError> {
    let mut rows = Vec::new();
    for vhost in vhosts {
        let place = api.place(&vhost);
        let consumers = api.handle.ask(&vhost, move |asked| ConsumerRow::all(asked.broker(), &place, asked.broker().consumer_views()));
        rows.extend(consumers.await.unwrap_or_default());
    }
    if !caller.is(Tag::Monitoring) {
        rows.retain(|row| *row.channel_details.user == *caller.name());
    }
    list::respond_apart(rows, query).await
}
