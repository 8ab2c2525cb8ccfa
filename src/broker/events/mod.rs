//! The event exchange (behaviour O12): what happens to queues, exchanges, bindings, connections, channels, consumers and
//! policies, as messages on amq.rabbitmq.event with headers and no body.
//!
//! Header names, their order and their types are those of RabbitMQ's plugin rabbitmq_event_exchange. Without the exchange, or with
//! nothing bound to it, nothing is put together.

mod headers;
mod policies;

use core::net::IpAddr;
use std::sync::Arc;

use super::exchange::{Destination, ExchangeId, Kind};
use super::queue::{Consumer, ConsumerId, QueueId};
use super::{Alarms, At, Broker, ConnectionId, INTERNAL_USER};
use crate::amqp::properties::of_event;
use crate::amqp::{FieldTable, Message};
use headers::Headers;

const EXCHANGE: &str = "amq.rabbitmq.event";

/// A binding, described by names: its ends may be gone when it is told of.
pub(super) struct Bound {
    source: Arc<str>,
    destination_kind: &'static str,
    destination: Arc<str>,
    key: String,
    arguments: FieldTable,
}

impl Broker {
    pub(super) fn declare_event_exchange(&mut self) {
        self.predeclare(EXCHANGE, Kind::Topic, true);
        self.reports.events = self.exchange_names.get(EXCHANGE).copied();
    }

    /// Announces an event, if anybody has bound a queue to hear of events.
    fn event(&mut self, key: &str, fill: impl FnOnce(&Self, &mut Headers)) {
        let Some(exchange) = self.reports.events.filter(|id| self.exchanges[*id].has_bindings()) else { return };
        let mut headers = Headers::default();
        fill(self, &mut headers);
        headers.number("timestamp_in_ms", self.now.0);
        let properties = of_event(&headers.0, self.now.0 / 1000);
        self.reports.push(exchange, Message::new(EXCHANGE.as_bytes(), key.as_bytes(), &properties, &[]));
    }

    /// Who acts when a client does.
    pub(super) fn user(&mut self, id: ConnectionId) -> Arc<str> {
        self.connection(id).map_or_else(|| INTERNAL_USER.into(), |connection| Arc::clone(&connection.opened.user))
    }

    /// What stands for the process that RabbitMQ has for a connection (channel 0) or a channel.
    fn process(&self, at: At) -> String {
        let connection = self.connections.get(at.connection.index()).and_then(Option::as_ref);
        let serial = connection.map_or(0, |connection| connection.serial);
        format!("<{}.1.{serial}.{}>", self.settings.node_name, at.channel)
    }

    pub(super) fn queue_created(&mut self, id: QueueId, user: &str) {
        self.event("queue.created", |broker, headers| {
            let queue = &broker.queues[id];
            let owner = queue.owner.map_or_else(String::new, |connection| broker.process(At { connection, channel: 0 }));
            headers.text("user_who_performed_action", user);
            headers.flag("exclusive", queue.owner.is_some());
            headers.text("owner_pid", &owner);
            headers.terms("arguments", &queue.arguments);
            headers.flag("auto_delete", queue.auto_delete);
            headers.flag("durable", queue.durable);
            headers.resource("name", &queue.name, &broker.vhost);
        });
    }

    pub(super) fn queue_deleted(&mut self, name: &str, user: &str) {
        self.event("queue.deleted", |broker, headers| {
            headers.text("user_who_performed_action", user);
            headers.resource("name", name, &broker.vhost);
        });
    }

    pub(super) fn exchange_created(&mut self, name: &str, user: &str) {
        self.event("exchange.created", |broker, headers| {
            let Some(exchange) = broker.exchange_names.get(name).map(|id| &broker.exchanges[*id]) else { return };
            headers.text("user_who_performed_action", user);
            headers.text("policy", broker.policies.name_for_exchange(name).unwrap_or_default());
            headers.terms("arguments", &exchange.arguments);
            headers.flag("internal", exchange.internal);
            headers.flag("auto_delete", exchange.auto_delete);
            headers.flag("durable", exchange.durable);
            headers.text("type", exchange.kind.name());
            headers.resource("name", name, &broker.vhost);
        });
    }

