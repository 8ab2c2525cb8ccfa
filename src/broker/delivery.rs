//! The only place where queues meet channels: ready messages × consumers that can take them.
//!
//! Invariant: between inputs, a queue with ready messages has no consumer in its turn that could take one.

use smallvec::SmallVec;

use super::channel::unacked::Delivery;
use super::dead_letter::Reason;
use super::journal::{Given, reason};
use super::queue::effective::Overflow;
use super::queue::{ConsumerId, Entry, Queue, QueueId, QueueType};
use super::settings::Profile;
use super::timers::Due;
use super::{Action, At, Broker, ConnectionId, Effects};
use crate::amqp::Message;
use crate::amqp::encoder::{Delivered, Recipient};
use crate::amqp::properties::Properties;
use crate::amqp::table::{self, Value};

/// How a message comes to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// A channel has just published it.
    Published,
    /// It is a dead letter, was delayed or kept, or the broker speaks.
    Forwarded,
}

impl Broker {
    /// A message arrives at a queue; `false` when the queue refuses it because it is full (reject-publish).
    pub(super) fn enqueue(&mut self, id: QueueId, message: Message, arrival: Arrival, effects: &mut Effects) -> bool {
        // A queue that was deleted while a transaction was open: treated as done (behaviour F5).
        let Some(queue) = self.queues.get_mut(id) else {
            self.release(message);
            return true;
        };
        let now = self.now;
        queue.active = now;
        match arrival {
            Arrival::Published => queue.counters.publish += 1,
            Arrival::Forwarded => queue.counters.forwarded += 1,
        }
        if queue.deduplication.as_ref().is_some_and(|deduplication| deduplication.is_duplicate(message.properties(), now)) {
            if let Some(journal) = &mut self.journal {
                journal.not_taken(now, Some(&queue.name), reason::DUPLICATE);
            }
            self.release(message);
            return true;
        }
        if queue.refuses(&message) {
            self.refuse_message(id, message);
            return false;
        }
        if let Some(deduplication) = &mut queue.deduplication {
            deduplication.change(&mut self.memory, |seen| seen.remember(message.properties(), now));
        }
        if queue.stream.is_some() {
            self.append(id, message, effects);
            return true;
        }
        let looks = queue.looks_at_messages || message.can_expire();
        let entry = if looks { queue.entry(message, now) } else { queue.ready.entry(message) };
        self.memory += Entry::MEMORY;
        let is_kept = queue.number != 0;
        if let Some(journal) = &mut self.journal {
            journal.enqueued(now, (id, &queue.name), entry.position, &entry.message);
        }
        if let Some(spans) = &mut self.spans {
            spans.enqueued((id, &queue.name), &entry);
        }
        if queue.ready.is_empty()
            && queue.consumers.anyone_waiting()
            && let Some(consumer) = self.take_turn(id, effects)
        {
            // Handed over at once and for good, it is never written down (gotcha 16).
            if is_kept && !self.consumers[consumer].no_ack {
                Self::write_enqueue(&mut self.log, &mut self.queues[id], &entry);
            }
            self.deliver(consumer, entry, true, effects);
            return true;
        }
        let queue = &mut self.queues[id];
        if is_kept {
            Self::write_enqueue(&mut self.log, queue, &entry);
        }
        queue.ready.push(entry);
        self.drop_overflow(id);
        self.settle_head(id);
        true
    }

    /// A message is no longer in a queue, nor unacked from it: it may come again (behaviour Q28).
    pub(super) fn leave_queue(&mut self, id: QueueId, entry: &Entry) {
        if let Some(deduplication) = self.queues.get_mut(id).and_then(|queue| queue.deduplication.as_mut()) {
            deduplication.change(&mut self.memory, |seen| seen.forget_left(entry.message.properties()));
        }
    }

    /// Behaviour Q14: dead-lettered with reject-publish-dlx, thrown away with reject-publish.
    fn refuse_message(&mut self, id: QueueId, message: Message) {
        let queue = &mut self.queues[id];
        if queue.effective.overflow == Overflow::RejectPublishDlx {
            let entry = queue.entry(message, self.now);
            if let Some(journal) = &mut self.journal {
                journal.refused_at(id, entry.position);
            }
            self.memory += Entry::MEMORY;
            self.bury_unkept(id, entry, Reason::MaxLength);
        } else {
            if let Some(journal) = &mut self.journal {
                journal.not_taken(self.now, Some(&queue.name), reason::REJECT_PUBLISH);
            }
            self.release(message);
        }
    }

