//! What applies to a queue: its arguments, the policies that match it, and the node's defaults, put together.

use std::sync::Arc;

use crate::amqp::{AMQPValue, FieldTable};
use crate::broker::error::integer;
use crate::broker::policy::Definition;
use crate::broker::settings::Settings;

use super::QueueType;

/// What happens when a bound is reached (behaviour Q14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    #[default]
    DropHead,
    RejectPublish,
    /// Rejected, and dead-lettered as well.
    RejectPublishDlx,
}

impl Overflow {
    /// The value of x-overflow with this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"drop-head" => Self::DropHead,
            b"reject-publish" => Self::RejectPublish,
            b"reject-publish-dlx" => Self::RejectPublishDlx,
            _ => return None,
        })
    }
}

/// Where dead letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLettering {
    pub exchange: Arc<str>,
    /// In place of the message's own routing keys.
    pub routing_key: Option<Arc<str>>,
    /// Kept until a queue has taken them (behaviour Q16).
    pub at_least_once: bool,
}

/// Times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    /// Ready messages.
    pub max_length: Option<u64>,
    /// Bytes of their bodies. In a stream: of all bodies.
    pub max_length_bytes: Option<u64>,
    pub overflow: Overflow,
    pub message_ttl: Option<u64>,
    pub expires: Option<u64>,
    pub dead_lettering: Option<DeadLettering>,
    /// How often a message may come back; `None` is no limit (quorum queues).
    pub delivery_limit: Option<u32>,
    /// How long a delivery may wait for its settlement.
    pub consumer_timeout: Option<u64>,
    /// How long a stream keeps messages.
    pub max_age: Option<u64>,
    /// Bytes of a stream that are dropped together.
    pub segment_size: Option<u64>,
}

impl Effective {
    /// From arguments that were checked, and the policy that applies (behaviour P2: of numbers the lowest counts, of texts
    /// the argument).
    #[must_use]
    pub fn new(kind: QueueType, arguments: &FieldTable, policy: &Definition, settings: &Settings) -> Self {
        let found = Found { arguments, policy };
        let mut overflow = found.overflow(kind).unwrap_or(settings.default_overflow);
        if kind == QueueType::Quorum && overflow == Overflow::RejectPublishDlx {
            overflow = Overflow::DropHead;
        }
        let is_stream = kind == QueueType::Stream;
        let default_limit = if kind == QueueType::Quorum { settings.profile.delivery_limit } else { None };
        let dead_lettering = found.text("dead-letter-exchange").map(|exchange| DeadLettering {
            exchange: exchange.into(),
            routing_key: found.text("dead-letter-routing-key").map(Into::into),
            at_least_once: kind == QueueType::Quorum
                && overflow == Overflow::RejectPublish
                && found.text("dead-letter-strategy").is_some_and(|strategy| strategy == "at-least-once"),
        });
        let times_out = kind == QueueType::Quorum || settings.profile.consumer_timeout_of_all;
        Self {
            max_length: found.number("max-length").or(settings.default_max_length).filter(|_| !is_stream),
            max_length_bytes: found.number("max-length-bytes").or(settings.default_max_length_bytes),
            overflow,
            message_ttl: found.number("message-ttl"),
            expires: found.number("expires"),
            dead_lettering: dead_lettering.filter(|_| !is_stream),
            delivery_limit: match found.delivery_limit() {
                // Below zero: off (behaviour Q21).
                Some(limit) => u32::try_from(limit).ok(),
                None => default_limit,
            },
            consumer_timeout: found.number("consumer-timeout").or(settings.consumer_timeout).filter(|_| times_out),
            max_age: found.text("max-age").and_then(|age| parse_max_age(age.as_bytes())),
            segment_size: found.number("stream-max-segment-size-bytes"),
        }
    }

    #[must_use]
    pub fn exceeded(&self, length: u64, bytes: u64) -> bool {
        self.max_length.is_some_and(|max| length > max) || self.max_length_bytes.is_some_and(|max| bytes > max)
    }
}

/// Where the parts are looked up; an argument has `x-` before the key of the policy.
struct Found<'a> {
    arguments: &'a FieldTable,
    policy: &'a Definition,
}

impl Found<'_> {
    fn argument(&self, key: &str) -> Option<&AMQPValue> {
        self.arguments.inner().get(format!("x-{key}").as_str())
    }

    fn signed(&self, key: &str) -> Option<i64> {
        let argument = self.argument(key).and_then(integer);
        let policy = self.policy.integer(key);
        argument.into_iter().chain(policy).min()
    }

    /// One that is off gives way to one that is not.
    fn delivery_limit(&self) -> Option<i64> {
        let argument = self.argument("delivery-limit").and_then(integer);
        match (argument, self.policy.integer("delivery-limit")) {
            (Some(a), Some(b)) if a < 0 || b < 0 => Some(a.max(b)),
            _ => self.signed("delivery-limit"),
        }
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.signed(key).and_then(|n| u64::try_from(n).ok())
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.argument(key) {
            Some(AMQPValue::LongString(text)) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
            _ => self.policy.text(key).map(str::to_owned),
        }
    }

    fn overflow(&self, kind: QueueType) -> Option<Overflow> {
        // That of an operator is stronger than the argument (behaviour P4).
        if let Some(overflow) = &self.policy.operator_overflow {
            return Overflow::named(overflow.as_bytes());
        }
        // With quorum queues, that of any policy is.
        let policy = self.policy.text("overflow").filter(|_| kind == QueueType::Quorum);
        let named = policy.map(str::to_owned).or_else(|| self.text("overflow"));
        named.and_then(|name| Overflow::named(name.as_bytes()))
    }
}

/// `7D` in milliseconds (behaviour Q23).
#[must_use]
pub fn parse_max_age(age: &[u8]) -> Option<u64> {
    let (unit, number) = age.split_last()?;
    let seconds = match unit {
        b'Y' => 365 * 86_400,
        b'M' => 30 * 86_400,
        b'D' => 86_400,
        b'h' => 3_600,
        b'm' => 60,
        b's' => 1,
        _ => return None,
    };
    if number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    if number == 0 {
        return None;
    }
    number.checked_mul(seconds)?.checked_mul(1000)
}
