//! What is published, and what comes back.

use bytes::Bytes;

use crate::amqp::basic::AMQPProperties;
use crate::amqp::{FieldTable, properties};

/// A message to publish.
#[derive(Clone, Debug, Default)]
pub struct Publication {
    /// 255 bytes at most, like the routing key.
    pub exchange: Bytes,
    pub routing_key: Bytes,
    /// To be returned when it goes to no queue.
    pub mandatory: bool,
    /// Property flags and values as on the wire; empty for none.
    pub properties: Bytes,
    pub body: Bytes,
}

impl Publication {
    #[must_use]
    pub fn new(exchange: impl Into<Bytes>, routing_key: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        Self { exchange: exchange.into(), routing_key: routing_key.into(), body: body.into(), ..Self::default() }
    }

    #[must_use]
    pub fn mandatory(mut self) -> Self {
        self.mandatory = true;
        self
    }

    #[must_use]
    pub fn with_properties(mut self, properties: &AMQPProperties) -> Self {
        self.properties = properties::encode(properties).into();
        self
    }
}

/// What the server says of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// Taken responsibility for; on a channel without confirms: sent.
    pub acked: bool,
    /// It went to no queue.
    pub returned: Option<Returned>,
}

/// Why a message came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    pub code: u16,
    pub text: String,
}

/// A message from a queue.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub exchange: Bytes,
    pub routing_key: Bytes,
    /// Property flags and values as on the wire.
    pub raw_properties: Bytes,
    pub body: Bytes,
    /// Messages left in the queue, for basic.get.
    pub message_count: Option<u32>,
    /// Empty for basic.get.
    pub consumer_tag: Bytes,
}

impl Delivery {
    /// The properties, parsed; none when one of them is no text.
    #[must_use]
    pub fn properties(&self) -> AMQPProperties {
        properties::decode(&self.raw_properties).unwrap_or_default()
    }

    /// Bytes of memory that it holds, about.
    pub(super) fn size(&self) -> usize {
        self.exchange.len() + self.routing_key.len() + self.raw_properties.len() + self.body.len() + size_of::<Self>()
    }
}

/// How to consume.
#[derive(Clone, Debug, Default)]
pub struct Consume {
    pub queue: String,
    /// Empty: the channel makes one up.
    pub consumer_tag: String,
    pub no_ack: bool,
    pub exclusive: bool,
    pub arguments: FieldTable,
}

impl Consume {
    /// With acknowledgements.
    #[must_use]
    pub fn from(queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), ..Self::default() }
    }
}
