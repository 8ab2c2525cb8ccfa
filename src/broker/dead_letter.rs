//! Dead-lettering: what becomes of messages that are rejected, expired, dropped at a bound, or came back too often
//! (behaviour D4–D11).
//!
//! Dead letters are collected while an input is handled and routed when it is done: one dead letter may kill the next,
//! and a chain of queues must not become a chain of calls.

use std::sync::Arc;

use super::counters::Strategy;
use super::journal::{DeadWay, reason, without_exchange};
use super::queue::effective::DeadLettering;
use super::queue::{Entry, QueueId};
use super::routing::{Routed, Source};
use super::{Broker, Effects, Fired, Timestamp};
use crate::amqp::table::{self, Value};
use crate::amqp::{Marks, Message};

/// Why a message died, in the words of x-death (behaviour D4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Rejected,
    Expired,
    MaxLength,
    DeliveryLimit,
}

impl Reason {
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Expired, Self::MaxLength, Self::DeliveryLimit];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A message that has died and is not routed yet.
#[derive(Debug)]
pub(super) struct DeadLetter {
    pub(super) queue: QueueId,
    /// Its name; the queue may be gone by now.
    pub(super) name: Arc<str>,
    to: DeadLettering,
    pub(super) entry: Entry,
    pub(super) reason: Reason,
    died: Timestamp,
    /// It has been in the queue, as far as a storage knows.
    was_kept: bool,
}

/// How long dead letters that no queue takes wait before they are tried again, in milliseconds.
const RETRY_MS: u64 = 1000;

/// In how many ways a message may have died. Each costs a scan of all before, and they all have to fit into one frame; who
/// has so many is in a chain of queues that nobody meant to build.
const MAX_DEATHS: usize = 256;

impl Broker {
    /// A message that has left its queue is dead; without a dead-letter exchange it ends here.
    pub(super) fn bury(&mut self, id: QueueId, entry: Entry, reason: Reason) {
        self.count_death(id, &entry, reason);
        self.leave_queue(id, &entry);
        self.list_dead(id, entry, reason, true);
    }

    /// The same for one that the queue has refused.
    pub(super) fn bury_unkept(&mut self, id: QueueId, entry: Entry, reason: Reason) {
        self.count_death(id, &entry, reason);
        self.leave_queue(id, &entry);
        self.list_dead(id, entry, reason, false);
    }

    fn count_death(&mut self, id: QueueId, entry: &Entry, reason: Reason) {
        if self.journal.is_some() {
            self.journal_died(id, entry, reason);
        }
        if let Some(spans) = &mut self.spans {
            spans.ended(id, entry.position, reason.name());
        }
        let Some(queue) = self.queues.get(id) else { return };
        let strategy = match &queue.effective.dead_lettering {
            Some(to) if to.at_least_once => Strategy::AtLeastOnce,
            // RabbitMQ: an exchange that is not there is as good as none.
            Some(to) if to.exchange.is_empty() || self.exchange_names.contains_key(&to.exchange) => Strategy::AtMostOnce,
            _ => Strategy::Disabled,
        };
        self.dead_letters.add(queue.kind, strategy, reason);
    }

    fn list_dead(&mut self, id: QueueId, entry: Entry, reason: Reason, was_kept: bool) {
        let queue = self.queues.get(id).and_then(|queue| Some((&queue.name, queue.effective.dead_lettering.as_ref()?)));
        let Some((name, to)) = queue else {
            if self.journal.is_some() {
                let why = if self.queues.contains_key(id) { without_exchange(reason) } else { reason::QUEUE_DELETED };
                self.journal_dropped(id, &entry, why);
            }
            return self.end_dead(id, entry, was_kept);
        };
        let (name, to) = (Arc::clone(name), to.clone());
        self.dead.push_back(DeadLetter { queue: id, name, to, entry, reason, died: self.now, was_kept });
    }

    fn end_dead(&mut self, id: QueueId, entry: Entry, was_kept: bool) {
        if was_kept {
            self.end_entry(id, entry);
        } else {
            self.release_entry(entry);
        }
    }

    /// Routes what has died. Ends: an automatic cycle is cut where it closes.
    pub(super) fn route_dead_letters(&mut self, effects: &mut Effects) {
        while let Some(dead) = self.dead.pop_front() {
            self.route_dead_letter(dead, effects);
        }
    }

