//! What is written down of a virtual host so that it survives: exchanges, queues, bindings and policies as definitions, and what
//! becomes of messages in durable queues. Queues and exchanges that keep messages have a number there (behaviour O8, X23, B6).

use super::Broker;
use super::counters::Amount;
use super::exchange::{Destination, ExchangeId};
use super::paging::Unneeded;
use super::policy::Policy;
use super::queue::level::Span;
use super::queue::{Entry, Queue, QueueId};
use super::record::{Enqueue, NEVER, Records, Returned};
use crate::amqp::{FieldTable, table};

/// The rounds in which records are taken, in order.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds {
    /// The one at hand.
    pub(super) now: u64,
    /// What was written down up to this one is safe.
    pub(super) safe: u64,
}

/// Whose messages a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbered {
    Queue(QueueId),
    /// One that delays messages.
    Exchange(ExchangeId),
}

/// The kinds of definitions, in the order in which they are restored.
pub(super) const EXCHANGE: u8 = b'e';
pub(super) const POLICY: u8 = b'o';
pub(super) const OPERATOR_POLICY: u8 = b'p';
pub(super) const QUEUE: u8 = b'q';
pub(super) const BINDING: u8 = b's';

pub(super) const AUTO_DELETE: u8 = 1;
pub(super) const INTERNAL: u8 = 1 << 1;

/// Keys longer than this have a digest in place of what does not fit.
const LONGEST_KEY: usize = 4096;

fn named_key(kind: u8, name: &str) -> Vec<u8> {
    [&[kind], name.as_bytes()].concat()
}

/// Appends a short string with its length.
fn put_short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("names are short strings"));
    out.extend_from_slice(text.as_bytes());
}

fn amount(entry: &Entry) -> Amount {
    Amount { messages: 1, bytes: entry.message.body_len() as u64 }
}

impl Broker {
    /// From now on what has to survive is written down, for a storage to take with [`Broker::records`].
    pub fn keep_records(&mut self) {
        self.log.enable();
    }

    /// Another round begins: what is written down until its records are taken is a part of it. What was written down in
    /// rounds up to `safe` survives by now.
    pub fn begin_round(&mut self, now: u64, safe: u64) {
        self.rounds = Rounds { now, safe };
    }

    /// What has been written down since it was last taken.
    pub fn records(&mut self) -> &mut Records {
        &mut self.log
    }

    /// A number for a durable queue or exchange; 0 where nothing is kept.
    pub(super) fn new_number(&mut self, whose: Numbered) -> u64 {
        if !self.log.is_enabled() {
            return 0;
        }
        self.last_number += 1;
        self.numbered.insert(self.last_number, whose);
        self.last_number
    }

    pub(super) fn define_queue(&mut self, id: QueueId) {
        if !self.queues[id].durable {
            return;
        }
        let number = self.new_number(Numbered::Queue(id));
        let queue = &mut self.queues[id];
        queue.number = number;
        let flags = if queue.auto_delete { AUTO_DELETE } else { 0 };
        let mut value = vec![flags];
        value.extend_from_slice(&number.to_le_bytes());
        value.extend_from_slice(&table::encode(&queue.arguments));
        self.log.define(&named_key(QUEUE, &queue.name), &value);
    }

    /// A queue is going, with what is in it.
    pub(super) fn undefine_queue(&mut self, id: QueueId) {
        let &Queue { number, durable, .. } = &self.queues[id];
        if number == 0 {
            return;
        }
        self.queues[id].number = 0;
        self.numbered.remove(&number);
        let levels = 0..=self.queues[id].ready.max_priority();
        if self.queues[id].ready.has_spilled() {
            self.unneeded.extend(levels.map(|level| Unneeded { queue: number, level, below: NEVER }));
        }
        if !durable {
            return;
        }
        let sources = self.queues[id].sources.exchanges();
        self.undefine_bindings_to(Destination::Queue(id), &sources);
        let queue = &self.queues[id];
        self.log.undefine(&named_key(QUEUE, &queue.name));
        self.log.forget(number, queue.ready.bytes() + queue.unacked_bytes + queue.stream.as_ref().map_or(0, |s| s.bytes()));
    }

