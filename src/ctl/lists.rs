//! What there is in a virtual host and on the node, column by column.

use serde_json::{Value as Json, json};

use super::call::Call;
use super::connections;
use super::failure::{Failure, USAGE};
use super::format::{Column, Kind, Rows, column};
use super::http::segment;

/// A column of a list, and where it stands in what the API says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    name: &'static str,
    from: Place,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// A JSON pointer; nothing: the name.
    Named,
    At(&'static str),
    Fixed(&'static str),
    Made(fn(&Json) -> Json),
}

impl Field {
    pub(super) const fn plain(name: &'static str) -> Self {
        Self { name, from: Place::Named, kind: Kind::Plain }
    }

    pub(super) const fn new(name: &'static str, at: &'static str, kind: Kind) -> Self {
        Self { name, from: Place::At(at), kind }
    }

    const fn at(name: &'static str, at: &'static str) -> Self {
        Self::new(name, at, Kind::Plain)
    }

    const fn fixed(name: &'static str, value: &'static str) -> Self {
        Self { name, from: Place::Fixed(value), kind: Kind::Plain }
    }

    const fn made(name: &'static str, make: fn(&Json) -> Json) -> Self {
        Self { name, from: Place::Made(make), kind: Kind::Plain }
    }

    fn of(&self, entry: &Json) -> Json {
        match self.from {
            Place::Named => entry.get(self.name).cloned().unwrap_or_default(),
            Place::At(pointer) => entry.pointer(pointer).cloned().unwrap_or_default(),
            Place::Fixed(value) => value.into(),
            Place::Made(make) => make(entry),
        }
    }
}

/// The columns that are asked for, or those that there are without asking.
///
/// # Errors
/// Columns that there are not.
pub(super) fn chosen(call: &Call, fields: &'static [Field], default: &[&str]) -> Result<Vec<Field>, Failure> {
    let words = call.words().iter().flat_map(|word| word.split([',', ' '])).filter(|word| !word.is_empty());
    let mut wanted: Vec<&str> = words.collect();
    if wanted.is_empty() {
        wanted = default.to_vec();
    }
    let find = |name: &str| fields.iter().find(|field| field.name == name).copied();
    let unknown: Vec<&str> = wanted.iter().filter(|name| find(name).is_none()).copied().collect();
    if !unknown.is_empty() {
        return Err(Failure::arguments(USAGE, format!("Info key(s) {} are not supported", unknown.join(","))));
    }
    Ok(wanted.into_iter().filter_map(find).collect())
}

/// Writes one row for each entry.
pub(super) fn show(call: &Call, fields: &[Field], found: &Json) {
    let columns: Vec<Column> = fields.iter().map(|field| column(field.name, field.kind)).collect();
    let rows = found.as_array().into_iter().flatten().map(|entry| fields.iter().map(|field| field.of(entry)).collect()).collect();
    call.rows(&Rows { columns, rows });
}

/// Of a virtual host; nothing where there is none, as in RabbitMQ.
fn of_vhost(call: &mut Call, resource: &str) -> Result<Json, Failure> {
    let vhost = call.vhost();
    match call.need_vhost(&vhost) {
        Ok(()) => call.get(&format!("/api/{resource}/{}", segment(&vhost))),
        Err(_) => Ok(json!([])),
    }
}

const QUEUES: &[Field] = &[
    Field::plain("name"),
    Field::plain("durable"),
    Field::plain("auto_delete"),
    Field::new("arguments", "/arguments", Kind::Arguments),
    Field::plain("policy"),
    Field::plain("operator_policy"),
    Field::new("effective_policy_definition", "/effective_policy_definition", Kind::Arguments),
    Field::made("pid", |queue| {
        json!(format!("<{}.{}>", queue["node"].as_str().unwrap_or_default(), queue["name"].as_str().unwrap_or_default()))
    }),
    Field::made("owner_pid", |queue| connections::pid(&queue["owner_pid_details"])),
    Field::plain("exclusive"),
    Field::plain("exclusive_consumer_pid"),
    Field::plain("exclusive_consumer_tag"),
    Field::plain("messages_ready"),
    Field::plain("messages_unacknowledged"),
    Field::plain("messages"),
    Field::plain("messages_ready_ram"),
    Field::plain("messages_unacknowledged_ram"),
    Field::plain("messages_ram"),
    Field::plain("messages_persistent"),
    Field::plain("message_bytes"),
    Field::plain("message_bytes_ready"),
    Field::plain("message_bytes_unacknowledged"),
    Field::plain("message_bytes_ram"),
    Field::plain("message_bytes_persistent"),
    Field::plain("head_message_timestamp"),
    Field::plain("disk_reads"),
    Field::plain("disk_writes"),
    Field::plain("consumers"),
    Field::plain("consumer_utilisation"),
    Field::plain("consumer_capacity"),
    Field::plain("single_active_consumer_tag"),
    Field::plain("memory"),
    Field::plain("state"),
    Field::plain("type"),
    Field::plain("leader"),
    Field::new("members", "/members", Kind::Tags),
    Field::new("online", "/online", Kind::Tags),
];

pub(super) fn list_queues(call: &mut Call) -> Result<(), Failure> {
    let fields = chosen(call, QUEUES, &["name", "messages"])?;
    let seconds = call.timeout.unwrap_or(super::call::DEFAULT_TIMEOUT).as_secs_f64();
    call.banner(format!("Timeout: {seconds:?} seconds ..."));
    call.banner(format!("Listing queues for vhost {} ...", call.vhost()));
    // A single node is never offline.
    let found = if call.arguments.has("offline") { json!([]) } else { of_vhost(call, "queues")? };
    show(call, &fields, &found);
    Ok(())
}

const EXCHANGES: &[Field] = &[
    Field::plain("name"),
    Field::plain("type"),
    Field::plain("durable"),
    Field::plain("auto_delete"),
    Field::plain("internal"),
    Field::new("arguments", "/arguments", Kind::Arguments),
    Field::plain("policy"),
    Field::plain("user_who_performed_action"),
];

pub(super) fn list_exchanges(call: &mut Call) -> Result<(), Failure> {
    let fields = chosen(call, EXCHANGES, &["name", "type"])?;
    call.banner(format!("Listing exchanges for vhost {} ...", call.vhost()));
    let found = of_vhost(call, "exchanges")?;
    show(call, &fields, &found);
    Ok(())
}

const BINDINGS: &[Field] = &[
    Field::at("source_name", "/source"),
    Field::fixed("source_kind", "exchange"),
    Field::at("destination_name", "/destination"),
    Field::at("destination_kind", "/destination_type"),
    Field::plain("routing_key"),
    Field::new("arguments", "/arguments", Kind::Arguments),
    Field::plain("vhost"),
];

pub(super) fn list_bindings(call: &mut Call) -> Result<(), Failure> {
    let default = ["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"];
    let fields = chosen(call, BINDINGS, &default)?;
    call.banner(format!("Listing bindings for vhost {}...", call.vhost()));
    let found = of_vhost(call, "bindings")?;
    show(call, &fields, &found);
    Ok(())
}

const CONNECTIONS: &[Field] = &[
    Field::made("pid", connections::pid),
    Field::plain("name"),
    Field::plain("user_provided_name"),
    Field::plain("port"),
    Field::plain("host"),
    Field::plain("peer_port"),
    Field::plain("peer_host"),
    Field::plain("ssl"),
    Field::plain("ssl_protocol"),
    Field::plain("ssl_key_exchange"),
    Field::plain("ssl_cipher"),
    Field::plain("ssl_hash"),
    Field::plain("peer_cert_subject"),
    Field::plain("peer_cert_issuer"),
    Field::plain("peer_cert_validity"),
    Field::plain("state"),
    Field::plain("channels"),
    Field::plain("protocol"),
    Field::plain("auth_mechanism"),
    Field::plain("user"),
    Field::plain("vhost"),
    Field::plain("timeout"),
    Field::plain("frame_max"),
    Field::plain("channel_max"),
    Field::new("client_properties", "/client_properties", Kind::Arguments),
    Field::plain("recv_oct"),
    Field::plain("recv_cnt"),
    Field::plain("send_oct"),
    Field::plain("send_cnt"),
    Field::plain("send_pend"),
    Field::plain("connected_at"),
    Field::plain("node"),
];

pub(super) fn list_connections(call: &mut Call) -> Result<(), Failure> {
    let fields = chosen(call, CONNECTIONS, &["user", "peer_host", "peer_port", "state"])?;
    call.banner("Listing connections ...");
    let found = call.get("/api/connections")?;
    show(call, &fields, &found);
    Ok(())
}

const CHANNELS: &[Field] = &[
    Field::made("pid", |channel| connections::channel_pid(&channel["connection_details"], &channel["number"])),
    Field::made("connection", |channel| connections::pid(&channel["connection_details"])),
    Field::plain("name"),
    Field::plain("number"),
    Field::plain("user"),
    Field::plain("vhost"),
    Field::plain("transactional"),
    Field::plain("confirm"),
    Field::plain("consumer_count"),
    Field::plain("messages_unacknowledged"),
    Field::plain("messages_uncommitted"),
    Field::plain("acks_uncommitted"),
    Field::plain("messages_unconfirmed"),
    Field::plain("prefetch_count"),
    Field::plain("global_prefetch_count"),
    Field::plain("state"),
];

pub(super) fn list_channels(call: &mut Call) -> Result<(), Failure> {
    let fields = chosen(call, CHANNELS, &["pid", "user", "consumer_count", "messages_unacknowledged"])?;
    call.banner("Listing channels ...");
    let found = call.get("/api/channels")?;
    show(call, &fields, &found);
    Ok(())
}

const CONSUMERS: &[Field] = &[
    Field::at("queue_name", "/queue/name"),
    Field::made("channel_pid", |consumer| connections::channel_pid(&consumer["channel_details"], &consumer["channel_details"]["number"])),
    Field::plain("consumer_tag"),
    Field::plain("ack_required"),
    Field::plain("exclusive"),
    Field::plain("prefetch_count"),
    Field::plain("active"),
    Field::plain("activity_status"),
    Field::new("arguments", "/arguments", Kind::Arguments),
    Field::plain("consumer_timeout"),
];

pub(super) fn list_consumers(call: &mut Call) -> Result<(), Failure> {
    let default = ["queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"];
    let fields = chosen(call, CONSUMERS, &default)?;
    call.banner(format!("Listing consumers in vhost {} ...", call.vhost()));
    let found = of_vhost(call, "consumers")?;
    show(call, &fields, &found);
    Ok(())
}

/// A queue of this node has no process that could hang alone.
pub(super) fn list_unresponsive_queues(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Listing unresponsive queues for vhost {} ...", call.vhost()));
    call.rows(&Rows { columns: vec![column("name", Kind::Plain)], rows: Vec::new() });
    Ok(())
}

pub(super) fn list_hashes(call: &mut Call) -> Result<(), Failure> {
    call.banner("Listing supported hash algorithms ...");
    let hashes = ["sha512", "sha256", "md5"];
    call.found(&json!({"result": "ok", "value": hashes}), format!("[{}]", hashes.join(",")));
    Ok(())
}
