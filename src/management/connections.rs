//! /api/connections: looking at them, and ending them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::{Serialize, Serializer};

use super::auth::Caller;
use super::channels;
use super::error::ApiError;
use super::format::Garbage;
use super::list::{self, Row};
use super::query::Query;
use super::stats::{CONNECTION, Counted, Details};
use super::{Api, Place};
use crate::amqp::{AMQPValue, FieldTable};
use crate::broker::json::Table;
use crate::broker::view::{ConnectionView, QueueView};
use crate::broker::{Broker, ConnectionId, Connections, Input};
use crate::server::Wire;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/connections", get(list))
        .route("/connections/username/{user}", get(list_of_user).delete(close_all_of_user))
        .route("/connections/{name}", get(show).delete(close))
        .route("/connections/{name}/channels", get(list_channels))
        .route("/connections/{name}/sessions", get(sessions))
        .route("/vhosts/{vhost}/connections", get(list_of_vhost))
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// RabbitMQ's name of the connection.
    pub(super) name: Arc<str>,
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) user: Arc<str>,
    pub(super) serial: u64,
}

impl Peer {
    fn new(view: &ConnectionView) -> Self {
        Self {
            name: view.origin.name().into(),
            host: view.origin.peer.ip().to_canonical().to_string().into(),
            port: view.origin.peer.port(),
            user: Arc::clone(&view.user),
            serial: view.serial,
        }
    }

    /// Of the connection whose exclusive queue it is.
    pub(super) fn of_owner(broker: &Broker, queue: &QueueView) -> Option<Self> {
        broker.connection_view(queue.owner?).map(|view| Self::new(&view))
    }

    /// What a channel of the connection is called.
    pub(super) fn channel(&self, number: u16) -> String {
        format!("{} ({number})", self.name)
    }
}

/// Connections that have been looked at, at one moment.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<ConnectionId, Option<Peer>>);

impl Peers {
    pub(super) fn of(&mut self, broker: &Broker, id: ConnectionId) -> Option<&Peer> {
        self.0.entry(id).or_insert_with(|| broker.connection_view(id).map(|view| Peer::new(&view))).as_ref()
    }
}

#[derive(Debug)]
struct ConnectionRow {
    place: Place,
    peer: Peer,
    view: ConnectionView,
    wire: Wire,
    client_properties: FieldTable,
    counted: Counted<{ CONNECTION.len() }>,
}

impl Row for ConnectionRow {
    fn name(&self) -> &str {
        &self.peer.name
    }

    #[expect(clippy::cast_precision_loss, reason = "to sort by")]
    fn number(&self, column: &str) -> Option<f64> {
        match column {
            "channels" => Some(self.view.channels as f64),
            _ => self.counted.number(&CONNECTION, column),
        }
    }
}

#[derive(Serialize)]
struct ConnectionJson<'a> {
    name: &'a str,
    user_provided_name: Option<&'a str>,
    node: &'a str,
    r#type: &'static str,
    protocol: &'static str,
    vhost: &'a str,
    user: &'a str,
    user_who_performed_action: &'a str,
    auth_mechanism: &'a str,
    state: &'static str,
    connected_at: u64,
    channels: usize,
    channel_max: u16,
    frame_max: usize,
    timeout: u16,
    client_properties: Table<'a>,
    host: String,
    port: u16,
    peer_host: &'a str,
    peer_port: u16,
    ssl: bool,
    ssl_protocol: Option<&'a str>,
    ssl_key_exchange: Option<&'a str>,
    ssl_cipher: Option<&'a str>,
    ssl_hash: Option<&'a str>,
    peer_cert_subject: Option<&'a str>,
    peer_cert_issuer: Option<&'a str>,
    peer_cert_validity: Option<&'a str>,
    recv_oct: u64,
    recv_oct_details: Details<'a>,
    recv_cnt: u64,
    send_oct: u64,
    send_oct_details: Details<'a>,
    send_cnt: u64,
    send_pend: usize,
    reductions: u64,
    reductions_details: Details<'a>,
    garbage_collection: Garbage,
}

impl ConnectionRow {
    fn user_provided_name(&self) -> Option<&str> {
        match self.client_properties.inner().get("connection_name")? {
            AMQPValue::LongString(name) => std::str::from_utf8(name.as_bytes()).ok(),
            _ => None,
        }
    }
}

impl Serialize for ConnectionRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { place, peer, view, wire, client_properties, counted } = self;
        let ssl = view.origin.ssl.as_deref();
        let certificate = ssl.and_then(|ssl| ssl.certificate.as_ref());
        let json = ConnectionJson {
            name: &peer.name,
            user_provided_name: self.user_provided_name(),
            node: &place.node,
            r#type: "network",
            protocol: "AMQP 0-9-1",
            vhost: &place.vhost,
            user: &view.user,
            user_who_performed_action: &view.user,
            auth_mechanism: &view.origin.mechanism,
            state: view.state.name(),
            connected_at: view.connected_at.0,
            channels: view.channels,
            channel_max: view.channel_max,
            frame_max: view.frame_max,
            timeout: view.origin.heartbeat_s,
            client_properties: Table(client_properties),
            host: view.origin.local.ip().to_canonical().to_string(),
            port: view.origin.local.port(),
            peer_host: &peer.host,
            peer_port: peer.port,
            ssl: ssl.is_some(),
            ssl_protocol: ssl.map(|ssl| ssl.protocol),
            ssl_key_exchange: ssl.map(|ssl| &*ssl.key_exchange),
            ssl_cipher: ssl.map(|ssl| &*ssl.cipher),
            ssl_hash: ssl.map(|ssl| ssl.hash),
            peer_cert_subject: certificate.map(|certificate| &*certificate.subject),
            peer_cert_issuer: certificate.map(|certificate| &*certificate.issuer),
            peer_cert_validity: certificate.map(|certificate| &*certificate.validity),
            recv_oct: wire.received,
            recv_oct_details: counted.details(0),
            recv_cnt: wire.reads,
            send_oct: wire.sent,
            send_oct_details: counted.details(1),
            send_cnt: wire.writes,
            send_pend: wire.pending,
            reductions: 0,
            reductions_details: Details { rate: 0.0, history: None },
            garbage_collection: Garbage::NONE,
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
        rows.extend(rows_where(api, &vhost, move |view| shows(&view.user)).await);
    }
    list::respond_apart(rows, query).await
}

