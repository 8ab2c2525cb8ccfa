//! What the broker tells its journal, where that takes a look around. All of it is out of the way of who has no journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::places::Given;
use super::{About, Event, Journal, Lint, What, reason};
use crate::amqp::Message;
use crate::broker::channel::unacked::Delivery;
use crate::broker::dead_letter::{DeadLetter, Reason};
use crate::broker::exchange::ExchangeId;
use crate::broker::queue::{Entry, QueueId};
use crate::broker::routing::Routed;
use crate::broker::{At, Broker, Timestamp};

/// Where a publish goes, as the journal sees it.
pub(in crate::broker) struct Way<'a> {
    pub(in crate::broker) queues: &'a [QueueId],
    pub(in crate::broker) unroutable: bool,
    pub(in crate::broker) mandatory: bool,
    /// It counts as routed, and goes nowhere for this reason.
    pub(in crate::broker) absorbed: Option<&'static str>,
}

impl Broker {
    /// A client has published a message, perhaps in a transaction.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_published(&mut self, at: At, message: &Message, in_transaction: bool) {
        let client = self.journal_client(at);
        let now = self.now;
        let Some(journal) = &mut self.journal else { return };
        let about = Some(journal.begin(message));
        let reason = in_transaction.then_some(reason::TRANSACTION);
        journal.push(Event { about, client, reason, ..Event::new(now, What::Published) });
        self.journal_size(at, message.body_len(), message.exchange());
    }

    /// The message that is being handed out, for a transaction to keep.
    pub(in crate::broker) fn journal_current(&self) -> Option<Arc<About>> {
        self.journal.as_ref()?.current.clone()
    }

    /// A message goes on that was kept: by a transaction. `None` makes the next one that comes a new one.
    pub(in crate::broker) fn journal_go_on(&mut self, about: Option<Arc<About>>) {
        if let Some(journal) = &mut self.journal {
            journal.current = about;
        }
    }

    /// A transaction is rolled back.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_rolled_back(&mut self, about: Option<Arc<About>>) {
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.current = about;
            journal.not_taken(now, None, reason::ROLLED_BACK);
        }
    }

    /// Where the message that was published goes.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_routed(&mut self, at: At, way: &Way<'_>) {
        let client = self.journal_client(at);
        let (now, queues) = (self.now, self.names_of(way.queues));
        let Some(journal) = &mut self.journal else { return };
        if way.unroutable {
            journal.push_current(now, What::Unroutable);
            let about = journal.current.clone();
            let subject = about.as_ref().map(|about| format!("exchange \"{}\" key \"{}\"", about.exchange, about.routing_key));
            if way.mandatory {
                journal.push(Event { about, client, ..Event::new(now, What::Returned) });
            }
            self.journal_note(Some(at), Lint::Unroutable, subject.unwrap_or_default(), 1);
        } else if let Some(reason) = way.absorbed {
            journal.not_taken(now, None, reason);
        } else if !queues.is_empty() {
            let about = journal.current.clone();
            journal.push(Event { about, queues, ..Event::new(now, What::Routed) });
        }
    }

    fn names_of(&self, queues: &[QueueId]) -> Box<[Arc<str>]> {
        queues.iter().filter_map(|id| self.queues.get(*id)).map(|queue| Arc::clone(&queue.name)).collect()
    }

    /// A message that no client has just published is on its way: a dead letter, one that was delayed, or the broker's own.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_handed_out(&mut self, message: &Message, routed: &Routed) {
        let (now, queues) = (self.now, self.names_of(&routed.queues));
        let Some(journal) = &mut self.journal else { return };
        if journal.current.is_none() {
            let about = Some(journal.begin(message));
            journal.push(Event { about, reason: Some(reason::BROKER), ..Event::new(now, What::Published) });
        }
        if !queues.is_empty() {
            let about = journal.current.clone();
            journal.push(Event { about, queues, ..Event::new(now, What::Routed) });
        }
    }

    /// The publisher of the last message has been told what became of it; `number` counts the publishes of its channel.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_confirmed(&mut self, at: At, number: u64, taken: bool) {
        let client = self.journal_client(at);
        let now = self.now;
        let Some(journal) = &mut self.journal else { return };
        let what = if taken { What::Confirmed } else { What::NackedToPublisher };
        let about = journal.current.clone();
        journal.push(Event { about, client, delivery_tag: Some(number), ..Event::new(now, what) });
    }

    /// A reply goes to the channel that waits for it.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_replied(&mut self, at: At, delivery_tag: u64) {
        let client = self.journal_client(at);
        let now = self.now;
        let Some(journal) = &mut self.journal else { return };
        let about = journal.current.clone();
        journal.push(Event {
            about,
            client,
            delivery_tag: Some(delivery_tag),
            reason: Some(reason::REPLY_TO),
            no_ack: true,
            ..Event::new(now, What::Delivered)
        });
    }

    /// A client, or the end of its channel, settles a delivery.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_settled(&mut self, at: At, delivery: &Delivery, acked: bool) {
        let why = self.journal.as_ref().map_or("", |journal| journal.why);
        let what = match why {
            _ if acked => What::Acked,
            reason::NACK => What::Nacked,
            reason::REJECT => What::Rejected,
            _ => return,
        };
        let client = self.journal_client(at);
        let tag = delivery.consumer.and_then(|id| self.consumers.get(id)).map(|consumer| consumer.tag.clone());
        let (id, now) = (delivery.queue, self.now);
        let stays = self.queues.get(id).is_some_and(|queue| queue.stream.is_some());
        let name = self.journal_queue(id);
        let Some(journal) = &mut self.journal else { return };
        let event = journal.happened(now, (id, &name), &delivery.entry, what);
        event.client = client;
        event.consumer_tag = tag;
        event.delivery_tag = Some(delivery.tag);
        if acked && !stays {
            journal.ended(id, delivery.entry.position);
        }
    }

    /// What a queue is called, or was.
    fn journal_queue(&self, id: QueueId) -> Arc<str> {
        let gone = || self.journal.as_ref()?.gone.get(&id).cloned();
        self.queues.get(id).map(|queue| Arc::clone(&queue.name)).or_else(gone).unwrap_or_else(|| "".into())
    }

    /// A message of a queue ends, ready or unacked.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_dropped(&mut self, id: QueueId, entry: &Entry, reason: &'static str) {
        let (now, name) = (self.now, self.journal_queue(id));
        if let Some(journal) = &mut self.journal {
            journal.dropped(now, (id, &name), entry, reason);
        }
    }

    /// Messages end that are on disk alone.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_dropped_on_disk(&mut self, id: QueueId, count: u64, reason: &'static str) {
        let (now, name) = (self.now, self.journal_queue(id));
        if let Some(journal) = &mut self.journal {
            journal.push(Event { queue: Some(name), reason: Some(reason), count, ..Event::new(now, What::Dropped) });
        }
    }

    /// Messages of a stream end, from this offset on.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_retired(&mut self, id: QueueId, first: u64, messages: &[Message], reason: &'static str) {
        for (position, message) in (first..).zip(messages) {
            let entry = Entry::new(message.clone(), position);
            self.journal_dropped(id, &entry, reason);
            self.release(entry.message);
        }
    }

    /// basic.get is answered.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_got(&mut self, at: At, id: QueueId, entry: &Entry, given: &Given<'_>) {
        let (now, name) = (self.now, self.journal_queue(id));
        if let (Some(client), Some(journal)) = (self.journal_client(at), &mut self.journal) {
            journal.given(now, client, (id, &name), entry, given);
        }
    }

    /// A queue goes whose ready messages have been dropped: what else it has is dropped, too, but for what is unacked.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_drop_rest(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get(id) else { return };
        let name = Arc::clone(&queue.name);
        let stored = queue.stream.iter().flat_map(|stream| stream.iter_in_memory());
        let mut rest: Vec<Entry> = stored.map(|(offset, message)| Entry::new(message.clone(), offset)).collect();
        rest.extend(queue.extra.iter().flat_map(|extra| &extra.held).map(|(entry, _)| entry.clone()));
        for entry in rest {
            self.journal_dropped(id, &entry, reason::QUEUE_DELETED);
            self.release(entry.message);
        }
        let channels = self.connections.iter().flatten().flat_map(|connection| connection.channels.values());
        let held = channels.flat_map(|channel| channel.held()).filter(|delivery| delivery.queue == id);
        let unacked: BTreeSet<u64> = held.map(|delivery| delivery.entry.position).collect();
        if let Some(journal) = &mut self.journal {
            journal.forget_queue(id, &name, &unacked);
        }
    }

    /// A message has died; whether it is a dead letter is seen next.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_died(&mut self, id: QueueId, entry: &Entry, reason: Reason) {
        let (now, name) = (self.now, self.journal_queue(id));
        if let (Some(journal), Reason::Expired) = (&mut self.journal, reason) {
            journal.happened(now, (id, &name), entry, What::Expired);
        }
    }

    /// A dead letter leaves its queue, as this message, to what it is routed to.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_dead_lettered(&mut self, dead: &DeadLetter, message: &Message, way: &DeadWay<'_>) {
        let cut = self.names_of(way.cut);
        let now = self.now;
        let Some(journal) = &mut self.journal else { return };
        let place = (dead.queue, &dead.name);
        let number = journal.id_at(now, place, dead.entry.position, &dead.entry.message);
        let about = About::of(number, message);
        journal.current = Some(Arc::clone(&about));
        let (about, queue, reason) = (Some(about), Some(Arc::clone(&dead.name)), Some(dead.reason.name()));
        journal.push(Event { about, queue, reason, ..Event::new(now, What::DeadLettered) });
        for queue in &cut {
            journal.not_taken(now, Some(queue), reason::CYCLE);
        }
        let goes = !way.routed.queues.is_empty() || !way.routed.delayed.is_empty();
        if !way.exchange_exists {
            journal.not_taken(now, None, reason::NO_DEAD_LETTER_EXCHANGE);
        } else if way.routed.duplicate {
            journal.not_taken(now, None, reason::DUPLICATE);
        } else if !goes && cut.is_empty() {
            journal.not_taken(now, None, reason::DEAD_LETTER_UNROUTABLE);
        }
        journal.ended(dead.queue, dead.entry.position);
    }

    /// A dead letter waits for a queue that takes it.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_held(&mut self, dead: &DeadLetter) {
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.happened(now, (dead.queue, &dead.name), &dead.entry, What::Held).reason = Some(dead.reason.name());
        }
    }

    /// An exchange keeps the message that is being handed out.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_delayed(&mut self, id: ExchangeId, position: u64, until: Timestamp) {
        let now = self.now;
        let Some(journal) = &mut self.journal else { return };
        let Some(about) = journal.current.clone() else { return };
        journal.delayed.insert((id, position), about.id);
        journal.push(Event { about: Some(about), until: Some(until), ..Event::new(now, What::Delayed) });
    }

    /// Its time has come.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_undelayed(&mut self, id: ExchangeId, position: u64, message: &Message) {
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.take_delayed(now, id, position, message);
            journal.push_current(now, What::DelayOver);
        }
    }

    /// It has led nowhere.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_unroutable(&mut self) {
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.push_current(now, What::Unroutable);
        }
    }

    /// What was delayed ends before its time.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_never_routed(&mut self, id: ExchangeId, position: u64, message: &Message, reason: &'static str) {
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.take_delayed(now, id, position, message);
            journal.not_taken(now, None, reason);
        }
    }
}

/// Where a dead letter goes.
pub(in crate::broker) struct DeadWay<'a> {
    pub(in crate::broker) exchange_exists: bool,
    pub(in crate::broker) routed: &'a Routed,
    /// Queues in which it has been before, on its own.
    pub(in crate::broker) cut: &'a [QueueId],
}

impl Journal {
    /// A delayed message is being handed out.
    fn take_delayed(&mut self, now: Timestamp, id: ExchangeId, position: u64, message: &Message) {
        match self.delayed.remove(&(id, position)) {
            Some(number) => self.current = Some(About::of(number, message)),
            None => {
                self.begin(message);
                self.push_current(now, What::Restored);
            }
        }
    }
}

/// Why a message without a dead-letter exchange ends.
pub(in crate::broker) fn without_exchange(reason: Reason) -> &'static str {
    match reason {
        Reason::MaxLength => self::reason::MAX_LENGTH,
        Reason::DeliveryLimit => self::reason::DELIVERY_LIMIT,
        Reason::Rejected | Reason::Expired => self::reason::NO_DEAD_LETTER_EXCHANGE,
    }
}
