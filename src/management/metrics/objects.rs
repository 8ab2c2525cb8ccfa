//! Metrics of queues, channels, connections and exchanges, in RabbitMQ's words, by RabbitMQ's families. Sums of counters have in
//! them what was counted by objects that are gone, so that they never fall.

use super::metric::{Metric, counter, gauge, maybe};
use super::scrape::{Connection, Sum};
use super::text::Kind;
use crate::broker::counters::QueueCounters;
use crate::broker::view::{ChannelView, ExchangeView, QueueView};

fn queues(sum: &Sum) -> QueueCounters {
    sum.totals.queues.sum()
}

pub(super) const QUEUE_COARSE: &[Metric<QueueView>] = &[
    gauge("queue_messages_ready", "Messages ready to be delivered to consumers", |q| q.ready.messages, |s| s.totals.ready.messages),
    gauge(
        "queue_messages_unacked",
        "Messages delivered to consumers but not yet acknowledged",
        |q| q.unacked.messages,
        |s| s.totals.unacked.messages,
    ),
    gauge(
        "queue_messages",
        "Sum of ready and unacknowledged messages - total queue depth",
        |q| q.total().messages,
        |s| s.totals.ready.messages + s.totals.unacked.messages,
    ),
];

pub(super) const QUEUE_CONSUMERS: &[Metric<QueueView>] =
    &[gauge("queue_consumers", "Consumers on a queue", |q| q.consumers as u64, |s| s.totals.objects.consumers as u64)];

pub(super) const QUEUE: &[Metric<QueueView>] = &[
    gauge("queue_consumers", "Consumers on a queue", |q| q.consumers as u64, |s| s.totals.objects.consumers as u64),
    gauge("queue_process_memory_bytes", "Memory in bytes used by the queue", |q| q.memory, |s| s.totals.queue_memory),
    gauge(
        "queue_messages_ram",
        "Ready and unacknowledged messages stored in memory",
        |q| q.in_memory.messages,
        |s| s.totals.in_memory.messages,
    ),
    gauge(
        "queue_messages_ram_bytes",
        "Size of ready and unacknowledged messages stored in memory",
        |q| q.in_memory.bytes,
        |s| s.totals.in_memory.bytes,
    ),
    gauge(
        "queue_messages_ready_ram",
        "Ready messages stored in memory",
        |q| q.ready.messages.saturating_sub(q.paged_out.messages),
        |s| s.totals.ready.messages.saturating_sub(s.totals.paged_out.messages),
    ),
    gauge("queue_messages_unacked_ram", "Unacknowledged messages stored in memory", |q| q.unacked.messages, |s| s.totals.unacked.messages),
    gauge("queue_messages_persistent", "Persistent messages", |q| q.persistent.messages, |s| s.totals.persistent.messages),
    gauge("queue_messages_persistent_bytes", "Size in bytes of persistent messages", |q| q.persistent.bytes, |s| s.totals.persistent.bytes),
    gauge(
        "queue_messages_bytes",
        "Size in bytes of ready and unacknowledged messages",
        |q| q.total().bytes,
        |s| s.totals.ready.bytes + s.totals.unacked.bytes,
    ),
    gauge("queue_messages_ready_bytes", "Size in bytes of ready messages", |q| q.ready.bytes, |s| s.totals.ready.bytes),
    gauge("queue_messages_unacked_bytes", "Size in bytes of all unacknowledged messages", |q| q.unacked.bytes, |s| s.totals.unacked.bytes),
    gauge("queue_messages_paged_out", "Messages paged out to disk", |q| q.paged_out.messages, |s| s.totals.paged_out.messages),
    gauge(
        "queue_messages_paged_out_bytes",
        "Size in bytes of messages paged out to disk",
        |q| q.paged_out.bytes,
        |s| s.totals.paged_out.bytes,
    ),
    maybe(Kind::Gauge, "queue_head_message_timestamp", "Timestamp of the first message in the queue, if any", |q| q.head_timestamp),
    counter(
        "queue_disk_reads_total",
        "Total number of times queue read messages from disk",
        |q| q.counters.disk_reads,
        |s| queues(s).disk_reads,
    ),
    counter(
        "queue_disk_writes_total",
        "Total number of times queue wrote messages to disk",
        |q| q.counters.disk_writes,
        |s| queues(s).disk_writes,
    ),
    maybe(Kind::Counter, "stream_segments", "Total number of stream segment files", |q: &QueueView| Some(q.stream?.segments as u64))
        .and_sum(|s| s.totals.segments),
];

