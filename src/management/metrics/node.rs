//! Metrics of the node: what came and went, the process and its limits, alarms, and the global counters, which tell protocols and
//! types of queues apart.

use super::metric::{Metric, counter, gauge, maybe, seconds};
use super::scrape::Scrape;
use super::text::{Kind, Text};
use crate::broker::Reason;
use crate::broker::counters::{QueueCounters, Sizes, Strategy};
use crate::broker::queue::QueueType;
use crate::broker::view::Totals;
use crate::management::system;

/// A counter of the node, which is its own sum.
macro_rules! churn {
    ($name:literal, $help:literal, $field:ident) => {
        counter($name, $help, |s: &Scrape| s.sum.totals.churn.$field, |s| s.totals.churn.$field)
    };
}

pub(super) const CHURN: &[Metric<Scrape>] = &[
    churn!("connections_opened_total", "Total number of connections opened", connection_created),
    churn!("connections_closed_total", "Total number of connections closed or terminated", connection_closed),
    churn!("channels_opened_total", "Total number of channels opened", channel_created),
    churn!("channels_closed_total", "Total number of channels closed", channel_closed),
    churn!("queues_declared_total", "Total number of queues declared", queue_declared),
    churn!("queues_created_total", "Total number of queues created", queue_created),
    churn!("queues_deleted_total", "Total number of queues deleted", queue_deleted),
];

pub(super) const NODE_COARSE: &[Metric<Scrape>] = &[
    maybe(Kind::Gauge, "process_open_fds", "Open file descriptors", |_| system::open_files()),
    maybe(Kind::Gauge, "process_open_tcp_sockets", "Open TCP sockets", |s| Some(s.handle.sockets() as u64)),
    maybe(Kind::Gauge, "process_resident_memory_bytes", "Memory used in bytes", |_| system::resident_bytes()),
    maybe(Kind::Gauge, "disk_space_available_bytes", "Disk space available in bytes", |s| Some(s.handle.disk()?.free)),
    maybe(Kind::Gauge, "erlang_processes_used", "Tasks that are alive", |_| Some(system::tasks().0)),
    maybe(Kind::Counter, "erlang_scheduler_context_switches_total", "Total number of context switches of the process's threads", |_| {
        system::context_switches()
    }),
];

pub(super) const NODE: &[Metric<Scrape>] = &[
    maybe(Kind::Gauge, "process_max_fds", "Open file descriptors limit", |_| system::open_files_limit()),
    maybe(Kind::Gauge, "process_max_tcp_sockets", "Open TCP sockets limit", |s| {
        let files = system::open_files_limit()?;
        Some(s.handle.config().connection_max.map_or(files, |connections| files.min(connections as u64)))
    }),
    maybe(Kind::Gauge, "resident_memory_limit_bytes", "Memory high watermark in bytes", |s| Some(s.handle.memory().limit)),
    maybe(Kind::Gauge, "disk_space_available_limit_bytes", "Free disk space low watermark in bytes", |s| Some(s.handle.disk()?.limit)),
    maybe(Kind::Gauge, "erlang_scheduler_run_queue", "Tasks that wait for a thread", |_| Some(system::tasks().1)),
    seconds("erlang_uptime_seconds", "Node uptime", |s| s.handle.started().elapsed().unwrap_or_default().as_secs_f64()),
];

pub(super) const PERSISTER: &[Metric<Scrape>] = &[
    maybe(Kind::Counter, "io_read_bytes_total", "Total number of I/O bytes read", |_| system::read_bytes()),
    maybe(Kind::Counter, "io_write_bytes_total", "Total number of I/O bytes written", |_| system::written_bytes()),
];

pub(super) const TOTALS: &[Metric<Scrape>] = &[
    gauge(
        "connections",
        "Connections currently open",
        |s| s.sum.totals.objects.connections as u64,
        |s| s.totals.objects.connections as u64,
    ),
    gauge("channels", "Channels currently open", |s| s.sum.totals.objects.channels as u64, |s| s.totals.objects.channels as u64),
    gauge("consumers", "Consumers currently connected", |s| s.sum.totals.objects.consumers as u64, |s| s.totals.objects.consumers as u64),
    gauge("queues", "Queues available", |s| s.sum.totals.objects.queues as u64, |s| s.totals.objects.queues as u64),
];

