//! /api/overview, /api/cluster-name, /api/extensions, /api/reset.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::Api;
use super::auth::Caller;
use super::body::Fields;
use super::error::ApiError;
use super::list;
use super::query::Query;
use super::stats::{self, CHURN_FROM, Counted, Details, LENGTHS, Ranges, Stats, TOTALS};
use crate::broker::exchange::Kind;
use crate::broker::view::{Objects, Totals};
use crate::config::{Config, RatesMode};
use crate::node::Node;
use crate::node::handshake::mechanisms;
use crate::node::parameters::{CLUSTER_NAME, CLUSTER_TAGS};
use crate::node::users::Tag;
use crate::server::{Address, Handle, Listening};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/overview", get(overview))
        .route("/cluster-name", get(cluster_name).put(set_cluster_name))
        .route("/extensions", get(extensions))
        .route("/reset", delete(reset))
        .route("/reset/{node}", delete(reset_node))
}

/// What a node can do, in a list.
#[derive(Debug, Serialize)]
pub(super) struct Capability {
    name: &'static str,
    description: &'static str,
    enabled: bool,
}

/// Exchange types that can be declared.
pub(super) fn exchange_types() -> Vec<Capability> {
    let description = |kind| match kind {
        Kind::Direct => "AMQP direct exchange, as per the AMQP specification",
        Kind::Fanout => "AMQP fanout exchange, as per the AMQP specification",
        Kind::Topic => "AMQP topic exchange, as per the AMQP specification",
        Kind::Headers => "AMQP headers exchange, as per the AMQP specification",
        Kind::ConsistentHash => "Consistent Hashing Exchange",
        Kind::Random => "Picks one of the queues that are bound to it",
        Kind::LocalRandom => "Picks one of the queues that are bound to it and have a consumer of this node",
        Kind::ModulusHash => "Modulus Hashing Exchange",
        Kind::RecentHistory => "Recent History Exchange",
        Kind::MessageDeduplication => "Message Deduplication Exchange",
        Kind::DelayedMessage => "Delayed Message Exchange",
    };
    Kind::ALL.map(|kind| Capability { name: kind.name(), description: description(kind), enabled: true }).into()
}

/// How clients may prove who they are.
pub(super) fn auth_mechanisms(handle: &Handle) -> Vec<Capability> {
    let node = handle.node();
    let description = |name| match name {
        "PLAIN" => "SASL PLAIN authentication mechanism",
        "AMQPLAIN" => "QPid AMQPLAIN mechanism",
        "EXTERNAL" => "TLS peer verification-based authentication plugin",
        _ => "SASL ANONYMOUS authentication mechanism",
    };
    let offered = mechanisms(&node, true);
    let all = ["AMQPLAIN", "ANONYMOUS", "EXTERNAL", "PLAIN"];
    all.map(|name| Capability { name, description: description(name), enabled: offered.split(' ').any(|offered| offered == name) }).into()
}

#[derive(Debug, Serialize)]
struct Listener {
    node: Arc<str>,
    protocol: &'static str,
    ip_address: String,
    port: u16,
    socket_opts: BTreeMap<(), ()>,
}

/// Where HTTP is served.
#[derive(Debug, Serialize)]
pub(super) struct Context {
    node: Arc<str>,
    description: &'static str,
    path: &'static str,
    ip: String,
    port: String,
    ssl_opts: [(); 0],
}

pub(super) fn contexts(api: &Api) -> Vec<Context> {
    let context = |listening: Listening| {
        let (ip, port) = place_of(&listening.address);
        let of_api = matches!(listening.protocol, "http" | "https");
        of_api.then(|| Context {
            node: Arc::clone(&api.node),
            description: "RabbitMQ Management",
            path: "/",
            ip,
            port: port.to_string(),
            ssl_opts: [],
        })
    };
    api.handle.listening().into_iter().filter_map(context).collect()
}

/// An address and a port; sockets of this machine have no port.
fn place_of(address: &Address) -> (String, u16) {
    match address {
        Address::Ip(address) => (address.ip().to_string(), address.port()),
        Address::Path(path) => (path.display().to_string(), 0),
    }
}

#[derive(Serialize)]
struct QueueTotals<'a> {
    messages: u64,
    messages_details: Details<'a>,
    messages_ready: u64,
    messages_ready_details: Details<'a>,
    messages_unacknowledged: u64,
    messages_unacknowledged_details: Details<'a>,
}

impl<'a> QueueTotals<'a> {
    fn of(counted: &'a Counted<{ TOTALS.len() }>) -> Self {
        let [messages, messages_ready, messages_unacknowledged, ..] = counted.values;
        Self {
            messages,
            messages_details: counted.details(0),
            messages_ready,
            messages_ready_details: counted.details(1),
            messages_unacknowledged,
            messages_unacknowledged_details: counted.details(2),
        }
    }
}

#[derive(Serialize)]
struct ObjectTotals {
    channels: usize,
    connections: usize,
    consumers: usize,
    exchanges: usize,
    queues: usize,
}

impl From<Objects> for ObjectTotals {
    fn from(objects: Objects) -> Self {
        let Objects { connections, channels, exchanges, queues, consumers, publishers: _ } = objects;
        Self { channels, connections, consumers, exchanges, queues }
    }
}

