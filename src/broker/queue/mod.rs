//! A queue: ready messages in order, its consumers in turn, its bounds. Knows no channel and no connection's socket.

pub mod arguments;
mod consumers;
pub mod effective;
pub mod level;
mod ready;
pub mod stream;

use std::collections::VecDeque;
use std::sync::Arc;

use slotmap::new_key_type;

pub use consumers::{Consumer, ConsumerId, Consumers, Turns};
pub use ready::{Entry, Ready};

use super::Timestamp;
use super::counters::{Amount, QueueCounters};
use super::dead_letter::Reason;
use super::effects::ConnectionId;
use super::exchange::Sources;
use super::exchange::deduplication::Deduplication;
use super::paging::Before;
use super::policy::Applied;
use super::settings::{Profile, QuorumPriorities};
use super::timers::Deadline;
use crate::amqp::{FieldTable, Message};
use effective::{Effective, Overflow};
use level::Keeps;
use stream::Stream;

new_key_type! {
    /// A queue of one virtual host.
    pub struct QueueId;
}

/// What a client says about a queue when it declares it, beside the name and the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    pub durable: bool,
    pub exclusive: bool,
    pub auto_delete: bool,
}

/// The levels of a quorum queue are fixed (behaviour Q17).
const QUORUM_MAX_PRIORITY: u8 = 31;

/// Where quorum queues have two levels, this is still the lower one.
const HIGHEST_NORMAL: u8 = 4;

/// x-queue-type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    #[default]
    Classic,
    Quorum,
    Stream,
}

impl QueueType {
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"classic" => Self::Classic,
            b"quorum" => Self::Quorum,
            b"stream" => Self::Stream,
            _ => return None,
        })
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }

    /// RabbitMQ's module for it, which its error texts name (behaviour Q10).
    #[must_use]
    pub fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
            Self::Stream => "rabbit_stream_queue",
        }
    }
}

#[derive(Debug)]
pub struct Queue {
    pub name: Arc<str>,
    pub kind: QueueType,
    pub durable: bool,
    pub auto_delete: bool,
    /// The connection that declared it exclusive.
    pub owner: Option<ConnectionId>,
    pub arguments: FieldTable,
    /// What applies to it now: shared by queues of which nothing special was asked.
    pub effective: Arc<Effective>,
    pub ready: Ready,
    /// What a stream keeps, in place of `ready`.
    pub stream: Option<Box<Stream>>,
    pub consumers: Consumers,
    /// Messages delivered and not settled yet, and the bytes of their bodies.
    pub unacked: usize,
    pub unacked_bytes: u64,
    /// Exchanges that have a binding to this queue.
    pub sources: Sources,
    /// Whether a message's properties, or the time, make a difference here: not so for a plain classic queue.
    pub looks_at_messages: bool,
    /// Messages that are here, or were here lately, are not taken again (behaviour Q28).
    pub deduplication: Option<Box<Deduplication>>,
    max_priority: u8,
    /// A quorum queue that was full and is not free enough again.
    refuses: bool,
    pub(super) extra: Option<Box<Extra>>,
    /// What a storage knows it by: if it is durable, or has given messages to the disk to save memory; 0 otherwise.
    pub(super) number: u64,
    /// Messages below this position are known to have been delivered, perhaps.
    pub(super) delivered: u64,
    /// The round in which that was written.
    pub(super) delivered_in: u64,
    /// How far ahead of the messages delivered that was written last.
    pub(super) delivered_ahead: u64,
    /// A storage has what is to survive up to this position.
    pub(super) stored: u64,
    /// Ready and unacked messages that are written down. A stream keeps no such account.
    pub(super) kept: Amount,
    /// The policies that apply.
    pub(super) policy: Option<Arc<Applied>>,
    /// When it was declared, or a message last came, was delivered or was settled.
    pub(super) active: Timestamp,
    pub(super) counters: QueueCounters,
}

/// What few queues need.
#[derive(Debug, Default)]
pub struct Extra {
    pub(super) expiry: Deadline,
    pub(super) unused: Deadline,
    pub(super) retry: Deadline,
    /// When x-expires began to count.
    pub(super) last_used: Timestamp,
    /// Dead letters that no queue has taken yet (at-least-once).
    pub(super) held: VecDeque<(Entry, Reason)>,
    /// What was before a restart.
    pub(super) before: Option<Before>,
}