pub(super) const QUEUE_DELIVERY: &[Metric<QueueView>] = &[
    counter(
        "queue_get_ack_total",
        "Total number of messages fetched from a queue with basic.get in manual acknowledgement mode",
        |q| q.counters.get,
        |s| queues(s).get,
    ),
    counter(
        "queue_get_total",
        "Total number of messages fetched from a queue with basic.get in automatic acknowledgement mode",
        |q| q.counters.get_no_ack,
        |s| queues(s).get_no_ack,
    ),
    counter(
        "queue_messages_delivered_ack_total",
        "Total number of messages delivered from a queue to consumers in manual acknowledgement mode",
        |q| q.counters.deliver,
        |s| queues(s).deliver,
    ),
    counter(
        "queue_messages_delivered_total",
        "Total number of messages delivered from a queue to consumers in automatic acknowledgement mode",
        |q| q.counters.deliver_no_ack,
        |s| queues(s).deliver_no_ack,
    ),
    counter(
        "queue_messages_redelivered_total",
        "Total number of messages redelivered from a queue to consumers",
        |q| q.counters.redeliver,
        |s| queues(s).redeliver,
    ),
    counter(
        "queue_messages_acked_total",
        "Total number of messages acknowledged by consumers on a queue",
        |q| q.counters.ack,
        |s| queues(s).ack,
    ),
    counter(
        "queue_get_empty_total",
        "Total number of times basic.get operations fetched no message on a queue",
        |q| q.counters.get_empty,
        |s| queues(s).get_empty,
    ),
];

pub(super) const QUEUE_PUBLISHED: &[Metric<QueueView>] = &[counter(
    "queue_messages_published_total",
    "Total number of messages published into a queue",
    |q| q.counters.publish,
    |s| queues(s).publish,
)];

pub(super) const EXCHANGE: &[Metric<ExchangeView>] = &[counter(
    "exchange_messages_published_total",
    "Total number of messages published into an exchange",
    |x| x.counters.publish_in,
    |s| s.totals.messages.publish,
)];

pub(super) const CHANNEL: &[Metric<ChannelView>] = &[
    gauge("channel_consumers", "Consumers on a channel", |c| c.consumer_count as u64, |s| s.totals.objects.consumers as u64),
    gauge("channel_messages_unacked", "Delivered but not yet acknowledged messages", |c| c.unacked as u64, |s| s.totals.channels.unacked),
    gauge("channel_messages_unconfirmed", "Published but not yet confirmed messages", |c| c.unconfirmed, |s| s.totals.channels.unconfirmed),
    gauge(
        "channel_messages_uncommitted",
        "Messages received in a transaction but not yet committed",
        |c| c.uncommitted as u64,
        |s| s.totals.channels.uncommitted,
    ),
    gauge(
        "channel_acks_uncommitted",
        "Message acknowledgements in a transaction not yet committed",
        |c| c.acks_uncommitted as u64,
        |s| s.totals.channels.acks_uncommitted,
    ),
    gauge(
        "consumer_prefetch",
        "Limit of unacknowledged messages for each consumer",
        |c| c.prefetch_count.into(),
        |s| s.totals.channels.prefetch,
    ),
    gauge(
        "channel_prefetch",
        "Total limit of unacknowledged messages for all consumers on a channel",
        |c| c.global_prefetch_count.into(),
        |s| s.totals.channels.global_prefetch,
    ),
];