    fn route_dead_letter(&mut self, dead: DeadLetter, effects: &mut Effects) {
        let message = self.as_dead_letter(&dead);
        let deaths = Deaths::read(message.properties().headers().unwrap_or_default());
        if deaths.0.len() > MAX_DEATHS {
            if self.journal.is_some() {
                self.journal_dropped(dead.queue, &dead.entry, reason::TOO_MANY_DEATHS);
            }
            return self.end_dead(dead.queue, dead.entry, dead.was_kept);
        }
        let mut routed = Routed::default();
        let keys = other_keys(&message);
        // Behaviour D10: found when the message dies; an exchange that is not there takes nothing.
        let source = match &*dead.to.exchange {
            "" => Some(Source::Default),
            name => self.exchange_names.get(name).map(|id| Source::Named(*id)),
        };
        if let Some(source) = source {
            self.find_route(source, &message, &keys, &mut routed);
        }
        let mut cut = Vec::new();
        if dead.reason != Reason::Rejected {
            routed.queues.retain(|id| {
                let is_cycle = deaths.is_cycle(self.queues[*id].name.as_bytes());
                if is_cycle {
                    cut.push(*id);
                }
                !is_cycle
            });
        }
        let goes_elsewhere = !routed.delayed.is_empty() || routed.duplicate;
        if dead.to.at_least_once && !goes_elsewhere && !self.all_would_take(&routed.queues, &message) {
            if self.journal.is_some() {
                self.journal_held(&dead);
            }
            self.hold_dead_letter(dead);
            return;
        }
        self.dead_letters.confirmed += u64::from(dead.to.at_least_once);
        self.memory += message.memory() as u64;
        if self.journal.is_some() {
            self.journal_dead_lettered(&dead, &message, &DeadWay { exchange_exists: source.is_some(), routed: &routed, cut: &cut });
        }
        // Only now: what is held is tried again.
        self.remember(&message, &keys, &routed.remembering);
        self.hand_out(message, routed, effects);
        self.end_dead(dead.queue, dead.entry, dead.was_kept);
    }

    fn all_would_take(&mut self, queues: &[QueueId], message: &Message) -> bool {
        !queues.is_empty() && queues.iter().all(|id| !self.queues[*id].refuses(message))
    }

    /// Keeps a dead letter that nobody takes (behaviour Q16).
    fn hold_dead_letter(&mut self, dead: DeadLetter) {
        let Some(queue) = self.queues.get_mut(dead.queue) else { return self.release_entry(dead.entry) };
        let extra = queue.extra();
        extra.held.push_back((dead.entry, dead.reason));
        self.timers.arm(&mut extra.retry, self.now.after(RETRY_MS), super::timers::Due::DeadLetters(dead.queue));
    }

    /// Tries held dead letters again.
    pub(super) fn retry_dead_letters(&mut self, id: QueueId) {
        let Some(extra) = self.queues.get_mut(id).and_then(|queue| queue.extra.as_mut()) else { return };
        if extra.retry.is_due(self.now) {
            let held = std::mem::take(&mut extra.held);
            let name = Arc::clone(&self.queues[id].name);
            self.fired(Fired::DeadLetterRetried, &name, held.len() as u64);
            for (entry, reason) in held {
                self.list_dead(id, entry, reason, true);
            }
        }
    }

    /// The message as it leaves for the dead-letter exchange (behaviour D5–D8).
    fn as_dead_letter(&self, dead: &DeadLetter) -> Message {
        let message = &dead.entry.message;
        let properties = message.properties();
        let headers = properties.headers().unwrap_or_default();
        let counts = message.marks().died || self.settings.profile.x_death_of_clients_counts;
        let (queue, exchange, reason) = (dead.name.as_bytes(), message.exchange(), dead.reason.name().as_bytes());
        let mut deaths = if counts { Deaths::read(headers) } else { Deaths::default() };
        deaths.add(dead, message, self.settings.profile.x_last_death);
        let written = deaths.write();
        let mut added: Vec<(&[u8], Value<'_>)> = vec![(b"x-death", Value::Array(&written))];
        let last: [(&[u8], &[u8]); 3] =
            [(b"x-last-death-exchange", exchange), (b"x-last-death-queue", queue), (b"x-last-death-reason", reason)];
        let first: [(&[u8], &[u8]); 3] =
            [(b"x-first-death-exchange", exchange), (b"x-first-death-queue", queue), (b"x-first-death-reason", reason)];
        if self.settings.profile.x_last_death {
            added.extend(last.map(|(name, text)| (name, Value::String(text))));
        }
        if !counts || properties.header("x-death").is_none() {
            added.extend(first.map(|(name, text)| (name, Value::String(text))));
        }
        let headers = table::with_entries(headers, &added);
        let keys_replaced = message.marks().keys_replaced || dead.to.routing_key.is_some();
        let marks = Marks { died: true, keys_replaced, ..message.marks() };
        let key = dead.to.routing_key.as_ref().map_or(message.routing_key(), |key| key.as_bytes());
        let properties = properties.with_headers_without_expiration(&headers);
        message.readdressed(dead.to.exchange.as_bytes(), &key[..key.len().min(255)], &properties, marks)
    }
}

/// Routing keys beside the first: CC, and the BCC that the broker has kept to itself.
pub(super) fn other_keys(message: &Message) -> Vec<Vec<u8>> {
    if message.marks().keys_replaced {
        return Vec::new();
    }
    let properties = message.properties();
    let keys_of = |name: &str| match properties.header(name) {
        Some(Value::Array(values)) => texts(values),
        _ => Vec::new(),
    };
    let mut keys = keys_of("CC");
    keys.extend(keys_of("BCC"));
    keys
}

fn texts(array: &[u8]) -> Vec<Vec<u8>> {
    let texts = table::values(array).filter_map(|value| match value {
        Value::String(text) => Some(text.to_vec()),
        _ => None,
    });
    texts.collect()
}

/// An x-death header: one table for each queue and reason, the most recent first (behaviour D7).
#[derive(Default)]
struct Deaths(Vec<Vec<u8>>);

fn text<'a>(death: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    table::entries(death).find(|(key, _)| *key == name).and_then(|(_, value)| match value {
        Value::String(text) => Some(text),
        _ => None,
    })
}

