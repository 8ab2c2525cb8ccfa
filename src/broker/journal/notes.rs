//! What clients do wrong: the errors that they have been sent, with what led to them, and what will bite them elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;

use serde::Serialize;

use super::{Client, Journal, frames};
use crate::amqp::{Command, FieldTable, ReplyCode, ShortString, exchange, queue as methods};
use crate::broker::error::Error;
use crate::broker::exchange::{ExchangeId, Kind};
use crate::broker::policy::Policy;
use crate::broker::queue::arguments::equivalent;
use crate::broker::queue::{Flags, QueueId};
use crate::broker::{At, Broker, ConnectionId, Timestamp};

/// Commands of a connection that are remembered for the day of an error.
const FRAMES: usize = 20;
/// What RabbitMQ 4.0 takes of a message, in bytes (V12), and the smallest frame_max of 4.1 (V1).
const MESSAGE_MAX: usize = 16 * 1024 * 1024;
const FRAME_MAX_MIN: usize = 8192;
/// `#` that a topic binding may have (V23).
const WILDCARDS_MAX: usize = 2;

/// A habit that is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lint {
    TransientQueue,
    GlobalQos,
    FrameMax,
    QueueVersion1,
    TopicWildcards,
    MirroredPolicy,
    MessageSize,
    NotClosed,
    OpenConnection,
    OpenChannel,
    Unroutable,
    NeverConsumed,
    NoPrefetch,
    Unacked,
    UnknownTag,
    Error,
}

impl Lint {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TransientQueue => "transient-queue",
            Self::GlobalQos => "global-qos",
            Self::FrameMax => "frame-max",
            Self::QueueVersion1 => "queue-version-1",
            Self::TopicWildcards => "topic-wildcards",
            Self::MirroredPolicy => "mirrored-policy",
            Self::MessageSize => "message-size",
            Self::NotClosed => "connection-not-closed",
            Self::OpenConnection => "connection-open",
            Self::OpenChannel => "channel-open",
            Self::Unroutable => "unroutable",
            Self::NeverConsumed => "never-consumed",
            Self::NoPrefetch => "no-prefetch",
            Self::Unacked => "unacked",
            Self::UnknownTag => "unknown-tag",
            Self::Error => "error",
        }
    }

    /// What `--fail-on` calls it, alone or with others.
    #[must_use]
    pub fn group(self) -> &'static str {
        match self {
            Self::TransientQueue
            | Self::GlobalQos
            | Self::FrameMax
            | Self::QueueVersion1
            | Self::TopicWildcards
            | Self::MirroredPolicy
            | Self::MessageSize => "deprecated",
            Self::NotClosed | Self::OpenConnection | Self::OpenChannel => "leaks",
            Self::Unroutable => "unroutable",
            Self::NeverConsumed => "never-consumed",
            Self::NoPrefetch => "no-prefetch",
            Self::Unacked => "unacked",
            Self::UnknownTag => "unknown-tag",
            Self::Error => "errors",
        }
    }

    /// All groups.
    pub const GROUPS: [&str; 8] =
        ["leaks", "deprecated", "unroutable", "never-consumed", "no-prefetch", "unacked", "unknown-tag", "errors"];

    /// What is wrong about it.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::TransientQueue => "a queue that is neither durable nor exclusive: RabbitMQ 4.3 refuses it with 541",
            Self::GlobalQos => "basic.qos with global: RabbitMQ 4.3 takes it as for each consumer",
            Self::FrameMax => "a frame_max below 8192: RabbitMQ 4.1 refuses the connection",
            Self::QueueVersion1 => "x-queue-version 1: RabbitMQ 4.0 refuses it",
            Self::TopicWildcards => "a topic binding with more than two #: newer RabbitMQ refuses it",
            Self::MirroredPolicy => "a policy for mirrored classic queues: RabbitMQ 4.0 has none",
            Self::MessageSize => "a message of more than 16 MiB: RabbitMQ 4.0 refuses it",
            Self::NotClosed => "a connection that ended without connection.close",
            Self::OpenConnection => "a connection that is open",
            Self::OpenChannel => "a channel that is open",
            Self::Unroutable => "a message that went nowhere",
            Self::NeverConsumed => "a queue that nobody has consumed or got anything from",
            Self::NoPrefetch => "a consumer that acknowledges and has no prefetch: it is given all there is",
            Self::Unacked => "messages that were unacked when their channel ended, or are",
            Self::UnknownTag => "a settlement of a delivery tag that is not outstanding",
            Self::Error => "an error that closed a channel or a connection",
        }
    }
}