async fn rows_where(api: &Api, vhost: &Arc<str>, is_meant: impl Fn(&ConnectionView) -> bool + Send + 'static) -> Vec<ConnectionRow> {
    let found = api.handle.ask(vhost, move |asked| {
        let meant = asked.broker().connection_views().into_iter().filter(is_meant);
        meant.map(|view| (asked.wire(view.id).unwrap_or_default(), view)).collect::<Vec<_>>()
    });
    let found = found.await.unwrap_or_default();
    api.rates.of_vhost(vhost, |rates| {
        let row = |(wire, view): (Wire, ConnectionView)| ConnectionRow {
            place: api.place(vhost),
            peer: Peer::new(&view),
            client_properties: view.origin.client_properties(),
            counted: Counted::new([wire.received, wire.sent], rates.and_then(|rates| rates.connection(view.serial))),
            wire,
            view,
        };
        found.into_iter().map(row).collect()
    })
}

/// The connection of this name.
async fn find(api: &Api, caller: &Caller, name: &str) -> Result<ConnectionRow, ApiError> {
    for vhost in caller.node.vhosts.keys() {
        let name = name.to_owned();
        if let Some(row) = rows_where(api, vhost, move |view| view.origin.name() == name).await.pop() {
            return Ok(row);
        }
    }
    Err(ApiError::NotFound)
}

async fn show(State(api): State<Api>, caller: Caller, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    let row = find(&api, &caller, &name).await?;
    caller.owns(&row.view.user, false)?;
    Ok(list::respond_with(&row, &query))
}

async fn list_channels(State(api): State<Api>, caller: Caller, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    let row = find(&api, &caller, &name).await?;
    caller.owns(&row.view.user, false)?;
    let id = row.view.id;
    let rows =
        channels::rows_where(&api, &row.place.vhost, move |view, peer| view.connection == id && peer.serial == row.view.serial).await;
    list::respond(rows, &query)
}

/// Those of AMQP 1.0, which is not spoken here.
async fn sessions(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Result<Response, ApiError> {
    let row = find(&api, &caller, &name).await?;
    caller.owns(&row.view.user, false)?;
    Ok(super::json(StatusCode::OK, &[(); 0]))
}

async fn close(State(api): State<Api>, caller: Caller, Path(name): Path<String>, headers: HeaderMap) -> Result<StatusCode, ApiError> {
    let row = find(&api, &caller, &name).await?;
    caller.owns(&row.view.user, true)?;
    let reason = reason(&headers);
    let (id, serial) = (row.view.id, row.view.serial);
    let closed = api.handle.ask(&row.place.vhost, move |asked| {
        // Its place may be another one's by now.
        if asked.broker().connection_view(id).is_some_and(|view| view.serial == serial) {
            asked.handle(Input::CloseConnections { which: Connections::One(id), reason: &reason });
        }
    });
    closed.await.ok_or(ApiError::NotFound)?;
    tracing::info!(connection = name, user = caller.name(), "closed over HTTP");
    Ok(StatusCode::NO_CONTENT)
}

/// The reason that a client is told.
fn reason(headers: &HeaderMap) -> String {
    let given = headers.get("x-reason").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    given.unwrap_or_else(|| "Closed via management plugin".to_owned())
}

/// What RabbitMQ keeps account of, of the connections of a user.
#[derive(Debug, Serialize)]
struct Tracked {
    name: Arc<str>,
    vhost: Arc<str>,
    user: Arc<str>,
    node: Arc<str>,
}

impl Row for Tracked {
    fn name(&self) -> &str {
        &self.name
    }
}

async fn list_of_user(State(api): State<Api>, caller: Caller, Path(user): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.owns(&user, false)?;
    let mut rows = Vec::new();
    for vhost in caller.node.vhosts.keys() {
        let user = user.clone();
        let found = rows_where(&api, vhost, move |view| *view.user == *user).await;
        rows.extend(found.into_iter().map(|row| Tracked {
            name: row.peer.name,
            vhost: row.place.vhost,
            user: row.peer.user,
            node: row.place.node,
        }));
    }
    list::respond(rows, &query)
}

async fn close_all_of_user(
    State(api): State<Api>,
    caller: Caller,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    caller.owns(&user, true)?;
    for vhost in caller.node.vhosts.keys() {
        let (user, reason) = (user.clone(), reason(&headers));
        let close = move |asked: &mut crate::server::Asked<'_>| {
            asked.handle(Input::CloseConnections { which: Connections::Of(&user), reason: &reason });
        };
        // A virtual host that is gone has none.
        let _ = api.handle.ask(vhost, close).await;
    }
    tracing::info!(of = user, user = caller.name(), "connections closed over HTTP");
    Ok(StatusCode::NO_CONTENT)
}