impl Deaths {
    fn read(headers: &[u8]) -> Self {
        let x_death = table::entries(headers).find(|(name, _)| *name == b"x-death");
        let Some((_, Value::Array(deaths))) = x_death else { return Self::default() };
        let tables = table::values(deaths).filter_map(|value| match value {
            Value::Table(death) => Some(death.to_vec()),
            _ => None,
        });
        Self(tables.collect())
    }

    /// A death more: counted where the same happened before, which keeps its time (gotcha 22).
    fn add(&mut self, dead: &DeadLetter, message: &Message, expiration_first: bool) {
        let (queue, reason) = (dead.name.as_bytes(), dead.reason.name().as_bytes());
        let same = |death: &Vec<u8>| text(death, b"queue") == Some(queue) && text(death, b"reason") == Some(reason);
        let death = match self.0.iter().position(same) {
            Some(at) => counted(&self.0.remove(at)),
            None => first_death(dead, message, expiration_first),
        };
        self.0.insert(0, death);
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for death in &self.0 {
            table::put_value(&mut out, Value::Table(death));
        }
        out
    }

    /// Whether a message with these deaths has come back to a queue without anybody having rejected it on its way
    /// (behaviour D9, gotcha 23).
    fn is_cycle(&self, queue: &[u8]) -> bool {
        let Some(back) = self.0.iter().position(|death| text(death, b"queue") == Some(queue)) else { return false };
        self.0[..=back].iter().all(|death| text(death, b"reason") != Some(b"rejected"))
    }
}

/// RabbitMQ 4.x has original-expiration before all else, older ones have it behind.
fn first_death(dead: &DeadLetter, message: &Message, expiration_first: bool) -> Vec<u8> {
    let mut keys = Vec::new();
    table::put_value(&mut keys, Value::String(message.routing_key()));
    if let (false, Some(Value::Array(values))) = (message.marks().keys_replaced, message.properties().header("CC")) {
        for key in texts(values) {
            table::put_value(&mut keys, Value::String(&key));
        }
    }
    let mut death = Vec::new();
    let expiration = message.properties().expiration();
    if let Some(expiration) = expiration.filter(|_| expiration_first) {
        table::put(&mut death, b"original-expiration", Value::String(expiration));
    }
    table::put(&mut death, b"count", Value::Int(1));
    table::put(&mut death, b"reason", Value::String(dead.reason.name().as_bytes()));
    table::put(&mut death, b"queue", Value::String(dead.name.as_bytes()));
    table::put(&mut death, b"time", Value::Timestamp(dead.died.0 / 1000));
    table::put(&mut death, b"exchange", Value::String(message.exchange()));
    table::put(&mut death, b"routing-keys", Value::Array(&keys));
    if let Some(expiration) = expiration.filter(|_| !expiration_first) {
        table::put(&mut death, b"original-expiration", Value::String(expiration));
    }
    death
}

fn counted(death: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(death.len());
    for (name, entry) in table::raw_entries(death) {
        let value = table::entries(entry).next().map(|(_, value)| value);
        match (name, value) {
            (b"count", Some(Value::Int(count))) => table::put(&mut out, name, Value::Int(count.saturating_add(1))),
            _ => out.extend_from_slice(entry),
        }
    }
    out
}
