//! x-delayed-message: an exchange that keeps messages for as long as their x-delay header says (behaviour X22).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exchange::ExchangeId;
use super::journal::reason;
use super::record::Enqueue;
use super::routing::{Routed, Source};
use super::timers::{Deadline, Due};
use super::{Broker, Effects, Fired, Timestamp};
use crate::amqp::Message;
use crate::amqp::table::{self, Value};

/// The header with the delay in milliseconds.
const HEADER: &str = "x-delay";

/// Bytes that a delayed message takes beside itself: its node in the tree, with what nodes keep in reserve.
const MEMORY: u64 = 128;

/// The messages that an exchange keeps.
#[derive(Debug, Default)]
pub(crate) struct Delayed {
    /// By when they are due, then in the order in which they came.
    messages: BTreeMap<(Timestamp, u64), Message>,
    last_id: u64,
    deadline: Deadline,
}

impl Delayed {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// When they are due, what numbers they have, the earliest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Timestamp, u64, &Message)> {
        self.messages.iter().map(|((due, id), message)| (*due, *id, message))
    }
}

/// A message that waits for its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayedSnapshot {
    /// Names it in [`super::Input::CancelDelayed`].
    pub id: u64,
    pub due: Timestamp,
    pub routing_key: String,
    pub body_len: usize,
}

/// How long a message is to be delayed, in milliseconds; without the header, or with one that is not above zero, not at all.
pub(super) fn delay_of(message: &Message) -> Option<u64> {
    match message.properties().header(HEADER)? {
        Value::Int(delay) => u64::try_from(delay).ok().filter(|delay| *delay > 0),
        _ => None,
    }
}

/// The message on its way to the queues: its delay is over, which a negative header shows.
fn undelayed(message: &Message) -> Message {
    let properties = message.properties();
    let headers = properties.headers().unwrap_or_default();
    let Some(Value::Int(delay)) = properties.header(HEADER) else { return message.clone() };
    let headers = table::with_value(headers, HEADER.as_bytes(), Value::Int(delay.saturating_neg()));
    message.with_properties(&properties.with_headers(&headers))
}

impl Broker {
    /// Keeps a message for its time.
    pub(super) fn delay(&mut self, id: ExchangeId, message: Message) {
        let due = delay_of(&message).map(|delay| self.now.after(delay));
        let delayed = self.exchanges.get_mut(id).and_then(|exchange| exchange.delayed.as_mut());
        let (Some(due), Some(delayed)) = (due, delayed) else { return self.release(message) };
        let position = delayed.last_id + 1;
        let queue = self.exchanges[id].number;
        if self.journal.is_some() {
            self.journal_delayed(id, position, due);
        }
        if queue != 0 {
            self.log.enqueue(&message, Enqueue { queue, position, at: due.0, ..Enqueue::default() });
        }
        self.keep_delayed(id, position, due, message);
    }

    /// Keeps a message that is in the account of memory already.
    pub(super) fn keep_delayed(&mut self, id: ExchangeId, position: u64, due: Timestamp, message: Message) {
        let delayed = self.exchanges.get_mut(id).and_then(|exchange| exchange.delayed.as_mut());
        let Some(delayed) = delayed else { return self.release(message) };
        delayed.last_id = delayed.last_id.max(position);
        delayed.messages.insert((due, position), message);
        self.memory += MEMORY;
        self.timers.arm(&mut delayed.deadline, due, Due::Delayed(id));
    }

    /// No number up to this one is given again.
    pub(super) fn skip_delayed(&mut self, id: ExchangeId, highest: u64) {
        if let Some(delayed) = &mut self.exchanges[id].delayed {
            delayed.last_id = delayed.last_id.max(highest);
        }
    }

    fn write_undelayed(&mut self, id: ExchangeId, position: u64, message: &Message) {
        if let Some(exchange) = self.exchanges.get(id).filter(|exchange| exchange.number != 0) {
            self.log.ack(exchange.number, 0, position, message.body_len());
        }
    }

