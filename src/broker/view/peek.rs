//! A look at the messages of a queue that leaves them where they are.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::amqp::Message;
use crate::broker::channel::unacked::Delivery;
use crate::broker::delivery::delivered_properties;
use crate::broker::queue::{Entry, Queue, QueueId};
use crate::broker::{Broker, ConnectionId, Timestamp};

/// A message as a consumer would get it.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// Exchange, routing key, properties and body; with an allocation of its own, as the broker counts those that share one.
    pub message: Message,
    pub redelivered: bool,
    /// Its place in the queue: rises with every publish. In a stream: its offset.
    pub position: u64,
}

/// What a look has found.
#[derive(Clone, Debug, Default)]
pub struct Peek {
    pub messages: Vec<Peeked>,
    /// How many messages of the queue are on disk alone; nothing that is behind one of them is shown.
    pub on_disk: u64,
}

impl Broker {
    /// A message as a consumer would get it.
    fn show(&self, queue: &Queue, entry: &Entry) -> Peeked {
        let properties = delivered_properties(queue.kind, entry, &self.settings.profile);
        let message = properties.map_or_else(|| entry.message.copied(), |properties| entry.message.with_properties(&properties));
        Peeked { message, redelivered: entry.redelivered, position: entry.position }
    }

    /// Up to `count` messages of a queue in the order in which consumers get them, after the first `from`; `None` if there is no
    /// such queue. Of priorities that take turns, the higher one is shown first.
    #[must_use]
    pub fn peek(&self, queue: &str, count: usize, from: usize) -> Option<Peek> {
        let queue = self.queue_names.get(queue).map(|id| &self.queues[*id])?;
        let on_disk = queue.amounts().paged_out.messages;
        let show = |entry: &Entry| self.show(queue, entry);
        let messages = match &queue.stream {
            None => queue.ready.iter_to_disk().skip(from).take(count).map(show).collect(),
            Some(stream) => {
                let entries = stream.iter_from(stream.first() + from as u64).take(count);
                entries.map(|(offset, message)| show(&Entry::new(message.clone(), offset))).collect()
            }
        };
        Some(Peek { messages, on_disk })
    }
}

/// A message that somebody has been given and has not settled.
#[derive(Clone, Debug)]
pub struct Unsettled {
    pub peeked: Peeked,
    pub connection: ConnectionId,
    /// What the connection is called.
    pub name: String,
    pub channel: u16,
    /// `None` where it was got with basic.get, or its consumer is gone.
    pub consumer_tag: Option<Box<str>>,
    pub delivery_tag: u64,
    pub delivered: Timestamp,
}

/// How many messages of a queue a channel has not settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldBy {
    /// The name of the connection.
    pub connection: String,
    pub channel: u16,
    pub messages: usize,
}

impl Broker {
    fn deliveries_of(&self, queue: QueueId) -> impl Iterator<Item = (ConnectionId, u16, &Delivery)> {
        let channels =
            self.all_connections().flat_map(|(id, connection)| connection.channels.iter().map(move |(n, channel)| (id, *n, channel)));
        let held = channels.flat_map(|(id, number, channel)| channel.held().map(move |delivery| (id, number, delivery)));
        held.filter(move |(_, _, delivery)| delivery.queue == queue)
    }

    fn name_of(&self, connection: ConnectionId) -> String {
        let connection = self.connections.get(connection.index()).and_then(Option::as_ref);
        connection.map(|connection| connection.opened.origin.name()).unwrap_or_default()
    }

    /// Up to `count` unacked messages of a queue in the order of their positions, after the first `from`; `None` if there is no such queue.
    #[must_use]
    pub fn peek_unacked(&self, queue: &str, count: usize, from: usize) -> Option<Vec<Unsettled>> {
        let id = *self.queue_names.get(queue)?;
        let mut held: Vec<_> = self.deliveries_of(id).collect();
        held.sort_by_key(|(connection, channel, delivery)| (delivery.entry.position, *connection, *channel, delivery.tag));
        let show = |(connection, channel, delivery): (ConnectionId, u16, &Delivery)| Unsettled {
            peeked: self.show(&self.queues[id], &delivery.entry),
            connection,
            name: self.name_of(connection),
            channel,
            consumer_tag: delivery.consumer.and_then(|id| self.consumers.get(id)).map(|consumer| consumer.tag.clone()),
            delivery_tag: delivery.tag,
            delivered: delivery.delivered,
        };
        Some(held.into_iter().skip(from).take(count).map(show).collect())
    }

    /// Who has how many messages of a queue, by connection and channel.
    #[must_use]
    pub fn held_by(&self, queue: &str) -> Vec<HeldBy> {
        let Some(&id) = self.queue_names.get(queue) else { return Vec::new() };
        let mut counts: BTreeMap<(ConnectionId, u16), usize> = BTreeMap::new();
        for (connection, channel, _) in self.deliveries_of(id) {
            *counts.entry((connection, channel)).or_default() += 1;
        }
        counts.into_iter().map(|((id, channel), messages)| HeldBy { connection: self.name_of(id), channel, messages }).collect()
    }
}
