//! /api/nodes: the node, and where its memory is. What only Erlang has is 0 (docs/HTTP_API.md).

use std::time::SystemTime;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::auth::Caller;
use super::error::ApiError;
use super::list::{self, Row};
use super::overview::{Capability, Context, auth_mechanisms, contexts, exchange_types, rates_mode, totals};
use super::query::Query;
use super::stats::{CHURN_FROM, Counted, NODE, Ranges, Stats, TOTALS};
use super::{Api, system};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/nodes", get(list))
        .route("/nodes/{name}", get(show))
        .route("/nodes/{name}/memory", get(memory))
        .route("/nodes/{name}/memory/relative", get(memory_relative))
}

#[derive(Debug, Serialize)]
struct Application {
    name: &'static str,
    description: &'static str,
    version: &'static str,
}

/// What RabbitMQ has as plugins and is built in here.
const PLUGINS: [&str; 8] = [
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_message_deduplication",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
];

#[derive(Serialize)]
struct NodeRow<'a> {
    name: &'a str,
    r#type: &'static str,
    running: bool,
    os_pid: String,
    uptime: u64,
    processors: usize,
    run_queue: u64,
    rates_mode: &'static str,
    rabbitmq_version: &'static str,
    erlang_version: &'static str,
    erlang_full_version: &'static str,
    crypto_lib_version: &'static str,
    partitions: [(); 0],
    cluster_links: [(); 0],
    net_ticktime: u64,
    mem_limit: u64,
    mem_alarm: bool,
    mem_calculation_strategy: &'static str,
    disk_free_limit: u64,
    disk_free_alarm: bool,
    fd_total: u64,
    sockets_total: u64,
    proc_total: u64,
    gc_num: u64,
    gc_bytes_reclaimed: u64,
    io_read_count: u64,
    io_read_bytes: u64,
    io_read_avg_time: f64,
    io_write_count: u64,
    io_write_bytes: u64,
    io_write_avg_time: f64,
    io_sync_count: u64,
    io_sync_avg_time: f64,
    mnesia_ram_tx_count: u64,
    mnesia_disk_tx_count: u64,
    msg_store_read_count: u64,
    msg_store_write_count: u64,
    queue_index_read_count: u64,
    queue_index_write_count: u64,
    exchange_types: Vec<Capability>,
    auth_mechanisms: Vec<Capability>,
    applications: [Application; 2],
    enabled_plugins: Vec<&'static str>,
    contexts: Vec<Context>,
    log_files: Vec<String>,
    db_dir: String,
    config_files: [(); 0],
    metrics_gc_queue_length: Map<String, Json>,
    being_drained: bool,
    #[serde(flatten)]
    counted: Stats<'a, { NODE.len() }>,
    #[serde(flatten)]
    churn: Stats<'a, { TOTALS.len() }>,
}

/// The node, as an item of a list of nodes.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listed(Json);

impl Row for Listed {
    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap_or_default()
    }
}

async fn node(api: &Api, caller: &Caller, query: &Query) -> Json {
    let handle = &api.handle;
    let mut counted = Counted::new(system::node_values(handle), api.rates.node());
    let ranges = Ranges::of(query);
    if ranges.node_stats.is_some() {
        counted.histories = Some(api.rates.node_before(ranges));
    }
    let (_, all) = totals(api, &caller.all_vhosts()).await;
    serde_json::to_value(row(api, &counted, &all)).unwrap_or_default()
}