    pub(super) fn define_exchange(&mut self, id: ExchangeId) {
        let exchange = &self.exchanges[id];
        if !exchange.durable {
            return;
        }
        let number = if exchange.delayed.is_some() { self.new_number(Numbered::Exchange(id)) } else { 0 };
        let exchange = &mut self.exchanges[id];
        exchange.number = number;
        let auto_delete = if exchange.auto_delete { AUTO_DELETE } else { 0 };
        let internal = if exchange.internal { INTERNAL } else { 0 };
        let mut value = vec![auto_delete | internal];
        value.extend_from_slice(&number.to_le_bytes());
        put_short(&mut value, exchange.kind.name());
        value.extend_from_slice(&table::encode(&exchange.arguments));
        self.log.define(&named_key(EXCHANGE, &exchange.name), &value);
    }

    /// An exchange is going, with its bindings and what it keeps.
    pub(super) fn undefine_exchange(&mut self, id: ExchangeId) {
        let exchange = &self.exchanges[id];
        if !exchange.durable || !self.log.is_enabled() {
            return;
        }
        let sources = exchange.sources.exchanges();
        self.undefine_bindings_to(Destination::Exchange(id), &sources);
        let bindings = self.exchanges[id].bindings();
        let from_it: Vec<_> = bindings.map(|(to, key, arguments)| (to, key.to_owned(), arguments.clone())).collect();
        for (destination, key, arguments) in from_it {
            self.undefine_binding(id, destination, &key, &arguments);
        }
        let exchange = &self.exchanges[id];
        self.log.undefine(&named_key(EXCHANGE, &exchange.name));
        if exchange.number != 0 {
            self.log.forget(exchange.number, 0);
            self.numbered.remove(&exchange.number);
        }
    }

    /// Behaviour X23: a binding is as durable as both its ends.
    pub(super) fn define_binding(&mut self, source: ExchangeId, destination: Destination, key: &str, arguments: &FieldTable) {
        if let Some(id) = self.binding_key(source, destination, key, arguments) {
            let mut value = Vec::new();
            put_short(&mut value, key);
            value.extend_from_slice(&table::encode(arguments));
            self.log.define(&id, &value);
        }
    }

    pub(super) fn undefine_binding(&mut self, source: ExchangeId, destination: Destination, key: &str, arguments: &FieldTable) {
        if let Some(id) = self.binding_key(source, destination, key, arguments) {
            self.log.undefine(&id);
        }
    }

    /// All bindings to a destination that is going, from the exchanges at hand.
    fn undefine_bindings_to(&mut self, destination: Destination, sources: &[ExchangeId]) {
        for source in sources {
            let Some(exchange) = self.exchanges.get(*source) else { continue };
            let to_it = exchange.bindings().filter(|(to, ..)| *to == destination);
            let gone: Vec<(String, FieldTable)> = to_it.map(|(_, key, arguments)| (key.to_owned(), arguments.clone())).collect();
            for (key, arguments) in gone {
                self.undefine_binding(*source, destination, &key, &arguments);
            }
        }
    }

    /// What a durable binding is known by; `None` for one that is not.
    fn binding_key(&self, source: ExchangeId, destination: Destination, key: &str, arguments: &FieldTable) -> Option<Vec<u8>> {
        if !self.log.is_enabled() {
            return None;
        }
        let source = self.exchanges.get(source).filter(|exchange| exchange.durable)?;
        let (letter, name) = match destination {
            Destination::Queue(id) => (QUEUE, self.queues.get(id).filter(|queue| queue.durable).map(|queue| &queue.name)?),
            Destination::Exchange(id) => (EXCHANGE, self.exchanges.get(id).filter(|exchange| exchange.durable).map(|e| &e.name)?),
        };
        let mut out = vec![BINDING];
        put_short(&mut out, &source.name);
        out.push(letter);
        put_short(&mut out, name);
        put_short(&mut out, key);
        let arguments = table::encode(arguments);
        if out.len() + arguments.len() <= LONGEST_KEY {
            out.extend_from_slice(&arguments);
        } else {
            out.extend_from_slice(&super::exchange::digest(&arguments).to_le_bytes());
        }
        Some(out)
    }

    pub(super) fn define_policy(&mut self, operator: bool, policy: &Policy) {
        let kind = if operator { OPERATOR_POLICY } else { POLICY };
        self.log.define(&named_key(kind, &policy.name), policy.to_json().to_string().as_bytes());
    }

    pub(super) fn undefine_policy(&mut self, operator: bool, name: &str) {
        let kind = if operator { OPERATOR_POLICY } else { POLICY };
        self.log.undefine(&named_key(kind, name));
    }