    /// Routes what is due.
    pub(super) fn delayed_is_due(&mut self, id: ExchangeId, effects: &mut Effects) {
        let now = self.now;
        let exchange = self.exchanges.get_mut(id).and_then(|exchange| exchange.delayed.as_mut());
        if !exchange.is_some_and(|delayed| delayed.deadline.is_due(now)) {
            return;
        }
        let name = Arc::clone(&self.exchanges[id].name);
        while let Some(delayed) = self.exchanges.get_mut(id).and_then(|exchange| exchange.delayed.as_mut()) {
            let Some((&(due, _), _)) = delayed.messages.first_key_value() else { return };
            if due > now {
                self.timers.arm(&mut delayed.deadline, due, Due::Delayed(id));
                return;
            }
            let Some(((_, position), message)) = delayed.messages.pop_first() else { return };
            self.write_undelayed(id, position, &message);
            self.fired(Fired::DelayedRouted, &name, 1);
            if self.journal.is_some() {
                self.journal_undelayed(id, position, &message);
            }
            self.release_delayed(id, message, effects);
        }
    }

    fn release_delayed(&mut self, id: ExchangeId, message: Message, effects: &mut Effects) {
        self.memory -= MEMORY;
        let ready = undelayed(&message);
        self.memory += ready.memory() as u64;
        self.release(message);
        let keys = super::dead_letter::other_keys(&ready);
        let mut routed = Routed::default();
        // Its header is negative by now, so this exchange does not delay it again.
        self.route(Source::Named(id), &ready, &keys, &mut routed);
        if self.journal.is_some() && routed.queues.is_empty() && routed.delayed.is_empty() {
            self.journal_unroutable();
        }
        self.hand_out(ready, routed, effects);
    }

    /// Drops what an exchange that is going keeps.
    pub(super) fn drop_delayed(&mut self, id: ExchangeId, delayed: Delayed) {
        for ((_, position), message) in delayed.messages {
            if self.journal.is_some() {
                self.journal_never_routed(id, position, &message, reason::EXCHANGE_DELETED);
            }
            self.memory -= MEMORY;
            self.release(message);
        }
    }

    /// Takes back all that an exchange keeps.
    pub(super) fn empty_delayed(&mut self, id: ExchangeId) {
        let Some(delayed) = &mut self.exchanges[id].delayed else { return };
        for ((_, position), message) in std::mem::take(&mut delayed.messages) {
            self.write_undelayed(id, position, &message);
            self.memory -= MEMORY;
            self.release(message);
        }
    }

    /// Takes a delayed message back.
    pub(super) fn cancel_delayed(&mut self, exchange: &str, id: u64) {
        let Some(&at) = self.exchange_names.get(exchange) else { return };
        let Some(delayed) = &mut self.exchanges[at].delayed else { return };
        let Some(&key) = delayed.messages.keys().find(|(_, other)| *other == id) else { return };
        if let Some(message) = delayed.messages.remove(&key) {
            self.write_undelayed(at, id, &message);
            if self.journal.is_some() {
                self.journal_never_routed(at, id, &message, reason::CANCELLED);
            }
            self.memory -= MEMORY;
            self.release(message);
        }
    }

    /// What an exchange keeps, the earliest first.
    #[must_use]
    pub fn delayed_snapshots(&self, exchange: &str) -> Vec<DelayedSnapshot> {
        let exchange = self.exchange_names.get(exchange).map(|id| &self.exchanges[*id]);
        let Some(delayed) = exchange.and_then(|exchange| exchange.delayed.as_ref()) else { return Vec::new() };
        let snapshot = |((due, id), message): (&(Timestamp, u64), &Message)| DelayedSnapshot {
            id: *id,
            due: *due,
            routing_key: String::from_utf8_lossy(message.routing_key()).into_owned(),
            body_len: message.body_len(),
        };
        delayed.messages.iter().map(snapshot).collect()
    }
}