impl Queue {
    #[must_use]
    pub fn new(
        name: Arc<str>,
        flags: Flags,
        owner: Option<ConnectionId>,
        arguments: FieldTable,
        effective: Arc<Effective>,
        profile: &Profile,
    ) -> Self {
        let kind = arguments::queue_type_of(&arguments);
        let max_priority = match kind {
            QueueType::Classic => arguments::max_priority_of(&arguments),
            QueueType::Quorum => match profile.quorum_priorities {
                QuorumPriorities::None => 0,
                QuorumPriorities::TwoToOne => 1,
                QuorumPriorities::Strict => QUORUM_MAX_PRIORITY,
            },
            QueueType::Stream => 0,
        };
        let turns = match kind {
            QueueType::Stream => Turns::Readers,
            _ if arguments::is_single_active(&arguments) => Turns::SingleActive,
            _ => Turns::Everyone,
        };
        let mut queue = Self {
            name,
            kind,
            durable: flags.durable,
            auto_delete: flags.auto_delete,
            owner,
            arguments,
            ready: match (kind, profile.quorum_priorities) {
                (QueueType::Quorum, QuorumPriorities::TwoToOne) => Ready::two_to_one(),
                (QueueType::Quorum, _) => Ready::new(max_priority, true),
                _ => Ready::new(max_priority, false),
            },
            stream: (kind == QueueType::Stream).then(Box::default),
            consumers: Consumers::new(turns),
            unacked: 0,
            unacked_bytes: 0,
            sources: Sources::default(),
            looks_at_messages: false,
            deduplication: None,
            max_priority,
            refuses: false,
            extra: None,
            number: 0,
            delivered: 0,
            delivered_in: 0,
            delivered_ahead: 0,
            stored: 0,
            kept: Amount::default(),
            policy: None,
            active: Timestamp::default(),
            counters: QueueCounters::default(),
            effective: Arc::default(),
        };
        queue.apply(effective);
        queue
    }

    /// A policy, or the lack of one, has changed what applies.
    pub fn apply(&mut self, effective: Arc<Effective>) {
        self.effective = effective;
        let is_plain = self.kind == QueueType::Classic && self.max_priority == 0;
        self.looks_at_messages = !is_plain || self.effective.message_ttl.is_some();
    }

    /// What few queues need, made when it is needed first.
    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Whether this message is written down, so that it survives: in a classic queue if it is persistent (behaviour B6), in
    /// others always. A stream keeps its messages itself.
    #[must_use]
    pub fn keeps(&self, message: &Message) -> bool {
        self.number != 0 && self.stream.is_none() && self.kept().keeps(message)
    }

    pub(super) fn kept(&self) -> Keeps {
        match self.kind {
            _ if !self.durable => Keeps::Nothing,
            QueueType::Classic => Keeps::Persistent,
            QueueType::Quorum | QueueType::Stream => Keeps::Everything,
        }
    }

    /// Whether one more message of this size would exceed a bound (behaviour Q14, reject-publish).
    #[must_use]
    pub fn would_overflow(&self, body_len: usize) -> bool {
        self.effective.exceeded(self.ready.len() as u64 + 1, self.ready.bytes() + body_len as u64)
    }

    /// Whether it refuses a message.
    #[must_use]
    pub fn refuses(&mut self, message: &Message) -> bool {
        // A stream makes room by its retention.
        if self.effective.overflow == Overflow::DropHead || self.kind == QueueType::Stream {
            return false;
        }
        if self.kind != QueueType::Quorum {
            return self.would_overflow(message.body_len());
        }
        // A quorum queue refuses when it is over its bound already, and then until a fifth of it is free.
        let share = |max: Option<u64>, used: u64| max.is_some_and(|max| used.saturating_mul(5) > max.saturating_mul(4));
        let (length, bytes) = (self.ready.len() as u64, self.ready.bytes());
        let stays = share(self.effective.max_length, length) || share(self.effective.max_length_bytes, bytes);
        self.refuses = self.overflows() || (self.refuses && stays);
        self.refuses
    }

    /// Whether the head has to go (behaviour Q13: ready messages and the bytes of their bodies count).
    #[must_use]
    pub fn overflows(&self) -> bool {
        self.effective.exceeded(self.ready.len() as u64, self.ready.bytes())
    }

    /// Messages that a client could be given now.
    #[must_use]
    pub fn message_count(&self) -> usize {
        self.stream.as_ref().map_or(self.ready.len(), |stream| stream.len())
    }

    /// Those messages, head first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        let stored = self.stream.iter().flat_map(|stream| stream.iter());
        self.ready.iter().map(|entry| &entry.message).chain(stored)
    }

    /// Makes the entry of a message: its place, when it expires, its priority.
    pub fn entry(&mut self, message: Message, now: Timestamp) -> Entry {
        let mut entry = self.ready.entry(message);
        let properties = entry.message.properties();
        let expiration = properties.expiration().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let ttl = expiration.into_iter().chain(self.effective.message_ttl).min();
        entry.expires = ttl.map_or(Timestamp::NEVER, |ttl| now.after(ttl));
        if self.max_priority > 0 {
            let priority = properties.priority().unwrap_or(0);
            entry.priority = match self.kind {
                QueueType::Quorum if self.max_priority == 1 => u8::from(priority > HIGHEST_NORMAL),
                _ => priority.min(self.max_priority),
            };
        }
        entry
    }
}
