//! The journal: every step in the life of every message, for tests that ask what has become of one.
//!
//! Off, it costs one look at an option where something happens. On, it knows each message by a number that it gets when it is
//! published; the number is kept here, by the message's place in its queue, and goes on with dead letters and delayed messages.
//! A message that was there before the journal was, after a restart for one, gets a number when it is first seen.

mod event;
mod frames;
mod hooks;
mod notes;
mod places;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::exchange::ExchangeId;
use super::origin::Origin;
use super::queue::QueueId;
use super::{At, Broker, ConnectionId, Timestamp};
use crate::amqp::Message;

pub use event::{About, Client, Event, What};
pub(super) use hooks::{DeadWay, Way, without_exchange};
pub use notes::{Compared, Explained, Lint, Note};
pub(super) use places::Given;

/// Why a message went back to its queue, or ended: one word for programs.
pub(super) mod reason {
    pub(in crate::broker) const ACK: &str = "ack";
    pub(in crate::broker) const NACK: &str = "nack";
    pub(in crate::broker) const REJECT: &str = "reject";
    pub(in crate::broker) const RECOVER: &str = "recover";
    pub(in crate::broker) const CHANNEL_CLOSED: &str = "channel-closed";
    pub(in crate::broker) const CONNECTION_CLOSED: &str = "connection-closed";
    pub(in crate::broker) const CONSUMER_TIMEOUT: &str = "consumer-timeout";

    pub(in crate::broker) const PURGED: &str = "purged";
    pub(in crate::broker) const QUEUE_DELETED: &str = "queue-deleted";
    pub(in crate::broker) const EXCHANGE_DELETED: &str = "exchange-deleted";
    pub(in crate::broker) const CANCELLED: &str = "cancelled";
    pub(in crate::broker) const DUPLICATE: &str = "duplicate";
    pub(in crate::broker) const FAULT: &str = "fault";
    pub(in crate::broker) const REJECT_PUBLISH: &str = "reject-publish";
    pub(in crate::broker) const MAX_LENGTH: &str = "max-length";
    pub(in crate::broker) const DELIVERY_LIMIT: &str = "delivery-limit";
    pub(in crate::broker) const NO_DEAD_LETTER_EXCHANGE: &str = "no-dead-letter-exchange";
    pub(in crate::broker) const DEAD_LETTER_UNROUTABLE: &str = "dead-letter-unroutable";
    pub(in crate::broker) const CYCLE: &str = "cycle";
    pub(in crate::broker) const TOO_MANY_DEATHS: &str = "too-many-deaths";
    pub(in crate::broker) const RETENTION: &str = "retention";
    pub(in crate::broker) const ROLLED_BACK: &str = "rolled-back";
    pub(in crate::broker) const REQUESTER_GONE: &str = "requester-gone";
    pub(in crate::broker) const REQUESTER_SLOW: &str = "requester-does-not-read";

    pub(in crate::broker) const TRANSACTION: &str = "transaction";
    pub(in crate::broker) const BROKER: &str = "broker";
    pub(in crate::broker) const REPLY_TO: &str = "direct-reply-to";
}

/// What the node's own connections are called, for its HTTP API and shovels.
const INTERNAL: &str = "internal";

/// What a virtual host knows of its messages while they are watched.
#[derive(Debug)]
pub(super) struct Journal {
    events: Vec<Event>,
    last_id: u64,
    /// The message that is being handed out.
    current: Option<Arc<About>>,
    /// Why what is settled at the moment is settled.
    pub(super) why: &'static str,
    /// The numbers of messages in queues, ready or unacked, by their place.
    places: BTreeMap<(QueueId, u64), u64>,
    /// The same of those that exchanges delay.
    delayed: BTreeMap<(ExchangeId, u64), u64>,
    /// What connections are called, with their serial.
    names: BTreeMap<ConnectionId, (u64, Arc<str>)>,
    /// What queues were called that are gone while messages of theirs are unacked.
    gone: BTreeMap<QueueId, Arc<str>>,
    /// What connections have sent last, and when.
    frames: BTreeMap<ConnectionId, VecDeque<(Timestamp, String)>>,
    /// Queues that somebody has consumed or got something from.
    consumed: BTreeSet<QueueId>,
    /// What was declared again and differs, until the error is sent.
    compared: Vec<Compared>,
    notes: Vec<Note>,
    errors: Vec<Explained>,
}

impl Journal {
    fn new(last_id: u64) -> Self {
        Self {
            events: Vec::new(),
            last_id,
            current: None,
            why: reason::ACK,
            places: BTreeMap::new(),
            delayed: BTreeMap::new(),
            names: BTreeMap::new(),
            gone: BTreeMap::new(),
            frames: BTreeMap::new(),
            consumed: BTreeSet::new(),
            compared: Vec::new(),
            notes: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The number of another message.
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Something that happens to the message that is being handed out.
    fn push_current(&mut self, at: Timestamp, what: What) {
        let about = self.current.clone();
        self.events.push(Event { about, ..Event::new(at, what) });
    }

    /// Who does something. Connections are remembered by name until another one has their place.
    #[cold]
    #[inline(never)]
    pub(super) fn client(&mut self, at: At, serial: u64, origin: &Origin) -> Client {
        let name = match self.names.get(&at.connection) {
            Some((known, name)) if *known == serial => Arc::clone(name),
            _ => {
                let name: Arc<str> = if origin.is_own { INTERNAL.into() } else { origin.name().into() };
                self.names.insert(at.connection, (serial, Arc::clone(&name)));
                name
            }
        };
        Client { connection: name, channel: at.channel }
    }

    /// A message begins.
    fn begin(&mut self, message: &Message) -> Arc<About> {
        let about = About::of(self.next_id(), message);
        self.current = Some(Arc::clone(&about));
        about
    }
}

impl Broker {
    /// From now on all that happens to messages is told, for the shell to take with [`Broker::take_events`]. Messages get numbers
    /// above this one.
    pub fn keep_journal(&mut self, last_id: u64) {
        self.journal = Some(Box::new(Journal::new(last_id)));
    }

    /// What has happened since this was last called.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.journal.as_mut().map_or_else(Vec::new, |journal| std::mem::take(&mut journal.events))
    }

    /// The number by which the journal knows the message at this place, if it does.
    #[must_use]
    pub fn journal_id(&self, queue: &str, position: u64) -> Option<u64> {
        let queue = *self.queue_names.get(queue)?;
        self.journal.as_ref()?.places.get(&(queue, position)).copied()
    }

    /// In how many places the journal knows messages: in none, when there are no messages.
    #[must_use]
    pub fn journaled(&self) -> usize {
        self.journal.as_ref().map_or(0, |journal| journal.places.len() + journal.delayed.len() + journal.gone.len())
    }

    /// Who is at the other end of a channel.
    fn journal_client(&mut self, at: At) -> Option<Client> {
        let journal = self.journal.as_mut()?;
        let connection = self.connections.get(at.connection.index())?.as_ref()?;
        Some(journal.client(at, connection.serial, &connection.opened.origin))
    }

    /// What is settled from now on is settled for this reason.
    #[inline]
    pub(super) fn journal_why(&mut self, why: &'static str) {
        if let Some(journal) = &mut self.journal {
            journal.why = why;
        }
    }
}