/// Something that a client did, or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub at: Timestamp,
    pub lint: Lint,
    /// What it is about: a queue, an address, a text.
    pub subject: String,
    pub client: Option<Client>,
    pub user: Option<Arc<str>>,
    pub count: u64,
}

/// What a client has declared and what there is, for one of the fields that are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub field: String,
    /// `null` where it is not said.
    pub declared: Option<String>,
    pub existing: Option<String>,
    pub differs: bool,
}

/// An error that a client has been sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    pub time: u64,
    pub connection: Arc<str>,
    pub user: Option<Arc<str>>,
    /// 0: the whole connection was closed.
    pub channel: u16,
    pub code: u16,
    pub text: String,
    /// What was declared again, field by field, where that was the error.
    pub compared: Vec<Compared>,
    /// What the connection had sent before, the last of it the cause.
    pub frames: Vec<String>,
}

impl Explained {
    /// That a client was refused before it got to a virtual host.
    #[must_use]
    pub fn in_handshake(at: Timestamp, connection: &str, text: &str) -> Self {
        Self {
            time: at.0,
            connection: connection.into(),
            user: None,
            channel: 0,
            code: ReplyCode::of_text(text).map_or(0, ReplyCode::code),
            text: text.to_owned(),
            compared: Vec::new(),
            frames: Vec::new(),
        }
    }
}

impl Journal {
    fn remember(&mut self, connection: ConnectionId, at: Timestamp, command: &Command) {
        let frames = self.frames.entry(connection).or_insert_with(|| VecDeque::with_capacity(FRAMES));
        if frames.len() == FRAMES {
            frames.pop_front();
        }
        frames.push_back((at, frames::words(command)));
    }
}

fn compared(field: &str, declared: &dyn Display, existing: &dyn Display) -> Compared {
    let (declared, existing) = (declared.to_string(), existing.to_string());
    Compared { field: field.to_owned(), differs: declared != existing, declared: Some(declared), existing: Some(existing) }
}