#[derive(Serialize)]
struct Overview<'a> {
    management_version: &'static str,
    rabbitmq_version: &'static str,
    leveret_version: &'static str,
    product_name: &'static str,
    product_version: &'static str,
    cluster_name: &'a str,
    /// There is no Erlang.
    erlang_version: &'static str,
    erlang_full_version: &'static str,
    crypto_lib_version: &'static str,
    rates_mode: &'static str,
    cluster_tags: Json,
    node_tags: BTreeMap<String, String>,
    sample_retention_policies: Json,
    exchange_types: Vec<Capability>,
    disable_stats: bool,
    enable_queue_totals: bool,
    default_queue_type: &'static str,
    message_stats: Stats<'a, { TOTALS.len() }>,
    churn_rates: Stats<'a, { TOTALS.len() }>,
    queue_totals: QueueTotals<'a>,
    object_totals: ObjectTotals,
    statistics_db_event_queue: u64,
    #[serde(flatten)]
    of_node: Option<OfNode>,
}

/// What monitors alone are told.
#[derive(Serialize)]
struct OfNode {
    node: Arc<str>,
    listeners: Vec<Listener>,
    contexts: Vec<Context>,
}

impl OfNode {
    fn new(api: &Api) -> Self {
        let listener = |listening: Listening| {
            let (ip_address, port) = place_of(&listening.address);
            Listener { node: Arc::clone(&api.node), protocol: listening.protocol, ip_address, port, socket_opts: BTreeMap::new() }
        };
        let listeners = api.handle.listening().into_iter().map(listener).collect();
        Self { node: Arc::clone(&api.node), listeners, contexts: contexts(api) }
    }
}

/// These virtual hosts taken together.
pub(super) async fn totals(api: &Api, vhosts: &[Arc<str>]) -> (Objects, Counted<{ TOTALS.len() }>) {
    let mut totals = Totals::default();
    for vhost in vhosts {
        totals += api.handle.ask(vhost, |asked| asked.broker().totals()).await.unwrap_or_default();
    }
    (totals.objects, Counted::new(stats::totals_values(&totals), api.rates.totals(vhosts)))
}

async fn overview(State(api): State<Api>, caller: Caller, query: Query) -> Response {
    let (objects, mut counted) = totals(&api, &caller.visible()).await;
    let ranges = Ranges::of(&query);
    let is_monitor = caller.is(Tag::Monitoring);
    // The past is kept of all virtual hosts together.
    if is_monitor && ranges.any() {
        counted.histories = Some(api.rates.totals_before(ranges));
    }
    let version = caller.node.settings.profile.version;
    let config = api.handle.config();
    let overview = Overview {
        management_version: version,
        rabbitmq_version: version,
        leveret_version: env!("CARGO_PKG_VERSION"),
        product_name: "RabbitMQ",
        product_version: version,
        cluster_name: caller.node.cluster_name(),
        erlang_version: "",
        erlang_full_version: "",
        crypto_lib_version: "",
        rates_mode: rates_mode(config),
        cluster_tags: cluster_tags(&caller.node),
        node_tags: config.node_tags.clone(),
        sample_retention_policies: json!({"global": [600, 3600, 28800, 86400], "basic": [600, 3600], "detailed": []}),
        exchange_types: exchange_types(),
        disable_stats: false,
        enable_queue_totals: false,
        default_queue_type: config.default_queue_type.name(),
        message_stats: counted.stats(&TOTALS, LENGTHS, CHURN_FROM),
        churn_rates: counted.stats(&TOTALS, CHURN_FROM, TOTALS.len()),
        queue_totals: QueueTotals::of(&counted),
        object_totals: objects.into(),
        statistics_db_event_queue: 0,
        of_node: is_monitor.then(|| OfNode::new(&api)),
    };
    list::respond_with(&overview, &query)
}

/// A global parameter, which the configuration sets at the start.
pub(super) fn cluster_tags(node: &Node) -> Json {
    node.global_parameters.get(CLUSTER_TAGS).cloned().unwrap_or_else(|| json!({}))
}

pub(super) fn rates_mode(config: &Config) -> &'static str {
    match config.rates_mode {
        RatesMode::Basic => "basic",
        RatesMode::Detailed => "detailed",
        RatesMode::None => "none",
    }
}

async fn cluster_name(caller: Caller) -> Response {
    super::json(StatusCode::OK, &json!({"name": caller.node.cluster_name()}))
}

async fn set_cluster_name(State(api): State<Api>, caller: Caller, fields: Fields) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    fields.need(&["name"])?;
    let name = fields.text("name").ok_or_else(|| ApiError::bad_request("name should be a text"))?.to_owned();
    let set = |node: &mut Node| {
        node.global_parameters.insert(CLUSTER_NAME.to_owned(), Json::String(name));
        Ok(())
    };
    api.handle.change_node(set).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pages that plugins add to RabbitMQ's user interface, of which there is none here.
/// What the web page shows beside the usual.
async fn extensions(State(api): State<Api>, _: Caller) -> Response {
    let extensions: &[Json] = if api.handle.config().testing.api { &[json!({"test_api": true})] } else { &[] };
    super::json(StatusCode::OK, extensions)
}

async fn reset(State(api): State<Api>, caller: Caller) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    api.rates.reset();
    Ok(StatusCode::NO_CONTENT)
}

async fn reset_node(State(api): State<Api>, caller: Caller, Path(node): Path<String>) -> Result<StatusCode, ApiError> {
    caller.administrator()?;
    if *node != *api.node {
        return Err(ApiError::NotFound);
    }
    reset(State(api), caller).await
}
