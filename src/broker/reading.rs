//! Streams and their readers: appending, reading on, retention (behaviour Q22, Q23).

use super::queue::stream::{Read, Stream};
use super::queue::{ConsumerId, Entry, QueueId};
use super::timers::Due;
use super::{Broker, Effects};
use crate::amqp::Message;

impl Broker {
    /// A message arrives at a stream.
    pub(super) fn append(&mut self, id: QueueId, message: Message, effects: &mut Effects) {
        let now = self.now;
        let queue = &mut self.queues[id];
        let Some(stream) = &mut queue.stream else { return self.release(message) };
        stream.append(message, now, &queue.effective);
        self.memory += Stream::MEMORY;
        let mut waiting = std::mem::take(&mut stream.waiting);
        self.retire(id);
        for consumer in waiting.drain(..) {
            if let Some(reader) = self.consumers.get_mut(consumer).and_then(|consumer| consumer.reader.as_mut()) {
                reader.waiting = false;
            }
            self.read_on(consumer, effects);
        }
        // The allocation is kept for the readers that wait next.
        if let Some(stream) = self.queues[id].stream.as_mut().filter(|stream| stream.waiting.is_empty()) {
            stream.waiting = waiting;
        }
    }

    /// Drops what a stream no longer keeps.
    pub(super) fn retire(&mut self, id: QueueId) {
        loop {
            let Some(queue) = self.queues.get_mut(id) else { return };
            let Some(stream) = &mut queue.stream else { return };
            let Some(messages) = stream.retire(self.now, &queue.effective) else {
                if let Some(at) = stream.retires_at(&queue.effective) {
                    self.timers.arm(&mut stream.retention, at, Due::Retention(id));
                }
                return;
            };
            for message in messages {
                self.release_stored(message);
            }
        }
    }

    pub(super) fn retention_is_due(&mut self, id: QueueId) {
        let now = self.now;
        let stream = self.queues.get_mut(id).and_then(|queue| queue.stream.as_mut());
        if stream.is_some_and(|stream| stream.retention.is_due(now)) {
            self.retire(id);
        }
    }

    /// A message leaves a stream.
    pub(super) fn release_stored(&mut self, message: Message) {
        self.memory -= Stream::MEMORY;
        self.release(message);
    }

    /// Gives a reader what is next for as long as it can take more.
    pub(super) fn read_on(&mut self, id: ConsumerId, effects: &mut Effects) {
        while self.consumers.get(id).is_some_and(|consumer| !consumer.parked) {
            if !self.can_take(id, effects) {
                self.consumers[id].parked = true;
                return;
            }
            let consumer = &mut self.consumers[id];
            let queue = consumer.queue;
            let (Some(reader), Some(stream)) = (&mut consumer.reader, &mut self.queues[queue].stream) else { return };
            let entry = match stream.read(reader) {
                Read::Message(offset, message) => Entry::new(message.clone(), offset),
                Read::Paused => {
                    // Others come first: one portion for each input.
                    self.timers.push(self.asked.after(1), Due::Reading(id));
                    return;
                }
                Read::End => {
                    if !std::mem::replace(&mut reader.waiting, true) {
                        stream.waiting.push(id);
                    }
                    return;
                }
            };
            self.memory += Entry::MEMORY;
            self.deliver(id, entry, effects);
        }
    }
}