fn compared_tables(declared: &FieldTable, existing: &FieldTable) -> Vec<Compared> {
    let mut names: Vec<&str> = declared.inner().keys().chain(existing.inner().keys()).map(ShortString::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let value_of = |table: &FieldTable, name: &str| table.inner().get(name).map(frames::value);
    let each = names.into_iter().map(|name| Compared {
        field: format!("arguments.{name}"),
        declared: value_of(declared, name),
        existing: value_of(existing, name),
        differs: !equivalent(existing.inner().get(name), declared.inner().get(name)),
    });
    each.collect()
}

impl Broker {
    /// The same as without a journal, with a memory of what was sent.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_command(&mut self, connection: ConnectionId, command: &Command) {
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.remember(connection, now, command);
        }
    }

    /// A connection is gone, in order or not.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_disconnected(&mut self, id: ConnectionId, in_order: bool) {
        if !in_order {
            self.journal_note(Some(At { connection: id, channel: 0 }), Lint::NotClosed, String::new(), 1);
        }
        if let Some(journal) = &mut self.journal {
            journal.frames.remove(&id);
            journal.names.remove(&id);
        }
    }

    /// An error closes a channel, or with 0 a connection.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_refused(&mut self, at: At, error: &Error) {
        let text = error.reply_text();
        if text.contains("unknown delivery tag") {
            self.journal_note(Some(at), Lint::UnknownTag, text.clone(), 1);
        }
        // What an administrator closes is no fault of the client.
        if error.code != ReplyCode::ConnectionForced {
            self.journal_note(Some(at), Lint::Error, text.clone(), 1);
        }
        let (now, client) = (self.now, self.journal_client(at));
        let user = self.connection(at.connection).map(|connection| Arc::clone(&connection.opened.user));
        let Some(journal) = &mut self.journal else { return };
        let frames = journal.frames.get(&at.connection).into_iter().flatten();
        let frames = frames.map(|(sent, words)| format!("-{} ms {words}", now.0.saturating_sub(sent.0))).collect();
        let compared = std::mem::take(&mut journal.compared);
        let connection = client.map_or_else(|| "".into(), |client| client.connection);
        let (time, channel, code) = (now.0, at.channel, error.code.code());
        journal.errors.push(Explained { time, connection, user, channel, code, text, compared, frames });
    }

    /// A client does, or leaves, something that is to be told. Nobody is told of what the node does itself.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_note(&mut self, at: Option<At>, lint: Lint, subject: String, count: u64) {
        let at = match at {
            Some(at) if self.is_own(at.connection) => return,
            at => at,
        };
        let client = at.and_then(|at| self.journal_client(at));
        let user = at.and_then(|at| self.connection(at.connection)).map(|connection| Arc::clone(&connection.opened.user));
        let now = self.now;
        if let Some(journal) = &mut self.journal {
            journal.notes.push(Note { at: now, lint, subject, client, user, count });
        }
    }

    /// A connection has negotiated this.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_connected(&mut self, id: ConnectionId) {
        let frame_max = self.connection(id).map_or(0, |connection| connection.opened.frame_max);
        if frame_max != 0 && frame_max < FRAME_MAX_MIN {
            self.journal_note(Some(At { connection: id, channel: 0 }), Lint::FrameMax, format!("frame_max {frame_max}"), 1);
        }
    }

    pub(super) fn journal_size(&mut self, at: At, bytes: usize, exchange: &[u8]) {
        if bytes > MESSAGE_MAX {
            self.journal_note(Some(at), Lint::MessageSize, format!("exchange \"{}\"", String::from_utf8_lossy(exchange)), 1);
        }
    }

    /// A client declares a queue that is not there yet.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_declares_queue(&mut self, at: At, name: &str, flags: Flags, arguments: &FieldTable) {
        if !flags.durable && !flags.exclusive {
            self.journal_note(Some(at), Lint::TransientQueue, name.to_owned(), 1);
        }
        if matches!(arguments.inner().get("x-queue-version").and_then(crate::broker::error::integer), Some(1)) {
            self.journal_note(Some(at), Lint::QueueVersion1, name.to_owned(), 1);
        }
    }

    /// A client declares a queue that is there and is another one.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_compares_queue(&mut self, id: QueueId, flags: Flags, declare: &methods::Declare) {
        let queue = &self.queues[id];
        let mut all = vec![
            compared("durable", &flags.durable, &queue.durable),
            compared("exclusive", &flags.exclusive, &queue.owner.is_some()),
            compared("auto_delete", &flags.auto_delete, &queue.auto_delete),
        ];
        all.extend(compared_tables(&declare.arguments, &queue.arguments));
        if let Some(journal) = &mut self.journal {
            journal.compared = all;
        }
    }

    /// The same of an exchange.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_compares_exchange(&mut self, id: ExchangeId, declare: &exchange::Declare) {
        let exchange = &self.exchanges[id];
        let mut all = vec![
            compared("type", &declare.kind.as_str(), &exchange.kind.name()),
            compared("durable", &declare.durable, &exchange.durable),
            compared("auto_delete", &declare.auto_delete, &exchange.auto_delete),
            compared("internal", &declare.internal, &exchange.internal),
        ];
        all.extend(compared_tables(&declare.arguments, &exchange.arguments));
        if let Some(journal) = &mut self.journal {
            journal.compared = all;
        }
    }

    /// Somebody binds something to an exchange.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_binds(&mut self, source: ExchangeId, key: &str) {
        let exchange = &self.exchanges[source];
        if exchange.kind == Kind::Topic && key.split('.').filter(|word| *word == "#").count() > WILDCARDS_MAX {
            let subject = format!("exchange \"{}\" key \"{key}\"", exchange.name);
            self.journal_note(None, Lint::TopicWildcards, subject, 1);
        }
    }

    /// A channel has a consumer more.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_consumes(&mut self, at: At, queue: QueueId, unlimited: bool) {
        if let Some(journal) = &mut self.journal {
            journal.consumed.insert(queue);
        }
        if unlimited {
            let name = self.queues[queue].name.to_string();
            self.journal_note(Some(at), Lint::NoPrefetch, name, 1);
        }
    }

    /// A channel ends with unacked messages of these queues.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_leaves(&mut self, at: At, queues: impl Iterator<Item = QueueId>) {
        let mut counts = BTreeMap::<QueueId, u64>::new();
        queues.for_each(|queue| *counts.entry(queue).or_default() += 1);
        for (queue, count) in counts {
            let name = self.queues.get(queue).map_or_else(String::new, |queue| queue.name.to_string());
            self.journal_note(Some(at), Lint::Unacked, name, count);
        }
    }

    /// A queue is about to go.
    #[cold]
    #[inline(never)]
    pub(in crate::broker) fn journal_forgets_queue(&mut self, id: QueueId) {
        let consumed = self.journal.as_mut().is_some_and(|journal| journal.consumed.remove(&id));
        if !consumed && let Some(name) = self.queues.get(id).map(|queue| queue.name.to_string()) {
            self.journal_note(None, Lint::NeverConsumed, name, 1);
        }
    }

    /// What clients have done wrong since this was last called.
    pub fn take_notes(&mut self) -> (Vec<Note>, Vec<Explained>) {
        let journal = self.journal.as_mut();
        journal.map_or_else(Default::default, |journal| (std::mem::take(&mut journal.notes), std::mem::take(&mut journal.errors)))
    }

    /// What is wrong right now, whoever did it: what is open, what nobody has consumed, policies that mean nothing any more.
    #[must_use]
    pub fn standing_notes(&self) -> Vec<Note> {
        let now = self.now;
        let mut all = Vec::new();
        let note = |lint: Lint, subject: String, count: u64| Note { at: now, lint, subject, client: None, user: None, count };
        for connection in self.connection_views() {
            let client = |channel| Some(Client { connection: connection.origin.name().into(), channel });
            let user = Some(Arc::clone(&connection.user));
            let (at, client_of) = (connection.connected_at, client(0));
            all.push(Note { at, client: client_of, user: user.clone(), ..note(Lint::OpenConnection, String::new(), 1) });
            for channel in self.channel_views().into_iter().filter(|channel| channel.connection == connection.id) {
                let (at, client) = (channel.idle_since, client(channel.number));
                let user = user.clone();
                all.push(Note { at, client: client.clone(), user: user.clone(), ..note(Lint::OpenChannel, String::new(), 1) });
                if channel.unacked > 0 {
                    all.push(Note { client, user, ..note(Lint::Unacked, String::new(), channel.unacked as u64) });
                }
            }
        }
        let consumed = |id: QueueId| self.journal.as_ref().is_some_and(|journal| journal.consumed.contains(&id));
        let unused = self.queues.iter().filter(|(id, _)| !consumed(*id));
        let mut names: Vec<String> = unused.map(|(_, queue)| queue.name.to_string()).collect();
        names.sort_unstable();
        all.extend(names.into_iter().map(|name| note(Lint::NeverConsumed, name, 1)));
        let mirrors =
            |policy: &&Policy| policy.to_json()["definition"].as_object().is_some_and(|keys| keys.keys().any(|key| key.starts_with("ha-")));
        let policies = [false, true].into_iter().flat_map(|operator| self.policies.all(operator));
        all.extend(policies.filter(mirrors).map(|policy| note(Lint::MirroredPolicy, policy.name.clone(), 1)));
        all
    }
}