    /// Drops heads until the queue is within its bounds (behaviour Q13: after the message was taken in).
    pub(super) fn drop_overflow(&mut self, id: QueueId) {
        if self.queues.get(id).is_some_and(|queue| queue.effective.overflow == Overflow::DropHead) {
            self.shed(id);
        }
    }

    /// The same, whatever is to happen at a bound.
    pub(super) fn shed(&mut self, id: QueueId) {
        while self.queues.get(id).is_some_and(Queue::overflows) {
            let Some(entry) = self.take_head(id) else { return };
            self.bury(id, entry, Reason::MaxLength);
        }
    }

    /// Gives ready messages to consumers for as long as there are both.
    pub(super) fn pump(&mut self, id: QueueId, effects: &mut Effects) {
        loop {
            self.settle_head(id);
            if self.queues.get(id).is_none_or(|queue| queue.ready.is_empty()) {
                return;
            }
            if self.queues[id].ready.peek().is_none() {
                // It comes from the disk, for consumers that can take it.
                if self.queues[id].consumers.anyone_waiting() {
                    self.want_head(id);
                }
                return;
            }
            let Some(consumer) = self.take_turn(id, effects) else { return };
            let Some(entry) = self.take_head(id) else { return };
            self.deliver(consumer, entry, false, effects);
        }
    }

    /// The next consumer, in turn, that can take a message now; those that cannot are parked.
    fn take_turn(&mut self, id: QueueId, effects: &mut Effects) -> Option<ConsumerId> {
        loop {
            let consumer = self.queues[id].consumers.next_in_turn()?;
            if self.can_take(consumer, effects) {
                self.queues[id].consumers.pass_turn();
                return Some(consumer);
            }
            self.queues[id].consumers.lose_turn();
            self.consumers[consumer].parked = true;
        }
    }

