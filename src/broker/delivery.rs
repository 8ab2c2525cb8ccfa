//! The only place where queues meet channels: ready messages × consumers that can take them.
//!
//! Invariant: between inputs, a queue with ready messages has no consumer in its turn that could take one.

use super::channel::unacked::Delivery;
use super::queue::arguments::Overflow;
use super::queue::{ConsumerId, Entry, Queue, QueueId};
use super::{Action, Broker, ConnectionId, Effects};
use crate::amqp::Message;
use crate::amqp::encoder::Recipient;

impl Broker {
    /// A message arrives at a queue; `false` when the queue refuses it because it is full (reject-publish).
    pub(super) fn enqueue(&mut self, id: QueueId, message: Message, effects: &mut Effects) -> bool {
        // A queue that was deleted while a transaction was open: treated as done (behaviour F5).
        let Some(queue) = self.queues.get_mut(id) else {
            self.release(message);
            return true;
        };
        if queue.bounds.overflow == Overflow::RejectPublish && queue.would_overflow(message.body_len()) {
            self.release(message);
            return false;
        }
        let entry = queue.ready.entry(message);
        self.memory += Entry::MEMORY;
        if queue.ready.is_empty()
            && queue.consumers.anyone_waiting()
            && let Some(consumer) = self.take_turn(id, effects)
        {
            self.deliver(consumer, entry, effects);
            return true;
        }
        self.queues[id].ready.push(entry);
        self.drop_overflow(id);
        true
    }

    /// Drops heads until the queue is within its bounds (behaviour Q13: after the message was taken in).
    pub(super) fn drop_overflow(&mut self, id: QueueId) {
        let too_long = |queue: &&mut Queue| queue.bounds.overflow == Overflow::DropHead && queue.overflows();
        while let Some(queue) = self.queues.get_mut(id).filter(too_long) {
            let Some(entry) = queue.ready.pop() else { return };
            self.release_entry(entry);
        }
    }

    /// Gives ready messages to consumers for as long as there are both.
    pub(super) fn pump(&mut self, id: QueueId, effects: &mut Effects) {
        while self.queues.get(id).is_some_and(|queue| !queue.ready.is_empty()) {
            let Some(consumer) = self.take_turn(id, effects) else { return };
            let Some(entry) = self.queues[id].ready.pop() else { return };
            self.deliver(consumer, entry, effects);
        }
    }

    /// The next consumer, in turn, that can take a message now; those that cannot are parked.
    fn take_turn(&mut self, id: QueueId, effects: &mut Effects) -> Option<ConsumerId> {
        loop {
            let consumer = self.queues[id].consumers.next_in_turn()?;
            if self.can_take(consumer, effects) {
                let priority = self.consumers[consumer].priority;
                self.queues[id].consumers.wait_again(consumer, priority);
                return Some(consumer);
            }
            self.consumers[consumer].parked = true;
        }
    }

    fn can_take(&mut self, id: ConsumerId, effects: &mut Effects) -> bool {
        let consumer = &self.consumers[id];
        if !consumer.has_credit() {
            return false;
        }
        let slot = self.connections.get_mut(consumer.connection.index());
        let Some(connection) = slot.and_then(Option::as_mut) else { return false };
        if connection.pending + effects.output_len(consumer.connection) >= self.settings.outbox_high {
            if !connection.congested {
                connection.congested = true;
                effects.actions.push(Action::ReportFlushed(consumer.connection));
            }
            return false;
        }
        consumer.no_ack || connection.channels.get(&consumer.channel).is_some_and(|channel| channel.has_credit())
    }

    fn deliver(&mut self, id: ConsumerId, entry: Entry, effects: &mut Effects) {
        let consumer = &mut self.consumers[id];
        let slot = self.connections.get_mut(consumer.connection.index());
        let connection = slot.and_then(Option::as_mut).expect("a consumer's connection is there");
        let channel = connection.channels.get_mut(&consumer.channel).expect("a consumer's channel is open");
        let tag = channel.unacked.next_tag();
        let to = Recipient { channel: consumer.channel, consumer_tag: consumer.tag.as_bytes(), frame_max: connection.opened.frame_max };
        effects.output(consumer.connection).basic_deliver(to, tag, entry.redelivered, &entry.message);
        if consumer.no_ack {
            self.release_entry(entry);
            return;
        }
        consumer.unacked += 1;
        let queue = &mut self.queues[consumer.queue];
        queue.unacked += 1;
        queue.unacked_bytes += entry.message.body_len() as u64;
        channel.unacked.push(Delivery { tag, queue: consumer.queue, consumer: Some(id), entry });
    }

    /// A parked consumer may have become able to take messages again.
    pub(super) fn unpark(&mut self, id: ConsumerId, effects: &mut Effects) {
        let Some(consumer) = self.consumers.get_mut(id) else { return };
        if consumer.parked && consumer.has_credit() {
            consumer.parked = false;
            let (queue, priority) = (consumer.queue, consumer.priority);
            self.queues[queue].consumers.wait_again(id, priority);
            self.pump(queue, effects);
        }
    }

    /// A socket has drained: the consumers of its connection may go on.
    pub(super) fn flushed(&mut self, id: ConnectionId, pending: usize, effects: &mut Effects) {
        let Some(connection) = self.connection(id) else { return };
        connection.pending = pending;
        connection.congested = false;
        let channels: Vec<u16> = connection.channels.keys().copied().collect();
        for channel in channels {
            for consumer in self.consumers_of(id, channel) {
                self.unpark(consumer, effects);
            }
        }
    }
}
