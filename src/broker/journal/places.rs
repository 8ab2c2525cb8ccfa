//! Where the journal knows messages: by their place in a queue, which they keep until they end.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{About, Client, Event, Journal, What};
use crate::amqp::Message;
use crate::broker::queue::{Entry, QueueId};
use crate::broker::{At, Timestamp};

/// A message that is given to a client.
pub(in crate::broker) struct Given<'a> {
    /// `None` for basic.get.
    pub(in crate::broker) consumer_tag: Option<&'a str>,
    pub(in crate::broker) delivery_tag: u64,
    pub(in crate::broker) no_ack: bool,
    /// It stays in its queue: a stream.
    pub(in crate::broker) stays: bool,
}

impl Journal {
    /// The number of the message at this place; one that nobody has seen come gets one now.
    pub(super) fn id_at(&mut self, now: Timestamp, (id, name): (QueueId, &Arc<str>), position: u64, message: &Message) -> u64 {
        if let Some(known) = self.places.get(&(id, position)) {
            return *known;
        }
        let number = self.next_id();
        self.places.insert((id, position), number);
        let (about, queue) = (Some(About::of(number, message)), Some(Arc::clone(name)));
        self.push(Event { about, queue, ..Event::new(now, What::Restored) });
        number
    }

    /// Something happens to the message of an entry.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn happened(
        &mut self,
        now: Timestamp,
        (id, name): (QueueId, &Arc<str>),
        entry: &Entry,
        what: What,
    ) -> &mut Event {
        let number = self.id_at(now, (id, name), entry.position, &entry.message);
        let (about, queue) = (Some(About::of(number, &entry.message)), Some(Arc::clone(name)));
        self.events.push(Event { about, queue, ..Event::new(now, what) });
        self.events.last_mut().expect("it was pushed")
    }

    /// The message that is being handed out has a place in a queue.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn enqueued(&mut self, now: Timestamp, (id, name): (QueueId, &Arc<str>), position: u64, message: &Message) {
        let about = match &self.current {
            Some(about) => Arc::clone(about),
            None => self.begin(message),
        };
        self.places.insert((id, position), about.id);
        self.push(Event { about: Some(about), queue: Some(Arc::clone(name)), ..Event::new(now, What::Enqueued) });
    }

    /// A queue has refused the message that is being handed out; it has a place all the same, at which it dies.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn refused_at(&mut self, queue: QueueId, position: u64) {
        if let Some(about) = &self.current {
            self.places.insert((queue, position), about.id);
        }
    }

    /// The message that is being handed out does not get into a queue.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn not_taken(&mut self, now: Timestamp, queue: Option<&Arc<str>>, reason: &'static str) {
        let about = self.current.clone();
        self.push(Event { about, queue: queue.cloned(), reason: Some(reason), ..Event::new(now, What::Dropped) });
    }

    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn given(&mut self, now: Timestamp, client: Client, of: (QueueId, &Arc<str>), entry: &Entry, given: &Given<'_>) {
        let what = if given.consumer_tag.is_some() { What::Delivered } else { What::Got };
        let event = self.happened(now, of, entry, what);
        event.client = Some(client);
        event.consumer_tag = given.consumer_tag.map(Into::into);
        event.delivery_tag = Some(given.delivery_tag);
        event.redelivered = entry.redelivered;
        event.no_ack = given.no_ack;
        if given.no_ack && !given.stays {
            self.ended(of.0, entry.position);
        }
    }

    /// A message ends without anybody having got it.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn dropped(&mut self, now: Timestamp, of: (QueueId, &Arc<str>), entry: &Entry, reason: &'static str) {
        self.happened(now, of, entry, What::Dropped).reason = Some(reason);
        self.ended(of.0, entry.position);
    }

    /// A message is back in its queue, for the reason that settlements have at the moment.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn requeued(&mut self, now: Timestamp, at: At, of: (QueueId, &Arc<str>), entry: &Entry) {
        let why = self.why;
        let client = self.names.get(&at.connection).map(|(_, name)| Client { connection: Arc::clone(name), channel: at.channel });
        let event = self.happened(now, of, entry, What::Requeued);
        event.reason = Some(why);
        event.client = client;
    }

    /// A message has another place in its queue.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn moved(&mut self, queue: QueueId, from: u64, to: u64) {
        if let Some(number) = self.places.remove(&(queue, from)) {
            self.places.insert((queue, to), number);
        }
    }

    /// Nothing is at this place any more.
    pub(super) fn ended(&mut self, queue: QueueId, position: u64) {
        self.places.remove(&(queue, position));
        if self.gone.contains_key(&queue) && self.places_of(queue).next().is_none() {
            self.gone.remove(&queue);
        }
    }

    fn places_of(&self, queue: QueueId) -> impl Iterator<Item = u64> {
        self.places.range((queue, 0)..=(queue, u64::MAX)).map(|((_, position), _)| *position)
    }

    /// A queue is gone, but for these unacked messages.
    pub(super) fn forget_queue(&mut self, queue: QueueId, name: &Arc<str>, unacked: &BTreeSet<u64>) {
        let gone: Vec<u64> = self.places_of(queue).filter(|position| !unacked.contains(position)).collect();
        for position in gone {
            self.places.remove(&(queue, position));
        }
        if !unacked.is_empty() {
            self.gone.insert(queue, Arc::clone(name));
        }
    }
}