    /// A message that is to survive arrives in its queue.
    pub(super) fn write_enqueue(log: &mut Records, queue: &mut Queue, entry: &Entry) {
        if queue.keeps(&entry.message) {
            queue.kept += amount(entry);
            queue.counters.disk_writes += 1;
            let Entry { position, expires, returns, uncounted_returns, priority, redelivered, .. } = *entry;
            let enqueue = Enqueue {
                queue: queue.number,
                level: priority,
                position,
                at: expires.0,
                redelivered,
                returns,
                uncounted: uncounted_returns,
            };
            log.enqueue(&entry.message, enqueue);
        }
    }

    /// A message that was written down has ended.
    pub(super) fn write_end(&mut self, id: QueueId, entry: &Entry) {
        if let Some(queue) = self.queues.get_mut(id).filter(|queue| queue.keeps(&entry.message)) {
            let Amount { messages, bytes } = amount(entry);
            // After a restart the numbers are estimates.
            queue.kept.messages = queue.kept.messages.saturating_sub(messages);
            queue.kept.bytes = queue.kept.bytes.saturating_sub(bytes);
            self.log.ack(queue.number, entry.priority, entry.position, entry.message.body_len());
        }
    }

    /// Messages of a queue that are written down and unacked.
    pub(super) fn kept_by_channels(&self, id: QueueId) -> Amount {
        let queue = &self.queues[id];
        let channels = self.connections.iter().flatten().flat_map(|connection| connection.channels.values());
        let held = channels.flat_map(|channel| channel.held()).filter(|delivery| delivery.queue == id && !delivery.again);
        held.filter(|delivery| queue.keeps(&delivery.entry.message)).map(|delivery| amount(&delivery.entry)).sum()
    }

    /// What is on disk alone has ended; what came back before a restart is not part of it, though it may lie between.
    pub(super) fn write_drop(&mut self, id: QueueId, level: u8, span: Span) {
        let queue = &self.queues[id];
        if queue.number == 0 || !queue.durable {
            return;
        }
        let before = queue.extra.as_ref().and_then(|extra| extra.before.as_ref());
        let elsewhere = before.into_iter().flat_map(|before| before.returned.range(span.first..=span.last));
        let mut first = span.first;
        for position in elsewhere {
            if first < *position {
                self.log.drop_all(queue.number, level, (first, *position - 1), 0);
            }
            first = *position + 1;
        }
        if first <= span.last {
            self.log.drop_all(queue.number, level, (first, span.last), span.bytes);
        }
    }

    /// The broker stops in order, with everything back in its queue. What may have been delivered before an earlier crash stays
    /// redelivered, for nothing else is known of it.
    pub(super) fn write_clean(&mut self) {
        self.log.clean();
        for queue in self.queues.values().filter(|queue| !queue.ready.is_empty()) {
            let before = queue.extra.as_ref().and_then(|extra| extra.before.as_ref());
            if let Some(before) = before.filter(|before| before.delivered > 0) {
                self.log.delivered(queue.number, before.delivered);
            }
        }
    }

    /// A message has come back to its queue.
    pub(super) fn write_return(log: &mut Records, queue: &Queue, entry: &Entry) {
        if queue.keeps(&entry.message) {
            let Entry { position, returns, uncounted_returns: uncounted, priority: level, .. } = *entry;
            log.returned(queue.number, Returned { level, position, returns, uncounted });
        }
    }

    /// An entry ends for good, wherever it was.
    pub(super) fn end_entry(&mut self, id: QueueId, entry: Entry) {
        self.write_end(id, &entry);
        self.release_entry(entry);
    }

    /// Somebody gets a message that is written down: after a crash it has to come back as redelivered, even though nothing
    /// else is known of the delivery then. What is written for that reaches further each time, so that it is rarely written.
    /// Whether that is not safe yet: then no client gets anything below it, unless the message itself was written later.
    pub(super) fn write_delivery(log: &mut Records, queue: &mut Queue, entry: &Entry, rounds: Rounds) -> bool {
        const FURTHEST: u64 = 1 << 16;
        if entry.redelivered || !queue.keeps(&entry.message) {
            return false;
        }
        if entry.position < queue.delivered {
            return queue.delivered_in > rounds.safe;
        }
        queue.delivered_in = rounds.now;
        queue.delivered_ahead = (2 * queue.delivered_ahead + 1).min(FURTHEST);
        queue.delivered = entry.position + queue.delivered_ahead;
        log.delivered(queue.number, queue.delivered);
        true
    }
}
