//! A delivery that comes a second time, as after an acknowledgement that was lost: for who tests how a consumer copes with it.

use super::unacked::Delivery;
use crate::amqp::encoder::{Delivered, Recipient};
use crate::broker::delivery::delivered_properties;
use crate::broker::journal::Given;
use crate::broker::queue::Entry;
use crate::broker::{At, Broker, ConnectionId, Effects};

impl Broker {
    /// Gives a consumer once more what it holds with this tag: redelivered, with a tag of its own. It takes a place of the prefetch,
    /// also where there is none left; the message stays with the first tag, so that both can be acknowledged.
    pub(in crate::broker) fn deliver_again(&mut self, at: At, delivery_tag: u64, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(at.connection.index()).and_then(Option::as_mut) else { return };
        let frame_max = connection.opened.frame_max;
        let Some(channel) = connection.channels.get_mut(&at.channel) else { return };
        let Some(first) = channel.unacked.get(delivery_tag).filter(|delivery| !delivery.again) else { return };
        let Some(id) = first.consumer else { return };
        let (Some(consumer), Some(queue)) = (self.consumers.get_mut(id), self.queues.get_mut(first.queue)) else { return };
        let entry = Entry { redelivered: true, ..first.entry.clone() };
        let of = first.queue;
        let tag = channel.unacked.next_tag();
        if let Some(journal) = &mut self.journal {
            let client = journal.client(at, connection.serial, &connection.opened.origin);
            let given = Given { consumer_tag: Some(&consumer.tag), delivery_tag: tag, no_ack: false, stays: queue.stream.is_some() };
            journal.given(self.now, client, (of, &queue.name), &entry, &given);
        }
        let to = Recipient { channel: at.channel, consumer_tag: consumer.tag.as_bytes(), frame_max };
        let properties = delivered_properties(queue.kind, &entry, &self.settings.profile);
        let delivered = Delivered { message: &entry.message, properties: properties.as_deref(), redelivered: true };
        effects.output(at.connection).basic_deliver(to, tag, delivered);
        queue.counters.redeliver += 1;
        queue.counters.deliver += 1;
        channel.counters.redeliver += 1;
        channel.counters.deliver += 1;
        if let Some(breakdown) = &mut self.breakdown {
            breakdown.deliver(at, of, false, true);
        }
        consumer.unacked += 1;
        self.memory += Entry::MEMORY;
        channel.unacked.push(Delivery { tag, queue: of, consumer: Some(id), delivered: self.now, entry, again: true });
    }

    /// The queue that a consumer gets messages from, and whether it need not acknowledge them.
    #[must_use]
    pub fn consumer(&self, connection: ConnectionId, channel: u16, tag: &str) -> Option<(&str, bool)> {
        let connection = self.connections.get(connection.index())?.as_ref()?;
        let consumer = self.consumers.get(*connection.channels.get(&channel)?.consumers.get(tag)?)?;
        Some((&*self.queues.get(consumer.queue)?.name, consumer.no_ack))
    }
}