    pub(super) fn exchange_deleted(&mut self, name: &str, user: &str) {
        self.event("exchange.deleted", |broker, headers| {
            headers.text("user_who_performed_action", user);
            headers.resource("name", name, &broker.vhost);
        });
    }

    /// What there is to tell of a binding; nothing if nobody wants to know.
    pub(super) fn describe_binding(&self, source: &Arc<str>, destination: Destination, key: &str, arguments: &FieldTable) -> Option<Bound> {
        self.reports.events?;
        let (destination_kind, destination) = match destination {
            Destination::Queue(id) => ("queue", Arc::clone(&self.queues.get(id)?.name)),
            Destination::Exchange(id) => ("exchange", Arc::clone(&self.exchanges.get(id)?.name)),
        };
        let (source, key, arguments) = (Arc::clone(source), key.to_owned(), arguments.clone());
        Some(Bound { source, destination_kind, destination, key, arguments })
    }

    /// All bindings from an exchange to a destination of this name, which may be gone by now.
    pub(super) fn describe_bindings(&self, source: ExchangeId, destination: Destination, name: &Arc<str>) -> Vec<Bound> {
        let Some(exchange) = self.exchanges.get(source).filter(|_| self.reports.events.is_some()) else { return Vec::new() };
        let destination_kind = match destination {
            Destination::Queue(_) => "queue",
            Destination::Exchange(_) => "exchange",
        };
        let to_it = exchange.bindings().filter(|(to, ..)| *to == destination);
        let described = to_it.map(|(_, key, arguments)| Bound {
            source: Arc::clone(&exchange.name),
            destination_kind,
            destination: Arc::clone(name),
            key: key.to_owned(),
            arguments: arguments.clone(),
        });
        described.collect()
    }

    pub(super) fn binding_created(&mut self, binding: Option<Bound>, user: &str) {
        self.binding_event("binding.created", binding, user);
    }

    pub(super) fn binding_deleted(&mut self, binding: Option<Bound>, user: &str) {
        self.binding_event("binding.deleted", binding, user);
    }

    fn binding_event(&mut self, key: &str, binding: Option<Bound>, user: &str) {
        let Some(binding) = binding else { return };
        self.event(key, |broker, headers| {
            headers.text("user_who_performed_action", user);
            headers.text("vhost", &broker.vhost);
            headers.terms("arguments", &binding.arguments);
            headers.text("routing_key", &binding.key);
            headers.text("destination_kind", binding.destination_kind);
            headers.text("destination_name", &binding.destination);
            headers.text("source_kind", "exchange");
            headers.text("source_name", &binding.source);
        });
    }

    pub(super) fn consumer_created(&mut self, id: ConsumerId, exclusive: bool, arguments: &FieldTable) {
        let user = self.user(self.consumers[id].connection);
        self.event("consumer.created", |broker, headers| {
            let consumer = &broker.consumers[id];
            headers.text("user_who_performed_action", &user);
            headers.terms("arguments", arguments);
            headers.number("prefetch_count", consumer.prefetch.into());
            headers.resource("queue", &broker.queues[consumer.queue].name, &broker.vhost);
            headers.text("channel", &broker.process(consumer.at()));
            headers.flag("ack_required", !consumer.no_ack);
            headers.flag("exclusive", exclusive);
            headers.text("consumer_tag", &consumer.tag);
        });
    }

    /// The queue of a consumer goes. RabbitMQ: both the queue and the channel tell of it, and the channel does not say who did it.
    pub(super) fn cancelled_with_queue(&mut self, id: ConsumerId, queue: &str, user: &str) {
        self.event("consumer.deleted", |broker, headers| {
            if let Some(consumer) = broker.consumers.get(id) {
                headers.text("user_who_performed_action", user);
                broker.put_consumer(headers, consumer, queue);
            }
        });
    }

    pub(super) fn consumer_deleted(&mut self, consumer: &Consumer, queue: &str, user: Option<&str>) {
        self.event("consumer.deleted", |broker, headers| {
            if let Some(user) = user {
                headers.text("user_who_performed_action", user);
            }
            broker.put_consumer(headers, consumer, queue);
        });
    }

    fn put_consumer(&self, headers: &mut Headers, consumer: &Consumer, queue: &str) {
        headers.resource("queue", queue, &self.vhost);
        headers.text("channel", &self.process(consumer.at()));
        headers.text("consumer_tag", &consumer.tag);
    }