/// What RabbitMQ has no name for.
pub(super) const OWN: &[Metric<Scrape>] = &[
    maybe(Kind::Gauge, "memory_used_bytes", "What counts against the memory high watermark", |s| Some(s.handle.memory().used)),
    maybe(Kind::Counter, "opentelemetry_spans_sent_total", "Spans that the OpenTelemetry collector has taken", |s| {
        Some(s.handle.spans_told()?.sent())
    }),
    maybe(Kind::Counter, "opentelemetry_spans_dropped_total", "Spans that it has not, or that there was no room for", |s| {
        Some(s.handle.spans_told()?.dropped())
    }),
];

pub(super) const MEMORY: &[Metric<Scrape>] = &[
    maybe(Kind::Gauge, "memory_binary_heap_bytes", "Messages and their entries in queues and channels", |s| Some(s.sum.totals.memory)),
    maybe(Kind::Gauge, "memory_client_connection_other_bytes", "Received in part by connections, and waiting for their sockets", |s| {
        Some(s.handle.memory().used.saturating_sub(s.sum.totals.memory))
    }),
    maybe(Kind::Gauge, "memory_other_system_bytes", "What else is resident", |s| {
        Some(system::resident_bytes()?.saturating_sub(s.handle.memory().used))
    }),
];

/// Who this is: dashboards join all else with it.
pub(super) fn identity(endpoint: &'static str, scrape: &Scrape, text: &mut Text) {
    let (config, node) = (scrape.handle.config(), scrape.handle.node());
    let version = env!("CARGO_PKG_VERSION");
    let build = [
        ("rabbitmq_version", node.settings.profile.version),
        ("prometheus_plugin_version", version),
        ("prometheus_client_version", version),
        ("erlang_version", "none"),
        ("product_name", "leveret"),
        ("product_version", version),
    ];
    text.family("rabbitmq_", "build_info", Kind::Untyped, "RabbitMQ & Erlang/OTP version info");
    text.sample(&build, 1);
    let cluster = config.cluster_name.as_deref().unwrap_or(&config.node_name);
    let identity = [("rabbitmq_node", &*config.node_name), ("rabbitmq_cluster", cluster), ("rabbitmq_endpoint", endpoint)];
    text.family("rabbitmq_", "identity_info", Kind::Untyped, "RabbitMQ node & cluster identity info");
    text.sample(&identity, 1);
}

pub(super) fn alarms(scrape: &Scrape, text: &mut Text) {
    let alarms = scrape.handle.alarms();
    let all = [
        ("file_descriptor_limit", "is 1 if file descriptor limit alarm is in effect", false),
        ("free_disk_space_watermark", "is 1 if free disk space watermark alarm is in effect", alarms.disk),
        ("memory_used_watermark", "is 1 if VM memory watermark alarm is in effect", alarms.memory),
    ];
    for (name, help, on) in all {
        text.family("rabbitmq_alarms_", name, Kind::Untyped, help);
        text.sample(&[], on.into());
    }
}

