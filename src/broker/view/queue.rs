//! What a queue looks like from outside.

use std::sync::Arc;

use crate::amqp::FieldTable;
use crate::broker::counters::{Amount, QueueCounters};
use crate::broker::policy::Applied;
use crate::broker::queue::{ConsumerId, Entry, Queue, QueueType};
use crate::broker::{Broker, ConnectionId, Timestamp};

/// A queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueView {
    pub name: Arc<str>,
    pub kind: QueueType,
    pub durable: bool,
    pub auto_delete: bool,
    /// The connection whose exclusive queue it is.
    pub owner: Option<ConnectionId>,
    pub arguments: FieldTable,
    /// In a stream: all messages.
    pub ready: Amount,
    /// None in a stream: what its readers hold has not left it.
    pub unacked: Amount,
    /// Ready and unacked messages that survive a restart, as they are written down: none without a data directory.
    pub persistent: Amount,
    /// Ready and unacked messages in memory.
    pub in_memory: Amount,
    /// Messages on disk alone.
    pub paged_out: Amount,
    pub consumers: usize,
    /// The tag of the consumer that nobody may consume beside.
    pub exclusive_consumer: Option<Box<str>>,
    /// The one that gets messages, where only one does.
    pub active_consumer: Option<ActiveConsumer>,
    /// Which policies apply, and what they set.
    pub policy: Option<Arc<Applied>>,
    /// The timestamp property of the head, in seconds since the epoch.
    pub head_timestamp: Option<u64>,
    /// When a message last came, was delivered or was settled; before that, when the queue was declared.
    pub idle_since: Timestamp,
    pub counters: QueueCounters,
    /// Bytes of memory that it takes with its messages, about.
    pub memory: u64,
    /// How often a message may come back; `None` is no limit. Of quorum queues alone.
    pub delivery_limit: Option<u32>,
    pub stream: Option<StreamView>,
}

/// A single active consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveConsumer {
    pub tag: Box<str>,
    pub connection: ConnectionId,
    pub channel: u16,
}

/// What only a stream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamView {
    /// The offset of the oldest message, or of the next one when there is none.
    pub first_offset: u64,
    pub next_offset: u64,
    pub segments: usize,
    pub readers: usize,
}

impl QueueView {
    /// Ready and unacked messages.
    #[must_use]
    pub fn total(&self) -> Amount {
        [self.ready, self.unacked].into_iter().sum()
    }
}

impl Broker {
    /// Every queue, by name.
    #[must_use]
    pub fn queue_views(&self) -> Vec<QueueView> {
        let mut all: Vec<QueueView> = self.queues.values().map(|queue| self.view(queue)).collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The names of all queues, in no order.
    #[must_use]
    pub fn queue_names(&self) -> Vec<Arc<str>> {
        self.queues.values().map(|queue| Arc::clone(&queue.name)).collect()
    }

    #[must_use]
    pub fn queue_view(&self, name: &str) -> Option<QueueView> {
        self.queue_names.get(name).map(|id| self.view(&self.queues[*id]))
    }

    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    fn view(&self, queue: &Queue) -> QueueView {
        let amounts = queue.amounts();
        let tag = |id: ConsumerId| self.consumers.get(id).map(|consumer| consumer.tag.clone());
        let active = queue.consumers.active().and_then(|id| self.consumers.get(id));
        QueueView {
            name: Arc::clone(&queue.name),
            kind: queue.kind,
            durable: queue.durable,
            auto_delete: queue.auto_delete,
            owner: queue.owner,
            arguments: queue.arguments.clone(),
            ready: amounts.ready,
            unacked: amounts.unacked,
            persistent: amounts.persistent,
            in_memory: amounts.in_memory,
            paged_out: amounts.paged_out,
            consumers: queue.consumers.len(),
            exclusive_consumer: queue.consumers.exclusive.and_then(tag),
            active_consumer: active.map(|consumer| ActiveConsumer {
                tag: consumer.tag.clone(),
                connection: consumer.connection,
                channel: consumer.channel,
            }),
            policy: queue.policy.clone(),
            head_timestamp: queue.ready.peek().and_then(|head| head.message.properties().timestamp()),
            idle_since: queue.active,
            counters: queue.counters,
            memory: memory(queue, amounts.in_memory),
            delivery_limit: queue.effective.delivery_limit.filter(|_| queue.kind == QueueType::Quorum),
            stream: queue.stream.as_ref().map(|stream| StreamView {
                first_offset: stream.first(),
                next_offset: stream.next(),
                segments: stream.segments(),
                readers: queue.consumers.len(),
            }),
        }
    }
}

/// How many messages of a queue are where.
pub(super) struct Amounts {
    pub(super) ready: Amount,
    pub(super) unacked: Amount,
    pub(super) persistent: Amount,
    pub(super) in_memory: Amount,
    pub(super) paged_out: Amount,
}

impl Queue {
    pub(super) fn amounts(&self) -> Amounts {
        if let Some(stream) = &self.stream {
            let ready = Amount { messages: stream.len() as u64, bytes: stream.bytes() };
            let in_memory = stream.in_memory();
            let persistent = if self.number == 0 { Amount::default() } else { ready };
            let paged_out = Amount { messages: ready.messages - in_memory.messages, bytes: ready.bytes - in_memory.bytes };
            return Amounts { ready, unacked: Amount::default(), persistent, in_memory, paged_out };
        }
        let ready = Amount { messages: self.ready.len() as u64, bytes: self.ready.bytes() };
        let unacked = Amount { messages: self.unacked as u64, bytes: self.unacked_bytes };
        let paged_out = self.ready.on_disk();
        // What is on disk is an estimate after a restart, until it has been read.
        let persistent = Amount {
            messages: self.kept.messages.min(ready.messages + unacked.messages),
            bytes: self.kept.bytes.min(ready.bytes + unacked.bytes),
        };
        let in_memory = Amount {
            messages: (ready.messages + unacked.messages).saturating_sub(paged_out.messages),
            bytes: (ready.bytes + unacked.bytes).saturating_sub(paged_out.bytes),
        };
        Amounts { ready, unacked, persistent, in_memory, paged_out }
    }
}

/// Messages are taken to have as much beside their bodies as the first one has: names, properties, headers.
pub(super) fn memory(queue: &Queue, in_memory: Amount) -> u64 {
    let first = queue.messages().next();
    let envelope = first.map_or(0, |message| message.memory() - message.body_len()) as u64;
    size_of::<Queue>() as u64 + in_memory.bytes + in_memory.messages * (Entry::MEMORY + envelope)
}