    pub(super) fn connection_created(&mut self, id: ConnectionId) {
        self.event("connection.created", |broker, headers| {
            let Some(connection) = &broker.connections[id.index()] else { return };
            let opened = &connection.opened;
            let origin = &opened.origin;
            headers.text("user_who_performed_action", &opened.user);
            headers.text("node", &broker.settings.node_name);
            headers.number("connected_at", broker.now.0);
            headers.terms("client_properties", &origin.client_properties());
            headers.number("channel_max", opened.channel_max.into());
            headers.number("frame_max", opened.frame_max as u64);
            headers.number("timeout", origin.heartbeat_s.into());
            headers.text("vhost", &broker.vhost);
            headers.text("user", &opened.user);
            headers.text("protocol", "{0,9,1}");
            let ssl = origin.ssl.as_deref();
            headers.text("ssl_hash", ssl.map_or("", |ssl| ssl.hash));
            headers.text("ssl_cipher", ssl.map_or("", |ssl| &ssl.cipher));
            headers.text("ssl_key_exchange", ssl.map_or("", |ssl| &ssl.key_exchange));
            headers.text("ssl_protocol", ssl.map_or("", |ssl| ssl.protocol));
            headers.text("auth_mechanism", &origin.mechanism);
            let certificate = ssl.and_then(|ssl| ssl.certificate.as_ref());
            headers.text("peer_cert_validity", certificate.map_or("", |certificate| &certificate.validity));
            headers.text("peer_cert_issuer", certificate.map_or("", |certificate| &certificate.issuer));
            headers.text("peer_cert_subject", certificate.map_or("", |certificate| &certificate.subject));
            headers.flag("ssl", ssl.is_some());
            headers.text("peer_host", &host(origin.peer.ip()));
            headers.text("host", &host(origin.local.ip()));
            headers.number("peer_port", origin.peer.port().into());
            headers.number("port", origin.local.port().into());
            headers.text("name", &origin.name());
            headers.text("pid", &broker.process(At { connection: id, channel: 0 }));
            headers.text("type", "network");
        });
    }

    pub(super) fn connection_closed(&mut self, id: ConnectionId) {
        self.event("connection.closed", |broker, headers| {
            let Some(connection) = broker.connections.get(id.index()).and_then(Option::as_ref) else { return };
            headers.terms("client_properties", &connection.opened.origin.client_properties());
            headers.text("node", &broker.settings.node_name);
            headers.text("pid", &broker.process(At { connection: id, channel: 0 }));
            headers.text("name", &connection.opened.origin.name());
        });
    }

    pub(super) fn channel_created(&mut self, at: At) {
        let user = self.user(at.connection);
        self.event("channel.created", |broker, headers| {
            let Some(connection) = &broker.connections[at.connection.index()] else { return };
            headers.text("user_who_performed_action", &user);
            headers.text("vhost", &broker.vhost);
            headers.text("user", &user);
            headers.number("number", at.channel.into());
            headers.text("connection", &broker.process(At { channel: 0, ..at }));
            headers.text("name", &format!("{} ({})", connection.opened.origin.name(), at.channel));
            headers.text("pid", &broker.process(at));
        });
    }

    pub(super) fn channel_closed(&mut self, at: At) {
        let user = self.user(at.connection);
        self.event("channel.closed", |broker, headers| {
            headers.text("user_who_performed_action", &user);
            headers.text("pid", &broker.process(at));
        });
    }

    pub(super) fn alarms_have_changed(&mut self, before: Alarms) {
        let now = self.alarms;
        for (source, was, is) in [("memory", before.memory, now.memory), ("disk", before.disk, now.disk)] {
            if was != is {
                self.event(if is { "alarm.set" } else { "alarm.cleared" }, |broker, headers| {
                    headers.text("node", &broker.settings.node_name);
                    headers.text("source", source);
                });
            }
        }
    }
}

/// An address as an Erlang tuple.
fn host(address: IpAddr) -> String {
    let parts: Vec<String> = match address {
        IpAddr::V4(address) => address.octets().iter().map(u8::to_string).collect(),
        IpAddr::V6(address) => address.segments().iter().map(u16::to_string).collect(),
    };
    format!("{{{}}}", parts.join(","))
}