fn row<'a>(api: &'a Api, counted: &'a Counted<{ NODE.len() }>, all: &'a Counted<{ TOTALS.len() }>) -> NodeRow<'a> {
    let handle = &api.handle;
    let config = handle.config();
    let version = handle.node().settings.profile.version;
    let alarms = handle.alarms();
    let [read_bytes, written_bytes, fd_total] =
        [system::read_bytes(), system::written_bytes(), system::open_files_limit()].map(Option::unwrap_or_default);
    let uptime = SystemTime::now().duration_since(handle.started()).unwrap_or_default().as_millis();
    let mut enabled_plugins = PLUGINS.to_vec();
    if config.event_exchange {
        enabled_plugins.insert(2, "rabbitmq_event_exchange");
    }
    NodeRow {
        name: &api.node,
        r#type: if config.data_dir.is_some() { "disc" } else { "ram" },
        running: true,
        os_pid: std::process::id().to_string(),
        uptime: u64::try_from(uptime).unwrap_or(u64::MAX),
        processors: system::processors(),
        run_queue: system::tasks().1,
        rates_mode: rates_mode(config),
        rabbitmq_version: version,
        erlang_version: "",
        erlang_full_version: "",
        crypto_lib_version: "",
        partitions: [],
        cluster_links: [],
        net_ticktime: 0,
        mem_limit: handle.memory().limit,
        mem_alarm: alarms.memory,
        mem_calculation_strategy: "rss",
        disk_free_limit: handle.disk().map_or(0, |disk| disk.limit),
        disk_free_alarm: alarms.disk,
        fd_total,
        sockets_total: config.connection_max.map_or(fd_total, |most| most as u64),
        proc_total: 0,
        gc_num: 0,
        gc_bytes_reclaimed: 0,
        io_read_count: 0,
        io_read_bytes: read_bytes,
        io_read_avg_time: 0.0,
        io_write_count: 0,
        io_write_bytes: written_bytes,
        io_write_avg_time: 0.0,
        io_sync_count: 0,
        io_sync_avg_time: 0.0,
        mnesia_ram_tx_count: 0,
        mnesia_disk_tx_count: 0,
        msg_store_read_count: all.values[8],
        msg_store_write_count: all.values[9],
        queue_index_read_count: 0,
        queue_index_write_count: 0,
        exchange_types: exchange_types(),
        auth_mechanisms: auth_mechanisms(handle),
        applications: [
            Application { name: "leveret", description: env!("CARGO_PKG_DESCRIPTION"), version: env!("CARGO_PKG_VERSION") },
            Application { name: "rabbit", description: "RabbitMQ, whose behaviour of this version is shown", version },
        ],
        enabled_plugins,
        contexts: contexts(api),
        log_files: config.log.places(),
        db_dir: config.data_dir.as_ref().map_or_else(String::new, |dir| dir.display().to_string()),
        config_files: [],
        metrics_gc_queue_length: Map::new(),
        being_drained: handle.is_drained(),
        counted: counted.stats(&NODE, 0, NODE.len()),
        churn: all.stats(&TOTALS, CHURN_FROM, TOTALS.len()),
    }
}

async fn list(State(api): State<Api>, caller: Caller, query: Query) -> Result<Response, ApiError> {
    caller.monitor()?;
    list::respond(vec![Listed(node(&api, &caller, &query).await)], &query)
}

async fn show(State(api): State<Api>, caller: Caller, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.monitor()?;
    is_this(&api, &name)?;
    Ok(list::respond_with(&node(&api, &caller, &query).await, &query))
}

fn is_this(api: &Api, name: &str) -> Result<(), ApiError> {
    if *name == *api.node { Ok(()) } else { Err(ApiError::NotFound) }
}

/// Bytes, by RabbitMQ's names for who has them.
struct Breakdown {
    queues: u64,
    connections: u64,
    other: u64,
    resident: u64,
}

/// What only RabbitMQ's processes and tables have.
const NOT_HERE: [&str; 22] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "queue_slave_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "metrics",
    "mgmt_db",
    "mnesia",
    "metadata_store",
    "quorum_ets",
    "metadata_store_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "other_proc",
];

impl Breakdown {
    async fn of(api: &Api, caller: &Caller) -> Self {
        let mut queues = 0;
        for vhost in caller.node.vhosts.keys() {
            queues += api.handle.ask(vhost, |asked| asked.broker().memory()).await.unwrap_or(0);
        }
        let connections = api.handle.memory().used.saturating_sub(queues);
        let resident = system::resident_bytes().unwrap_or_default();
        Self { queues, connections, other: resident.saturating_sub(queues + connections), resident }
    }

    fn json(&self, value: impl Fn(u64) -> u64) -> Map<String, Json> {
        let zero = NOT_HERE.iter().map(|name| ((*name).to_owned(), json!(0)));
        let mut all: Map<String, Json> = zero.collect();
        let of = [
            ("queue_procs", self.queues),
            ("connection_other", self.connections),
            ("other_system", self.other),
            ("allocated_unused", 0),
            ("reserved_unallocated", 0),
        ];
        all.extend(of.map(|(name, bytes)| (name.to_owned(), json!(value(bytes)))));
        all
    }
}

async fn memory(State(api): State<Api>, caller: Caller, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    caller.monitor()?;
    is_this(&api, &name)?;
    let breakdown = Breakdown::of(&api, &caller).await;
    let mut memory = breakdown.json(|bytes| bytes);
    memory.insert("strategy".to_owned(), json!("rss"));
    let resident = breakdown.resident;
    memory.insert("total".to_owned(), json!({"erlang": resident, "rss": resident, "allocated": resident}));
    Ok(list::respond_with(&json!({"memory": memory}), &query))
}

/// In hundredths of all, rounded up.
async fn memory_relative(State(api): State<Api>, caller: Caller, Path(name): Path<String>) -> Result<Response, ApiError> {
    caller.monitor()?;
    is_this(&api, &name)?;
    let breakdown = Breakdown::of(&api, &caller).await;
    let mut memory = breakdown.json(|bytes| (bytes * 100).div_ceil(breakdown.resident.max(1)));
    memory.insert("total".to_owned(), json!(100));
    Ok(super::json(StatusCode::OK, &json!({"memory": memory})))
}
