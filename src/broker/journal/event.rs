//! An event of the journal, and how it is written.

use std::sync::Arc;

use serde::Serialize;

use crate::amqp::Message;
use crate::broker::Timestamp;

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A client has published it, or the broker itself.
    Published,
    /// It goes to these queues.
    Routed,
    /// It goes nowhere.
    Unroutable,
    /// Its publisher has it back (mandatory).
    Returned,
    /// An exchange keeps it until a time.
    Delayed,
    /// That time has come.
    DelayOver,
    /// It is in a queue.
    Enqueued,
    /// A consumer has been given it.
    Delivered,
    /// basic.get has been answered with it.
    Got,
    Acked,
    Nacked,
    Rejected,
    /// It is back in its queue.
    Requeued,
    /// Its time to live was over.
    Expired,
    /// It leaves its queue for the dead-letter exchange.
    DeadLettered,
    /// A dead letter that no queue takes; it is tried again (at-least-once).
    Held,
    /// It ends here.
    Dropped,
    /// Its publisher has been told that it is taken.
    Confirmed,
    /// Its publisher has been told that it is not.
    NackedToPublisher,
    /// It was there before the journal was: after a restart, or when it was restored.
    Restored,
}

impl What {
    pub const ALL: [Self; 20] = [
        Self::Published,
        Self::Routed,
        Self::Unroutable,
        Self::Returned,
        Self::Delayed,
        Self::DelayOver,
        Self::Enqueued,
        Self::Delivered,
        Self::Got,
        Self::Acked,
        Self::Nacked,
        Self::Rejected,
        Self::Requeued,
        Self::Expired,
        Self::DeadLettered,
        Self::Held,
        Self::Dropped,
        Self::Confirmed,
        Self::NackedToPublisher,
        Self::Restored,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Routed => "routed",
            Self::Unroutable => "unroutable",
            Self::Returned => "returned",
            Self::Delayed => "delayed",
            Self::DelayOver => "delay-over",
            Self::Enqueued => "enqueued",
            Self::Delivered => "delivered",
            Self::Got => "got",
            Self::Acked => "acked",
            Self::Nacked => "nacked",
            Self::Rejected => "rejected",
            Self::Requeued => "requeued",
            Self::Expired => "expired",
            Self::DeadLettered => "dead-lettered",
            Self::Held => "held",
            Self::Dropped => "dropped",
            Self::Confirmed => "confirmed",
            Self::NackedToPublisher => "nacked-to-publisher",
            Self::Restored => "restored",
        }
    }
}

/// A message as it was when something happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its number, from its publish to its end; those that it dies and is routed anew with it has it, too.
    pub id: u64,
    pub exchange: Box<str>,
    pub routing_key: Box<str>,
    pub message_id: Option<Box<str>>,
    pub correlation_id: Option<Box<str>>,
    /// Bytes of its body.
    pub size: u64,
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

impl About {
    pub(super) fn of(id: u64, message: &Message) -> Arc<Self> {
        let properties = message.properties();
        Arc::new(Self {
            id,
            exchange: text(message.exchange()),
            routing_key: text(message.routing_key()),
            message_id: properties.message_id().map(text),
            correlation_id: properties.correlation_id().map(text),
            size: message.body_len() as u64,
        })
    }

    fn memory(&self) -> usize {
        let texts = [Some(&self.exchange), Some(&self.routing_key), self.message_id.as_ref(), self.correlation_id.as_ref()];
        size_of::<Self>() + 16 + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }
}

/// A channel of a connection, by the connection's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub connection: Arc<str>,
    pub channel: u16,
}

/// One step in the life of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: Timestamp,
    pub what: What,
    /// `None` where it happened to messages that are on disk alone, which nobody has looked at.
    pub about: Option<Arc<About>>,
    pub queue: Option<Arc<str>>,
    /// Where it was routed to.
    pub queues: Box<[Arc<str>]>,
    pub client: Option<Client>,
    pub consumer_tag: Option<Box<str>>,
    /// Of a delivery, or the number of a publish that is confirmed.
    pub delivery_tag: Option<u64>,
    pub reason: Option<&'static str>,
    pub redelivered: bool,
    /// Nobody will acknowledge it: with the delivery it ends.
    pub no_ack: bool,
    /// How long it is delayed.
    pub until: Option<Timestamp>,
    /// To how many messages it happened.
    pub count: u64,
}

impl Event {
    pub(super) fn new(at: Timestamp, what: What) -> Self {
        Self {
            at,
            what,
            about: None,
            queue: None,
            queues: Box::default(),
            client: None,
            consumer_tag: None,
            delivery_tag: None,
            reason: None,
            redelivered: false,
            no_ack: false,
            until: None,
            count: 1,
        }
    }

    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let about = self.about.as_ref().map_or(0, |about| about.memory());
        let tag = self.consumer_tag.as_ref().map_or(0, |tag| tag.len());
        size_of::<Self>() + about + tag + self.queues.len() * size_of::<Arc<str>>()
    }

    /// What JSON has of it.
    #[must_use]
    pub fn line<'a>(&'a self, seq: u64, vhost: &'a str) -> impl Serialize + 'a {
        let about = self.about.as_deref();
        let properties = about.filter(|about| about.message_id.is_some() || about.correlation_id.is_some());
        Line {
            seq,
            time: self.at.0,
            event: self.what.name(),
            vhost,
            message: about.map(|about| about.id),
            queue: self.queue.as_deref(),
            queues: (self.what == What::Routed).then(|| self.queues.iter().map(|queue| &**queue).collect()),
            exchange: about.map(|about| &*about.exchange),
            routing_key: about.map(|about| &*about.routing_key),
            connection: self.client.as_ref().map(|client| &*client.connection),
            channel: self.client.as_ref().map(|client| client.channel),
            consumer_tag: self.consumer_tag.as_deref(),
            delivery_tag: self.delivery_tag,
            redelivered: self.redelivered.then_some(true),
            no_ack: self.no_ack.then_some(true),
            reason: self.reason,
            until: self.until.map(|until| until.0),
            count: (self.count != 1).then_some(self.count),
            properties: properties
                .map(|about| Properties { message_id: about.message_id.as_deref(), correlation_id: about.correlation_id.as_deref() }),
            size: about.map(|about| about.size),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    time: u64,
    event: &'static str,
    vhost: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queues: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_tag: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_tag: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redelivered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_ack: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

#[derive(Serialize)]
struct Properties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
}