    pub(super) fn can_take(&mut self, id: ConsumerId, effects: &mut Effects) -> bool {
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

    /// `is_new`: it has never been in the queue.
    pub(super) fn deliver(&mut self, id: ConsumerId, entry: Entry, is_new: bool, effects: &mut Effects) {
        if self.reports.tracing.is_some() {
            let consumer = &self.consumers[id];
            self.trace_delivery(consumer.at(), consumer.queue, &entry);
        }
        let consumer = &mut self.consumers[id];
        let slot = self.connections.get_mut(consumer.connection.index());
        let connection = slot.and_then(Option::as_mut).expect("a consumer's connection is there");
        let channel = connection.channels.get_mut(&consumer.channel).expect("a consumer's channel is open");
        let queue = &mut self.queues[consumer.queue];
        if queue.number != 0 && !(is_new && consumer.no_ack) {
            let unsafe_yet = Self::write_delivery(&mut self.log, queue, &entry, self.rounds);
            if unsafe_yet && !is_new {
                effects.hold(consumer.connection);
            }
        }
        let tag = channel.unacked.next_tag();
        if let Some(journal) = &mut self.journal {
            let client = journal.client(consumer.at(), connection.serial, &connection.opened.origin);
            let given =
                Given { consumer_tag: Some(&consumer.tag), delivery_tag: tag, no_ack: consumer.no_ack, stays: queue.stream.is_some() };
            journal.given(self.now, client, (consumer.queue, &queue.name), &entry, &given);
        }
        if let Some(spans) = &mut self.spans {
            spans.delivered(consumer.queue, entry.position, consumer.no_ack, || connection.opened.origin.name());
        }
        let to = Recipient { channel: consumer.channel, consumer_tag: consumer.tag.as_bytes(), frame_max: connection.opened.frame_max };
        let properties = delivered_properties(queue.kind, &entry, &self.settings.profile);
        let delivered = Delivered { message: &entry.message, properties: properties.as_deref(), redelivered: entry.redelivered };
        effects.output(consumer.connection).basic_deliver(to, tag, delivered);
        let again = u64::from(entry.redelivered);
        queue.counters.redeliver += again;
        channel.counters.redeliver += again;
        queue.active = self.now;
        channel.active = self.now;
        if let Some(breakdown) = &mut self.breakdown {
            breakdown.deliver(consumer.at(), consumer.queue, consumer.no_ack, entry.redelivered);
        }
        if consumer.no_ack {
            queue.counters.deliver_no_ack += 1;
            channel.counters.deliver_no_ack += 1;
            let from = consumer.queue;
            if queue.deduplication.is_some() {
                self.leave_queue(from, &entry);
            }
            if is_new {
                self.release_entry(entry);
            } else {
                self.end_entry(from, entry);
            }
            return;
        }
        queue.counters.deliver += 1;
        channel.counters.deliver += 1;
        consumer.unacked += 1;
        queue.unacked += 1;
        queue.unacked_bytes += entry.message.body_len() as u64;
        channel.unacked.push(Delivery { tag, queue: consumer.queue, consumer: Some(id), delivered: self.now, entry, again: false });
        if let Some(timeout) = queue.effective.consumer_timeout {
            let at = At { connection: consumer.connection, channel: consumer.channel };
            self.timers.arm(&mut channel.settlement, self.now.after(timeout), Due::Settlement(at));
        }
    }

    /// Parked consumers may have become able to take messages again. All are back in their turns before anything is given
    /// away: the one with the highest priority comes first (behaviour B13).
    pub(super) fn unpark(&mut self, consumers: Vec<ConsumerId>, effects: &mut Effects) {
        let mut queues: SmallVec<[QueueId; 4]> = SmallVec::new();
        for id in consumers {
            let Some(consumer) = self.consumers.get_mut(id).filter(|consumer| consumer.parked && consumer.has_credit()) else { continue };
            consumer.parked = false;
            let (queue, priority) = (consumer.queue, consumer.priority);
            if consumer.reader.is_some() {
                self.read_on(id, effects);
                continue;
            }
            self.queues[queue].consumers.wait_again(id, priority);
            queues.push(queue);
        }
        queues.sort_unstable();
        queues.dedup();
        for queue in queues {
            self.pump(queue, effects);
        }
    }

    /// A socket has drained: the consumers of its connection may go on.
    pub(super) fn flushed(&mut self, id: ConnectionId, pending: usize, effects: &mut Effects) {
        let Some(connection) = self.connection(id) else { return };
        connection.pending = pending;
        connection.congested = false;
        let channels: Vec<u16> = connection.channels.keys().copied().collect();
        let consumers = channels.into_iter().flat_map(|channel| self.consumers_of(id, channel)).collect();
        self.unpark(consumers, effects);
    }
}

/// The properties that a consumer sees where they are not as published: a type of queue adds something (behaviour Q20, Q22),
/// or something is not for the consumer's eyes.
#[inline]
pub(super) fn delivered_properties(kind: QueueType, entry: &Entry, profile: &Profile) -> Option<Vec<u8>> {
    if kind == QueueType::Classic && !entry.message.marks().blind_copies {
        return None;
    }
    changed_properties(kind, entry, profile)
}

#[inline(never)]
fn changed_properties(kind: QueueType, entry: &Entry, profile: &Profile) -> Option<Vec<u8>> {
    let number = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let mut added: SmallVec<[(&[u8], Value<'_>); 2]> = SmallVec::new();
    match kind {
        QueueType::Classic => {}
        // Counts what came back, and says nothing the first time.
        QueueType::Quorum => {
            let acquired = u64::from(entry.returns) + u64::from(entry.uncounted_returns);
            if acquired > 0 && profile.acquired_count {
                added.push((b"x-acquired-count", number(acquired)));
            }
            if entry.returns > 0 {
                added.push((b"x-delivery-count", number(u64::from(entry.returns))));
            }
        }
        QueueType::Stream => added.push((b"x-stream-offset", number(entry.position))),
    }
    if added.is_empty() {
        return entry.message.marks().blind_copies.then(|| entry.message.visible_properties().into_owned());
    }
    let visible = entry.message.visible_properties();
    let properties = Properties::checked(&visible);
    let headers = table::with_entries(properties.headers().unwrap_or_default(), &added);
    Some(properties.with_headers(&headers))
}
