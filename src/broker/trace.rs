//! The firehose (behaviour O11): while it is on, a copy of every message that is published or delivered goes to
//! amq.rabbitmq.trace, under the key `publish.EXCHANGE` or `deliver.QUEUE`.

use std::collections::BTreeSet;

use super::channel::reply_to::is_reply;
use super::dead_letter::other_keys;
use super::delivery::delivered_properties;
use super::exchange::ExchangeId;
use super::queue::{Entry, QueueId};
use super::{At, Broker};
use crate::amqp::properties::{Properties, Property, only_headers};
use crate::amqp::table::{self, Value};
use crate::amqp::{Marks, Message};

pub(super) const EXCHANGE: &str = "amq.rabbitmq.trace";

impl Broker {
    pub(super) fn set_tracing(&mut self, on: bool) {
        let exchange = self.exchange_names.get(EXCHANGE).copied();
        self.reports.tracing = exchange.filter(|_| on);
    }

    /// A client has published this, to these queues.
    pub(super) fn trace_publish(&mut self, at: At, message: &Message, queues: &[QueueId]) {
        let Some(exchange) = self.traces_wanted(message) else { return };
        // By name; for the default exchange all keys, whether there are such queues or not.
        let mut sorted: BTreeSet<&[u8]> = queues.iter().map(|queue| self.queues[*queue].name.as_bytes()).collect();
        let others;
        if message.exchange().is_empty() {
            others = other_keys(message);
            let keys = std::iter::once(message.routing_key()).chain(others.iter().map(Vec::as_slice));
            sorted.extend(keys.filter(|key| !is_reply(key)));
        }
        let mut names = Vec::new();
        sorted.into_iter().for_each(|name| table::put_value(&mut names, Value::String(name)));
        let mut headers = self.about(message, &message.visible_properties());
        self.put_channel(&mut headers, at);
        table::put(&mut headers, b"routed_queues", Value::Array(&names));
        self.trace(exchange, "publish", message.exchange(), &headers, message);
    }

    /// A queue is about to deliver this to a client.
    pub(super) fn trace_delivery(&mut self, at: At, queue: QueueId, entry: &Entry) {
        let message = &entry.message;
        let Some(exchange) = self.traces_wanted(message) else { return };
        let queue = &self.queues[queue];
        let name = queue.name.clone();
        let properties = delivered_properties(queue.kind, entry, &self.settings.profile);
        let mut headers = self.about(message, properties.as_deref().unwrap_or(message.raw_properties()));
        table::put_i32(&mut headers, b"redelivered", i32::from(entry.redelivered));
        self.put_channel(&mut headers, at);
        self.trace(exchange, "deliver", name.as_bytes(), &headers, message);
    }

    /// Where traces go, if anybody is there to see them. Traces are not traced.
    fn traces_wanted(&self, message: &Message) -> Option<ExchangeId> {
        let exchange = self.reports.tracing?;
        (self.exchanges[exchange].has_bindings() && message.exchange() != EXCHANGE.as_bytes()).then_some(exchange)
    }

    /// What a trace says about a message in any case.
    fn about(&self, message: &Message, properties: &[u8]) -> Vec<u8> {
        let mut keys = Vec::new();
        table::put_value(&mut keys, Value::String(message.routing_key()));
        for key in other_keys(message) {
            table::put_value(&mut keys, Value::String(&key));
        }
        let mut headers = Vec::new();
        table::put(&mut headers, b"exchange_name", Value::String(message.exchange()));
        table::put(&mut headers, b"routing_keys", Value::Array(&keys));
        table::put(&mut headers, b"properties", Value::Table(&as_table(Properties::checked(properties))));
        table::put(&mut headers, b"node", Value::String(self.settings.node_name.as_bytes()));
        headers
    }

    fn put_channel(&mut self, headers: &mut Vec<u8>, at: At) {
        table::put(headers, b"vhost", Value::String(self.vhost.as_bytes()));
        let Some(connection) = self.connection(at.connection) else { return };
        table::put(headers, b"connection", Value::String(connection.opened.origin.name().as_bytes()));
        table::put_i32(headers, b"channel", i32::from(at.channel));
        table::put(headers, b"user", Value::String(connection.opened.user.as_bytes()));
    }

    fn trace(&mut self, exchange: ExchangeId, what: &str, name: &[u8], headers: &[u8], message: &Message) {
        let mut key = [what.as_bytes(), b".", name].concat();
        // As long a name leaves no room for the word before it.
        key.truncate(usize::from(u8::MAX));
        let copy = message.readdressed(EXCHANGE.as_bytes(), &key, &only_headers(headers), Marks::default());
        self.reports.push(exchange, copy);
    }
}

/// Properties as a field table, the last one first, every number in 32 bits: as RabbitMQ does it.
fn as_table(properties: Properties<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in properties.all().into_iter().rev() {
        match value {
            Property::Text(text) => table::put(&mut out, name.as_bytes(), Value::String(text)),
            Property::Table(headers) => table::put(&mut out, name.as_bytes(), Value::Table(headers)),
            #[expect(clippy::cast_possible_truncation, reason = "RabbitMQ keeps the lower 32 bits of a timestamp")]
            Property::Number(number) => table::put_i32(&mut out, name.as_bytes(), number as i32),
        }
    }
    out
}
