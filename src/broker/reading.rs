//! Streams and their readers: appending, reading on, retention (behaviour Q22, Q23).

use std::sync::Arc;

use super::journal::reason;
use super::queue::stream::{Read, Reader, Stream};
use super::queue::{ConsumerId, Entry, QueueId};
use super::record::Enqueue;
use super::timers::Due;
use super::{Broker, Effects, Fired, Load, Loaded, Purpose};
use crate::amqp::Message;

/// Bytes of messages that a reader loads at a time.
const PAGE: usize = 256 * 1024;

impl Broker {
    /// A message arrives at a stream.
    pub(super) fn append(&mut self, id: QueueId, message: Message, effects: &mut Effects) {
        let now = self.now;
        let queue = &mut self.queues[id];
        let Some(stream) = &mut queue.stream else { return self.release(message) };
        if queue.number != 0 {
            let enqueue = Enqueue { queue: queue.number, position: stream.next(), at: now.0, ..Enqueue::default() };
            self.log.enqueue(&message, enqueue);
            queue.counters.disk_writes += 1;
        }
        if let Some(journal) = &mut self.journal {
            journal.enqueued(now, (id, &queue.name), stream.next(), &message);
        }
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
            let Some(retired) = stream.retire(self.now, &queue.effective) else {
                if let Some(at) = stream.retires_at(&queue.effective) {
                    self.timers.arm(&mut stream.retention, at, Due::Retention(id));
                }
                return;
            };
            if queue.number != 0 {
                self.log.drop_all(queue.number, 0, (retired.first, retired.last), retired.bytes);
            }
            if self.journal.is_some() {
                self.journal_retired(id, retired.first, &retired.messages, reason::RETENTION);
            }
            for message in retired.messages {
                self.release_stored(message);
            }
        }
    }

    pub(super) fn retention_is_due(&mut self, id: QueueId) {
        let now = self.now;
        let stream = self.queues.get_mut(id).and_then(|queue| queue.stream.as_mut());
        if stream.is_some_and(|stream| stream.retention.is_due(now)) {
            let before = self.queues[id].message_count();
            self.retire(id);
            let queue = &self.queues[id];
            let (name, gone) = (Arc::clone(&queue.name), before.saturating_sub(queue.message_count()));
            self.fired(Fired::Retention, &name, gone as u64);
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
            let mut left_out = Vec::new();
            let read = stream.read(reader, &mut left_out);
            let entry = match read {
                Read::Message(offset, message) => Some(Entry::new(message, offset)),
                Read::OnDisk(first, last) => {
                    if !std::mem::replace(&mut reader.loading, true) {
                        let (queue, purpose) = (self.queues[queue].number, Purpose::Reader(id));
                        self.loads.push(Load { queue, level: 0, first, last, max_bytes: PAGE, purpose });
                    }
                    None
                }
                Read::Paused => {
                    // Others come first: one portion for each input.
                    self.timers.push(self.asked.after(1), Due::Reading(id));
                    None
                }
                Read::End => {
                    if !std::mem::replace(&mut reader.waiting, true) {
                        stream.waiting.push(id);
                    }
                    None
                }
            };
            for message in left_out {
                self.release(message);
            }
            let Some(entry) = entry else { return };
            self.memory += Entry::MEMORY;
            self.deliver(id, entry, false, effects);
        }
    }

    /// A page has come for a reader.
    pub(super) fn page_loaded(&mut self, id: ConsumerId, loaded: Loaded, effects: &mut Effects) {
        let Some(reader) = self.consumers.get_mut(id).and_then(|consumer| consumer.reader.as_mut()) else { return };
        reader.loading = false;
        if loaded.messages.is_empty() {
            // Nothing is left of it by now.
            reader.next = reader.next.max(loaded.load.last + 1);
        }
        for stored in loaded.messages {
            self.memory += stored.message.memory() as u64;
            reader.page.push_back(stored);
        }
        self.read_on(id, effects);
    }

    /// A reader is gone, and its page with it.
    pub(super) fn drop_page(&mut self, reader: Option<Box<Reader>>) {
        for stored in reader.into_iter().flat_map(|reader| reader.page) {
            self.release(stored.message);
        }
    }
}