/// How large published messages are.
pub(super) fn sizes(scrape: &Scrape, text: &mut Text) {
    let sizes = &scrape.sum.totals.sizes;
    text.family("rabbitmq_", "message_size_bytes", Kind::Histogram, "Size of messages received from publishers");
    let bounds = Sizes::BOUNDS.iter().map(u64::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(sizes.up_to()) {
        text.part("_bucket", &[("protocol", "amqp091"), ("le", &bound)], count);
    }
    let [.., all] = sizes.up_to();
    text.part("_count", &[("protocol", "amqp091")], all);
    text.part("_sum", &[("protocol", "amqp091")], sizes.bytes);
}

/// Name, meaning, value.
type Global<T> = (&'static str, &'static str, fn(&T) -> u64);

const PROTOCOL: &[Global<Totals>] = &[
    ("messages_received_total", "Total number of messages received from publishers", |t| t.messages.publish),
    ("messages_received_confirm_total", "Total number of messages received from publishers expecting confirmations", |t| {
        t.messages.publish_confirm
    }),
    ("messages_routed_total", "Total number of messages routed to queues or streams", |t| t.queues.sum().publish),
    (
        "messages_unroutable_dropped_total",
        "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        |t| t.messages.drop_unroutable,
    ),
    (
        "messages_unroutable_returned_total",
        "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        |t| t.messages.return_unroutable,
    ),
    ("messages_confirmed_total", "Total number of messages confirmed to publishers", |t| t.messages.confirm),
];

const PROTOCOL_NOW: &[Global<Totals>] = &[
    ("publishers", "Publishers currently connected", |t| t.objects.publishers as u64),
    ("consumers", "Consumers currently connected", |t| t.objects.consumers as u64),
];

const QUEUE_TYPE: &[Global<QueueCounters>] = &[
    ("messages_delivered_total", "Total number of messages delivered to consumers", |q| q.deliver_get()),
    (
        "messages_delivered_consume_manual_ack_total",
        "Total number of messages delivered to consumers using basic.consume with manual acknowledgment",
        |q| q.deliver,
    ),
    (
        "messages_delivered_consume_auto_ack_total",
        "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment",
        |q| q.deliver_no_ack,
    ),
    (
        "messages_delivered_get_manual_ack_total",
        "Total number of messages delivered to consumers using basic.get with manual acknowledgment",
        |q| q.get,
    ),
    (
        "messages_delivered_get_auto_ack_total",
        "Total number of messages delivered to consumers using basic.get with automatic acknowledgment",
        |q| q.get_no_ack,
    ),
    ("messages_get_empty_total", "Total number of times basic.get operations fetched no message", |q| q.get_empty),
    ("messages_redelivered_total", "Total number of messages redelivered to consumers", |q| q.redeliver),
    ("messages_acknowledged_total", "Total number of messages acknowledged by consumers", |q| q.ack),
];

const DEAD_LETTERED: &[(&str, &str, Reason)] = &[
    ("messages_dead_lettered_expired_total", "Total number of messages dead-lettered due to message TTL exceeded", Reason::Expired),
    ("messages_dead_lettered_rejected_total", "Total number of messages dead-lettered due to basic.reject or basic.nack", Reason::Rejected),
    (
        "messages_dead_lettered_maxlen_total",
        "Total number of messages dead-lettered due to overflow drop-head or reject-publish-dlx",
        Reason::MaxLength,
    ),
    (
        "messages_dead_lettered_delivery_limit_total",
        "Total number of messages dead-lettered due to delivery-limit exceeded",
        Reason::DeliveryLimit,
    ),
];

const GLOBAL: &str = "rabbitmq_global_";

pub(super) fn global(scrape: &Scrape, text: &mut Text) {
    let totals = &scrape.sum.totals;
    for (kind, table) in [(Kind::Counter, PROTOCOL), (Kind::Gauge, PROTOCOL_NOW)] {
        for (name, help, value) in table {
            text.family(GLOBAL, name, kind, help);
            text.sample(&[("protocol", "amqp091")], value(totals));
        }
    }
    for (name, help, value) in QUEUE_TYPE {
        text.family(GLOBAL, name, Kind::Counter, help);
        for kind in [QueueType::Classic, QueueType::Quorum, QueueType::Stream] {
            text.sample(&[("protocol", "amqp091"), ("queue_type", type_label(kind))], value(&totals.queues.of(kind)));
        }
    }
    for (name, help, reason) in DEAD_LETTERED {
        text.family(GLOBAL, name, Kind::Counter, help);
        for (kind, strategy) in died(*reason) {
            let labels = [("queue_type", type_label(kind)), ("dead_letter_strategy", strategy.name())];
            text.sample(&labels, totals.dead_letters.count(kind, strategy, *reason));
        }
    }
    let help = "Total number of messages dead-lettered and confirmed by target queues";
    text.family(GLOBAL, "messages_dead_lettered_confirmed_total", Kind::Counter, help);
    let labels = [("queue_type", type_label(QueueType::Quorum)), ("dead_letter_strategy", Strategy::AtLeastOnce.name())];
    text.sample(&labels, totals.dead_letters.confirmed);
}

/// Where messages can die of this, by RabbitMQ's account.
fn died(reason: Reason) -> impl Iterator<Item = (QueueType, Strategy)> {
    let all = [QueueType::Classic, QueueType::Quorum].into_iter().flat_map(|kind| Strategy::ALL.map(|strategy| (kind, strategy)));
    all.filter(move |(kind, strategy)| match (kind, strategy) {
        (QueueType::Classic, Strategy::AtLeastOnce) => false,
        (QueueType::Classic, _) => reason != Reason::DeliveryLimit,
        (_, Strategy::AtLeastOnce) => reason != Reason::MaxLength,
        _ => true,
    })
}

/// What RabbitMQ's metrics call a type of queue.
pub(super) fn type_label(kind: QueueType) -> &'static str {
    match kind {
        QueueType::Classic => "rabbit_classic_queue",
        QueueType::Quorum => "rabbit_quorum_queue",
        QueueType::Stream => "rabbit_stream_queue",
    }
}