/// What a channel counts.
const fn on_channel(name: &'static str, help: &'static str, each: fn(&ChannelView) -> u64, sum: fn(&Sum) -> u64) -> Metric<ChannelView> {
    counter(name, help, each, sum).with_vhost()
}

/// RabbitMQ tells them by exchange as well.
pub(super) const CHANNEL_EXCHANGE: &[Metric<ChannelView>] = &[
    on_channel(
        "channel_messages_published_total",
        "Total number of messages published into an exchange on a channel",
        |c| c.counters.publish,
        |s| s.totals.messages.publish,
    ),
    on_channel(
        "channel_messages_confirmed_total",
        "Total number of messages published into an exchange and confirmed on the channel",
        |c| c.counters.confirm,
        |s| s.totals.messages.confirm,
    ),
    on_channel(
        "channel_messages_unroutable_returned_total",
        "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        |c| c.counters.return_unroutable,
        |s| s.totals.messages.return_unroutable,
    ),
    on_channel(
        "channel_messages_unroutable_dropped_total",
        "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        |c| c.counters.drop_unroutable,
        |s| s.totals.messages.drop_unroutable,
    ),
];

/// RabbitMQ tells them by queue as well.
pub(super) const CHANNEL_QUEUE: &[Metric<ChannelView>] = &[
    on_channel(
        "channel_get_ack_total",
        "Total number of messages fetched with basic.get in manual acknowledgement mode",
        |c| c.counters.get,
        |s| s.totals.messages.get,
    ),
    on_channel(
        "channel_get_total",
        "Total number of messages fetched with basic.get in automatic acknowledgement mode",
        |c| c.counters.get_no_ack,
        |s| s.totals.messages.get_no_ack,
    ),
    on_channel(
        "channel_messages_delivered_ack_total",
        "Total number of messages delivered to consumers in manual acknowledgement mode",
        |c| c.counters.deliver,
        |s| s.totals.messages.deliver,
    ),
    on_channel(
        "channel_messages_delivered_total",
        "Total number of messages delivered to consumers in automatic acknowledgement mode",
        |c| c.counters.deliver_no_ack,
        |s| s.totals.messages.deliver_no_ack,
    ),
    on_channel(
        "channel_messages_redelivered_total",
        "Total number of messages redelivered to consumers",
        |c| c.counters.redeliver,
        |s| s.totals.messages.redeliver,
    ),
    on_channel(
        "channel_messages_acked_total",
        "Total number of messages acknowledged by consumers",
        |c| c.counters.ack,
        |s| s.totals.messages.ack,
    ),
    on_channel(
        "channel_get_empty_total",
        "Total number of times basic.get operations fetched no message",
        |c| c.counters.get_empty,
        |s| s.totals.messages.get_empty,
    ),
];

/// Of connections that are open, their sums as well.
pub(super) const CONNECTION_COARSE: &[Metric<Connection>] = &[
    counter("connection_incoming_bytes_total", "Total number of bytes received on a connection", |c| c.wire.received, |s| s.wire.received),
    counter("connection_outgoing_bytes_total", "Total number of bytes sent on a connection", |c| c.wire.sent, |s| s.wire.sent),
];

pub(super) const CONNECTION: &[Metric<Connection>] = &[
    counter("connection_incoming_packets_total", "Total number of packets received on a connection", |c| c.wire.reads, |s| s.wire.reads),
    counter("connection_outgoing_packets_total", "Total number of packets sent on a connection", |c| c.wire.writes, |s| s.wire.writes),
    gauge(
        "connection_pending_packets",
        "Number of packets waiting to be sent on a connection",
        |c| c.wire.pending as u64,
        |s| s.wire.pending as u64,
    ),
    gauge("connection_channels", "Channels on a connection", |c| c.channels, |s| s.totals.objects.channels as u64),
];
